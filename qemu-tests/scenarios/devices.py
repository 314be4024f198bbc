"""Disks as the destination of a fetch: written, in use, failing, and room that they get back.

The master is the lab's; the machine has busybox, xget and disks (guest/disks), and each
command is typed at its console.
"""

import hashlib
import os
import re
import shutil
import subprocess

from lab import Failed, images, network, scenario
from lab.images import ROOT_UP
from lab.terminal import Terminal

BOOT_S = 90
TOOL_LIMIT_S = 30
MIB = 1 << 20
OLD = b"\xa5"
# A table of two partitions: a file system, and one for swap. The rest of the image is a hole.
TABLE = "label: dos\nstart=2048, size=32768, type=83\nstart=34816, size=8192, type=82\n"
FIRST_AT = 2048 * 512
IMAGE_MB, FIRST_MB, BIG_MB, DISK_MB = 24, 16, 5, 32
SPARSE = ("conv=sparse,notrunc", "status=none")
# An image without a hole, and one that is flushed more than once on its way.
NOISE_MB, LONG_MB = 12, 72
# What an image may take beside its data, where room is counted: tables, and ends of blocks.
SLACK_MB = 1
# Where bad disks are bad; what fails there is all that Linux writes at once, at the most so much.
FAILS_AT, AT_ONCE = 5 * MIB + 512 * 3, 2 * MIB


def noise(seed, length):
    """Bytes that nothing compresses, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(length)


def _tool(*command, stdin=None):
    subprocess.run(
        command, input=stdin, text=True, check=True, timeout=TOOL_LIMIT_S, capture_output=True
    )


def _serve(lab):
    """Serve disk.img, a disk with partitions; part.img, the first of them; noise.img."""
    tree, inner = lab.directory / "tree", lab.directory / "inner"
    tree.mkdir()
    inner.mkdir()
    (inner / "big").write_bytes(noise("big", BIG_MB * MIB))
    disk, part = tree / "disk.img", tree / "part.img"
    _tool("mkfs.ext4", "-q", "-d", str(inner), str(part), f"{FIRST_MB}M")
    shutil.rmtree(inner)
    with open(disk, "wb") as file:
        file.truncate(IMAGE_MB * MIB)
    _tool("sfdisk", "-q", str(disk), stdin=TABLE)
    _tool("dd", f"if={part}", f"of={disk}", "bs=4K", f"seek={FIRST_AT // 4096}", *SPARSE)
    (tree / "noise.img").write_bytes(noise("image", NOISE_MB * MIB))
    lab.master(tree)
    return tree


def _disk(lab, name, size_mb=DISK_MB, content=OLD):
    """A disk in a file that has room for all of it; the file."""
    path = lab.directory / f"{name}.disk"
    with open(path, "wb") as file:
        for _ in range(size_mb):
            file.write(content * (MIB // len(content)))
        os.fsync(file.fileno())
    return path


def _drive(path, more=""):
    return f"if=virtio,format=raw,cache=writeback,file={path}{more}"


def _faulty(path, kind, more=""):
    """A drive at which what is of this kind (QEMU's docs/devel/blkdebug.txt) fails."""
    rule = {"event": "none", "iotype": kind, "errno": "5", "immediately": "off"}
    words = "".join(f",inject-error.0.{name}={value}" for name, value in rule.items())
    image = f"image.driver=raw,image.file.driver=file,image.file.filename={path}"
    return f"if=virtio,cache=writeback,driver=blkdebug,{image}{words}{more}"


class Burner(Terminal):
    """Who writes to the disks of a machine: vda, vdb, ..."""

    def __init__(self, lab, drives, devices=()):
        kernel, initrd = images.disk_user(lab.directory)
        hardware = {"drives": drives, "devices": devices, "keyboard": True}
        node = lab.mounter(kernel, initrd, **hardware)
        node.expect(ROOT_UP, within_s=BOOT_S)
        super().__init__(node)

    @staticmethod
    def _fetch(words):
        return f"xget -n {network.MASTER} --linger 0 {words}"

    def must(self, command, status=0):
        """Let it do what has to end so; what it said, as one line."""
        ended, said = self.run(command)
        text = " ".join(said)
        if ended != status:
            raise Failed(f"{command}: status {ended}, and not {status}: {text}")
        return text

    def fetch(self, words, status=0, says=()):
        """Let it fetch; it has to end so and to say each of these. What it said."""
        text = self.must(self._fetch(words), status)
        self.check_said(words, text, says)
        return text

    def begin_fetch(self, words):
        """The same, without waiting for it."""
        self.begin(self._fetch(words))

    @staticmethod
    def check_said(what, text, says):
        """Fail unless it has said each of these."""
        for pattern in says:
            if not re.search(pattern, text):
                raise Failed(f"{what}: it did not say {pattern!r}: {text}")

    def sum(self, disk, size):
        """SHA-256 of so many bytes of a disk, past the page cache."""
        blocks = -(-size // MIB)
        line = f"dd if=/dev/{disk} bs=1M count={blocks} iflag=direct 2>/dev/null"
        return self.must(f"{line} | sha256sum").split()[0]

    def leave(self):
        """Switch it off: what it wrote is in the files then."""
        self.begin("sync; poweroff -f")
        self.node.expect_end(within_s=30)


def _sum(data):
    return hashlib.sha256(data).hexdigest()


def _room_mb(path):
    """What a file takes of its file system."""
    return path.stat().st_blocks * 512 / MIB


def _end(lab):
    """Give the room of disks back, when all is well."""
    for path in [*lab.directory.glob("*.disk"), *lab.directory.glob("tree/*")]:
        path.unlink()


@scenario(limit_s=200, tags=["devices", "quick"], prepare=images.disk_initramfs)
def onto_a_disk(lab):
    """A whole image onto a disk: every byte, its partitions, and room given back where it has holes."""
    tree = _serve(lab)
    image = (tree / "disk.img").read_bytes()
    data_mb = _room_mb(tree / "disk.img")
    plain, full, zeros, small = (
        _disk(lab, "plain"),
        _disk(lab, "full"),
        _disk(lab, "zeros", content=b"\0"),
        _disk(lab, "small", size_mb=8),
    )
    drives = [_drive(plain), _drive(full, ",discard=unmap"), _drive(zeros, ",discard=unmap")]
    at = Burner(lab, (*drives, _drive(small, ",readonly=on"), _drive(small, ",readonly=on")))
    at.fetch("disk.img /dev/vda")
    lab.check(at.sum("vda", len(image)) == _sum(image), "the disk has other bytes")
    # The kernel knows the partitions of the image by now.
    at.must("mount -o ro /dev/vda1 /mnt")
    said = at.must("sha256sum /mnt/big; umount /mnt")
    lab.check(_sum(noise("big", BIG_MB * MIB)) in said, f"the file has other bytes: {said}")
    at.fetch("--verify disk.img /dev/vda", says=[r" 25\.1 MB not moved"])
    at.fetch("disk.img /dev/vdd", 6, [r"/dev/vdd is read-only; nothing was written"])
    at.fetch("disk.img /dev/vdb")
    given_back_mb = IMAGE_MB - data_mb - SLACK_MB
    lab.check(_room_mb(full) <= DISK_MB - given_back_mb, f"holes take room: {_room_mb(full)} MiB")
    at.fetch("disk.img /dev/vdc")
    lab.check(_room_mb(zeros) >= DISK_MB, f"zeros that were there are gone: {_room_mb(zeros)} MiB")
    for disk, path in (("vdb", full), ("vdc", zeros)):
        at.fetch(f"--discard --verify disk.img /dev/{disk}")
        taken_mb = _room_mb(path)
        lab.check(taken_mb <= data_mb + SLACK_MB, f"{disk} takes {taken_mb} MiB, not {data_mb}")
        lab.check(at.sum(disk, len(image)) == _sum(image), f"{disk} has other bytes")
    at.leave()
    now = plain.read_bytes()
    lab.check(now[: len(image)] == image, "the disk has other bytes")
    lab.check(now[len(image) :].strip(OLD) == b"", "what is behind the image was written to")
    _end(lab)


@scenario(limit_s=200, tags=["devices", "faults", "quick"], prepare=images.disk_initramfs)
def disks_in_use(lab):
    """A disk of which something is mounted or swapped to is refused, and written to by --force."""
    tree = _serve(lab)
    image = (tree / "disk.img").read_bytes()
    btrfs = lab.directory / "btrfs.disk"
    with open(btrfs, "wb") as file:
        file.truncate(160 * MIB)
    _tool("mkfs.btrfs", "-q", str(btrfs))
    disk = _disk(lab, "disk")
    at = Burner(lab, (_drive(disk), _drive(btrfs)))
    refused = [r"is in use", r"nothing was written", r"--force writes to it all the same"]
    at.fetch("disk.img /dev/vda")

    def is_refused(source, device, by):
        before = at.sum(device, len(image))
        at.fetch(f"{source} /dev/{device}", 6, [*refused, by])
        at.fetch(f"--dry-run {source} /dev/{device}", 0, [r"bytes differ"])
        lab.check(at.sum(device, len(image)) == before, f"{device} was written to")

    # One of its partitions is mounted.
    at.must("mount -o ro /dev/vda1 /mnt")
    is_refused("noise.img", "vda", r"vda1 is mounted at /mnt")
    at.fetch("noise.img /dev/vda1", 6, [*refused, r"vda1 is mounted at /mnt"])
    # The other one is not.
    at.fetch("part.img /dev/vda2", 6, [r"/dev/vda2 is too small"])
    at.fetch(
        "--force --verify noise.img /dev/vda",
        0,
        [r"though it is in use: vda1 is mounted", r"goes by the old partition table"],
    )
    there = at.sum("vda", NOISE_MB * MIB)
    lab.check(there == _sum((tree / "noise.img").read_bytes()), "it has other bytes")
    at.must("umount /mnt")
    at.fetch("disk.img /dev/vda")
    # One of its partitions is swapped to.
    at.must("mkswap /dev/vda2 && swapon /dev/vda2")
    is_refused("noise.img", "vda", r"vda2 is swap")
    at.fetch("noise.img /dev/vda2", 6, [*refused, r"vda2 is swap"])
    at.fetch("--force disk.img /dev/vda", 0, [r"though it is in use: vda2 is swap"])
    at.must("swapoff /dev/vda2")
    # btrfs has device numbers of its own.
    at.must("mount /dev/vdb /mnt")
    is_refused("disk.img", "vdb", r"vdb is mounted at /mnt")
    at.must("umount /mnt")
    at.fetch("disk.img /dev/vdb")
    at.leave()
    lab.check(disk.read_bytes()[: len(image)] == image, "the disk has other bytes")
    lab.check(btrfs.read_bytes()[: len(image)] == image, "the other has other bytes")
    _end(lab)


@scenario(limit_s=200, tags=["devices", "faults", "quick"], prepare=images.disk_initramfs)
def disks_that_fail(lab):
    """Disks that fail at a place, once, when flushed or read; that keep nothing; that are pulled out."""
    tree = _serve(lab)
    image = (tree / "noise.img").read_bytes()
    (tree / "long.img").write_bytes(noise("long", LONG_MB * MIB))
    names = ("place", "once", "flush", "read", "pulled")
    place, once, flush, read, pulled = (_disk(lab, name) for name in names)
    long = _disk(lab, "long", size_mb=LONG_MB)
    at_place = f",inject-error.0.sector={FAILS_AT // 512}"
    drives = (
        _faulty(place, "write", at_place),
        _faulty(once, "write", f"{at_place},inject-error.0.once=on"),
        _faulty(flush, "flush"),
        _faulty(read, "read", at_place),
        f"if=virtio,driver=null-co,read-zeroes=on,size={DISK_MB * MIB}",
        _faulty(long, "write", at_place),
        f"if=none,id=pulled,format=raw,file={pulled}",
    )
    # Only such a slot lets something go.
    slot = ("pcie-root-port,id=place,slot=7", "virtio-blk-pci,id=out,bus=place,drive=pulled")
    at = Burner(lab, drives, slot)
    lost = r"what was written is not read back.*: \d+ bytes at offset (\d+)"
    unflushed = r"cannot flush it to the medium: (I/O|Input/output) error"

    def fails(words, disk, *says):
        is_torn = rf"/dev/{disk} is not whole: it has a part of the image over what it had before"
        return at.fetch(f"{words} /dev/{disk}", 6, [rf"/dev/{disk}: ", is_torn, *says])

    def fails_there(words, disk, *says):
        said = fails(words, disk, lost, *says)
        found = int(re.search(lost, said)[1])
        lab.check(FAILS_AT - AT_ONCE < found <= FAILS_AT, f"{disk} fails at {FAILS_AT}: {said}")

    # However often it is tried.
    fails_there("noise.img", "vda", unflushed)
    fails_there("noise.img", "vda", unflushed)
    fails_there("noise.img", "vdb", unflushed)
    # The same command goes on with it.
    at.fetch("noise.img /dev/vdb", says=[r"MB not moved"])
    lab.check(at.sum("vdb", len(image)) == _sum(image), "vdb has other bytes")
    fails("noise.img", "vdc", unflushed)
    fails_there("--verify noise.img", "vdd")
    fails("--verify noise.img", "vde", lost)
    lab.network.shape_master("8mbit")
    at.begin_fetch("noise.img /dev/vdg")

    def is_in_the_middle():
        client = lab.client(at.node)
        return 0.1 < client.have_bytes / max(client.total_bytes, 1) < 0.6

    lab.wait(is_in_the_middle, 60, "fetch in its middle", [at.node])
    at.node.tell_qemu("device_del out")
    status, said = at.end()
    text = " ".join(said)
    lab.check(status == 6, f"status {status}: {text}")
    at.check_said("pulled", text, [r"/dev/vdg: cannot (write|flush)", r"/dev/vdg is not whole"])
    # It is found out while more comes.
    lab.network.shape_master("60mbit")
    fails_there("long.img", "vdf", unflushed)
    left = lab.masters[0].console.find_all(r"left at (\d+) %")[-1]
    lab.check(int(left[1]) < 100, f"it is found out at the end: {left.string}")
    at.leave()
    _end(lab)
