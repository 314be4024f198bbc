//! A directory as the destination of a fetch: a `Dest` and its `DestWriter`, with what the
//! fetch of a client asks beyond them, that all is on the medium, and of who only serves that
//! little is to be held aside.

use super::dest::Dest;
use super::destination::{
    CheckStep, Destination, FinishStep, OpenError, Opened, StoreFailure, Writer,
};
use super::error::DestError;
use super::writer::{DestOptions, DestWriter, Purpose};
use crate::os::landlock::May;
use crate::os::memory;
use crate::os::sync::{self, Syncing};
use peer::content::manifest::Manifest;
use peer::content::pieces::{Extent, PieceMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A directory to fetch into.
pub struct Directory {
    dest: Dest,
    /// Whether it is to be on the medium, too.
    sync: bool,
}

/// A generation on its way into it.
struct DirectoryWriter {
    writer: DestWriter,
    manifest: Rc<Manifest>,
    map: Rc<PieceMap>,
    purpose: Purpose,
    sync: Sync,
}

/// How far it is onto the medium.
enum Sync {
    /// It is not to be there, or is.
    Over,
    Wanted,
    Waiting(Syncing),
    Failed(DestError),
}

impl Directory {
    /// Claims the directory if it is there; changes nothing.
    ///
    /// # Errors
    /// It is none, or another's.
    pub fn open(path: &Path, options: DestOptions, sync: bool) -> Result<Directory, DestError> {
        Ok(Directory { dest: Dest::open(path, options)?, sync })
    }

    fn purpose(&self) -> Purpose {
        self.dest.policy().purpose
    }
}

impl Destination for Directory {
    fn begin(
        &mut self,
        manifest: Rc<Manifest>,
        map: Rc<PieceMap>,
    ) -> Result<Box<dyn Writer>, DestError> {
        let writer = self.dest.begin(manifest.clone(), map.clone())?;
        // What is only looked at is on no medium.
        let sync = if self.sync && !self.compares() { Sync::Wanted } else { Sync::Over };
        Ok(Box::new(DirectoryWriter { writer, manifest, map, purpose: self.purpose(), sync }))
    }

    fn release(&self) {
        self.dest.release();
    }

    fn opens(&self) -> Vec<(PathBuf, May)> {
        let may = if self.purpose().writes() { May::Change } else { May::Read };
        let copies = self.dest.policy().copies.iter().map(|path| (path.clone(), May::Read));
        copies.chain([(self.dest.place(), may)]).collect()
    }

    fn compares(&self) -> bool {
        self.purpose().compares()
    }

    fn serves_alone(&self) -> bool {
        self.purpose() == Purpose::Serve
    }
}

impl DirectoryWriter {
    /// Who only serves holds what differs aside, in memory: that must be little.
    fn check_aside(&self, found: &[u32]) -> Result<(), DestError> {
        if self.purpose != Purpose::Serve {
            return Ok(());
        }
        let len = |piece| -> u64 {
            self.map.extents(&self.manifest, piece).map(|extent| u64::from(extent.len)).sum()
        };
        let found_bytes: u64 = found.iter().map(|&piece| len(piece)).sum();
        let (first, end) = (self.map.manifest_pieces().count(), self.map.count());
        let all_bytes = (first..end).map(len).sum::<u64>();
        let most_bytes = (all_bytes / 4).min(memory::available() / 8);
        let aside_bytes = all_bytes - found_bytes;
        let path = || self.writer.base().into();
        match aside_bytes > most_bytes {
            true => Err(DestError::TooLittle { path: path(), aside_bytes, most_bytes }),
            false => Ok(()),
        }
    }

    fn begin_sync(&self) -> Sync {
        match sync::begin(&self.writer.file_systems()) {
            Ok(syncing) => Sync::Waiting(syncing),
            Err(cause) => Sync::Failed(self.writer.failed(SYNC, cause)),
        }
    }
}

/// What is done in an `Io` when it is to be on the medium.
const SYNC: &str = "sync to the disk";

impl Writer for DirectoryWriter {
    fn check_step(&mut self, budget_bytes: u64) -> Result<CheckStep, DestError> {
        let step = self.writer.check_step(budget_bytes)?;
        if let CheckStep::Done { found } = &step {
            self.check_aside(found)?;
        }
        Ok(step)
    }

    fn store(&mut self, extents: &[Extent], bytes: &[u8]) -> Result<(), StoreFailure> {
        self.writer.store(extents, bytes)
    }

    fn finish_step(&mut self, budget_bytes: u64) -> FinishStep {
        self.sync = match std::mem::replace(&mut self.sync, Sync::Over) {
            Sync::Waiting(syncing) => match syncing.end() {
                Ok(()) => Sync::Over,
                Err(cause) => Sync::Failed(self.writer.failed(SYNC, cause)),
            },
            sync if self.writer.finish_step(budget_bytes) == FinishStep::Finishing => {
                self.sync = sync;
                return FinishStep::Finishing;
            }
            Sync::Wanted => self.begin_sync(),
            sync => sync,
        };
        match self.sync {
            Sync::Waiting(_) => FinishStep::Finishing,
            _ => FinishStep::Done,
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(&self.sync, Sync::Waiting(syncing) if !syncing.has_ended())
    }

    fn is_whole(&self, entry: u32) -> bool {
        self.writer.is_whole(entry)
    }

    fn open(&mut self, entry: u32, offset: u64) -> Result<Opened, OpenError> {
        if let Some((file, start)) = self.writer.aside(entry, offset) {
            // The piece before it or behind may be elsewhere.
            return Ok(Opened { file, start, is_sure: false });
        }
        // What we did not put there may have changed since it was looked at.
        let is_ours = self.purpose != Purpose::Serve;
        match self.writer.file(entry) {
            Ok((file, is_same)) => Ok(Opened { file, start: 0, is_sure: is_ours && is_same }),
            Err(_) if self.writer.has_name(entry) => Err(OpenError::Changed),
            Err(error) => Err(OpenError::Failed(error)),
        }
    }

    fn failures(&self) -> Vec<DestError> {
        let failures = self.writer.failures().iter().map(|failed| failed.error.clone());
        let unsynced = match &self.sync {
            Sync::Failed(error) => Some(error.clone()),
            _ => None,
        };
        failures.chain(unsynced).collect()
    }

    fn take_changes(&mut self) -> String {
        self.writer.take_changes()
    }

    fn take_notes(&mut self) -> Vec<String> {
        self.writer.take_notes()
    }
}
