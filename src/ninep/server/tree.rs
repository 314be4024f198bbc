//! What a session serves: a [`Tree`] of the caller's, and the words in which
//! the two speak of files, openings and reads.

use crate::error::{Error, NO_AUTH};
use crate::message::{Attr, Qid};
use alloc::vec::Vec;

/// Names a connection, for the life of the process: the caller gives each one
/// number, and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// Names one opening of a file, from [`Tree::open`] to [`Tree::close`]. Never
/// used again, also not by another session of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpenId {
    /// On which connection.
    pub conn: ConnId,
    /// Grows from opening to opening.
    pub serial: u64,
}

/// Names a read that may have to wait, so that it can be
/// [resumed](crate::server::Session::resume). Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// On which connection.
    pub conn: ConnId,
    /// Grows from read to read; the tag of the read is its low 16 bits, so that a
    /// session finds the read in one step.
    pub serial: u64,
}

impl Ticket {
    /// Of a connection's read of this number and tag.
    pub(super) fn new(conn: ConnId, number: u64, tag: u16) -> Ticket {
        Ticket { conn, serial: number << 16 | u64::from(tag) }
    }

    pub(super) fn tag(self) -> u16 {
        self.serial as u16
    }
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Reads are to come.
    pub read: bool,
    /// Writes are to come.
    pub write: bool,
    /// The file is to become empty. Only asked of a file that
    /// [takes writes](Attr::mode).
    pub truncate: bool,
}

/// What a read gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<B> {
    /// The bytes, in memory; what is above the count asked for is cut off. None
    /// at the end of the file.
    Bytes(Vec<u8>),
    /// Stored bytes, named and not carried: whoever owns the connection moves
    /// them.
    Bulk {
        /// Which bytes.
        what: B,
        /// How many; what is above the count asked for is cut off. 0 at the end
        /// of the file.
        len: u32,
    },
    /// Not yet: [`Session::resume`](crate::server::Session::resume) with the
    /// ticket asks again.
    Park,
}

/// How much there is in all: what `df` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files and directories.
    pub files: u64,
    /// Bytes of data.
    pub bytes: u64,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry<F> {
    /// Neither empty nor "." nor "..", without '/' and NUL.
    pub name: Vec<u8>,
    /// What it names.
    pub file: F,
    /// The cursor of the entry after this one: never 0, below 2^63 - 2, and
    /// stable while entries come and go.
    pub next: u64,
}

/// A file tree, as a session asks for it. Files stand for directories too.
///
/// One tree may serve any number of sessions; that is why each call that depends
/// on a connection says which. Nothing may wait: a read whose bytes are not
/// there yet is parked.
pub trait Tree {
    /// What a fid stands for: a file or directory, found by attach and walk. A
    /// session keeps one for each fid.
    type File: Clone;
    /// Names stored bytes; see [`Answer::Bulk`].
    type Bulk;

    /// An authentication for the tree `aname` begins: the file by which it goes on, open to be
    /// read and written under this name until it is [closed](Tree::close).
    ///
    /// # Errors
    ///
    /// None is asked for, where this is not said otherwise.
    fn auth(&mut self, _open_id: OpenId, _aname: &[u8]) -> Result<Self::File, Error> {
        Err(NO_AUTH)
    }

    /// The root of the tree `aname`; "" and "/" are the usual one. `proof` is the opening that
    /// the client names as its authentication: of any file that is open, so that the tree has
    /// to know which are of [`auth`](Tree::auth).
    ///
    /// # Errors
    ///
    /// [`ENOENT`](crate::ENOENT) if there is no such tree, [`EACCES`](crate::EACCES) if it is
    /// not for who asks.
    fn attach(
        &mut self,
        conn: ConnId,
        proof: Option<OpenId>,
        aname: &[u8],
    ) -> Result<Self::File, Error>;

    /// One step. The session has checked that `from` is a directory, and that
    /// `name` is neither empty nor ".", without '/' and NUL. ".." at the root is
    /// the root (walk(5)).
    ///
    /// # Errors
    ///
    /// [`ENOENT`](crate::ENOENT) if there is no such name,
    /// [`EACCES`](crate::EACCES) if it may not be looked for.
    fn walk(&mut self, from: &Self::File, name: &[u8]) -> Result<Self::File, Error>;

    /// The same for the same file, always.
    fn qid(&self, file: &Self::File) -> Qid;

    /// Whether what the file stood for is not there any more: then there is nothing to say
    /// of it.
    fn is_gone(&self, _file: &Self::File) -> bool {
        false
    }

    /// For stat and getattr.
    fn attr(&self, file: &Self::File) -> Attr;

    /// The entry at `cursor` of a directory, or the next one that still is
    /// there; `None` after the last. 0 is the first; "." and ".." are not among
    /// them. Without `links` symbolic links are passed over: a dialect that has
    /// none does not look at each of many.
    fn entry(&self, dir: &Self::File, cursor: u64, links: bool) -> Option<DirEntry<Self::File>>;

    /// Called for files and directories, the latter only to be read. Permission
    /// is decided here. A fid that is refused may be opened another time.
    ///
    /// # Errors
    ///
    /// [`EACCES`](crate::EACCES) or [`EROFS`](crate::EROFS), for instance.
    fn open(&mut self, open_id: OpenId, file: &Self::File, access: Access) -> Result<(), Error>;

    /// The opening ends: clunk, remove, a new Tversion, or a lost connection.
    /// Called once for each [`open`](Tree::open) that was granted.
    fn close(&mut self, open_id: OpenId, file: &Self::File);

    /// Reads a file (never a directory) that is open for it: at most `count`
    /// bytes from byte `offset` on; the sum of both fits a u64. May
    /// [park](Answer::Park) under `ticket`, which then lasts until the read is
    /// asked again and answers, or is [forgotten](Tree::forget).
    ///
    /// # Errors
    ///
    /// Any; the client sees it, the file stays open.
    fn read(
        &mut self,
        open_id: OpenId,
        file: &Self::File,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<Self::Bulk>, Error>;

    /// Writes a file that is open for it, and says how many bytes were taken.
    ///
    /// # Errors
    ///
    /// Any; the client sees it, the file stays open.
    fn write(
        &mut self,
        open_id: OpenId,
        file: &Self::File,
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
