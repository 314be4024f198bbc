"""The processes of one run: daemons that are up before it, and starters.

A starter is ready in every respect, in its namespace and control group, as a
shell that waits at a barrier: a pipe that all of them read. When its only
writer closes it, all of them see its end at the same moment and become the
tool (after a pause of their own, where arrivals are spread).
"""

import os
import signal
import subprocess
import time

from netlab.namespace import enter

from . import Failed

WAIT_THEN_RUN = 'read -r _; [ "$0" = 0 ] || sleep "$0"; exec "$@" </dev/null'
# A shell that has been executed needs a moment to reach its `read`.
SETTLE_S = 0.3
END_LIMIT_S = 10


class Starter:
    """A process at the barrier, or past it."""

    def __init__(self, machine, process, log):
        self.machine = machine
        self.process = process
        self.log = log

    def why(self):
        """How it ended, for a person."""
        status = self.process.returncode
        lines = self.log.read_text(errors="replace").replace("\r", "\n").strip().splitlines()
        ended = f"exit {status}" if status >= 0 else signal.Signals(-status).name
        return f"{self.machine.name}: {ended}" + (f": {lines[-1].strip()}" if lines else "")


class Cast:
    """All processes of one run."""

    def __init__(self, group, logs):
        self.group = group
        self.logs = logs
        self.starters = []
        self.daemons = []
        self.barrier, self.hold = os.pipe()

    def _start(self, machine, argv, log, stdin, directory):
        """Start a process where it belongs, in a session of its own."""

        def become():
            enter(machine.namespace)
            self.group.enter()

        with open(log, "ab") as output:
            try:
                return subprocess.Popen(
                    [str(word) for word in argv],
                    stdin=stdin,
                    stdout=output,
                    stderr=output,
                    cwd=directory,
                    start_new_session=True,
                    preexec_fn=become,
                )
            except OSError as error:
                raise Failed(f"{argv[0]}: {error.strerror}") from error

    def daemon(self, machine, argv, directory=None, stdin=subprocess.DEVNULL):
        """Start what is up before the run."""
        log = self.logs / f"{machine.name}-{os.path.basename(argv[0])}.log"
        process = self._start(machine, argv, log, stdin, directory)
        self.daemons.append(Starter(machine, process, log))
        return process

    def starter(self, machine, argv, delay_s=0, directory=None):
        """Bring a process to the barrier."""
        log = self.logs / f"{machine.name}.log"
        delay = f"{delay_s:.3f}" if delay_s else "0"
        process = self._start(
            machine, ["sh", "-c", WAIT_THEN_RUN, delay, *argv], log, self.barrier, directory
        )
        self.starters.append(Starter(machine, process, log))
        return self.starters[-1]

    def settle(self):
        """Wait until everything is ready, and say what is not."""
        time.sleep(SETTLE_S)
        for one in self.daemons:
            if one.process.poll() is not None:
                raise Failed(one.why())

    def go(self):
        """Open the barrier; the moment of it."""
        now = time.monotonic()
        os.close(self.hold)
        self.hold = None
        return now

    def end(self):
        """End all of them, and what they have started."""
        for one in self.starters + self.daemons:
            _kill_session(one.process)
        for pid in self.group.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for one in self.starters + self.daemons:
            one.process.wait(timeout=END_LIMIT_S)
        for descriptor in (self.barrier, self.hold):
            if descriptor is not None:
                os.close(descriptor)
        self.barrier = self.hold = None
        self._await_emptiness()

    def _await_emptiness(self):
        """Collect orphans, whose parent is the first process here: this one."""
        until = time.monotonic() + END_LIMIT_S
        while self.group.processes() and time.monotonic() < until:
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pass
            time.sleep(0.01)


def _kill_session(process):
    """End a process and its group; it leads one."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
