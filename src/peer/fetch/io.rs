//! The inputs and effects of a fetch.

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
    /// [`FetchEffect::Prepare`] is through.
    Prepared {
        /// Pieces that are in the destination already, verified.
        found: Vec<u32>,
    },
    /// [`FetchEffect::Finish`] is through.
    Finished {
        /// What could not be put in place.
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
    /// Somebody wants this process to end: leave in good order.
    Interrupted,
    /// It cannot go on: a local error that ends the fetch.
    Fatal {
        /// Which.
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
    /// Right, but a file of it could not be written.
    Failed {
        /// Why.
        failure: Failure,
        /// The pieces that will not be here for that: those of its files.
        lost: Vec<Range<u32>>,
    },
}

/// What is to be done outside, connections aside.
#[derive(Debug)]
pub enum FetchEffect {
    /// The manifest is known: look at what is in the destination.
    Prepare {
        /// What is fetched.
        content: Rc<Content>,
    },
    /// Verify and store a piece.
    Store {
        /// Whom it came from.
        conn: ConnId,
        /// Its number.
        piece: u32,
        /// Where its bytes are in the frame that was handed in last.
        range: Range<usize>,
    },
    /// All pieces are here: put everything in place.
    Finish,
    /// Compute the SHA-256 of a file that is in place.
    Checksum {
        /// Whose manifest has the entry.
        generation: GenerationId,
        /// The file.
        entry: u32,
    },
    /// Something odd that does not stop us.
    Warn(String),
    /// The fetch is over; the process may end.
    Exit {
        /// What failed; nothing means that all is in place.
        failures: Vec<Failure>,
    },
}
