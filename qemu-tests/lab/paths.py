"""Where the lab's own files are: results, and what nodes start from."""

import os
from pathlib import Path

from repository import BUILD

RESULTS = BUILD / "qemu"


def initramfs():
    """The initramfs that nodes start from: XGET_INITRAMFS, or the built one."""
    return Path(os.environ.get("XGET_INITRAMFS", BUILD / "initramfs.img"))


def kernel():
    """The kernel that goes with it; initramfs/build puts it beside it."""
    return initramfs().parent / "vmlinuz"
