"""A partition that keeps a root between boots: good, damaged, too small, of several file systems."""

import os
import re
import subprocess

from lab import scenario
from lab.images import ROOT_UP, Roots, disk_initramfs
from lab.lab import CONSOLE

BOOT_S = 120
# Large enough for what it is made of, and nearly all of it holes.
XFS_MB, BTRFS_MB, EXT4_MB = 320, 160, 128
SMALL_MB = 8
PADDING_MB = 24


def _disk(lab, name, size_mb, label=None, kind="ext4"):
    """Make a disk; with a file system of this label, or with nothing that makes sense."""
    path = lab.directory / name
    with open(path, "wb") as file:
        file.truncate(size_mb << 20)
        if label is None:
            file.write(bytes(range(256)) * 4096)
    if label is not None:
        command = [f"mkfs.{kind}", "-q", "-L", label, str(path)]
        subprocess.run(command, check=True, timeout=30, capture_output=True)
    return path


def _moved_mb(lab, node, fetches):
    """What the last of its fetches has moved, whoever it came from."""
    done = rf"{re.escape(node.address)}!\d+ done: .* s, (\d+) from the master, (\d+) from"
    moved = re.findall(done, (lab.directory / "master.log").read_text())
    lab.check(len(moved) == fetches, f"{len(moved)} fetches of {node.name}")
    return sum(map(int, moved[-1])) >> 20


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
        return _moved_mb(lab, node, fetches=2)

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


@scenario(limit_s=500, tags=["roots", "faults", "quick"], prepare=disk_initramfs)
def caches_of_all_kinds(lab):
    """Caches on xfs, btrfs and ext4: nothing moves twice; one whose directory is damaged is done without."""
    roots = Roots(lab)
    roots.image("tree", bare=True, padding_mb=SMALL_MB)
    roots.nodes("* - tree - -")
    lab.master(roots.tree)
    disks = [
        _disk(lab, kind, size_mb, "cache", kind)
        for kind, size_mb in (("xfs", XFS_MB), ("btrfs", BTRFS_MB), ("ext4", EXT4_MB))
    ]

    def boot_all(stay_s):
        words = f"xget.cache=LABEL=cache xget.linger=0 lab.stay={stay_s}"
        nodes = [lab.node(None, append=words, disk=d, initramfs=disk_initramfs()) for d in disks]
        lab.expect_all(ROOT_UP, within_s=BOOT_S, machines=nodes)
        return nodes

    # The caches are written beside the systems, and synced before they are let go.
    cold = boot_all(stay_s=20)
    for node in cold:
        node.expect(r"^xget .*LABEL=cache is the cache of images/tree/root", within_s=1)
        node.expect_end(within_s=60)
        node.expect_silence("the cache is not")
        lab.check(_moved_mb(lab, node, 1) >= SMALL_MB, f"{node.name} had something")
    lab.check(_damage(disks[2], b"xget-cache") > 0, "there is no cache on the disk")
    *warm, damaged = boot_all(stay_s=20)
    for node in warm:
        moved_mb = _moved_mb(lab, node, 1)
        lab.check(moved_mb == 0, f"{moved_mb} MiB moved to {node.name}, which had a cache")
    lab.check(_moved_mb(lab, damaged, 1) >= SMALL_MB, "a damaged directory had something")
    damaged.expect(r"EXT4-fs error|the cache is not", within_s=60)
    for path in disks:
        path.unlink()
    roots.remove()
