//! A 9P server session: version, fids, tags, flush, one reply path.
//!
//! Knows the protocol's rules (intro(5) and the rest of section 5; Linux'
//! net/9p for .L) and refuses to know what a file means: that is a `Tree`.
//! A session is one connection's; it takes whole frames and gives replies.
//! It owns no socket and no clock.

mod dirs;
mod fids;
mod limits;
mod parked;
mod requests;
mod session;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
pub use limits::{
    FIDS_MAX, FIRST_FRAME_LEN_MAX, MSIZE_MIN, OUTPUT_BYTES_MAX, OUTPUTS_MAX, PARKED_MAX,
};
pub use session::Session;

use crate::{Attr, Dialect, Error, Qid};

/// One connection, for the life of the process: never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// One opening of a file: what a lease hangs on. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpenId {
    pub conn: ConnId,
    pub serial: u64,
}

/// Names a read that may have to wait, so that it can be resumed. Unique
/// within its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    pub conn: ConnId,
    pub serial: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
    pub truncate: bool,
}

/// What a read gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<B> {
    /// A small reply; at most the count asked for. Empty is the end of file.
    Bytes(Vec<u8>),
    /// `len` stored bytes, named and not carried: whoever owns the connection
    /// moves them. At most the count asked for.
    Bulk { what: B, len: u32 },
    /// Not yet: `Session::resume` with the ticket asks again.
    Park,
}

/// How much there is in all: what `df` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub files: u64,
    pub bytes: u64,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry<P> {
    pub name: Vec<u8>,
    pub place: P,
    /// The cursor of the entry after this one. Below 2^63 - 2, never 0, stable
    /// while entries come and go.
    pub next: u64,
}

/// What a session serves. A place is what a fid stands for.
pub trait Tree {
    type File: Clone;
    type Bulk;

    /// The root of this attach name; "" and "/" are the usual one.
    fn attach(&mut self, conn: ConnId, aname: &[u8]) -> Result<Self::File, Error>;
    /// One step. `name` is never "."; ".." at the root is the root. The
    /// session has checked that `from` is a directory.
    fn walk(&mut self, from: &Self::File, name: &[u8]) -> Result<Self::File, Error>;
    fn qid(&self, place: &Self::File) -> Qid;
    fn attr(&self, place: &Self::File) -> Attr;
    /// The entry at `cursor` (0 is the first) of a directory, without "." and
    /// "..", or `None` after the last.
    fn entry(&self, dir: &Self::File, cursor: u64) -> Option<DirEntry<Self::File>>;
    /// Called for files and directories. Permission is decided here.
    fn open(&mut self, opener: OpenId, place: &Self::File, access: Access) -> Result<(), Error>;
    /// The opening ends: clunk, remove, a new Tversion, or a lost connection.
    fn close(&mut self, opener: OpenId, place: &Self::File);
    /// Reads a file (never a directory). May park under `ticket`, which then
    /// lasts until the read is asked again and answers, or is forgotten.
    fn read(
        &mut self,
        opener: OpenId,
        place: &Self::File,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<Self::Bulk>, Error>;
    fn write(
        &mut self,
        opener: OpenId,
        place: &Self::File,
        offset: u64,
        data: &[u8],
    ) -> Result<u32, Error>;
    /// A parked read is over without an answer (flush, clunk, lost connection):
    /// `ticket` will not be resumed. Without this a peer that parks and flushes
    /// for ever would fill a tree's list of tickets.
    fn forget(&mut self, _ticket: Ticket) {}
    /// For Tstatfs; a tree that does not count itself shows none.
    fn totals(&self) -> Totals {
        Totals::default()
    }
}

/// What a session wants sent, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<B> {
    /// A whole frame.
    Frame(Vec<u8>),
    /// Rread's header, to be followed by `len` stored bytes. When they turn
    /// out not to be there, before the header left, the frame of `failure`
    /// goes instead.
    Bulk { head: [u8; 11], what: B, len: u32, failure: BulkLost },
}

/// The error for stored bytes that are not there: what it takes to encode it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkLost {
    pub(super) dialect: Dialect,
    pub(super) tag: u16,
}
