"""Runs a scenario where it can leave nothing behind.

The runner starts itself a second time in network, mount and process
namespaces of its own. Every interface lives in that network namespace and
every process in that process namespace, so the end of its first process, by
whatever cause, is the end of all of them: nothing has to be cleaned up, and
nothing can be missed. Without root, a user namespace gives the same rights.
"""

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

MARK = "XGET_LAB_RUN"
PR_SET_PDEATHSIG = 1
PATIENCE_S = 5.0


def _die_with_parent():
    """Between fork and exec: end when the runner does, even by SIGKILL."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(command, limit_s, mark):
    """Run a command isolated and bounded; return its exit status or None.

    None means that it outlived `limit_s` and was ended with all it started.
    """
    isolated = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"]
    isolated += ["--kill-child=SIGKILL"]
    if os.geteuid() != 0:
        isolated += ["--user", "--map-root-user"]
    process = subprocess.Popen(
        isolated + command,
        stdin=subprocess.DEVNULL,
        env={**os.environ, MARK: mark},
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )
    try:
        return process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()


def interfaces():
    """The names of the interfaces in this process's network namespace."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return sorted(line.split(":")[0].strip() for line in lines if ":" in line)


def _marked(mark):
    """The processes that run with this mark in their environment."""
    sought = f"{MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if sought in path.read_bytes().split(b"\0"):
                name = (path.parent / "comm").read_text().strip()
                yield f"{path.parent.name} ({name})"
        except OSError:
            pass  # it has just ended, or is not ours to look at


class Witness:
    """What this machine looked like before, to compare with afterwards."""

    def __init__(self):
        self.before = interfaces()
        self.named = self._named_namespaces()

    @staticmethod
    def _named_namespaces():
        """What `ip netns` lists; the lab makes none."""
        return sorted(path.name for path in Path("/run/netns").glob("*"))

    def leftovers(self, mark, patience_s=PATIENCE_S):
        """What the run named by `mark` has left: processes, interfaces, namespaces.

        The kernel takes a moment to end a namespace; what is still there
        after that will stay.
        """
        until = time.monotonic() + patience_s
        while True:
            found = [f"process {process}" for process in _marked(mark)]
            new = sorted(set(interfaces()) - set(self.before))
            found += [f"interface {name}" for name in new]
            new = sorted(set(self._named_namespaces()) - set(self.named))
            found += [f"network namespace {name}" for name in new]
            if not found or time.monotonic() >= until:
                return found
            time.sleep(0.05)
