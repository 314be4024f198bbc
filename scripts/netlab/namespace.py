"""Network namespaces as file descriptors: one lives as long as one is open.

Nothing is named (`ip netns`), so nothing stays when its maker ends, however it
ends. Only for programs of one thread: setns(2) moves the calling thread.
"""

import ctypes
import os
from pathlib import Path

from . import NetworkError

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def own():
    """A file descriptor of the namespace that this process is in."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(namespace):
    """Move this process to a namespace."""
    if LIBC.setns(namespace, CLONE_NEWNET) != 0:
        raise NetworkError("setns: " + os.strerror(ctypes.get_errno()))


def create(home, settings):
    """A new namespace with these settings below /proc/sys; this process stays at `home`.

    A setting that this kernel has not got is left out.
    """
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise NetworkError("unshare: " + os.strerror(ctypes.get_errno()))
    try:
        for name, value in settings.items():
            path = Path("/proc/sys") / name
            if path.exists():
                path.write_text(value)
        return own()
    finally:
        enter(home)
