//! Entries without bytes of their own: empty files, symlinks, further names, and fifos,
//! sockets and devices, none of which is ever opened.
//!
//! Each is made under a temporary name and moved over what has its final one,
//! unless that is right already.

use super::super::attributes::MODE_IN_PART;
use super::super::error::DestError;
use super::changes::Change;
use super::entry_files::free_temporary;
use super::policy::Purpose;
use super::progress::EntryState;
use super::tree::DestTree;
use crate::os::file::{self, Status};
use crate::os::xattr::Xattrs;
use nix::errno::Errno;
use peer::content::manifest::EntryKind;
use std::os::fd::OwnedFd;

/// Whether an entry is one of these, and not done yet.
pub fn is_rest(tree: &DestTree, entry: u32) -> bool {
    let found = tree.target.entry(entry);
    let is_rest = match found.kind {
        EntryKind::File => found.size == 0,
        EntryKind::Symlink | EntryKind::Hardlink(_) => true,
        EntryKind::Special | EntryKind::Device(_) => tree.makes_special(entry),
        EntryKind::Dir | EntryKind::Unreadable => false,
    };
    is_rest && tree.progress.state(entry) == EntryState::Pending
}

/// Makes an entry if it is one of these, or takes what is there as it.
pub fn make_rest(tree: &mut DestTree, entry: u32) -> Result<(), DestError> {
    if !is_rest(tree, entry) {
        return Ok(());
    }
    let made = match tree.refusal(entry) {
        Some(error) => Err(error),
        None => make(tree, entry),
    };
    match made {
        Ok(()) => tree.progress.set(entry, EntryState::Whole),
        // What is not right where a copy comes from is left out, with all its names.
        Err(DestError::NoLinkTarget(_)) if tree.policy.purpose == Purpose::Copy => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

#[inline(never)]
fn make(tree: &mut DestTree, entry: u32) -> Result<(), DestError> {
    let dir = tree.parent(entry)?;
    let mut old = file::stat_at(&dir, &tree.target.entry(entry).name).ok();
    if old.is_some_and(|status| status.is_dir()) {
        if !tree.progress.yielded().contains(&entry) {
            return Err(DestError::DirInTheWay(tree.target.path(entry)));
        }
        old = None;
    }
    match tree.target.entry(entry).kind {
        EntryKind::Symlink => make_symlink(tree, entry, &dir, old),
        EntryKind::Hardlink(file) => make_link(tree, entry, file, &dir, old),
        EntryKind::Special => make_special(tree, entry, 0, &dir, old),
        EntryKind::Device(number) => make_special(tree, entry, number, &dir, old),
        _ => make_empty(tree, entry, &dir, old),
    }
}

fn make_empty(
    tree: &mut DestTree,
    entry: u32,
    dir: &OwnedFd,
    old: Option<Status>,
) -> Result<(), DestError> {
    let is_empty = |status: &Status| status.is_file() && status.size == 0;
    if old.is_some_and(|old| is_empty(&old)) {
        let opened = file::open_file_at(dir, &tree.target.entry(entry).name);
        let looked = opened.and_then(|file| Ok((file::stat_file(&file)?, file)));
        if looked.is_ok_and(|(now, file)| is_empty(&now) && tree.repair(entry, &file, &now)) {
            return Ok(());
        }
    }
    tree.put_in_place(entry)
}

#[inline(never)]
fn make_symlink(
    tree: &DestTree,
    entry: u32,
    dir: &OwnedFd,
    old: Option<Status>,
) -> Result<(), DestError> {
    let found = tree.target.entry(entry);
    let failed = |cause| tree.target.failed("make the symlink", entry, cause);
    if let Some(old) = old.filter(Status::is_symlink) {
        let is_same = file::read_symlink_at(dir, &found.name).is_ok_and(|to| *to == *found.link);
        let was_right =
            is_same && tree.are_right(entry, &old, &Xattrs::at(dir, &found.name).map_err(failed)?);
        let repair = || tree.attributes.set_at(dir, &found.name, tree.target.wanted(entry), &old);
        if is_same && (was_right || repair().is_ok()) {
            if !was_right {
                tree.note(entry, Change::Attributes);
            }
            return Ok(());
        }
    }
    let temporary = tree.target.temporary_name(entry);
    replacing(dir, &temporary, || file::make_symlink_at(dir, &temporary, &found.link))
        .map_err(failed)?;
    place_unopened(tree, entry, dir, &temporary)
}

/// Gives what was made under a temporary name its attributes and its final name.
fn place_unopened(
    tree: &DestTree,
    entry: u32,
    dir: &OwnedFd,
    temporary: &[u8],
) -> Result<(), DestError> {
    let new = file::stat_at(dir, temporary);
    let new = new.map_err(|cause| tree.target.failed("look at", entry, cause))?;
    let set = tree.attributes.set_at(dir, temporary, tree.target.wanted(entry), &new);
    set.map_err(|error| tree.target.attributes_failed(entry, error))?;
    tree.rename(entry, temporary, dir)
}

/// A fifo, a socket or a device: what is there and right stays.
fn make_special(
    tree: &DestTree,
    entry: u32,
    device: u32,
    dir: &OwnedFd,
    old: Option<Status>,
) -> Result<(), DestError> {
    let wanted = tree.target.wanted(entry);
    let name = &wanted.entry.name;
    let is_same =
        |old: &Status| (old.mode ^ wanted.entry.mode) & !0o7777 == 0 && old.device == device;
    let failed = |cause| tree.target.failed("make", entry, cause);
    if let Some(old) = old.filter(is_same)
        && tree.attributes.are_right(wanted, &old, &Xattrs::at(dir, name).map_err(failed)?)
    {
        return Ok(());
    }
    let temporary = tree.target.temporary_name(entry);
    // For its owner alone, until it is somebody's.
    let mode = wanted.entry.mode & !0o7777 | MODE_IN_PART;
    replacing(dir, &temporary, || file::make_special_at(dir, &temporary, mode, device))
        .map_err(failed)?;
    place_unopened(tree, entry, dir, &temporary)
}

/// Makes an entry another name of a file that is in place.
#[inline(never)]
fn make_link(
    tree: &mut DestTree,
    entry: u32,
    file: u32,
    dir: &OwnedFd,
    old: Option<Status>,
) -> Result<(), DestError> {
    if !tree.progress.is_whole(file) {
        return Err(DestError::NoLinkTarget(tree.target.path(entry)));
    }
    let file_dir = tree.parent(file)?;
    let file_name = &tree.target.entry(file).name;
    let failed = |cause| tree.target.failed("link", entry, cause);
    let status = file::stat_at(&file_dir, file_name).map_err(failed)?;
    if old.is_some_and(|old| (old.dev, old.ino) == (status.dev, status.ino)) {
        return Ok(());
    }
    let temporary = tree.target.temporary_name(entry);
    replacing(dir, &temporary, || file::link_at(&file_dir, file_name, dir, &temporary))
        .map_err(failed)?;
    tree.rename(entry, &temporary, dir)?;
    // Its ctime is another: by us, unless it was by somebody else before.
    if tree.files.is_as_placed(file, &status) {
        tree.note_placed(file, file::stat_at(&file_dir, &tree.target.entry(file).name));
    }
    Ok(())
}

/// Makes something under a temporary name, in place of what an interrupted run
/// may have left there.
fn replacing(
    dir: &OwnedFd,
    temporary: &[u8],
    make: impl Fn() -> Result<(), Errno>,
) -> Result<(), Errno> {
    match make() {
        Err(Errno::EEXIST) => {
            free_temporary(dir, temporary)?;
            make()
        }
        done => done,
    }
}
