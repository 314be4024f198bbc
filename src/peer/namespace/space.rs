//! What a node's name space is made of, and what the node itself does with it.
//!
//! Knows the generations, the conversations, the log and who waits for what:
//! the state that control files show and change. Refuses to know these files,
//! 9P's requests, and what follows from what a client writes: that queues as
//! [`Notice`]s for the node.

use super::bulk::{Bulk, Stored};
use super::conversations::{Conversations, Queued};
use super::file_id::FileId;
use super::generation::{Content, Generation, GenerationId, Origin};
use super::generations::Generations;
use super::guard::Guard;
use super::handovers::Desk;
use super::late::Late;
use super::log_lines::LogLines;
use super::parking::ParkedReads;
use super::reports::{Report, Reports};
use super::workers::Workers;
use crate::auth::{Key, Random};
use crate::content::digest::Digest;
use crate::control::NodeMessage;
use alloc::boxed::Box;
use alloc::collections::{TryReserveError, VecDeque};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::ops::Range;
use ninep::Error;
use ninep::server::{Answer, ConnId, OpenId, Ticket};
use sorted::{SortedMap, SortedSet};

/// The answer for a piece whose file could not be written here.
const LOST: Error = Error::new(5, "lost on this node: it cannot be had, or not be written");
/// The master's, for a piece of a file that is another now.
const CHANGED: Error = Error::new(5, "file changed on this server since it was hashed");

/// What a parked read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wait {
    /// A piece is held or lost.
    Piece(GenerationId, u32),
    /// Something is said on a conversation, or it ends.
    Answer(OpenId),
    /// A generation is shown at the root.
    Shown,
    /// The list of a manifest's pieces is here.
    List(GenerationId),
    /// An entry's file was hashed.
    Checksum(GenerationId, u32),
    /// Others take less of a master.
    Late,
}

/// What happened in the name space that the node has to act upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// What one write brought on `/.xget/route`: whole lines.
    RouteText(OpenId, Vec<u8>),
    /// A conversation ended: clunk, reset or lost connection.
    RouteClosed(OpenId),
    /// A line on `/log`, without its newline.
    LogLine(ConnId, Vec<u8>),
    /// A `checksum` is read and not known yet: [`NameSpace::set_checksum`].
    ChecksumWanted(GenerationId, u32),
    /// A line on `/.xget/node`: of a question [`NameSpace::answer_node`] follows.
    NodeSaid(OpenId, NodeMessage),
    /// An opening of `/.xget/node` ended.
    NodeClosed(OpenId),
    /// The node of this name opened what is for it alone: [`NameSpace::give_alone`] follows.
    AloneWanted(OpenId, String),
    /// An opening of that ended.
    AloneClosed(OpenId),
    /// A report was opened: [`NameSpace::set_report`] before the next request.
    ReportWanted(Report),
}

/// What requests do to control files, of a master or of a client (`files`).
pub(super) trait Acts: fmt::Debug + Sync {
    fn open(&self, space: &mut NameSpace, file: &FileId, opener: OpenId) -> Result<(), Error>;

    /// At this offset, so many bytes.
    fn read(
        &self,
        space: &mut NameSpace,
        file: &FileId,
        opener: OpenId,
        part: (u64, u32),
        ticket: Ticket,
    ) -> Result<Answer<Bulk>, Error>;

    fn write(
        &self,
        space: &mut NameSpace,
        file: &FileId,
        opener: OpenId,
        data: &[u8],
    ) -> Result<(), Error>;

    fn close(&self, space: &mut NameSpace, file: &FileId, opener: OpenId);
}

/// The name space that a node serves; a [`Tree`](ninep::server::Tree) for the
/// sessions of its peers.
///
/// What the node learns goes in by the methods below. Those that give a list
/// of tickets name the parked reads that can be asked again.
// fields: one for each thing that its files show
#[derive(Debug)]
pub struct NameSpace {
    pub(super) generations: Generations,
    /// Text of `/.xget/info`; reads park until it is there.
    pub(super) info: Option<String>,
    /// `/.xget/status` and `/.xget/nodes`.
    pub(super) reports: Reports,
    pub(super) log: LogLines,
    pub(super) conversations: Conversations,
    /// Of `/.xget/node`.
    pub(super) askers: Conversations,
    /// What is on its way to one node alone.
    pub(super) alone: Option<Box<dyn Desk>>,
    pub(super) workers: Workers,
    pub(super) parked: ParkedReads<Wait, Ticket>,
    /// Files whose SHA-256 the node was asked for and has not given.
    pub(super) sums_wanted: SortedSet<(GenerationId, u32)>,
    /// Of the reads of `late`.
    pub(super) late: Late,
    /// Who is let in.
    pub(crate) guard: Guard,
    peers: SortedMap<ConnId, SocketAddr>,
    notices: VecDeque<Notice>,
    /// Only a master routes, takes log lines and registers workers.
    is_master: bool,
    /// What its control files do.
    pub(super) acts: &'static dyn Acts,
}

impl NameSpace {
    /// An empty one, whose control files are these.
    pub(super) fn with(
        acts: &'static dyn Acts,
        is_master: bool,
        worker_load_max: u32,
    ) -> NameSpace {
        NameSpace {
            generations: Generations::default(),
            info: None,
            reports: Reports::default(),
            log: LogLines::default(),
            conversations: Conversations::default(),
            askers: Conversations::default(),
            alone: None,
            workers: Workers::new(worker_load_max),
            parked: ParkedReads::new(),
            sums_wanted: SortedSet::default(),
            late: Late::default(),
            guard: Guard::default(),
            peers: SortedMap::new(),
            notices: VecDeque::new(),
            is_master,
            acts,
        }
    }

    /// From now on who comes has to have this key; with `is_plain_free` not who attaches
    /// the plain tree.
    pub(crate) fn lock(&mut self, key: &Key, random: Random, is_plain_free: bool) {
        self.guard.lock(key, random, is_plain_free);
    }

    /// A connection from this address begins.
    pub(crate) fn add_peer(&mut self, conn: ConnId, addr: SocketAddr) {
        self.peers.insert(conn, addr);
        self.guard.begin(conn);
    }

    /// A connection is gone.
    pub(crate) fn drop_peer(&mut self, conn: ConnId) {
        self.peers.remove(&conn);
        self.guard.forget(conn);
        self.workers.forget_client(conn);
    }

    /// A connection that is still there, and was not let in within its time.
    pub(crate) fn poll_unadmitted(&mut self, now_ms: u64) -> Option<ConnId> {
        while let Some(conn) = self.guard.poll_late(now_ms) {
            if self.peers.contains_key(&conn) && !self.guard.is_admitted(conn) {
                self.guard.count_late();
                return Some(conn);
            }
        }
        None
    }

    /// Where a connection comes from.
    pub(crate) fn peer(&self, conn: ConnId) -> Option<SocketAddr> {
        self.peers.get(&conn).copied()
    }

    /// Its IP address; of IPv4 as such, in whatever form it came.
    pub(crate) fn peer_ip(&self, conn: ConnId) -> Option<IpAddr> {
        self.peer(conn).map(|peer| peer.ip().to_canonical())
    }

    /// What happened, one at a time, in order.
    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Adds a generation; its number is never used for another.
    pub(crate) fn add_generation(&mut self, generation: Generation) -> GenerationId {
        self.generations.add(generation)
    }

    /// Drops a generation: what is open of it is stale.
    pub(crate) fn drop_generation(&mut self, id: GenerationId) {
        self.generations.remove(id);
    }

    /// The generation of this number.
    pub fn generation(&self, id: GenerationId) -> Option<&Generation> {
        self.generations.get(id)
    }

    /// Whether the files of a generation are those of this scan.
    pub fn uses_scan(&self, scan: u32) -> bool {
        self.generations.any_of_scan(scan)
    }

    /// The newest generation of this name.
    pub(crate) fn generation_of(&self, digest: Digest) -> Option<GenerationId> {
        self.generations.of_digest(digest)
    }

    /// Shows this generation at the root, with this text in `info`.
    pub(crate) fn show(&mut self, id: GenerationId, info: String) -> Vec<Ticket> {
        self.generations.show(id);
        self.info = Some(info);
        self.parked.wake(Wait::Shown)
    }

    /// Notes a piece of the manifest as here, with its bytes: as many as
    /// [`Generation::piece_len`] says, and verified.
    ///
    /// # Errors
    /// There is no memory for them.
    pub(crate) fn hold_manifest(
        &mut self,
        id: GenerationId,
        piece: u32,
        bytes: &[u8],
    ) -> Result<Vec<Ticket>, TryReserveError> {
        if let Some(generation) = self.generations.get_mut(id) {
            generation.put_manifest(piece, bytes)?;
        }
        Ok(self.hold(id, piece))
    }

    /// Notes a piece as here; gives the reads that waited for it.
    pub(crate) fn hold(&mut self, id: GenerationId, piece: u32) -> Vec<Ticket> {
        let news = self.generations.get_mut(id).is_some_and(|g| g.holdings.hold(piece));
        if news { self.parked.wake(Wait::Piece(id, piece)) } else { Vec::new() }
    }

    /// Reads of `late` that can be answered now: one, or all where nobody else is there.
    pub(crate) fn poll_late(&mut self) -> Vec<Ticket> {
        if self.late.is_idle() {
            return self.parked.wake(Wait::Late);
        }
        let longest = self.generations.shown().map_or(0, |known| known.manifest_pieces.stride());
        let is_next = self.late.allows(longest);
        is_next.then(|| self.parked.wake_first(Wait::Late)).flatten().into_iter().collect()
    }

    /// Whether who reads `late` gets as much as it likes.
    pub(crate) fn is_late_free(&self) -> bool {
        self.late.is_idle()
    }

    /// When to look whether others take nothing any more.
    pub(crate) fn late_ms(&self) -> Option<u64> {
        self.parked.is_awaited(Wait::Late).then(|| self.late.look_ms())
    }

    pub(crate) fn look_at_late(&mut self, now_ms: u64) {
        self.late.look(now_ms);
    }

    /// Who takes what from a master: it may be sent, or parked until others have taken more.
    pub(super) fn may_take(&mut self, stored: &Stored, is_late: bool) -> bool {
        let &Stored::Here { len, .. } = stored else { return true };
        if !self.is_master {
            return true;
        }
        if !is_late {
            self.late.note_others(len);
        } else if self.late.allows(len) {
            self.late.take(len);
        } else {
            return false;
        }
        true
    }

    /// Notes a piece as lost to us for good; gives the reads that waited for it.
    pub(crate) fn lose(&mut self, id: GenerationId, piece: u32) -> Vec<Ticket> {
        if let Some(generation) = self.generations.get_mut(id) {
            generation.holdings.lose(piece);
        }
        self.parked.wake(Wait::Piece(id, piece))
    }

    /// The files of a generation are those of this scan from now on.
    pub(crate) fn set_origin(&mut self, id: GenerationId, origin: Origin) {
        if let Some(generation) = self.generations.get_mut(id) {
            generation.set_origin(origin);
        }
    }

    /// A file of a generation is not what was hashed any more; whether that is news.
    pub(crate) fn lose_file(&mut self, id: GenerationId, entry: u32) -> bool {
        self.generations.get_mut(id).is_some_and(|generation| generation.lose_file(entry))
    }

    /// The list of the manifest's pieces is here and verified.
    pub(crate) fn set_list(&mut self, id: GenerationId, list: Vec<Digest>) -> Vec<Ticket> {
        if let Some(generation) = self.generations.get_mut(id) {
            generation.set_list(list);
        }
        self.parked.wake(Wait::List(id))
    }

    /// The manifest is whole: the tree can be walked. There is `room` for the pieces
    /// below that number.
    pub(crate) fn set_content(&mut self, id: GenerationId, content: Rc<Content>, room: u32) {
        if let Some(generation) = self.generations.get_mut(id) {
            generation.set_content(content, room);
        }
    }

    /// The window of a stream has moved on: pieces that were held are kept no more, and
    /// there is room for others. Nobody waits for either: what is held was answered.
    pub(crate) fn slide(&mut self, id: GenerationId, passed: Range<u32>, room: u32) {
        if let Some(generation) = self.generations.get_mut(id) {
            passed.for_each(|piece| generation.holdings.pass(piece));
            generation.extend(room);
        }
    }

    /// The SHA-256 of an entry's file, or that it could not be read.
    #[inline(never)]
    pub(crate) fn set_checksum(
        &mut self,
        id: GenerationId,
        entry: u32,
        sum: Result<[u8; 32], ()>,
    ) -> Vec<Ticket> {
        self.sums_wanted.remove(&(id, entry));
        if let Some(generation) = self.generations.get_mut(id) {
            generation.checksums.insert(entry, sum);
        }
        self.parked.wake(Wait::Checksum(id, entry))
    }

    /// The text of a report, for who begins to read it.
    pub(crate) fn set_report(&mut self, report: Report, text: String) {
        self.reports.set(report, text);
    }

    /// Adds a line to what `/log` shows, without its newline.
    pub(crate) fn add_log(&mut self, line: Vec<u8>) {
        self.log.add(line);
    }

    /// Queues an answer on a conversation; gives the read that waits for it.
    /// A client that has too much unread is cut off: its next read fails, and
    /// it joins again.
    pub(crate) fn answer(&mut self, opener: OpenId, line: &str) -> Vec<Ticket> {
        if !self.conversations.is_open(opener) {
            return Vec::new();
        }
        let line = self.guard.seal(opener.conn, line.as_bytes());
        match self.conversations.queue(opener, &line) {
            Queued::Unknown => return Vec::new(),
            Queued::CutOff => self.notify(Notice::RouteClosed(opener)),
            Queued::Yes => {}
        }
        self.parked.wake(Wait::Answer(opener))
    }

    /// Answers a question of a node; gives the read that waits for it.
    pub(crate) fn answer_node(&mut self, opener: OpenId, text: &str) -> Vec<Ticket> {
        if !self.askers.is_open(opener) {
            return Vec::new();
        }
        let text = self.guard.seal(opener.conn, text.as_bytes());
        match self.askers.queue(opener, &text) {
            Queued::Yes => self.parked.wake(Wait::Answer(opener)),
            Queued::Unknown | Queued::CutOff => Vec::new(),
        }
    }

    /// Bytes of answers that a node has not read.
    pub(crate) fn unread_by_node(&self, conn: ConnId) -> usize {
        self.askers.of(conn).unwrap_or(0)
    }

    /// Bytes that wait for the client of a connection, if it converses with us.
    pub(crate) fn unread_bytes(&self, conn: ConnId) -> Option<usize> {
        self.conversations.of(conn)
    }

    /// Whether somebody converses with us.
    pub(crate) fn has_conversation(&self, conn: ConnId) -> bool {
        self.conversations.of(conn).is_some()
    }

    /// A conversation is over but for what its client has not read yet.
    pub(crate) fn finish_conversation(&mut self, opener: OpenId) {
        self.conversations.finish(opener);
    }

    /// Takes the memory of a list of tickets back, for the next one.
    pub(crate) fn recycle(&mut self, tickets: Vec<Ticket>) {
        self.parked.recycle(tickets);
    }

    /// Whether this is the master's: only there can anything be written.
    pub(super) fn is_master(&self) -> bool {
        self.is_master
    }

    pub(super) fn notify(&mut self, notice: Notice) {
        self.notices.push_back(notice);
    }

    pub(super) fn park(&mut self, wait: Wait, ticket: Ticket) -> Answer<Bulk> {
        self.parked.park(wait, ticket);
        Answer::Park
    }

    /// An opening ends. The session drops the reads of what it closes: nobody is to be woken.
    pub(super) fn forget_answers(&mut self, opener: OpenId) {
        let dropped = self.parked.wake(Wait::Answer(opener));
        self.parked.recycle(dropped);
    }

    /// Answers a read with stored bytes, or parks it until they are here.
    pub(super) fn answer_stored(
        &mut self,
        stored: Stored,
        ticket: Ticket,
    ) -> Result<Answer<Bulk>, Error> {
        match stored {
            Stored::Here { what, len } => Ok(Answer::Bulk { what, len }),
            Stored::End => Ok(Answer::Bytes(Vec::new())),
            Stored::Missing(id, piece) => Ok(self.park(Wait::Piece(id, piece), ticket)),
            Stored::Lost => Err(if self.is_master { CHANGED } else { LOST }),
        }
    }
}
