//! What a master serves: the manifest of a tree, and its files as they were when
//! they were hashed.
//!
//! A file is opened by name each time and compared with what was seen then;
//! once it differs, its bytes are not served under this manifest any more. Whether
//! the tree as a whole is still the same, `comparison` finds out.

use super::dirs::Dirs;
use super::error::{Note, ServeError};
use super::served_root::{Seen, ServedRoot};
use super::sha256::Sum;
use crate::os::file::{self, Status};
use nix::errno::Errno;
use peer::content::manifest::{EntryKind, Manifest};
use std::cell::RefCell;
use std::fs::File;
use std::rc::Rc;

pub struct ServedTree {
    pub manifest: Rc<Manifest>,
    /// At most `NOTES_MAX`.
    pub notes: Vec<Note>,
    /// Notes that were not kept.
    pub notes_left_out: u64,
    pub(super) root: Rc<ServedRoot>,
    pub(super) seen: Vec<Seen>,
    dirs: RefCell<Dirs>,
}

/// The SHA-256 of a served file on its way.
pub struct Checksum {
    entry: u32,
    sum: Sum,
}

impl ServedTree {
    pub(super) fn new(
        root: Rc<ServedRoot>,
        dirs: Dirs,
        manifest: Manifest,
        seen: Vec<Seen>,
        (notes, notes_left_out): (Vec<Note>, u64),
    ) -> ServedTree {
        let (manifest, dirs) = (Rc::new(manifest), RefCell::new(dirs));
        ServedTree { manifest, notes, notes_left_out, root, seen, dirs }
    }

    /// Opens a file for serving.
    pub fn open(&self, entry: u32) -> Result<File, ServeError> {
        let entry = self.file_entry(entry);
        let found = &self.manifest.entries[entry as usize];
        let dir = self.dirs.borrow_mut().get(&self.manifest.entries, found.parent);
        let opened = match dir {
            Ok(dir) => file::open_file_at(&dir, self.root.name(found)),
            Err(error) => Err(error.cause),
        };
        match opened {
            Ok(file) if self.unchanged(entry, &file) => Ok(file),
            Ok(_) | Err(Errno::ENOENT | Errno::ELOOP | Errno::ENOTDIR) => {
                Err(ServeError::Changed(self.manifest.path(entry)))
            }
            Err(cause) => Err(ServeError::Io(self.manifest.path(entry), cause)),
        }
    }

    /// Whether an open file still is what was hashed.
    pub fn unchanged(&self, entry: u32, file: &File) -> bool {
        let entry = self.file_entry(entry);
        file::stat_file(file).is_ok_and(|status| self.is_as_hashed(entry, &status))
    }

    /// The ctime tells of contents whose mtime was set back. It tells of other
    /// changes too, a new mode or link: they only cost another look.
    fn is_as_hashed(&self, entry: u32, status: &Status) -> bool {
        let (was, seen) = (&self.manifest.entries[entry as usize], &self.seen[entry as usize]);
        was.kind == EntryKind::File
            && (seen.dev, seen.ino, was.size) == (status.dev, status.ino, status.size)
            && (was.mtime_s, was.mtime_ns) == (status.mtime_s, status.mtime_ns)
            && (seen.ctime_s, seen.ctime_ns) == (status.ctime_s, status.ctime_ns)
    }

    /// The entry that has the contents of this one.
    fn file_entry(&self, entry: u32) -> u32 {
        match self.manifest.entries[entry as usize].kind {
            EntryKind::Hardlink(file) => file,
            _ => entry,
        }
    }

    /// Begins to compute a file's SHA-256.
    pub fn checksum(&self, entry: u32) -> Result<Checksum, ServeError> {
        let entry = self.file_entry(entry);
        let file = Rc::new(self.open(entry)?);
        Ok(Checksum { entry, sum: Sum::new(file, self.manifest.entries[entry as usize].size) })
    }
}

impl Checksum {
    /// Reads about `budget_bytes` more; the sum when all is read.
    pub fn step(
        &mut self,
        tree: &ServedTree,
        budget_bytes: u64,
    ) -> Result<Option<[u8; 32]>, ServeError> {
        let path = || tree.manifest.path(self.entry);
        let sum = self.sum.step(budget_bytes);
        if !tree.unchanged(self.entry, self.sum.file()) {
            return Err(ServeError::Changed(path()));
        }
        sum.map_err(|error| ServeError::Io(path(), file::errno(&error)))
    }
}

#[cfg(test)]
mod tests;
