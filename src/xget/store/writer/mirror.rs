//! What makes a destination the same as its source, once all of that is here and
//! verified: what is in the way makes way, files get their names, what the source
//! does not have goes.
//!
//! Each of the three in slices; the order is the finish's.

use super::super::error::DestError;
use super::super::name;
use super::changes::Change;
use super::folded;
use super::progress::EntryState;
use super::removal::{Removal, joined};
use super::rest::is_rest;
use super::tree::DestTree;
use crate::os::file::{self, Listing, Status};
use crate::os::xattr::Xattrs;
use nix::errno::Errno;
use peer::content::manifest::{Entry, EntryKind};
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Whether nothing failed and all contents are here, so that the old may go.
pub fn is_complete(tree: &DestTree) -> bool {
    let is_here = |(number, entry): (u32, &Entry)| match entry.kind {
        EntryKind::File => tree.progress.has_all(number),
        EntryKind::Unreadable => false,
        _ => true,
    };
    tree.progress.failures().is_empty() && (0..).zip(&tree.target.manifest.entries).all(is_here)
}

/// Begins to look through a directory that is where something else must go: whether all of
/// it may go.
#[inline(never)]
pub fn look_in_way(tree: &mut DestTree, removal: &mut Removal, entry: u32) {
    let found = tree.target.entry(entry);
    let is_to_come = match found.kind {
        EntryKind::File => {
            !matches!(tree.progress.state(entry), EntryState::Kept | EntryState::Whole)
        }
        _ => is_rest(tree, entry),
    };
    let is_above_new = tree.progress.state(found.parent) == EntryState::Made;
    if !is_to_come || is_above_new || tree.refusal(entry).is_some() {
        return;
    }
    let Ok(dir) = tree.parent(entry) else { return };
    let name = &tree.target.entry(entry).name.clone();
    if file::stat_at(&dir, name).is_ok_and(|now| now.is_dir()) {
        removal.try_out(entry);
        removal.begin(tree, &dir, name, tree.target.manifest.path(entry));
    }
}

/// What came of that.
pub fn judge_way(tree: &mut DestTree, removal: &mut Removal) {
    match removal.tried_out() {
        Some((entry, false)) => tree.progress.set_yielded(entry),
        Some((entry, true)) => {
            let error = DestError::DirInTheWay(tree.target.path(entry));
            tree.fail(entry, error);
        }
        None => {}
    }
}

/// Gives a directory its name that had to wait until all that is in it is there.
pub fn name_dir(tree: &mut DestTree, entry: u32) {
    if tree.waits(entry) {
        let named = tree.end_wait(entry);
        named.unwrap_or_else(|error| tree.fail(entry, error));
    }
}

/// Gives a file that is here its name, or attributes that had to wait.
pub fn place(tree: &mut DestTree, entry: u32) -> Result<(), DestError> {
    match tree.target.entry(entry).kind {
        EntryKind::File if tree.progress.is_in_part(entry) => tree.put_in_place(entry),
        EntryKind::File if tree.progress.is_whole(entry) => tree.repair_late(entry),
        _ => Ok(()),
    }
}

/// Looks in each directory of the source for what that does not have.
#[derive(Default)]
pub struct Sweeping {
    next: u32,
    listing: Option<Listed>,
    pub removal: Removal,
    /// The entry for which a directory was removed last, so that it is tried once.
    cleared: Option<u32>,
}

/// A directory that is gone through.
struct Listed {
    dir: u32,
    fd: Rc<OwnedFd>,
    names: Listing,
    known: folded::Names,
}

impl Sweeping {
    /// Begins to remove a directory that makes way and cannot get another name, if that was
    /// not tried.
    pub fn clears_way(&mut self, tree: &mut DestTree, entry: u32) -> bool {
        let is_tried = self.cleared.replace(entry) == Some(entry);
        if is_tried || !tree.progress.yielded().contains(&entry) {
            return false;
        }
        let Ok(dir) = tree.parent(entry) else { return false };
        if tree.target.entry(entry).size == 0 {
            // An empty file is made with the rest, and so once more.
            tree.progress.set(entry, EntryState::Pending);
        }
        let name = &tree.target.entry(entry).name.clone();
        self.removal.begin(tree, &dir, name, tree.target.manifest.path(entry));
        true
    }

    /// One name more. False when all are looked at.
    #[inline(never)]
    pub fn step(&mut self, tree: &mut DestTree) -> bool {
        if self.removal.step(tree) {
            return true;
        }
        if let Some(mut listed) = self.listing.take() {
            match listed.names.next() {
                Some(Ok(name)) => {
                    self.look(tree, &mut listed, &name);
                    self.listing = Some(listed);
                }
                Some(Err(cause)) => {
                    let path = tree.target.manifest.path(listed.dir);
                    tree.fail_path("list the directory", &path, cause);
                }
                None => {}
            }
            return true;
        }
        let dir = self.next;
        self.next += 1;
        if dir as usize == tree.target.manifest.entries.len() {
            return false;
        }
        // What we made holds nothing else, and who is nobody's directory is not the
        // source's to empty.
        let is_old = tree.target.entry(dir).kind == EntryKind::Dir
            && tree.progress.state(dir) == EntryState::Found
            && (dir != 0 || tree.target.manifest.root_described);
        if is_old {
            let opened = tree.dir(dir).map_err(|error| error.cause);
            match opened.and_then(|fd| Ok((file::list(&fd)?, fd))) {
                Ok((names, fd)) => {
                    let known = folded::Names::of(tree, dir);
                    self.listing = Some(Listed { dir, fd, names, known });
                }
                Err(cause) => {
                    let path = tree.target.manifest.path(dir);
                    tree.fail_path("list the directory", &path, cause);
                }
            }
        }
        true
    }

    #[inline(never)]
    fn look(&mut self, tree: &mut DestTree, listed: &mut Listed, name: &[u8]) {
        let Listed { dir, fd, known, .. } = listed;
        let dir = *dir;
        let is_extra = match tree.target.manifest.child(dir, name) {
            // A directory where something else must be has got another name, unless it is only
            // to be told.
            Some(entry) => {
                tree.policy.purpose.compares()
                    && tree.target.entry(entry).kind != EntryKind::Dir
                    && !matches!(tree.progress.state(entry), EntryState::Kept | EntryState::Failed)
                    && file::stat_at(fd, name).is_ok_and(|now| now.is_dir())
            }
            // Of our own files those of no use are swept away without a word.
            None if name::is_temporary(name) => {
                file::stat_at(fd, name).is_ok_and(|now| now.is_dir())
            }
            None => !known.have(tree, dir, fd, name),
        };
        if is_extra {
            let is_its = |entry: &&u32| {
                tree.target.entry(**entry).parent == dir
                    && tree.target.temporary_name(**entry) == name
            };
            // What has made way is told under the name that it had.
            let path = match tree.progress.yielded().iter().find(is_its) {
                Some(&entry) => tree.target.manifest.path(entry),
                None => joined(&tree.target.manifest.path(dir), name),
            };
            self.removal.begin(tree, fd, name, path);
        }
    }
}

/// Notes how an entry without bytes of its own differs; for who only compares.
pub fn compare_rest(tree: &mut DestTree, entry: u32) {
    if !is_rest(tree, entry) {
        return;
    }
    let change = rest_is(tree, entry).unwrap_or(Some(Change::New));
    change.into_iter().for_each(|change| tree.note(entry, change));
    if matches!(change, None | Some(Change::Attributes)) {
        tree.progress.set(entry, EntryState::Whole);
    }
}

#[inline(never)]
fn rest_is(tree: &mut DestTree, entry: u32) -> Result<Option<Change>, Errno> {
    let found = tree.target.entry(entry);
    if tree.progress.state(found.parent) == EntryState::Pending {
        return Ok(Some(Change::New));
    }
    let dir = tree.parent(entry).map_err(|_| Errno::ENOENT)?;
    let found = tree.target.entry(entry);
    let now = file::stat_at(&dir, &found.name)?;
    let is_same = match found.kind {
        EntryKind::Symlink => {
            now.is_symlink() && file::read_symlink_at(&dir, &found.name)? == *found.link
        }
        EntryKind::Hardlink(first) => {
            let first_name = tree.target.entry(first).name.clone();
            let first_dir = tree.parent(first).map_err(|_| Errno::ENOENT)?;
            let is_one = file::stat_at(&first_dir, &first_name)
                .is_ok_and(|first| (first.dev, first.ino) == (now.dev, now.ino));
            // What is replaced is another file.
            let stays = is_one && tree.progress.is_whole(first);
            return Ok((!stays).then_some(Change::Changed));
        }
        EntryKind::Device(number) => is_special(found, &now) && now.device == number,
        EntryKind::Special => is_special(found, &now),
        _ => now.is_file() && now.size == 0,
    };
    if !is_same {
        return Ok(Some(Change::Changed));
    }
    let is_right = tree.are_right(entry, &now, &Xattrs::at(&dir, &found.name)?);
    // One that is never opened is made anew.
    let is_special = matches!(found.kind, EntryKind::Device(_) | EntryKind::Special);
    let change = if is_special { Change::Changed } else { Change::Attributes };
    Ok((!is_right).then_some(change))
}

/// Whether something is a fifo, a socket or a device as it is to be.
pub fn is_special(wanted: &Entry, now: &Status) -> bool {
    (now.mode ^ wanted.mode) & !0o7777 == 0
}
