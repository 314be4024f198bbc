"""What nodes boot in the end: a directory with kernel, initrd and cmdline.

The tiny image is the lab's kernel again with a program of a few lines, which says
some lines on the console (SECOND below), then switches the machine off.
"""

import contextlib
import fcntl
import shutil
import tempfile
from pathlib import Path

from repository import BUILD, REPO, TARGET, binary

from .errors import Failed
from .paths import initramfs, kernel
from .program import run

IMAGES = BUILD / "images"
GUEST = REPO / "qemu-tests" / "guest"
COMPILE_LIMIT_S = 120
DEBIAN_LIMIT_S = 900
DIGEST_LIMIT_S = 60

# What every second system says, by guest/second.rs.
SECOND = r"second system: "
SECOND_KERNEL = SECOND + r"kernel (\S+)"
SECOND_LOADER = SECOND + r"loader (\S+)"
SECOND_MARKS = SECOND + r"command line (.*)"
SECOND_UP = SECOND + r"up, switching off"
# Type 0xd of "loader type" in Documentation/x86/boot.rst; QEMU's own is 0xb.
LOADER_KEXEC = "0xd"
# Where many machines share a processor, the kernel's test of the timer
# interrupt finds none in time and panics (arch/x86/kernel/apic/io_apic.c).
CROWDED = "no_timer_check"
TINY_CMDLINE = f"console=ttyS0 panic=-1 quiet {CROWDED}"
# What the first system says of what it fetched (src/xget/boot/fetching.rs).
FETCHED = r"^xget .*\bfetched .* digest (blake3:[0-9a-f]{64})$"
# What a root says, by guest/rooted.rs and guest/lives.
ROOT = r"^root system: "
ROOT_UP = ROOT + r"up$"
# What guest/rooted.rs says of who serves beside it: CAP_DAC_READ_SEARCH alone is left.
SHUT_IN = r"CapEff: 0000000000000004 NoNewPrivs: 1 Seccomp: 2"
# What the agent says where the kernel lacks something of it (src/xget/driver/shut_in.rs).
NOT_SHUT_IN = r"this kernel does not shut xget in"
# The first kernel's own last words (kernel/kexec_core.c).
KEXEC = r"kexec_core: Starting new kernel"
# Why a first system has no next one (src/xget/boot/mod.rs).
FAILED = r"^xget .*! boot failed: "


@contextlib.contextmanager
def alone():
    """What is made here is shared by scenarios that run at the same time."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with open(IMAGES / ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _put(path, data):
    """Write a file that is another one now; what is the same may be served at this moment."""
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)


def _newer(product, *sources):
    """Whether the product is there and newer than what it is made from."""
    made = product.stat().st_mtime if product.exists() else 0
    return all(source.stat().st_mtime < made for source in sources)


def _program(name):
    """The program of guest/NAME.rs, compiled when it is older."""
    source = REPO / "qemu-tests" / "guest" / f"{name}.rs"
    program = IMAGES / name
    with alone():
        if not _newer(program, source):
            command = ["rustc", "--edition=2024", f"--target={TARGET}", "-Copt-level=s"]
            command += ["-Cpanic=abort", "-Cstrip=symbols", "-o", str(program), str(source)]
            run(command, COMPILE_LIMIT_S, f"compiling {name}")
    return program


def agent():
    """The program that is /init of the initramfs."""
    return binary().with_name("xget-init")


def beside():
    """Files for an initramfs in which something goes on beside the agent (guest/beside.rs)."""
    return {"init": _program("beside").read_bytes(), "agent/init": agent().read_bytes()}


def disk_initramfs():
    """An initramfs with modules for every file system that a cache may have."""
    image, modules = IMAGES / "disks" / "initramfs.img", GUEST / "disk-modules"
    builder = REPO / "initramfs" / "build"
    with alone():
        if not _newer(image, agent(), modules, builder):
            image.parent.mkdir(parents=True, exist_ok=True)
            command = [str(builder), "--init", str(agent()), "--modules", str(modules)]
            command += ["--output", str(image)]
            run(command, DEBIAN_LIMIT_S, "building the initramfs", COMPRESS="gzip")
    return image


def disk_user(directory):
    """Kernel and initramfs of a machine that has busybox, the xget under test, and disks
    (guest/disks); commands are typed at its console (lab.terminal).
    """
    files = {"init": "disks", "bin/lives": "lives"}
    files = {path: (GUEST / name).read_bytes() for path, name in files.items()}
    files["bin/busybox"], files["bin/xget"] = busybox(), binary().read_bytes()
    # In the small initramfs this is its init, which is another one now.
    files["sbin/modprobe"] = b'#!/bin/busybox sh\nexec /bin/busybox modprobe "$@"\n'
    base = disk_initramfs()
    return base.with_name("vmlinuz"), initramfs_with(files, directory / "disks.img", base)


def debian_root():
    """The tree that serves a Debian with systemd, its root in `images/debian/root`."""
    tree = IMAGES / "debian-root-tree"
    if not (tree / "images" / "debian").exists():
        tree.mkdir(parents=True, exist_ok=True)
        command = [str(binary().with_name("xgetctl")), "image", "create", "debian"]
        command += ["--root", str(tree), "--suite", "bookworm"]
        command += ["--kernel", "linux-image-cloud-amd64", "--cache", str(IMAGES / "cache")]
        run(command, DEBIAN_LIMIT_S, "making a Debian root")
    return tree


class Roots:
    """A tree with roots that are to be booted, of one scenario and made anew for it."""

    def __init__(self, lab):
        self.tree = IMAGES / f"{lab.directory.name}-tree"
        shutil.rmtree(self.tree, ignore_errors=True)
        self.tree.mkdir(parents=True)

    def image(self, name, kind="dir", cmdline=TINY_CMDLINE, padding_mb=0, bare=False):
        """An image: the lab's kernel and initramfs again, and a root with one program.

        A bare one has the root alone.
        """
        image = self.tree / "images" / name
        image.mkdir(parents=True)
        if not bare:
            (image / "kernel").write_bytes(kernel().read_bytes())
            (image / "initrd").write_bytes(initramfs().read_bytes())
            (image / "cmdline").write_text(cmdline + "\n")
        root = image / "root"
        for path in ("usr/sbin", "usr/lib64", "etc", "big", "dev", "proc", "sys", "run"):
            (root / path).mkdir(parents=True)
        (root / "usr/sbin/init").write_bytes(_program("rooted").read_bytes())
        (root / "usr/sbin/init").chmod(0o755)
        (root / "usr/lib64/ld").write_text("a loader\n")
        (root / "sbin").symlink_to("/usr/sbin")
        (root / "lib64").symlink_to("usr/lib64")
        (root / "etc/hostname").write_text("builder\n")
        (root / "etc/motd").write_text(f"image {name}\n")
        (root / "etc").chmod(0o751)
        root.chmod(0o755)
        if padding_mb:
            with open("/dev/urandom", "rb") as random:
                (root / "big/padding").write_bytes(random.read(padding_mb << 20))
        if kind != "dir":
            self._pack(root, image / f"root.{kind}", kind)
        return root

    @staticmethod
    def _pack(root, packed, kind):
        command = ["mksquashfs", str(root), str(packed), "-quiet", "-no-progress"]
        if kind == "erofs":
            command = ["mkfs.erofs", "-zlz4", str(packed), str(root)]
        run(command, COMPILE_LIMIT_S, f"making {packed.name}")
        shutil.rmtree(root)

    def remove(self):
        """Give the space of a large tree back."""
        shutil.rmtree(self.tree)

    def layer(self, name, files):
        """A layer: names and their text."""
        for path, text in files.items():
            place = self.tree / "layers" / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def nodes(self, *lines):
        """What nodes.tab says, replaced as a whole."""
        new = self.tree / ".nodes.new"
        new.write_text("".join(f"{line}\n" for line in lines))
        new.rename(self.tree / "nodes.tab")


def tiny_image(name="tiny", cmdline=TINY_CMDLINE, padding_mb=0):
    """The tree that serves the tiny image under `name`; made when stale.

    `padding_mb` makes the initrd larger by bytes that do not compress, for
    transfers that are to take their time.
    """
    program = _program("second")
    tree = IMAGES / f"{name}-{padding_mb}-tree"
    image = tree / name
    with alone():
        image.mkdir(parents=True, exist_ok=True)
        _put(image / "cmdline", f"{cmdline}\n".encode())
        if not _newer(image / "initrd", program):
            _pack_second(program, image / "initrd", padding_mb)
        _put(image / "kernel", kernel().read_bytes())
    return tree


def _pack_second(program, initrd, padding_mb):
    """The initrd of the tiny image."""
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "init").write_bytes(program.read_bytes())
        (Path(root) / "init").chmod(0o755)
        for directory in ("dev", "proc", "sys"):
            (Path(root) / directory).mkdir()
        if padding_mb:
            with open("/dev/urandom", "rb") as random:
                (Path(root) / "padding").write_bytes(random.read(padding_mb << 20))
        pack = [str(REPO / "initramfs" / "pack"), root, str(initrd)]
        run(pack, COMPILE_LIMIT_S, "packing the second system")


def initramfs_with(files, output, base=None):
    """The small initramfs, or another `base`, with these files (path to bytes) over its own; return where it is.

    The kernel unpacks one archive after the other; one that is not compressed
    begins at a multiple of four bytes (init/initramfs.c).
    """
    with tempfile.TemporaryDirectory() as root:
        for name, data in files.items():
            target = Path(root) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(0o755 if data.startswith((b"#!", b"\x7fELF")) else 0o644)
        pack = [str(REPO / "initramfs" / "pack"), root, str(output)]
        run(pack, COMPILE_LIMIT_S, "packing files for the initramfs")
    base = (base or initramfs()).read_bytes()
    output.write_bytes(base + bytes(-len(base) % 4) + output.read_bytes())
    return output


def busybox():
    """This machine's, which needs no library."""
    found = shutil.which("busybox")
    program = Path(found).read_bytes() if found else b""
    if not program or b"/ld-linux" in program:
        raise Failed("there is no static busybox here: install busybox-static")
    return program


def add_xget(root):
    """Give a root the xget under test, for a system that is up."""
    program = root / "usr/bin/xget"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_bytes(binary().read_bytes())
    program.chmod(0o755)


def add_script(root, script):
    """Make a script of busybox's shell the init of a root."""
    for name, data in (("usr/sbin/init", (GUEST / script).read_bytes()), ("bin/busybox", busybox())):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
        (root / name).chmod(0o755)


def script_image(name, script):
    """The tree that serves an image whose second system is a script of busybox's shell.

    It has the modules of the small initramfs.
    """
    tree = IMAGES / f"{name}-tree"
    image = tree / name
    files = {"init": (GUEST / script).read_bytes(), "bin/busybox": busybox()}
    with alone():
        image.mkdir(parents=True, exist_ok=True)
        # In the small initramfs this is its init, which is another one now.
        made = initramfs_with({**files, "sbin/modprobe": b""}, IMAGES / f"{name}.initrd")
        _put(image / "initrd", made.read_bytes())
        made.unlink()
        _put(image / "cmdline", f"{TINY_CMDLINE}\n".encode())
        _put(image / "kernel", kernel().read_bytes())
    return tree


def digest(tree, name, parts=(".",)):
    """What a node has to say that it fetched of an image as it is now, as "blake3:HEX"."""
    sources = [f"{name}/{part}" for part in parts]
    command = [str(binary()), "--print-digest", str(tree), *sources]
    return run(command, DIGEST_LIMIT_S, "hashing the image")
