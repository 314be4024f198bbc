//! The directories that entries go into, before anything is looked for in them: made,
//! entered, or left alone with all in them.
//!
//! One entry at a time, in the order of the manifest: what is above was here before.

use super::super::attributes::AttributeError;
use super::super::cost::FILE_COST_BYTES;
use super::super::error::DestError;
use super::changes::Change;
use super::policy::Purpose;
use super::progress::EntryState;
use super::tree::DestTree;
use crate::os::file;
use nix::errno::Errno;
use peer::content::manifest::EntryKind;
use std::os::fd::{AsFd, OwnedFd};

/// Makes a directory, or enters the one that is there. What it costs.
pub fn check_dir(tree: &mut DestTree, entry: u32) -> u64 {
    tree.note_kept(entry);
    let is_kept = tree.progress.state(entry) == EntryState::Kept;
    if tree.target.entry(entry).kind != EntryKind::Dir || is_kept {
        let is_asked = tree.policy.purpose.removes() && !is_kept;
        if !is_asked {
            return FILE_COST_BYTES / 256;
        }
        leave_mounted(tree, entry);
        return FILE_COST_BYTES / 16;
    }
    let made = match tree.refusal(entry) {
        Some(error) => Err(error),
        None if tree.policy.purpose.compares() => find_dir(tree, entry),
        None => make_dir(tree, entry),
    };
    match made {
        Ok(state) => tree.progress.set(entry, state),
        Err(error) => tree.fail(entry, error),
    }
    FILE_COST_BYTES
}

fn make_dir(tree: &mut DestTree, entry: u32) -> Result<EntryState, DestError> {
    let parent = tree.parent(entry)?;
    let mode = tree.attributes.mode_of_new_dir();
    match file::make_dir_at(&parent, &tree.target.entry(entry).name, mode) {
        Ok(()) => {
            tree.note(entry, Change::New);
            match tree.attributes.keep_dirs {
                true => finish_new_dir(tree, entry),
                false => Ok(EntryState::Made),
            }
        }
        Err(Errno::EEXIST) => enter_dir(tree, entry),
        Err(cause) => Err(tree.target.failed("make the directory", entry, cause)),
    }
}

/// Looks for a directory that is not to be made.
#[inline(never)]
fn find_dir(tree: &mut DestTree, entry: u32) -> Result<EntryState, DestError> {
    let found = tree.target.entry(entry);
    let is_above = tree.progress.state(found.parent) != EntryState::Pending;
    let there = match is_above {
        true => file::stat_at(&*tree.parent(entry)?, &tree.target.entry(entry).name).ok(),
        false => None,
    };
    match there {
        None => tree.note(entry, Change::New),
        Some(now) if now.is_dir() => {
            let dir = tree.enter(entry)?;
            if let Some(state) = leave_foreign(tree, entry, &dir)? {
                return Ok(state);
            }
            tree.note_attributes(entry, &dir, &now);
            return Ok(EntryState::Found);
        }
        Some(_) if tree.policy.purpose.removes() => match leave_mounted(tree, entry) {
            true => return Ok(EntryState::Kept),
            false => tree.note(entry, Change::Changed),
        },
        Some(_) => return Err(DestError::NotDirInTheWay(tree.target.path(entry))),
    }
    Ok(EntryState::Pending)
}

/// Where things are removed, what is mounted below the destination is none of our
/// business, and stays with all that the source has there.
fn leave_foreign(
    tree: &mut DestTree,
    entry: u32,
    dir: &OwnedFd,
) -> Result<Option<EntryState>, DestError> {
    let is_foreign = tree.policy.purpose.removes() && {
        let asked = tree.is_foreign(dir);
        asked.map_err(|cause| tree.target.failed("look at the directory", entry, cause))?
    };
    if is_foreign && !tree.target.manifest.children(entry).is_empty() {
        let path = tree.target.path(entry);
        tree.changes.notes.push(format!(
            "{path:?} is another file system here: what the source has in it is left out"
        ));
    }
    Ok(is_foreign.then_some(EntryState::Kept))
}

/// The same of what is mounted on a file, as containers do with their /etc/resolv.conf: it
/// cannot be replaced, and what is changed of it is changed elsewhere. Whether it is such.
fn leave_mounted(tree: &mut DestTree, entry: u32) -> bool {
    let found = tree.target.entry(entry);
    if tree.progress.state(found.parent) == EntryState::Found
        && let Ok(dir) = tree.parent(entry)
        && file::is_mounted_at(&dir, &tree.target.entry(entry).name)
    {
        tree.progress.set(entry, EntryState::Kept);
        let path = tree.target.path(entry);
        tree.changes.notes.push(format!(
            "{path:?} is a file of another place that is mounted here: it is left as it is"
        ));
        return true;
    }
    false
}

/// A run that goes on where this one ended finds it as one that was there: so it
/// gets its attributes at once.
fn finish_new_dir(tree: &mut DestTree, entry: u32) -> Result<EntryState, DestError> {
    let dir = tree.enter(entry)?;
    let now = file::stat_dir(&dir).map_err(AttributeError::from);
    now.and_then(|now| tree.attributes.set(dir.as_fd(), tree.target.wanted(entry), &now, true))
        .map_err(|error| tree.target.attributes_failed(entry, error))?;
    Ok(EntryState::Made)
}

/// A directory whose mode keeps its owner out, unless he is root, is given
/// another one until everything is in it.
#[inline(never)]
fn enter_dir(tree: &mut DestTree, entry: u32) -> Result<EntryState, DestError> {
    let parent = tree.parent(entry)?;
    let name = &tree.target.entry(entry).name;
    let status = file::stat_at(&parent, name)
        .map_err(|cause| tree.target.failed("look at the directory", entry, cause))?;
    if !status.is_dir() && tree.policy.purpose == Purpose::Mirror {
        if leave_mounted(tree, entry) {
            return Ok(EntryState::Kept);
        }
        let state = tree.wait_for_name(entry)?;
        return match tree.attributes.keep_dirs {
            true => finish_new_dir(tree, entry).map(|_| state),
            false => Ok(state),
        };
    }
    if !status.is_dir() {
        return Err(DestError::NotDirInTheWay(tree.target.path(entry)));
    }
    let keeps_owner_out = status.permissions() & 0o700 != 0o700;
    if keeps_owner_out && !file::is_root() && status.uid == file::user() {
        file::set_dir_mode_at(&parent, name, status.permissions() | 0o700)
            .map_err(|cause| tree.target.failed("write into the directory", entry, cause))?;
        tree.original_modes.push((entry, status.permissions()));
    }
    // Opened once here, so that what is wrong with it shows on it alone.
    let dir = tree.enter(entry)?;
    if let Some(state) = leave_foreign(tree, entry, &dir)? {
        return Ok(state);
    }
    tree.note_file_system(status.dev, dir);
    Ok(EntryState::Found)
}
