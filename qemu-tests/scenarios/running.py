"""Machines that have booted their root: they are updated while they run, and serve others."""

import re

from lab import scenario
from lab.images import FETCHED, ROOT, ROOT_UP, Roots, add_script, add_xget
from lab.network import MASTER, PLAN
from lab.terminal import Terminal

BOOT_S = 120
SOURCE = "images/tree/root/."
PADDING_MB = 12
KINDS = ("new", "changed", "attributes", "deleted")


def changes(said):
    """Kind and path of each change that was listed; between them is a size."""
    words = [line.split() for line in said]
    return {(line[0], line[2]) for line in words if len(line) == 3 and line[0] in KINDS}


def lived_in(lab, padding_mb=0):
    """A tree with a root that has xget and a shell, and a layer; the root."""
    roots = Roots(lab)
    root = roots.image("tree", bare=True, padding_mb=padding_mb)
    add_script(root, "lives")
    add_xget(root)
    (root / "etc/old").write_text("of the first image\n")
    roots.layer("all", {"etc/layer": "all\n", "etc/motd": "from the layer\n"})
    roots.nodes(f"{PLAN.mac(1)} n001 tree all -", "* - tree - -")
    return roots, root


@scenario(limit_s=300, tags=["quick", "roots"])
def live_update(lab):
    """A machine that is up becomes what its image is now: what changed is listed, its own things stay."""
    roots, root = lived_in(lab)
    lab.master(roots.tree)
    node = lab.node(None, keyboard=True)
    node.expect(ROOT_UP, BOOT_S)
    at = Terminal(node)
    # What is there is what was booted: nothing to do, whatever the layers and the name are.
    update = f"xget -n {MASTER} --delete --keep /run/xget/keep {SOURCE} /"
    status, said = at.run(f"{update} --dry-run")
    lab.check((status, said) == (0, []), f"before the edit: status {status}, {said}")
    (root / "etc/new").write_text("new\n")
    (root / "etc/motd").write_text("the image's, and not this node's\n")
    (root / "usr/lib64/ld").write_text("another loader\n")
    (root / "etc/old").unlink()
    expected = {("new", "etc/new"), ("changed", "usr/lib64/ld"), ("deleted", "etc/old")}
    listed = set()

    def are_all(said):
        listed.update(changes(said))
        return listed >= expected

    status, said = at.run_until(update, are_all)
    lab.check(status == 0 and listed == expected, f"status {status}, {listed}, {said}")
    for path, text in {
        "etc/new": "new",
        "usr/lib64/ld": "another loader",
        "etc/motd": "from the layer",
        "etc/layer": "all",
        "etc/hostname": "n001",
    }.items():
        _, said = at.run(f"busybox cat /{path}")
        lab.check(said == [text], f"{path}: {said}")
    status, said = at.run("test -e /etc/old")
    lab.check(status == 1, "what the image has no more is still there")
    status, said = at.run(f"{update} --dry-run")
    lab.check((status, said) == (0, []), f"after the update: status {status}, {said}")
    # The layers are updated by themselves.
    roots.layer("all", {"etc/layer": "all of it\n"})
    layer = f"xget -q -n {MASTER} layers/all/. / && busybox cat /etc/layer"
    status, said = at.run_until(layer, lambda said: said == ["all of it"])
    lab.check((status, said) == (0, ["all of it"]), f"status {status}, {said}")
    roots.remove()


@scenario(limit_s=300, tags=["quick", "roots"])
def worker_in_a_root(lab):
    """A machine that is up serves what it booted from to one that boots."""
    roots, _ = lived_in(lab, PADDING_MB)
    lab.master(roots.tree)
    first = lab.node(None, append="xget.linger=0", keyboard=True)
    first.expect(ROOT_UP, BOOT_S)
    at = Terminal(first)
    at.run(f"xget -n {MASTER} --worker {SOURCE} / >/run/worker 2>&1 & echo $! >/run/worker.pid")

    def serves():
        client = lab.client(first)
        return client.complete and client.state not in ("done", "lost")

    lab.wait(serves, 60, "worker that serves", [first])
    whole = lab.client(first).total_bytes
    lab.network.shape_master("6mbit")
    second = lab.node(None)
    second.expect(ROOT_UP, BOOT_S)
    second.expect(FETCHED, within_s=1)
    client = lab.client_with_all(second)
    lab.say(f"{client.from_peers_bytes} bytes from {client.parents}, {client.from_master_bytes} from the master")
    lab.check(first.address in client.parents, f"it was served by {client.parents}")
    lab.check(client.from_peers_bytes > whole // 2, f"{client.from_peers_bytes} bytes from the worker")
    status, _ = at.run("read -r pid </run/worker.pid; kill $pid; wait $pid")
    _, said = at.run("busybox cat /run/worker")
    lab.check(status == 0, f"the worker ended with {status}: {said}")
    roots.remove()
