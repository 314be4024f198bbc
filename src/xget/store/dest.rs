//! Where a client puts things: a directory and its lock.
//!
//! A `Dest` is the claim on a directory; `begin` starts to put one generation
//! into it and gives a `DestWriter`, which does the work. Nothing is created
//! before that, not even the directory.

use super::attributes::MODE_IN_PART;
use super::error::DestError;
use super::name;
use super::writer::{DestOptions, DestWriter};
use crate::os::file;
use nix::errno::Errno;
use peer::content::manifest::{EntryKind, Manifest};
use peer::content::pieces::PieceMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

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
    pub fn begin(
        &mut self,
        manifest: Rc<Manifest>,
        map: Rc<PieceMap>,
    ) -> Result<DestWriter, DestError> {
        if self.options.sha256.is_some() {
            let files = manifest.entries.iter().filter(|e| e.kind == EntryKind::File).count();
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
        Ok(DestWriter::new(self.path.clone(), self.options.clone(), root, made, manifest, map))
    }

    /// False when somebody else has made it meanwhile.
    fn make(&self) -> Result<bool, DestError> {
        match file::make_dirs(&self.path, 0o700) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(cause) => Err(self.failed("make the directory", cause)),
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

#[cfg(test)]
mod tests;
