"""The scenarios that every change has to pass: small, and a few seconds each."""

from lab import scenario, tiny_image
from lab.images import LOADER_KEXEC, SECOND_LOADER, SECOND_UP


@scenario(limit_s=120, tags=["quick"])
def one_node(lab):
    """One node with a static address fetches the tiny image and boots it."""
    lab.master(tiny_image())
    node = lab.node("tiny")
    node.expect(SECOND_UP, within_s=60)
    loader = node.expect(SECOND_LOADER, within_s=1)[1]
    lab.check(loader == LOADER_KEXEC, f"it was loaded by {loader}, not by kexec")
    node.expect_end(within_s=20)
    lab.table()


@scenario(limit_s=150, tags=["quick"])
def two_nodes_by_dhcp(lab):
    """Two nodes get their addresses by DHCP, fetch the tiny image and boot it."""
    lab.dhcp()
    lab.master(tiny_image())
    lab.nodes(2, "tiny", ip="dhcp")
    lab.expect_all(SECOND_UP, within_s=60)
    lab.table()
