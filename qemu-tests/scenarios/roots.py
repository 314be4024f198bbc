"""Images with a root: fetched into memory, layers over it, and booted by switch_root."""

import os
import re
import subprocess

from lab import scenario
from lab.images import FETCHED, KEXEC, LOADER_KEXEC, ROOT, ROOT_UP, Roots, debian_root
from lab.lab import CONSOLE
from lab.network import PLAN

BOOT_S = 120
FAILED = r"^xget .*! boot failed: "


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
    """Roots as squashfs and erofs, after a kexec for a word of the node's line; an overlay."""
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
    nodes = lab.nodes(3, None)
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
    says(nodes[2], r"mount \S+ /run/xget/upper tmpfs .*size=32768k")


@scenario(limit_s=400, tags=["quick", "roots", "faults"])
def root_refused(lab):
    """Roots that cannot be booted say why before anything is lost: memory, a layer, no init."""
    roots = Roots(lab)
    large = roots.image("large", cmdline=CONSOLE)
    with open(large / "big" / "file", "wb") as file:
        for number in range(400):
            file.write(number.to_bytes(4, "little") * (1 << 18))
    roots.image("plain", cmdline=CONSOLE)
    roots.layer("bad", {"lib64/other": "x"})
    (roots.image("headless", cmdline=CONSOLE) / "usr/sbin/init").unlink()
    roots.nodes(
        f"{PLAN.mac(1)} n001 large - -",
        f"{PLAN.mac(2)} n002 plain bad -",
        f"{PLAN.mac(3)} n003 headless - -",
    )
    lab.master(roots.tree)
    nodes = lab.nodes(3, None, memory_mb=416)
    nodes[0].expect(FAILED + r".*takes 40\d MiB of memory.* MiB are available.*Give the", BOOT_S)
    nodes[0].expect_silence(r"fetching: ")
    nodes[1].expect(FAILED + r".*layers/bad.*lib64 is a directory.*usr/lib64", BOOT_S)
    nodes[2].expect(FAILED + r".*no init: /sbin/init: No such file", BOOT_S)
    lab.expect_all(r"rebooting now", within_s=90)
    roots.remove()


@scenario(limit_s=300, tags=["roots", "faults"])
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
    lab.check(second.console.find(FETCHED) is None, "the second node was not behind")
    second.expect(ROOT_UP, within_s=2 * BOOT_S)
    client = lab.client(second)
    lab.check(client and client.from_peers_bytes > 0, "nothing came from the first node")
    roots.remove()


PADDING_MB = 24


def _disk(lab, name, size_mb, label=None):
    """Make a disk; with a file system of this label, or with nothing that makes sense."""
    path = lab.directory / name
    with open(path, "wb") as file:
        file.truncate(size_mb << 20)
        if label is None:
            file.write(bytes(range(256)) * 4096)
    if label is not None:
        command = ["mkfs.ext4", "-q", "-L", label, str(path)]
        subprocess.run(command, check=True, timeout=30, capture_output=True)
    return path


def _damage(path, what):
    """Change one byte of each place that has these bytes."""
    disk = bytearray(path.read_bytes())
    at = disk.find(what)
    places = 0
    while at >= 0:
        disk[at] ^= 0xFF
        places += 1
        at = disk.find(what, at + len(what))
    path.write_bytes(disk)
    return places


@scenario(limit_s=900, tags=["roots", "faults"])
def root_from_a_disk(lab):
    """A disk keeps a root: the next boot moves next to nothing. A bad one only costs time."""
    roots = Roots(lab)
    image = roots.image("tree", cmdline=CONSOLE, padding_mb=PADDING_MB)
    roots.nodes("* - tree - -")
    lab.master(roots.tree)
    good, small, wild = (
        _disk(lab, "good", 128, "cache"),
        _disk(lab, "small", 12, "cache"),
        _disk(lab, "wild", 16),
    )

    def boot(disk, says_first, stay_s=0):
        words = f"xget.cache=LABEL=cache xget.linger=0 lab.stay={stay_s}"
        node = lab.node(None, append=words, disk=disk)
        node.expect(says_first, BOOT_S)
        node.expect(ROOT_UP, within_s=2 * BOOT_S)
        if stay_s:
            # The cache is written beside the system; then the disk is let go.
            node.expect(r"EXT4-fs \(vda\): unmounting filesystem", within_s=2 * stay_s)
        node.expect_end(within_s=2 * stay_s + 60)
        # The kernel came first, then the root.
        done = rf"{re.escape(node.address)}!\d+ done: .* s, (\d+) from the master, (\d+) from"
        moved = re.findall(done, (lab.directory / "master.log").read_text())
        lab.check(len(moved) == 2, f"{len(moved)} fetches")
        return sum(map(int, moved[1])) >> 20

    found = r"^xget .*LABEL=cache is the cache of images/tree/root"
    cold = boot(good, found, stay_s=10)
    lab.check(cold >= PADDING_MB, f"only {cold} MiB moved")
    warm = boot(good, found, stay_s=10)
    lab.check(warm == 0, f"{warm} MiB moved with a cache")
    padding = max((path for path in image.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    mark = padding.read_bytes()[5 << 20 :][:4096]
    lab.check(_damage(good, mark) > 0, "the padding is not on the disk")
    damaged = boot(good, found, stay_s=10)
    lab.check(damaged < PADDING_MB // 2, f"{damaged} MiB moved with a byte wrong")
    full = boot(small, found, stay_s=10)
    lab.check(full >= PADDING_MB // 2, f"only {full} MiB moved")
    without = boot(wild, r"^xget .*! xget.cache=LABEL=cache: no disk has .* the boot goes on")
    lab.check(without >= PADDING_MB, f"only {without} MiB moved")
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


@scenario(limit_s=500, tags=["roots"])
def sparse_root(lab):
    """A root of 12 GiB, nearly all of it holes, while a lease of 120 s is renewed."""
    roots = Roots(lab)
    root = roots.image("tree", bare=True)
    with open(root / "big" / "disk", "wb") as disk:
        for at in (0, 5 << 30, (12 << 30) - 4096):
            disk.seek(at)
            disk.write(b"data" * 1024)
    roots.nodes(f"{PLAN.mac(1)} n001 tree - -")
    lab.dhcp(lease_s=120)
    lab.master(roots.tree)
    node = lab.node(None, ip="dhcp")
    node.expect(ROOT_UP, within_s=300)
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
