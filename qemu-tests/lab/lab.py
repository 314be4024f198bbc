"""The Lab that a scenario is given: it makes machines and waits for them.

One thread and one loop: everything that runs is polled in turn, and machines
that had no memory to start are started when others have ended.
"""

import os
import re
import time
from pathlib import Path

from netlab import NetworkError
from netlab.command import output

from . import accel, firmware, images, network, paths, roll, services, status
from .errors import Failed
from .machine import OVERHEAD_MB, Hardware, Machine

POLL_S = 0.1
STATUS_EVERY_S = 1.0
STATUS_TIMEOUT_S = 1.0
# A machine that did nothing new for so long, on its own clock, is called stuck.
STUCK_S = 60.0
# Left to everybody else on this machine.
RESERVE_MB = 1024
# How many scenarios run at this time (lab.abreast) and share the memory.
SHARES = "XGET_LAB_SHARES"
CONSOLE = f"console=ttyS0 panic=-1 {images.CROWDED}"


def available_mb():
    """Memory that can be taken without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise Failed("/proc/meminfo has no MemAvailable")


class Said:
    """Whether a console has said something."""

    def __init__(self, pattern):
        self.pattern = pattern
        self.__doc__ = f"line {pattern!r} of its console"

    def __call__(self, machine):
        return machine.console.find(self.pattern) is not None


class Lab:
    """Machines, a master and a network, for as long as a scenario runs."""

    def __init__(self, directory, count=None):
        self.directory = Path(directory)
        self.count = count
        self.accel = accel.choose()
        self.network = network.Network()
        self.machines = []
        self.masters = []
        self.services = []
        self.began = time.monotonic()
        self._budget_mb = (available_mb() - RESERVE_MB) // int(os.environ.get(SHARES, "1"))
        self._status_due = 0.0
        self._follow = None
        # What the master heard of nodes, by MAC address; None: it is not asked.
        self.heard = None

    # What a scenario makes.

    def say(self, text):
        """A line for who watches."""
        print(f"  [{time.monotonic() - self.began:6.1f}] {text}", flush=True)

    def follow(self, pattern):
        """From now on show what consoles say that the pattern matches."""
        self._follow = re.compile(pattern)

    def master(self, tree, options=(), run_by=()):
        """Start a master that serves the tree, and wait until it listens; `run_by` is a
        command that runs it.
        """
        name = "master" if not self.masters else f"master{len(self.masters) + 1}"
        master = services.Master(self.directory, tree, options, name, run_by)
        self.masters.append(master)
        self.services.append(master)
        master.await_ready(self)
        return master

    def dhcp(self, **settings):
        """Start a DHCP server that knows every node."""
        server = services.Dhcp(self.directory, **settings)
        self.services.append(server)
        return server

    def vlan(self, number):
        """A second network with the same cards, in a VLAN of the first one."""
        vlan = network.Vlan()
        self.services.append(services.Tagger(self.directory, vlan, number))
        return vlan

    def routers(self, range_, **settings):
        """Give the head an IPv6 address, and start what tells nodes of IPv6."""
        network.give_ipv6()
        server = services.Routers(self.directory, range_, **settings)
        self.services.append(server)
        return server

    def nodes(self, count, image, **settings):
        """Make and start this many nodes; see `node`."""
        return [self.node(image, **settings) for _ in range(count)]

    def other_network(self):
        """A second network, where there may be DHCP and is no master."""
        other = network.Network("lab1", network.OTHER_PLAN)
        other.refuse_masters()
        return other

    def node(
        self, image, memory_mb=512, ip="static", rate=None, append="", master=network.MASTER,
        files=None, networks=(), initramfs=None, **hardware,
    ):
        """Make a node that is to boot the image, and start it when memory allows.

        `ip` is "static", "dhcp", the value of ip= as the kernel has it, or None;
        `rate` limits its link both ways, as "100mbit"; `master=None` leaves
        the master to DHCP, and `image=None` the image to the master. `files`,
        contents by path, are laid over its initramfs, or over another `initramfs`;
        `networks` are others that it has a card in as well; `hardware` is what
        machine.Hardware has: `disk`, `drives`, `devices`, `memory_nodes`, `keyboard`.
        """
        index = len(self.machines) + 1
        if ip == "static":
            mask = network.PLAN.subnet.netmask
            ip = f"{network.PLAN.node(index)}::{network.MASTER}:{mask}:node{index}::off"
        parameters = CONSOLE
        for name, value in (("ip", ip), ("xget.image", image), ("xget.master", master)):
            if value is not None:
                parameters += f" {name}={value}"
        starts = initramfs or paths.initramfs()
        if files:
            more = self.directory / f"node{index}.img"
            starts = images.initramfs_with(files, more, starts)
        boots = initramfs.with_name("vmlinuz") if initramfs else paths.kernel(), starts
        parameters = f"{parameters} {append}".strip()
        return self._machine(memory_mb, rate, parameters, boots, networks, hardware)

    def bare(self, kind=firmware.BIOS, memory_mb=512, rate=None):
        """Start a machine with an empty disk that boots from the network, by this firmware."""
        disk = firmware.empty_disk(self.directory / f"node{len(self.machines) + 1}.disk")
        return self._machine(memory_mb, rate, "", None, hardware={"firmware": kind, "disk": disk})

    def mounter(self, kernel, initrd, append="", memory_mb=512, **hardware):
        """Start a machine without the agent (lab.mounter, images.disk_user), with an address."""
        address = f"{network.PLAN.node(len(self.machines) + 1)}/{network.PLAN.subnet.prefixlen}"
        parameters = f"{CONSOLE} lab.address={address} lab.master={network.MASTER} {append}"
        return self._machine(memory_mb, None, parameters, (kernel, initrd), hardware=hardware)

    def _machine(self, memory_mb, rate, parameters, boots, networks=(), hardware=None):
        """Make the next machine, and start it when memory allows."""
        index = len(self.machines) + 1
        ports = [self.network.port(index, rate), *(net.port(index) for net in networks)]
        node = Machine(self, index, memory_mb, ports, parameters, boots)
        node.hardware = Hardware(**(hardware or {}))
        if memory_mb + OVERHEAD_MB > self._budget_mb:
            raise Failed(f"{node.name} needs {memory_mb} MB, of which there are {self._budget_mb}")
        self.machines.append(node)
        self._start_what_fits()
        return node

    # What it waits for.

    def poll(self):
        """Take in everything that has happened."""
        for thing in self.machines + self.services:
            new = thing.poll()
            if self._follow and new:
                for line in filter(self._follow.search, new):
                    self.say(f"{thing.name}: {line}")
        self._start_what_fits()
        self._read_status()
        for machine in self.machines:
            client = self.client(machine)
            machine.note_progress(client.have_bytes if client else 0)

    def wait(self, condition, within_s, what, machines=()):
        """Poll until the condition holds, or fail and say what was awaited.

        With machines the time is that since one of them did anything new.
        """
        began, marks = time.monotonic(), [machine.own_s() for machine in machines]
        while True:
            self.poll()
            if condition():
                return
            stood_s = [self._stood_s(m, mark) for m, mark in zip(machines, marks)]
            if min(stood_s, default=time.monotonic() - began) > within_s:
                raise Failed(f"no {what} within {within_s} s{self._excerpts(machines)}")
            time.sleep(POLL_S)

    @staticmethod
    def _stood_s(machine, since_s):
        """For how long nothing new has been seen of a machine since then, on its own clock."""
        if machine.ended is not None:
            return time.monotonic() - machine.ended
        return machine.own_s() - max(machine.moved_s, since_s)

    def expect_all(self, pattern, within_s, machines=None):
        """Wait until every console has said this, or fail at the first that cannot.

        That is one that has ended, or that did nothing new for `within_s`: what
        it repeats but for numbers is not new, and bytes that it fetches are. The
        clock is the machine's own, which stands while it waits for a processor.
        """
        failures = self._gather(Said(pattern), within_s, machines, stop_early=True)
        if failures:
            machine, text = failures[0]
            raise Failed(text + self._excerpts([machine]))

    def client(self, machine):
        """What the master knows of a machine's fetch, or None."""
        for master in reversed(self.masters):
            if machine.address in master.clients:
                return master.clients[machine.address]
        return None

    def client_with_all(self, machine, within_s=10):
        """What the master knows of a machine's fetch when that is whole."""

        def whole():
            client = self.client(machine)
            return client and client.complete

        self.wait(whole, within_s, "report of a whole fetch", [machine])
        return self.client(machine)

    def await_progress(self, machines, share, within_s=90):
        """Wait until one of these holds this share of what it fetches."""

        def so_far(machine):
            client = self.client(machine)
            return client and client.have_bytes >= share * client.total_bytes > 0

        names = " or ".join(machine.name for machine in machines)
        self.wait(lambda: any(map(so_far, machines)), within_s, f"{share:.0%} at {names}", machines)

    def await_parent(self, machines, share, within_s=90):
        """Wait until one of these holds this share and others fetch from it; return it."""

        def feeding():
            clients = [(m, self.client(m)) for m in machines if self.client(m)]
            parents = {parent for _, client in clients for parent in client.parents}
            for machine, client in clients:
                holds = client.have_bytes >= share * client.total_bytes > 0
                if holds and machine.address in parents:
                    return machine
            return None

        self.wait(feeding, within_s, "node that others fetch from", machines)
        return feeding()

    def sleep(self, duration_s):
        """Let time pass while everything goes on."""
        until = time.monotonic() + duration_s
        while time.monotonic() < until:
            self.poll()
            time.sleep(POLL_S)

    @staticmethod
    def check(holds, otherwise):
        """Fail with this text unless it holds."""
        if not holds:
            raise Failed(otherwise)

    def settle(self, pattern, within_s, machines=None):
        """Wait until every console has said this or cannot any more.

        Returns those that cannot, as (machine, why).
        """
        return self._gather(Said(pattern), within_s, machines, stop_early=False)

    def settle_until(self, holds, within_s, machines):
        """The same for what is no line of a console: `holds(machine)`, its docstring says what."""
        return self._gather(holds, within_s, machines, stop_early=False)

    def _gather(self, holds, within_s, machines, stop_early):
        """Wait for something of many machines; a machine's time starts when it does."""
        missing = list(self.machines if machines is None else machines)
        asked = {machine: machine.own_s() for machine in missing}
        failures = []
        while True:
            self.poll()
            for machine in list(missing):
                why = self._hopeless(machine, holds, asked[machine], within_s)
                if why:
                    failures.append((machine, why))
                if why or holds(machine):
                    missing.remove(machine)
            if not missing or (failures and stop_early):
                return failures
            time.sleep(POLL_S)

    def _hopeless(self, machine, holds, asked_s, within_s):
        """Why it will not hold of a machine any more, or None."""
        if holds(machine) or machine.started is None:
            return None
        has_ended = machine.ended is not None
        if not has_ended and self._stood_s(machine, asked_s) <= within_s:
            return None
        machine.poll()  # its last words came before this was noticed
        if holds(machine):
            return None
        if has_ended:
            return f"{machine.name} ended, and there was no {holds.__doc__}"
        return f"{machine.name} did nothing new for {within_s} s, and there is no {holds.__doc__}"

    def _excerpts(self, machines):
        """The ends of the logs that explain a failure."""
        parts = [f"\n  {m.name} ({m.console.path}):\n{m.console.tail()}" for m in machines]
        parts += [f"\n  {s.console.path}:\n{s.console.tail(6)}" for s in self.masters]
        return "".join([*parts, self._connections()])

    def _connections(self):
        """Where bytes wait between the head and its nodes: Recv-Q and Send-Q of ss(8)."""
        try:
            said = output(["ss", "-tnmoi"])
        except NetworkError as error:
            return f"\n  connections of the head: {error}"
        (self.directory / "connections.txt").write_text(said)
        waiting = [line for line in said.splitlines() if re.match(r"\S+ +(?!0 +0 )\d+ +\d+ ", line)]
        lines = "\n".join(f"    | {line}" for line in waiting[:8])
        return f"\n  connections of the head on which bytes wait: {len(waiting)}\n{lines}".rstrip()

    # Its own work.

    def _start_what_fits(self):
        """Start machines in their order while there is memory for them."""
        used_mb = sum(m.memory_mb + OVERHEAD_MB for m in self.machines if m.running)
        for machine in self.machines:
            if machine.process is None:
                used_mb += machine.memory_mb + OVERHEAD_MB
                if used_mb > self._budget_mb:
                    return
                machine.start()

    def _read_status(self):
        """Ask the masters what they know, now and then."""
        if time.monotonic() < self._status_due:
            return
        for master in self.masters:
            if master.ended is None and not master.paused:
                try:
                    known = status.read(str(network.MASTER), network.MASTER_PORT, STATUS_TIMEOUT_S)
                    status.merge(master.clients, known)
                    if self.heard is not None:
                        self._call_the_roll()
                except OSError as error:
                    master.status_error = str(error)
        self._status_due = time.monotonic() + STATUS_EVERY_S

    def _call_the_roll(self):
        """Ask the master what it heard of nodes, and which address each has."""
        roll.merge(self.heard, roll.read(str(network.MASTER), network.MASTER_PORT, STATUS_TIMEOUT_S))
        for machine in self.machines:
            entry = self.entry(machine)
            if entry and entry.address:
                machine.address = status.host(entry.address)

    def entry(self, machine):
        """What the master heard of a machine, or None."""
        return (self.heard or {}).get(machine.port.mac)

    def end(self):
        """End what still runs, so that logs are whole; the namespace ends the rest."""
        for machine in self.machines:
            machine.kill()
        for service in self.services:
            if service.ended is None:
                service.kill()
            service.poll()

    # What it shows.

    def table(self):
        """Print one line for each node: where its bytes came from and how long it took."""
        for machine in self.machines:
            machine.poll()
        for line in status.table([self._row(machine) for machine in self.machines]):
            print(f"  {line}", flush=True)
        clients = list(filter(None, map(self.client, self.machines)))
        sent = sum(client.from_master_bytes for client in clients)
        fetched = sent + sum(client.from_peers_bytes for client in clients)
        if fetched:
            copies = sent / max(client.total_bytes for client in clients)
            text = f"the master sent {status.megabytes(sent)} of {status.megabytes(fetched)} MB"
            print(f"  {text}: {copies:.1f} copies for {len(clients)} nodes", flush=True)

    def _row(self, machine):
        names = {m.address: m.name for m in self.machines}
        client = self.client(machine)
        parents, from_master, from_peers, fetch = "-", "-", "-", "-"
        if client:
            parents = " ".join(status.who(parent, names) for parent in client.parents) or "-"
            from_master = status.megabytes(client.from_master_bytes)
            from_peers = status.megabytes(client.from_peers_bytes)
            fetch = status.seconds(client.elapsed_ms / 1000)
        up_s = machine.seconds_to(images.SECOND_UP)
        result = "booted" if up_s is not None else self._where_it_is(machine)
        return (
            machine.name,
            parents,
            from_master,
            from_peers,
            fetch,
            status.seconds(machine.seconds_to(images.KEXEC)),
            status.seconds(up_s),
            result,
        )

    @staticmethod
    def _where_it_is(machine):
        """What became of a machine whose second system was not seen."""
        if machine.process is None:
            return "not started"
        stage = "second system" if machine.seconds_to(images.KEXEC) else "first system"
        if machine.ended is not None:
            return f"ended in the {stage}"
        is_moving = machine.own_s() - machine.moved_s < STUCK_S
        return f"{'on its way' if is_moving else 'stuck'} in the {stage}"
