//! The tree in the destination as it comes into being: its open directories and
//! files, and how far each entry is.
//!
//! One entry at a time is made, written, put in place or given up here. In what
//! order that happens is known to the check, the writer and the finish, which
//! work on this and not on each other.

use super::super::attributes::{Attributes, MODE_IN_PART, Wanted};
use super::super::dirs::{DirError, Dirs};
use super::super::error::{DestError, FOREIGN_TEMPORARY, SET_ATTRIBUTES_LATE};
use super::super::name;
use super::aside::Aside;
use super::changes::{Change, Changes};
use super::entry_files::EntryFiles;
use super::holes::write_around_holes;
use super::policy::{Policy, Purpose};
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
    pub policy: Policy,
    pub changes: Changes,
    pub aside: Aside,
    mount: Mount,
    dirs: Dirs,
}

/// What is mounted at a directory: its device, and which mount it is, where the kernel
/// tells.
type Mount = (u64, Option<u64>);

fn mount_of(dir: &OwnedFd) -> Result<Mount, Errno> {
    Ok((file::stat_dir(dir)?.dev, file::mount_id(dir)))
}

impl DestTree {
    pub fn new(
        target: Target,
        attributes: Attributes,
        policy: Policy,
        (root, root_made): (Rc<OwnedFd>, bool),
    ) -> DestTree {
        let mount = mount_of(&root).unwrap_or_default();
        let file_systems = vec![(mount.0, root.clone())];
        let lists = policy.purpose == Purpose::Mirror || policy.purpose.compares();
        let root_state = if root_made { EntryState::Made } else { EntryState::Found };
        DestTree {
            progress: Progress::new(&target, root_state),
            attributes,
            original_modes: Vec::new(),
            files: EntryFiles::new(&root),
            file_systems,
            policy,
            changes: Changes::new(lists),
            aside: Aside::default(),
            mount,
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

    /// Whether a directory is of another file system than the destination, or of the
    /// same one mounted once more.
    pub fn is_foreign(&self, dir: &OwnedFd) -> Result<bool, Errno> {
        let ((dev, mount), (own_dev, own)) = (mount_of(dir)?, self.mount);
        // Where /proc is gone meanwhile, the device alone tells.
        Ok(dev != own_dev || mount.zip(own).is_some_and(|(mount, own)| mount != own))
    }

    /// Notes whether an entry is to be left as it is; its directory was asked about before.
    pub fn note_kept(&mut self, entry: u32) {
        let found = self.target.entry(entry);
        let is_kept = |other: u32| self.progress.state(other) == EntryState::Kept;
        let fits = || {
            let path = self.target.manifest.path(entry);
            self.policy.keep.fit(&path, found.kind == EntryKind::Dir)
        };
        if self.policy.purpose == Purpose::Serve
            || is_kept(found.parent)
            || is_kept(self.target.file_entry(entry))
            || (!self.policy.keep.is_empty() && fits())
        {
            self.progress.set(entry, EntryState::Kept);
        }
    }

    /// Notes what becomes of an entry, for who wants a list.
    pub fn note(&self, entry: u32, change: Change) {
        if self.changes.are_wanted() {
            let found = self.target.entry(entry);
            let path = self.target.manifest.path(entry);
            self.changes.note(change, found.size, path, found.kind == EntryKind::Dir);
        }
    }

    /// What would become of a file that is not what it is to be.
    pub fn change_of(&mut self, entry: u32) -> Change {
        let parent = self.parent(entry);
        let name = &self.target.entry(entry).name;
        match parent.is_ok_and(|dir| file::stat_at(&dir, name).is_ok()) {
            true => Change::Changed,
            false => Change::New,
        }
    }

    /// Notes a directory that gets another mode or owner; its time follows from what is
    /// in it.
    pub fn note_attributes(&self, entry: u32, dir: &OwnedFd, now: &Status) {
        let found = self.target.entry(entry);
        let now = Status { mtime_s: found.mtime_s, mtime_ns: found.mtime_ns, ..*now };
        let is_told = self.changes.are_wanted() && !self.attributes.keep_dirs;
        if is_told && !self.are_right(entry, &now, &Xattrs::of(dir.as_fd())) {
            self.note(entry, Change::Attributes);
        }
    }

    /// Notes a failure that is no entry's.
    pub fn fail_path(&mut self, doing: &'static str, path: &[u8], cause: Errno) {
        let path = name::full_path(&self.target.base, path);
        self.progress.fail_other(DestError::Io { doing, path, cause });
    }

    /// Makes a directory under its temporary name, as long as something else has its own;
    /// or goes on with that of an earlier run.
    #[inline(never)]
    pub fn wait_for_name(&mut self, entry: u32) -> Result<EntryState, DestError> {
        let parent = self.parent(entry)?;
        let name = self.target.temporary_name(entry);
        let state = match file::make_dir_at(&parent, &name, self.attributes.mode_of_new_dir()) {
            Ok(()) => EntryState::Made,
            Err(Errno::EEXIST) => EntryState::Found,
            Err(cause) => return Err(self.target.failed("make the directory", entry, cause)),
        };
        self.dirs.set_name(entry, Some(name));
        let dir = self.enter(entry)?;
        // Who made it in advance could go on putting things there.
        match file::stat_dir(&dir) {
            Ok(now) if now.uid == file::user() => Ok(state),
            looked => {
                self.dirs.set_name(entry, None);
                let cause = looked.err().unwrap_or(Errno::ESTALE);
                Err(self.target.failed(FOREIGN_TEMPORARY, entry, cause))
            }
        }
    }

    /// Whether a directory has its temporary name.
    pub fn waits(&self, entry: u32) -> bool {
        self.dirs.other_name(entry).is_some()
    }

    /// Gives such a directory its own name, in place of what has it.
    pub fn end_wait(&mut self, entry: u32) -> Result<(), DestError> {
        let parent = self.parent(entry)?;
        let name = &self.target.entry(entry).name;
        let temporary = self.target.temporary_name(entry);
        let put = match file::rename_at(&parent, &temporary, name) {
            Err(Errno::ENOTDIR) => change_places(&parent, &temporary, name)
                .and_then(|()| file::unlink_at(&parent, &temporary)),
            done => done,
        };
        put.map_err(|cause| self.target.failed("put in place", entry, cause))?;
        self.note(entry, Change::Changed);
        self.dirs.set_name(entry, None);
        Ok(())
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
    pub fn makes_special(&self, entry: u32) -> bool {
        self.attributes.keep_owners && self.target.entry(entry).is_special()
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
            EntryState::Whole | EntryState::Kept => self.whole(entry),
            EntryState::Pending | EntryState::Failed => Err(Errno::ENOENT.into()),
        }
    }

    /// The same, and whether nothing says that it is not what was verified. Nothing is kept
    /// of small files, which are as quickly compared.
    pub fn file_to_serve(&mut self, entry: u32) -> io::Result<(Rc<File>, bool)> {
        let entry = self.target.file_entry(entry);
        let file = self.file(entry)?;
        // What has no final name yet is ours alone.
        let is_sure = self.progress.is_in_part(entry)
            || file::stat_file(&file).is_ok_and(|now| self.files.is_as_placed(entry, &now));
        Ok((file, is_sure))
    }

    /// Notes what a file is now that it is in place, or was changed by us.
    pub fn note_placed(&mut self, entry: u32, status: Result<Status, Errno>) {
        if let (true, Ok(status)) = (self.target.is_large(entry), status) {
            self.files.note_placed(entry, &status);
        }
    }

    fn whole(&mut self, entry: u32) -> io::Result<Rc<File>> {
        if let Some(file) = self.files.get(entry) {
            return Ok(file);
        }
        let dir = self.parent(entry).map_err(io_error)?;
        // Of one that is left as it is, the length need not be the right one.
        let is_kept = self.progress.state(entry) == EntryState::Kept;
        self.files.open_final(&self.target, &dir, entry, is_kept)
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
        if is_new && !self.waits_for_all() && !self.target.is_large(entry) {
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
        if self.progress.state(extent.entry) == EntryState::Kept {
            return self.write_aside(extent, bytes);
        }
        let file = self.temporary(extent.entry)?;
        self.write_to(&file, extent, bytes)
    }

    /// The same aside, for a file that stays as it is.
    pub fn write_aside(&mut self, extent: Extent, bytes: &[u8]) -> Result<(), DestError> {
        let found = self.target.entry(extent.entry);
        // Who only serves writes nothing here.
        let dir = (self.policy.purpose != Purpose::Serve).then_some(&*self.root);
        let place = self.aside.place(extent.entry, found.size, dir);
        let written = place.and_then(|(file, start)| {
            let at = start + extent.offset;
            let written = match found.sparse {
                true => write_around_holes(&file, at, bytes, true),
                false => file.write_all_at(bytes, at),
            };
            written.map_err(|error| file::errno(&error))
        });
        let failed = |cause| self.target.failed("keep aside what is new of", extent.entry, cause);
        written.map_err(failed)?;
        self.aside.hold(extent);
        Ok(())
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

    /// Whether files get their names in the finish: one with a pin, after its SHA-256.
    fn waits_for_all(&self) -> bool {
        self.target.sha256.is_some() || self.policy.purpose == Purpose::Mirror
    }

    /// Puts a file in place when all of it is here and nothing is waited for.
    pub fn complete(&mut self, entry: u32) -> Result<(), DestError> {
        let is_kept = self.progress.state(entry) == EntryState::Kept;
        match self.progress.has_all(entry) && !is_kept && !self.waits_for_all() {
            true => self.put_in_place(entry),
            false => Ok(()),
        }
    }

    pub fn put_in_place(&mut self, entry: u32) -> Result<(), DestError> {
        let file = self.temporary(entry)?;
        self.apply(entry, &file, file::stat_file(&file).map(|status| (status, false)))?;
        let dir = self.parent(entry)?;
        self.rename(entry, &self.target.temporary_name(entry), &dir)?;
        self.note_placed(entry, file::stat_file(&file));
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

    /// Gives a temporary file, symlink or link its final name. A directory that makes way for
    /// it gets the temporary one; where that cannot be, it is said to be in the way.
    pub fn rename(&self, entry: u32, temporary: &[u8], dir: &OwnedFd) -> Result<(), DestError> {
        let name = &self.target.entry(entry).name;
        let yields = self.progress.yielded().contains(&entry);
        let was_there = yields || self.changes.are_wanted() && file::stat_at(dir, name).is_ok();
        let mut renamed = file::rename_at(dir, temporary, name);
        if renamed == Err(Errno::EISDIR) && yields {
            // An overlay gives no other name to a directory that its lower layer has.
            renamed = match change_places(dir, temporary, name) {
                Err(Errno::EXDEV) => Err(Errno::EISDIR),
                done => done,
            };
        }
        match renamed {
            Err(Errno::EISDIR) => return Err(DestError::DirInTheWay(self.target.path(entry))),
            done => done.map_err(|cause| self.target.failed("put in place", entry, cause))?,
        }
        self.note(entry, if was_there { Change::Changed } else { Change::New });
        Ok(())
    }

    /// Whether a file with the right contents has the right attributes, or gets
    /// them. One that has other names than those of the manifest is not touched:
    /// they may be outside of this directory.
    pub fn repair(&self, entry: u32, file: &File, status: &Status) -> bool {
        if self.are_right(entry, status, &Xattrs::of(file.as_fd())) {
            return status.nlink <= self.target.names_count(entry);
        }
        let wanted = self.target.wanted(entry);
        let is_set =
            status.nlink == 1 && self.attributes.set(file.as_fd(), wanted, status, false).is_ok();
        if is_set {
            self.note(entry, Change::Attributes);
        }
        is_set
    }

    /// Whether what is there has the right attributes.
    pub fn are_right(&self, entry: u32, now: &Status, of: &Xattrs) -> bool {
        self.attributes.are_right(self.target.wanted(entry), now, of)
    }

    /// Whether a file with the right contents stays. Where all is waited for, its
    /// attributes are set with the others; where is only compared, it is noted.
    pub fn stays(&mut self, entry: u32, file: &File, status: &Status) -> bool {
        let is_kept = self.progress.state(entry) == EntryState::Kept;
        if is_kept || self.policy.purpose.is_gradual() {
            return is_kept || self.repair(entry, file, status);
        }
        if self.are_right(entry, status, &Xattrs::of(file.as_fd())) {
            return status.nlink <= self.target.names_count(entry);
        }
        match (status.nlink == 1, self.policy.purpose.compares()) {
            (true, true) => self.note(entry, Change::Attributes),
            (true, false) => {
                self.progress.set_late(entry);
                self.files.note_placed(entry, status);
            }
            (false, _) => {}
        }
        status.nlink == 1
    }

    /// Sets the attributes of a file that had to wait for that.
    #[inline(never)]
    pub fn repair_late(&mut self, entry: u32) -> Result<(), DestError> {
        if !self.progress.is_late(entry) {
            return Ok(());
        }
        let dir = self.parent(entry)?;
        let opened = file::open_file_at(&dir, &self.target.entry(entry).name);
        let looked = opened.and_then(|file| Ok((file::stat_file(&file)?, file)));
        let (status, file) = looked.map_err(|cause| self.target.failed("open", entry, cause))?;
        // Whatever else has its name by now gets neither owner nor mode: it may be another
        // name of what is not ours.
        if !self.files.is_as_placed(entry, &status) {
            return Err(self.target.failed(SET_ATTRIBUTES_LATE, entry, Errno::ESTALE));
        }
        // As one that was there: without modes to keep it keeps its own.
        let set = self.attributes.set(file.as_fd(), self.target.wanted(entry), &status, false);
        set.map_err(|error| self.target.attributes_failed(entry, error))?;
        self.note_placed(entry, file::stat_file(&file));
        self.note(entry, Change::Attributes);
        Ok(())
    }
}

/// Lets what has a temporary name and what has a final one change places: where that is
/// possible in one step, so that there is always something under the final one.
fn change_places(dir: &OwnedFd, temporary: &[u8], name: &[u8]) -> Result<(), Errno> {
    match file::exchange_at(dir, temporary, name) {
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
            change_places_in_steps(dir, temporary, name)
        }
        done => done,
    }
}

fn change_places_in_steps(dir: &OwnedFd, temporary: &[u8], name: &[u8]) -> Result<(), Errno> {
    let beside = name::beside(temporary);
    file::rename_at(dir, name, &beside)?;
    if let Err(cause) = file::rename_at(dir, temporary, name) {
        // The old under its name is better than nothing; why there is no new one is told.
        let _ = file::rename_at(dir, &beside, name);
        return Err(cause);
    }
    file::rename_at(dir, &beside, temporary)
}

fn io_error(error: DestError) -> io::Error {
    match error {
        DestError::Io { cause, .. } => cause.into(),
        _ => Errno::ENOENT.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::fs;

    /// As on file systems that have no one step for it.
    #[test]
    fn a_directory_and_a_file_change_places_in_steps() {
        let dir = Dir::new();
        let temporary = ".xget-0123456789abcdef.part";
        let root = file::open_dir(dir.path()).unwrap();
        for change in [change_places, change_places_in_steps] {
            dir.write("x/inside", b"old");
            dir.write(temporary, b"new");
            change(&root, temporary.as_bytes(), b"x").unwrap();
            assert_eq!(fs::read(dir.join("x")).unwrap(), b"new");
            assert_eq!(fs::read(dir.join(temporary).join("inside")).unwrap(), b"old");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
            fs::remove_file(dir.join("x")).unwrap();
            fs::remove_dir_all(dir.join(temporary)).unwrap();
            dir.write("x/inside", b"old");
            assert_eq!(change(&root, temporary.as_bytes(), b"x"), Err(Errno::ENOENT));
            assert_eq!(fs::read(dir.join("x/inside")).unwrap(), b"old", "nothing new: the old");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            fs::remove_dir_all(dir.join("x")).unwrap();
        }
    }
}
