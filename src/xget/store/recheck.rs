//! Finds out whether a served tree still is what its manifest says, in slices.
//!
//! Looks at every entry and at every directory's names. Reads no contents: a
//! file that kept inode, size, mtime and ctime counts as the same.

use super::dirs::Dirs;
use super::served::ServedTree;
use super::walk::{Seen, left_out, left_out_by_name};
use crate::os::file::{self, Listing, Status};
use nix::errno::Errno;
use peer::content::manifest::EntryKind;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// What a recheck has found so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet, and there is more to look at.
    Looking,
    Same,
    /// The path of the first difference, and what it is.
    Differs(Vec<u8>, &'static str),
}

/// A comparison on its way.
pub struct Recheck {
    dirs: Dirs,
    /// The directory whose turn is next.
    next: u32,
    listing: Option<Open>,
    root_compared: bool,
}

struct Open {
    dir: u32,
    fd: Rc<OwnedFd>,
    names: Listing,
    /// Names of the directory's entries that were there.
    found: usize,
}

impl Recheck {
    /// Begins to compare a tree with what it was.
    pub fn new(source: &ServedTree) -> Recheck {
        let dirs = Dirs::new(source.place.root.clone());
        Recheck { dirs, next: 0, listing: None, root_compared: false }
    }

    /// Looks at about `names` more names.
    pub fn step(&mut self, source: &ServedTree, names: u32) -> Verdict {
        let compared = self.root_compared;
        self.root_compared = true;
        let mut difference = if compared { None } else { compare_root(source) };
        for _ in 0..names.max(1) {
            if let Some((entry, what)) = difference {
                return Verdict::Differs(source.manifest.path(entry), what);
            }
            if let Some(mut open) = self.listing.take() {
                match open.names.next() {
                    Some(Ok(name)) => match compare_name(source, &mut open, &name) {
                        Ok(same) => difference = same,
                        Err(what) => {
                            return Verdict::Differs(joined(source, open.dir, &name), what);
                        }
                    },
                    Some(Err(_)) => difference = Some((open.dir, "cannot be listed any more")),
                    None => {
                        if open.found < source.manifest.children(open.dir).len() {
                            difference = Some((open.dir, "has lost an entry"));
                        }
                        continue;
                    }
                }
                self.listing = Some(open);
            } else if self.next as usize == source.manifest.entries.len() {
                return Verdict::Same;
            } else {
                difference = self.open_next(source);
            }
        }
        match difference {
            Some((entry, what)) => Verdict::Differs(source.manifest.path(entry), what),
            None => Verdict::Looking,
        }
    }

    fn open_next(&mut self, source: &ServedTree) -> Option<(u32, &'static str)> {
        let dir = self.next;
        self.next += 1;
        let foreign = source.seen[dir as usize].dev != source.place.root_dev;
        if source.manifest.entries[dir as usize].kind != EntryKind::Dir
            || (source.place.one_file_system && dir != 0 && foreign)
        {
            return None;
        }
        if source.place.single.is_some() {
            return None;
        }
        let opened = self.dirs.get(&source.manifest.entries, dir).map_err(|shut| shut.cause);
        match opened.and_then(|fd| Ok((file::list(&fd)?, fd))) {
            Ok((names, fd)) => {
                self.listing = Some(Open { dir, fd, names, found: 0 });
                None
            }
            Err(_) => Some((dir, "cannot be listed any more")),
        }
    }
}

/// What the served path leads to now.
fn compare_root(source: &ServedTree) -> Option<(u32, &'static str)> {
    let entry = if source.place.single.is_some() { 1 } else { 0 };
    match file::stat_path(&source.place.path) {
        Ok(status) => same_entry(source, entry, &status).map(|what| (entry, what)),
        Err(_) => Some((entry, "is gone")),
    }
}

/// A listed name: known and the same, known and different, or not known.
fn compare_name(
    source: &ServedTree,
    open: &mut Open,
    name: &[u8],
) -> Result<Option<(u32, &'static str)>, &'static str> {
    let status = match file::stat_at(&open.fd, name) {
        Ok(status) => status,
        // If it was an entry, it will be missing in the count.
        Err(Errno::ENOENT) => return Ok(None),
        Err(_) => return compare_unseen(source, open, name),
    };
    match source.manifest.child(open.dir, name) {
        Some(entry) => {
            open.found += 1;
            Ok(same_entry(source, entry, &status).map(|what| (entry, what)))
        }
        None if left_out(name, &status, &source.place).is_some() => Ok(None),
        None => Err("is new"),
    }
}

/// A listed name that cannot be looked at, as it could not when it was scanned.
fn compare_unseen(
    source: &ServedTree,
    open: &mut Open,
    name: &[u8],
) -> Result<Option<(u32, &'static str)>, &'static str> {
    match source.manifest.child(open.dir, name) {
        Some(entry) if source.seen[entry as usize].type_bits == 0 => {
            open.found += 1;
            Ok(None)
        }
        None if left_out_by_name(name).is_some() => Ok(None),
        _ => Err("cannot be looked at any more"),
    }
}

/// How an entry differs from what it was.
fn same_entry(source: &ServedTree, number: u32, status: &Status) -> Option<&'static str> {
    let (was, seen) = (&source.manifest.entries[number as usize], &source.seen[number as usize]);
    let now = Seen::of(status);
    if seen.type_bits != now.type_bits {
        return Some("is of another kind");
    }
    if was.mode & 0o7777 != status.permissions() || (was.uid, was.gid) != (status.uid, status.gid) {
        return Some("has another mode or owner");
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
        EntryKind::Dir => "has got or lost entries",
        _ => "has changed",
    })
}

fn joined(source: &ServedTree, dir: u32, name: &[u8]) -> Vec<u8> {
    let mut path = source.manifest.path(dir);
    if dir != 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
