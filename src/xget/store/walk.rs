//! Lists a tree, directory by directory, in the order of the manifest.
//!
//! Gives entries without digests, and what the file system said of each. What
//! cannot be read, or cannot be in a manifest, is noted and never fatal. Reads
//! no file.

use super::dirs::{DirError, Dirs};
use super::error::{Note, NoteReason, ScanError, Unreadable};
use super::name;
use super::served_root::{Seen, ServedRoot, is_own, left_out, left_out_by_name};
use super::xattrs;
use crate::os::file::{self, Listing, Status};
use crate::os::xattr::Xattrs;
use nix::errno::Errno;
use peer::content::manifest::{DEPTH_MAX, ENTRIES_MAX, Entry, EntryKind, XattrTable};
use sorted::SortedMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// Most notes that are kept; the rest is counted.
pub const NOTES_MAX: usize = 1000;
/// Names listed or looked at in one slice of work.
const SLICE_NAMES: u32 = 2000;

/// The entries found so far.
pub struct Walk {
    pub root: Rc<ServedRoot>,
    pub dirs: Dirs,
    pub entries: Vec<Entry>,
    pub seen: Vec<Seen>,
    pub xattrs: XattrTable,
    pub notes: Vec<Note>,
    pub notes_left_out: u64,
    /// Directories that were gone when their turn came.
    pub gone: Vec<u32>,
    /// The first name of each file of several names.
    firsts: SortedMap<(u64, u64), u32>,
    /// By that first name, the others.
    others: SortedMap<u32, Vec<u32>>,
    phase: WalkPhase,
}

enum WalkPhase {
    /// The next entry that may be a directory to list.
    Next(u32),
    Listing(u32, Listing, Vec<Box<[u8]>>),
    /// Names in descending order, taken from the end.
    Looking(u32, Rc<OwnedFd>, Vec<Box<[u8]>>),
}

impl Walk {
    pub fn new(root: Rc<ServedRoot>) -> Result<Walk, ScanError> {
        let mut walk = Walk {
            dirs: Dirs::new(root.fd.clone()),
            entries: vec![Entry::bare_root()],
            seen: vec![Seen::default()],
            xattrs: XattrTable::default(),
            notes: Vec::new(),
            notes_left_out: 0,
            gone: Vec::new(),
            firsts: SortedMap::new(),
            others: SortedMap::new(),
            phase: WalkPhase::Next(0),
            root: root.clone(),
        };
        if let Some(real) = &root.single {
            let failed = |cause| ScanError::Io { path: root.path.clone(), cause };
            let status = file::stat_at(&root.fd, real).map_err(failed)?;
            if !status.is_file() {
                return Err(ScanError::NotServable(root.path.clone()));
            }
            let given = root.path.file_name().map_or(&**real, OsStr::as_bytes);
            walk.add(0, given.into(), &status, &root.fd)?;
            // The one directory is the file's, and not served.
            walk.phase = WalkPhase::Next(walk.entries.len() as u32);
        } else {
            walk.check_root()?;
        }
        Ok(walk)
    }

    /// What refuses the whole tree is said before anything is hashed.
    fn check_root(&self) -> Result<(), ScanError> {
        match file::stat_at(&self.root.fd, name::RESERVED) {
            Ok(found) if !found.is_dir() => {
                return Err(ScanError::Reserved(self.root.path.clone()));
            }
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(cause) => return Err(self.failed(0, cause)),
        }
        file::list(&self.root.fd).map(drop).map_err(|cause| self.failed(0, cause))
    }

    pub fn note(&mut self, path: Vec<u8>, reason: NoteReason) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(Note { path, reason });
        } else {
            self.notes_left_out += 1;
        }
    }

    /// Looks at some more names. False when there are none left.
    pub fn step(&mut self) -> Result<bool, ScanError> {
        let mut left = SLICE_NAMES;
        while left > 0 {
            self.phase = match std::mem::replace(&mut self.phase, WalkPhase::Next(0)) {
                WalkPhase::Next(dir) if dir as usize == self.entries.len() => {
                    self.phase = WalkPhase::Next(dir);
                    return Ok(false);
                }
                WalkPhase::Next(entry) if self.entries[entry as usize].kind != EntryKind::Dir => {
                    left -= 1;
                    WalkPhase::Next(entry + 1)
                }
                WalkPhase::Next(dir) => {
                    left -= 1;
                    self.begin_listing(dir)?
                }
                WalkPhase::Listing(dir, listing, names) => {
                    self.list(dir, listing, names, &mut left)?
                }
                WalkPhase::Looking(dir, fd, names) => self.look(dir, fd, names, &mut left)?,
            };
        }
        Ok(true)
    }

    fn begin_listing(&mut self, dir: u32) -> Result<WalkPhase, ScanError> {
        let next = WalkPhase::Next(dir + 1);
        let fd = match self.dirs.get(&self.entries, dir) {
            Ok(fd) => fd,
            Err(DirError { cause: Errno::ENOENT, .. }) => {
                self.gone.push(dir);
                return Ok(next);
            }
            Err(error) => return self.unlistable(dir, error.cause),
        };
        // What it is when it is listed: a change after this shows in its mtime.
        match file::stat_dir(&fd) {
            Ok(status) => self.refresh(dir, &status),
            Err(cause) => return self.unlistable(dir, cause),
        }
        if self.root.one_file_system && self.seen[dir as usize].dev != self.root.dev {
            self.note_entry(dir, NoteReason::LeftEmpty);
            return Ok(next);
        }
        if depth(&self.entries, dir) >= DEPTH_MAX {
            self.unreadable(dir, Unreadable::TooDeep);
            return Ok(next);
        }
        if !self.add_xattrs(dir, Ok(Xattrs::of(fd.as_fd()))) {
            return Ok(next);
        }
        match file::list(&fd) {
            Ok(listing) => Ok(WalkPhase::Listing(dir, listing, Vec::new())),
            Err(cause) => self.unlistable(dir, cause),
        }
    }

    fn list(
        &mut self,
        dir: u32,
        mut listing: Listing,
        mut names: Vec<Box<[u8]>>,
        left: &mut u32,
    ) -> Result<WalkPhase, ScanError> {
        while *left > 0 {
            *left -= 1;
            match listing.next() {
                Some(Ok(name)) => names.push(name),
                Some(Err(cause)) => return self.unlistable(dir, cause),
                None => {
                    sorted::sort(&mut names);
                    names.reverse();
                    // A directory that changes while it is listed may repeat names.
                    names.dedup();
                    return match self.dirs.get(&self.entries, dir) {
                        Ok(fd) => Ok(WalkPhase::Looking(dir, fd, names)),
                        Err(error) => self.unlistable(dir, error.cause),
                    };
                }
            }
        }
        Ok(WalkPhase::Listing(dir, listing, names))
    }

    fn look(
        &mut self,
        dir: u32,
        fd: Rc<OwnedFd>,
        mut names: Vec<Box<[u8]>>,
        left: &mut u32,
    ) -> Result<WalkPhase, ScanError> {
        while *left > 0 {
            *left -= 1;
            let Some(name) = names.pop() else {
                return Ok(WalkPhase::Next(dir + 1));
            };
            match file::stat_at(&fd, &name) {
                Ok(status) => self.add(dir, name, &status, &fd)?,
                // Gone since it was listed.
                Err(Errno::ENOENT) => {}
                Err(cause) => self.add_unseen(dir, name, cause)?,
            }
        }
        Ok(WalkPhase::Looking(dir, fd, names))
    }

    /// A name that is listed and cannot be looked at has an entry, so that who
    /// fetches hears that something is missing.
    fn add_unseen(&mut self, dir: u32, name: Box<[u8]>, cause: Errno) -> Result<(), ScanError> {
        if let Some(reason) = left_out_by_name(&name) {
            let path = self.path_in(dir, &name);
            self.note(path, NoteReason::LeftOut(reason));
            return Ok(());
        }
        if fatal(cause) {
            return Err(self.failed(dir, cause));
        }
        let number = self.push(Entry { parent: dir, name, mode: 0, ..Entry::bare_root() })?;
        self.unreadable(number, Unreadable::Io(cause));
        Ok(())
    }

    /// A new entry of which nothing is seen yet.
    fn push(&mut self, entry: Entry) -> Result<u32, ScanError> {
        if self.entries.len() == ENTRIES_MAX {
            return Err(ScanError::TooMany(self.root.path.clone()));
        }
        self.entries.push(entry);
        self.seen.push(Seen::default());
        Ok(self.entries.len() as u32 - 1)
    }

    fn add(
        &mut self,
        dir: u32,
        name: Box<[u8]>,
        status: &Status,
        fd: &OwnedFd,
    ) -> Result<(), ScanError> {
        if is_own(dir, &name, status) {
            return Ok(());
        }
        if dir == 0 && *name == *name::RESERVED {
            return Err(ScanError::Reserved(self.root.path.clone()));
        }
        if let Some(reason) = left_out(&name, status, &self.root) {
            let path = self.path_in(dir, &name);
            self.note(path, NoteReason::LeftOut(reason));
            return Ok(());
        }
        let number = self.push(Entry { parent: dir, name, ..Entry::bare_root() })?;
        self.seen[number as usize] = Seen::of(status);
        self.set_attributes(number, status);
        if status.is_dir() {
            return Ok(());
        }
        self.entries[number as usize].kind = EntryKind::File;
        if status.is_symlink() {
            return self.add_symlink(number, fd);
        }
        if !status.is_file() {
            self.add_special(number, status, fd);
            return Ok(());
        }
        self.entries[number as usize].size = status.size;
        if status.nlink > 1 {
            let first = *self.firsts.get_or_insert_with((status.dev, status.ino), || number);
            if first != number {
                self.others.get_or_insert_with(first, Vec::new).push(number);
                self.entries[number as usize].kind = EntryKind::Hardlink(first);
                self.entries[number as usize].size = 0;
            }
        }
        Ok(())
    }

    fn add_special(&mut self, number: u32, status: &Status, fd: &OwnedFd) {
        let kind = match status.is_device() {
            true => EntryKind::Device(status.device),
            false => EntryKind::Special,
        };
        self.set_aside(number, kind);
        let xattrs = Xattrs::at(fd, &self.entries[number as usize].name);
        if self.add_xattrs(number, xattrs) {
            self.note_entry(number, NoteReason::Special(status.type_name()));
        }
    }

    fn add_symlink(&mut self, number: u32, fd: &OwnedFd) -> Result<(), ScanError> {
        match file::read_symlink_at(fd, &self.entries[number as usize].name) {
            Ok(target) if !target.is_empty() => {
                let xattrs = Xattrs::at(fd, &self.entries[number as usize].name);
                if self.add_xattrs(number, xattrs) {
                    self.entries[number as usize].kind = EntryKind::Symlink;
                    self.entries[number as usize].link = target.into();
                }
            }
            // Something else has the name by now, or nothing: as if not listed.
            Ok(_) | Err(Errno::ENOENT | Errno::EINVAL) => {
                self.entries.pop();
                self.seen.pop();
            }
            Err(cause) => self.unreadable(number, Unreadable::Io(cause)),
        }
        Ok(())
    }

    /// Looks for extended attributes of an entry. Where they cannot be read nobody gets any
    /// of it, since what is to be kept from somebody may be among them: false then.
    pub fn add_xattrs(&mut self, number: u32, of: Result<Xattrs, Errno>) -> bool {
        match self.read_xattrs(number, of) {
            Ok(()) => true,
            Err(cause) => {
                self.unreadable(number, Unreadable::Xattrs(cause));
                false
            }
        }
    }

    /// What is gone by now has none; that it is gone shows elsewhere.
    pub fn read_xattrs(&mut self, number: u32, of: Result<Xattrs, Errno>) -> Result<(), Errno> {
        let set = of.and_then(|of| xattrs::read(&of))?;
        self.entries[number as usize].xattrs = self.xattrs.number(set);
        Ok(())
    }

    /// Takes over what the file system says of an entry now.
    pub fn refresh(&mut self, number: u32, status: &Status) {
        self.seen[number as usize] = Seen::of(status);
        self.set_attributes(number, status);
        let entry = &mut self.entries[number as usize];
        if entry.kind == EntryKind::File {
            entry.size = status.size;
        }
    }

    fn set_attributes(&mut self, number: u32, status: &Status) {
        let entry = &mut self.entries[number as usize];
        entry.mode = status.permissions();
        (entry.uid, entry.gid) = (status.uid, status.gid);
        (entry.mtime_s, entry.mtime_ns) = (status.mtime_s, status.mtime_ns);
    }

    /// A directory that cannot be listed. Without its root a tree is nothing.
    fn unlistable(&mut self, dir: u32, cause: Errno) -> Result<WalkPhase, ScanError> {
        if dir == 0 || fatal(cause) {
            return Err(self.failed(dir, cause));
        }
        self.unreadable(dir, Unreadable::Io(cause));
        Ok(WalkPhase::Next(dir + 1))
    }

    /// The other names of the file whose first name this is, which it is not
    /// any more.
    pub fn take_other_names(&mut self, first: u32) -> Vec<u32> {
        self.others.remove(&first).unwrap_or_default()
    }

    /// Makes one name the first of a file, and the others its.
    pub fn set_first_name(&mut self, first: u32, size: u64, others: &[u32]) {
        self.entries[first as usize].kind = EntryKind::File;
        self.entries[first as usize].size = size;
        for &other in others {
            self.entries[other as usize].kind = EntryKind::Hardlink(first);
        }
        if !others.is_empty() {
            self.others.insert(first, others.into());
        }
    }

    /// Marks an entry whose contents nobody gets, and says why.
    pub fn unreadable(&mut self, number: u32, why: Unreadable) {
        self.set_aside(number, EntryKind::Unreadable);
        self.note_entry(number, NoteReason::Unreadable(why));
    }

    fn set_aside(&mut self, number: u32, kind: EntryKind) {
        let entry = &mut self.entries[number as usize];
        entry.kind = kind;
        entry.mode |= self.seen[number as usize].type_bits;
        (entry.size, entry.sparse, entry.xattrs) = (0, false, 0);
    }

    pub fn note_entry(&mut self, number: u32, reason: NoteReason) {
        let path = path(&self.entries, number);
        self.note(path, reason);
    }

    fn path_in(&self, dir: u32, name: &[u8]) -> Vec<u8> {
        let mut path = path(&self.entries, dir);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    pub fn failed(&self, number: u32, cause: Errno) -> ScanError {
        let below = path(&self.entries, number);
        ScanError::Io { path: name::full_path(&self.root.path, &below), cause }
    }
}

/// Errors that are no property of one file.
pub fn fatal(cause: Errno) -> bool {
    matches!(cause, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)
}

fn depth(entries: &[Entry], entry: u32) -> u32 {
    let (mut at, mut depth) = (entry, 0);
    while at != 0 {
        at = entries[at as usize].parent;
        depth += 1;
    }
    depth
}

/// As `Manifest::path`, for entries that are no manifest yet.
fn path(entries: &[Entry], entry: u32) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    let mut at = entry;
    while at != 0 {
        names.push(&entries[at as usize].name);
        at = entries[at as usize].parent;
    }
    names.reverse();
    names.join(&b'/')
}
