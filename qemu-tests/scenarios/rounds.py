"""Boots of a root that go back a step: what came stays, and only what differs comes again."""

import os
import re
import subprocess
from functools import partial

from lab import scenario
from lab.images import KEXEC, ROOT, ROOT_UP, Roots
from lab.lab import CONSOLE
from lab.network import MASTER, PLAN
from lab.ninep import Ninep
from repository import binary

BOOT_S = 120
LEASE_S = 120
PADDING_MB = 24
# root, but for what lets it read what it may not.
WITHOUT_OVERRIDE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
AGAIN = r"^xget .*! .*; asking again$"


def said_at_head():
    """What the master has to say of the nodes that asked."""
    with Ninep(str(MASTER), 20004) as master:
        return master.read(".xget/nodes").decode()


def moved_mb(lab, node):
    """What the master says that a node fetched, by source: MiB."""
    log = (lab.directory / "master.log").read_text()
    done = rf"{re.escape(node.address)}!\d+ done: .* s, (\d+) from the master, (\d+) from"
    return [sum(map(int, found)) >> 20 for found in re.findall(done, log)]


@scenario(limit_s=700, tags=["roots", "faults"])
def unreadable_root(lab):
    """Nothing of a root is fetched that the master cannot read; a lease lost meanwhile comes again."""
    roots = Roots(lab)
    root = roots.image("tree", cmdline=CONSOLE, padding_mb=PADDING_MB)
    (root / "etc/motd").chmod(0)
    roots.nodes("* - tree - -")
    dhcp = lab.dhcp(lease_s=LEASE_S)
    lab.master(roots.tree, run_by=WITHOUT_OVERRIDE)
    node = lab.node(None, ip="dhcp")
    rounds = lambda: len(node.console.find_all(AGAIN))
    more = partial(lab.wait, machines=[node])
    node.expect(r"! the master cannot read etc/motd of images/tree/root .*: nothing", BOOT_S)
    more(lambda: rounds() >= 3, 120, "third round")
    said = said_at_head()
    lab.check(re.search(r"state=failed .*said=\S*etc/motd", said), f"the head shows {said}")
    lab.check(lab.masters[0].console.find(r"10\.77\.1\.1 failed: .*etc/motd"), "its log does not")
    kernel = moved_mb(lab, node)
    lab.check(len(kernel) == 1, f"the kernel was fetched {len(kernel)} times")
    # The lease ends while it waits: the address has gone, and comes again.
    dhcp.pause()
    more(lambda: node.console.find(r"setting up the network again"), 2 * LEASE_S, "lost lease")
    before = rounds()
    dhcp.resume()
    more(lambda: rounds() > before, 120, "round with another lease")
    (root / "etc/motd").chmod(0o644)
    node.expect(ROOT_UP, BOOT_S)
    node.expect_silence(KEXEC)
    moved = moved_mb(lab, node)
    lab.check(len(moved) == 2, f"there were {len(moved)} fetches")
    roots.remove()


@scenario(limit_s=500, tags=["roots", "faults", "quick"])
def layer_changes(lab):
    """A layer that changes while it comes is fetched anew, over the same root; nothing of the old stays."""
    roots = Roots(lab)
    roots.image("tree", bare=True, padding_mb=PADDING_MB)
    roots.layer("all", {"etc/layer": "old", "etc/own": "gone", "etc/motd": "of the old layer"})
    layer = roots.tree / "layers/all"
    (layer / "big").mkdir()
    (layer / "big/more").write_bytes(os.urandom(PADDING_MB << 20))
    roots.nodes(f"{PLAN.mac(1)} n001 tree all -", f"{PLAN.mac(2)} n002 tree all xget.root.overlay")
    lab.master(roots.tree)
    # What one has still serves the other when it begins anew: its memory is taken once.
    nodes = lab.nodes(2, None, memory_mb=320)
    lab.network.shape_master("12mbit")
    lab.expect_all(r"^xget .*fetching layers/all from", 2 * BOOT_S)
    lab.sleep(4)
    with open(layer / "big/more", "r+b") as file:
        file.write(os.urandom(PADDING_MB << 20))
    (layer / "etc/layer").write_text("new")
    (layer / "etc/own").unlink()
    (layer / "etc/motd").unlink()
    lab.expect_all(r"! the layer layers/all has changed: it is fetched anew.*; asking again", BOOT_S)
    lab.network.shape_master("400mbit")
    lab.expect_all(ROOT_UP, 2 * BOOT_S)
    for number, node in enumerate(nodes, 1):
        for line in (
            rf"host n00{number}$",
            r"file /etc/layer: new$",
            r"file /etc/own: \(No such file",
            r"file /etc/motd: image tree$",
            rf"file /etc/hostname: n00{number}$",
            r"writes true$",
        ):
            node.expect(ROOT + line, 5)
        node.expect_silence(r"lacks something")
        root = [mb for mb in moved_mb(lab, node) if mb >= PADDING_MB]
        lab.check(len(root) == 2, f"{node.name} fetched {root} MiB, and not a root and a layer")
    roots.remove()


@scenario(limit_s=500, tags=["roots", "faults"])
def root_changes(lab):
    """A root that changes while it comes: what is right stays, unless something is in the way of the new."""
    roots = Roots(lab)
    trees = [roots.image(name, bare=True) for name in ("plain", "turned")]
    for root in trees:
        for number in range(PADDING_MB):
            (root / f"big/{number:02}").write_bytes(os.urandom(1 << 20))
        (root / "etc/own").write_text("of the old root")
    (trees[1] / "etc/layer").mkdir()
    (trees[1] / "etc/layer/file").write_text("in a directory")
    roots.nodes(f"{PLAN.mac(1)} n001 plain - -", f"{PLAN.mac(2)} n002 turned - -")
    lab.master(roots.tree)
    lab.network.shape_master("12mbit")
    nodes = lab.nodes(2, None)
    for node in nodes:
        lab.await_progress([node], 0.3)
    for root in trees:
        # What is fetched last: pieces are asked for in their order.
        for number in range(PADDING_MB // 2, PADDING_MB):
            with open(root / f"big/{number:02}", "r+b") as file:
                file.write(b"new")
        (root / "etc/own").unlink()
    (trees[1] / "etc/layer/file").unlink()
    (trees[1] / "etc/layer").rmdir()
    (trees[1] / "etc/layer").write_text("a file")
    lab.network.shape_master("400mbit")
    lab.expect_all(r"^xget .*the image has changed: what is right of its root stays", BOOT_S)
    lab.expect_all(ROOT_UP, 2 * BOOT_S)
    for node in nodes:
        node.expect(ROOT + r"file /etc/own: \(No such file", 5)
    nodes[0].expect_silence(r"is begun anew")
    moved = moved_mb(lab, nodes[0])[-1]
    lab.check(moved < PADDING_MB - 4, f"{moved} MiB moved after the change")
    nodes[1].expect(r"! .*etc/layer.*; the root is begun anew", 5)
    nodes[1].expect(ROOT + r"file /etc/layer: a file$", 5)
    roots.remove()


@scenario(limit_s=400, tags=["roots", "quick"])
def words_of_an_image(lab):
    """Words of ours in the image's `cmdline` count though its kernel runs; a pin of nodes.tab after a kexec."""
    roots = Roots(lab)
    roots.image("words", cmdline=f"{CONSOLE} xget.root.overlay")
    roots.image("tree", cmdline=CONSOLE)
    roots.layer("big", {"big/more": "x" * (10 << 20)})
    pin = [str(binary()), "--print-digest", str(roots.tree), "images/tree/root/."]
    pin = subprocess.run(pin, check=True, capture_output=True, text=True, timeout=60).stdout.split()[0]
    roots.nodes(
        f"{PLAN.mac(1)} n001 words - -",
        f"{PLAN.mac(2)} n002 tree - lab.word=1 xget.root.digest={pin}",
        f"{PLAN.mac(3)} n003 tree big xget.root.size=8M",
    )
    lab.master(roots.tree)
    *nodes, small = lab.nodes(3, None)
    lab.expect_all(ROOT_UP, 2 * BOOT_S, nodes)
    lab.expect_all(KEXEC, 1, nodes)
    said = r"boot failed: the layer layers/big cannot be in memory: with what is there it takes 1\d MiB"
    small.expect(said + ", and xget.root.size= allows 8 MiB", BOOT_S)
    nodes[0].expect(r"lacks of its words: xget.root.overlay$", 1)
    nodes[0].expect(ROOT + r"mount overlay / overlay rw,", 5)
    nodes[1].expect(r"lacks of its words: lab.word=1$", 1)
    line = nodes[1].expect(ROOT + r"command line (.*)", 5)[1]
    lab.check("lab.word=1" in line and "xget.root.digest" not in line, f"it was given {line}")
