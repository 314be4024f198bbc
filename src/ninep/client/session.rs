//! One connection's requests and what their answers mean.

use super::event::{Broken, Event, Fid, Frame, OpenMode, Token};
use super::fids::{Fids, ROOT};
use super::tags::{Pending, Tags, UNUSED_TAG};
use crate::error::{ENOENT, Error};
use crate::message::{Dialect, IO_HEADER_LEN, NOTAG, WALK_NAMES_MAX};
use crate::wire::reply::{self, Rmessage};
use crate::wire::request;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

const DIALECT: Dialect = Dialect::Unix;
/// Servers are not told who asks: what they serve, they serve to everybody.
const UNAME: &[u8] = b"nobody";

/// Least msize, in bytes, of either side. Below this, sixteen names of a walk
/// might not fit.
pub const MSIZE_MIN: u32 = 8192;
/// Requests in flight; [`Client::room`] tells how many are left. Flushes and
/// clunks come on top: at most one for each of them and for each fid.
pub const OUTSTANDING_MAX: usize = 4096;
/// Fids that are open, or on their way to or from it.
pub const FIDS_MAX: usize = 4096;

const _: () = assert!(2 * OUTSTANDING_MAX + FIDS_MAX < UNUSED_TAG as usize);

/// The client's side of one connection.
#[derive(Debug)]
pub struct Client {
    msize_offered: u32,
    /// Agreed on, once Rversion is here.
    msize: Option<u32>,
    /// Largest frame queued before the server had a say.
    sent_len_max: u32,
    pub(super) tags: Tags,
    pub(super) fids: Fids,
    out: Vec<u8>,
    /// Of who has to prove himself first: what goes before `out`, and the file for it.
    proving: Option<(Vec<u8>, u32)>,
    broken: Option<Broken>,
}

impl Client {
    /// Queues the version and the attach to the default tree. `msize` is the
    /// longest frame, in bytes, that is taken; at least [`MSIZE_MIN`].
    pub fn new(msize: u32) -> Client {
        Client::attached(msize, b"")
    }

    /// The same of the tree of this name (`aname` of attach(5)).
    pub fn attached(msize: u32, aname: &[u8]) -> Client {
        let mut client = Client::unattached(msize);
        if let Some(tag) = client.tag_for(Pending::Attach) {
            request::tattach(tag, ROOT, UNAME, aname, &mut client.out);
        }
        client
    }

    /// The same for a server that wants to know who asks (attach(5)): with the version leaves
    /// a Tauth for the tree `aname`, what is to be said by it, and a read of at most `count`
    /// bytes, whose [`Read`](Event::Read) or [`Failed`](Event::Failed) has this token. All else
    /// is held back until [`prove`](Client::prove).
    pub fn proving(msize: u32, aname: &[u8], said: &[u8], count: u32, token: Token) -> Client {
        let mut client = Client::unattached(msize);
        let afid = client.fids.unused();
        client.fids.begin(afid, 0, None);
        if let Some(tag) = client.tag_for(Pending::Auth { fid: afid }) {
            request::tauth(tag, afid, UNAME, aname, &mut client.out);
        }
        client.say(afid, said);
        client.read(Fid(afid), 0, count, token);
        client.proving = Some((core::mem::take(&mut client.out), afid));
        client
    }

    /// Says the last word of an authentication, and attaches by it; what was held back follows.
    pub fn prove(&mut self, said: &[u8], aname: &[u8]) {
        let Some((unsent, afid)) = self.proving.take() else { return };
        let held = core::mem::replace(&mut self.out, unsent);
        self.say(afid, said);
        if let Some(tag) = self.tag_for(Pending::Attach) {
            request::tattach_by(tag, ROOT, afid, UNAME, aname, &mut self.out);
        }
        self.clunk(Fid(afid));
        self.out.extend_from_slice(&held);
    }

    /// A write of which nobody wants to know more than when it is refused.
    fn say(&mut self, fid: u32, said: &[u8]) {
        if let Some(tag) = self.tag_for(Pending::Say { fid, count: said.len() as u32 }) {
            request::twrite(tag, fid, 0, said, &mut self.out);
        }
    }

    fn unattached(msize: u32) -> Client {
        let mut client = Client {
            msize_offered: msize.max(MSIZE_MIN),
            msize: None,
            sent_len_max: 0,
            tags: Tags::default(),
            fids: Fids::new(),
            out: Vec::new(),
            proving: None,
            broken: None,
        };
        request::tversion(client.msize_offered, DIALECT, &mut client.out);
        client
    }

    /// Walks to `path` (no names: the root) and opens it. The fid can be used
    /// at once. It is to be clunked once, at any time; after
    /// [`Failed`](Event::Failed) it has been already. More than [`FIDS_MAX`]
    /// break the session.
    pub fn open(&mut self, path: &[&[u8]], mode: OpenMode, token: Token) -> Fid {
        let fid = self.fids.unused();
        if self.fids.len() >= FIDS_MAX {
            self.break_off(format!("more than {FIDS_MAX} fids in use"));
            return Fid(fid);
        }
        let walks = path.len().div_ceil(WALK_NAMES_MAX).max(1);
        self.fids.begin(fid, walks, Some(token));
        // No names at all still need the walk that clones the root.
        self.walk(ROOT, fid, &path[..path.len().min(WALK_NAMES_MAX)]);
        for names in path.chunks(WALK_NAMES_MAX).skip(1) {
            self.walk(fid, fid, names);
        }
        if let Some(tag) = self.tag_for(Pending::Open { fid }) {
            request::topen(tag, fid, mode as u8, &mut self.out);
        }
        Fid(fid)
    }

    fn walk(&mut self, from: u32, fid: u32, names: &[&[u8]]) {
        if let Some(tag) = self.tag_for(Pending::Walk { fid, names: names.len() }) {
            request::twalk(tag, from, fid, names, &mut self.out);
        }
    }

    /// Asks for at most `count` bytes from byte `offset` on, and never for more
    /// than [`data_len_max`](Client::data_len_max).
    pub fn read(&mut self, fid: Fid, offset: u64, count: u32, token: Token) {
        let count = count.min(self.data_len_max());
        if let Some(tag) = self.tag_for(Pending::Read { fid: fid.0, count, token }) {
            request::tread(tag, fid.0, offset, count, &mut self.out);
        }
    }

    /// Writes as much of `data` as a frame holds to the bytes from `offset` on;
    /// [`Written`](Event::Written) tells how much the server took.
    pub fn write(&mut self, fid: Fid, offset: u64, data: &[u8], token: Token) {
        let data = &data[..data.len().min(self.data_len_max() as usize)];
        let count = data.len() as u32;
        if let Some(tag) = self.tag_for(Pending::Write { fid: fid.0, count, token }) {
            let before = self.out.len();
            request::twrite(tag, fid.0, offset, data, &mut self.out);
            if self.msize.is_none() {
                self.sent_len_max = self.sent_len_max.max((self.out.len() - before) as u32);
            }
        }
    }

    /// Gives the fid back. What is outstanding on it is still answered. A fid
    /// that was given back before is ignored.
    pub fn clunk(&mut self, fid: Fid) {
        if self.fids.clunk(fid.0)
            && let Some(tag) = self.tag_for(Pending::Clunk { fid: fid.0 })
        {
            request::tclunk(tag, fid.0, &mut self.out);
        }
    }

    /// Gives a request up: its token is not reported any more. An open that is
    /// given up is clunked; what was asked of its fid is not given up with it.
    pub fn flush(&mut self, token: Token) {
        // An open is never flushed on the wire: servers answer it at once, and a
        // flushed walk leaves it unsaid whether its fid exists (flush(5)).
        if let Some(fid) = self.fids.give_up(token) {
            self.clunk(Fid(fid));
        }
        for oldtag in self.tags.give_up(token) {
            if let Some(tag) = self.tag_for(Pending::Flush { oldtag }) {
                request::tflush(tag, oldtag, &mut self.out);
            }
        }
    }

    /// Asks whether the server lives. It answers at once, even when all reads
    /// are parked: a flush of a tag that is not in use may not wait.
    pub fn ping(&mut self, token: Token) {
        if let Some(tag) = self.tag_for(Pending::Ping { token: Some(token) }) {
            request::tflush(tag, UNUSED_TAG, &mut self.out);
        }
    }

    /// Takes a frame. `None` for an Rread means that nobody wants its data any
    /// more, as does any event but [`Read`](Event::Read).
    ///
    /// # Errors
    ///
    /// [`Broken`] if the server cannot have meant this, or refuses version or
    /// attach; from then on always the same.
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
        match &mut self.proving {
            Some((first, _)) => first,
            None => &mut self.out,
        }
    }

    /// Takes out all that is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        core::mem::take(self.output())
    }

    /// Requests without an answer, the version and flushes among them.
    pub fn outstanding(&self) -> usize {
        self.tags.in_use() + usize::from(self.msize.is_none())
    }

    /// How many requests may be added. A read, write or ping takes one, an open
    /// one and one for every 16 names begun. More breaks the session.
    pub fn room(&self) -> usize {
        OUTSTANDING_MAX.saturating_sub(self.outstanding())
    }

    /// The most bytes that one read or write moves. It may shrink with Rversion.
    /// Larger reads that left before it come back short, as any read may, or
    /// fail where a server refuses what it could cut; larger writes had broken
    /// its framing, and break the session.
    pub fn data_len_max(&self) -> u32 {
        self.frame_len_max() - IO_HEADER_LEN
    }

    /// Why the session is over, if it is.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    fn frame_len_max(&self) -> u32 {
        self.msize.unwrap_or(self.msize_offered)
    }

    fn break_off(&mut self, reason: String) {
        self.broken.get_or_insert_with(|| Broken::new(reason));
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
        if let Some(fid) = pending.fid() {
            self.fids.add_user(fid);
        }
        Some(self.tags.take(pending))
    }

    /// The request is over, and so is its tag.
    fn release(&mut self, tag: u16, pending: Pending) {
        self.tags.release(tag);
        if let Some(fid) = pending.fid() {
            self.fids.remove_user(fid);
        }
    }

    #[inline(never)]
    fn accept<'a>(&mut self, frame: Frame<'a>) -> Result<Option<Event<'a>>, Broken> {
        let msize = self.frame_len_max();
        if frame.len > msize {
            let len = frame.len;
            return Err(Broken::new(format!("frame of {len} bytes is above msize {msize}")));
        }
        let (tag, message) =
            reply::decode(frame.prefix, frame.len).map_err(|bad| Broken::new(bad.to_string()))?;
        if self.msize.is_none() {
            return self.agree(tag, message).map(|()| None);
        }
        let Some(pending) = self.tags.answered(tag, &message)? else { return Ok(None) };
        // What is held back has its tag already, and whoever answers it has not heard it.
        if self.proving.as_ref().is_some_and(|(_, afid)| !pending.is_proof(*afid)) {
            return Err(Broken::new(format!("answer to tag {tag}, which was not asked yet")));
        }
        let event = self.settle(pending, message);
        self.release(tag, pending);
        event
    }

    /// The first answer has to agree on 9P2000.u and an msize of ours.
    #[inline(never)]
    fn agree(&mut self, tag: u16, message: Rmessage<'_>) -> Result<(), Broken> {
        let (msize, version) = match message {
            _ if tag != NOTAG => return Err(Broken::new("answer before Rversion")),
            Rmessage::Version { msize, version } => (msize, version),
            Rmessage::Error(error) => {
                return Err(Broken::new(format!("server refuses 9P2000.u: {error}")));
            }
            _ => return Err(Broken::new("Tversion is not answered by Rversion")),
        };
        if version != DIALECT.version() {
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
    #[inline(never)]
    fn settle<'a>(
        &mut self,
        pending: Pending,
        message: Rmessage<'a>,
    ) -> Result<Option<Event<'a>>, Broken> {
        match (pending, message) {
            (Pending::Auth { .. }, Rmessage::Error(error)) => {
                Err(Broken::refusal(format!("server takes no proof of who asks: {error}")))
            }
            (Pending::Say { .. }, Rmessage::Error(error)) => {
                Err(Broken::refusal(format!("server refuses who asks: {error}")))
            }
            // Nobody waits for it by a token.
            (Pending::Auth { fid }, _) => self.fids.opened(fid).map(|_| None),
            (Pending::Attach, Rmessage::Error(error)) => {
                Err(Broken::refusal(format!("server refuses to attach: {error}")))
            }
            (Pending::Walk { fid, .. } | Pending::Open { fid }, Rmessage::Error(error)) => {
                Ok(self.fail(fid, error))
            }
            // A short walk is the error of the first name that it did not reach,
            // and made no fid (walk(5)).
            (Pending::Walk { fid, names }, Rmessage::Walk { names: walked }) if walked < names => {
                Ok(self.fail(fid, ENOENT))
            }
            (Pending::Walk { fid, .. }, _) => {
                self.fids.walked(fid);
                Ok(None)
            }
            (Pending::Open { fid }, Rmessage::Open { iounit, .. }) => {
                let token = self.fids.opened(fid)?;
                Ok(token.map(|token| Event::Opened { token, fid: Fid(fid), iounit }))
            }
            (
                Pending::Read { fid, token, .. } | Pending::Write { fid, token, .. },
                Rmessage::Error(error),
            ) => {
                let error = self.fids.failure(fid).unwrap_or(error);
                Ok(Some(Event::Failed { token, error }))
            }
            (Pending::Read { fid, token, .. }, Rmessage::Read { count, data }) => {
                self.done(fid, token, Event::Read { token, len: count, data })
            }
            (Pending::Write { fid, token, .. }, Rmessage::Write { count }) => {
                self.done(fid, token, Event::Written { token, count })
            }
            (Pending::Flush { oldtag }, _) => {
                if let Some(pending) = self.tags.given_up(oldtag) {
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

    /// The first failure of an opening is its event. The rest follow from it.
    fn fail(&mut self, fid: u32, error: Error) -> Option<Event<'static>> {
        let token = self.fids.fail(fid, &error)?;
        // The fid may exist all the same: after a failed open always, and some
        // servers make it on a partial walk.
        self.clunk(Fid(fid));
        token.map(|token| Event::Failed { token, error })
    }

    /// A read or write succeeded; it counts if it was on the file that was meant.
    fn done<'a>(
        &self,
        fid: u32,
        token: Token,
        event: Event<'a>,
    ) -> Result<Option<Event<'a>>, Broken> {
        Ok(Some(match self.fids.check_open(fid)? {
            None => event,
            Some(error) => Event::Failed { token, error },
        }))
    }
}
