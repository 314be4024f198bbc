"""Sees processes end and names appear, as they do: by pidfd and inotify.

Nothing is polled: the machine that looks is the machine that is measured.
"""

import ctypes
import os
import select
import struct

IN_MOVED_TO = 0x80
IN_CREATE = 0x100
EVENT = struct.Struct("iIII")
LIBC = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Everything that one run waits for."""

    def __init__(self):
        self.poll = select.epoll()
        self.processes = {}
        self.directories = {}
        self.inotify = LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.inotify < 0:
            raise OSError(ctypes.get_errno(), "inotify: " + os.strerror(ctypes.get_errno()))
        self.poll.register(self.inotify, select.EPOLLIN)

    def process(self, pid, key):
        """Tell when a child ends; as ("end", key)."""
        descriptor = os.pidfd_open(pid)
        self.processes[descriptor] = key
        self.poll.register(descriptor, select.EPOLLIN)

    def directory(self, path, key):
        """Tell which names appear in a directory; as ("name", (key, name))."""
        number = LIBC.inotify_add_watch(
            self.inotify, os.fsencode(path), IN_CREATE | IN_MOVED_TO
        )
        if number < 0:
            raise OSError(ctypes.get_errno(), f"inotify: {os.strerror(ctypes.get_errno())}")
        self.directories[number] = key

    def events(self, patience_s):
        """What has happened, at least after `patience_s`; names before ends."""
        ready = [descriptor for descriptor, _ in self.poll.poll(max(0.0, patience_s))]
        happened = [("name", event) for event in self._names()]
        for descriptor in ready:
            if descriptor in self.processes:
                self.poll.unregister(descriptor)
                os.close(descriptor)
                happened.append(("end", self.processes.pop(descriptor)))
        return happened

    def _names(self):
        """The names that have appeared."""
        while True:
            try:
                data = os.read(self.inotify, 1 << 16)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                number, _, _, length = EVENT.unpack_from(data, offset)
                offset += EVENT.size
                name = data[offset : offset + length].rstrip(b"\0")
                offset += length
                yield self.directories.get(number), os.fsdecode(name)

    def close(self):
        """Let go of everything."""
        for descriptor in self.processes:
            os.close(descriptor)
        os.close(self.inotify)
        self.poll.close()
