//! Removing what the source does not have, name by name, in slices.
//!
//! Goes down by open directories, never through a symlink, and never into what is
//! mounted or to be kept: those stay, and so do the directories above them. Where it
//! is only to be told what would go, or to be known whether all of it may, nothing is
//! removed.

use super::super::name;
use super::changes::Change;
use super::tree::DestTree;
use crate::os::file::{self, Listing};
use nix::errno::Errno;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Directories in each other, each of which holds two descriptors.
const DEPTH_MAX: usize = 100;

/// Directories that are being emptied, each in the one before.
#[derive(Default)]
pub struct Removal {
    levels: Vec<Level>,
    /// It is only tried, for this entry; and whether something stays.
    trial: Option<(u32, bool)>,
    /// The path of what is removed with all in it, and how long the one is that it is told
    /// under: what has made way has another name by now.
    top: (Vec<u8>, usize),
}

struct Level {
    above: Rc<OwnedFd>,
    name: Box<[u8]>,
    /// Below the destination.
    path: Vec<u8>,
    fd: Rc<OwnedFd>,
    names: Listing,
    /// Something in it stays.
    stays: bool,
}

impl Removal {
    /// The next one is not removed: it is looked whether all of it may go, for this entry.
    pub fn try_out(&mut self, entry: u32) {
        self.trial = Some((entry, false));
    }

    /// For whom it was looked, and whether something has to stay.
    pub fn tried_out(&mut self) -> Option<(u32, bool)> {
        self.trial.take()
    }

    /// Begins to remove what has this name in a directory, and is told under this path below
    /// the destination. What is no directory is gone at once.
    pub fn begin(&mut self, tree: &mut DestTree, above: &Rc<OwnedFd>, name: &[u8], path: Vec<u8>) {
        if self.levels.is_empty() {
            let dir = path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
            self.top = ([&path[..dir], name].concat(), path.len());
        }
        match self.remove(tree, above, &path, name) {
            // Gone meanwhile.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(cause) => {
                // Mounted: an open file or a directory of another tree.
                let is_mounted = cause == Errno::EBUSY;
                self.stay(tree, if is_mounted { &path } else { b"" });
                if !is_mounted {
                    let path = self.place_of(&path);
                    tree.fail_path("remove", &path, cause);
                }
            }
        }
    }

    /// Where something is that is told under this path.
    fn place_of(&self, path: &[u8]) -> Vec<u8> {
        let (place, told_len) = &self.top;
        [place, path.get(*told_len..).unwrap_or_default()].concat()
    }

    fn remove(
        &mut self,
        tree: &mut DestTree,
        above: &Rc<OwnedFd>,
        path: &[u8],
        name: &[u8],
    ) -> Result<(), Errno> {
        let status = file::stat_at(above, name)?;
        if tree.policy.keep.fit(path, status.is_dir()) {
            self.stay(tree, path);
            return Ok(());
        }
        if !status.is_dir() {
            if self.removes(tree) {
                file::unlink_at(above, name)?;
            } else if file::is_mounted_at(above, name) {
                return Err(Errno::EBUSY);
            }
            if self.trial.is_none() {
                tree.changes.note(Change::Deleted, status.size, path.into(), false);
            }
            return Ok(());
        }
        let fd = Rc::new(file::open_dir_at(above, name)?);
        if tree.is_foreign(&fd)? {
            self.stay(tree, path);
            return Ok(());
        }
        if self.levels.len() == DEPTH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let names = file::list(&fd)?;
        let (above, name, path) = (above.clone(), name.into(), path.into());
        self.levels.push(Level { above, name, path, fd, names, stays: false });
        Ok(())
    }

    fn removes(&self, tree: &DestTree) -> bool {
        self.trial.is_none() && !tree.policy.purpose.compares()
    }

    /// What has this path stays, and so does what is above it. Without a path it was said why.
    fn stay(&mut self, tree: &mut DestTree, path: &[u8]) {
        if let Some((_, stays @ false)) = &mut self.trial {
            *stays = true;
            if !path.is_empty() {
                let path = name::full_path(&tree.target.base, path);
                tree.changes.notes.push(format!("{path:?} has to stay: it is kept, or mounted"));
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.stays = true;
        }
    }

    /// Removes one name more. False when nothing is left to do.
    pub fn step(&mut self, tree: &mut DestTree) -> bool {
        let Some(mut level) = self.levels.pop() else { return false };
        match level.names.next() {
            Some(Ok(name)) => {
                let (fd, path) = (level.fd.clone(), joined(&level.path, &name));
                self.levels.push(level);
                self.begin(tree, &fd, &name, path);
            }
            Some(Err(cause)) => {
                let path = self.place_of(&level.path);
                tree.fail_path("list the directory", &path, cause);
                self.stay(tree, b"");
            }
            None => self.leave(tree, level),
        }
        true
    }

    /// A directory has been gone through: it goes too, if nothing in it stays.
    fn leave(&mut self, tree: &mut DestTree, level: Level) {
        if level.stays {
            return self.stay(tree, &level.path);
        }
        if self.trial.is_some() {
            return;
        }
        if self.removes(tree)
            && let Err(cause) = file::remove_dir_at(&level.above, &level.name)
        {
            if cause != Errno::ENOENT {
                self.stay(tree, &level.path);
            }
            if !matches!(cause, Errno::ENOENT | Errno::EBUSY) {
                let path = self.place_of(&level.path);
                tree.fail_path("remove the directory", &path, cause);
            }
            return;
        }
        tree.changes.note(Change::Deleted, 0, level.path, true);
    }
}

/// The path of a name in a directory.
pub fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
