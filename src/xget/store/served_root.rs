//! What is served: a directory, or one file in it; what identifies its entries,
//! and which names in it get none.
//!
//! The same rules hold for a scan and for the comparison that follows. Lists
//! nothing itself.

use super::error::{LeftOut, ScanError};
use super::name;
use crate::os::file::{self, Status};
use peer::content::manifest::{Entry, name_is_sound};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What identified an entry when it was looked at, besides what the manifest has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub dev: u64,
    pub ino: u64,
    pub ctime_s: i64,
    pub ctime_ns: u32,
    /// The entry's type bits; 0 of what could not be looked at.
    pub type_bits: u32,
}

/// In place of the nanoseconds of a ctime: of a file that changed each time that it was hashed.
pub const KEEPS_CHANGING: u32 = u32::MAX;

impl Seen {
    pub fn of(status: &Status) -> Seen {
        Seen {
            dev: status.dev,
            ino: status.ino,
            ctime_s: status.ctime_s,
            ctime_ns: status.ctime_ns,
            type_bits: status.mode & !0o7777,
        }
    }
}

/// The directory that is served, or that of the one file that is.
pub struct ServedRoot {
    /// Absolute, as given: what it leads to may change.
    pub path: PathBuf,
    pub fd: Rc<OwnedFd>,
    /// The file system that it is on.
    pub dev: u64,
    /// The name on disk when a single file is served.
    pub single: Option<Box<[u8]>>,
    pub one_file_system: bool,
}

impl ServedRoot {
    /// `path` may lead through symlinks, and be one.
    pub fn open(path: &Path, one_file_system: bool) -> Result<ServedRoot, ScanError> {
        let failed = |cause| ScanError::Io { path: path.into(), cause };
        let io_failed = |error: io::Error| failed(file::errno(&error));
        let absolute = std::path::absolute(path).map_err(io_failed)?;
        let real = path.canonicalize().map_err(io_failed)?;
        let status = file::stat_path(&real).map_err(failed)?;
        let mut dir = real.as_path();
        let mut single = None;
        if status.is_file() {
            let name = real.file_name().expect("a canonical path of a file ends in a name");
            single = Some(name.as_bytes().into());
            dir = real.parent().expect("the root directory is no file");
        } else if !status.is_dir() {
            return Err(ScanError::NotServable(path.into()));
        }
        let fd = Rc::new(file::open_dir(dir).map_err(failed)?);
        let dev = file::stat_dir(&fd).map_err(failed)?.dev;
        Ok(ServedRoot { path: absolute, fd, dev, single, one_file_system })
    }

    /// The name under which an entry stands on disk.
    pub fn name<'a>(&'a self, entry: &'a Entry) -> &'a [u8] {
        self.single.as_deref().unwrap_or(&entry.name)
    }
}

/// The directory of what is not served, in the root of what is.
pub fn is_own(dir: u32, name: &[u8], status: &Status) -> bool {
    dir == 0 && *name == *name::RESERVED && status.is_dir()
}

/// Why a name on disk gets no entry, whatever it stands for.
pub fn left_out_by_name(name: &[u8]) -> Option<LeftOut> {
    if !name_is_sound(name) {
        return Some(LeftOut::NameTooLong);
    }
    name::is_temporary(name).then_some(LeftOut::Temporary)
}

/// Why a name on disk gets no entry.
pub fn left_out(name: &[u8], status: &Status, root: &ServedRoot) -> Option<LeftOut> {
    if let Some(reason) = left_out_by_name(name) {
        return Some(reason);
    }
    // A directory stays, as an empty one: something may be mounted there again.
    let foreign = root.one_file_system && status.dev != root.dev && !status.is_dir();
    foreign.then_some(LeftOut::OtherFileSystem)
}
