"""Runs scenarios: each isolated and bounded, their results in one summary."""

import json
import os
import shutil
import sys
import time
import traceback
import uuid

from netlab import NetworkError, isolate
from repository import REPO, binary

from . import abreast, accel, paths, registry
from .errors import Failed
from .lab import Lab

# For the lab to end its machines after a scenario has used up its time.
GRACE_S = 30


def inside(name, directory, count):
    """Within its namespaces: run one scenario and write how it ended."""
    lab, outcome, why = None, "passed", ""
    try:
        lab = Lab(directory, count)
        registry.load()[name].function(lab)
    except (Failed, NetworkError) as error:
        outcome, why = "failed", str(error)
    except Exception:  # pylint: disable=broad-except
        outcome, why = "failed", traceback.format_exc()
    if lab:
        lab.end()
    (directory / "result.json").write_text(json.dumps({"outcome": outcome, "why": why}))


def run_one(scenario, count, keep):
    """Run a scenario in namespaces of its own; return its outcome and the reason."""
    directory = paths.RESULTS / scenario.name
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    if scenario.prepare:
        try:
            scenario.prepare()
        except Failed as error:
            return "failed", str(error)
    for path in (paths.initramfs(), paths.kernel()):
        if not path.exists():
            return "failed", f"no {path}: run make initramfs first"
    mark = uuid.uuid4().hex
    command = [sys.executable, str(REPO / "qemu-tests" / "run"), "--inside", scenario.name]
    command += ["-n", str(count)] if count else []
    status = isolate.run(command, scenario.limit_s + GRACE_S, mark)
    result = directory / "result.json"
    if status is None:
        answer = {"outcome": "failed", "why": f"not over within {scenario.limit_s} s"}
    elif result.exists():
        answer = json.loads(result.read_text())
    else:
        answer = {"outcome": "failed", "why": f"its process ended with {status}"}
    left = isolate.leftovers(mark)
    if not left:
        print("  left behind: no process, interface or namespace", flush=True)
    else:
        answer = {"outcome": "failed", "why": "left behind: " + ", ".join(left)}
    if answer["outcome"] == "passed" and not keep:
        for log in directory.glob("*.qemu.log"):
            log.unlink()
    return answer["outcome"], answer["why"]


def missing():
    """What has to be made before any scenario can run, or nothing."""
    if not binary().exists():
        return f"no {binary()}: run make first"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened: run as root (and modprobe tun)"
    return None


def run(names, count=None, keep=False, jobs=1):
    """Run the named scenarios, one after the other or some at a time; return the exit status."""
    lack = missing()
    if lack:
        sys.exit(f"qemu-tests: {lack}")
    if jobs > 1 and len(names) > 1:
        if paths.kernel().exists():
            accel.choose()  # once, and not in each of them
        passed, failed = abreast.run(names, jobs)
        print(f"{passed} passed, {failed} failed", flush=True)
        return 1 if failed else 0
    known = registry.load()
    tally = {"passed": 0, "failed": 0}
    for name in names:
        scenario = known[name]
        print(f"{name}: {scenario.about}", flush=True)
        began = time.monotonic()
        outcome, why = run_one(scenario, count, keep)
        tally[outcome] += 1
        print(f"{name}: {outcome} in {time.monotonic() - began:.1f} s", flush=True)
        if why:
            print("  " + why.replace("\n", "\n  "), flush=True)
        if outcome == "failed":
            print(f"  logs: {(paths.RESULTS / name).relative_to(REPO)}", flush=True)
    print(f"{tally['passed']} passed, {tally['failed']} failed", flush=True)
    return 1 if tally["failed"] else 0
