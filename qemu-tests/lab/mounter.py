"""The machine that mounts: Debian's full kernel with Linux' own 9P client, and
the programs of this machine, which a mount's users run.

Knows how it is put together. Refuses to know what is mounted and looked at:
that is guest/mounts and its scenario.
"""

import os
import shutil
from pathlib import Path

from repository import BUILD, REPO

from .errors import Failed
from .images import alone
from .program import run

# With 9P, whatever kernel the other machines have. Another one is named as
# initramfs/build has it: a package, or a directory.
KERNEL = os.environ.get("XGET_MOUNTS_KERNEL", "linux-image-amd64")
BASE = BUILD / "mounts"
GUEST = REPO / "qemu-tests" / "guest"
BUILD_LIMIT_S = 900
PACK_LIMIT_S = 60
PROGRAMS = """
    bash cat chmod chown chroot cmp cp dd df diff dmesg find grep head insmod ip ln mkdir
    mkfs.vfat mount mv rm sed sha256sum sleep sort stat tail tar tee timeout touch tr
    truncate umount uname wc xargs
""".split()


def kernel():
    """The kernel that mounts."""
    return BASE / "vmlinuz"


def prepare():
    """Fetch the kernel, and pack its modules; needs a network the first time."""
    with alone():
        _prepare()


def _prepare():
    image, init, modules = BASE / "initramfs.img", GUEST / "mounts", GUEST / "mounts-modules"
    sources, mark = (init, modules, REPO / "initramfs" / "build"), BASE / "kernel"
    made = mark.stat().st_mtime if mark.exists() and mark.read_text() == KERNEL else 0
    if all(source.stat().st_mtime < made for source in sources):
        return
    command = [str(REPO / "initramfs" / "build"), "--kernel", KERNEL, "--init", str(init)]
    command += ["--modules", str(modules), "--output", str(image)]
    run(command, BUILD_LIMIT_S, COMPRESS="gzip")
    mark.write_text(KERNEL)


def _programs():
    """Each program, and the libraries that it is linked with, as paths of this machine."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    found = []
    for name in PROGRAMS:
        program = shutil.which(name, path=path)
        if program is None:
            raise Failed(f"there is no {name} here")
        found.append(program)
        for word in run(["ldd", program], PACK_LIMIT_S).split():
            if word.startswith("/"):
                found.append(word)
    return sorted(set(found))


def initrd(directory, expected, init=None):
    """The initramfs with programs, and these files (name, bytes) in /expected.

    Another init takes the place of guest/mounts.
    """
    root, more = Path(directory) / "mounts-root", Path(directory) / "mounts.cpio"
    for source in _programs():
        name = Path(source).name
        in_bin = "/lib" not in source
        target = root / "usr/bin" / name if in_bin else root / source.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755)
    (root / "bin").mkdir()
    shutil.copyfile(root / "usr/bin/bash", root / "bin/bash")
    (root / "bin/bash").chmod(0o755)
    if init:
        shutil.copyfile(init, root / "init")
        (root / "init").chmod(0o755)
    (root / "expected").mkdir()
    for name, data in expected.items():
        (root / "expected" / name).write_bytes(data)
    run([str(REPO / "initramfs" / "pack"), str(root), str(more)], PACK_LIMIT_S)
    shutil.rmtree(root)
    # The kernel unpacks one archive after the other, compressed or not; one
    # that is not begins at a multiple of four bytes (init/initramfs.c).
    image, base = Path(directory) / "mounts.img", (BASE / "initramfs.img").read_bytes()
    image.write_bytes(base + bytes(-len(base) % 4) + more.read_bytes())
    more.unlink()
    return image
