//! Trees of every odd kind, and whether two of them are the same.

use super::noise;
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::mkfifo;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// One name of a tree as far as a copy keeps it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub mode: u32,
    pub mtime: (i64, i64),
    pub owner: (u32, u32),
    /// Digest of the contents, or the target of the link.
    pub what: String,
    pub links: u64,
}

/// All names below a directory, by path; the directory itself is "".
pub fn look(dir: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut all = BTreeMap::new();
    look_at(dir, dir, &mut all);
    all
}

fn look_at(root: &Path, path: &Path, all: &mut BTreeMap<PathBuf, Seen>) {
    let data = fs::symlink_metadata(path).unwrap();
    let kind = data.file_type();
    let what = if kind.is_symlink() {
        format!("-> {:?}", fs::read_link(path).unwrap())
    } else if kind.is_file() {
        blake3::hash(&fs::read(path).unwrap()).to_string()
    } else {
        String::new()
    };
    let links = if kind.is_file() { data.nlink() } else { 0 };
    let mtime = (data.mtime(), data.mtime_nsec());
    let owner = (data.uid(), data.gid());
    let seen = Seen { mode: data.mode(), mtime, owner, what, links };
    all.insert(path.strip_prefix(root).unwrap().into(), seen);
    if kind.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            look_at(root, &entry.unwrap().path(), all);
        }
    }
}

#[track_caller]
pub fn assert_same(source: &Path, copy: &Path) {
    assert_same_as(&look(source), copy);
}

#[track_caller]
pub fn assert_same_as(source: &BTreeMap<PathBuf, Seen>, copy: &Path) {
    let copied = look(copy);
    for (path, seen) in source {
        assert_eq!(Some(seen), copied.get(path), "{path:?} in {copy:?}");
    }
    let more: Vec<_> = copied.keys().filter(|path| !source.contains_key(*path)).collect();
    assert!(more.is_empty(), "in {copy:?} there is more: {more:?}");
}

/// Nothing but whole files: no name that the source has not got.
#[track_caller]
pub fn assert_nothing_half(source: &Path, copy: &Path) {
    if !copy.exists() {
        return;
    }
    let want = look(source);
    for (path, seen) in look(copy) {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let is_dir = seen.mode & 0o170000 == 0o040000;
        if is_dir || name.starts_with(b".xget") {
            continue;
        }
        let wanted = want.get(&path).unwrap_or_else(|| panic!("{path:?} is not in the source"));
        assert_eq!(wanted.what, seen.what, "{path:?} is there, and not whole");
    }
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = TimeSpec::new(seconds, nanoseconds);
    let follow = UtimensatFlags::NoFollowSymlink;
    utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, follow).unwrap();
}

/// Names that broke somebody's copier.
pub fn odd_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "with space",
        " leading space",
        "trailing space ",
        "new\nline",
        "tab\there",
        "grüße-日本語",
        ".hidden",
        "...",
        "-n",
        "--help",
        "*",
        "back\\slash",
        "quote'\"`$(x)",
        "log",
        "data",
        "redir",
        "avail",
        "checksum",
        "%41",
        "%",
        "me",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.push(b"invalid-\xff\xfe\x80-utf8".to_vec());
    names.push(b"\x01\x1b[31mcontrol".to_vec());
    names.push(vec![b'n'; 255]);
    names
}

/// Everything that a copy has to keep; `small` small files besides.
pub fn make_odd_tree(dir: &Path, small: usize) {
    for (number, name) in odd_names().iter().enumerate() {
        let path = dir.join(OsStr::from_bytes(name));
        fs::write(&path, noise(number as u64, 10 + number)).unwrap();
        set_mtime(&path, 1_000_000_000 + number as i64, 123_456_789 + number as i64);
    }
    make_odd_dirs(dir);
    make_odd_kinds(dir);
    for number in 0..small {
        let parent = dir.join(format!("small/{}", number % 20));
        fs::create_dir_all(&parent).unwrap();
        let path = parent.join(format!("file {number}"));
        fs::write(&path, noise(number as u64, number % 700)).unwrap();
        set_mtime(&path, 1_500_000_000 + number as i64, number as i64);
    }
}

fn make_odd_dirs(dir: &Path) {
    for name in odd_names() {
        let below = dir.join("dirs").join(OsStr::from_bytes(&name));
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("data"), b"in a directory of this name").unwrap();
    }
    fs::create_dir_all(dir.join("dirs/data/redir/data")).unwrap();
    fs::create_dir_all(dir.join("empty/empty/empty")).unwrap();
    fs::write(dir.join("empty file"), b"").unwrap();
    set_mtime(&dir.join("empty"), 12_345, 678);
    let deep: PathBuf = (0..60).map(|_| "d").collect();
    fs::create_dir_all(dir.join(&deep)).unwrap();
    fs::write(dir.join(&deep).join("bottom"), b"deep").unwrap();
}

fn make_odd_kinds(dir: &Path) {
    let modes = dir.join("modes");
    fs::create_dir(&modes).unwrap();
    for mode in [0o000, 0o400, 0o644, 0o755, 0o4755, 0o2755, 0o1644, 0o6711, 0o7777] {
        let path = modes.join(format!("{mode:04o}"));
        fs::write(&path, mode.to_string()).unwrap();
        chmod(&path, mode);
    }
    for mode in [0o700, 0o1777, 0o2775, 0o555] {
        let path = modes.join(format!("dir-{mode:04o}"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"x").unwrap();
        chmod(&path, mode);
    }
    let links = dir.join("links");
    fs::create_dir(&links).unwrap();
    for (target, name) in [
        ("nowhere", "dangling"),
        ("/etc/hostname", "absolute"),
        ("../empty", "to a directory"),
        ("../../../..", "far up"),
        ("self", "self"),
        ("new\nline", "odd target"),
    ] {
        symlink(target, links.join(name)).unwrap();
    }
    set_mtime(&links.join("dangling"), 77, 88);
    fs::write(links.join("one"), noise(1, 5000)).unwrap();
    fs::hard_link(links.join("one"), links.join("two")).unwrap();
    fs::hard_link(links.join("one"), dir.join("modes/three")).unwrap();
    let sparse = File::create(dir.join("sparse")).unwrap();
    sparse.write_all_at(b"begin", 0).unwrap();
    sparse.write_all_at(b"middle", 3 << 20).unwrap();
    sparse.set_len(8 << 20).unwrap();
}

/// A fifo and a socket, which root alone can copy.
pub fn make_specials(dir: &Path) {
    mkfifo(&dir.join("a fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.join("a socket")).unwrap());
}
