"""What a master heard of nodes, and when it was first seen here.

The one place here that knows the words of `/.xget/nodes` (docs/protocol.md, Nodes).
"""

import time
from dataclasses import dataclass, field
from urllib.parse import unquote

from .ninep import Ninep

PATH = ".xget/nodes"
NAMES = ("state", "seconds", "address", "name", "image", "said", "mac")


@dataclass
class Entry:
    """A node, as it was heard of last; and the moment at which each state was first seen."""

    state: str = ""
    seconds: str = "0"
    address: str = ""
    name: str = ""
    image: str = ""
    said: str = ""
    mac: str = ""
    first: dict = field(default_factory=dict)


def parse(text):
    """Every node that said a MAC address, by that."""
    found = {}
    for line in text.splitlines():
        words = [word.partition("=")[::2] for word in line.split()]
        entry = Entry(**{name: unquote(value) for name, value in words if name in NAMES})
        if entry.state and entry.mac:
            found[entry.mac.lower()] = entry
    return found


def merge(known, entries):
    """Bring `known`, by MAC address, up to date."""
    now = time.monotonic()
    for mac, entry in entries.items():
        entry.first = known[mac].first if mac in known else {}
        entry.first.setdefault(entry.state, now)
        known[mac] = entry


def read(host_address, port, timeout_s):
    """Read and parse what a master heard."""
    with Ninep(host_address, port, timeout_s=timeout_s) as master:
        return parse(master.read(PATH).decode())
