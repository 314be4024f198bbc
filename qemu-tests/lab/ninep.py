"""A 9P2000 client that can read one file: enough to look at a master.

It shares no code with xget, so that a test that reads through it also says
that somebody else's idea of the protocol works. See intro(5) of Plan 9.
"""

import socket
import struct

MSIZE = 65536
NOTAG = 0xFFFF
NOFID = 0xFFFFFFFF
HEADER = struct.Struct("<IBH")
# size, type, tag, count before the data of an Rread
READ_OVERHEAD = HEADER.size + 4

TVERSION, TATTACH, RERROR, TWALK, TOPEN, TREAD = 100, 104, 107, 110, 112, 116


class NinepError(OSError):
    """The server's own words, or what was wrong with its reply."""


def text(string):
    """A 9P string: two bytes of length, then UTF-8."""
    raw = string.encode()
    return struct.pack("<H", len(raw)) + raw


class Ninep:
    """One connection, attached to the root of a tree."""

    def __init__(self, host, port, name="", timeout_s=2.0):
        self.socket = socket.create_connection((host, port), timeout=timeout_s)
        self.msize = MSIZE
        try:
            self._greet(name)
        except OSError:
            self.socket.close()
            raise

    def _greet(self, name):
        """Agree on a version, and attach fid 0 to the root."""
        reply = self._call(TVERSION, struct.pack("<I", MSIZE) + text("9P2000"), tag=NOTAG)
        self.msize = min(MSIZE, struct.unpack_from("<I", reply)[0])
        version = reply[6:].decode()
        if version != "9P2000":
            raise NinepError(f"the server speaks {version}")
        self._call(TATTACH, struct.pack("<II", 0, NOFID) + text("lab") + text(name))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _receive(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise NinepError("the server hung up")
            data += part
        return data

    def _call(self, kind, body, tag=1):
        """Send a request and return the body of its reply."""
        self.socket.sendall(HEADER.pack(HEADER.size + len(body), kind, tag) + body)
        size, answer, answered = HEADER.unpack(self._receive(HEADER.size))
        if not HEADER.size <= size <= max(self.msize, MSIZE):
            raise NinepError(f"a reply of {size} bytes")
        reply = self._receive(size - HEADER.size)
        if answer == RERROR:
            raise NinepError(reply[2:].decode("utf-8", "replace"))
        if answer != kind + 1 or answered != tag:
            raise NinepError(f"reply {answer} tag {answered} to request {kind} tag {tag}")
        return reply

    def read(self, path, fid=1, limit=1 << 24):
        """The whole of a file, by its slash-separated path."""
        names = [name for name in path.split("/") if name]
        walk = struct.pack("<IIH", 0, fid, len(names)) + b"".join(map(text, names))
        reply = self._call(TWALK, walk)
        if struct.unpack_from("<H", reply)[0] != len(names):
            raise NinepError(f"{path} is not there")
        self._call(TOPEN, struct.pack("<IB", fid, 0))
        data = b""
        while len(data) < limit:
            count = self.msize - READ_OVERHEAD
            reply = self._call(TREAD, struct.pack("<IQI", fid, len(data), count))
            part = reply[4:]
            if not part:
                return data
            data += part
        raise NinepError(f"{path} is longer than {limit} bytes")
