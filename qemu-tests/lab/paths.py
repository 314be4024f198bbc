"""Where the lab's own files are: results, and what nodes start from."""

import os
from pathlib import Path

from repository import BUILD

RESULTS = BUILD / "qemu"


def initramfs():
    """The initramfs that nodes start from: XGET_INITRAMFS, or the built one."""
    return Path(os.environ.get("XGET_INITRAMFS", BUILD / "initramfs.img"))


def kernel():
    """The kernel that goes with it; initramfs/build puts it beside it, and an image has it there."""
    beside = initramfs().parent
    return beside / ("kernel" if (beside / "kernel").is_file() else "vmlinuz")


def initramfs_release():
    """The release of the kernel whose modules it has, as uname(1) prints it."""
    image = kernel().read_bytes()
    # The offset of the version's text, less 0x200 (Documentation/arch/x86/boot.rst).
    at = int.from_bytes(image[0x20E:0x210], "little") + 0x200
    return image[at : at + 200].split(b"\0")[0].split(b" ")[0].decode()
