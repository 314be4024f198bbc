//! The inputs and effects of a fetch.
//!
//! Knows what a driver reports and what it is asked to do, beside what concerns
//! connections (`conn.rs`). Refuses to know how either is done.

use crate::conn::ConnEvent;
use crate::failure::Failure;
use crate::namespace::{Content, GenerationId};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::server::ConnId;

/// What happened outside.
#[derive(Debug)]
pub enum FetchInput<'a> {
    /// On a connection.
    Conn(ConnEvent<'a>),
    /// What became of [`FetchEffect::Store`].
    Stored {
        /// As it was asked.
        conn: ConnId,
        /// As it was asked.
        piece: u32,
        /// What became of it.
        result: StoreResult,
    },
    /// A piece that was held is not what was stored any more: somebody else has changed it.
    Lost {
        /// Whose piece.
        generation: GenerationId,
        /// Its number.
        piece: u32,
    },
    /// [`FetchEffect::Prepare`] is through.
    Prepared {
        /// Pieces that are in the destination already, verified.
        found: Vec<u32>,
    },
    /// Of a stream: the pieces below this number were handed to who reads it.
    Written {
        /// A number of a piece.
        below: u32,
    },
    /// [`FetchEffect::Prepare`] is through, and telling how the destination differs was
    /// all there was to do.
    Compared {
        /// What could not be looked at, or would fail.
        failures: Vec<Failure>,
    },
    /// [`FetchEffect::Finish`] is through.
    Finished {
        /// The files and directories that could not be finished.
        failures: Vec<Failure>,
    },
    /// What became of [`FetchEffect::Checksum`].
    Checksum {
        /// As it was asked.
        generation: GenerationId,
        /// As it was asked.
        entry: u32,
        /// The SHA-256, if it could be had.
        sum: Result<[u8; 32], ()>,
    },
    /// Something to say in the master's log.
    Log {
        /// One line.
        text: String,
    },
    /// A signal asks this process to end: leave in good order.
    Interrupted,
    /// A local error that ends the fetch.
    Fatal {
        /// What failed, with its exit status.
        failure: Failure,
    },
    /// The time of [`Fetcher::poll_timeout`](super::Fetcher::poll_timeout) has come.
    Timeout,
}

/// What became of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreResult {
    /// Verified and stored.
    Stored,
    /// Not what the digest says.
    Corrupt,
    /// Of a rest: verified and stored but for these files, by entry, which have changed.
    Rest {
        /// In rising order.
        changed: Vec<u32>,
    },
    /// Verified, but one of its files could not be written.
    Failed {
        /// Why.
        failure: Failure,
        /// The pieces of the files that failed, by number: all are lost.
        lost: Vec<Range<u32>>,
    },
}

/// What is to be done outside, connections aside.
#[derive(Debug)]
pub enum FetchEffect {
    /// The manifest is known: hash what is in the destination.
    Prepare {
        /// What is fetched.
        content: Rc<Content>,
    },
    /// Verify and store a piece, and hand [`FetchInput::Stored`] in before anything
    /// else: until then the piece counts as missing, and another parent may bring it.
    Store {
        /// Whom it came from.
        conn: ConnId,
        /// Its number.
        piece: u32,
        /// Where its bytes are in the frame that was handed in last, in bytes.
        range: Range<usize>,
        /// Files in it may have changed: the others are stored.
        is_rest: bool,
    },
    /// Of a stream: its pieces below this number are served to nobody any more.
    Forget {
        /// A number of a piece.
        below: u32,
    },
    /// All pieces are held or lost: make links and empty files, set directories'
    /// attributes. [`FetchInput::Finished`] follows.
    Finish,
    /// Compute the SHA-256 of a file that has its final name;
    /// [`FetchInput::Checksum`] follows.
    Checksum {
        /// Whose manifest has the entry.
        generation: GenerationId,
        /// The file.
        entry: u32,
    },
    /// A warning for the operator: one line.
    Warn(String),
    /// The fetch is over; the process may end.
    Exit {
        /// What failed; nothing means that all is in place.
        failures: Vec<Failure>,
    },
}
