"""Two heads on one link, and nobody names one: the wrong one answers first."""

import os
import shutil

from lab import Failed, network, services, scenario, tiny_image
from lab.images import FETCHED, SECOND_UP, digest

# The other head answers later, but for now and then on a crowded machine.
TRIES = 3
# What the wrong head has for a node of that name, which the pin of another head's image does
# not cover: another image, words, an image of another sort, a root alone.
WRONG = ("plain - tiny", "words - tiny - quiet", "rooted - rooted", "bare - bare")
BOTH = r"! eth0 .*: these do not serve the same; (\S+):20004 answered first"
BOOT_S = 60


def _tree(lab, name, padding_mb=0, table=None):
    """A tree of this scenario's own with the tiny image, and with a nodes.tab."""
    tree = lab.directory / name
    shutil.copytree(tiny_image(padding_mb=padding_mb), tree, copy_function=os.link)
    if table is not None:
        (tree / "nodes.tab").write_text(table)
    return tree


def _rooted(tree, name, has_kernel):
    """Beside it an image of another sort, with a root; nobody is to come as far as into that."""
    image = tree / "images" / name
    shutil.copytree(tree / "tiny", image, copy_function=os.link)
    for part in () if has_kernel else ("kernel", "initrd", "cmdline"):
        (image / part).unlink()
    (image / "root").mkdir()


def _unnamed(lab, host, append=""):
    """A node of this name that nobody tells a master."""
    address, mask = network.PLAN.node(len(lab.machines) + 1), network.PLAN.subnet.netmask
    return lab.node(None, ip=f"{address}:::{mask}:{host}:eth0:none", master=None, append=append)


def _hears_both(lab, host, append):
    """One that hears both heads, the wrong one first."""
    heard = None
    for _ in range(TRIES):
        node = _unnamed(lab, host, append)
        heard = node.expect(rf"{BOTH}|^xget .*(fetching| ! boot failed)", within_s=BOOT_S)
        if heard[1] == str(network.MASTER):
            return node
        node.kill()
    raise Failed(f"of {TRIES} nodes none heard the wrong head first and both: {heard.string}")


def _booted_from_the_other(lab, node):
    """It came up, by what the other head serves."""
    node.expect(SECOND_UP, within_s=BOOT_S)
    said = node.console.find_all(r"fetching tiny from (\S+):20004")
    lab.check(said[-1][1] == str(services.OtherHead.ADDRESS), f"it fetched from {said[-1][1]}")


@scenario(limit_s=300, tags=["network", "faults", "quick"])
def two_heads_and_a_pin(lab):
    """Of two heads the first to answer serves what is not pinned: nodes boot from the other.

    To each of them it says something else that the pin does not cover.
    """
    right = _tree(lab, "right", padding_mb=1, table="* - tiny - -\n")
    pinned = digest(right, "tiny")
    wrong = _tree(lab, "wrong", table="".join(f"{line}\n" for line in WRONG))
    _rooted(wrong, "rooted", has_kernel=True)
    _rooted(wrong, "bare", has_kernel=False)
    lab.master(wrong)
    services.OtherHead(lab, right)
    nodes = [_hears_both(lab, line.split()[0], f"xget.digest={pinned}") for line in WRONG]
    for node in nodes:
        _booted_from_the_other(lab, node)
        node.expect(r"the next who answered is asked", within_s=1)
        got = node.expect(FETCHED, within_s=1)[1]
        lab.check(got == pinned, f"{node.name} booted {got}, and not {pinned}")
    shutil.rmtree(right)
    shutil.rmtree(wrong)


@scenario(limit_s=200, tags=["network", "faults", "quick"])
def two_heads_and_a_line(lab):
    """Of two heads the first to answer has no line for the node: it boots from the other.

    That is not heard at once: the network is asked again, with more patience.
    """
    wrong = _tree(lab, "wrong", table="52:54:00:ff:ff:ff other tiny - -\n")
    right = _tree(lab, "right", padding_mb=1, table="* - tiny - -\n")
    lab.master(wrong)
    services.OtherHead(lab, right)
    node = _unnamed(lab, "n001")
    node.expect(r"! no line of nodes\.tab is this node's.*; again in 1\d\.", within_s=BOOT_S)
    _booted_from_the_other(lab, node)
    refused = node.console.find_all(r"! no line of nodes\.tab")
    lab.check(len(refused) <= 2, f"it asked the wrong head {len(refused)} times")
    shutil.rmtree(right)
    shutil.rmtree(wrong)
