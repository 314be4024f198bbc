"""What goes wrong in a machine hall: every node has to get through, or to say why not.

Links are slowed so that there is a middle of the transfer to break into.
"""

import os

from lab import scenario, tiny_image
from lab.images import FETCHED, SECOND_UP, digest
from lab.network import NODES_MAX, PLAN

# 24 MB at 40 Mbit/s: five seconds alone, and enough for each to help others.
PADDING_MB = 24
RATE = "40mbit"
MEMORY_MB = 384


def slow_nodes(lab, count, image="slow"):
    """A master and nodes on slow links, each on its way."""
    lab.master(tiny_image(image, padding_mb=PADDING_MB))
    lab.network.shape_master(RATE)
    return lab.nodes(count, image, memory_mb=MEMORY_MB, rate=RATE)


def all_boot(lab, nodes):
    """Every one of these gets there."""
    lab.expect_all(SECOND_UP, within_s=120, machines=nodes)
    lab.table()


@scenario(limit_s=400, tags=["faults"])
def slow_links(lab):
    """Six nodes on slow links share what they have: the master sends it less than three times."""
    nodes = slow_nodes(lab, 6)
    all_boot(lab, nodes)
    sent = sum(lab.client_with_all(node).from_master_bytes for node in nodes)
    whole = lab.client(nodes[0]).total_bytes
    lab.check(sent < 3 * whole, f"the master sent {sent} bytes for {len(nodes)} nodes of {whole}")


@scenario(limit_s=400, tags=["faults", "quick"])
def parent_dies(lab):
    """A node loses its power while others fetch from it."""
    nodes = slow_nodes(lab, 4)
    victim = lab.await_parent(nodes, 0.3)
    victim.kill()
    all_boot(lab, [node for node in nodes if node is not victim])


@scenario(limit_s=400, tags=["faults"])
def parent_freezes(lab):
    """A node stops dead with its connections open while others fetch from it."""
    nodes = slow_nodes(lab, 4)
    victim = lab.await_parent(nodes, 0.3)
    victim.pause()
    all_boot(lab, [node for node in nodes if node is not victim])


@scenario(limit_s=400, tags=["faults"])
def cable_pulled(lab):
    """A node's cable is pulled in the middle of the transfer and put back."""
    nodes = slow_nodes(lab, 3)
    lab.await_progress(nodes[:1], 0.3)
    nodes[0].cut()
    nodes[0].expect(r"the master \S+: silent for", within_s=30)
    nodes[0].expect_silence(FETCHED)
    nodes[0].heal()
    all_boot(lab, nodes)


@scenario(limit_s=400, tags=["faults", "quick"])
def master_restarts(lab):
    """The master dies in the middle of the transfer and comes back."""
    nodes = slow_nodes(lab, 3)
    # Early: what all of them have together is not everything yet.
    lab.await_progress(nodes, 0.1)
    lab.masters[0].kill()
    # Who was slow to start had not asked before.
    lab.expect_all(r"the master \S+: |cannot ask \S+ ", within_s=30)
    lab.sleep(3)
    for node in nodes:
        node.expect_silence(FETCHED)
    lab.master(tiny_image("slow", padding_mb=PADDING_MB))
    all_boot(lab, nodes)


@scenario(limit_s=400, tags=["faults", "quick"])
def image_changes(lab):
    """A file is overwritten in the middle of the transfer; the nodes boot what it then holds."""
    tree = tiny_image("changing", padding_mb=PADDING_MB)
    initrd = tree / "changing" / "initrd"
    before = digest(tree, "changing")
    nodes = slow_nodes(lab, 2, "changing")
    # It has room for the image, and not for what it was before besides.
    narrow = lab.node("changing", memory_mb=MEMORY_MB, rate=RATE, append="xget.tmpfs.size=36M")
    nodes.append(narrow)
    # Early, and at once: of what has left the master whole they need nothing more.
    lab.await_progress(nodes, 0.1)
    with open(initrd, "r+b") as file:
        # Within the padding: either version boots, a mixture has no digest. Near its end: pieces
        # leave the master about in their order, and of some stripes sooner than of others.
        file.seek(initrd.stat().st_size * 9 // 10)
        file.write(os.urandom(64))
    after = digest(tree, "changing")
    lab.check(after != before, "the image has not changed")
    all_boot(lab, nodes)
    narrow.expect(r"! no room for both: the image is begun anew", within_s=1)
    for node in nodes:
        fetched = node.expect(FETCHED, within_s=1)[1]
        lab.check(fetched == after, f"{node.name} fetched {fetched}, and there is {after}")


@scenario(limit_s=300, tags=["faults", "quick"])
def master_comes_late(lab):
    """The nodes are up before there is a master; of two that one is told of, one never comes."""
    never = f"{PLAN.node(NODES_MAX)},{PLAN.head}"
    nodes = [lab.node("tiny"), lab.node("tiny", master=never)]
    lab.expect_all(r"cannot ask \S+ what this node is: .*; again in", within_s=60)
    lab.master(tiny_image())
    all_boot(lab, nodes)


@scenario(limit_s=300, tags=["faults", "quick"])
def dhcp_comes_late(lab):
    """The nodes ask for addresses before anybody answers; DHCP names the master too."""
    lab.master(tiny_image())
    nodes = lab.nodes(2, "tiny", ip="dhcp", master=None)
    lab.expect_all(r"asked DHCP \d+ times without success", within_s=60)
    lab.dhcp(boot_server=True)
    all_boot(lab, nodes)


@scenario(limit_s=300, tags=["faults", "quick"])
def wrong_digest(lab):
    """A node whose command line pins other bytes does not boot them."""
    lab.master(tiny_image())
    pin = "blake3:" + "0" * 64
    honest, pinned = lab.node("tiny"), lab.node("tiny", append=f"xget.digest={pin}")
    all_boot(lab, [honest])
    # In xget's own words: the kernel repeats the command line, digest and all.
    pinned.expect(r"boot failed: .*serves blake3:\w+, not " + pin, within_s=60)
    pinned.expect_end(within_s=60)
    pinned.expect_silence(SECOND_UP)
