"""What Linux' own 9P client makes of a master, and of a node that still fetches."""

import hashlib
import os
import shutil
import signal
import stat
import tempfile
from pathlib import Path

from lab import Failed, mounter, scenario, services
from repository import binary

# The odds and ends of a served tree, and what is large.
BIG_BYTES = 48 << 20
MANY = 20_000
DIALECTS = ("9p2000", "9p2000.u", "9p2000.L")
CACHES = ("none", "loose", "mmap")
# As guest/mounts names them.
FILES = """
    mount root find digests links tar df direct mapped read-only absent directory umount
""".split()
SMALL = "mount find digests directory umount".split()
CONTROL = "mount data log info follow parked alive umount".split()
CACHED_CONTROL = "mount data log info umount".split()
NODE = "mount parked cached arrives ends uncached umount".split()
BUSY = "mount info remount refused detach ends again alive umount".split()
LAYERED = "mount overlay digests run write detach umount".split()
CHANGED = "mount before seen open place others replaced umount".split()
GONE = "mount fails umount".split()
LOG_WORDS = (">", ">>", "tee", "dd")
ODD_NAMES = [b"with space", b"new\nline", b"tab\there", b"-n", b"...", b".hidden", b"log", b"data"]
ODD_NAMES += [b"invalid-\xff\xfe", "grüße-日本語".encode(), b"back\\slash", b"n" * 255]
ODD_MODES = (0o000, 0o400, 0o644, 0o755, 0o4755, 0o2755, 0o1644, 0o7777)


def noise(seed, length):
    """Bytes that nothing compresses, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(length)


def write(path, data, mode=0o644, mtime_ns=1_600_000_000_123_456_789):
    """A file as it is to be."""
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def make_odd_tree(top):
    """Names, modes, links and times of all kinds."""
    for number, name in enumerate(ODD_NAMES):
        write(top + b"/" + name, noise(str(number), 10 + 1000 * number), mtime_ns=10**18 + number)
        os.makedirs(top + b"/dirs/" + name + b"/below")
    for mode in ODD_MODES:
        os.makedirs(top + b"/modes", exist_ok=True)
        write(top + b"/modes/%04o" % mode, b"%o" % mode, mode)
        os.mkdir(top + b"/modes/dir-%04o" % mode)
        os.chmod(top + b"/modes/dir-%04o" % mode, mode)
    os.mkdir(top + b"/links")
    write(top + b"/links/one", noise("one", 5000))
    for other in (b"links/two", b"modes/three"):
        os.link(top + b"/links/one", top + b"/" + other)
    for name, target in (
        (b"dangling", b"nowhere"),
        (b"absolute", b"/etc/hostname"),
        (b"directory", b"../dirs"),
        (b"self", b"self"),
        (b"odd\nname", b"new\nline \xff"),
        (b"long", b"t" * 1000),
    ):
        os.symlink(target, top + b"/links/" + name)
    deep = top + b"/d" * 40
    os.makedirs(deep)
    write(deep + b"/bottom", b"deep")
    write(top + b"/empty", b"")
    with open(top + b"/sparse", "wb") as sparse:
        sparse.write(b"begin")
        sparse.seek(1 << 20)
        sparse.write(noise("middle", 100_000))
        sparse.truncate(3 << 20)
    os.mkfifo(top + b"/fifo")
    shutil.copyfile(binary(), top + b"/program")
    os.chmod(top + b"/program", 0o755)


def make_tree(root):
    """What is served; the same every time."""
    top = os.fsencode(root / "tree")
    os.makedirs(top)
    make_odd_tree(top)
    if os.geteuid() == 0 and os.stat("/").st_uid == 0:
        os.chown(top + b"/empty", 1000, 1001)
        os.lchown(top + b"/links/self", 1002, 1003)
    write(root / "big", noise("big", BIG_BYTES))
    write(root / "change", b"before\n")
    (root / "many").mkdir()
    for number in range(MANY):
        (root / "many" / f"{number:05}").touch()
    os.chmod(root, 0o751)


def paths(root):
    """Every path that is served below a directory, as find names them."""
    yield b"."
    top = os.fsencode(root)
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            if not stat.S_ISFIFO(os.lstat(path).st_mode):
                yield b"./" + os.path.relpath(path, top)


def line(root, path, dialect):
    """What find is to say of a path in this dialect, or nothing."""
    full = os.path.join(os.fsencode(root), path)
    seen = os.lstat(full)
    is_dir, is_link = stat.S_ISDIR(seen.st_mode), stat.S_ISLNK(seen.st_mode)
    plain = dialect == "9p2000"
    if plain and is_link:
        return None
    mode = stat.S_IMODE(seen.st_mode) & (0o777 if plain else 0o7777)
    seconds, nanoseconds = divmod(seen.st_mtime_ns, 10**9)
    words = ["d" if is_dir else "l" if is_link else "f", f"{mode:o}"]
    if not plain:
        words.append(f"{seen.st_uid}:{seen.st_gid}")
    if not is_dir:
        words += [str(seen.st_size), "1" if plain else str(seen.st_nlink)]
    words.append(f"{seconds}.{nanoseconds:09}0" if dialect == "9p2000.L" else str(seconds))
    said = " ".join(words).encode() + b" " + path
    if is_dir:
        return said
    return said + b" " + (os.readlink(full) if is_link else b"")


def expectations(root):
    """The files of /expected, by name."""
    tree = root / "tree"
    found = list(paths(tree))
    expected = {}
    for dialect in DIALECTS:
        lines = filter(None, (line(tree, path, dialect) for path in found))
        expected[f"listing.{dialect}"] = b"".join(said + b"\0" for said in sorted(lines))
    sums = []
    for path in sorted(found):
        full = os.path.join(os.fsencode(tree), path)
        if os.path.isfile(full) and not os.path.islink(full):
            digest = hashlib.sha256(Path(os.fsdecode(full)).read_bytes()).hexdigest()
            sums.append(digest.encode() + b"  " + path + b"\0")
    expected["sums"] = b"".join(sums)
    expected["root"] = b"751\n"
    expected["many"] = b"%d\n" % MANY
    big = hashlib.sha256((root / "big").read_bytes()).hexdigest()
    program = hashlib.sha256((tree / "program").read_bytes()).hexdigest()
    expected["program"] = program.encode() + b"  -\n"
    expected["big"] = big.encode() + b"  -\n"
    expected["df"] = free(root)
    return expected


def free(root):
    """What df is to say: as much as there is, and nothing of it free."""
    files, sizes = 0, {}
    for path in paths(root):
        seen = os.lstat(os.path.join(os.fsencode(root), path))
        if stat.S_ISREG(seen.st_mode):
            files += 1
            sizes[seen.st_ino] = seen.st_size
    blocks = -(-sum(sizes.values()) // 4096)
    return f"{blocks * 4096} 0 {files} 9p\n".encode()


def wanted():
    """Every check there has to be, as guest/mounts says it."""
    checks = [f"node {name}" for name in NODE] + [f"busy {name}" for name in BUSY]
    for cache in ("none", "loose"):
        checks += [f"layered,{cache} {name}" for name in LAYERED]
    for dialect in DIALECTS:
        checks += [f"changed,{dialect} {name}" for name in CHANGED]
    checks += [f"gone {name}" for name in GONE]
    for dialect in DIALECTS:
        checks += [f"{dialect},small {name}" for name in SMALL]
        for cache in CACHES:
            where = f"{dialect},{cache}"
            checks += [f"{where} {name}" for name in FILES + ["copy"] * (cache == "none")]
            names = CACHED_CONTROL if cache == "loose" else CONTROL
            checks += [f"{where},control {name}" for name in names]
    return checks


@scenario(limit_s=600, tags=["quick"], prepare=mounter.prepare)
def mounts(lab):
    """Linux mounts a master in three dialects and cache modes, and a node that still fetches."""
    with tempfile.TemporaryDirectory() as work:
        machine = mounted(lab, Path(work))
    said = [match[0] for match in machine.console.find_all(r"^mounts: (ok|FAILED) .*")]
    missing = [check for check in wanted() if f"mounts: ok {check}" not in said]
    if missing:
        wrong = [text for text in said if text.startswith("mounts: FAILED")]
        raise Failed("\n".join([f"not so: {', '.join(missing)}", *wrong]))
    # Of words that are not in its table (net/9p/error.c).
    machine.expect_silence(r"unknown error")
    for way in (f"{dialect},{cache}" for dialect in DIALECTS for cache in CACHES):
        for words in LOG_WORDS:
            found = lab.masters[0].console.find(rf" {machine.address} {way},control {words}$")
            lab.check(found, f"the master did not log {words!r} of {way}")
    lab.say(f"{len(said)} checks of {len(DIALECTS) * len(CACHES)} ways to mount")


def mounted(lab, work):
    """Let the machine look at what is served; what it says."""
    root = work / "served"
    root.mkdir()
    make_tree(root)
    expected = expectations(root)
    lab.master(root)
    # It has the manifest and the beginning; all of it takes minutes.
    client = services.Client(lab, ["big"], work / "copy", "100mbit")
    port = client.await_port(lab)
    lab.sleep(1)
    client.shape("1mbit")
    initrd = mounter.initrd(lab.directory, expected)
    machine = lab.mounter(mounter.kernel(), initrd, f"lab.port={port}")
    machine.expect(r"^mounts: go on", within_s=120)
    client.shape("1gbit")
    for dialect in DIALECTS:
        machine.expect(rf"^mounts: change {dialect}$", within_s=400)
        (root / "change").write_text(f"{dialect}\n")
        (root / f"new.{dialect}").touch()
        lab.masters[0].process.send_signal(signal.SIGHUP)
    machine.expect(r"^mounts: end the master", within_s=100)
    lab.masters[0].kill()
    machine.expect(r"^mounts: over", within_s=60)
    lab.poll()
    return machine
