//! Where a client puts things: a directory, its lock, and what can go wrong.
//!
//! A `Dest` is the claim on a directory; `begin` starts to put one generation
//! into it and gives a `Filling`, which does the work. Nothing is created
//! before that, not even the directory.

use super::attributes::MODE_IN_PART;
use super::filling::Filling;
use super::name;
use crate::os::file;
use crate::spread::index::{Index, Kind};
use crate::spread::pieces::PieceMap;
use nix::errno::Errno;
use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

#[derive(Clone, Debug, Default)]
pub struct DestOptions {
    /// Files and directories get the modes of the index; else those that any
    /// new ones get.
    pub keep_modes: bool,
    /// And the owners, which takes root.
    pub keep_owners: bool,
    /// What the only file must have before it gets its name.
    pub sha256: Option<[u8; 32]>,
}

/// What went wrong, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestError {
    /// Another process has the lock.
    Busy(PathBuf),
    NotADirectory(PathBuf),
    /// A SHA-256 is wanted of a source that is not one file but so many.
    PinOfMany(usize),
    NoRoom {
        path: PathBuf,
        needed_bytes: u64,
        free_bytes: u64,
    },
    NoFilesLeft {
        path: PathBuf,
        needed: u64,
        free: u64,
    },
    Io {
        doing: &'static str,
        path: PathBuf,
        cause: Errno,
    },
    /// A directory where something else must go.
    DirInTheWay(PathBuf),
    /// Something else, perhaps a symlink, where a directory must go.
    NotDirInTheWay(PathBuf),
    /// The directory that would hold it could not be made.
    NoDirAbove(PathBuf),
    /// The file that it is another name of is not there.
    NoLinkTarget(PathBuf),
    /// The name is one of our temporary files'.
    ReservedName(PathBuf),
    WrongSha256 {
        path: PathBuf,
        wanted: [u8; 32],
        found: [u8; 32],
    },
}

/// A directory to fetch into, and for this process alone.
pub struct Dest {
    path: PathBuf,
    options: DestOptions,
    /// Open and locked, once it exists.
    root: Option<Rc<OwnedFd>>,
}

impl Dest {
    /// Claims the directory if it is there; changes nothing.
    pub fn open(path: &Path, options: DestOptions) -> Result<Dest, DestError> {
        let mut dest = Dest { path: path.into(), options, root: None };
        match file::stat_path(path) {
            Ok(status) if status.is_dir() => dest.root = Some(dest.claim()?),
            Ok(_) => return Err(DestError::NotADirectory(path.into())),
            Err(Errno::ENOENT) => {}
            Err(cause) => return Err(dest.failed("look at", cause)),
        }
        Ok(dest)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts to put a generation here. Makes the directory if it is not there.
    pub fn begin(&mut self, index: Rc<Index>, map: Rc<PieceMap>) -> Result<Filling, DestError> {
        if self.options.sha256.is_some() {
            let files = index.entries.iter().filter(|e| e.kind == Kind::File).count();
            if files != 1 {
                return Err(DestError::PinOfMany(files));
            }
        }
        let mut made = false;
        let root = match &self.root {
            Some(root) => root.clone(),
            None => {
                made = self.make()?;
                self.claim()?
            }
        };
        if made {
            let mark = file::create_file_at(&root, name::ROOT_MADE, MODE_IN_PART);
            mark.map_err(|cause| self.failed("write into", cause))?;
        }
        self.root = Some(root.clone());
        Ok(Filling::new(self.path.clone(), self.options.clone(), root, made, index, map))
    }

    /// False when somebody else has made it meanwhile.
    fn make(&self) -> Result<bool, DestError> {
        let failed = |error: io::Error| self.failed("make the directory", file::errno(&error));
        if let Some(parent) = self.path.parent().filter(|p| !p.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).create(parent).map_err(failed)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            done => done.map(|()| true).map_err(failed),
        }
    }

    fn claim(&self) -> Result<Rc<OwnedFd>, DestError> {
        let root = file::open_dir(&self.path).map_err(|cause| self.failed("open", cause))?;
        if file::lock(&root) { Ok(Rc::new(root)) } else { Err(DestError::Busy(self.path.clone())) }
    }

    fn failed(&self, doing: &'static str, cause: Errno) -> DestError {
        DestError::Io { doing, path: self.path.clone(), cause }
    }
}

impl DestError {
    /// The medium and not one file is what failed: going on is of little use.
    pub fn ends_all(&self) -> bool {
        match self {
            DestError::Io { cause, .. } => matches!(
                cause,
                Errno::ENOSPC | Errno::EDQUOT | Errno::EIO | Errno::EROFS | Errno::ENOMEM
            ),
            DestError::Busy(_)
            | DestError::NotADirectory(_)
            | DestError::PinOfMany(_)
            | DestError::NoRoom { .. }
            | DestError::NoFilesLeft { .. }
            | DestError::WrongSha256 { .. } => true,
            DestError::DirInTheWay(_)
            | DestError::NotDirInTheWay(_)
            | DestError::NoDirAbove(_)
            | DestError::NoLinkTarget(_)
            | DestError::ReservedName(_) => false,
        }
    }
}

impl fmt::Display for DestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DestError::Busy(path) => write!(f, "another xget is fetching into {path:?}"),
            DestError::NotADirectory(path) => {
                write!(f, "cannot fetch into {path:?}: it is not a directory")
            }
            DestError::PinOfMany(files) => {
                write!(f, "a sha256 digest is of one file, but the source has {files} files")
            }
            DestError::NoRoom { path, needed_bytes, free_bytes } => write!(
                f,
                "not enough room in {path:?}: {needed_bytes} bytes are needed, \
                 {free_bytes} bytes are free"
            ),
            DestError::NoFilesLeft { path, needed, free } => {
                write!(f, "the file system of {path:?} can hold {free} more files, not {needed}")
            }
            DestError::Io { doing, path, cause } => {
                write!(f, "cannot {doing} {path:?}: {}", io::Error::from(*cause))
            }
            DestError::DirInTheWay(path) => {
                write!(f, "cannot put {path:?} in place: a directory is in the way")
            }
            DestError::NotDirInTheWay(path) => write!(
                f,
                "cannot make the directory {path:?}: what has its name is not a directory"
            ),
            DestError::NoDirAbove(path) => {
                write!(f, "cannot make {path:?}: there is no directory for it")
            }
            DestError::NoLinkTarget(path) => {
                write!(f, "cannot make {path:?}: the file that it is another name of is not there")
            }
            DestError::ReservedName(path) => {
                write!(f, "will not make {path:?}: the name is one of xget's temporary files'")
            }
            DestError::WrongSha256 { path, wanted, found } => {
                write!(f, "{path:?} has sha256:")?;
                found.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, " and not the wanted sha256:")?;
                wanted.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, "; it is not put in place")
            }
        }
    }
}

impl std::error::Error for DestError {}

/// The path of an entry as the operator knows it.
pub fn path_of(base: &Path, index: &Index, entry: u32) -> PathBuf {
    name::full_path(base, &index.path(entry))
}

#[cfg(test)]
mod tests;
