"""Disks that cannot hold what is fetched: file systems that this machine's kernel may not have."""

from lab import Failed, mounter, scenario
from repository import REPO, binary

INIT = REPO / "qemu-tests" / "guest" / "vfat"
CHECKS = "plain links case names owner".split()


def fetch_onto_vfat(lab, wanted, append=""):
    """Let a machine do it (guest/vfat); each of these checks has to hold."""
    expected = {"xget": binary().read_bytes()}
    initrd = mounter.initrd(lab.directory, expected, INIT)
    machine = lab.mounter(mounter.kernel(), initrd, append, memory_mb=768)
    machine.expect(r"^vfat: over", within_s=400)
    lab.poll()
    said = [match[0] for match in machine.console.find_all(r"^vfat: (ok|FAILED) .*")]
    missing = [check for check in wanted if f"vfat: ok {check}" not in said]
    if missing:
        wrong = [text for text in said if text.startswith("vfat: FAILED")]
        raise Failed("\n".join([f"not so: {', '.join(missing)}", *wrong]))
    lab.say(f"{len(said)} checks on vfat")


@scenario(limit_s=300, tags=["quick", "faults"], prepare=mounter.prepare)
def vfat(lab):
    """A client fetches onto vfat: names, case, links, owners; what it cannot hold is said."""
    fetch_onto_vfat(lab, CHECKS)


@scenario(limit_s=500, tags=["faults"], prepare=mounter.prepare)
def vfat_large(lab):
    """The same, and a file of 4 GiB, which vfat cannot hold."""
    fetch_onto_vfat(lab, [*CHECKS, "large"], "lab.large")
