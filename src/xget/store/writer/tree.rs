//! The tree in the destination as it comes into being: its open directories and
//! files, and how far each entry is.
//!
//! One entry at a time is made, written, put in place or given up here. In what
//! order that happens is known to the check, the writer and the finish, which
//! work on this and not on each other.

use super::super::attributes::{Attributes, MODE_IN_PART, Wanted};
use super::super::dirs::{DirError, Dirs};
use super::super::error::DestError;
use super::super::name;
use super::entry_files::EntryFiles;
use super::holes::write_around_holes;
use super::progress::{EntryState, Progress};
use super::target::Target;
use crate::os::file::{self, Status};
use crate::os::xattr::Xattrs;
use nix::errno::Errno;
use peer::content::manifest::EntryKind;
use peer::content::pieces::Extent;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

pub struct DestTree {
    pub target: Target,
    pub progress: Progress,
    pub attributes: Attributes,
    pub root: Rc<OwnedFd>,
    /// The modes of directories that kept us out, and that have another one
    /// until everything is in them; by entry, in order.
    pub original_modes: Vec<(u32, u32)>,
    pub files: EntryFiles,
    /// The root, and a directory on each other file system below it, by device.
    pub file_systems: Vec<(u64, Rc<OwnedFd>)>,
    dirs: Dirs,
}

impl DestTree {
    pub fn new(
        target: Target,
        attributes: Attributes,
        root: Rc<OwnedFd>,
        root_made: bool,
    ) -> DestTree {
        let device = file::stat_dir(&root).map_or(0, |status| status.dev);
        let file_systems = vec![(device, root.clone())];
        let root_state = if root_made { EntryState::Made } else { EntryState::Found };
        DestTree {
            progress: Progress::new(&target, root_state),
            attributes,
            original_modes: Vec::new(),
            files: EntryFiles::new(&root),
            file_systems,
            dirs: Dirs::new(root.clone()),
            root,
            target,
        }
    }

    /// Remembers a directory that may be on another file system than those before.
    pub fn note_file_system(&mut self, device: u64, dir: Rc<OwnedFd>) {
        if self.file_systems.iter().all(|(known, _)| *known != device) {
            self.file_systems.push((device, dir));
        }
    }

    /// The directory of an entry that is one.
    pub fn dir(&mut self, dir: u32) -> Result<Rc<OwnedFd>, DirError> {
        self.dirs.get(&self.target.manifest.entries, dir)
    }

    /// The same, with an error that names the directory that could not be opened.
    pub fn enter(&mut self, dir: u32) -> Result<Rc<OwnedFd>, DestError> {
        self.dir(dir).map_err(|error| match error.cause {
            Errno::ENOTDIR | Errno::ELOOP => DestError::NotDirInTheWay(self.target.path(error.dir)),
            cause => self.target.failed("open the directory", error.dir, cause),
        })
    }

    /// The directory that holds an entry.
    pub fn parent(&mut self, entry: u32) -> Result<Rc<OwnedFd>, DestError> {
        self.enter(self.target.entry(entry).parent)
    }

    /// Whether an entry is a fifo, socket or device, and gets made: that is root's right.
    pub fn makes_node(&self, entry: u32) -> bool {
        self.attributes.keep_owners && self.target.entry(entry).is_node()
    }

    /// Why nothing can be made for an entry, whatever it is.
    pub fn refusal(&self, entry: u32) -> Option<DestError> {
        let found = self.target.entry(entry);
        if self.progress.has_failed(found.parent) {
            return Some(DestError::NoDirAbove(self.target.path(entry)));
        }
        name::is_temporary(&found.name).then(|| DestError::ReservedName(self.target.path(entry)))
    }

    /// Gives an entry up. Its temporary file stays for a later run, unless that
    /// would have nothing of it.
    pub fn fail(&mut self, entry: u32, error: DestError) {
        if self.progress.has_failed(entry) {
            return;
        }
        let pieces = self.target.pieces(entry).len() as u32;
        let is_file = self.target.entry(entry).kind == EntryKind::File;
        let is_wrong = matches!(error, DestError::WrongSha256 { .. });
        let is_useless = self.progress.left(entry) == pieces || is_wrong;
        if is_file
            && self.progress.is_in_part(entry)
            && is_useless
            && let Ok(dir) = self.parent(entry)
        {
            self.files.remove(&self.target, &dir, entry);
        }
        self.files.forget(entry);
        self.progress.fail(entry, pieces, error);
    }

    /// The open file that holds an entry now; of a file that is not whole,
    /// only the pieces that are here are of use.
    pub fn file(&mut self, entry: u32) -> io::Result<Rc<File>> {
        let entry = self.target.file_entry(entry);
        match self.progress.state(entry) {
            EntryState::Made | EntryState::Found => self.temporary(entry).map_err(io_error),
            EntryState::Whole => self.whole(entry),
            EntryState::Pending | EntryState::Failed => Err(Errno::ENOENT.into()),
        }
    }

    fn whole(&mut self, entry: u32) -> io::Result<Rc<File>> {
        if let Some(file) = self.files.get(entry) {
            return Ok(file);
        }
        let dir = self.parent(entry).map_err(io_error)?;
        self.files.open_final(&self.target, &dir, entry)
    }

    /// Stores a verified piece of a file, which was missing. Whether it is here:
    /// of a file that has all, nothing is written again. Why one failed is in
    /// `progress`.
    pub fn store(&mut self, extent: Extent, bytes: &[u8]) -> bool {
        let entry = extent.entry;
        if self.progress.has_failed(entry) {
            return false;
        }
        if self.progress.has_all(entry) {
            return true;
        }
        match self.store_extent(extent, bytes) {
            Ok(()) => true,
            Err(error) => {
                self.fail(entry, error);
                false
            }
        }
    }

    fn store_extent(&mut self, extent: Extent, bytes: &[u8]) -> Result<(), DestError> {
        let entry = extent.entry;
        let is_new = self.progress.state(entry) == EntryState::Pending;
        if is_new && !self.target.is_large(entry) && self.target.sha256.is_none() {
            return self.place_small(extent, bytes);
        }
        self.write(extent, bytes)?;
        self.progress.count_piece(entry);
        self.complete(entry)
    }

    /// Makes a file, writes all of it and puts it in place.
    fn place_small(&mut self, extent: Extent, bytes: &[u8]) -> Result<(), DestError> {
        let entry = extent.entry;
        let dir = self.parent(entry)?;
        let name = self.target.temporary_name(entry);
        let mode = self.attributes.mode_of_new(self.target.entry(entry));
        let file = self.create(entry, &dir, &name, mode)?;
        self.write_to(&file, extent, bytes)?;
        self.progress.count_piece(entry);
        let made = self.attributes.status_of_new(self.target.entry(entry), mode, &file);
        self.apply(entry, &file, made)?;
        self.rename(entry, &name, &dir)?;
        self.progress.set(entry, EntryState::Whole);
        Ok(())
    }

    /// Writes verified bytes into a file's temporary one.
    pub fn write(&mut self, extent: Extent, bytes: &[u8]) -> Result<(), DestError> {
        let file = self.temporary(extent.entry)?;
        self.write_to(&file, extent, bytes)
    }

    fn write_to(&self, file: &File, extent: Extent, bytes: &[u8]) -> Result<(), DestError> {
        let Extent { entry, offset, .. } = extent;
        let is_new = self.progress.state(entry) == EntryState::Made;
        let written = match self.target.entry(entry).sparse {
            true => write_around_holes(file, offset, bytes, is_new),
            false => file.write_all_at(bytes, offset),
        };
        written.map_err(|error| self.target.failed("write", entry, file::errno(&error)))
    }

    /// A file's temporary one, which is made if there is none.
    pub fn temporary(&mut self, entry: u32) -> Result<Rc<File>, DestError> {
        if let Some(file) = self.files.get(entry) {
            return Ok(file);
        }
        let dir = self.parent(entry)?;
        if self.progress.state(entry) != EntryState::Pending {
            return self.files.reopen(&self.target, &dir, entry);
        }
        let name = self.target.temporary_name(entry);
        let file = Rc::new(self.create(entry, &dir, &name, MODE_IN_PART)?);
        self.files.keep(entry, file.clone());
        Ok(file)
    }

    fn create(
        &mut self,
        entry: u32,
        dir: &OwnedFd,
        name: &[u8],
        mode: u32,
    ) -> Result<File, DestError> {
        let file = self.files.create(&self.target, dir, entry, name, mode)?;
        self.progress.set(entry, EntryState::Made);
        self.files.reserve(&self.target, entry, &file)?;
        Ok(file)
    }

    /// Takes over the temporary file of an earlier run.
    pub fn adopt(&mut self, entry: u32) -> Result<Option<(Rc<File>, Status)>, DestError> {
        let dir = self.parent(entry)?;
        let adopted = self.files.adopt(&self.target, &dir, entry)?;
        if adopted.is_some() {
            self.progress.set(entry, EntryState::Found);
        }
        Ok(adopted)
    }

    /// Puts a file in place when all of it is here. A pinned one waits for its
    /// SHA-256, which the finish computes.
    pub fn complete(&mut self, entry: u32) -> Result<(), DestError> {
        match self.progress.has_all(entry) && self.target.sha256.is_none() {
            true => self.put_in_place(entry),
            false => Ok(()),
        }
    }

    pub fn put_in_place(&mut self, entry: u32) -> Result<(), DestError> {
        let file = self.temporary(entry)?;
        self.apply(entry, &file, file::stat_file(&file).map(|status| (status, false)))?;
        let dir = self.parent(entry)?;
        self.rename(entry, &self.target.temporary_name(entry), &dir)?;
        self.progress.set(entry, EntryState::Whole);
        Ok(())
    }

    /// Owner, extended attributes, mode and time. With what the file is, and whether it has
    /// no extended attributes.
    fn apply(
        &self,
        entry: u32,
        file: &File,
        made: Result<(Status, bool), Errno>,
    ) -> Result<(), DestError> {
        let (status, is_bare) =
            made.map_err(|cause| self.target.failed("look at", entry, cause))?;
        let wanted = Wanted { is_bare, ..self.target.wanted(entry) };
        let set = self.attributes.set(file.as_fd(), wanted, &status, true);
        set.map_err(|error| self.target.attributes_failed(entry, error))
    }

    /// Gives a temporary file, symlink or link its final name.
    pub fn rename(&self, entry: u32, temporary: &[u8], dir: &OwnedFd) -> Result<(), DestError> {
        match file::rename_at(dir, temporary, &self.target.entry(entry).name) {
            Err(Errno::EISDIR) => Err(DestError::DirInTheWay(self.target.path(entry))),
            done => done.map_err(|cause| self.target.failed("put in place", entry, cause)),
        }
    }

    /// Whether a file with the right contents has the right attributes, or gets
    /// them. One that has other names than those of the manifest is not touched:
    /// they may be outside of this directory.
    pub fn repair(&self, entry: u32, file: &File, status: &Status) -> bool {
        let wanted = self.target.wanted(entry);
        if self.attributes.are_right(wanted, status, &Xattrs::of(file.as_fd())) {
            return status.nlink <= self.target.names_count(entry);
        }
        status.nlink == 1 && self.attributes.set(file.as_fd(), wanted, status, false).is_ok()
    }
}

fn io_error(error: DestError) -> io::Error {
    match error {
        DestError::Io { cause, .. } => cause.into(),
        _ => Errno::ENOENT.into(),
    }
}
