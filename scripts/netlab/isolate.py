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
NAMESPACE_LIMIT_S = 5.0
# The network namespace of each run, by its mark.
_NAMESPACES = {}


def die_with_parent():
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
        preexec_fn=die_with_parent,
    )
    _NAMESPACES[mark] = _own_namespace(process)
    try:
        return process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()


def _namespace(pid):
    """The network namespace that a process is in, as a number, or None."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None  # it has just ended, or is not ours to look at


def _own_namespace(process):
    """The namespace that unshare(1) makes for itself; None if it ends before that."""
    ours, until = _namespace("self"), time.monotonic() + NAMESPACE_LIMIT_S
    while process.poll() is None and time.monotonic() < until:
        found = _namespace(process.pid)
        if found not in (ours, None):
            return found
        time.sleep(0.001)
    return None


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


def _held(namespace):
    """What keeps a network namespace, and the interfaces in it: processes, mounts."""
    if namespace is None:
        return
    for path in Path("/proc").glob("[0-9]*"):
        if _namespace(path.name) == namespace:
            yield f"network namespace of process {path.name}"
    for path in Path("/run/netns").glob("*"):
        try:
            if path.stat().st_ino == namespace:
                yield f"network namespace {path.name}"
        except OSError:
            pass


def leftovers(mark, patience_s=PATIENCE_S):
    """What the run named by `mark` has left: processes, and its namespace.

    Every interface of a run is in its namespace and goes with it. What others
    do on this machine meanwhile is not looked at. The kernel takes a moment to
    end a namespace; what is still there after that will stay.
    """
    until = time.monotonic() + patience_s
    while True:
        found = [f"process {process}" for process in _marked(mark)]
        found = found or list(_held(_NAMESPACES.get(mark)))
        if not found or time.monotonic() >= until:
            return found
        time.sleep(0.05)
