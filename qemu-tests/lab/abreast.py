"""Several scenarios at a time, each by a runner of its own.

They have namespaces of their own anyway. What they share is this machine: its
processors, its memory, of which each gets its share, and what images.py makes, under a
lock. What they say comes as a whole when they have ended.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import deque

from netlab.isolate import die_with_parent
from repository import REPO

from .lab import SHARES, available_mb

# What most scenarios use of this machine at their busiest moment.
PROCESSORS, MEMORY_MB = 2, 6144
POLL_S = 0.1
TALLY = re.compile(r"^\d+ passed, \d+ failed$")


def count_that_fits():
    """How many scenarios this machine can run at a time."""
    return max(1, min(len(os.sched_getaffinity(0)) // PROCESSORS, available_mb() // MEMORY_MB))


class _Run:
    """A runner of one scenario."""

    def __init__(self, name, count):
        self.name = name
        self._said = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, str(REPO / "qemu-tests" / "run"), "--jobs", "1", name],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            env={**os.environ, SHARES: str(count)},
            preexec_fn=die_with_parent,
        )

    def passed(self):
        """Whether the scenario did what it has to, once its runner has ended."""
        return self.process.returncode == 0

    def text(self):
        """What it said, but for its own tally; to be asked for once."""
        with self._said:
            self._said.seek(0)
            return "".join(line for line in self._said if not TALLY.match(line.rstrip()))


def run(names, count):
    """Run the scenarios, so many at a time; return how many passed and failed.

    What failed is said once more at the end: of a long log the end is what is read.
    """
    waiting, running, passed, failures = deque(names), [], 0, []
    try:
        while waiting or running:
            while waiting and len(running) < count:
                running.append(_Run(waiting.popleft(), count))
            time.sleep(POLL_S)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                text = one.text()
                print(text, end="", flush=True)
                if one.passed():
                    passed += 1
                else:
                    failures.append(text)
    finally:
        for one in running:
            one.process.kill()
            one.process.wait()
            print(one.text(), end="", flush=True)
    if failures:
        print("what failed, once more:", *failures, sep="\n", end="", flush=True)
    return passed, len(failures)
