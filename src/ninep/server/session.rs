//! One connection's session: frames in, replies out.
//!
//! Knows versions (version(5)), tags and flush (flush(5)), parked reads, and the
//! one path by which every reply leaves: a request comes to a result, `answer`
//! turns it into a reply or an error of the session's dialect. Refuses to know
//! sockets and what a file means.

use super::dirs::Stretch;
use super::files::{Files, linux_access, plan9_access};
use super::limits::{DIR_BYTES_MAX, FIRST_FRAME_LEN_MAX, MSIZE_MIN};
use super::output::{Agreed, Output, Outputs};
use super::parked::{ParkedRead, ParkedReads};
use super::tree::{Answer, ConnId, Ticket, Tree};
use crate::error::{BAD_FID, DUPLICATE_TAG, EINVAL, EOPNOTSUPP, EROFS, Error};
use crate::message::{Dialect, IO_HEADER_LEN, NOTAG, Reply, Request};
use crate::wire::{Fatal, frame_len, request};

const MSIZE_TOO_SMALL: Error = Error::new(22, "message size too small");
const TAG_RESERVED: Error = Error::new(22, "illegal use of NOTAG");
/// EAGAIN.
const TOO_MANY_PARKED: Error = Error::new(11, "Resource temporarily unavailable");

/// Before a version is agreed on, errors are 9P2000's.
const BEFORE_VERSION: Agreed = Agreed { dialect: Dialect::Plan9, msize: FIRST_FRAME_LEN_MAX };

/// What a request comes to.
enum Outcome<B> {
    Reply(Reply),
    /// Of a Tread on a file; no reply yet if it is parked.
    Read(Answer<B>),
}

/// The server's side of one connection.
///
/// Frames are handled in the order in which they come; each gets one reply, but
/// for reads that are flushed. Replies wait in order until
/// [`poll_output`](Session::poll_output) takes them.
pub struct Session<T: Tree> {
    msize_max: u32,
    agreed: Option<Agreed>,
    pub(super) files: Files<T>,
    parked: ParkedReads,
    /// Number of the last [`Ticket`]; outlives a Tversion.
    ticket_last: u64,
    outputs: Outputs<T::Bulk>,
}

impl<T: Tree> Session<T> {
    /// A session that waits for its Tversion. Frames are to be of at most
    /// `msize_max` bytes (at least [`MSIZE_MIN`]), however large the client
    /// offers to make them.
    pub fn new(conn: ConnId, msize_max: u32) -> Session<T> {
        Session {
            msize_max: msize_max.max(MSIZE_MIN),
            agreed: None,
            files: Files::new(conn),
            parked: ParkedReads::default(),
            ticket_last: 0,
            outputs: Outputs::new(),
        }
    }

    /// Handles one whole frame. Every frame but those of the error below is
    /// answered, be it with an error, and the session lives on.
    ///
    /// # Errors
    ///
    /// [`Fatal`] if the frame has another length than it says, or is longer than
    /// [`frame_len_max`](Session::frame_len_max): the connection is to be closed.
    pub fn handle_frame(&mut self, tree: &mut T, frame: &[u8]) -> Result<(), Fatal> {
        if frame.len() > self.frame_len_max() as usize {
            let size = frame_len(frame).unwrap_or(0);
            return Err(Fatal { size, len: frame.len() });
        }
        let dialect = self.agreed.map(|agreed| agreed.dialect);
        let (tag, request) = request::decode(dialect, frame)?;
        let result = request.and_then(|request| {
            self.check_tag(tag, &request)?;
            self.handle(tree, tag, request)
        });
        self.answer(tag, result);
        Ok(())
    }

    /// Asks the tree for the bytes of a parked read again. A ticket that was
    /// flushed, answered, or is another connection's is ignored.
    pub fn resume(&mut self, tree: &mut T, ticket: Ticket) {
        let Some(read) = self.parked.get(ticket) else { return };
        match self.files.read_file(tree, read.fid, read.offset, read.count, ticket) {
            Ok(Answer::Park) => (),
            result => {
                self.parked.remove_tag(read.tag);
                self.answer(read.tag, result.map(Outcome::Read));
            }
        }
    }

    /// The connection is gone: ends every opening, forgets what is parked.
    /// Nothing but a Tversion is valid after it.
    pub fn close(&mut self, tree: &mut T) {
        for read in self.parked.take_all() {
            tree.forget(read.ticket);
        }
        self.files.clunk_all(tree);
        self.agreed = None;
    }

    /// Whether there is a reply to send.
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// The next reply to send, in order.
    pub fn poll_output(&mut self) -> Option<Output<T::Bulk>> {
        self.outputs.pop()
    }

    /// Longest frame that is taken now, in bytes. A longer one is to be refused
    /// before its bytes are waited for.
    pub fn frame_len_max(&self) -> u32 {
        self.terms().msize
    }

    /// Whether the peer is to be read no further until replies have left: there
    /// are [`OUTPUTS_MAX`](super::OUTPUTS_MAX) of them, or
    /// [`OUTPUT_BYTES_MAX`](super::OUTPUT_BYTES_MAX) bytes.
    pub fn is_backlogged(&self) -> bool {
        self.outputs.is_backlogged()
    }

    /// How many reads wait for their bytes.
    pub fn parked_count(&self) -> usize {
        self.parked.len()
    }

    /// Bytes of memory that the peer makes us hold, about: fids, parked reads and
    /// replies.
    pub fn held_bytes(&self) -> usize {
        self.files.fids.held_bytes() + self.parked.held_bytes() + self.outputs.held_bytes()
    }

    fn terms(&self) -> Agreed {
        self.agreed.unwrap_or(BEFORE_VERSION)
    }

    /// Tversion may come on any tag. It alone is decoded before there is a version.
    fn check_tag(&self, tag: u16, request: &Request) -> Result<(), Error> {
        match request {
            Request::Version { .. } => Ok(()),
            _ if tag == NOTAG => Err(TAG_RESERVED),
            // A flush of its own tag takes that tag over (see `flush`).
            Request::Flush { oldtag } if *oldtag == tag => Ok(()),
            _ if self.parked.holds_tag(tag) => Err(DUPLICATE_TAG),
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn handle(
        &mut self,
        tree: &mut T,
        tag: u16,
        request: Request,
    ) -> Result<Outcome<T::Bulk>, Error> {
        let files = &mut self.files;
        let reply = match request {
            Request::Version { msize, version } => self.version(tree, msize, version),
            Request::Auth { afid, aname, .. } => files.auth(tree, afid, aname),
            Request::Attach { fid, afid, aname, .. } => files.attach(tree, fid, afid, aname),
            Request::Flush { oldtag } => Ok(self.flush(tree, oldtag)),
            Request::Walk { fid, newfid, names } => {
                let dialect = self.terms().dialect;
                self.files.walk(tree, dialect, fid, newfid, &names)
            }
            Request::Open { fid, mode } => files.open(tree, fid, plan9_access(mode)?),
            Request::Lopen { fid, flags } => files.open(tree, fid, linux_access(flags)?),
            Request::Read { fid, offset, count } => {
                return self.read(tree, tag, fid, offset, count);
            }
            Request::Write { fid, offset, data } => files.write(tree, fid, offset, data),
            Request::Clunk { fid } => {
                self.abort_reads(tree, fid);
                self.files.clunk(tree, fid)
            }
            Request::Remove { fid } => {
                self.abort_reads(tree, fid);
                self.files.remove(tree, fid)
            }
            Request::Stat { fid } => files.attr(tree, fid).map(|attr| Reply::Stat { attr }),
            Request::Getattr { fid, .. } => {
                files.attr(tree, fid).map(|attr| Reply::Getattr { attr })
            }
            Request::Wstat { fid, change } => {
                files.change(tree, fid, change).map(|()| Reply::Wstat)
            }
            Request::Setattr { fid, change } => {
                files.change(tree, fid, change).map(|()| Reply::Setattr)
            }
            Request::Statfs { fid } => files.statfs(tree, fid),
            Request::Readlink { fid } => files.readlink(tree, fid),
            Request::Readdir { fid, offset, count } => {
                let count = count.min(self.data_len_max()).min(DIR_BYTES_MAX);
                self.files.readdir(tree, fid, offset, count)
            }
            Request::Fsync { fid } => files.known(fid, Reply::Fsync),
            Request::Lock { fid } => files.known(fid, Reply::Lock),
            Request::Getlock { fid } => files.known(fid, Reply::Getlock),
            Request::Xattrwalk { fid, .. } => files.refused(fid, EOPNOTSUPP),
            Request::ChangeTree { fid } => files.refused(fid, EROFS),
        };
        reply.map(Outcome::Reply)
    }

    /// version(5): "A successful version request initializes the connection.
    /// All outstanding I/O on the connection is aborted; all active fids are
    /// freed." One that is refused therefore changes nothing.
    fn version(&mut self, tree: &mut T, msize: u32, offer: &[u8]) -> Result<Reply, Error> {
        if msize < MSIZE_MIN {
            return Err(MSIZE_TOO_SMALL);
        }
        self.close(tree);
        let (msize, dialect) = (msize.min(self.msize_max), choose_dialect(offer));
        self.agreed = dialect.map(|dialect| Agreed { dialect, msize });
        Ok(Reply::Version { msize, dialect })
    }

    /// flush(5): never an error, and nothing for the old tag after Rflush. A
    /// request that is not parked has its reply queued already, ahead of this.
    fn flush(&mut self, tree: &mut T, oldtag: u16) -> Reply {
        if let Some(read) = self.parked.remove_tag(oldtag) {
            tree.forget(read.ticket);
        }
        Reply::Flush
    }

    /// Most bytes of data in one reply.
    fn data_len_max(&self) -> u32 {
        self.terms().msize - IO_HEADER_LEN
    }

    #[inline(never)]
    fn read(
        &mut self,
        tree: &mut T,
        tag: u16,
        fid: u32,
        offset: u64,
        count: u32,
    ) -> Result<Outcome<T::Bulk>, Error> {
        let count = count.min(self.data_len_max());
        offset.checked_add(u64::from(count)).ok_or(EINVAL)?;
        if self.files.is_dir(tree, fid)? {
            let dialect = self.terms().dialect;
            let count = count.min(DIR_BYTES_MAX);
            let asked = Stretch { offset, count, count_max: self.data_len_max() };
            let reply = self.files.read_dir(tree, dialect, fid, asked)?;
            return Ok(Outcome::Reply(reply));
        }
        self.ticket_last += 1;
        let ticket = Ticket::new(self.files.conn, self.ticket_last, tag);
        let answer = self.files.read_file(tree, fid, offset, count, ticket)?;
        if let Answer::Park = answer {
            if self.parked.is_full() {
                tree.forget(ticket);
                return Err(TOO_MANY_PARKED);
            }
            self.parked.put(ParkedRead { ticket, tag, fid, offset, count });
        }
        Ok(Outcome::Read(answer))
    }

    /// The fid is about to end. Reads still parked on it are answered first,
    /// because every request gets its one reply.
    fn abort_reads(&mut self, tree: &mut T, fid: u32) {
        for read in self.parked.take_fid(fid) {
            tree.forget(read.ticket);
            self.answer(read.tag, Err(BAD_FID));
        }
    }

    /// The one way out: every reply and every error passes here.
    fn answer(&mut self, tag: u16, result: Result<Outcome<T::Bulk>, Error>) {
        let reply = match result {
            Ok(Outcome::Reply(reply)) => reply,
            Ok(Outcome::Read(Answer::Bytes(data))) => Reply::Read { data },
            Ok(Outcome::Read(Answer::Bulk { what, len })) => {
                return self.outputs.push_bulk(self.terms(), tag, what, len);
            }
            Ok(Outcome::Read(Answer::Park)) => return,
            Err(error) => Reply::Error(error),
        };
        self.outputs.push_reply(self.terms(), tag, &reply);
    }

    #[cfg(test)]
    pub(super) fn dialect(&self) -> Option<Dialect> {
        self.agreed.map(|agreed| agreed.dialect)
    }
}

/// Our version for the client's offer. The suffixes that gVisor's family adds
/// ("9P2000.L.Google.7") ask for more than we have: plain .L is the answer.
/// version(5) lets any other extension fall back to the plain protocol.
fn choose_dialect(offer: &[u8]) -> Option<Dialect> {
    match offer {
        b"9P2000.u" => Some(Dialect::Unix),
        b"9P2000.L" => Some(Dialect::Linux),
        _ if offer.starts_with(b"9P2000.L.") => Some(Dialect::Linux),
        b"9P2000" => Some(Dialect::Plan9),
        _ if offer.starts_with(b"9P2000.") => Some(Dialect::Plan9),
        _ => None,
    }
}
