"""Two heads on one link, and nobody names one: the wrong one answers first."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from lab import Failed, network, services, scenario, tiny_image
from lab.images import (
    FETCHED, LOADER_KEXEC, ROOT, ROOT_UP, SECOND_UP, TINY_CMDLINE, Roots, binary, digest,
)

# The other head answers later, but for now and then on a crowded machine.
TRIES = 3
# What the wrong head has for a node of that name, which the pin of another head's image does
# not cover: another image, words, an image of another sort, a root alone.
WRONG = ("plain - tiny", "words - tiny - quiet", "rooted - rooted", "bare - bare")
BOTH = r"! eth0 .*: these do not serve the same; (\S+):20004 answered first"
BOOT_S = 60
# 2001-09-09.
OLD_S = 1_000_000_000


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
    # At first it alone was heard, and then at both of its addresses.
    lab.check(len(refused) <= 3, f"it asked the wrong head {len(refused)} times")
    shutil.rmtree(right)
    shutil.rmtree(wrong)


@scenario(limit_s=200, tags=["network", "faults", "quick"])
def two_heads_and_words(lab):
    """What the refused head said of a node is not in force for the next, that knows no nodes."""
    right = _tree(lab, "right", padding_mb=3)
    pinned = digest(right, "tiny")
    wrong = _tree(lab, "wrong", table="n001 - tiny - xget.tmpfs.size=1M\n")
    lab.master(wrong)
    services.OtherHead(lab, right)
    node = _hears_both(lab, "n001", f"xget.image=tiny xget.digest={pinned} xget.unpinned")
    _booted_from_the_other(lab, node)
    node.expect(r"the next who answered is asked", within_s=1)
    shutil.rmtree(right)
    shutil.rmtree(wrong)


def _keys(lab, name):
    """A pair of keys of signify(1): the file of the secret one, and the words of the other."""
    public, secret = (lab.directory / f"{name}.{end}" for end in ("pub", "sec"))
    words = ["signify-openbsd", "-G", "-n", "-p", public, "-s", secret]
    subprocess.run(words, check=True, timeout=10)
    return secret, public.read_text().splitlines()[1]


def _sign(tree, secret):
    """All that the tree has, as its nodes fetch it."""
    words = [binary(), "--sign", secret, tree]
    subprocess.run(words, check=True, timeout=60, capture_output=True)


def _sign_as_of(tree, secret, date_s):
    """What a node fetches of the tiny image, as signify(1) signs it; it was as it is at that time."""
    words = [binary(), "--print-statement", tree, "tiny/."]
    run = subprocess.run(words, check=True, timeout=60, capture_output=True, text=True)
    place = Path(re.search(r"\S*/\.xget/signatures/[0-9a-f]+", run.stderr)[0])
    statement = re.sub(r"^date \d+$", f"date {date_s}", run.stdout, flags=re.M)
    place.parent.mkdir(parents=True, exist_ok=True)
    words = ["signify-openbsd", "-S", "-e", "-s", secret, "-m", "-", "-x", place]
    subprocess.run(words, check=True, timeout=10, input=statement, text=True)


@scenario(limit_s=300, tags=["network", "faults", "quick"])
def two_heads_and_a_signature(lab):
    """Of two heads the first to answer is a stranger's: what is signed is booted, from the other.

    Nothing of a node that names no image, since the head chooses it then. What was signed
    once is no more booted than what was not, where it is older than a node wants it.
    """
    secret, key = _keys(lab, "own")
    stranger, _ = _keys(lab, "stranger")
    right = _tree(lab, "right", padding_mb=1)
    wrong = _tree(lab, "wrong", table="* - tiny - -\n")
    _sign(right, secret)
    _sign(wrong, stranger)
    strangers = lab.master(wrong)
    services.OtherHead(lab, right)
    node = _hears_both(lab, "n001", f"xget.trust={key} xget.image=tiny")
    node.expect(r"is signed by key [0-9a-f]{16}, which is not trusted here", within_s=BOOT_S)
    _booted_from_the_other(lab, node)
    got = node.expect(FETCHED, within_s=1)[1]
    lab.check(got == digest(right, "tiny"), f"{node.name} booted {got}")
    chooser = lab.node(None, master=network.MASTER, append=f"xget.trust={key}")
    chooser.expect(r"does not say which image: for this node the master has tiny", within_s=BOOT_S)
    strangers.kill()
    old = _tree(lab, "old", padding_mb=2)
    _sign_as_of(old, secret, OLD_S)
    lab.master(old)
    words = f"xget.trust={key} xget.not-before={OLD_S + 1} xget.image=tiny"
    node = _hears_both(lab, "n003", words)
    node.expect(r"it was signed 1 s before the oldest that is taken", within_s=BOOT_S)
    _booted_from_the_other(lab, node)
    got = node.expect(FETCHED, within_s=1)[1]
    lab.check(got == digest(right, "tiny"), f"{node.name} booted {got}")
    shutil.rmtree(old)
    shutil.rmtree(right)
    shutil.rmtree(wrong)


@scenario(limit_s=400, tags=["network", "faults", "roots", "quick"])
def two_heads_and_a_part(lab):
    """Of two heads the first to answer leaves the kernel of what is signed or pinned out: no node boots it.

    Each comes to its root by the other head, over the kernel of the image. Nobody boots a root
    over what is signed of another date.
    """
    secret, key = _keys(lab, "own")
    roots = Roots(lab)
    # For this word the kernel is started, whichever runs.
    roots.image("tree", cmdline=f"{TINY_CMDLINE} lab.word=1")
    _sign(roots.tree, secret)
    wrong = _tree_of_root(lab, roots.tree)
    lab.master(wrong)
    services.OtherHead(lab, roots.tree)
    parts = digest(roots.tree, "images/tree", ("kernel", "initrd", "cmdline"))
    root = digest(roots.tree, "images/tree", ("root/.",))
    pins = f"xget.digest={parts} xget.root.digest={root}"
    for host, words, refused in (
        ("n001", f"xget.trust={key}", r"signed as a root that is started by [0-9a-f]{64}, and this node was started by nothing"),
        ("n002", pins, r"xget\.digest= pins a kernel, and the master says that the image has none"),
    ):
        node = _hears_both(lab, host, f"xget.image=tree {words}")
        node.expect(refused, within_s=BOOT_S)
        node.expect(ROOT_UP, within_s=2 * BOOT_S)
        node.expect(ROOT + f"loader {LOADER_KEXEC}$", within_s=1)
        got = [found[1] for found in node.console.find_all(FETCHED)]
        lab.check(got[-2:] == [parts, root], f"{host} booted {got}")
        line = node.console.find_all(r"ommand line: (.*)")[-1][1]
        lab.check("lab.word=1" in line and words in line, f"the second kernel of {host} was told {line}")
        node.kill()
    node = _of_two_dates(lab, roots.tree, secret, f"xget.image=tree xget.trust={key}")
    node.expect(
        rf"signed as a root that is started by {parts.removeprefix('blake3:')}, and this node was started by [0-9a-f]{{16}} ",
        within_s=2 * BOOT_S,
    )
    node.expect(r"! boot failed: ", within_s=5)
    node.expect_silence(ROOT_UP)
    roots.remove()
    shutil.rmtree(wrong)


def _of_two_dates(lab, tree, secret, words):
    """A node of a head that has the kernel's part of an image as it is now, and its root as it was."""
    older = lab.directory / "older"
    shutil.copytree(tree / ".xget", older)
    (tree / "images/tree/cmdline").write_text(f"{TINY_CMDLINE} lab.word=2\n")
    _sign(tree, secret)
    of_root = [path for path in older.glob("signatures/*") if "\nbeside " in path.read_text()]
    lab.check(len(of_root) == 1, f"{len(of_root)} signatures are of roots")
    shutil.copy(of_root[0], tree / ".xget/signatures")
    lab.masters[0].kill()
    lab.master(tree)
    return lab.node(None, master=network.MASTER, append=words)


def _tree_of_root(lab, signed):
    """The signed tree again, where the image has its root, and nothing that starts it."""
    tree = lab.directory / "bare"
    shutil.copytree(signed, tree, copy_function=os.link, symlinks=True)
    for part in ("kernel", "initrd", "cmdline"):
        (tree / "images/tree" / part).unlink()
    return tree
