"""What is for one node alone: sealed on its way, over its root, and nowhere else to be seen."""

from lab import scenario
from lab.head import Head
from lab.images import KEXEC, LOADER_KEXEC, ROOT, ROOT_UP, Roots
from lab.lab import CONSOLE
from lab.network import PLAN

BOOT_S = 120
SECRET = "that of n002 alone"


@scenario(limit_s=400, tags=["quick", "roots"])
def alone(lab):
    """A layer for one node alone: by the same kernel, by two stages, and with a key of another."""
    roots = Roots(lab)
    roots.image("tree", bare=True)
    roots.image("squash", "squashfs", cmdline=CONSOLE)
    roots.layer("all", {"etc/layer": "all", "etc/own": "all"})
    roots.nodes(
        f"{PLAN.mac(1)} n001 tree all -",
        f"{PLAN.mac(2)} n002 squash all lab.word=2",
        f"{PLAN.mac(3)} n003 tree all -",
    )
    head, key = Head(roots.tree), lab.directory / "key"
    head.xgetctl("key", "new", str(key))
    cluster = head.xgetctl("key", "cluster", str(key), shows=False).strip()
    other = lab.directory / "other"
    head.xgetctl("key", "new", str(other))
    wrong = head.xgetctl("key", "node", str(other), "n003", shows=False).strip()
    own = [head.xgetctl("key", "node", str(key), f"n00{n}", shows=False).strip() for n in (1, 2)]
    head.xgetctl("layers", "alone", "n001", "n002")
    for name, text in (("n001", "that of n001 alone"), ("n002", SECRET)):
        place = roots.tree / ".xget/alone" / name / "etc"
        place.mkdir()
        (place / "own").write_text(text)
        (place / "secret").write_text("a key\n")
        (place / "secret").chmod(0o600)
    lab.master(roots.tree, ["--key", str(key)])
    # In files of its initramfs, on its command line, and of another root.
    files = {"etc/xget/key": cluster.encode(), "etc/xget/node-key": own[0].encode()}
    nodes = [
        lab.node(None, files=files),
        lab.node(None, append=f"xget.key={cluster} xget.node-key={own[1]}"),
        lab.node(None, append=f"xget.key={cluster} xget.node-key={wrong}"),
    ]
    for name, node in zip(("n001", "n002"), nodes):
        node.expect(r"^xget .*a layer for this node alone, 2 files$", within_s=2 * BOOT_S)
        node.expect(ROOT_UP, within_s=BOOT_S)
        node.expect(ROOT + f"host {name}$", 5)
        node.expect(ROOT + r"file /etc/layer: all$", 5)
        node.expect(ROOT + f"file /etc/own: that of {name} alone$", 5)
        node.expect(ROOT + r"mode /etc 40751 0 0$", 5)
        node.expect(ROOT + r"mode /etc/secret 100600 0 0$", 5)
        # An update of the image leaves it alone.
        node.expect(ROOT + r"mode /run/xget/keep 100600$", 5)
        node.expect(ROOT + r"keep /etc/secret$", 5)
    nodes[1].expect(KEXEC, within_s=1)
    nodes[1].expect(ROOT + f"loader {LOADER_KEXEC}$", 5)
    nodes[1].expect(ROOT + r"command line (?!.*-key=|.*xget\.key=).* lab.word=2\b", 5)
    why = r"gives nothing for this node alone: .*authentication failed.*; again in"
    nodes[2].expect(why, within_s=BOOT_S)
    nodes[2].expect_silence(ROOT_UP)
    nodes[2].kill()
    said = (lab.directory / "master.log").read_text()
    lab.check("n002: a layer for it alone, 2 files" in said, "the head does not say who got what")
    for what in ("etc/own", "secret", SECRET, *(key[-60:-40] for key in (cluster, *own))):
        lab.check(what not in said, f"{what} is in the head's log")
