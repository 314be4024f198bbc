//! Finds out whether a served tree still is what its manifest says, in slices.
//!
//! Looks at every entry and at every directory's names. Reads no contents: a
//! file that kept inode, size, mtime and ctime counts as the same.

use super::dirs::Dirs;
use super::error::Difference;
use super::served::ServedTree;
use super::served_root::{KEEPS_CHANGING, Seen, is_own, left_out, left_out_by_name};
use crate::os::clock;
use crate::os::file::{self, Listing, Status};
use nix::errno::Errno;
use peer::content::manifest::EntryKind;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// What has not changed for so long may not change while it is hashed.
const CALM_S: i64 = 2;

/// What a comparison has found so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet, and there is more to look at.
    Looking,
    Same,
    /// The path of the first difference, and what it is.
    Differs(Vec<u8>, Difference),
}

/// A comparison on its way.
pub struct Comparison {
    dirs: Dirs,
    /// The directory whose turn is next.
    next: u32,
    listing: Option<CurrentDir>,
    root_compared: bool,
}

/// The path of a difference, and what it is.
type Compared = Result<(), (Vec<u8>, Difference)>;

struct CurrentDir {
    dir: u32,
    fd: Rc<OwnedFd>,
    names: Listing,
    /// Names of the directory's entries that were there.
    found: usize,
}

impl Comparison {
    /// Begins to compare a tree with what it was.
    pub fn new(tree: &ServedTree) -> Comparison {
        let dirs = Dirs::new(tree.root.fd.clone());
        Comparison { dirs, next: 0, listing: None, root_compared: false }
    }

    /// Looks at about `names` more names.
    pub fn step(&mut self, tree: &ServedTree, names: u32) -> Verdict {
        if !std::mem::replace(&mut self.root_compared, true)
            && let Some((entry, what)) = compare_root(tree)
        {
            return Verdict::Differs(tree.manifest.path(entry), what);
        }
        for _ in 0..names.max(1) {
            let compared = match self.listing.take() {
                Some(dir) => self.compare_next(tree, dir),
                None if self.next as usize == tree.manifest.entries.len() => return Verdict::Same,
                None => self.open_next(tree),
            };
            if let Err((path, what)) = compared {
                return Verdict::Differs(path, what);
            }
        }
        Verdict::Looking
    }

    /// Compares one name more of a directory, or that it has no fewer.
    fn compare_next(&mut self, tree: &ServedTree, mut dir: CurrentDir) -> Compared {
        let differs = |what| Err((tree.manifest.path(dir.dir), what));
        match dir.names.next() {
            Some(Ok(name)) => compare_name(tree, &mut dir, &name)?,
            Some(Err(_)) => return differs(Difference::Unlistable),
            None if dir.found < tree.manifest.children(dir.dir).len() => {
                return differs(Difference::LostEntry);
            }
            None => return Ok(()),
        }
        self.listing = Some(dir);
        Ok(())
    }

    /// Opens the next directory, if the next entry is one.
    fn open_next(&mut self, tree: &ServedTree) -> Compared {
        let dir = self.next;
        self.next += 1;
        let is_foreign = tree.seen[dir as usize].dev != tree.root.dev;
        if tree.manifest.entries[dir as usize].kind != EntryKind::Dir
            || (tree.root.one_file_system && dir != 0 && is_foreign)
            || tree.root.single.is_some()
        {
            return Ok(());
        }
        let opened = self.dirs.get(&tree.manifest.entries, dir).map_err(|error| error.cause);
        let listed = opened.and_then(|fd| Ok((file::list(&fd)?, fd)));
        let (names, fd) = listed.map_err(|_| (tree.manifest.path(dir), Difference::Unlistable))?;
        self.listing = Some(CurrentDir { dir, fd, names, found: 0 });
        Ok(())
    }
}

/// What the served path leads to now.
fn compare_root(tree: &ServedTree) -> Option<(u32, Difference)> {
    let entry = if tree.root.single.is_some() { 1 } else { 0 };
    match file::stat_path(&tree.root.path) {
        Ok(status) => same_entry(tree, entry, &status).map(|what| (entry, what)),
        Err(_) => Some((entry, Difference::Gone)),
    }
}

/// A listed name: known and the same, known and different, or not known.
fn compare_name(tree: &ServedTree, dir: &mut CurrentDir, name: &[u8]) -> Compared {
    let differs = |what| (joined(tree, dir.dir, name), what);
    let known = tree.manifest.child(dir.dir, name);
    match file::stat_at(&dir.fd, name) {
        Ok(status) => match known {
            Some(entry) => {
                if let Some(what) = same_entry(tree, entry, &status) {
                    return Err(differs(what));
                }
                dir.found += 1;
            }
            None if is_own(dir.dir, name, &status) => {}
            None if left_out(name, &status, &tree.root).is_some() => {}
            None => return Err(differs(Difference::New)),
        },
        // If it was an entry, it will be missing in the count.
        Err(Errno::ENOENT) => {}
        // It could not be looked at when it was scanned, either.
        Err(_) => match known {
            Some(entry) if tree.seen[entry as usize].type_bits == 0 => dir.found += 1,
            None if left_out_by_name(name).is_some() => {}
            _ => return Err(differs(Difference::Unseen)),
        },
    }
    Ok(())
}

/// How an entry differs from what it was.
fn same_entry(tree: &ServedTree, number: u32, status: &Status) -> Option<Difference> {
    let (was, seen) = (&tree.manifest.entries[number as usize], &tree.seen[number as usize]);
    let now = Seen::of(status);
    if seen.type_bits != now.type_bits {
        return Some(Difference::OtherKind);
    }
    if was.mode & 0o7777 != status.permissions() || (was.uid, was.gid) != (status.uid, status.gid) {
        return Some(Difference::OtherModeOrOwner);
    }
    // It is worth a try when it has calmed down.
    if was.kind == EntryKind::Unreadable && seen.ctime_ns == KEEPS_CHANGING {
        return (clock::now_s() >= now.ctime_s.saturating_add(CALM_S))
            .then_some(Difference::Changed);
    }
    // The times of a fifo are others with each byte that goes through it.
    if matches!(was.kind, EntryKind::Special | EntryKind::Unreadable) {
        return None;
    }
    let replaced = (seen.dev, seen.ino) != (now.dev, now.ino);
    let touched = (was.mtime_s, was.mtime_ns) != (status.mtime_s, status.mtime_ns);
    let resized = was.kind == EntryKind::File && was.size != status.size;
    // Of contents that were written and whose mtime was set back, or of an extended attribute.
    let altered = (seen.ctime_s, seen.ctime_ns) != (now.ctime_s, now.ctime_ns);
    match was.kind {
        EntryKind::Dir if replaced || touched => Some(Difference::OtherEntries),
        EntryKind::Dir if altered => Some(Difference::OtherAttributes),
        _ => (replaced || touched || resized || altered).then_some(Difference::Changed),
    }
}

fn joined(tree: &ServedTree, dir: u32, name: &[u8]) -> Vec<u8> {
    let mut path = tree.manifest.path(dir);
    if dir != 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
