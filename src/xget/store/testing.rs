//! Trees on disk for the tests of the store.
//!
//! Contents from a seed, pictures of trees to be compared, other users, small
//! file systems.

use crate::os::file::{self, Status};
use crate::os::scratch::{Dir, skip};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(len).collect()
}

pub fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

pub fn set_mtime(path: &Path, s: i64, ns: u32) {
    let dir = file::open_dir(path.parent().unwrap()).unwrap();
    file::set_mtime_at(&dir, path.file_name().unwrap().as_bytes(), s, ns).unwrap();
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn status(path: &Path) -> Status {
    let dir = file::open_dir(path.parent().unwrap()).unwrap();
    file::stat_at(&dir, path.file_name().unwrap().as_bytes()).unwrap()
}

/// Everything about a tree that a copy should have, by path.
pub fn picture(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut seen = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    paint(root, root, &mut seen, &mut inodes);
    seen
}

fn paint(
    root: &Path,
    path: &Path,
    seen: &mut BTreeMap<Vec<u8>, String>,
    inodes: &mut BTreeMap<u64, Vec<u8>>,
) {
    let below = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
    let st = status(path);
    let mut text = format!("{:o} {}:{} {}.{:09}", st.mode, st.uid, st.gid, st.mtime_s, st.mtime_ns);
    if st.is_file() {
        let first = inodes.entry(st.ino).or_insert(below.clone());
        text += &format!(
            " {} {} as {:?}",
            st.size,
            blake3::hash(&fs::read(path).unwrap()),
            name(first)
        );
    } else if st.is_symlink() {
        text += &format!(" -> {:?}", fs::read_link(path).unwrap());
    }
    seen.insert(below, text);
    if st.is_dir() {
        let mut names: Vec<PathBuf> =
            fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect();
        names.sort();
        names.iter().for_each(|path| paint(root, path, seen, inodes));
    }
}

/// The user without rights of the tests.
pub const NOBODY: u32 = 65534;

/// Runs something as a user without rights and gives what it answers. Without
/// root, as the user who runs the tests.
pub fn as_nobody<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if file::is_root() {
                file::drop_rights_of_this_thread(NOBODY);
            }
            run()
        });
        thread.join().unwrap()
    })
}

/// Runs something on an overlay whose lower layer is what the first one makes.
pub fn on_overlay(options: &str, make: fn(&Path), run: impl FnOnce(&Path) + Send) {
    on_file_system("tmpfs", "size=8m", |top| {
        let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|name| {
            let path = top.join(name);
            std::fs::create_dir(&path).unwrap();
            path
        });
        make(&lower);
        let options = format!(
            "lowerdir={},upperdir={},workdir={},{options}",
            lower.display(),
            upper.display(),
            work.display()
        );
        let (kind, flags) = (Some("overlay"), nix::mount::MsFlags::empty());
        if let Err(why) = nix::mount::mount(kind, &merged, kind, flags, Some(&*options)) {
            skip(&format!("no overlay can be mounted: {why}"));
            return;
        }
        run(&merged);
    });
}

/// Runs something on a small new file system; not at all, with a message,
/// where it cannot be mounted.
pub fn on_file_system(kind: &str, options: &str, run: impl FnOnce(&Path) + Send) {
    let dir = Dir::new();
    let (kind, options) = (Some(kind), Some(options));
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let flags = nix::mount::MsFlags::empty();
            if !file::private_mounts_of_this_thread()
                || nix::mount::mount(kind, dir.path(), kind, flags, options).is_err()
            {
                skip(&format!("no right to mount {kind:?}"));
                return;
            }
            run(dir.path());
        });
        thread.join().unwrap();
    });
}
