//! The words between a client session and its caller: frames in, events out, and
//! the names of files and requests.

use crate::error::Error;
use alloc::string::String;
use core::fmt;

/// A file that [`Client::open`](super::Client::open) named. Its number does not
/// come back within the session, so an old one does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fid(pub(super) u32);

/// The caller's name for a request; unique among those outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What a file is opened for: the low bits of open(5)'s mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// OREAD.
    Read = 0,
    /// OWRITE.
    Write = 1,
    /// ORDWR.
    ReadWrite = 2,
}

/// A frame as far as it has come.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What the frame begins with: of an Rread at least its header of
    /// [`RREAD_HEADER_LEN`](crate::RREAD_HEADER_LEN) bytes, any other frame whole.
    pub prefix: &'a [u8],
    /// Length of the whole frame, in bytes.
    pub len: u32,
}

impl<'a> Frame<'a> {
    /// A frame that is there whole.
    pub fn whole(bytes: &'a [u8]) -> Frame<'a> {
        Frame { prefix: bytes, len: bytes.len() as u32 }
    }
}

/// What an answer means. Each open, read, write and ping gets exactly one event,
/// unless it is given up or the session breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An open succeeded.
    Opened {
        /// Of the open.
        token: Token,
        /// What is open now.
        fid: Fid,
        /// Most bytes that the server moves as one; 0 is what a frame holds.
        iounit: u32,
    },
    /// A read succeeded.
    Read {
        /// Of the read.
        token: Token,
        /// Bytes; 0 at the end of the file.
        len: u32,
        /// They themselves if the frame was there whole, else they follow.
        data: Option<&'a [u8]>,
    },
    /// A write succeeded.
    Written {
        /// Of the write.
        token: Token,
        /// Bytes that the server took.
        count: u32,
    },
    /// The server lives.
    Pong {
        /// Of the ping.
        token: Token,
    },
    /// An open, read or write failed.
    Failed {
        /// Of the request.
        token: Token,
        /// Why; what followed a failed open has that one's reason.
        error: Error,
    },
}

/// The session is over; the connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Why, in words for a log.
    pub reason: String,
    /// The server has said that it does not let in who asks, and nothing is wrong with how.
    pub is_refusal: bool,
}

impl Broken {
    pub(super) fn new(reason: impl Into<String>) -> Broken {
        Broken { reason: reason.into(), is_refusal: false }
    }

    pub(super) fn refusal(reason: String) -> Broken {
        Broken { reason, is_refusal: true }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl core::error::Error for Broken {}
