"""One run of one tool over one course: from the start to the last byte.

The clock starts when the clients start; daemons are up and have prepared what
they prepare, files are in the page cache, a BitTorrent client has its
.torrent. It stops when the last node has everything: its client has ended
well, or, for those that serve on, the names have appeared that say so (see
each tool). After that everything is compared with the original.
"""

import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from netlab.namespace import enter

from . import Failed, accounts, content
from .cast import Cast
from .watch import Watch


@dataclass
class Conditions:
    """What is the same for all tools of a race."""

    limit_s: float
    # When each node starts, counted from the first.
    delays_s: list = field(default_factory=list)
    # This node, counted from 1, freezes at that moment and never thaws.
    stalled: int = 0
    stalls_at_s: float = 0.0
    # Nodes with a slower link; their own completion does not count.
    slow: frozenset = frozenset()
    master_options: tuple = ()


@dataclass
class Result:
    """What one run has shown; times in seconds."""

    tool: str
    course: content.Course
    failure: str = ""
    # Until the last node had everything, since the first and the last start.
    time_s: float = 0.0
    since_last_start_s: float = 0.0
    # The median node's own, since its own start.
    node_s: float = 0.0
    processor_s: float | None = None
    machine_s: float = 0.0
    head_sent_bytes: int = 0
    delivered_bytes: int = 0


class Contest:
    """One run; what the tools call `race`."""

    def __init__(self, tool, course, network, home, group, conditions):
        self.course = course
        self.head, self.nodes = network.head, network.nodes
        self.conditions = conditions
        self.group = group
        self.home = home
        self.files = home / str(course) / "files"
        self.state = home / "state"
        self.logs = home / "logs"
        self.tool = tool(self)
        self.master_options = conditions.master_options
        self.cast = None
        self.watch = None
        self.missing = {}
        self.finished_s = {}
        self.failures = []

    # What the tools use.

    @property
    def slowest(self):
        """The slowest link, in bits per second; None if no link is limited."""
        rates = [machine.rate for machine in [self.head, *self.nodes] if machine.rate]
        return min(rates, default=None)

    def directory(self, node):
        """A node's own directory."""
        return self.home / node.name

    def daemon(self, machine, argv, directory=None, stdin=None):
        """Start what is up before the clock starts."""
        more = {} if stdin is None else {"stdin": stdin}
        return self.cast.daemon(machine, argv, directory or self.state, **more)

    def enter(self, machine, argv):
        """Bring what starts with the clock to the barrier."""
        delay_s = self.conditions.delays_s[machine.index - 1] if machine.index else 0
        directory = self.directory(machine) if machine.index else self.state
        argv = [str(word) for word in argv]
        starter = self.cast.starter(machine, argv, delay_s, directory)
        self.watch.process(starter.process.pid, starter)

    @staticmethod
    def output(machine, argv):
        """What a command says that is run where a machine is, now."""
        return subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            timeout=30,
            check=False,
            preexec_fn=lambda: enter(machine.namespace),
        ).stdout

    # The run itself.

    def run(self):
        """Have it; a failure is a result as well."""
        result = Result(self.tool.name, self.course)
        self._clean()
        self.cast, self.watch = Cast(self.group, self.logs), Watch()
        try:
            self.tool.prepare()
            for node in self.nodes:
                names = set(self.tool.landed())
                self.missing[node.index] = names
                if names:
                    self.watch.directory(self.directory(node), node.index)
            self.tool.start()
            self.cast.settle()
            self._measure(result)
        except Failed as failure:
            self.failures.append(str(failure))
        finally:
            self.cast.end()
            self.watch.close()
        self._compare()
        result.failure = "; ".join(self.failures[:2])
        if len(self.failures) > 2:
            result.failure += f"; and {len(self.failures) - 2} more"
        return result

    def _clean(self):
        """Empty directories for everyone."""
        for path in [self.state, self.logs, *map(self.directory, self.nodes)]:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)

    def _counted(self):
        """The nodes whose completion counts."""
        left_out = self.conditions.slow | {self.conditions.stalled}
        return [node for node in self.nodes if node.index not in left_out]

    def _measure(self, result):
        """From the start to the last byte."""
        sent_before = self.head.sent_bytes()
        machine_before = accounts.machine_busy_s()
        used_before = self.group.used_s()
        began = self.cast.go()
        self._await_all(began)
        if self.failures:
            return
        result.machine_s = accounts.machine_busy_s() - machine_before
        if used_before is not None:
            result.processor_s = self.group.used_s() - used_before
        result.head_sent_bytes = self.head.sent_bytes() - sent_before
        delays_s = self.conditions.delays_s
        nodes = [node.index for node in self._counted()]
        result.time_s = max(self.finished_s[index] for index in nodes)
        result.since_last_start_s = result.time_s - max(delays_s)
        result.node_s = median(self.finished_s[i] - delays_s[i - 1] for i in nodes)
        result.delivered_bytes = len(self.nodes) * self.course.total_bytes

    def _await_all(self, began):
        """Until every node that counts is done, or cannot be any more."""
        waiting = {node.index for node in self._counted()}
        until = began + self.conditions.limit_s
        stalls_at = began + self.conditions.stalls_at_s if self.conditions.stalled else None
        while waiting:
            now = time.monotonic()
            if now >= until:
                raise Failed(f"{len(waiting)} nodes not done within {self.conditions.limit_s:g} s")
            if stalls_at and now >= stalls_at:
                self._stall()
                stalls_at = None
            for kind, what in self.watch.events(min(until, stalls_at or until) - now):
                elapsed_s = time.monotonic() - began
                index = self._name(*what) if kind == "name" else self._end(what)
                if index is not None:
                    self.finished_s.setdefault(index, elapsed_s)
                    waiting.discard(index)
            if self.failures:
                return

    def _name(self, index, name):
        """A name has appeared; the node, if it was the last one."""
        missing = self.missing.get(index)
        if not missing or name not in missing:
            return None
        missing.discard(name)
        return None if missing else index

    def _end(self, starter):
        """A starter has ended; the node, if that says it is done."""
        index = starter.machine.index
        status = starter.process.wait()
        if index in self.finished_s or index == self.conditions.stalled:
            return None
        if status != 0:
            self.failures.append(starter.why())
        elif self.missing.get(index):
            self.failures.append(f"{starter.why()}: ended before it was done")
        return index if status == 0 and index else None

    def _stall(self):
        """Freeze the node that shall be frozen: its connections stay, and nothing answers."""
        for starter in self.cast.starters:
            if starter.machine.index == self.conditions.stalled:
                starter.process.send_signal(signal.SIGSTOP)

    def _compare(self):
        """Every byte of every node that counts, with the original."""
        if self.failures:
            return
        for node in self._counted():
            difference = content.difference(self.course, self.tool.where(node), self.files)
            if difference:
                self.failures.append(f"{node.name}: {difference}")


def room_bytes(course, nodes):
    """What a run needs of memory for files."""
    return course.total_bytes * (nodes + 1)


def available_bytes():
    """What there is."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise Failed("/proc/meminfo does not say what is available")
