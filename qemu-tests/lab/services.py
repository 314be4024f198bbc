"""What the head of the lab's network runs: the master, and a DHCP server."""

import signal
import subprocess
import sys
from pathlib import Path

from repository import binary

from . import network
from .console import Console
from .errors import Failed

TCP_LISTEN = "0A"
END_LIMIT_S = 10


class Service:
    """A process whose output is a log in the scenario's directory."""

    def __init__(self, directory, name, command, **how):
        self.name = name
        self.paused = False
        self.console = Console(directory / f"{name}.log")
        with open(self.console.path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **how
            )

    def poll(self):
        """Take in what it has said; return the new lines."""
        return self.console.poll()

    @property
    def ended(self):
        """Its exit status once it has ended, else None."""
        return self.process.poll()

    def kill(self):
        """End it without a chance to say goodbye."""
        self.process.kill()
        self.process.wait(timeout=END_LIMIT_S)

    def pause(self):
        """Freeze it: its connections stay, and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)
        self.paused = False


def listening(process="self"):
    """The ports at which TCP sockets listen in the network namespace of a process."""
    ports = set()
    for table in (f"/proc/{process}/net/tcp", f"/proc/{process}/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == TCP_LISTEN:
                ports.add(int(words[1].rpartition(":")[2], 16))
    return ports


class Master(Service):
    """The xget under test as a master of the given tree."""

    def __init__(self, directory, tree, options=(), name="master", run_by=()):
        super().__init__(directory, name, [*run_by, str(binary()), *options, str(tree)])
        self.clients = {}
        self.status_error = None

    def listens_at(self):
        """Ports: its own is the only one in its namespace."""
        return listening()

    def await_ready(self, lab, within_s=60):
        """Wait until it listens."""

        def ready():
            if self.ended is not None:
                raise Failed(f"the master ended with {self.ended}:\n{self.console.tail()}")
            return self.listens_at()

        lab.wait(ready, within_s, "the master to listen")


# Waits until there is a cable, and becomes the command behind it.
ON_ITS_OWN = """
until ip link set other0 up 2>/dev/null; do sleep 0.1; done
ip addr add "$1" dev other0; shift; exec "$@"
"""


class OtherHead(Master):
    """A second master on a machine of its own, at the end of a long cable.

    Its answer to a node comes after four times the delay: for a question, whose address that
    is, that address, and the answer. An agent in haste hears it no more, one that waits does.
    """

    ADDRESS = network.PLAN.node(network.NODES_MAX)
    DELAY_MS = 100

    def __init__(self, lab, tree, options=()):
        cable, program = network.SlowCable(), Path(__file__).parent / "delaying.py"
        command = [sys.executable, "-B", str(program), cable.near, cable.far, str(self.DELAY_MS)]
        lab.services.append(Service(lab.directory, "delaying", command))
        address = f"{self.ADDRESS}/{network.PLAN.subnet.prefixlen}"
        run_by = ["unshare", "--net", "sh", "-c", ON_ITS_OWN, "sh", address]
        super().__init__(lab.directory, tree, options, "other-head", run_by)
        lab.services.append(self)
        network.plug_in_elsewhere(self.process.pid, cable.bridge)
        self.await_ready(lab)

    def listens_at(self):
        return listening(self.process.pid)


class Netboot(Master):
    """`xgetctl netboot --run`: all that the head of a cluster serves, the master among it."""

    def __init__(self, directory, command, head):
        how = {"env": head.environment(), "cwd": head.tree}
        Service.__init__(self, directory, "head", command, **how)
        self.clients = {}
        self.status_error = None

    def await_ready(self, lab, within_s=120):
        """Wait until it says that machines can boot."""

        def ready():
            if self.ended is not None:
                raise Failed(f"the head ended with {self.ended}:\n{self.console.tail(30)}")
            return self.console.find("machines can boot")

        lab.wait(ready, within_s, "word of the head that machines can boot")

    def end(self):
        """End it as its administrator does, and wait until it has put all away."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=END_LIMIT_S)


class Client(Service):
    """The xget under test as a client beside the master, with a link of its own: lo."""

    def __init__(self, lab, sources, dest, rate):
        self.before = listening()
        network.shape("lo", rate)
        command = [str(binary()), "-q", "-n", str(network.MASTER), *sources, str(dest)]
        super().__init__(lab.directory, "client", command)
        lab.services.append(self)

    def await_port(self, lab, within_s=30):
        """Wait until it listens; the port at which it serves others."""
        lab.wait(lambda: listening() - self.before, within_s, "the client to listen")
        return (listening() - self.before).pop()

    @staticmethod
    def shape(rate):
        """Its link has this rate from now on."""
        network.shape("lo", rate)


class Dhcp(Service):
    """dnsmasq on the bridge, answering every node with a known address.

    `boot_server` also names the master as the server to boot from (siaddr).
    `pool` is another number of addresses, given to whoever asks first, and then
    remembered by client id as DHCP has it. `place` is another network.
    """

    # fields: one for each thing that a scenario may want otherwise
    def __init__(
        self, directory, lease_s=120, options=(), boot_server=False, pool=None, place=None
    ):
        bridge = place.bridge if place else network.BRIDGE
        plan = place.plan if place else network.PLAN
        name = "dhcp" if place is None else f"dhcp-{bridge}"
        first, last = plan.node(1), plan.node(pool or network.NODES_MAX)
        line = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"]
        line += ["--user=root", "--log-facility=-", "--log-dhcp", "--leasefile-ro", "--pid-file"]
        line += [f"--interface={bridge}", "--bind-interfaces", "--dhcp-authoritative"]
        line += [f"--dhcp-range={first},{last},{plan.subnet.netmask},{lease_s}", "--no-ping"]
        line += [f"--dhcp-option={option}" for option in options]
        if boot_server:
            line += [f"--dhcp-boot=unused,,{plan.head}"]
        if pool is None:
            # Every node gets the address and name that it would have without DHCP.
            hosts = directory / f"{name}-hosts"
            rows = (
                f"{plan.mac(index)},{plan.node(index)},node{index}\n"
                for index in range(1, network.NODES_MAX + 1)
            )
            hosts.write_text("".join(rows))
            line += [f"--dhcp-hostsfile={hosts}"]
        super().__init__(directory, name, line)


class Elsewhere(Service):
    """A DHCP server on a machine of its own, beside the head: it knows nothing of booting."""

    def __init__(self, directory):
        plan = network.PLAN
        address = plan.node(network.NODES_MAX)
        first, last = plan.node(1), plan.node(network.NODES_MAX - 1)
        line = "dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --user=root"
        line += " --log-facility=- --leasefile-ro --pid-file --interface=other0 --bind-interfaces"
        line += f" --dhcp-range={first},{last},{plan.subnet.netmask} --no-ping"
        # Its end of the cable comes when it has a network to come to.
        script = "until ip link set other0 up 2>/dev/null; do sleep 0.1; done;"
        script += f" ip addr add {address}/{plan.subnet.prefixlen} dev other0; exec {line}"
        super().__init__(directory, "elsewhere", ["unshare", "--net", "sh", "-c", script])
        network.plug_in_elsewhere(self.process.pid)


class Routers(Service):
    """dnsmasq on the bridge for IPv6 alone: router advertisements, and DHCPv6 as `range_` says.

    `names` are addresses by name; the advertisements say whom to ask for them.
    """

    def __init__(self, directory, range_, options=(), names=None):
        line = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv"]
        line += ["--user=root", "--log-facility=-", "--log-dhcp", "--leasefile-ro", "--pid-file"]
        line += [f"--interface={network.BRIDGE}", "--bind-interfaces", "--enable-ra", "--no-hosts"]
        line += [f"--dhcp-range={range_}", f"--port={53 if names else 0}"]
        line += [f"--dhcp-option=option6:{option}" for option in options]
        for name, address in (names or {}).items():
            # The whole domain is its own: an address of IPv4 is denied, not refused.
            domain = name.partition(".")[2]
            line += [f"--host-record={name},{address}", f"--local=/{domain}/"]
        super().__init__(directory, "routers", line)


class Tagger(Service):
    """What makes a `network.Vlan` of two taps."""

    def __init__(self, directory, vlan, number):
        program = Path(__file__).parent / "tagging.py"
        command = [sys.executable, "-B", str(program), vlan.tagged, vlan.bridge, str(number)]
        super().__init__(directory, "tagging", command)
