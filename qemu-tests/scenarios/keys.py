"""A key of the cluster: who has it boots, and from nobody else."""

import subprocess

from lab import network, scenario, services, tiny_image
from lab.images import (
    FETCHED, KEXEC, NOT_SHUT_IN, ROOT, ROOT_UP, SECOND_MARKS, SECOND_UP, SHUT_IN, Roots, binary,
    digest,
)
from lab.lab import CONSOLE
from lab.network import PLAN

BOOT_S = 90
# Who comes second fetches for half a minute at least, and the first is through long before.
PADDING_MB, MASTER_RATE, SLOW_RATE = 32, "20mbit", "6mbit"


class Key:
    """One of a cluster: its file at a head, and what its nodes get of it."""

    def __init__(self, lab, name):
        self.file = lab.directory / f"{name}.key"
        self._xgetctl("new")
        self.text = self._xgetctl("cluster").strip()
        self.options = ("--key", str(self.file))
        self.word = f"xget.key={self.text}"
        self.files = {"etc/xget/key": f"{self.text}\n".encode()}

    def _xgetctl(self, verb):
        words = [str(binary().with_name("xgetctl")), "key", verb, str(self.file)]
        return subprocess.run(words, check=True, timeout=20, capture_output=True, text=True).stdout


def _says_no_key(lab, key, *machines):
    """Nobody has said a digit of it, but for the kernel that got it on its command line."""
    digits = key.text.split(":")[1]
    logs = [lab.directory / "master.log", *(machine.console.path for machine in machines)]
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            told = "ommand line: " in line
            lab.check(told or digits not in line, f"{log.name} has the key")


@scenario(limit_s=240, tags=["quick", "network", "roots"])
def key_and_roots(lab):
    """Nodes with the key in their initramfs, or on their command line, boot a root through the tree.

    Who serves on beside the first one's system is shut in.
    """
    key = Key(lab, "own")
    roots = Roots(lab)
    roots.image("tree", bare=True, padding_mb=PADDING_MB)
    roots.nodes("* - tree - -")
    lab.master(roots.tree, key.options)
    lab.network.shape_master(MASTER_RATE)
    first = lab.node(None, append="lab.stay=60 xget.linger=60", files=key.files)
    first.expect(r"fetching images/tree/root from", within_s=BOOT_S)
    second = lab.node(None, rate=SLOW_RATE, append=f"xget.linger=0 {key.word}")
    first.expect(ROOT_UP, within_s=BOOT_S)
    first.expect(rf"{ROOT}xget-serving {SHUT_IN}$", within_s=5)
    first.expect_silence(NOT_SHUT_IN)
    second.expect(ROOT_UP, within_s=2 * BOOT_S)
    done = rf"{second.address}!\d+ done: .* s, \d+ from the master, (\d+) from"
    got = lab.masters[0].console.find_all(done)
    lab.check(got and int(got[-1][1]) > 0, "nothing came from the first node")
    roots.remove()


@scenario(limit_s=240, tags=["quick", "network", "faults"])
def key_or_none(lab):
    """Who has the key boots, and the next kernel is not told it; without it, or with another, nobody does."""
    key, other = Key(lab, "own"), Key(lab, "other")
    lab.master(tiny_image(), key.options)
    node = lab.node("tiny", append=f"lab.word=1 {key.word}")
    without = lab.node("tiny")
    wrong = lab.node("tiny", append=other.word)
    node.expect(SECOND_UP, within_s=BOOT_S)
    line = node.expect(SECOND_MARKS, within_s=1)[1]
    lab.check("xget.image=tiny" in line and "key" not in line, f"the next kernel was told {line}")
    without.expect(r"only who has the key of this cluster is let in.*; again in", within_s=BOOT_S)
    wrong.expect(r"authentication failed.*; again in", within_s=BOOT_S)
    for stranger in (without, wrong):
        stranger.expect_silence(rf"{KEXEC}|{FETCHED}")
    _says_no_key(lab, key, node)
    _says_no_key(lab, other, wrong)


@scenario(limit_s=300, tags=["quick", "network", "faults"])
def two_heads_and_no_key(lab):
    """Of two heads the first to answer has no key, and then another: nodes boot from their own.

    Where DHCP names the attacker alone, nobody boots from him either.
    """
    key, other = Key(lab, "own"), Key(lab, "other")
    right, wrong = tiny_image(padding_mb=1), tiny_image()
    own = digest(right, "tiny")
    services.OtherHead(lab, right, key.options)
    address, mask = network.PLAN.node, network.PLAN.subnet.netmask

    def boots_from_its_own(refused):
        ip = f"{address(len(lab.machines) + 1)}:::{mask}::eth0:none"
        node = lab.node("tiny", ip=ip, master=None, append=key.word)
        node.expect(SECOND_UP, within_s=BOOT_S)
        heard = node.console.find(rf"{network.MASTER}.*{refused}")
        lab.check(heard is not None, f"{node.name} did not ask the attacker first")
        got = node.expect(FETCHED, within_s=1)[1]
        lab.check(got == own, f"{node.name} booted {got}")

    for options, refused in ((), "authentication not required"), (other.options, "authentication failed"):
        attacker = lab.master(wrong, options)
        boots_from_its_own(refused)
        attacker.kill()
    lab.master(wrong)
    lab.dhcp(boot_server=True)
    node = lab.node("tiny", ip="dhcp", master=None, append=key.word)
    node.expect(r"authentication not required.*; again in", within_s=BOOT_S)
    node.expect_silence(rf"{KEXEC}|{FETCHED}")


@scenario(limit_s=400, tags=["network", "quick", "roots"])
def key_for_two_stages(lab):
    """A second agent, after a kexec, fetches the root: the key is behind its initrd, and not on its command line."""
    key, roots = Key(lab, "own"), Roots(lab)
    roots.image("squash", "squashfs", cmdline=CONSOLE)
    roots.nodes(*(f"{PLAN.mac(n)} n00{n} squash - lab.word={n}" for n in (1, 2)))
    lab.master(roots.tree, key.options)
    nodes = [lab.node(None, files=key.files), lab.node(None, append=key.word)]
    for number, node in enumerate(nodes, 1):
        node.expect(ROOT_UP, within_s=3 * BOOT_S)
        node.expect(KEXEC, within_s=1)
        node.expect(f"{ROOT}host n00{number}$", within_s=5)
        line = node.expect(rf"{ROOT}command line (.*)$", within_s=5)[1]
        holds = f"lab.word={number}" in line and "xget.key=" not in line
        lab.check(holds, f"the second agent was told {line}")
    _says_no_key(lab, key, *nodes)
