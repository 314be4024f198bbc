//! The open files of entries: under their temporary names until they are whole,
//! under their final ones after that.
//!
//! Every call is given the directory that the file is in. What has been done
//! for an entry, and what comes next, is not known here.

use super::super::error::{DestError, FOREIGN_TEMPORARY};
use super::super::files::OpenFiles;
use super::super::name;
use super::target::Target;
use crate::os::file::{self, Status};
use nix::errno::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Frees a temporary name of what an interrupted run has left there. A directory that made
/// way, and was not removed, gets the name beside it: a fetch with --delete removes both.
pub fn free_temporary(dir: &OwnedFd, temporary: &[u8]) -> Result<(), Errno> {
    match file::unlink_at(dir, temporary) {
        Err(Errno::EISDIR) => file::rename_at(dir, temporary, &name::beside(temporary)),
        done => done,
    }
}

pub struct EntryFiles {
    open: OpenFiles<u32>,
    /// Whether large files get their space before their bytes.
    reserves: bool,
    /// What files with pieces of their own were when they were verified and in place, by
    /// entry; 0 of what is not.
    placed: Vec<u64>,
}

impl EntryFiles {
    pub fn new(root: &OwnedFd) -> EntryFiles {
        let reserves = !file::is_in_memory(root);
        EntryFiles { open: OpenFiles::default(), reserves, placed: Vec::new() }
    }

    /// The file of an entry, if it is open.
    pub fn get(&mut self, entry: u32) -> Option<Rc<File>> {
        self.open.get(&entry)
    }

    pub fn keep(&mut self, entry: u32, file: Rc<File>) {
        self.open.put(entry, file);
    }

    pub fn forget(&mut self, entry: u32) {
        self.open.forget(&entry);
    }

    /// Notes what a file is in its place.
    pub fn note_placed(&mut self, entry: u32, status: &Status) {
        let at = entry as usize;
        if self.placed.len() <= at {
            self.placed.resize(at + 1, 0);
        }
        self.placed[at] = mark(status);
    }

    /// Whether a file is what it was when that was noted.
    pub fn is_as_placed(&self, entry: u32, status: &Status) -> bool {
        self.placed.get(entry as usize) == Some(&mark(status))
    }

    /// Makes a new temporary file, in place of what has its name: that was
    /// refused by the check, or is newer than it.
    pub fn create(
        &self,
        target: &Target,
        dir: &OwnedFd,
        entry: u32,
        name: &[u8],
        mode: u32,
    ) -> Result<File, DestError> {
        let mut created = file::create_file_at(dir, name, mode);
        if created.as_ref().err() == Some(&Errno::EEXIST) {
            let removed = free_temporary(dir, name);
            created = removed.and_then(|()| file::create_file_at(dir, name, mode));
        }
        created.map_err(|cause| target.failed("make a file for", entry, cause))
    }

    /// Gives a new file its length as a hole, or its space, so that a lack of
    /// it shows now.
    pub fn reserve(&self, target: &Target, entry: u32, file: &File) -> Result<(), DestError> {
        let size = target.entry(entry).size;
        let reserved = if target.entry(entry).sparse {
            file.set_len(size).map_err(|error| file::errno(&error))
        } else if self.reserves && target.is_large(entry) {
            file::allocate(file, size)
        } else {
            Ok(())
        };
        reserved.map_err(|cause| target.failed("reserve the space for", entry, cause))
    }

    /// Opens a temporary file that is there. Where something else has taken its name
    /// since it was closed, what was written is lost, and nothing is written there.
    pub fn reopen(
        &mut self,
        target: &Target,
        dir: &OwnedFd,
        entry: u32,
    ) -> Result<Rc<File>, DestError> {
        let opened = file::open_file_rw_at(dir, &target.temporary_name(entry));
        let looked = opened.and_then(|file| Ok((file::stat_file(&file)?, file)));
        let (status, file) = looked.map_err(|cause| target.failed("reopen", entry, cause))?;
        if !is_ours(&status) {
            return Err(target.failed(FOREIGN_TEMPORARY, entry, Errno::ESTALE));
        }
        let file = Rc::new(file);
        self.keep(entry, file.clone());
        Ok(file)
    }

    /// Takes over the temporary file of an earlier run, if there is one that
    /// can only be ours: not another's, and not a second name of something.
    pub fn adopt(
        &mut self,
        target: &Target,
        dir: &OwnedFd,
        entry: u32,
    ) -> Result<Option<(Rc<File>, Status)>, DestError> {
        let name = target.temporary_name(entry);
        let opened = file::open_file_rw_at(dir, &name);
        let looked = opened.and_then(|file| Ok((file::stat_file(&file)?, file)));
        match looked {
            Ok((status, file)) if is_ours(&status) => {
                let size = target.entry(entry).size;
                // What is behind its end would look like a hole.
                if status.size != size {
                    let cut = file.set_len(size).map_err(|error| file::errno(&error));
                    cut.map_err(|cause| target.failed("resume", entry, cause))?;
                }
                let file = Rc::new(file);
                self.keep(entry, file.clone());
                Ok(Some((file, status)))
            }
            Err(Errno::ENOENT) => Ok(None),
            // `create` says so if it cannot be removed.
            _ => {
                let _ = file::unlink_at(dir, &name);
                Ok(None)
            }
        }
    }

    /// Whether it succeeds or not is not of interest: the file is of no use,
    /// and a later run sweeps it away.
    pub fn remove(&self, target: &Target, dir: &OwnedFd, entry: u32) {
        let _ = file::unlink_at(dir, &target.temporary_name(entry));
    }

    /// A file that is in place, if it still looks like the one put there; or is of any
    /// size.
    pub fn open_final(
        &mut self,
        target: &Target,
        dir: &OwnedFd,
        entry: u32,
        of_any_size: bool,
    ) -> io::Result<Rc<File>> {
        let file = file::open_file_at(dir, &target.entry(entry).name)?;
        let status = file::stat_file(&file)?;
        let is_as_long = of_any_size || status.size == target.entry(entry).size;
        if !status.is_file() || !is_as_long {
            return Err(Errno::ESTALE.into());
        }
        let file = Rc::new(file);
        self.keep(entry, file.clone());
        Ok(file)
    }

    #[cfg(test)]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }
}

/// A number that is another when the file or its ctime is: eight bytes of each file are
/// kept in memory and not all that stat(2) says. Multiplied by odd numbers, each of which
/// spreads what differs in the low bits.
fn mark(status: &Status) -> u64 {
    let spread = |value: u64, by: u64| value.wrapping_mul(by).rotate_left(32);
    let time = spread(status.ctime_s as u64, 0x9e37_79b9_7f4a_7c15) ^ u64::from(status.ctime_ns);
    let file = spread(status.ino, 0xc2b2_ae3d_27d4_eb4f) ^ status.dev ^ status.size;
    spread(time, 0x1656_67b1_9e37_79f9).wrapping_add(file) | 1
}

/// A file made by us, under no other name, so that writing to it touches
/// nothing else.
fn is_ours(status: &Status) -> bool {
    status.is_file() && status.nlink == 1 && status.uid == file::user()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use peer::testing::file;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A destination with one file to come, of four bytes.
    fn begin(dir: &Dir) -> (Target, OwnedFd, EntryFiles) {
        let root = file::open_dir(dir.path()).unwrap();
        let target = Target::of_entries(dir.path(), [file(0, "f", b"four")], Vec::new());
        let files = EntryFiles::new(&root);
        (target, root, files)
    }

    fn temporary(dir: &Dir, target: &Target) -> std::path::PathBuf {
        dir.join(std::str::from_utf8(&target.temporary_name(1)).unwrap())
    }

    #[test]
    fn the_file_of_an_earlier_run_is_adopted_and_cut_to_its_length() {
        let dir = Dir::new();
        let (target, root, mut files) = begin(&dir);
        assert!(files.adopt(&target, &root, 1).unwrap().is_none(), "there is none");
        fs::write(temporary(&dir, &target), b"four and more").unwrap();
        let (adopted, status) = files.adopt(&target, &root, 1).unwrap().unwrap();
        assert_eq!((status.size, adopted.metadata().unwrap().len()), (13, 4));
        assert!(files.get(1).is_some_and(|open| Rc::ptr_eq(&open, &adopted)));
    }

    #[test]
    fn what_cannot_be_ours_is_removed_and_not_followed() {
        let dir = Dir::new();
        let (target, root, mut files) = begin(&dir);
        let victim = dir.write("victim", b"untouched");
        let name = temporary(&dir, &target);
        fs::hard_link(&victim, &name).unwrap();
        assert!(files.adopt(&target, &root, 1).unwrap().is_none());
        assert!(!name.exists());
        symlink(&victim, &name).unwrap();
        assert!(files.adopt(&target, &root, 1).unwrap().is_none());
        symlink(&victim, &name).unwrap();
        let new = files.create(&target, &root, 1, &target.temporary_name(1), 0o600).unwrap();
        assert!(new.metadata().unwrap().is_file() && new.metadata().unwrap().len() == 0);
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    }

    #[test]
    fn what_took_the_name_of_a_temporary_file_is_not_written_to() {
        let dir = Dir::new();
        let (target, root, mut files) = begin(&dir);
        let victim = dir.write("victim", b"untouched");
        let name = temporary(&dir, &target);
        fs::write(&name, b"fo").unwrap();
        assert!(files.reopen(&target, &root, 1).is_ok());
        fs::remove_file(&name).unwrap();
        for is_link in [false, true] {
            let take =
                if is_link { symlink(&victim, &name) } else { fs::hard_link(&victim, &name) };
            take.unwrap();
            let error = files.reopen(&target, &root, 1).unwrap_err().to_string();
            assert!(error.contains("reopen") || error.contains("took the temporary name"));
            fs::remove_file(&name).unwrap();
        }
        nix::unistd::mkfifo(&name, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(files.reopen(&target, &root, 1).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    }

    #[test]
    fn a_file_in_place_that_has_become_another_is_not_given() {
        let dir = Dir::new();
        let (target, root, mut files) = begin(&dir);
        fs::write(dir.join("f"), b"four").unwrap();
        assert!(files.open_final(&target, &root, 1, false).is_ok());
        files.forget(1);
        fs::write(dir.join("f"), b"fourteen").unwrap();
        let error = files.open_final(&target, &root, 1, false).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ESTALE as i32));
        assert_eq!(files.open_count(), 0);
    }
}
