"""As many bare machines as there is memory for: some lose their power in the middle, some
come late, and what the head says of them has to be true.
"""

import json
import time

from lab import cluster, network, scenario
from lab.cluster import LOGIN, STARTING, STUCK_S
from lab.head import Head
from lab.outcome import columns

FLEET_NODES = 32
# `xgetctl image show` says 272 MiB of the image that is a squashfs.
MEMORY_MB = 400
# Where many share a processor, systemd would take what waits for it for hung (systemd(1)).
PATIENT = "systemd.default_timeout_start_sec=3600 systemd.service_watchdogs=no"
KILLED, LATE = 3, 4
FETCHING = r"^xget .*fetching: "
# The head's TCP gives a machine up after a minute (src/xget/os/socket.rs).
LOST_S = 150
SMALLEST = KILLED + LATE + 1


def nodes_tab(head, count):
    """One line, for all of them."""
    keys = ",".join(network.PLAN.mac(number) for number in range(1, count + 1))
    cluster.write("nodes.tab", f"{keys}  n[001-{count:03}]  compact  all\n")
    head.shell("cut -c 1-60 nodes.tab")
    head.xgetctl("layers", "render", shows=False)


def in_the_middle(machine):
    """Whether a machine has begun with its root and is not done."""
    return machine.console.find(FETCHING) and not machine.console.find(STARTING)


def pull_cords(lab, machines):
    """Three of those that fetch lose their power."""
    def some():
        return sum(1 for machine in machines if in_the_middle(machine)) >= KILLED

    lab.wait(some, STUCK_S, f"{KILLED} machines in the middle of their fetch", machines)
    killed = [machine for machine in machines if in_the_middle(machine)][:KILLED]
    for machine in killed:
        machine.kill()
        lab.say(f"{machine.name} has no power any more, in the middle of its fetch")
    return killed


def states(head):
    """What the head's status says of each node."""
    said = json.loads(head.xgetctl("status", "--json", shows=False))
    return {node["name"]: node["state"] for node in said["nodes"]}


def await_lost(lab, head, names, killed):
    """Wait until the head has missed those without power; it has TCP's patience."""
    until = time.monotonic() + LOST_S
    while any(states(head)[names[machine]] != "lost" for machine in killed):
        lab.check(time.monotonic() < until, f"who has no power is not lost after {LOST_S} s: {states(head)}")
        lab.sleep(1)


def judge(lab, head, names, killed, failures):
    """What the head's status says of each has to be what is true of it."""
    wrong, said = [], states(head)
    for machine, name in names.items():
        state = said.get(name)
        is_right = state == "lost" if machine in killed else (state == "up") != (machine in failures)
        if not is_right:
            wrong.append(f"{name} ({machine.name}) is said to be {state}")
    lab.check(not wrong, "the head is wrong: " + "; ".join(wrong))
    lab.say("the head says of each what is true of it")


HEADS = ("node", "agent", "to root", "login", "up", "")
UNITS = ("", "s", "s", "s", "s", "")


def table(lab, head, names, killed):
    """A line for each machine, as it was seen from here."""
    def text(moment):
        return "-" if moment is None else f"{moment:.0f}"

    rows = []
    for machine, name in names.items():
        marks = [machine.seconds_to(mark) for mark in (cluster.AGENT_SAYS, STARTING, LOGIN)]
        up = lab.entry(machine).first.get("up") if lab.entry(machine) else None
        end = "killed" if machine in killed else ("up" if up else "not up")
        rows.append((name, *map(text, marks), text(up and up - machine.started), end))
    for line in columns(HEADS, UNITS, rows):
        head.say(line)


@scenario(limit_s=5400, prepare=cluster.prepare)
def fleet(lab):
    """Many bare machines (-n N); three are killed in the middle, four come late, the head knows."""
    count = lab.count or FLEET_NODES
    lab.check(count >= SMALLEST, f"{count} machines: it takes {SMALLEST}, of which some are killed and late")
    head = Head(cluster.TREE)
    lab.heard = {}
    cluster.layers(head)
    nodes_tab(head, count)
    served = cluster.serve(lab, head, more=PATIENT)
    machines = [lab.bare(memory_mb=MEMORY_MB) for _ in range(count - LATE)]
    lab.say(f"{len(machines)} machines of {MEMORY_MB} MB each, under {lab.accel}")
    killed = pull_cords(lab, machines)
    rest = [machine for machine in machines if machine not in killed]
    lab.wait(lambda: any(map(cluster.is_up(lab), rest)), STUCK_S, "machine that is up", rest)
    late = [lab.bare(memory_mb=MEMORY_MB) for _ in range(LATE)]
    lab.say(f"{LATE} more are switched on")
    failures = cluster.settle(lab, [*rest, *late])
    names = {machine: f"n{machine.index:03}" for machine in lab.machines}
    await_lost(lab, head, names, killed)
    head.xgetctl("status")
    table(lab, head, names, killed)
    head.say(f"over time: {cluster.draw(lab, lab.machines)}")
    judge(lab, head, names, killed, [machine for machine, _ in failures])
    cluster.explain(failures, len(lab.machines) - KILLED)
    lab.check(served.end() == 0, f"the head did not end well:\n{served.console.tail(20)}")
