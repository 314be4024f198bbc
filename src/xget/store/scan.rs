//! Makes a served tree of a path: lists its tree, then hashes its files, in slices.
//!
//! The same tree gives the same manifest, byte for byte: names are sorted, and
//! nothing of when or where goes into it. A file that changes while it is
//! hashed is hashed again; nothing that is wrong with one file ends the scan.

use super::cache::{DigestCache, FileKey, KnownFile};
use super::cost::FILE_COST_BYTES;
use super::error::{CacheTrouble, NoteReason, ScanError, Unreadable};
use super::hash::Hashing;
use super::reader::Reader;
use super::served::ServedTree;
use super::served_root::{KEEPS_CHANGING, Seen, ServedRoot};
use super::walk::{Walk, fatal};
use crate::os::clock;
use crate::os::file::{self, Status};
use crate::os::xattr::Xattrs;
use nix::errno::Errno;
use peer::content::digest::Digest;
use peer::content::manifest::{Entry, EntryKind, Manifest, PIECE_LEN};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How often a file is hashed that changes while it is.
const HASH_TRIES: u32 = 3;

#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    pub one_file_system: bool,
    /// Where digests are kept between runs.
    pub cache: Option<PathBuf>,
}

/// How far a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanStep {
    Walking,
    Hashing { done_bytes: u64, total_bytes: u64 },
    Done,
}

/// A scan on its way.
pub struct Scan {
    walk: Walk,
    reader: Reader,
    cache: Option<DigestCache>,
    /// Extended attributes can be read of what is not open.
    names_have_xattrs: bool,
    phase: ScanPhase,
    lists: Vec<Digest>,
    /// Entries that turned out to be gone.
    gone: Vec<bool>,
    done_bytes: u64,
    total_bytes: u64,
}

enum ScanPhase {
    Walk,
    /// The next entry to hash.
    Hash(u32),
    File(CurrentFile),
    Done,
}

/// The file that is being hashed.
struct CurrentFile {
    entry: u32,
    hashing: Hashing,
    before: Status,
    try_number: u32,
}

impl Scan {
    pub fn new(path: &Path, options: ScanOptions) -> Result<Scan, ScanError> {
        let mut scan = Scan::of(Rc::new(ServedRoot::open(path, options.one_file_system)?))?;
        if let Some(path) = options.cache {
            let (cache, trouble) = DigestCache::load(&path, PIECE_LEN);
            scan.cache = Some(cache);
            if let Some(reason) = trouble {
                scan.note(&path, NoteReason::CacheUnused(reason));
            }
        }
        Ok(scan)
    }

    /// Of what is open already, with no digests that were kept.
    pub(super) fn of(root: Rc<ServedRoot>) -> Result<Scan, ScanError> {
        Ok(Scan {
            walk: Walk::new(root)?,
            reader: Reader::default(),
            cache: None,
            names_have_xattrs: Xattrs::have_names(),
            phase: ScanPhase::Walk,
            lists: Vec::new(),
            gone: Vec::new(),
            done_bytes: 0,
            total_bytes: 0,
        })
    }

    /// How many were found so far.
    pub(super) fn entries_count(&self) -> usize {
        self.walk.entries.len()
    }

    /// Works until about `budget_bytes` are hashed; to be called until `Done`.
    pub fn step(&mut self, budget_bytes: u64) -> Result<ScanStep, ScanError> {
        let mut left = budget_bytes.max(1);
        while left > 0 {
            let cost = match &mut self.phase {
                ScanPhase::Done => return Ok(ScanStep::Done),
                ScanPhase::Walk => {
                    if !self.walk.step()? {
                        self.end_walk();
                    }
                    return Ok(ScanStep::Walking);
                }
                ScanPhase::Hash(entry) if *entry as usize == self.walk.entries.len() => {
                    self.end_hash();
                    return Ok(ScanStep::Done);
                }
                ScanPhase::Hash(entry) => {
                    let entry = *entry;
                    self.begin_file(entry)?
                }
                ScanPhase::File(_) => self.hash_some()?,
            };
            left = left.saturating_sub(cost);
        }
        Ok(ScanStep::Hashing { done_bytes: self.done_bytes, total_bytes: self.total_bytes })
    }

    /// The served tree; does first what is left to do, however long it takes.
    pub fn finish(mut self) -> Result<ServedTree, ScanError> {
        while self.step(u64::MAX)? != ScanStep::Done {}
        let mut manifest = Manifest {
            piece_len: PIECE_LEN,
            root_described: self.walk.root.single.is_none(),
            entries: self.walk.entries,
            lists: self.lists,
            xattrs: Vec::new(),
        };
        manifest.take_xattrs(&self.walk.xattrs.sets());
        let notes = (self.walk.notes, self.walk.notes_left_out);
        Ok(ServedTree::new(self.walk.root, self.walk.dirs, manifest, self.walk.seen, notes))
    }

    /// Of the digest cache.
    fn note(&mut self, path: &Path, reason: NoteReason) {
        self.walk.note(path.as_os_str().as_encoded_bytes().to_vec(), reason);
    }

    fn end_walk(&mut self) {
        self.gone = vec![false; self.walk.entries.len()];
        for dir in std::mem::take(&mut self.walk.gone) {
            self.gone[dir as usize] = true;
        }
        self.total_bytes = self.walk.entries.iter().map(|e| e.size).sum();
        self.refuse_cache_in_tree();
        let is_never_open = |entry: &Entry| entry.kind == EntryKind::Symlink || entry.is_special();
        if !self.names_have_xattrs && self.walk.entries.iter().any(is_never_open) {
            self.note(Path::new("/proc"), NoteReason::NoProc);
        }
        self.phase = ScanPhase::Hash(0);
    }

    /// A cache inside the tree would change the tree by being written.
    fn refuse_cache_in_tree(&mut self) {
        let Some(path) = self.cache.as_ref().map(|cache| cache.path().to_path_buf()) else {
            return;
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let Ok(status) = file::stat_path(parent) else { return };
        let inside = self.walk.entries.iter().zip(&self.walk.seen).any(|(entry, seen)| {
            entry.kind == EntryKind::Dir && (seen.dev, seen.ino) == (status.dev, status.ino)
        });
        if inside {
            self.cache = None;
            self.note(&path, NoteReason::CacheUnused(CacheTrouble::InsideTree));
        }
    }

    /// Begins with the next entry, or passes over it.
    fn begin_file(&mut self, number: u32) -> Result<u64, ScanError> {
        self.phase = ScanPhase::Hash(number + 1);
        if self.walk.entries[number as usize].kind != EntryKind::File {
            return Ok(FILE_COST_BYTES / 64);
        }
        if self.use_cache(number) {
            return Ok(FILE_COST_BYTES / 4);
        }
        self.open_file(number, 1)?;
        Ok(FILE_COST_BYTES)
    }

    fn use_cache(&mut self, number: u32) -> bool {
        let entry = &mut self.walk.entries[number as usize];
        let seen = &self.walk.seen[number as usize];
        let key = FileKey::new(seen, entry.size, entry.mtime_s, entry.mtime_ns);
        let Some(known) = self.cache.as_mut().and_then(|cache| cache.get(&key)) else {
            return false;
        };
        entry.digest = known.digest;
        entry.sparse = known.sparse;
        let (size, sparse, is_bare) = (entry.size, known.sparse, known.is_bare);
        let list = known.list.clone();
        if !is_bare && !self.find_xattrs(number) {
            // It is opened, and then it shows why they cannot be read.
            return false;
        }
        // Others than root do not see all of them.
        let was_bare = self.walk.entries[number as usize].xattrs == 0 && !sparse && file::is_root();
        if let (false, true, Some(cache)) = (is_bare, was_bare, &mut self.cache) {
            cache.note_bare(&key);
        }
        self.lists.extend_from_slice(&list);
        self.done_bytes += size;
        true
    }

    /// Reads the extended attributes of what has a file's name, which has to be opened where
    /// there is no /proc. If that is another file by now, it is seen here or later.
    fn find_xattrs(&mut self, number: u32) -> bool {
        let read = self.parent(number).and_then(|dir| {
            let name = self.walk.root.name(&self.walk.entries[number as usize]);
            if self.names_have_xattrs {
                let of = Xattrs::at(&dir, name);
                return self.walk.read_xattrs(number, of);
            }
            let file = file::open_file_at(&dir, name)?;
            if Seen::of(&file::stat_file(&file)?) != self.walk.seen[number as usize] {
                return Err(Errno::ESTALE);
            }
            self.walk.read_xattrs(number, Ok(Xattrs::of(file.as_fd())))
        });
        read.is_ok()
    }

    /// The directory that holds an entry.
    fn parent(&mut self, number: u32) -> Result<Rc<OwnedFd>, Errno> {
        let walk = &mut self.walk;
        let parent = walk.entries[number as usize].parent;
        walk.dirs.get(&walk.entries, parent).map_err(|error| error.cause)
    }

    fn open_file(&mut self, number: u32, try_number: u32) -> Result<(), ScanError> {
        let dir = self.parent(number);
        let opened = dir.and_then(|dir| {
            file::open_file_at(&dir, self.walk.root.name(&self.walk.entries[number as usize]))
        });
        let looked = opened.and_then(|file| Ok((file::stat_file(&file)?, file)));
        match looked {
            Ok((before, _)) if !before.is_file() => self.give_up(number, Unreadable::NoFile),
            Ok((before, file)) => {
                self.total_bytes -= self.walk.entries[number as usize].size;
                self.total_bytes += before.size;
                self.walk.refresh(number, &before);
                let sparse =
                    before.allocated_bytes < before.size && file::has_hole(&file, before.size);
                self.walk.entries[number as usize].sparse = sparse;
                let of = Xattrs::of(file.as_fd());
                if let Err(cause) = self.walk.read_xattrs(number, Ok(of)) {
                    self.give_up(number, Unreadable::Xattrs(cause));
                    return Ok(());
                }
                let hashing = Hashing::new(file, before.size, PIECE_LEN, sparse);
                self.phase =
                    ScanPhase::File(CurrentFile { entry: number, hashing, before, try_number });
            }
            Err(Errno::ENOENT) => self.vanish(number),
            Err(Errno::ELOOP) => self.give_up(number, Unreadable::Symlink),
            Err(cause) if fatal(cause) => return Err(self.walk.failed(number, cause)),
            Err(cause) => self.give_up(number, Unreadable::Io(cause)),
        }
        Ok(())
    }

    fn hash_some(&mut self) -> Result<u64, ScanError> {
        let ScanPhase::File(open) = &mut self.phase else { return Ok(0) };
        if open.hashing.is_whole() {
            self.end_file()?;
            return Ok(0);
        }
        match open.hashing.step(&mut self.reader) {
            Ok(bytes) => {
                self.done_bytes += bytes;
                Ok(bytes)
            }
            // Shorter than it was: the look at its end says so, too.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.again()?;
                Ok(FILE_COST_BYTES)
            }
            Err(error) => {
                let number = open.entry;
                self.done_bytes -= open.hashing.offset();
                self.give_up(number, Unreadable::Io(file::errno(&error)));
                Ok(FILE_COST_BYTES)
            }
        }
    }

    fn end_file(&mut self) -> Result<(), ScanError> {
        let ScanPhase::File(open) = &self.phase else { return Ok(()) };
        let after = file::stat_file(&open.hashing.file);
        if !after.is_ok_and(|after| same_contents(&open.before, &after)) {
            return self.again();
        }
        let next = ScanPhase::Hash(open.entry + 1);
        let ScanPhase::File(open) = std::mem::replace(&mut self.phase, next) else { return Ok(()) };
        let hashed = open.hashing.finish();
        let entry = &mut self.walk.entries[open.entry as usize];
        entry.digest = hashed.digest;
        self.lists.extend_from_slice(&hashed.list);
        if let Some(cache) = &mut self.cache {
            let (digest, sparse, list) = (hashed.digest, entry.sparse, hashed.list.into());
            // Others than root do not see all of them.
            let is_bare = entry.xattrs == 0 && !sparse && file::is_root();
            let known = KnownFile { digest, sparse, is_bare, list, used: true };
            cache.put(FileKey::of(&open.before), known, clock::now_s());
        }
        Ok(())
    }

    /// The file changed while it was hashed.
    fn again(&mut self) -> Result<(), ScanError> {
        let ScanPhase::File(open) = &self.phase else { return Ok(()) };
        let (number, try_number) = (open.entry, open.try_number);
        self.done_bytes -= open.hashing.offset();
        self.phase = ScanPhase::Hash(number + 1);
        if try_number < HASH_TRIES {
            return self.open_file(number, try_number + 1);
        }
        self.walk.seen[number as usize].ctime_ns = KEEPS_CHANGING;
        self.give_up(number, Unreadable::KeepsChanging);
        Ok(())
    }

    /// Its other names are of the same file, and as unreadable.
    fn give_up(&mut self, number: u32, why: Unreadable) {
        self.phase = ScanPhase::Hash(number + 1);
        self.total_bytes -= self.walk.entries[number as usize].size;
        self.walk.unreadable(number, why);
        for other in self.walk.take_other_names(number) {
            self.walk.unreadable(other, why);
        }
    }

    /// A name that is gone leaves the manifest; the file may have others.
    fn vanish(&mut self, number: u32) {
        self.phase = ScanPhase::Hash(number + 1);
        self.gone[number as usize] = true;
        let size = self.walk.entries[number as usize].size;
        match self.walk.take_other_names(number).split_first() {
            Some((&first, others)) => self.walk.set_first_name(first, size, others),
            None => self.total_bytes -= size,
        }
    }

    fn end_hash(&mut self) {
        self.phase = ScanPhase::Done;
        self.remove_gone();
        let saved = self.cache.as_mut().map(|cache| (cache.save(), cache.path().to_path_buf()));
        if let Some((Err(error), path)) = saved {
            self.note(&path, NoteReason::CacheUnwritten(file::errno(&error)));
        }
    }

    /// Closes the gaps of entries that are gone; what is below one is gone too.
    fn remove_gone(&mut self) {
        if !self.gone.contains(&true) {
            return;
        }
        let entries = std::mem::take(&mut self.walk.entries);
        let seen = std::mem::take(&mut self.walk.seen);
        let mut numbers = vec![0u32; entries.len()];
        for (old, (entry, seen)) in entries.into_iter().zip(seen).enumerate() {
            if self.gone[old] || self.gone[entry.parent as usize] {
                self.gone[old] = true;
                continue;
            }
            numbers[old] = self.walk.entries.len() as u32;
            let parent = numbers[entry.parent as usize];
            let kind = match entry.kind {
                EntryKind::Hardlink(file) => EntryKind::Hardlink(numbers[file as usize]),
                kind => kind,
            };
            self.walk.entries.push(Entry { parent, kind, ..entry });
            self.walk.seen.push(seen);
        }
        // Descriptors are kept by number, and the numbers are others now.
        self.walk.dirs = super::dirs::Dirs::new(self.walk.root.fd.clone());
    }
}

/// Nothing says that a file has changed between two looks at it.
pub fn same_contents(before: &Status, now: &Status) -> bool {
    (before.dev, before.ino, before.size) == (now.dev, now.ino, now.size)
        && (before.mtime_s, before.mtime_ns) == (now.mtime_s, now.mtime_ns)
        && (before.ctime_s, before.ctime_ns) == (now.ctime_s, now.ctime_ns)
}
