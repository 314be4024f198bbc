"""The network of a race: a bridge, the head and the nodes behind veth pairs.

Must run in a network namespace of its own (the lab of the virtual machines
knows how). The bridge stays in it; the head and each node get one more, which
live as long as this process holds them open.

Each link is shaped where packets leave it: at the machine's end for what it
sends, at the bridge's end for what it gets. It is tbf, as netem is missing
from many kernels:

  burst   1 ms of the rate, but never less than a TCP segment of 64 KiB as the
          kernel cuts it (with its headers), or each of them would be cut
          again in software. At 100 Mbit/s that is a credit of 6 ms, once.
  limit   to send: 1000 full packets, as a network card's queue holds here.
          To get: 50 ms of the rate and at least 256 KiB, about what a port of
          a switch has. TCP fills such a queue and backs off before it starves.

tbf counts Ethernet frames without preamble and checksum: of 100 Mbit/s 95.6
remain for what TCP carries, so no TCP tool can be faster than 1.046 wire times.

Addresses are told in advance (permanent neighbours, permanent entries of the
bridge): the kernel's neighbour table is one for all namespaces, and is too
small for ninety nodes that all know each other.
"""

import ctypes
import ipaddress
import os
import re
import subprocess
from pathlib import Path

from . import Failed

BRIDGE = "race0"
SUBNET = ipaddress.ip_network("10.99.0.0/16")
HEAD = 0
NODES_MAX = 1000
CLONE_NEWNET = 0x40000000
SEGMENT_BYTES = 72 * 1024
CARD_QUEUE_BYTES = 1000 * 1514
PORT_QUEUE_BYTES = 256 * 1024
PORT_QUEUE_S = 0.05
LIBC = ctypes.CDLL(None, use_errno=True)

SETTINGS = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    # What one run learnt about a path must not help or hurt the next.
    "net/ipv4/tcp_no_metrics_save": "1",
}


def parse_rate(text):
    """Bits per second of "100mbit", "1.5gbit"; None for "none"."""
    if text == "none":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg])bit", text.lower())
    if not found or float(found[1]) == 0:
        raise ValueError(f"{text!r} is no rate like 100mbit, 1gbit or none")
    return round(float(found[1]) * {"k": 1e3, "m": 1e6, "g": 1e9}[found[2]])


def shaper(device, rate, queue_bytes):
    """The tc command (without tc) that limits what leaves a device."""
    burst = max(SEGMENT_BYTES, rate // 8 // 1000)
    return (
        f"qdisc replace dev {device} root tbf rate {rate}bit "
        f"burst {burst} limit {max(queue_bytes, 2 * burst)}"
    )


def port_queue_bytes(rate):
    """What a port of the switch can hold for a machine behind such a link."""
    return max(PORT_QUEUE_BYTES, round(rate / 8 * PORT_QUEUE_S))


def enter(namespace):
    """Move this process (one thread) to a network namespace, a file descriptor."""
    if LIBC.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns: " + os.strerror(ctypes.get_errno()))


def batch(program, lines, namespace=None):
    """Run many commands of ip, tc or bridge at once, there or here."""
    if not lines:
        return
    done = subprocess.run(
        [program, "-batch", "-"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=None if namespace is None else lambda: enter(namespace),
    )
    if done.returncode != 0:
        raise Failed(f"{program}: {done.stderr.strip() or done.stdout.strip()}")


class Machine:
    """The head or a node: its namespace, address and link."""

    def __init__(self, index, rate, home):
        self.index = index
        self.name = f"node{index}" if index else "head"
        self.rate = rate
        self.address = str(SUBNET.network_address + (256 + index if index else 1))
        self.mac = f"02:99:00:00:{index >> 8:02x}:{index & 255:02x}"
        self.port = f"port{index}"
        self.namespace = _new_namespace(home)

    def sent_bytes(self):
        """What its link has carried away from it, as the bridge has seen it."""
        for line in Path("/proc/net/dev").read_text().splitlines():
            name, _, figures = line.partition(":")
            if name.strip() == self.port:
                return int(figures.split()[0])
        raise Failed(f"no interface {self.port}")


def _new_namespace(home):
    """A file descriptor of a new network namespace; this process stays at home."""
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise Failed("unshare: " + os.strerror(ctypes.get_errno()))
    try:
        for name, value in SETTINGS.items():
            path = Path("/proc/sys") / name
            if path.exists():
                path.write_text(value)
        return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        enter(home)


def choose_congestion_control(namespace, home, name):
    """Set TCP's congestion control of one machine, or leave it; return which it is."""
    setting = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    enter(namespace)
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
        enter(home)


class Network:
    """The bridge and all machines at it."""

    def __init__(self, nodes, rate, head_rate=None, slow=None, congestion=None):
        """`slow` gives single nodes, counted from 1, another rate."""
        if not 1 <= nodes <= NODES_MAX:
            raise Failed(f"{nodes} nodes are not in 1..{NODES_MAX}")
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        rates = [head_rate or rate] + [(slow or {}).get(i, rate) for i in range(1, nodes + 1)]
        self.machines = [Machine(index, rate, home) for index, rate in enumerate(rates)]
        self.head, self.nodes = self.machines[0], self.machines[1:]
        self._plug_in()
        for machine in self.machines:
            self._configure(machine)
            self.congestion = choose_congestion_control(machine.namespace, home, congestion)

    def _plug_in(self):
        """The bridge's side of all links."""
        links = ["link set lo up"]
        links += [f"link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0"]
        shapers, known = [], []
        for machine in self.machines:
            there = f"/proc/{os.getpid()}/fd/{machine.namespace}"
            links += [
                f"link add {machine.port} type veth"
                f" peer name eth0 address {machine.mac} netns {there}",
                f"link set {machine.port} master {BRIDGE} up",
            ]
            known.append(f"fdb replace {machine.mac} dev {machine.port} master static")
            if machine.rate:
                queue_bytes = port_queue_bytes(machine.rate)
                shapers.append(shaper(machine.port, machine.rate, queue_bytes))
        batch("ip", links + [f"link set {BRIDGE} up"])
        batch("bridge", known)
        batch("tc", shapers)

    def _configure(self, machine):
        """The machine's side of its link."""
        lines = [
            "link set lo up",
            f"addr add {machine.address}/{SUBNET.prefixlen} broadcast + dev eth0",
            "link set eth0 up",
            "route add 224.0.0.0/4 dev eth0",
        ]
        lines += [
            f"neigh replace {other.address} lladdr {other.mac} dev eth0 nud permanent"
            for other in self.machines
            if other is not machine
        ]
        batch("ip", lines, machine.namespace)
        if machine.rate:
            batch("tc", [shaper("eth0", machine.rate, CARD_QUEUE_BYTES)], machine.namespace)
