"""What the race wants to know of a tool."""

import time
from pathlib import Path

from arena import Failed

TCP_LISTEN = "0A"
READY_LIMIT_S = 20


class Tool:
    """One way to bring the files to all nodes; a new object for each run."""

    name = ""
    # The commands that it consists of; without them it is left out.
    programs = ()
    # Those whose servers change their user cannot be run by anybody else.
    wants_root = False

    def __init__(self, race):
        self.race = race

    @classmethod
    def about(cls):
        """It in one line."""
        return cls.__doc__.split("\n")[0]

    def prepare(self):
        """Before the clock starts: daemons up, and ready."""

    def client(self, node):
        """What a node runs when the clock starts."""
        raise NotImplementedError

    def start(self):
        """Bring everything that starts with the clock to the barrier."""
        for node in self.race.nodes:
            self.race.enter(node, self.client(node))

    def where(self, node):
        """Where a node's files are."""
        return self.race.directory(node)

    def landed(self):
        """The names whose appearance in a node's directory says that it has
        everything; none for a tool whose clients exit when they have."""
        return []

    def listening(self, daemon, port, udp=False):
        """Wait until a daemon listens on a port of its namespace."""
        until = time.monotonic() + READY_LIMIT_S
        kinds = ("udp", "udp6") if udp else ("tcp", "tcp6")
        while time.monotonic() < until:
            if daemon.poll() is not None:
                raise Failed(f"{daemon.args[0]} ended at once; see its log")
            for kind in kinds:
                try:
                    table = Path(f"/proc/{daemon.pid}/net/{kind}").read_text()
                except OSError:
                    continue
                for line in table.splitlines()[1:]:
                    _, local, _, state = line.split()[:4]
                    if int(local.rpartition(":")[2], 16) == port and (udp or state == TCP_LISTEN):
                        return
            time.sleep(0.01)
        raise Failed(f"{daemon.args[0]} does not listen on port {port}")
