"""Two heads on one link, and nobody names one: the wrong one answers first."""

import os
import re
import shutil

from lab import Failed, network, services, scenario, tiny_image
from lab.images import FETCHED, SECOND_UP, digest

# The other head answers later, but on a crowded machine now and then.
TRIES = 3
BOTH = r"! eth0 .*: these do not serve the same; (\S+):20004 answered first"
BOOT_S = 60


def _tree(lab, name, padding_mb=0, table=None):
    """A tree of this scenario's own with the tiny image, and with a nodes.tab."""
    tree = lab.directory / name
    shutil.copytree(tiny_image(padding_mb=padding_mb), tree, copy_function=os.link)
    if table is not None:
        (tree / "nodes.tab").write_text(table)
    return tree


def _unnamed(lab, append=""):
    """A node that nobody tells a master, and that both answer, the wrong one first."""
    mask = network.PLAN.subnet.netmask
    for _ in range(TRIES):
        ip = f"{network.PLAN.node(len(lab.machines) + 1)}:::{mask}::eth0:none"
        node = lab.node("tiny", ip=ip, master=None, append=append)
        first = node.expect(rf"{BOTH}|a master answers at", within_s=BOOT_S)
        lab.sleep(1)
        found = node.console.find(BOTH)
        if found and found[1][1] == str(network.MASTER):
            return node
        lab.say(f"once more: {first.string}")
        node.kill()
    raise Failed(f"of {TRIES} nodes none heard the wrong head first, and the right one soon after")


def _booted_from_the_other(lab, node):
    """It came up, by what the other head serves."""
    node.expect(SECOND_UP, within_s=BOOT_S)
    said = node.console.find_all(r"fetching tiny from (\S+):20004")
    lab.check(said[-1][1] == str(services.OtherHead.ADDRESS), f"it fetched from {said[-1][1]}")
    return said


@scenario(limit_s=200, tags=["network", "faults", "quick"])
def two_heads_and_a_pin(lab):
    """Of two heads the first to answer serves what is not pinned: the node boots from the other."""
    right = _tree(lab, "right", padding_mb=1)
    pinned = digest(right, "tiny")
    wrong = _tree(lab, "wrong")
    lab.master(wrong)
    services.OtherHead(lab, right)
    node = _unnamed(lab, f"xget.digest={pinned}")
    _booted_from_the_other(lab, node)
    node.expect(r"the next of those who answered is asked", within_s=1)
    got = node.expect(FETCHED, within_s=1)[1]
    lab.check(got == pinned, f"it booted {got}, and not {pinned}")
    shutil.rmtree(right)
    shutil.rmtree(wrong)


@scenario(limit_s=200, tags=["network", "faults", "quick"])
def two_heads_and_a_line(lab):
    """Of two heads the first to answer has no line for the node: it boots from the other, soon."""
    wrong = _tree(lab, "wrong", table="52:54:00:ff:ff:ff other tiny - -\n")
    right = _tree(lab, "right", padding_mb=1, table="* - tiny - -\n")
    lab.master(wrong)
    services.OtherHead(lab, right)
    node = _unnamed(lab)
    node.expect(r"! no line of nodes\.tab is this node's.*; again in 1\d\.", within_s=BOOT_S)
    _booted_from_the_other(lab, node)
    refused = node.console.find_all(r"! no line of nodes\.tab")
    lab.check(len(refused) == 1, f"it asked the wrong head {len(refused)} times")
    shutil.rmtree(right)
    shutil.rmtree(wrong)
