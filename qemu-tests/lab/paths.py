"""Where things are in the repository, and which binary is under test."""

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BUILD = REPO / "build"
RESULTS = BUILD / "qemu"
TARGET = "x86_64-unknown-linux-musl"

# Tools like ip, tc and dnsmasq are outside an ordinary user's PATH on Debian.
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def binary():
    """The xget under test: XGET_BINARY, or the static release build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
    return Path(os.environ.get("XGET_BINARY", target / TARGET / "release" / "xget"))


def initramfs():
    """The initramfs that nodes start from: XGET_INITRAMFS, or the built one."""
    return Path(os.environ.get("XGET_INITRAMFS", BUILD / "initramfs.img"))


def kernel():
    """The kernel that goes with it; initramfs/build puts it beside it."""
    return initramfs().parent / "vmlinuz"
