"""BitTorrent, as the paper had it: ctorrent with opentracker; and aria2.

Every node has the .torrent before the clock starts. Clients seed on when they
have everything; each runs a command at that moment (the paper used the same
option of ctorrent), which makes a file that the race looks for.
"""

import hashlib
import re
import time
from urllib.parse import quote

from arena import Failed

from .tool import READY_LIMIT_S, Tool

TRACKER_PORT = 6969
PEER_PORT = 6881
# ctorrent's own default.
PIECE_BYTES = 256 * 1024
NAME = "files"
DONE = "done"
# In the tracker's answer: one who has everything, or one who has not.
SOMEBODY = re.compile(rb"completei1e")


def bencode(value):
    """A value as BitTorrent writes it."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    return b"d" + b"".join(bencode(k) + bencode(value[k]) for k in sorted(value)) + b"e"


def describe(course, directory):
    """The info of a .torrent for the files of a course."""
    pieces, rest = [], b""
    for name in course.names:
        with open(directory / name, "rb") as file:
            while block := file.read(PIECE_BYTES - len(rest)):
                rest += block
                if len(rest) == PIECE_BYTES:
                    pieces.append(hashlib.sha1(rest).digest())
                    rest = b""
    if rest:
        pieces.append(hashlib.sha1(rest).digest())
    files = [{"length": course.size_bytes, "path": [name]} for name in course.names]
    return {
        "files": files,
        "name": NAME,
        "piece length": PIECE_BYTES,
        "pieces": b"".join(pieces),
    }


class BitTorrent(Tool):
    """What both clients have in common: the tracker and the .torrent."""

    wants_root = True

    def prepare(self):
        """The torrent, the tracker that admits it, a seeder that has checked its files."""
        info = describe(self.race.course, self.race.files)
        url = f"http://{self.race.head.address}:{TRACKER_PORT}/announce"
        self.torrent = self.race.state / "race.torrent"
        self.torrent.write_bytes(bencode({"announce": url, "info": info}))
        # Debian's opentracker serves only what is on its list.
        admitted = self.race.state / "whitelist"
        admitted.write_text(hashlib.sha1(bencode(info)).hexdigest() + "\n")
        port = str(TRACKER_PORT)
        command = ["opentracker", "-p", port, "-P", port, "-w", str(admitted)]
        self.listening(self.race.daemon(self.race.head, command, self.race.state), TRACKER_PORT)
        seeder = self.race.daemon(self.race.head, self.seeder(), self.race.state)
        self.listening(seeder, PEER_PORT)
        self._await_seeder(hashlib.sha1(bencode(info)).digest())

    def _await_seeder(self, torrent):
        """Wait until the tracker knows of it, if only as one that is still checking."""
        url = f"http://{self.race.head.address}:{TRACKER_PORT}/scrape?info_hash={quote(torrent)}"
        until = time.monotonic() + READY_LIMIT_S
        while not SOMEBODY.search(self.race.output(self.race.head, ["curl", "-s", url])):
            if time.monotonic() > until:
                raise Failed("the seeder has not told the tracker")
            time.sleep(0.1)

    def seeder(self):
        """The head's client."""
        raise NotImplementedError

    def landed(self):
        """What the client's own hook makes."""
        return [DONE]

    def where(self, node):
        """The torrent's files lie in a directory of its name."""
        return self.race.directory(node) / NAME


class Ctorrent(BitTorrent):
    """The paper's client."""

    name = "ctorrent"
    programs = ("ctorrent", "opentracker", "curl")
    options = ("-p", str(PEER_PORT))

    def seeder(self):
        """With the defaults."""
        return ["ctorrent", "-s", self.race.files, *self.options, self.torrent]

    def client(self, node):
        """With the defaults."""
        hook = f"touch {self.race.directory(node) / DONE}"
        return ["ctorrent", "-s", self.where(node), *self.options, "-X", hook, self.torrent]


class Aria2(BitTorrent):
    """aria2: a client that is still maintained."""

    name = "aria2"
    programs = ("aria2c", "opentracker", "curl")
    options = (
        f"--listen-port={PEER_PORT}",
        "--enable-dht=false",
        "--seed-ratio=0",
        "--file-allocation=none",
        "--no-conf",
    )

    def seeder(self):
        """Its files are beside the others' directory of the same name."""
        directory = f"--dir={self.race.files.parent}"
        return ["aria2c", directory, "--check-integrity", *self.options, self.torrent]

    def client(self, node):
        """With the defaults, but without DHT."""
        home = self.race.directory(node)
        hook = home / "hook"
        hook.write_text(f"#!/bin/sh\ntouch {home / DONE}\n")
        hook.chmod(0o755)
        return [
            *("aria2c", f"--dir={home}", f"--on-bt-download-complete={hook}"),
            *(*self.options, self.torrent),
        ]
