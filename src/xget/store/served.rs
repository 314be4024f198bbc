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
use crate::os::file;
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

/// How an open file compares with what was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    Same,
    /// The same inode, length and mtime, but for the ctime: it got another mode, name or
    /// owner, or none of its names is left. It may have been written and set back.
    Touched,
    /// Written since, or another file, and long enough to hold what was hashed.
    Rewritten,
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

    /// Opens a file that is as it was when it was hashed.
    pub fn open(&self, entry: u32) -> Result<File, ServeError> {
        match self.open_like(entry)? {
            (file, Likeness::Same) => Ok(file),
            _ => Err(ServeError::Changed(self.manifest.path(self.file_entry(entry)))),
        }
    }

    /// Opens a file that may hold what was hashed.
    pub fn open_like(&self, entry: u32) -> Result<(File, Likeness), ServeError> {
        let entry = self.file_entry(entry);
        let found = &self.manifest.entries[entry as usize];
        let dir = self.dirs.borrow_mut().get(&self.manifest.entries, found.parent);
        let opened = match dir {
            Ok(dir) => file::open_file_at(&dir, self.root.name(found)),
            Err(error) => Err(error.cause),
        };
        let opened = opened.map(|file| (self.likeness(entry, &file), file));
        match opened {
            Ok((Some(likeness), file)) => Ok((file, likeness)),
            // It was hashed, so it could be read.
            Ok(_)
            | Err(
                Errno::ENOENT
                | Errno::ELOOP
                | Errno::ENOTDIR
                | Errno::EACCES
                | Errno::EPERM
                | Errno::ENXIO,
            ) => Err(ServeError::Changed(self.manifest.path(entry))),
            Err(cause) => Err(ServeError::Io(self.manifest.path(entry), cause)),
        }
    }

    /// Whether an open file still is what was hashed.
    pub fn unchanged(&self, entry: u32, file: &File) -> bool {
        self.likeness(entry, file) == Some(Likeness::Same)
    }

    /// `None` of what cannot hold what was hashed.
    pub fn likeness(&self, entry: u32, file: &File) -> Option<Likeness> {
        let entry = self.file_entry(entry);
        let status = file::stat_file(file).ok()?;
        let (was, seen) = (&self.manifest.entries[entry as usize], &self.seen[entry as usize]);
        let is_same = (seen.dev, seen.ino, was.size) == (status.dev, status.ino, status.size)
            && (was.mtime_s, was.mtime_ns) == (status.mtime_s, status.mtime_ns);
        if was.kind != EntryKind::File || !status.is_file() || status.size < was.size {
            return None;
        }
        // The ctime tells of contents whose mtime was set back.
        Some(match (is_same, (seen.ctime_s, seen.ctime_ns) == (status.ctime_s, status.ctime_ns)) {
            (true, true) => Likeness::Same,
            (true, false) => Likeness::Touched,
            (false, _) => Likeness::Rewritten,
        })
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
