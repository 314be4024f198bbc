//! One connection's session: frames in, replies out.
//!
//! Knows versions (version(5)), tags and flush (flush(5)), and the one path by
//! which every reply leaves: a request's handler (requests.rs) gives a result,
//! `answer` turns it into a reply or an error of the session's dialect.
//! Refuses to know sockets and what a file means.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::fids::Fids;
use super::limits::{FIRST_FRAME_LEN_MAX, MSIZE_MIN, OUTPUT_BYTES_MAX, OUTPUTS_MAX};
use super::parked::ParkedReads;
use super::{BulkLost, ConnId, Output, Ticket, Totals, Tree};
use crate::decode::{self, Fatal};
use crate::{Attr, BAD_FID, DUPLICATE_TAG, Dialect, Error, NOTAG, Qid, Reply, Request, encode};

const MSIZE_TOO_SMALL: Error = Error::new(22, "message size too small");
const TAG_RESERVED: Error = Error::new(22, "illegal use of NOTAG");
/// EMSGSIZE.
const REPLY_TOO_LONG: Error = Error::new(90, "Message too long");
/// What a client gets when stored bytes vanish between answer and sending.
const BULK_LOST: Error = Error::new(5, "file changed or cannot be read on this server");

/// What Rversion says when the offer is none of ours (version(5)).
const VERSION_UNKNOWN: &[u8] = b"unknown";

/// What a request came to, before it is a reply. Names follow the messages.
pub(super) enum Handled<B> {
    Version {
        msize: u32,
        version: &'static [u8],
    },
    Attach(Qid),
    Flush,
    Walk(Vec<Qid>),
    Open(Qid),
    Read(Vec<u8>),
    ReadBulk {
        what: B,
        len: u32,
    },
    Readdir(Vec<u8>),
    /// No reply yet.
    Parked,
    Write {
        count: u32,
    },
    Clunk,
    Stat(Attr),
    Wstat,
    Statfs(Totals),
    Getattr(Attr),
    Setattr,
    Readlink(Vec<u8>),
    Fsync,
    Lock,
    Getlock,
}

/// The server's side of one connection.
///
/// `T::File` is kept per fid; replies wait in order until `poll_output`
/// takes them. The driver reads on only while `is_backlogged` is false.
pub struct Session<T: Tree> {
    pub(super) conn: ConnId,
    msize_max: u32,
    /// Agreed by Tversion; before it, what Tversion itself may be.
    pub(super) msize: u32,
    pub(super) dialect: Option<Dialect>,
    pub(super) fids: Fids<T::File>,
    pub(super) parked: ParkedReads,
    /// Numbers tickets and openers; outlives a Tversion.
    serial: u64,
    outputs: VecDeque<Output<T::Bulk>>,
    outputs_bytes: usize,
}

impl<T: Tree> Session<T> {
    pub fn new(conn: ConnId, msize_max: u32) -> Session<T> {
        Session {
            conn,
            msize_max: msize_max.max(MSIZE_MIN),
            msize: FIRST_FRAME_LEN_MAX,
            dialect: None,
            fids: Fids::new(),
            parked: ParkedReads::default(),
            serial: 0,
            outputs: VecDeque::new(),
            outputs_bytes: 0,
        }
    }

    /// Handles one whole frame. An error means that framing is lost: the
    /// connection is to be closed. Everything else is answered, and the
    /// session lives on.
    pub fn handle_frame(&mut self, tree: &mut T, frame: &[u8]) -> Result<(), Fatal> {
        if frame.len() > self.msize as usize {
            let size = decode::frame_len(frame).unwrap_or(0);
            return Err(Fatal { size, len: frame.len() });
        }
        let (tag, request) = decode::request(self.dialect, frame)?;
        let outcome = match request {
            Ok(Request::Version { msize, version }) => self.version(tree, msize, version),
            Ok(request) => {
                self.admit(tag, &request).and_then(|()| self.request(tree, tag, request))
            }
            Err(error) => Err(error),
        };
        self.answer(tag, outcome);
        Ok(())
    }

    /// Asks a parked read again. A ticket that was flushed, answered, or is
    /// another connection's is ignored.
    pub fn resume(&mut self, tree: &mut T, ticket: Ticket) {
        if ticket.conn != self.conn {
            return;
        }
        let Some(read) = self.parked.get(ticket.serial) else {
            return;
        };
        match self.read_file(tree, read) {
            Ok(Handled::Parked) => (),
            outcome => {
                self.parked.remove(read.serial);
                self.answer(read.tag, outcome);
            }
        }
    }

    /// The connection is gone: ends every opening, forgets what is parked.
    /// Nothing but a Tversion is valid after it.
    pub fn close(&mut self, tree: &mut T) {
        for read in self.parked.take_all() {
            tree.forget(Ticket { conn: self.conn, serial: read.serial });
        }
        for fid in self.fids.take_all() {
            if let Some(opened) = fid.opened {
                tree.close(opened.opener, &fid.place);
            }
        }
        self.dialect = None;
        self.msize = FIRST_FRAME_LEN_MAX;
    }

    /// The next reply to send, in order.
    pub fn poll_output(&mut self) -> Option<Output<T::Bulk>> {
        let output = self.outputs.pop_front()?;
        self.outputs_bytes -= held_bytes(&output);
        Some(output)
    }

    /// A longer frame is to be refused before its bytes are waited for.
    pub fn frame_len_max(&self) -> u32 {
        self.msize
    }

    /// Whether the peer is to be read no further until replies have left.
    pub fn is_backlogged(&self) -> bool {
        self.outputs.len() >= OUTPUTS_MAX || self.outputs_bytes >= OUTPUT_BYTES_MAX
    }

    /// Replies that wait to be sent.
    pub fn output_count(&self) -> usize {
        self.outputs.len()
    }

    /// Reads that wait for their bytes.
    pub fn parked_count(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// What holds for every request but Tversion (which the decoder lets
    /// nothing precede).
    fn admit(&self, tag: u16, request: &Request) -> Result<(), Error> {
        if tag == NOTAG {
            return Err(TAG_RESERVED);
        }
        // A flush of its own tag takes that tag over (see `flush`).
        let own_flush = matches!(request, Request::Flush { oldtag } if *oldtag == tag);
        if self.parked.holds_tag(tag) && !own_flush {
            return Err(DUPLICATE_TAG);
        }
        Ok(())
    }

    /// version(5): "A successful version request initializes the connection.
    /// All outstanding I/O on the connection is aborted; all active fids are
    /// freed." One that is refused therefore changes nothing.
    fn version(
        &mut self,
        tree: &mut T,
        msize: u32,
        offer: &[u8],
    ) -> Result<Handled<T::Bulk>, Error> {
        if msize < MSIZE_MIN {
            return Err(MSIZE_TOO_SMALL);
        }
        self.close(tree);
        let msize = msize.min(self.msize_max);
        let Some((dialect, version)) = choose_dialect(offer) else {
            return Ok(Handled::Version { msize, version: VERSION_UNKNOWN });
        };
        self.dialect = Some(dialect);
        self.msize = msize;
        Ok(Handled::Version { msize, version })
    }

    /// flush(5): never an error, and nothing for the old tag after Rflush. A
    /// request that is not parked has its reply queued already, ahead of this.
    pub(super) fn flush(&mut self, tree: &mut T, oldtag: u16) -> Handled<T::Bulk> {
        if let Some(read) = self.parked.remove_tag(oldtag) {
            tree.forget(Ticket { conn: self.conn, serial: read.serial });
        }
        Handled::Flush
    }

    /// Ends a fid: clunk and remove. Reads still parked on it are answered
    /// first, because every request gets its one reply.
    pub(super) fn end_fid(&mut self, tree: &mut T, number: u32) -> Result<(), Error> {
        let fid = self.fids.remove(number)?;
        for read in self.parked.take_fid(number) {
            tree.forget(Ticket { conn: self.conn, serial: read.serial });
            self.answer(read.tag, Err(BAD_FID));
        }
        if let Some(opened) = fid.opened {
            tree.close(opened.opener, &fid.place);
        }
        Ok(())
    }

    /// The one way out: every reply and every error passes here.
    fn answer(&mut self, tag: u16, outcome: Result<Handled<T::Bulk>, Error>) {
        let output = match outcome {
            Ok(Handled::Parked) => return,
            Ok(Handled::ReadBulk { what, len }) => Output::Bulk {
                head: encode::rread_header(tag, len),
                what,
                len,
                failure: BulkLost { dialect: self.reply_dialect(), tag },
            },
            outcome => Output::Frame(self.encode(tag, &outcome)),
        };
        self.outputs_bytes += held_bytes(&output);
        self.outputs.push_back(output);
    }

    fn encode(&self, tag: u16, outcome: &Result<Handled<T::Bulk>, Error>) -> Vec<u8> {
        let reply = match outcome {
            Ok(handled) => handled.reply(),
            Err(error) => Reply::Error(error.clone()),
        };
        let bytes = frame(self.reply_dialect(), tag, &reply);
        if bytes.len() > self.msize as usize {
            return frame(self.reply_dialect(), tag, &Reply::Error(REPLY_TOO_LONG));
        }
        bytes
    }

    /// Before a version is agreed, errors are 9P2000's.
    fn reply_dialect(&self) -> Dialect {
        self.dialect.unwrap_or(Dialect::Plan9)
    }
}

/// Our version for the client's offer. The suffixes that gVisor's family adds
/// ("9P2000.L.Google.7") ask for more than we have: plain .L is the answer.
/// version(5) lets any other extension fall back to the plain protocol.
fn choose_dialect(offer: &[u8]) -> Option<(Dialect, &'static [u8])> {
    match offer {
        b"9P2000.u" => Some((Dialect::Unix, b"9P2000.u")),
        b"9P2000.L" => Some((Dialect::Linux, b"9P2000.L")),
        _ if offer.starts_with(b"9P2000.L.") => Some((Dialect::Linux, b"9P2000.L")),
        b"9P2000" => Some((Dialect::Plan9, b"9P2000")),
        _ if offer.starts_with(b"9P2000.") => Some((Dialect::Plan9, b"9P2000")),
        _ => None,
    }
}

impl<B> Handled<B> {
    fn reply(&self) -> Reply<'_> {
        match self {
            Handled::Version { msize, version } => Reply::Version { msize: *msize, version },
            Handled::Attach(qid) => Reply::Attach { qid: *qid },
            Handled::Flush => Reply::Flush,
            Handled::Walk(qids) => Reply::Walk { qids },
            // iounit 0: as much as msize allows (open(5)).
            Handled::Open(qid) => Reply::Open { qid: *qid, iounit: 0 },
            Handled::Read(data) => Reply::Data { readdir: false, data },
            Handled::Readdir(data) => Reply::Data { readdir: true, data },
            Handled::Write { count } => Reply::Write { count: *count },
            Handled::Clunk => Reply::Clunk,
            Handled::Stat(attr) => Reply::Stat { attr },
            Handled::Wstat => Reply::Wstat,
            Handled::Statfs(totals) => Reply::Statfs {
                files: totals.files,
                blocks: totals.bytes.div_ceil(u64::from(STATFS_BLOCK_LEN)),
                block_len: STATFS_BLOCK_LEN,
            },
            Handled::Getattr(attr) => Reply::Getattr { attr },
            Handled::Setattr => Reply::Setattr,
            Handled::Readlink(target) => Reply::Readlink { target },
            Handled::Fsync => Reply::Fsync,
            Handled::Lock => Reply::Lock { status: LOCK_SUCCESS },
            Handled::Getlock => Reply::Getlock,
            Handled::Parked | Handled::ReadBulk { .. } => {
                unreachable!("`answer` sends neither as a plain frame")
            }
        }
    }
}

/// The block in which Rstatfs counts.
const STATFS_BLOCK_LEN: u32 = 4096;
/// P9_LOCK_SUCCESS.
const LOCK_SUCCESS: u8 = 0;

fn frame(dialect: Dialect, tag: u16, reply: &Reply) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::reply(dialect, tag, reply, &mut bytes);
    bytes
}

impl BulkLost {
    pub fn frame(self) -> Vec<u8> {
        frame(self.dialect, self.tag, &Reply::Error(BULK_LOST))
    }
}

fn held_bytes<B>(output: &Output<B>) -> usize {
    match output {
        Output::Frame(bytes) => bytes.len(),
        Output::Bulk { head, .. } => head.len(),
    }
}
