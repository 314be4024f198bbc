"""What the master knows of its clients, and how the lab shows it.

The one place that knows the columns of `/.xget/status`.
"""

from dataclasses import dataclass

from .ninep import Ninep

PATH = ".xget/status"
MASTER_PARENT = "me"


@dataclass
class Client:
    """One line of the master's status."""

    address: str
    state: str
    have_bytes: int
    total_bytes: int
    from_master_bytes: int
    from_peers_bytes: int
    elapsed_ms: int
    parents: tuple

    @property
    def complete(self):
        """Whether it holds all that it asked for."""
        return 0 < self.total_bytes <= self.have_bytes


def host(address):
    """The host of "10.77.0.2!20004", "10.77.0.2:20004" or "[fd00::2]:20004"."""
    if "!" in address:
        return address.split("!")[0]
    return address.rpartition(":")[0].strip("[]") or address


def parse(text):
    """Every line of the status, in its order."""
    clients = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        # Behind the parents stand the sources, of which there may be several.
        address, state, *numbers, parents = words[:8]
        have, total, master, peers, elapsed = map(int, numbers)
        names = () if parents == "-" else tuple(
            name if name == MASTER_PARENT else host(name) for name in parents.split(",")
        )
        clients.append(Client(host(address), state, have, total, master, peers, elapsed, names))
    return clients


def merge(known, clients):
    """Bring `known`, by address, up to date.

    Live clients come before departed ones, and of those the latest comes
    last. A departed one has no parents any more: the last seen are kept.
    """
    newest = {}
    for client in clients:
        earlier = newest.get(client.address)
        if earlier is None or earlier.state in ("done", "lost"):
            newest[client.address] = client
    for address, client in newest.items():
        if not client.parents and address in known:
            client.parents = known[address].parents
        known[address] = client


def read(host_address, port, timeout_s):
    """Read and parse the status of a master."""
    with Ninep(host_address, port, timeout_s=timeout_s) as master:
        return parse(master.read(PATH).decode())


def megabytes(count):
    """A byte count for a table."""
    return f"{count / 1e6:.1f}"


def seconds(value):
    """A duration for a table, or a dash."""
    return "-" if value is None else f"{value:.1f}"


def who(address, names):
    """A parent for a table: "master", a node's name, or its address."""
    return "master" if address == MASTER_PARENT else names.get(address, address)


COLUMNS = ("node", "parents, one a stripe", "from master", "from peers", "fetch", "kexec", "up", "result")


def table(rows):
    """Lines of text from tuples that fit COLUMNS, under a heading with units."""
    units = ("", "", "MB", "MB", "s", "s", "s", "")
    lines = [COLUMNS, units, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    left = (0, 1, len(COLUMNS) - 1)
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    ]
