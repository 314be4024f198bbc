"""The lab's network: a bridge, a tap for each node, rates and cuts.

Must run in a network namespace of its own (see isolate). Rates use tbf,
because netem is missing from many kernels. tbf shapes what leaves an
interface, so a node with a rate sits on a small bridge of its own, joined to
the common one by a veth pair: tap out is the node's download, veth out its
upload.
"""

import ipaddress
import subprocess

BRIDGE = "lab0"
SUBNET = ipaddress.ip_network("10.77.0.0/16")
MASTER = SUBNET.network_address + 1
NODES_MAX = 1000
# Enough for the largest burst of a virtio queue at any rate.
BURST = "128kb"
LATENCY = "200ms"


def node_address(index):
    """The address of node number `index`, counted from 1."""
    if not 1 <= index <= NODES_MAX:
        raise ValueError(f"node number {index} is not in 1..{NODES_MAX}")
    return SUBNET.network_address + 256 + index


def node_mac(index):
    """Its Ethernet address: locally administered, and tells the number."""
    return f"52:54:00:77:{index >> 8:02x}:{index & 255:02x}"


def command(line):
    """Run an ip, tc or similar command; its error text belongs to the failure."""
    done = subprocess.run(line.split(), capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise OSError(f"{line}: {done.stderr.strip() or done.stdout.strip()}")


def shape(interface, rate):
    """Limit what leaves an interface to a tc rate such as "100mbit"."""
    command(f"tc qdisc replace dev {interface} root tbf rate {rate} burst {BURST} latency {LATENCY}")


class Network:
    """The bridge; the master's address is on it."""

    def __init__(self):
        command("ip link set lo up")
        command(f"ip link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0")
        command(f"ip addr add {MASTER}/{SUBNET.prefixlen} dev {BRIDGE}")
        command(f"ip link set {BRIDGE} up")

    def port(self, index, rate=None):
        """Plug in node number `index`, with a rate in both directions if given."""
        return Port(index, rate)

    def shape_master(self, rate):
        """Limit the master's uplink: all that it sends leaves by the bridge."""
        shape(BRIDGE, rate)


class Port:
    """One node's place in the network."""

    def __init__(self, index, rate):
        self.tap = f"tap{index}"
        self.plug = self.tap
        bridge = BRIDGE
        if rate is not None:
            bridge = f"own{index}"
            self.plug = f"up{index}"
            command(f"ip link add {bridge} type bridge forward_delay 0 mcast_snooping 0")
            command(f"ip link add {self.plug} type veth peer name down{index}")
            command(f"ip link set {self.plug} master {bridge} up")
            command(f"ip link set down{index} master {BRIDGE} up")
            command(f"ip link set {bridge} up")
        command(f"ip tuntap add dev {self.tap} mode tap")
        command(f"ip link set {self.tap} master {bridge} up")
        if rate is not None:
            self.shape(rate)

    def shape(self, rate):
        """Limit the node to a rate each way; only for ports made with one."""
        shape(self.tap, rate)
        if self.plug != self.tap:
            shape(self.plug, rate)

    def cut(self):
        """Lose every packet, as a pulled cable beyond the first switch does."""
        command(f"ip link set {self.plug} nomaster")

    def heal(self):
        """Put the cable back."""
        bridge = BRIDGE if self.plug == self.tap else f"own{self.plug[2:]}"
        command(f"ip link set {self.plug} master {bridge}")
