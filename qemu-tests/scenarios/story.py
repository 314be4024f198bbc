"""A cluster from nothing, by the commands that an administrator types: an image, a
table of nodes, a head that machines boot from; then an edit, and all of them have it.
"""

import json
import re
import subprocess
import time
from dataclasses import dataclass

from lab import cluster, firmware, network, scenario
from lab.cluster import BUILD_LIMIT_S, LOGIN, STARTING, STUCK_S, TREE, VERSION, WAITS
from lab.head import Head
from lab.images import KEXEC
from lab.outcome import columns

# What `xgetctl image show` says that a node needs, and what it runs besides.
MEMORY_MB = 832
# Of the image that is started as one initrd: unpacked it may fill half of the memory.
INITRD_MEMORY_MB = 1408
FROM = f"-n {network.MASTER} --delete"
UPDATE = f"{FROM} --keep /run/xget/keep --keep /etc/xget/keep images/debian/root/. /"
# Of a system that an agent did not put together: its layers are in /etc/xget/keep.
UPDATE_BY_HAND = f"{FROM} --keep /etc/xget/keep images/debian/root/. /"
# Nodes are silent meanwhile, and hash all that they have.
UPDATE_LIMIT_S = 240
SSH_LIMIT_S = 120
SQUASHFS, INITRD, DIRECTORY = "squashfs", "initrd", "directory"


@dataclass(frozen=True)
class Member:
    """What a machine is to be."""

    name: str
    boot: str
    image: str
    root: str
    kind: str = firmware.BIOS
    memory_mb: int = MEMORY_MB

    @property
    def update(self):
        """What makes it the same as the image."""
        return UPDATE_BY_HAND if self.root == INITRD else UPDATE


MEMBERS = (
    Member("n001", "BIOS, iPXE", "debian", DIRECTORY),
    Member("n002", "UEFI, iPXE", "debian", DIRECTORY, firmware.UEFI),
    Member("n003", "BIOS, PXELINUX", "compact", SQUASHFS),
    Member("n004", "BIOS, iPXE", "whole", INITRD, memory_mb=INITRD_MEMORY_MB),
    Member("n005", "UEFI, iPXE", "compact", SQUASHFS, firmware.UEFI),
)
# Of which nodes.tab says nothing at first.
STRANGER = MEMBERS[-1]


def mac(number):
    """The MAC address of machine number `number`."""
    return network.PLAN.mac(number)


def nodes_tab(head):
    """Three lines, and a machine that none of them is for."""
    lines = (
        f"{mac(1)},{mac(2)}  n[001-002]  debian   all",
        f"{mac(3)}                    n003        compact  all",
        f"{mac(4)}                    n004        whole    -    systemd.hostname=n004",
    )
    cluster.write("nodes.tab", "".join(f"{line}\n" for line in lines))
    head.shell("cat nodes.tab")
    head.xgetctl("layers", "render")


# Machines that come up.


def switch_on(lab, head):
    """Machines with empty disks."""
    machines = {}
    for member in MEMBERS:
        machine = lab.bare(member.kind, member.memory_mb)
        machines[member] = machine
        head.say(f"{machine.name}: {machine.port.mac}, {member.memory_mb} MB, {member.boot}")
    return machines


def take_in(lab, head, machine):
    """The machine without a line waits; it is listed, and gets one."""
    machine.expect(WAITS, STUCK_S)
    head.xgetctl("nodes", "--unknown")
    waiting = json.loads(head.xgetctl("nodes", "--unknown", "--json", shows=False))
    lab.check(len(waiting) == 1, f"{len(waiting)} machines wait for a line")
    line = ("--image", STRANGER.image, "--layers", "all", "--words", "role=late")
    head.xgetctl("nodes", "--unknown", "--take", STRANGER.name, *line)


def know_names(head, directory):
    """The nodes' names for this machine, in this scenario's mount namespace alone."""
    text = head.xgetctl("nodes", "export", "--hosts", "--leases", "../netboot/leases")
    path = directory / "hosts"
    path.write_text(f"127.0.0.1 localhost\n{text}")
    subprocess.run(["mount", "--bind", str(path), "/etc/hosts"], check=True, timeout=10)


def inspect(lab, head, member, machine):
    """What a node says of itself has to be what its line and its layers say."""
    said = head.ssh(member.name, "about", limit_s=SSH_LIMIT_S)
    wanted = {
        f"name {member.name}",
        f"address {machine.address}",
        "motd This node came up from the head.",
    }
    # cpio carries no attributes, and so no capabilities; nor does kexec know layers.
    if member.root != INITRD:
        card = f"card {member.name} is {machine.port.mac}, of the image {member.image}"
        wanted |= {card, "ping works"}
    if member.name == "n001":
        wanted |= {"only-here of n001"}
    missing = wanted - set(said.splitlines())
    lab.check(not missing, f"{member.name} does not say {sorted(missing)}")


# The image is edited, and all have it.


def version():
    """Which edition of the image this is."""
    return int((TREE / "images/debian/root" / VERSION).read_text())


def edit(head):
    """Another program, and the one before is gone."""
    old, new = version(), version() + 1
    head.xgetctl(
        "image", "shell", "debian", "--", "sh", "-c",
        f"rm -r /opt/app-{old}; mkdir /opt/app-{new}; "
        f"head -c 1200000 /dev/urandom >/opt/app-{new}/program; echo {new} >/{VERSION}",
        limit_s=BUILD_LIMIT_S,
    )


def update(lab, head, machines):
    """Every node becomes what the image is now, all of them at once; what each of them said."""
    head.say("# compact and whole are debian in other forms: one source for all.")
    began, running = time.monotonic(), {}
    for member in machines:
        log = lab.directory / f"{member.name}.update"
        line = f"xget {member.update}"
        head.show(["ssh", member.name, line])
        with open(log, "wb") as output:
            running[member] = subprocess.Popen(
                head.ssh_command(member.name, line),
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )

    def is_over():
        return all(process.poll() is not None for process in running.values())

    lab.wait(is_over, UPDATE_LIMIT_S, "end of the update", list(machines.values()))
    said = {member: (lab.directory / f"{member.name}.update").read_text() for member in machines}
    for member, process in running.items():
        ended = f"the update of {member.name} ended with {process.returncode}:\n{said[member]}"
        lab.check(process.returncode == 0, ended)
    head.say(f"All have it after {time.monotonic() - began:.0f} s. Of n001:")
    for line in said[MEMBERS[0]].splitlines():
        head.say(f"  {line}")
    return said


def verify(lab, head, machines):
    """Each node is the image now, what is its own is still there, and nothing is left to do."""
    new = version()
    for member, machine in machines.items():
        said = head.ssh(member.name, "about", limit_s=SSH_LIMIT_S, shows=False)
        for line in (
            f"name {member.name}", f"image {new} app-{new}", "ping works",
            "motd This node came up from the head.",
        ):
            lab.check(line in said.splitlines(), f"{member.name} does not say {line!r}:\n{said}")
        lab.check(machine.running, f"{machine.name} has ended")
        line = f"xget --dry-run {member.update}"
        left = head.ssh(member.name, line, limit_s=UPDATE_LIMIT_S)
        lab.check(not left.strip(), f"{member.name} is not the image yet:\n{left}")


# What came of it.

HEADS = (
    "node", "firmware", "image", "root", "agent", "to root", "login", "up",
    "boot: head", "peers", "update: head", "peers",
)
UNITS = ("", "", "", "", "s", "s", "s", "s", "MB", "MB", "MB", "MB")


def megabytes(count):
    """For the table."""
    return f"{count / 1e6:.1f}"


def seconds(moment):
    """For the table."""
    return "-" if moment is None else f"{moment:.0f}"


def row(lab, member, machine, booted, now):
    """A node's line in the table: when it came where, and bytes of its boot and of the update."""
    root = machine.seconds_to(KEXEC if member.root == INITRD else STARTING)
    up = lab.entry(machine).first["up"] - machine.started
    moments = machine.seconds_to(cluster.AGENT_SAYS), root, machine.seconds_to(LOGIN), up
    updated = (after - before for after, before in zip(now, booted))
    return (
        member.name, member.boot, member.image, member.root, *map(seconds, moments),
        *map(megabytes, booted), *map(megabytes, updated),
    )


def fetched(lab, machines):
    """Bytes from the head and from other nodes that each has fetched so far, as the master's log has it."""
    lab.poll()
    sums = {}
    for member, machine in machines.items():
        done = rf"{re.escape(machine.address)}!\d+ done: .* s, (\d+) from the master, (\d+) from"
        found = lab.masters[0].console.find_all(done)
        sums[member] = tuple(sum(int(one[part]) for one in found) for part in (1, 2))
    return sums


@scenario(limit_s=1500, prepare=cluster.prepare)
def demo(lab):
    """Five machines with empty disks come to their own login prompts; an edit of the image is on all."""
    head = Head(TREE)
    lab.heard = {}
    cluster.layers(head)
    nodes_tab(head)
    served = cluster.serve(lab, head, pxelinux=[mac(3)])
    machines = switch_on(lab, head)
    lab.follow(f"{LOGIN}|{STARTING}|{WAITS}|{KEXEC}")
    take_in(lab, head, machines[STRANGER])
    cluster.explain(cluster.settle(lab, list(machines.values())), len(machines))
    head.xgetctl("status")
    know_names(head, lab.directory)
    for member, machine in machines.items():
        inspect(lab, head, member, machine)
    booted = fetched(lab, machines)
    edit(head)
    update(lab, head, machines)
    verify(lab, head, machines)
    now = fetched(lab, machines)
    rows = [row(lab, member, machine, booted[member], now[member]) for member, machine in machines.items()]
    for line in columns(HEADS, UNITS, rows):
        head.say(line)
    head.say(f"over time: {cluster.draw(lab, list(machines.values()))}")
    lab.check(served.end() == 0, f"the head did not end well:\n{served.console.tail(20)}")
