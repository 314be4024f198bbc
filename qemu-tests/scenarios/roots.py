"""Images with a root: fetched into memory, layers over it, and booted by switch_root."""

import os

from lab import scenario
from lab.images import (
    FAILED, FETCHED, KEXEC, LOADER_KEXEC, NOT_SHUT_IN, ROOT, ROOT_UP, SHUT_IN, Roots, debian_root,
)
from lab.lab import CONSOLE
from lab.network import PLAN

BOOT_S = 120
# EM_AARCH64 of elf(5), as a file has it.
ARM64 = bytes([183, 0])


# cap_net_raw, permitted and effective (linux/capability.h, revision 2).
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
# user::rwx user:1234:r-x group::r-x mask::r-x other::--- (linux/posix_acl_xattr.h).
ACL = bytes.fromhex(
    "02000000" "01000700ffffffff" "02000500d2040000"
    "04000500ffffffff" "10000500ffffffff" "20000000ffffffff"
)


def add_what_takes_root(root):
    """Give a root what its owner alone can: a capability, an ACL, a device, a fifo."""
    os.setxattr(root / "usr/sbin/init", "security.capability", CAPABILITY)
    os.setxattr(root / "etc", "system.posix_acl_default", ACL)
    os.mknod(root / "etc/null", 0o020666, os.makedev(1, 3))
    (root / "etc/null").chmod(0o666)
    os.mkfifo(root / "etc/fifo")
    (root / "etc/fifo").chmod(0o640)


def says(node, what, within_s=5):
    """What the root says after these words."""
    return node.expect(ROOT + what, within_s)


@scenario(limit_s=240, tags=["quick", "roots"])
def root(lab):
    """One node gets a root as a tree of files, two layers and its name, without another kernel."""
    roots = Roots(lab)
    add_what_takes_root(roots.image("tree", cmdline=CONSOLE))
    roots.layer("all", {"etc/layer": "all", "etc/own": "all", "etc/motd": "from the layer"})
    roots.layer("n001", {"etc/own": "mine"})
    roots.nodes(f"{PLAN.mac(1)} n001 tree all -")
    lab.master(roots.tree)
    node = lab.node(None, append="-- one two")
    node.expect(ROOT_UP, within_s=BOOT_S)
    node.expect_silence(KEXEC)
    for line in (
        r"host n001$",
        r"process 1$",
        r"arguments one two$",
        r'HOME Ok\("/"\) TERM Ok\("linux"\)$',
        r"descriptors 3$",
        r"Max open files 1024 ",
        r"mount tmpfs / tmpfs rw,",
        r"mount proc /proc ",
        r"mount devtmpfs /dev ",
        r"mount sysfs /sys ",
        r"mount tmpfs /run ",
        r"file /etc/layer: all$",
        r"file /etc/own: mine$",
        r"file /etc/motd: from the layer$",
        r"file /etc/hostname: n001$",
        r"file /lib64/ld: a loader$",
        r"mode / 40755 0 0$",
        r"mode /etc 40751 0 0$",
        r"mode /etc/null 20666 0 0 device 0x103$",
        r"mode /etc/fifo 10640 0 0 device 0x0$",
        rf"xattr /usr/sbin/init security.capability: {CAPABILITY.hex()}$",
        rf"xattr /etc system.posix_acl_default: {ACL.hex()}$",
        r"xattr /etc/layer system.posix_acl_access: none$",
        r"node name n001$",
        r"node image images/tree$",
        r"node layer layers/n001$",
        r"node master \S+:20004$",
        r"writes true$",
    ):
        says(node, line)
    node.expect_end(within_s=60)


@scenario(limit_s=400, tags=["quick", "roots"])
def packed_roots(lab):
    """Roots as squashfs and erofs, after a kexec for a word of the node's line; an overlay, over two memory nodes."""
    roots = Roots(lab)
    roots.image("squash", "squashfs", cmdline=CONSOLE)
    roots.image("erofs", "erofs", cmdline=CONSOLE)
    roots.image("tree", cmdline=CONSOLE)
    roots.layer("all", {"etc/layer": "all"})
    roots.nodes(
        f"{PLAN.mac(1)} n001 squash all lab.word=1",
        f"{PLAN.mac(2)} n002 erofs all -",
        f"{PLAN.mac(3)} n003 tree all xget.root.overlay xget.root.size=32M",
    )
    lab.master(roots.tree)
    nodes = [*lab.nodes(2, None), lab.node(None, memory_nodes=2)]
    lab.expect_all(ROOT_UP, within_s=2 * BOOT_S)
    for node, name in zip(nodes, ("n001", "n002", "n003")):
        says(node, f"host {name}$")
        says(node, r"mount overlay / overlay rw,")
        says(node, r"file /etc/layer: all$")
        says(node, f"file /etc/hostname: {name}$")
        says(node, r"mode /etc 40751 0 0$")
        says(node, r"writes true$")
    nodes[0].expect(KEXEC, within_s=1)
    says(nodes[0], f"loader {LOADER_KEXEC}$")
    says(nodes[0], r"command line .* lab.word=1")
    nodes[1].expect_silence(KEXEC)
    says(nodes[2], r"mount \S+ /run/xget/upper tmpfs .*size=32768k.*mpol=interleave:0-1")
    says(nodes[2], r"mount \S+ /run/xget/image tmpfs .*mpol=interleave:0-1")


@scenario(limit_s=400, tags=["quick", "roots", "faults"])
def root_refused(lab):
    """Roots that cannot be booted say why before anything is lost: memory, layers, init."""
    roots = Roots(lab)
    large = roots.image("large", cmdline=CONSOLE)
    with open(large / "big" / "file", "wb") as file:
        for number in range(400):
            file.write(number.to_bytes(4, "little") * (1 << 18))
    roots.image("plain", cmdline=CONSOLE)
    roots.layer("bad", {"lib64/other": "x"})
    (roots.image("headless", bare=True) / "usr/sbin/init").unlink()
    foreign = roots.image("foreign", bare=True) / "usr/sbin/init"
    program = bytearray(foreign.read_bytes())
    program[18:20] = ARM64
    foreign.write_bytes(program)
    script = roots.image("script", bare=True) / "usr/sbin/init"
    script.write_text("#!/usr/bin/none -e\n")
    roots.layer("huge", {"etc/layer": "huge"})
    (roots.tree / "layers/huge/big").mkdir()
    (roots.tree / "layers/huge/big/layer").hardlink_to(large / "big" / "file")
    roots.nodes(
        f"{PLAN.mac(1)} n001 large - -",
        f"{PLAN.mac(2)} n002 plain bad -",
        f"{PLAN.mac(3)} n003 headless - -",
        f"{PLAN.mac(4)} n004 foreign - -",
        f"{PLAN.mac(5)} n005 script - -",
        f"{PLAN.mac(6)} n006 plain huge -",
    )
    lab.master(roots.tree)
    nodes = lab.nodes(6, None, memory_mb=416)
    nodes[0].expect(FAILED + r".*takes 40\d MiB of memory.* MiB are available.*Give the", BOOT_S)
    nodes[0].expect_silence(r"fetching: ")
    nodes[1].expect(FAILED + r".*layers/bad.*lib64 is a directory.*usr/lib64", BOOT_S)
    nodes[2].expect(FAILED + r".*no init: /sbin/init: No such file", BOOT_S)
    nodes[3].expect(FAILED + r".*/sbin/init is a program of 64 bits for machine 183", BOOT_S)
    nodes[4].expect(FAILED + r".*/sbin/init needs /usr/bin/none, which is not there", BOOT_S)
    nodes[5].expect(FAILED + r".*layers/huge.*takes 40\d MiB of memory.* MiB are available", BOOT_S)
    for node in nodes:
        node.expect_silence(r"^xget .*starting /")
    lab.expect_all(r"rebooting now", within_s=90)
    roots.remove()


@scenario(limit_s=300, tags=["roots", "faults", "quick"])
def unknown_node(lab):
    """A node that nodes.tab does not know waits, and boots when a line is added."""
    roots = Roots(lab)
    roots.image("tree", cmdline=CONSOLE)
    roots.nodes("52:54:00:ff:ff:ff n999 tree - -")
    lab.dhcp(lease_s=120)
    lab.master(roots.tree)
    node = lab.node(None, ip="dhcp")
    node.expect(r"^xget .*! .*; again in 1\d\.\d s", BOOT_S)
    node.expect(rf"^xget .*this node is mac={PLAN.mac(1)}", 5)
    node.expect_silence(FETCHED)
    roots.nodes(f"{PLAN.mac(1)} n001 tree - -")
    node.expect(ROOT_UP, within_s=BOOT_S)
    says(node, "host n001$")


@scenario(limit_s=300, tags=["roots", "faults", "quick"])
def not_served_yet(lab):
    """What a node's line names is not served: it says what, and boots when that is there."""
    roots = Roots(lab)
    roots.image("tree", bare=True)
    roots.nodes(f"{PLAN.mac(1)} n001 late - -", f"{PLAN.mac(2)} n002 tree extra -")
    lab.master(roots.tree)
    nodes = lab.nodes(2, None)
    nodes[0].expect(r"^xget .*! image late is not served; again in 1\d\.\d s", BOOT_S)
    nodes[1].expect(r"^xget .*! layer extra is not served; again in 1\d\.\d s", BOOT_S)
    for node in nodes:
        node.expect(rf"^xget .*this node is mac={node.port.mac}", 5)
        node.expect_silence(FETCHED)
    roots.image(".new", bare=True)
    (roots.tree / "images/.new").rename(roots.tree / "images/late")
    roots.layer(".new", {"etc/layer": "extra"})
    (roots.tree / "layers/.new").rename(roots.tree / "layers/extra")
    lab.expect_all(ROOT_UP, within_s=BOOT_S)
    says(nodes[0], r"node image images/late$")
    says(nodes[1], r"file /etc/layer: extra$")
    roots.remove()


@scenario(limit_s=400, tags=["roots"])
def root_serves_on(lab):
    """A node that has booted its root goes on serving the one that is behind it."""
    roots = Roots(lab)
    roots.image("tree", padding_mb=48, bare=True)
    roots.nodes("* - tree - -")
    lab.master(roots.tree)
    lab.network.shape_master("30mbit")
    first = lab.node(None, append="lab.stay=90 xget.linger=90")
    first.expect(r"^xget .*fetching images/tree/root", BOOT_S)
    second = lab.node(None, rate="6mbit")
    first.expect(ROOT_UP, within_s=BOOT_S)
    says(first, r"serving [1-9]")
    says(first, rf"xget-serving {SHUT_IN}$")
    first.expect_silence(NOT_SHUT_IN)
    lab.check(second.console.find(FETCHED) is None, "the second node was not behind")
    second.expect(ROOT_UP, within_s=2 * BOOT_S)
    client = lab.client_with_all(second)
    lab.check(client.from_peers_bytes > 0, "nothing came from the first node")
    roots.remove()


@scenario(limit_s=300, tags=["roots", "faults"])
def watchdog_kept(lab):
    """A watchdog that stays armed restarts a system that does not feed it; another one lives."""
    roots = Roots(lab)
    roots.image("tree", bare=True)
    # One is told by its own line, the other by that of nodes.tab.
    roots.nodes(f"{PLAN.mac(2)} n002 tree - xget.watchdog=20,keep", "* - tree - -")
    lab.master(roots.tree)
    dogs = ["i6300esb"]
    left = lab.node(None, append="xget.watchdog=20 lab.stay=50", devices=dogs)
    kept = lab.node(None, append="lab.stay=50", devices=dogs)
    for node in (left, kept):
        node.expect(r"^xget .*watchdog: \d+ s", BOOT_S)
        node.expect(ROOT_UP, within_s=BOOT_S)
    kept.expect_end(within_s=60)
    kept.expect_silence(ROOT + "switching off")
    left.expect(ROOT + "switching off", within_s=90)


# At 1 Mbit/s longer than a lease of 120 s, which is renewed at half of it.
SLOW_MB = 10


@scenario(limit_s=500, tags=["roots"])
def sparse_root(lab):
    """A root of 12 GiB, nearly all of it holes, comes slowly, and a lease of 120 s is renewed twice."""
    roots = Roots(lab)
    root = roots.image("tree", bare=True, padding_mb=SLOW_MB)
    with open(root / "big" / "disk", "wb") as disk:
        for at in (0, 5 << 30, (12 << 30) - 4096):
            disk.seek(at)
            disk.write(b"data" * 1024)
    roots.nodes(f"{PLAN.mac(1)} n001 tree - -")
    dhcp = lab.dhcp(lease_s=120)
    lab.master(roots.tree)
    lab.network.shape_master("1mbit")
    node = lab.node(None, ip="dhcp")

    def is_renewed():
        return len(dhcp.console.find_all(rf"DHCPACK.* {node.address} ")) > 2

    lab.wait(is_renewed, BOOT_S, "second renewal", [node])
    node.expect_silence(FETCHED)
    node.expect(ROOT_UP, within_s=300)
    node.expect_silence("setting up the network again")
    says(node, r"size /big/disk 12884901888 \d{1,5}$")
    roots.remove()


@scenario(limit_s=900, tags=["slow", "roots"], prepare=debian_root)
def debian_login(lab):
    """Debian's systemd from a root in memory, to a login prompt with the node's own name."""
    tree = debian_root()
    table = tree / "nodes.tab"
    table.write_text(f"{PLAN.mac(1)} n001 debian - {CONSOLE}\n")
    lab.dhcp()
    lab.master(tree)
    node = lab.node(None, ip="dhcp", memory_mb=int(os.environ.get("XGET_DEBIAN_MB", "1024")))
    node.expect(r"^xget .*the root takes \d+ MiB", within_s=BOOT_S)
    # The prompt itself ends no line.
    node.expect(r"^Debian GNU/Linux \d+ n001 ttyS0", within_s=300)
