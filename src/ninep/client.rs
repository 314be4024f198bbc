//! A 9P2000.u client session: one connection's tags, fids and requests.
//!
//! Knows which request every tag stands for and what its answer may be;
//! refuses to know sockets, clocks, files, and why somebody reads. Requests go
//! into a buffer, frames come in, events come out.
//!
//! Nothing waits for an answer: version, attach, walk, open, read and clunk of
//! one file can leave in one flight, because a client chooses its fids itself.
//! (version(5) wants Rversion awaited first; servers that handle a connection's
//! requests in order cannot tell. diod handles them out of order, so it is not
//! a server for this client.) The price is paid here: when a walk fails, the
//! errors of what was sent behind it are expected, and success is not believed.
//!
//! Whatever a server cannot have meant (an unknown tag, the wrong type, more
//! than was asked for) ends the session as `Broken`: its framing or its memory
//! is wrong, and no later answer could be trusted.

use crate::decode::{self, Rmessage};
use crate::{ENOENT, IO_HEADER_LEN, NOFID, NOTAG, WALK_NAMES_MAX, encode};
use alloc::collections::BTreeMap as Table;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

const VERSION: &[u8] = b"9P2000.u";
/// Servers are not told who asks: what they serve, they serve to everybody.
const UNAME: &[u8] = b"nobody";
/// The fid of the attach; all walks start there.
const ROOT: u32 = 0;

/// Below this, sixteen names of a walk might not fit.
pub const MSIZE_MIN: u32 = 8192;
/// Requests in flight; `room` tells how many are left. Flushes and clunks come
/// on top: at most one for each of them and for each fid.
pub const OUTSTANDING_MAX: usize = 4096;
/// Fids that are open, or on their way to or from it.
pub const FIDS_MAX: usize = 4096;
/// Tag that is never given out: to flush it is to flush nothing.
const UNUSED_TAG: u16 = NOTAG - 1;
const _: () = assert!(2 * OUTSTANDING_MAX + FIDS_MAX < UNUSED_TAG as usize);

/// A file that `open` named. Its number does not come back within the session,
/// so an old one does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fid(u32);

/// The caller's name for a request; unique among those outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// The low bits of open(5)'s mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    Read = 0,
    Write = 1,
    ReadWrite = 2,
}

/// A frame as it came. Of an Rread, `head` may hold as little as the header
/// (11 bytes); every other frame is there whole.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub head: &'a [u8],
    /// Of the whole frame.
    pub len: u32,
}

impl<'a> Frame<'a> {
    pub fn whole(bytes: &'a [u8]) -> Frame<'a> {
        Frame { head: bytes, len: bytes.len() as u32 }
    }
}

/// What an answer means. Each open, read, write and ping gets exactly one,
/// unless it is given up or the session breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Opened {
        token: Token,
        fid: Fid,
        /// 0 is "as much as a frame holds".
        iounit: u32,
    },
    /// `len` bytes, 0 at the end of the file; `data` if the frame was there
    /// whole, else they are still to come.
    Read {
        token: Token,
        len: u32,
        data: Option<&'a [u8]>,
    },
    Written {
        token: Token,
        count: u32,
    },
    Pong {
        token: Token,
    },
    Failed {
        token: Token,
        error: crate::Error,
    },
}

/// The session is over; the connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub reason: String,
}

impl Broken {
    fn new(reason: impl Into<String>) -> Broken {
        Broken { reason: reason.into() }
    }
}

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What a tag stands for.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Attach,
    Walk {
        fid: u32,
        names: usize,
    },
    Open {
        fid: u32,
    },
    Read {
        fid: u32,
        count: u32,
        token: Token,
    },
    Write {
        fid: u32,
        count: u32,
        token: Token,
    },
    Clunk {
        fid: u32,
    },
    Flush {
        oldtag: u16,
    },
    /// Without a token when nobody wants to know any more.
    Ping {
        token: Option<Token>,
    },
}

#[derive(Clone, Copy, Debug)]
enum Tag {
    Free,
    Waiting(Pending),
    /// Its Tflush is on the way. The tag stays taken until Rflush, answered or
    /// not (flush(5)).
    GivenUp {
        pending: Pending,
        answered: bool,
    },
}

#[derive(Debug)]
enum FileState {
    /// `walks` of its Rwalks are still to come. Without a token when nobody
    /// wants to know any more.
    Opening {
        token: Option<Token>,
        walks: usize,
    },
    Open,
    /// The first thing that went wrong: the reason for all that follows.
    Failed(crate::Error),
}

#[derive(Debug)]
struct File {
    state: FileState,
    /// Tags that stand for a request on this fid.
    users: usize,
    clunked: bool,
}

/// One connection's requests.
#[derive(Debug)]
pub struct Client {
    msize_offered: u32,
    /// Agreed on, once Rversion is here.
    msize: Option<u32>,
    /// Largest frame queued before the server had a say.
    sent_len_max: u32,
    tags: Vec<Tag>,
    free_tags: Vec<u16>,
    files: Table<u32, File>,
    next_fid: u32,
    out: Vec<u8>,
    broken: Option<Broken>,
}

impl Client {
    /// Queues the version and the attach to the default tree.
    pub fn new(msize: u32) -> Client {
        let mut client = Client {
            msize_offered: msize.max(MSIZE_MIN),
            msize: None,
            sent_len_max: 0,
            tags: Vec::new(),
            free_tags: Vec::new(),
            files: Table::new(),
            next_fid: ROOT + 1,
            out: Vec::new(),
            broken: None,
        };
        encode::tversion(client.msize_offered, VERSION, &mut client.out);
        if let Some(tag) = client.tag_for(Pending::Attach) {
            encode::tattach(tag, ROOT, UNAME, b"", &mut client.out);
        }
        client
    }

    /// Walks to `path` (no names: the root) and opens it. The fid can be used
    /// at once. It is to be clunked once, at any time; after `Failed` it has
    /// been already.
    pub fn open(&mut self, path: &[&[u8]], mode: OpenMode, token: Token) -> Fid {
        let fid = self.unused_fid();
        if self.files.len() >= FIDS_MAX {
            self.break_off(format!("more than {FIDS_MAX} fids in use"));
            return Fid(fid);
        }
        let walks = path.len().div_ceil(WALK_NAMES_MAX).max(1);
        let state = FileState::Opening { token: Some(token), walks };
        self.files.insert(fid, File { state, users: 0, clunked: false });
        // No names at all still need the walk that clones the root.
        self.walk(ROOT, fid, &path[..path.len().min(WALK_NAMES_MAX)]);
        for names in path.chunks(WALK_NAMES_MAX).skip(1) {
            self.walk(fid, fid, names);
        }
        if let Some(tag) = self.tag_for(Pending::Open { fid }) {
            encode::topen(tag, fid, mode as u8, &mut self.out);
        }
        Fid(fid)
    }

    fn walk(&mut self, from: u32, fid: u32, names: &[&[u8]]) {
        if let Some(tag) = self.tag_for(Pending::Walk { fid, names: names.len() }) {
            encode::twalk(tag, from, fid, names, &mut self.out);
        }
    }

    /// Asks for at most `count` bytes, and never for more than `read_len_max`.
    pub fn read(&mut self, fid: Fid, offset: u64, count: u32, token: Token) {
        let count = count.min(self.read_len_max());
        if let Some(tag) = self.tag_for(Pending::Read { fid: fid.0, count, token }) {
            encode::tread(tag, fid.0, offset, count, &mut self.out);
        }
    }

    /// Writes as much of `data` as a frame holds; `Written` tells how much
    /// the server took.
    pub fn write(&mut self, fid: Fid, offset: u64, data: &[u8], token: Token) {
        let data = &data[..data.len().min(self.read_len_max() as usize)];
        let count = data.len() as u32;
        if let Some(tag) = self.tag_for(Pending::Write { fid: fid.0, count, token }) {
            let before = self.out.len();
            encode::twrite(tag, fid.0, offset, data, &mut self.out);
            if self.msize.is_none() {
                self.sent_len_max = self.sent_len_max.max((self.out.len() - before) as u32);
            }
        }
    }

    /// Gives the fid back. What is outstanding on it is still answered.
    pub fn clunk(&mut self, fid: Fid) {
        let Some(file) = self.files.get_mut(&fid.0) else { return };
        if core::mem::replace(&mut file.clunked, true) {
            return;
        }
        if let Some(tag) = self.tag_for(Pending::Clunk { fid: fid.0 }) {
            encode::tclunk(tag, fid.0, &mut self.out);
        }
    }

    /// Gives a request up: its token is not reported any more. An open that is
    /// given up is clunked; what was asked of its fid is not given up with it.
    pub fn flush(&mut self, token: Token) {
        self.give_up_open(token);
        let mut oldtags = Vec::new();
        for (oldtag, tag) in self.tags.iter_mut().enumerate() {
            let Tag::Waiting(pending) = *tag else { continue };
            match pending {
                Pending::Ping { token: Some(theirs) } if theirs == token => {
                    *tag = Tag::Waiting(Pending::Ping { token: None });
                }
                Pending::Read { token: theirs, .. } | Pending::Write { token: theirs, .. }
                    if theirs == token =>
                {
                    *tag = Tag::GivenUp { pending, answered: false };
                    oldtags.push(oldtag as u16);
                }
                _ => {}
            }
        }
        for oldtag in oldtags {
            if let Some(tag) = self.tag_for(Pending::Flush { oldtag }) {
                encode::tflush(tag, oldtag, &mut self.out);
            }
        }
    }

    /// An open is never flushed on the wire: servers answer it at once, and a
    /// flushed walk leaves it unsaid whether its fid exists (flush(5)).
    fn give_up_open(&mut self, token: Token) {
        let opening = self.files.iter_mut().find_map(|(&fid, file)| match &mut file.state {
            FileState::Opening { token: theirs, .. } if *theirs == Some(token) => {
                Some((fid, theirs))
            }
            _ => None,
        });
        if let Some((fid, theirs)) = opening {
            *theirs = None;
            self.clunk(Fid(fid));
        }
    }

    /// Asks whether the server lives. It answers at once, even when all reads
    /// are parked: a flush of a tag that is not in use may not wait.
    pub fn ping(&mut self, token: Token) {
        if let Some(tag) = self.tag_for(Pending::Ping { token: Some(token) }) {
            encode::tflush(tag, UNUSED_TAG, &mut self.out);
        }
    }

    /// Takes a frame. `None` for an Rread means that nobody wants its data any
    /// more, as does any event but `Read`.
    pub fn handle_frame<'a>(&mut self, frame: Frame<'a>) -> Result<Option<Event<'a>>, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let event = self.accept(frame);
        if let Err(broken) = &event {
            self.broken = Some(broken.clone());
        }
        event
    }

    /// What is to be sent. The caller takes from its front what it could send.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    pub fn take_output(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.out)
    }

    /// Requests without an answer, the version and flushes among them.
    pub fn outstanding(&self) -> usize {
        self.tags.len() - self.free_tags.len() + usize::from(self.msize.is_none())
    }

    /// How many requests may be added. A read, write or ping takes one, an
    /// open one and one for every 16 names begun. More breaks the session.
    pub fn room(&self) -> usize {
        OUTSTANDING_MAX.saturating_sub(self.outstanding())
    }

    /// The msize agreed on, once it is.
    pub fn msize(&self) -> Option<u32> {
        self.msize
    }

    /// The most that one read or write moves. It may shrink with Rversion.
    /// Larger reads that left before it come back short, as any read may, or
    /// fail where a server refuses what it could cut; larger writes had broken
    /// its framing, and break the session.
    pub fn read_len_max(&self) -> u32 {
        self.msize.unwrap_or(self.msize_offered) - IO_HEADER_LEN
    }

    /// Why the session is over, if it is.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    fn break_off(&mut self, reason: String) {
        self.broken.get_or_insert(Broken { reason });
    }

    /// A number that is not in use, and has not been for 2^32 opens.
    fn unused_fid(&mut self) -> u32 {
        loop {
            let fid = self.next_fid;
            self.next_fid = self.next_fid.wrapping_add(1);
            if fid != ROOT && fid != NOFID && !self.files.contains_key(&fid) {
                return fid;
            }
        }
    }

    /// Takes a tag for a request, or `None` when the session is over.
    fn tag_for(&mut self, pending: Pending) -> Option<u16> {
        let bounded_otherwise = matches!(pending, Pending::Clunk { .. } | Pending::Flush { .. });
        if self.room() == 0 && !bounded_otherwise {
            self.break_off(format!("more than {OUTSTANDING_MAX} requests in flight"));
        }
        if self.broken.is_some() {
            return None;
        }
        if let Some(file) = pending.fid().and_then(|fid| self.files.get_mut(&fid)) {
            file.users += 1;
        }
        let tag = self.free_tags.pop().unwrap_or(self.tags.len() as u16);
        match self.tags.get_mut(usize::from(tag)) {
            Some(free) => *free = Tag::Waiting(pending),
            None => self.tags.push(Tag::Waiting(pending)),
        }
        Some(tag)
    }

    /// The request is over, and so is its tag.
    fn release(&mut self, tag: u16, pending: Pending) {
        self.tags[usize::from(tag)] = Tag::Free;
        self.free_tags.push(tag);
        let Some(fid) = pending.fid() else { return };
        let Some(file) = self.files.get_mut(&fid) else { return };
        file.users -= 1;
        if file.clunked && file.users == 0 {
            self.files.remove(&fid);
        }
    }

    fn accept<'a>(&mut self, frame: Frame<'a>) -> Result<Option<Event<'a>>, Broken> {
        let msize = self.msize.unwrap_or(self.msize_offered);
        if frame.len > msize {
            let len = frame.len;
            return Err(Broken::new(format!("frame of {len} bytes is above msize {msize}")));
        }
        let (tag, message) =
            decode::reply(frame.head, frame.len).map_err(|bad| Broken::new(bad.to_string()))?;
        if self.msize.is_none() {
            return self.agree(tag, message).map(|()| None);
        }
        let pending = match self.tags.get_mut(usize::from(tag)) {
            Some(Tag::Waiting(pending)) => *pending,
            Some(Tag::GivenUp { pending, answered }) if !*answered => {
                *answered = true;
                pending.check(&message)?;
                return Ok(None);
            }
            _ => return Err(Broken::new(format!("answer to tag {tag}, which asks for none"))),
        };
        pending.check(&message)?;
        let event = self.settle(pending, message);
        self.release(tag, pending);
        event
    }

    fn agree(&mut self, tag: u16, message: Rmessage<'_>) -> Result<(), Broken> {
        let (msize, version) = match message {
            _ if tag != NOTAG => return Err(Broken::new("answer before Rversion")),
            Rmessage::Version { msize, version } => (msize, version),
            Rmessage::Error(error) => {
                return Err(Broken::new(format!("server refuses 9P2000.u: {}", error.text)));
            }
            _ => return Err(Broken::new("Tversion is not answered by Rversion")),
        };
        if version != VERSION {
            let version = String::from_utf8_lossy(&version[..version.len().min(32)]);
            return Err(Broken::new(format!("server speaks {version:?}, not 9P2000.u")));
        }
        if msize > self.msize_offered {
            return Err(Broken::new(format!("server raises msize to {msize}")));
        }
        let needed = self.sent_len_max.max(MSIZE_MIN);
        if msize < needed {
            return Err(Broken::new(format!("server's msize {msize} is below {needed}")));
        }
        self.msize = Some(msize);
        Ok(())
    }

    /// What an answer means that fits its request.
    fn settle<'a>(
        &mut self,
        pending: Pending,
        message: Rmessage<'a>,
    ) -> Result<Option<Event<'a>>, Broken> {
        match (pending, message) {
            (Pending::Attach, Rmessage::Error(error)) => {
                Err(Broken::new(format!("server refuses to attach: {}", error.text)))
            }
            (Pending::Walk { fid, .. } | Pending::Open { fid }, Rmessage::Error(error)) => {
                Ok(self.fail(fid, error))
            }
            (Pending::Walk { fid, names }, Rmessage::Walk { names: walked }) => {
                Ok(self.walked(fid, walked == names))
            }
            (Pending::Open { fid }, Rmessage::Open { iounit, .. }) => self.opened(fid, iounit),
            (
                Pending::Read { fid, token, .. } | Pending::Write { fid, token, .. },
                Rmessage::Error(error),
            ) => {
                let error = self.failure(fid).unwrap_or(error);
                Ok(Some(Event::Failed { token, error }))
            }
            (Pending::Read { fid, token, .. }, Rmessage::Read { count, data }) => {
                self.done(fid, token, Event::Read { token, len: count, data })
            }
            (Pending::Write { fid, token, .. }, Rmessage::Write { count }) => {
                self.done(fid, token, Event::Written { token, count })
            }
            (Pending::Flush { oldtag }, _) => {
                if let Tag::GivenUp { pending, .. } = self.tags[usize::from(oldtag)] {
                    self.release(oldtag, pending);
                }
                Ok(None)
            }
            (Pending::Ping { token }, _) => Ok(token.map(|token| Event::Pong { token })),
            // Rattach, and Rclunk: "even if the clunk returns an error, the
            // fid is no longer valid" (clunk(5)).
            _ => Ok(None),
        }
    }

    /// One of the walks to a fid was answered. A short one is the error of the
    /// first name that it did not reach, and made no fid (walk(5)).
    fn walked(&mut self, fid: u32, whole: bool) -> Option<Event<'static>> {
        if !whole {
            return self.fail(fid, ENOENT);
        }
        if let Some(File { state: FileState::Opening { walks, .. }, .. }) = self.files.get_mut(&fid)
        {
            *walks -= 1;
        }
        None
    }

    /// The first failure of an opening is its event. The rest follow from it.
    fn fail(&mut self, fid: u32, error: crate::Error) -> Option<Event<'static>> {
        let file = self.files.get_mut(&fid)?;
        let FileState::Opening { token, .. } = file.state else { return None };
        file.state = FileState::Failed(error.clone());
        // The fid may exist all the same: after a failed open always, and some
        // servers make it on a partial walk.
        self.clunk(Fid(fid));
        token.map(|token| Event::Failed { token, error })
    }

    fn opened(&mut self, fid: u32, iounit: u32) -> Result<Option<Event<'static>>, Broken> {
        let Some(file) = self.files.get_mut(&fid) else { return Ok(None) };
        match file.state {
            // Opened where the walk ended early: not the file that was meant.
            FileState::Failed(_) => Ok(None),
            FileState::Opening { walks: 0, token } => {
                file.state = FileState::Open;
                Ok(token.map(|token| Event::Opened { token, fid: Fid(fid), iounit }))
            }
            _ => Err(Broken::new("Ropen before its Rwalk")),
        }
    }

    /// A read or write succeeded; was it on the file that was meant?
    fn done<'a>(
        &self,
        fid: u32,
        token: Token,
        event: Event<'a>,
    ) -> Result<Option<Event<'a>>, Broken> {
        match self.files.get(&fid).map(|file| &file.state) {
            Some(FileState::Open) => Ok(Some(event)),
            Some(FileState::Failed(error)) => {
                Ok(Some(Event::Failed { token, error: error.clone() }))
            }
            Some(FileState::Opening { .. }) => Err(Broken::new("Rread or Rwrite before its Ropen")),
            None => Err(Broken::new("Rread or Rwrite on a fid that was clunked")),
        }
    }

    fn failure(&self, fid: u32) -> Option<crate::Error> {
        match &self.files.get(&fid)?.state {
            FileState::Failed(error) => Some(error.clone()),
            _ => None,
        }
    }
}

const MISFIT: &str = "answer of a type that does not fit its request";

impl Pending {
    fn fid(&self) -> Option<u32> {
        match self {
            Pending::Walk { fid, .. }
            | Pending::Open { fid }
            | Pending::Read { fid, .. }
            | Pending::Write { fid, .. }
            | Pending::Clunk { fid } => Some(*fid),
            Pending::Attach | Pending::Flush { .. } | Pending::Ping { .. } => None,
        }
    }

    /// May this be its answer?
    fn check(&self, message: &Rmessage<'_>) -> Result<(), Broken> {
        let (asked, got) = match (self, message) {
            (Pending::Flush { .. } | Pending::Ping { .. }, Rmessage::Flush) => return Ok(()),
            // A flush cannot fail (flush(5)).
            (Pending::Flush { .. } | Pending::Ping { .. }, _) => return Err(Broken::new(MISFIT)),
            (Pending::Attach, Rmessage::Attach { .. })
            | (Pending::Open { .. }, Rmessage::Open { .. })
            | (Pending::Clunk { .. }, Rmessage::Clunk)
            | (_, Rmessage::Error(_)) => return Ok(()),
            (Pending::Walk { names, .. }, Rmessage::Walk { names: walked }) => (*names, *walked),
            (Pending::Read { count, .. }, Rmessage::Read { count: got, .. })
            | (Pending::Write { count, .. }, Rmessage::Write { count: got }) => {
                (*count as usize, *got as usize)
            }
            _ => return Err(Broken::new(MISFIT)),
        };
        if got > asked {
            return Err(Broken::new(format!("answer of {got} where {asked} were asked for")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::request;
    use crate::{Dialect, Error, Qid, Reply, Request};
    use std::collections::{HashMap, HashSet};

    const T1: Token = Token(1);
    const T2: Token = Token(2);
    const T3: Token = Token(3);
    const MSIZE: u32 = 65536;

    fn reply(tag: u16, reply: &Reply<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode::reply(Dialect::Unix, tag, reply, &mut out);
        out
    }

    fn rversion(msize: u32, version: &[u8]) -> Vec<u8> {
        reply(NOTAG, &Reply::Version { msize, version })
    }

    const QID: Qid = Qid { kind: 0, version: 1, path: 9 };
    const OPEN: Reply<'_> = Reply::Open { qid: QID, iounit: 0 };

    fn error(text: &'static str) -> Reply<'static> {
        Reply::Error(Error::new(2, text))
    }

    fn failed(token: Token, text: &'static str) -> Result<Option<Event<'static>>, Broken> {
        Ok(Some(Event::Failed { token, error: Error::new(2, text) }))
    }

    fn data(text: &[u8]) -> Reply<'_> {
        Reply::Data { readdir: false, data: text }
    }

    fn walk(names: usize) -> Reply<'static> {
        Reply::Walk { qids: &[QID; 16][..names] }
    }

    /// What the client has to send, decoded; tag by tag.
    fn sent(client: &mut Client) -> Vec<(u16, String)> {
        let out = client.take_output();
        let (mut rest, mut list) = (&out[..], Vec::new());
        while let Some(len) = decode::frame_len(rest) {
            let (frame, behind) = rest.split_at(len as usize);
            let (tag, request) = request(Some(Dialect::Unix), frame).unwrap();
            list.push((tag, format!("{:?}", request.unwrap())));
            rest = behind;
        }
        list
    }

    fn take<'a>(client: &mut Client, frame: &'a [u8]) -> Result<Option<Event<'a>>, Broken> {
        client.handle_frame(Frame::whole(frame))
    }

    /// Answers `tag`, which has to mean nothing to the caller.
    fn quiet(client: &mut Client, tag: u16, message: &Reply<'_>) {
        assert_eq!(take(client, &reply(tag, message)), Ok(None), "{message:?}");
    }

    fn reason(client: &mut Client, frame: &[u8]) -> String {
        let reason = take(client, frame).unwrap_err().reason;
        assert_eq!(client.broken().unwrap().reason, reason);
        // And it stays so.
        assert_eq!(take(client, &reply(0, &Reply::Flush)).unwrap_err().reason, reason);
        reason
    }

    /// Version and attach are over; tag 0 is free again.
    fn attached() -> Client {
        let mut client = Client::new(MSIZE);
        client.take_output();
        quiet(&mut client, NOTAG, &Reply::Version { msize: MSIZE, version: VERSION });
        quiet(&mut client, 0, &Reply::Attach { qid: QID });
        assert_eq!(client.outstanding(), 0);
        client
    }

    /// `f` is open; tags 0 and 1 are free, 1 is given out first.
    fn opened() -> (Client, Fid) {
        let mut client = attached();
        let fid = client.open(&[b"f"], OpenMode::ReadWrite, T1);
        client.take_output();
        quiet(&mut client, 0, &walk(1));
        let frame = reply(1, &OPEN);
        let event = take(&mut client, &frame);
        assert_eq!(event, Ok(Some(Event::Opened { token: T1, fid, iounit: 0 })));
        (client, fid)
    }

    #[test]
    fn the_first_flight_byte_for_byte() {
        let mut client = Client::new(MSIZE);
        let fid = client.open(&[b"f", b"data"], OpenMode::Read, T1);
        client.read(fid, 5, 16, T2);
        client.clunk(fid);
        let expected = [
            &b"\x15\0\0\0\x64\xff\xff\0\0\x01\0\x08\09P2000.u"[..],
            b"\x1d\0\0\0\x68\0\0\0\0\0\0\xff\xff\xff\xff\x06\0nobody\0\0\xff\xff\xff\xff",
            b"\x1a\0\0\0\x6e\x01\0\0\0\0\0\x01\0\0\0\x02\0\x01\0f\x04\0data",
            b"\x0c\0\0\0\x70\x02\0\x01\0\0\0\0",
            b"\x17\0\0\0\x74\x03\0\x01\0\0\0\x05\0\0\0\0\0\0\0\x10\0\0\0",
            b"\x0b\0\0\0\x78\x04\0\x01\0\0\0",
        ];
        assert_eq!(client.take_output(), expected.concat());
        assert_eq!(client.outstanding(), 6);
        assert_eq!(client.msize(), None);
    }

    #[test]
    fn the_answers_byte_for_byte() {
        let mut client = Client::new(MSIZE);
        let fid = client.open(&[b"f"], OpenMode::Read, T1);
        client.read(fid, 0, 16, T2);
        client.write(fid, 0, b"hello", T3);
        client.clunk(fid);
        let qid = [0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        let opened = [&[24, 0, 0, 0, 113, 2, 0][..], &qid, &[0x18, 0, 0, 0]].concat();
        let read = [13, 0, 0, 0, 117, 3, 0, 2, 0, 0, 0, b'h', b'i'];
        let steps: [(&[u8], Option<Event<'_>>); 7] = [
            (b"\x15\0\0\0\x65\xff\xff\0\0\x01\0\x08\09P2000.u", None),
            (&[&[20, 0, 0, 0, 105, 0, 0], &qid[..]].concat(), None),
            (&[&[22, 0, 0, 0, 111, 1, 0, 1, 0], &qid[..]].concat(), None),
            (&opened, Some(Event::Opened { token: T1, fid, iounit: 24 })),
            (&read, Some(Event::Read { token: T2, len: 2, data: Some(b"hi") })),
            (&[11, 0, 0, 0, 119, 4, 0, 5, 0, 0, 0], Some(Event::Written { token: T3, count: 5 })),
            (&[7, 0, 0, 0, 121, 5, 0], None),
        ];
        for (frame, event) in steps {
            assert_eq!(take(&mut client, frame), Ok(event), "{frame:?}");
        }
        assert_eq!((client.outstanding(), client.msize()), (0, Some(MSIZE)));
        assert!(client.files.is_empty());
    }

    #[test]
    fn a_read_is_known_by_its_header() {
        let (mut client, fid) = opened();
        client.read(fid, 0, 4096, T2);
        let head = encode::rread_header(1, 4096);
        let event = client.handle_frame(Frame { head: &head, len: 4096 + 11 });
        assert_eq!(event, Ok(Some(Event::Read { token: T2, len: 4096, data: None })));
    }

    #[test]
    fn answers_come_in_any_order_and_tags_are_used_again() {
        let (mut client, fid) = opened();
        for round in 0..3 {
            for token in [T1, T2, T3] {
                client.read(fid, round, 8, token);
            }
            let tags: Vec<u16> = sent(&mut client).iter().map(|(tag, _)| *tag).collect();
            assert_eq!(tags.iter().copied().collect::<HashSet<_>>(), HashSet::from([0, 1, 2]));
            for (tag, token) in [(tags[2], T3), (tags[0], T1), (tags[1], T2)] {
                let frame = reply(tag, &data(b""));
                let expected = Event::Read { token, len: 0, data: Some(b"") };
                assert_eq!(take(&mut client, &frame), Ok(Some(expected)));
            }
        }
    }

    #[test]
    fn a_long_path_is_walked_in_steps() {
        let mut client = attached();
        let path: Vec<&[u8]> = vec![b"d"; 40];
        client.open(&path, OpenMode::Read, T1);
        let sent = sent(&mut client);
        assert!(sent[0].1.starts_with("Walk { fid: 0, newfid: 1, "));
        assert!(sent[1].1.starts_with("Walk { fid: 1, newfid: 1, "));
        assert!(sent[2].1.starts_with("Walk { fid: 1, newfid: 1, "));
        assert_eq!(sent[3].1, "Open { fid: 1, mode: 0 }");
        for (tag, names) in [(0, 16), (1, 16), (2, 8)] {
            quiet(&mut client, tag, &walk(names));
        }
        assert!(matches!(take(&mut client, &reply(3, &OPEN)), Ok(Some(Event::Opened { .. }))));
    }

    #[test]
    fn the_root_is_opened_by_a_walk_of_no_names() {
        let mut client = attached();
        client.open(&[], OpenMode::Read, T1);
        assert_eq!(sent(&mut client)[0].1, "Walk { fid: 0, newfid: 1, names: Names { list: [] } }");
        quiet(&mut client, 0, &walk(0));
        assert!(matches!(take(&mut client, &reply(1, &OPEN)), Ok(Some(Event::Opened { .. }))));
    }

    /// Opens a file of two names, reads and writes it, and clunks it if so.
    fn flight(clunk: bool) -> (Client, Fid) {
        let mut client = attached();
        let fid = client.open(&[b"d", b"f"], OpenMode::ReadWrite, T1);
        client.read(fid, 0, 100, T2);
        client.write(fid, 0, b"x", T3);
        if clunk {
            client.clunk(fid);
        }
        client.take_output();
        (client, fid)
    }

    #[test]
    fn a_failed_walk_fails_everything_once() {
        for first in [error("gone"), walk(1)] {
            let words = if first == walk(1) { "No such file or directory" } else { "gone" };
            for clunk in [false, true] {
                let (mut client, fid) = flight(clunk);
                assert_eq!(take(&mut client, &reply(0, &first)), failed(T1, words));
                // Clunked in any case, and never twice.
                client.clunk(fid);
                assert_eq!(sent(&mut client).len(), usize::from(!clunk));
                quiet(&mut client, 1, &error("fid unknown"));
                for (tag, token) in [(2, T2), (3, T3)] {
                    let frame = reply(tag, &error("fid unknown"));
                    assert_eq!(take(&mut client, &frame), failed(token, words));
                }
                quiet(&mut client, 4, &error("fid unknown"));
                assert_eq!((client.outstanding(), client.files.len()), (0, 0));
                assert_ne!(client.open(&[], OpenMode::Read, T1), fid);
            }
        }
    }

    #[test]
    fn success_behind_a_short_walk_is_not_believed() {
        // Some servers make the fid after a partial walk.
        let (mut client, fid) = flight(false);
        assert_eq!(take(&mut client, &reply(0, &walk(1))), failed(T1, "No such file or directory"));
        quiet(&mut client, 1, &OPEN);
        let wrong = reply(2, &data(b"of the directory"));
        assert_eq!(take(&mut client, &wrong), failed(T2, "No such file or directory"));
        let wrong = reply(3, &Reply::Write { count: 1 });
        assert_eq!(take(&mut client, &wrong), failed(T3, "No such file or directory"));
        assert_eq!(sent(&mut client), [(4, format!("Clunk {{ fid: {} }}", fid.0))]);
        quiet(&mut client, 4, &Reply::Clunk);
        assert!(client.files.is_empty());
    }

    #[test]
    fn a_refused_open_gives_its_fid_back() {
        let (mut client, _) = flight(false);
        quiet(&mut client, 0, &walk(2));
        assert_eq!(take(&mut client, &reply(1, &error("no"))), failed(T1, "no"));
        assert_eq!(sent(&mut client).len(), 1);
        assert_eq!(take(&mut client, &reply(2, &error("bad use"))), failed(T2, "no"));
        // The clunk took the tag that the walk had left.
        quiet(&mut client, 0, &Reply::Clunk);
        // The last answer may come behind the clunk's.
        assert_eq!(take(&mut client, &reply(3, &error("bad use"))), failed(T3, "no"));
        assert!(client.files.is_empty());
    }

    #[test]
    fn a_failed_read_leaves_the_fid_open() {
        let (mut client, fid) = opened();
        client.read(fid, 0, 8, T2);
        assert_eq!(take(&mut client, &reply(1, &error("stale"))), failed(T2, "stale"));
        client.read(fid, 0, 8, T3);
        let frame = reply(1, &data(b"ok"));
        let expected = Event::Read { token: T3, len: 2, data: Some(b"ok") };
        assert_eq!(take(&mut client, &frame), Ok(Some(expected)));
    }

    #[test]
    fn a_read_on_a_clunked_fid_fails_once() {
        let (mut client, fid) = opened();
        client.clunk(fid);
        quiet(&mut client, 1, &Reply::Clunk);
        client.read(fid, 0, 8, T2);
        assert_eq!(take(&mut client, &reply(1, &error("fid?"))), failed(T2, "fid?"));
        assert_eq!(client.outstanding(), 0);
    }

    #[test]
    fn a_flushed_read_is_silent_and_keeps_its_tag_until_rflush() {
        for answered in [false, true] {
            let (mut client, fid) = opened();
            client.read(fid, 0, 8, T2);
            client.flush(T2);
            client.flush(T2);
            assert_eq!(sent(&mut client)[1..], [(0, "Flush { oldtag: 1 }".to_string())]);
            if answered {
                quiet(&mut client, 1, &data(b"late"));
            }
            client.read(fid, 0, 8, T3);
            assert_eq!(sent(&mut client)[0].0, 2);
            quiet(&mut client, 0, &Reply::Flush);
            assert_eq!(client.outstanding(), 1);
            // Behind its Rflush the tag is nobody's.
            let frame = reply(1, &data(b"later"));
            assert!(reason(&mut client, &frame).contains("tag 1"));
        }
    }

    #[test]
    fn a_given_up_tag_is_answered_once_at_most() {
        let (mut client, fid) = opened();
        client.read(fid, 0, 8, T2);
        client.flush(T2);
        quiet(&mut client, 1, &error("interrupted"));
        assert!(reason(&mut client, &reply(1, &data(b""))).contains("tag 1"));
    }

    #[test]
    fn a_given_up_open_is_clunked_in_silence() {
        for message in [walk(1), error("gone")] {
            let mut client = attached();
            let fid = client.open(&[b"f"], OpenMode::Read, T1);
            client.flush(T1);
            client.flush(T1);
            let sent = sent(&mut client);
            assert_eq!(sent[2..], [(2, format!("Clunk {{ fid: {} }}", fid.0))]);
            quiet(&mut client, 0, &message);
            quiet(&mut client, 1, if message == walk(1) { &OPEN } else { &message });
            quiet(&mut client, 2, &Reply::Clunk);
            assert!(client.files.is_empty());
        }
    }

    #[test]
    fn a_ping_is_answered_past_parked_reads() {
        let (mut client, fid) = opened();
        client.read(fid, 0, 8, T1);
        client.ping(T2);
        assert_eq!(sent(&mut client)[1], (0, "Flush { oldtag: 65534 }".to_string()));
        assert_eq!(
            take(&mut client, &[7, 0, 0, 0, 109, 0, 0]),
            Ok(Some(Event::Pong { token: T2 }))
        );
        client.ping(T3);
        client.flush(T3);
        quiet(&mut client, 0, &Reply::Flush);
        assert_eq!(client.outstanding(), 1);
    }

    #[test]
    fn a_server_that_does_not_agree_breaks_the_session() {
        let case = |frame: &[u8]| reason(&mut Client::new(MSIZE), frame);
        assert!(case(&rversion(MSIZE, b"unknown")).contains("\"unknown\""));
        assert!(case(&rversion(MSIZE, b"9P2000")).contains("not 9P2000.u"));
        assert!(case(&rversion(MSIZE + 1, VERSION)).contains("raises"));
        assert!(case(&rversion(4096, VERSION)).contains("4096 is below 8192"));
        assert!(case(&reply(NOTAG, &error("go away"))).contains("go away"));
        assert!(case(&reply(NOTAG, &Reply::Flush)).contains("Rversion"));
        assert!(case(&reply(0, &Reply::Attach { qid: QID })).contains("before Rversion"));
        let mut client = Client::new(MSIZE);
        quiet(&mut client, NOTAG, &Reply::Version { msize: MSIZE, version: VERSION });
        assert!(reason(&mut client, &reply(0, &error("not you"))).contains("not you"));
    }

    #[test]
    fn a_lower_msize_shortens_reads() {
        let mut client = Client::new(1 << 20);
        let fid = client.open(&[b"f"], OpenMode::Read, T1);
        client.read(fid, 0, u32::MAX, T2);
        assert!(sent(&mut client)[4].1.contains("count: 1048552"));
        quiet(&mut client, NOTAG, &Reply::Version { msize: MSIZE, version: VERSION });
        assert_eq!(client.read_len_max(), MSIZE - 24);
        client.read(fid, 0, u32::MAX, T3);
        client.write(fid, 0, &[0; 70_000], T3);
        let sent = sent(&mut client);
        assert!(sent[0].1.contains("count: 65512"));
        quiet(&mut client, 0, &Reply::Attach { qid: QID });
        quiet(&mut client, 1, &walk(1));
        assert!(take(&mut client, &reply(2, &OPEN)).is_ok());
        // The read that was too large comes back short.
        let head = encode::rread_header(3, MSIZE - 24);
        let event = client.handle_frame(Frame { head: &head, len: MSIZE - 13 });
        assert_eq!(event, Ok(Some(Event::Read { token: T2, len: MSIZE - 24, data: None })));
        let written = reply(5, &Reply::Write { count: 65512 });
        assert_eq!(
            take(&mut client, &written),
            Ok(Some(Event::Written { token: T3, count: 65512 }))
        );
    }

    #[test]
    fn a_write_that_left_too_large_breaks_the_session() {
        let mut client = Client::new(1 << 20);
        let fid = client.open(&[b"f"], OpenMode::Write, T1);
        client.write(fid, 0, &[0; 70_000], T2);
        assert!(reason(&mut client, &rversion(MSIZE, VERSION)).contains("is below 70023"));
    }

    #[test]
    fn answers_that_cannot_be_meant_break_the_session() {
        let case = |frame: &[u8]| {
            let (mut client, fid) = opened();
            client.read(fid, 0, 8, T2); // tag 1
            client.write(fid, 0, b"ab", T3); // tag 0
            client.open(&[b"g"], OpenMode::Read, T1); // tags 2, 3
            client.ping(Token(9)); // tag 4
            reason(&mut client, frame)
        };
        assert!(case(&reply(1, &data(b"123456789"))).contains("9 where 8"));
        assert!(case(&reply(0, &Reply::Write { count: 3 })).contains("3 where 2"));
        assert!(case(&reply(2, &walk(2))).contains("2 where 1"));
        assert!(case(&reply(3, &OPEN)).contains("before its Rwalk"));
        assert!(case(&reply(1, &Reply::Write { count: 3 })).contains("type"));
        assert!(case(&reply(2, &Reply::Clunk)).contains("type"));
        assert!(case(&reply(4, &error("what?"))).contains("type"));
        assert!(case(&reply(5, &data(b""))).contains("tag 5"));
        assert!(case(&rversion(MSIZE, VERSION)).contains("tag 65535"));
        assert!(case(&reply(1, &Reply::Stat { attr: &Default::default() })).contains("125"));
        assert!(case(&[8, 0, 0, 0, 117, 1, 0]).contains("size is 8"));
        assert!(case(&[7, 0, 0, 0, 117, 1, 0]).contains("ends within"));
    }

    #[test]
    fn data_before_its_open_and_frames_above_msize_break_the_session() {
        let (mut client, _) = flight(false);
        assert!(reason(&mut client, &reply(2, &data(b"x"))).contains("before its Ropen"));
        let (mut client, fid) = opened();
        client.read(fid, 0, 8, T2);
        let head = encode::rread_header(1, MSIZE);
        let frame = Frame { head: &head, len: MSIZE + 11 };
        assert!(client.handle_frame(frame).unwrap_err().reason.contains("above msize"));
    }

    #[test]
    fn limits_break_the_session_aloud() {
        let (mut client, fid) = opened();
        while client.room() > 0 {
            client.read(fid, 0, 8, T2);
        }
        assert_eq!(client.outstanding(), OUTSTANDING_MAX);
        // These are always possible.
        client.flush(T2);
        client.clunk(fid);
        assert_eq!(client.outstanding(), 2 * OUTSTANDING_MAX + 1);
        assert_eq!(client.broken(), None);
        let before = client.output().len();
        client.read(fid, 0, 8, T3);
        assert!(client.broken().unwrap().reason.contains("4096 requests"));
        assert_eq!(client.output().len(), before);

        let mut client = attached();
        for _ in 0..FIDS_MAX {
            client.open(&[b"f"], OpenMode::Read, T1);
            quiet(&mut client, 0, &walk(1));
            assert!(take(&mut client, &reply(1, &OPEN)).is_ok());
            // The two tags come back in the other order.
            client.free_tags.sort_by_key(|tag| core::cmp::Reverse(*tag));
        }
        client.open(&[b"f"], OpenMode::Read, T1);
        assert!(client.broken().unwrap().reason.contains("4096 fids"));
    }

    #[test]
    fn fid_numbers_skip_those_in_use() {
        let (mut client, fid) = opened();
        client.next_fid = NOFID - 1;
        assert_eq!(client.unused_fid(), NOFID - 1);
        assert_eq!((fid.0, client.unused_fid()), (1, 2));
    }

    /// A server of a few files, in the words of `wire`: the other half.
    struct Server {
        files: HashMap<Vec<u8>, Vec<u8>>,
        /// Path and whether it is open.
        fids: HashMap<u32, (Vec<u8>, bool)>,
        dialect: Option<Dialect>,
    }

    impl Server {
        fn new() -> Server {
            let file = |name: &str, len: usize| {
                let bytes = (0..len).map(|at| (at % 251) as u8).collect();
                (name.as_bytes().to_vec(), bytes)
            };
            let deep = "/d".repeat(39) + "/f";
            let files = [file("/a/data", 100_000), file(&deep, 10), file("/\u{fc}", 0)].into();
            Server { files, fids: HashMap::new(), dialect: None }
        }

        fn is_place(&self, path: &[u8]) -> bool {
            self.files.keys().any(|file| {
                file.starts_with(path) && (file.len() == path.len() || file[path.len()] == b'/')
            })
        }

        fn walk(&mut self, fid: u32, newfid: u32, names: &[&[u8]]) -> Result<usize, Error> {
            let mut path = self.fids.get(&fid).ok_or(crate::BAD_FID)?.0.clone();
            for (walked, name) in names.iter().enumerate() {
                path.push(b'/');
                path.extend_from_slice(name);
                if !self.is_place(&path) {
                    return if walked == 0 { Err(ENOENT) } else { Ok(walked) };
                }
            }
            self.fids.insert(newfid, (path, false));
            Ok(names.len())
        }

        fn read(&self, fid: u32, offset: u64, count: u32) -> Result<&[u8], Error> {
            let (path, open) = self.fids.get(&fid).ok_or(crate::BAD_FID)?;
            let bytes = self.files.get(path).filter(|_| *open).ok_or(crate::BAD_USE_OF_FID)?;
            let rest = bytes.get(offset as usize..).unwrap_or(&[]);
            Ok(&rest[..rest.len().min(count as usize)])
        }

        fn handle(&mut self, frame: &[u8], out: &mut Vec<u8>) {
            let (tag, request) = request(self.dialect, frame).unwrap();
            let qids = [QID; 16];
            let result = match request.unwrap() {
                Request::Version { msize, .. } => {
                    self.dialect = Some(Dialect::Unix);
                    Ok(Reply::Version { msize: msize.min(MSIZE), version: VERSION })
                }
                Request::Attach { fid, .. } => {
                    self.fids.insert(fid, (Vec::new(), false));
                    Ok(Reply::Attach { qid: QID })
                }
                Request::Walk { fid, newfid, names } => self
                    .walk(fid, newfid, &names.list)
                    .map(|walked| Reply::Walk { qids: &qids[..walked] }),
                Request::Open { fid, .. } => match self.fids.get_mut(&fid) {
                    Some((_, open)) => {
                        *open = true;
                        Ok(OPEN)
                    }
                    None => Err(crate::BAD_FID),
                },
                Request::Read { fid, offset, count } => {
                    self.read(fid, offset, count.min(MSIZE - 24)).map(data)
                }
                Request::Clunk { fid } => {
                    self.fids.remove(&fid).map(|_| Reply::Clunk).ok_or(crate::BAD_FID)
                }
                Request::Flush { .. } => Ok(Reply::Flush),
                other => panic!("{other:?}"),
            };
            let message = result.unwrap_or_else(Reply::Error);
            encode::reply(Dialect::Unix, tag, &message, out);
        }
    }

    /// Everything the client has to send goes to the server, and back; Rreads
    /// come as headers if `bare`.
    fn exchange(client: &mut Client, server: &mut Server, bare: bool) -> Vec<String> {
        let mut events = Vec::new();
        loop {
            let out = client.take_output();
            if out.is_empty() {
                return events;
            }
            let (mut rest, mut answers) = (&out[..], Vec::new());
            while let Some(len) = decode::frame_len(rest) {
                let (frame, behind) = rest.split_at(len as usize);
                server.handle(frame, &mut answers);
                rest = behind;
            }
            let mut rest = &answers[..];
            while let Some(len) = decode::frame_len(rest) {
                let (frame, behind) = rest.split_at(len as usize);
                let head = if bare && frame[4] == 117 { &frame[..11] } else { frame };
                if let Some(event) = client.handle_frame(Frame { head, len }).unwrap() {
                    events.push(match event {
                        Event::Opened { token, .. } => format!("{} opened", token.0),
                        Event::Read { token, len, data } => {
                            let sum = data.map(|data| data.iter().map(|b| u64::from(*b)).sum());
                            format!("{} read {len} {sum:?}", token.0, sum = sum.unwrap_or(0u64))
                        }
                        Event::Failed { token, error } => format!("{} {}", token.0, error.text),
                        other => format!("{other:?}"),
                    });
                }
                rest = behind;
            }
        }
    }

    #[test]
    fn client_and_server_agree_in_one_flight() {
        for bare in [false, true] {
            let (mut client, mut server) = (Client::new(1 << 20), Server::new());
            let deep: Vec<&[u8]> = [vec![&b"d"[..]; 39], vec![b"f"]].concat();
            let paths: [&[&[u8]]; 4] =
                [&[b"a", b"data"], &deep, &["\u{fc}".as_bytes()], &[b"a", b"nothing"]];
            for (at, path) in paths.iter().enumerate() {
                let token = |part: u64| Token(at as u64 * 10 + part);
                let fid = client.open(path, OpenMode::Read, token(0));
                client.read(fid, 0, 100_000, token(1));
                client.clunk(fid);
            }
            client.ping(Token(99));
            let sums = if bare { [0, 0, 0] } else { [8_188_875, 45, 0] };
            let events = exchange(&mut client, &mut server, bare);
            let expected = [
                "0 opened".to_string(),
                format!("1 read 65512 {}", sums[0]),
                "10 opened".to_string(),
                format!("11 read 10 {}", sums[1]),
                "20 opened".to_string(),
                format!("21 read 0 {}", sums[2]),
                "30 No such file or directory".to_string(),
                "31 No such file or directory".to_string(),
                "Pong { token: Token(99) }".to_string(),
            ];
            assert_eq!(events, expected);
            assert_eq!((client.outstanding(), client.files.len()), (0, 0));
            assert_eq!(server.fids.len(), 1, "only the root is left");
        }
    }
}
