//! Finds out whether a served tree still is what its manifest says, in slices.
//!
//! Looks at every entry and at every directory's names. Reads no contents: a
//! file that kept inode, size, mtime and ctime counts as the same.

use super::dirs::Dirs;
use super::error::Difference;
use super::served::ServedTree;
use super::walk::{Seen, left_out, left_out_by_name};
use crate::os::file::{self, Listing, Status};
use nix::errno::Errno;
use peer::content::manifest::EntryKind;
use std::os::fd::OwnedFd;
use std::rc::Rc;

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
    listing: Option<OpenDir>,
    root_compared: bool,
}

struct OpenDir {
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
        let compared = self.root_compared;
        self.root_compared = true;
        let mut difference = if compared { None } else { compare_root(tree) };
        for _ in 0..names.max(1) {
            if let Some((entry, what)) = difference {
                return Verdict::Differs(tree.manifest.path(entry), what);
            }
            if let Some(mut open) = self.listing.take() {
                match open.names.next() {
                    Some(Ok(name)) => match compare_name(tree, &mut open, &name) {
                        Ok(same) => difference = same,
                        Err(what) => {
                            return Verdict::Differs(joined(tree, open.dir, &name), what);
                        }
                    },
                    Some(Err(_)) => difference = Some((open.dir, Difference::Unlistable)),
                    None => {
                        if open.found < tree.manifest.children(open.dir).len() {
                            difference = Some((open.dir, Difference::LostEntry));
                        }
                        continue;
                    }
                }
                self.listing = Some(open);
            } else if self.next as usize == tree.manifest.entries.len() {
                return Verdict::Same;
            } else {
                difference = self.open_next(tree);
            }
        }
        match difference {
            Some((entry, what)) => Verdict::Differs(tree.manifest.path(entry), what),
            None => Verdict::Looking,
        }
    }

    fn open_next(&mut self, tree: &ServedTree) -> Option<(u32, Difference)> {
        let dir = self.next;
        self.next += 1;
        let foreign = tree.seen[dir as usize].dev != tree.root.dev;
        if tree.manifest.entries[dir as usize].kind != EntryKind::Dir
            || (tree.root.one_file_system && dir != 0 && foreign)
        {
            return None;
        }
        if tree.root.single.is_some() {
            return None;
        }
        let opened = self.dirs.get(&tree.manifest.entries, dir).map_err(|shut| shut.cause);
        match opened.and_then(|fd| Ok((file::list(&fd)?, fd))) {
            Ok((names, fd)) => {
                self.listing = Some(OpenDir { dir, fd, names, found: 0 });
                None
            }
            Err(_) => Some((dir, Difference::Unlistable)),
        }
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
fn compare_name(
    tree: &ServedTree,
    open: &mut OpenDir,
    name: &[u8],
) -> Result<Option<(u32, Difference)>, Difference> {
    let status = match file::stat_at(&open.fd, name) {
        Ok(status) => status,
        // If it was an entry, it will be missing in the count.
        Err(Errno::ENOENT) => return Ok(None),
        Err(_) => return compare_unseen(tree, open, name),
    };
    match tree.manifest.child(open.dir, name) {
        Some(entry) => {
            open.found += 1;
            Ok(same_entry(tree, entry, &status).map(|what| (entry, what)))
        }
        None if left_out(name, &status, &tree.root).is_some() => Ok(None),
        None => Err(Difference::New),
    }
}

/// A listed name that cannot be looked at, as it could not when it was scanned.
fn compare_unseen(
    tree: &ServedTree,
    open: &mut OpenDir,
    name: &[u8],
) -> Result<Option<(u32, Difference)>, Difference> {
    match tree.manifest.child(open.dir, name) {
        Some(entry) if tree.seen[entry as usize].type_bits == 0 => {
            open.found += 1;
            Ok(None)
        }
        None if left_out_by_name(name).is_some() => Ok(None),
        _ => Err(Difference::Unseen),
    }
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
    if matches!(was.kind, EntryKind::Special | EntryKind::Unreadable) {
        return None;
    }
    let replaced = (seen.dev, seen.ino) != (now.dev, now.ino);
    let touched = (was.mtime_s, was.mtime_ns) != (status.mtime_s, status.mtime_ns);
    let resized = was.kind == EntryKind::File && was.size != status.size;
    // Of contents that were written and whose mtime was set back.
    let rewritten = matches!(was.kind, EntryKind::File | EntryKind::Hardlink(_))
        && (seen.ctime_s, seen.ctime_ns) != (now.ctime_s, now.ctime_ns);
    (replaced || touched || resized || rewritten).then_some(match was.kind {
        EntryKind::Dir => Difference::OtherEntries,
        _ => Difference::Changed,
    })
}

fn joined(tree: &ServedTree, dir: u32, name: &[u8]) -> Vec<u8> {
    let mut path = tree.manifest.path(dir);
    if dir != 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
