"""Whether KVM really works here, found by booting a kernel under it.

/dev/kvm can be there, open, and still hang every guest (nested
virtualisation that the outer host does not finish). So the probe boots the
lab's kernel without a root: it must come as far as its panic. The answer
holds until this machine or the kernel changes.
"""

import os
import subprocess
from pathlib import Path

from .paths import RESULTS, kernel

PROBE_LIMIT_S = 10
# What a kernel says that has run, found no root, and given up.
PROOF = b"Kernel panic - not syncing: VFS"


def _boots_under_kvm():
    command = ["qemu-system-x86_64", "-accel", "kvm", "-M", "q35", "-m", "256"]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += ["-serial", "stdio", "-kernel", str(kernel())]
    command += ["-append", "console=ttyS0 panic=-1"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        output, _ = process.communicate(timeout=PROBE_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    return PROOF in output


def choose():
    """Return "kvm" or "tcg"; XGET_ACCEL decides without a probe."""
    if os.environ.get("XGET_ACCEL"):
        return os.environ["XGET_ACCEL"]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    state = f"{boot} {kernel().stat().st_size}"
    cache = RESULTS / "accel"
    if cache.exists():
        known, _, answer = cache.read_text().strip().rpartition(" ")
        if known == state:
            return answer
    answer = "kvm" if _boots_under_kvm() else "tcg"
    RESULTS.mkdir(parents=True, exist_ok=True)
    cache.write_text(f"{state} {answer}\n")
    return answer
