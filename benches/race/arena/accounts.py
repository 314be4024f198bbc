"""Processor time: of one tool's processes, and of the machine.

A tool's processes are in a control group, which counts what they use in user
and kernel mode, children and daemons included. What the kernel does for the
network outside of any process (softirq) is not in it; the machine's busy time
holds that too, and all else that runs.
"""

import os
import time
from pathlib import Path

GROUP = "XGET_RACE_GROUP"
PATIENCE_S = 5.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def create_group():
    """A new control group (v2) as a path, or None where that is not allowed."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind = line.split()[:3]
        if kind == "cgroup2":
            path = Path(where) / f"xget-race-{os.getpid()}"
            try:
                path.mkdir()
            except OSError:
                return None
            return path
    return None


def remove_group(path):
    """Undo `create_group`, once its processes have ended."""
    until = time.monotonic() + PATIENCE_S
    while path is not None:
        try:
            path.rmdir()
            return
        except OSError:
            # Those that were killed with their namespace take a moment.
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


class Group:
    """The control group that a tool's processes are started in."""

    def __init__(self):
        found = os.environ.get(GROUP)
        self.path = Path(found) if found else None

    def enter(self):
        """Put this process into it; for between fork and exec."""
        if self.path:
            with open(self.path / "cgroup.procs", "w", encoding="ascii") as file:
                file.write("0")

    def used_s(self):
        """Processor time of all that was ever in it, or None if unknown."""
        if not self.path:
            return None
        for line in (self.path / "cpu.stat").read_text().splitlines():
            name, value = line.split()
            if name == "usage_usec":
                return int(value) / 1e6
        return None

    def processes(self):
        """The processes in it, as numbers of this process namespace."""
        if not self.path:
            return []
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]


def machine_busy_s():
    """Processor time that this machine has spent on anything since its start."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq = (int(field) for field in first[:7])
    return (user + nice + system + irq + softirq) / TICKS_PER_S
