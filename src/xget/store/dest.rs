//! Where a client puts things: a directory and its lock.
//!
//! A `Dest` is the claim on a directory; `begin` starts to put one generation
//! into it and gives a `DestWriter`, which does the work. Nothing is created
//! before that, not even the directory.

use super::attributes::MODE_IN_PART;
use super::error::DestError;
use super::name;
use super::writer::{DestOptions, DestWriter, Policy};
use crate::os::file;
use nix::errno::Errno;
use peer::content::manifest::{EntryKind, Manifest};
use peer::content::pieces::PieceMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where devices are, and what is in memory there on purpose.
pub const DEV: &str = "/dev";
const SHM: &str = "/dev/shm";

/// A directory to fetch into, and for this process alone.
pub struct Dest {
    path: PathBuf,
    options: DestOptions,
    /// Open and locked, once it exists.
    root: Option<Rc<OwnedFd>>,
    /// The one with pieces of use, once it was opened.
    copies: Option<Rc<OwnedFd>>,
}

impl Dest {
    /// Claims the directory if it is there; changes nothing.
    pub fn open(path: &Path, options: DestOptions) -> Result<Dest, DestError> {
        let mut dest = Dest { path: path.into(), options, root: None, copies: None };
        match file::stat_path(path) {
            Ok(status) if status.is_dir() => dest.root = Some(dest.claim()?),
            Ok(_) => return Err(DestError::NotADirectory(path.into())),
            Err(Errno::ENOENT) if !is_missing_device(path) => {}
            Err(cause) => return Err(dest.failed("look at", cause)),
        }
        Ok(dest)
    }

    /// The directory, or what is above it and is there.
    pub fn place(&self) -> PathBuf {
        let mut above = self.path.ancestors();
        let place = above.find(|path| file::stat_path(path).is_ok());
        // That of a relative path is the current directory.
        place.unwrap_or(Path::new(".")).into()
    }

    pub fn policy(&self) -> &Policy {
        &self.options.policy
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
        self.guard(&manifest)?;
        let open = |path: &PathBuf| {
            let opened = file::open_dir(path).map(Rc::new);
            opened.map_err(|cause| DestError::Io { doing: "open", path: path.clone(), cause })
        };
        if self.copies.is_none() {
            self.copies = self.options.policy.copies.as_ref().map(open).transpose()?;
        }
        let mut made = false;
        let root = match &self.root {
            Some(root) => root.clone(),
            None if !self.options.policy.purpose.writes() => {
                return Err(self.failed("look at", Errno::ENOENT));
            }
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
        let (path, options) = (self.path.clone(), self.options.clone());
        Ok(DestWriter::new(path, options, (root, made), self.copies.clone(), manifest, map))
    }

    /// A running system is not to be replaced by something that is none: from a wrong
    /// source all of it would go.
    fn guard(&self, manifest: &Manifest) -> Result<(), DestError> {
        let place = |path| file::stat_path(path).ok().map(|status| (status.dev, status.ino));
        let is_root = || place(&self.path).is_some_and(|own| place(Path::new("/")) == Some(own));
        let has_dir = |name: &&[u8]| {
            let found = manifest.child(0, name);
            found.is_some_and(|found| manifest.entries[found as usize].kind == EntryKind::Dir)
        };
        let is_system = [b"etc".as_slice(), b"usr"].iter().all(has_dir);
        if self.options.policy.purpose.removes() && !is_system && is_root() {
            return Err(DestError::NoSystem(self.path.clone()));
        }
        Ok(())
    }

    /// Gives up the claim; what is open stays so.
    pub fn release(&self) {
        if let Some(root) = &self.root {
            file::unlock(root);
        }
    }

    /// Makes the directory, and those above it that are not there. False when
    /// somebody else has made it meanwhile.
    fn make(&self) -> Result<bool, DestError> {
        let failed = |cause| self.failed("make the directory", cause);
        let mut made = file::make_dir(&self.path, 0o700);
        if made == Err(Errno::ENOENT)
            && let Some(above) = self.path.parent()
        {
            file::make_dirs(above).map_err(|error| failed(file::errno(&error)))?;
            made = file::make_dir(&self.path, 0o700);
        }
        match made {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(cause) => Err(failed(cause)),
        }
    }

    fn claim(&self) -> Result<Rc<OwnedFd>, DestError> {
        let root = file::open_dir(&self.path).map_err(|cause| self.failed("open", cause))?;
        // Who only looks and serves is in nobody's way.
        let locks = self.options.policy.purpose.writes();
        if !locks || file::lock(&root) {
            Ok(Rc::new(root))
        } else {
            Err(DestError::Busy(self.path.clone()))
        }
    }

    fn failed(&self, doing: &'static str, cause: Errno) -> DestError {
        DestError::Io { doing, path: self.path.clone(), cause }
    }
}

/// A path that is not there, among the devices by the names above it: it would be a directory in
/// memory, and the disk that was meant would have nothing. Asked of what is not there.
pub fn is_missing_device(path: &Path) -> bool {
    let is = |above: &Path, other: &str| {
        let place = |path| file::stat_path(path).ok().map(|status| (status.dev, status.ino));
        let above = place(above);
        above.is_some() && above == place(other.as_ref())
    };
    for above in path.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        if is(above, SHM) {
            return false;
        }
        if is(above, DEV) {
            return true;
        }
    }
    false
}
