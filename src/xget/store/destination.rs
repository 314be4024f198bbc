//! What a fetch needs of where it goes: a tree below a directory, or whatever else takes
//! verified pieces and gives them back.
//!
//! A `Destination` is claimed and not touched; `begin` starts to put one generation there and
//! gives its `Writer`. Knows none of the kinds, and neither pieces nor peers.

use super::error::DestError;
use crate::os::landlock::May;
use peer::content::manifest::Manifest;
use peer::content::pieces::{Extent, PieceMap};
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::rc::Rc;

/// Where a fetch goes, for this process alone.
pub trait Destination {
    /// Starts to put a generation here.
    ///
    /// # Errors
    /// It cannot come here; nothing was written.
    fn begin(
        &mut self,
        manifest: Rc<Manifest>,
        map: Rc<PieceMap>,
    ) -> Result<Box<dyn Writer>, DestError>;

    /// Gives up the claim; what is open stays so.
    fn release(&self);

    /// What it opens by name from now on, for who is to open nothing else.
    fn opens(&self) -> Vec<(PathBuf, May)> {
        Vec::new()
    }

    /// It is only to be told how it differs.
    fn compares(&self) -> bool;

    /// Nothing in it is ours, and others change it.
    fn serves_alone(&self) -> bool;

    /// The same command goes on where this one was interrupted.
    fn is_resumed(&self) -> bool {
        true
    }

    /// What to know of what is left there, should the fetch fail now.
    fn remains(&self) -> Option<String> {
        None
    }
}

/// A generation on its way there: `check_step` until it is done, `store` once for every piece
/// that is missing, `finish_step` until it is done. Pieces that are here can be opened from the
/// check's end on.
pub trait Writer {
    /// Finds out what is here. Works until about `budget_bytes` are read.
    ///
    /// # Errors
    /// Nothing can be fetched; what concerns one entry is in `failures`.
    fn check_step(&mut self, budget_bytes: u64) -> Result<CheckStep, DestError>;

    /// Stores a piece that was verified, once. `extents` are those of the piece.
    ///
    /// # Errors
    /// Some of its files failed, now or before; the others are stored.
    fn store(&mut self, extents: &[Extent], bytes: &[u8]) -> Result<(), StoreFailure>;

    /// Does what is left when nothing is missing any more, or will not come. Works for about as
    /// long as reading `budget_bytes` takes. What fails is in `failures`.
    fn finish_step(&mut self, budget_bytes: u64) -> FinishStep;

    /// The step that is next waits for something outside, of which nothing tells but a look.
    fn is_waiting(&self) -> bool {
        false
    }

    /// Of what goes on to somebody in order: where to, and whether something is here for it.
    fn outlet(&self) -> Option<(BorrowedFd<'_>, bool)> {
        None
    }

    /// Hands over what is here and is taken now, or finds out that nobody is there any more.
    /// Gives the piece that is the next to be, if others were.
    ///
    /// # Errors
    /// It cannot go on.
    fn hand_over(&mut self, _is_broken: bool) -> Result<Option<u32>, DestError> {
        Ok(None)
    }

    /// Pieces below this number are opened no more.
    fn forget(&mut self, _below: u32) {}

    /// Whether all of a file is here, and verified.
    fn is_whole(&self, entry: u32) -> bool;

    /// What holds the piece of an entry that begins at this offset.
    ///
    /// # Errors
    /// It is not here, or not any more.
    fn open(&mut self, entry: u32, offset: u64) -> Result<Opened, OpenError>;

    /// What failed so far, in order of time.
    fn failures(&self) -> Vec<DestError>;

    /// What was changed, or would be, since this was asked last: lines.
    fn take_changes(&mut self) -> String {
        String::new()
    }

    /// What the operator should know that is no failure, since this was asked last.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// How far a check is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckStep {
    Checking,
    /// All is looked at. The pieces all of which is here, in rising order:
    /// given once.
    Done {
        found: Vec<u32>,
    },
}

/// Whether finishing has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishStep {
    Finishing,
    Done,
}

/// A piece is not here as a whole, because of files in it that failed: now, or
/// before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFailure {
    /// These files, in rising order. Of none of them any piece counts as here
    /// from now on, though some did before.
    pub entries: Vec<u32>,
    /// Why the latest of them failed.
    pub error: DestError,
}

/// An open file that holds some of an entry.
#[derive(Clone)]
pub struct Opened {
    pub file: Rc<File>,
    /// Where in it the entry's contents begin.
    pub start: u64,
    /// Nothing says that it is not what the manifest says. Else its bytes are compared
    /// with that before each reply.
    pub is_sure: bool,
}

/// Why nothing can be read of an entry.
#[derive(Debug)]
pub enum OpenError {
    /// It was put in place, and is there no more or is as long no more.
    Changed,
    /// It was here, and is kept no more.
    Passed,
    Failed(io::Error),
}
