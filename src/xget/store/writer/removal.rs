//! Removing what the source does not have, name by name, in slices.
//!
//! Goes down by open directories, never through a symlink, and never into what is
//! mounted or to be kept: those stay, and so do the directories above them. Where it
//! is only to be told what would go, nothing is removed.

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
    /// Begins to remove what has this name in a directory, whose path below the
    /// destination is `path`. What is no directory is gone at once.
    pub fn begin(&mut self, tree: &mut DestTree, above: &Rc<OwnedFd>, path: &[u8], name: &[u8]) {
        let path = joined(path, name);
        if let Err(cause) = self.remove(tree, above, &path, name) {
            self.stay();
            // Gone meanwhile, or mounted: an open file or a directory of another tree.
            if !matches!(cause, Errno::ENOENT | Errno::EBUSY) {
                tree.fail_path("remove", &path, cause);
            }
        }
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
            self.stay();
            return Ok(());
        }
        if !status.is_dir() {
            if !tree.policy.purpose.compares() {
                file::unlink_at(above, name)?;
            }
            tree.changes.note(Change::Deleted, status.size, path.into(), false);
            return Ok(());
        }
        let fd = Rc::new(file::open_dir_at(above, name)?);
        if tree.is_foreign(&fd)? {
            self.stay();
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

    fn stay(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.stays = true;
        }
    }

    /// Removes one name more. False when nothing is left to do.
    pub fn step(&mut self, tree: &mut DestTree) -> bool {
        let Some(mut level) = self.levels.pop() else { return false };
        match level.names.next() {
            Some(Ok(name)) => {
                let (fd, path) = (level.fd.clone(), level.path.clone());
                self.levels.push(level);
                self.begin(tree, &fd, &path, &name);
            }
            Some(Err(cause)) => {
                tree.fail_path("list the directory", &level.path, cause);
                self.stay();
            }
            None => self.leave(tree, level),
        }
        true
    }

    /// A directory has been gone through: it goes too, if nothing in it stays.
    fn leave(&mut self, tree: &mut DestTree, level: Level) {
        if level.stays {
            return self.stay();
        }
        if !tree.policy.purpose.compares()
            && let Err(cause) = file::remove_dir_at(&level.above, &level.name)
        {
            self.stay();
            if !matches!(cause, Errno::ENOENT | Errno::EBUSY) {
                tree.fail_path("remove the directory", &level.path, cause);
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
