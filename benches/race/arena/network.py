"""The network of a race: a bridge, the head and the nodes behind veth pairs.

Must run in a network namespace of its own (netlab.isolate). The bridge stays
in it; the head and each node get one more, which live as long as this process
holds them open. How links are made and limited is netlab's; here is what those
of a race are like:

  burst   1 ms of the rate, but never less than a TCP segment of 64 KiB as the
          kernel cuts it (with its headers), or each of them would be cut
          again in software. At 100 Mbit/s that is a credit of 6 ms, once.
  queue   to send: 1000 full packets, as a network card's queue holds here.
          To get: 50 ms of the rate and at least 256 KiB, about what a port of
          a switch has. TCP fills such a queue and backs off before it starves.

Addresses are told in advance: ninety nodes that all know each other are more
than the kernel's neighbour table holds (netlab.link).
"""

import ipaddress
import os
from pathlib import Path

from netlab import NetworkError, link, namespace
from netlab.address import NODES_MAX, Plan
from netlab.command import batch
from netlab.shaping import limit

from . import Failed

BRIDGE = "race0"
PLAN = Plan(ipaddress.ip_network("10.99.0.0/16"), "02:99:00:00")
SEGMENT_BYTES = 72 * 1024
CARD_QUEUE_BYTES = 1000 * 1514
PORT_QUEUE_BYTES = 256 * 1024
PORT_QUEUE_S = 0.05

SETTINGS = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    # What one run learnt about a path must not help or hurt the next.
    "net/ipv4/tcp_no_metrics_save": "1",
}


def shaper(device, rate, queue_bytes):
    """The line for tc that limits what leaves a device."""
    burst = max(SEGMENT_BYTES, rate // 8 // 1000)
    return limit(device, rate, burst, max(queue_bytes, 2 * burst))


def port_queue_bytes(rate):
    """What a port of the switch can hold for a machine behind such a link."""
    return max(PORT_QUEUE_BYTES, round(rate / 8 * PORT_QUEUE_S))


class Machine:
    """The head or a node: its namespace, address and link."""

    def __init__(self, index, rate, home):
        self.index = index
        self.name = f"node{index}" if index else "head"
        self.rate = rate
        self.address = str(PLAN.node(index) if index else PLAN.head)
        self.mac = PLAN.mac(index)
        self.port = f"port{index}"
        self.namespace = namespace.create(home, SETTINGS)

    def sent_bytes(self):
        """What its link has carried away from it, as the bridge has seen it."""
        for line in Path("/proc/net/dev").read_text().splitlines():
            name, _, figures = line.partition(":")
            if name.strip() == self.port:
                return int(figures.split()[0])
        raise Failed(f"no interface {self.port}")


def choose_congestion_control(machine, home, name):
    """Set TCP's congestion control of one machine, or leave it; return which it is."""
    setting = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    namespace.enter(machine.namespace)
    try:
        if name:
            setting.write_text(name)
        return setting.read_text().strip()
    except OSError as error:
        raise Failed(
            f"TCP's congestion control {name}: {error.strerror}"
            " (the machine's tcp_allowed_congestion_control names those that are allowed)"
        ) from error
    finally:
        namespace.enter(home)


class Network:
    """The bridge and all machines at it."""

    def __init__(self, nodes, rate, head_rate=None, slow=None, congestion=None):
        """`slow` gives single nodes, counted from 1, another rate."""
        if not 1 <= nodes <= NODES_MAX:
            raise Failed(f"{nodes} nodes are not in 1..{NODES_MAX}")
        home = namespace.own()
        rates = [head_rate or rate] + [(slow or {}).get(i, rate) for i in range(1, nodes + 1)]
        try:
            self.machines = [Machine(index, rate, home) for index, rate in enumerate(rates)]
            self._plug_in()
            for machine in self.machines:
                self._configure(machine)
        except NetworkError as error:
            raise Failed(str(error)) from error
        self.head, self.nodes = self.machines[0], self.machines[1:]
        for machine in self.machines:
            self.congestion = choose_congestion_control(machine, home, congestion)

    def _plug_in(self):
        """The bridge's side of all links."""
        links = [link.up("lo"), *link.bridge(BRIDGE)]
        for machine in self.machines:
            there = f"/proc/{os.getpid()}/fd/{machine.namespace}"
            links += [
                link.veth_to(machine.port, "eth0", machine.mac, there),
                link.plug(machine.port, BRIDGE),
            ]
        batch("ip", [*links, link.up(BRIDGE)])
        batch("bridge", [link.forwarding(machine.port, machine.mac) for machine in self.machines])
        limited = [machine for machine in self.machines if machine.rate]
        batch("tc", [shaper(m.port, m.rate, port_queue_bytes(m.rate)) for m in limited])

    def _configure(self, machine):
        """The machine's side of its link."""
        others = [(m.address, m.mac) for m in self.machines if m is not machine]
        lines = [
            link.up("lo"),
            link.address("eth0", machine.address, PLAN.subnet.prefixlen),
            link.up("eth0"),
            "route add 224.0.0.0/4 dev eth0",
            *link.neighbours("eth0", others),
        ]
        batch("ip", lines, machine.namespace)
        if machine.rate:
            batch("tc", [shaper("eth0", machine.rate, CARD_QUEUE_BYTES)], machine.namespace)
