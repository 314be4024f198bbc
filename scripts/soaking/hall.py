"""The head and the nodes: each a network namespace behind a port of one bridge."""

import ipaddress
import os
import signal
import socket
import subprocess

from netlab import link, namespace
from netlab.address import Plan
from netlab.command import batch
from netlab.shaping import limit, parse_rate

BRIDGE = "soak0"
PLAN = Plan(ipaddress.ip_network("10.98.0.0/16"), "02:98:00:00")
SETTINGS = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv4/tcp_no_metrics_save": "1",
}
BURST_BYTES = 72 * 1024
QUEUE_BYTES = 256 * 1024


class Machine:
    """Number 0 is the head."""

    def __init__(self, index, home):
        self.index = index
        self.address = str(PLAN.node(index) if index else PLAN.head)
        self.mac = PLAN.mac(index)
        self.port = f"port{index}"
        self.namespace = namespace.create(home, SETTINGS)
        self.is_cut = False

    def start(self, command, output):
        """Start a process here; both its outputs go to this file."""
        with open(output, "wb") as file:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=self._settle,
            )

    def _settle(self):
        namespace.enter(self.namespace)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def call(self, port):
        """A connection to a port here, from here."""
        home = namespace.own()
        namespace.enter(self.namespace)
        try:
            return socket.create_connection((self.address, port), 5)
        finally:
            namespace.enter(home)
            os.close(home)

    def cut(self):
        """Pull its cable: nobody is told."""
        batch("ip", [link.unplug(self.port)])
        self.is_cut = True

    def heal(self):
        """Put the cable back."""
        batch("ip", [link.plug(self.port, BRIDGE)])
        self.is_cut = False


class Hall:
    """All of them, every link as fast as this each way."""

    def __init__(self, nodes, rate):
        home = namespace.own()
        self.machines = [Machine(index, home) for index in range(nodes + 1)]
        self.head, self.nodes = self.machines[0], self.machines[1:]
        links = [link.up("lo"), *link.bridge(BRIDGE)]
        for machine in self.machines:
            there = f"/proc/{os.getpid()}/fd/{machine.namespace}"
            links.append(link.veth_to(machine.port, "eth0", machine.mac, there))
            links.append(link.plug(machine.port, BRIDGE))
        batch("ip", [*links, link.up(BRIDGE)])
        bits = parse_rate(rate)
        shape = [limit(m.port, bits, BURST_BYTES, QUEUE_BYTES) for m in self.machines]
        batch("tc", shape)
        for machine in self.machines:
            others = [(m.address, m.mac) for m in self.machines if m is not machine]
            lines = [
                link.up("lo"),
                link.address("eth0", machine.address, PLAN.subnet.prefixlen),
                link.up("eth0"),
                *link.neighbours("eth0", others),
            ]
            batch("ip", lines, machine.namespace)
            batch("tc", [limit("eth0", bits, BURST_BYTES, QUEUE_BYTES)], machine.namespace)
