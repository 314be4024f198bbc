"""What goes wrong in a machine hall: every node has to get through, or to say why not.

Links are slowed so that there is a middle of the transfer to break into.
"""

from lab import scenario, tiny_image
from lab.images import SECOND_UP

# 24 MB at 40 Mbit/s: five seconds alone, and enough for each to help others.
PADDING_MB = 24
RATE = "40mbit"
MEMORY_MB = 384


def slow_nodes(lab, count):
    """A master and nodes on slow links, each on its way."""
    lab.master(tiny_image("slow", padding_mb=PADDING_MB))
    lab.network.shape_master(RATE)
    return lab.nodes(count, "slow", memory_mb=MEMORY_MB, rate=RATE)


def all_boot(lab, nodes):
    """Every one of these gets there."""
    lab.expect_all(SECOND_UP, within_s=120, machines=nodes)
    lab.table()


@scenario(limit_s=400, tags=["faults"])
def slow_links(lab):
    """Six nodes on slow links share what they have: the master sends it less than three times."""
    nodes = slow_nodes(lab, 6)
    all_boot(lab, nodes)
    sent = sum(lab.client(node).from_master_bytes for node in nodes)
    whole = lab.client(nodes[0]).total_bytes
    lab.check(sent < 3 * whole, f"the master sent {sent} bytes for {len(nodes)} nodes of {whole}")


@scenario(limit_s=400, tags=["faults", "quick"])
def parent_dies(lab):
    """A node loses its power while others fetch from it."""
    nodes = slow_nodes(lab, 4)
    lab.await_progress(nodes[0], 0.3)
    nodes[0].kill()
    all_boot(lab, nodes[1:])


@scenario(limit_s=400, tags=["faults"])
def parent_freezes(lab):
    """A node stops dead with its connections open while others fetch from it."""
    nodes = slow_nodes(lab, 4)
    lab.await_progress(nodes[0], 0.3)
    nodes[0].pause()
    all_boot(lab, nodes[1:])


@scenario(limit_s=400, tags=["faults"])
def cable_pulled(lab):
    """A node's cable is pulled in the middle of the transfer and put back."""
    nodes = slow_nodes(lab, 3)
    lab.await_progress(nodes[0], 0.3)
    nodes[0].cut()
    lab.sleep(8)
    nodes[0].heal()
    all_boot(lab, nodes)


@scenario(limit_s=400, tags=["faults"])
def master_restarts(lab):
    """The master dies in the middle of the transfer and comes back."""
    nodes = slow_nodes(lab, 3)
    lab.await_progress(nodes[0], 0.3)
    lab.masters[0].kill()
    lab.sleep(3)
    lab.master(tiny_image("slow", padding_mb=PADDING_MB))
    all_boot(lab, nodes)


@scenario(limit_s=400, tags=["faults"])
def image_changes(lab):
    """A file is overwritten in the middle of the transfer; the nodes boot what it then holds."""
    nodes = slow_nodes(lab, 3)
    lab.await_progress(nodes[0], 0.3)
    initrd = tiny_image("slow", padding_mb=PADDING_MB) / "slow" / "initrd"
    with open(initrd, "r+b") as file:
        # Within the padding: either version boots, a mixture has no digest.
        file.seek(initrd.stat().st_size // 2)
        file.write(b"changed while it was served")
    all_boot(lab, nodes)


@scenario(limit_s=300, tags=["faults"])
def master_comes_late(lab):
    """The nodes are up before there is a master."""
    nodes = lab.nodes(2, "tiny")
    lab.sleep(10)
    lab.master(tiny_image())
    all_boot(lab, nodes)


@scenario(limit_s=300, tags=["faults"])
def dhcp_comes_late(lab):
    """The nodes ask for addresses before anybody answers; DHCP names the master too."""
    lab.master(tiny_image())
    nodes = lab.nodes(2, "tiny", ip="dhcp", master=None)
    lab.sleep(12)
    lab.dhcp(boot_server=True)
    all_boot(lab, nodes)


@scenario(limit_s=300, tags=["faults", "quick"])
def wrong_digest(lab):
    """A node whose command line pins other bytes does not boot them."""
    lab.master(tiny_image())
    pin = "blake3:" + "0" * 64
    honest, pinned = lab.node("tiny"), lab.node("tiny", append=f"xget.digest={pin}")
    all_boot(lab, [honest])
    pinned.expect("(?i)digest|verif", within_s=60)
    lab.sleep(10)
    pinned.expect_silence(SECOND_UP)
