"""The lab's network: a bridge, a tap for each node, rates and cuts.

Must run in a network namespace of its own (netlab.isolate). What leaves an
interface is what can be limited, so a node with a rate sits on a small bridge
of its own, joined to the common one by a veth pair: tap out is the node's
download, veth out its upload.
"""

import ipaddress
import time
from pathlib import Path

from netlab import NetworkError, link
from netlab.address import NODES_MAX, Plan
from netlab.command import batch
from netlab.shaping import parse_rate, set_limit

__all__ = ["BRIDGE", "MASTER", "NODES_MAX", "PLAN", "Network"]

BRIDGE = "lab0"
# Locally administered MACs of the range that QEMU itself uses.
PLAN = Plan(ipaddress.ip_network("10.77.0.0/16"), "52:54:00:77")
OTHER_PLAN = Plan(ipaddress.ip_network("10.78.0.0/16"), "52:54:00:78")
MASTER = PLAN.head
MASTER_PORT = 20004
MASTER6 = ipaddress.ip_address("fd77::1")
# Enough for the largest burst of a virtio queue at any rate.
BURST_BYTES = 128 * 1024
QUEUE_S = 0.2
UNSHARE_LIMIT_S = 10


def shape(interface, rate):
    """Limit what leaves an interface to a rate such as "100mbit"."""
    rate_bit = parse_rate(rate)
    set_limit(interface, rate_bit, BURST_BYTES, BURST_BYTES + round(rate_bit / 8 * QUEUE_S))


class Network:
    """A bridge; the head's address is on it."""

    def __init__(self, bridge=BRIDGE, plan=PLAN):
        self.bridge = bridge
        self.plan = plan
        lines = [link.up("lo"), *link.bridge(bridge, plan.mac(0))]
        address = link.address(bridge, plan.head, plan.subnet.prefixlen)
        batch("ip", [*lines, address, link.up(bridge)])

    def port(self, index, rate=None):
        """Plug in node number `index`, with a rate in both directions if given."""
        return Port(index, rate, self)

    def shape_master(self, rate):
        """Limit the master's uplink: all that it sends leaves by the bridge."""
        shape(self.bridge, rate)

    def refuse_masters(self):
        """Lose all TCP that comes here, and who asks for a master: there is DHCP, and no master.

        The head has the addresses of all networks; this comes before the rule
        that makes it answer to each of them.
        """
        first = f"rule add pref 10 iif {self.bridge} ipproto"
        refused = [f"{first} tcp blackhole", f"{first} udp dport {MASTER_PORT} blackhole"]
        for family in ("inet", "inet6"):
            lines = ["rule add pref 100 lookup local", "rule del pref 0", *refused]
            batch("ip", lines, family=family)


class Vlan:
    """A network of its own whose frames carry a tag on the lab's bridge (tagging.py)."""

    tagged, bridge = "tagged0", "plain0"
    # The same cards, and so the same hardware addresses.
    plan = Plan(ipaddress.ip_network("10.79.0.0/16"), PLAN.mac_prefix)

    def __init__(self):
        address = link.address(self.bridge, self.plan.head, self.plan.subnet.prefixlen)
        lines = [link.tap(self.tagged), link.plug(self.tagged, BRIDGE)]
        batch("ip", [*lines, link.tap(self.bridge), address, link.up(self.bridge)])


class SlowCable:
    """A bridge of its own, joined to the lab's by what holds each frame back (delaying.py)."""

    near, far, bridge = "near0", "far0", "lab2"

    def __init__(self):
        lines = [*link.bridge(self.bridge), link.up(self.bridge)]
        for tap, bridge in ((self.near, BRIDGE), (self.far, self.bridge)):
            lines += [link.tap(tap), link.plug(tap, bridge)]
        batch("ip", lines)


class SecondCards:
    """The lab's bridge once more, for machines with two cards in it."""

    FROM = 500

    def port(self, index):
        """Plug in the second card of node number `index`."""
        return Port(self.FROM + index, None, self)

    bridge = BRIDGE
    plan = PLAN


def give_ipv6(address=MASTER6):
    """Give the head an IPv6 address beside the other; nobody else has it."""
    batch("ip", [f"addr add {address}/64 dev {BRIDGE} nodad"])


class Squatter:
    """Another machine of the lab's network, that has IPv6 addresses which it was not lent."""

    INTERFACE, PORT = "squat0", "squat1"

    def __init__(self, addresses):
        lines = [link.veth(self.INTERFACE, self.PORT), link.plug(self.PORT, BRIDGE)]
        lines += [f"addr add {address}/128 dev {self.INTERFACE} nodad" for address in addresses]
        batch("ip", [*lines, link.up(self.INTERFACE)])

    def leave(self, address):
        """Have this one no more."""
        batch("ip", [f"addr del {address}/128 dev {self.INTERFACE}"])


def give_far_address(address):
    """Give the head an address that no node has a route to."""
    batch("ip", [f"addr add {address}/32 dev lo"])


def plug_in_elsewhere(pid, bridge=BRIDGE):
    """Give a process with a network of its own a cable to a bridge: its `other0`."""
    own = Path("/proc/self/ns/net").stat().st_ino
    until = time.monotonic() + UNSHARE_LIMIT_S
    while Path(f"/proc/{pid}/ns/net").stat().st_ino == own:
        if time.monotonic() > until:
            raise NetworkError(f"process {pid} has no network of its own")
        time.sleep(0.05)
    batch("ip", ["link add elsewhere0 type veth peer name other0"])
    batch("ip", [link.plug("elsewhere0", bridge), f"link set other0 netns {pid}"])


class Port:
    """One node's place in the network."""

    def __init__(self, index, rate, net):
        suffix = "" if net.bridge == BRIDGE else net.bridge
        self.mac = net.plan.mac(index)
        self.tap = f"tap{index}{suffix}"
        self.cable = self.tap if rate is None else f"up{index}{suffix}"
        self.bridge = net.bridge if rate is None else f"own{index}{suffix}"
        lines = []
        if rate is not None:
            down = f"down{index}{suffix}"
            lines += [*link.bridge(self.bridge), link.veth(self.cable, down)]
            lines += [link.plug(self.cable, self.bridge), link.plug(down, net.bridge)]
            lines += [link.up(self.bridge)]
        batch("ip", [*lines, link.tap(self.tap), link.plug(self.tap, self.bridge)])
        if rate is not None:
            self.shape(rate)

    def shape(self, rate):
        """Limit the node to a rate each way; only for ports made with one."""
        shape(self.tap, rate)
        if self.cable != self.tap:
            shape(self.cable, rate)

    def cut(self):
        """Lose every packet, as a pulled cable beyond the first switch does."""
        batch("ip", [link.unplug(self.cable)])

    def heal(self):
        """Put the cable back."""
        batch("ip", [link.plug(self.cable, self.bridge)])
