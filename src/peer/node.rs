//! One peer of the cluster, master or client, as a state machine.
//!
//! Inputs and the time go in by `handle`; `poll_effect` and `poll_timeout`
//! say what is to be done and when to call again. Knows sessions, the name
//! space, routing and transfer; refuses to know sockets, files and clocks:
//! `drive` and the simulator are two drivers of it.

pub use crate::fetch::{FetchOptions, Linger, Pin, Progress};
pub use crate::master::MasterOptions;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::content::manifest::{Manifest, PIECE_LEN_MAX, stride};
use crate::content::pieces::PieceMap;
use crate::fetch::Fetch;
use crate::master::Master;
use crate::namespace::{Bulk, Content, GenerationId, NameSpace};
use crate::table::Table;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::net::SocketAddr;
use ninep::RREAD_HEADER_LEN;
use ninep::client::Frame;
use ninep::server::{BulkLost, ConnId, Output, Session, Ticket};

/// Largest frame: a piece of the largest size and its header.
pub const MSIZE: u32 = stride(PIECE_LEN_MAX) + ninep::IO_HEADER_LEN;
/// As many messages as mostly are queued at a time.
const SPARE_MAX: usize = 16;

/// What happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// Somebody connected to us, on a connection from `next_conn`.
    Accepted { conn: ConnId, peer: SocketAddr },
    /// A connection that we asked for is up.
    Connected { conn: ConnId },
    /// A whole 9P frame. Its bulk data may be absent (see `Frame`).
    Frame { conn: ConnId, frame: Frame<'a> },
    /// Bytes of a frame that is not whole yet.
    Heard { conn: ConnId },
    /// Refused, broken, closed by the other side, or timed out.
    Gone { conn: ConnId, why: String },
    /// What became of `Effect::Store`.
    Stored { conn: ConnId, piece: u32, result: StoreResult },
    /// Pieces that `Effect::Prepare` found on disk.
    Found { pieces: Vec<u32> },
    /// `Effect::Prepare` is through.
    Prepared,
    /// `Effect::Finish` is through; what could not be put in place.
    Finished { failures: Vec<Failure> },
    /// A master's tree is being hashed.
    Hashing { done_bytes: u64, total_bytes: u64 },
    /// A master's tree is hashed: a generation begins. `scan` names the
    /// source for `Effect::SendBulk`.
    Scanned { manifest: Rc<Manifest>, scan: u32 },
    /// A master's tree was looked at again and is as it was.
    Unchanged,
    /// The operator wants the served tree looked at again.
    LookAgain,
    /// The served tree cannot be read any more; what is hashed stays.
    ScanFailed { why: String },
    /// A line for the operator, from whoever does the work.
    Note { text: String, is_warning: bool },
    /// A served file is not what was hashed.
    Changed { path: String },
    /// What became of `Effect::Checksum`.
    Checksum { slot: GenerationId, entry: u32, sum: Result<[u8; 32], ()> },
    /// Something to say in the master's log.
    Log { text: String },
    /// Time has come (`poll_timeout`).
    Tick,
    /// Somebody wants this process to end: leave in good order.
    Interrupted,
    /// It cannot go on: a local error that ends the fetch.
    Fatal { failure: Failure },
}

/// What became of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreResult {
    /// Verified and stored.
    Stored,
    /// Not what the digest says.
    Wrong,
    /// Right, but a file of it could not be written; the piece is lost to us.
    Failed(Failure),
}

/// Why the fetch, or one file of it, failed: gives the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// By a signal.
    Interrupted,
    Connection,
    /// The master has it not, or cannot read it.
    Source,
    /// The master had it, and has something else now: worth another fetch.
    Changed,
    Verification,
    /// It does not fit.
    Room,
    LocalIo,
}

/// One thing that failed and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: Status,
    /// The file, peer or option; may be empty.
    pub what: String,
    pub why: String,
    /// No use in going on with the others.
    pub fatal: bool,
}

impl Failure {
    /// What and why, for people.
    pub fn text(&self) -> String {
        match self.what.as_str() {
            "" => self.why.clone(),
            what => format!("{what}: {}", self.why),
        }
    }
}

/// What is to be done outside.
#[derive(Debug)]
pub enum Effect {
    Connect {
        conn: ConnId,
        addr: SocketAddr,
    },
    /// After what was sent before has left.
    Close {
        conn: ConnId,
    },
    Send {
        conn: ConnId,
        bytes: Vec<u8>,
    },
    /// `header`, then `len` stored bytes; or `failure` when they are not there.
    SendBulk {
        conn: ConnId,
        header: [u8; RREAD_HEADER_LEN],
        what: Bulk,
        len: u32,
        failure: BulkLost,
    },
    /// The manifest is known: look at what is in the destination.
    Prepare {
        content: Rc<Content>,
    },
    /// Verify and store the data of the frame that is being handled.
    Store {
        conn: ConnId,
        piece: u32,
    },
    /// All pieces are here: put everything in place.
    Finish,
    /// Compute the SHA-256 of a served file.
    Checksum {
        slot: GenerationId,
        entry: u32,
    },
    /// Look whether the served tree has changed.
    Rescan,
    /// A line for the operator.
    Say(String),
    /// Something odd that does not stop us.
    Warn(String),
    /// The fetch is over; the process may end.
    Exit {
        failures: Vec<Failure>,
    },
}

/// What master and client have in common.
pub(crate) struct Common {
    pub space: NameSpace,
    pub effects: VecDeque<Effect>,
    /// Parked reads that can be asked again.
    pub wakes: Vec<Ticket>,
    /// Memory of messages that have left.
    pub spare: Vec<Vec<u8>>,
    pub conns_used: u32,
}

impl Common {
    pub fn next_conn(&mut self) -> ConnId {
        self.conns_used += 1;
        ConnId(self.conns_used)
    }

    /// Parked reads can be asked again.
    pub fn wake(&mut self, mut tickets: Vec<Ticket>) {
        self.wakes.append(&mut tickets);
        self.space.recycle(tickets);
    }

    pub fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.effects.push_back(Effect::Send { conn, bytes });
        }
    }
}

enum Role {
    Master(Box<Master>),
    Fetch(Box<Fetch>),
}

pub struct Node {
    common: Common,
    sessions: Table<ConnId, Box<Session<NameSpace>>>,
    role: Role,
}

impl Node {
    pub fn master(options: MasterOptions) -> Node {
        let space = NameSpace::new(true, u32::from(options.fan_out));
        Node::new(space, Role::Master(Box::new(Master::new(options))))
    }

    /// What a master serves and where, for the line that says so.
    pub fn set_place(&mut self, place: String) {
        if let Role::Master(master) = &mut self.role {
            master.place = place;
        }
    }

    pub fn fetch(options: FetchOptions, now_ms: u64) -> Node {
        let space = NameSpace::new(false, 0);
        let mut node = Node::new(space, Role::Fetch(Box::new(Fetch::new(options, now_ms))));
        if let Role::Fetch(fetch) = &mut node.role {
            fetch.start(&mut node.common, now_ms);
        }
        node
    }

    fn new(space: NameSpace, role: Role) -> Node {
        let common = Common {
            space,
            effects: VecDeque::new(),
            wakes: Vec::new(),
            spare: Vec::new(),
            conns_used: 0,
        };
        Node { common, sessions: Table::new(), role }
    }

    /// The name for a connection that was accepted.
    pub fn next_conn(&mut self) -> ConnId {
        self.common.next_conn()
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.common.effects.pop_front()
    }

    /// Takes the memory of an `Effect::Send` back, for the next one.
    pub fn recycle(&mut self, mut spent: Vec<u8>) {
        if self.common.spare.len() < SPARE_MAX {
            spent.clear();
            self.common.spare.push(spent);
        }
    }

    /// When `Input::Tick` is due, on the caller's clock.
    pub fn poll_timeout(&self) -> Option<u64> {
        match &self.role {
            Role::Master(master) => master.poll_timeout(),
            Role::Fetch(fetch) => fetch.poll_timeout(),
        }
    }

    /// Longest frame that this connection may send now.
    pub fn frame_len_max(&self, conn: ConnId) -> u32 {
        self.sessions.get(&conn).map_or(MSIZE, |session| session.frame_len_max())
    }

    /// Whether more of this connection's requests can be taken now.
    pub fn wants_input(&self, conn: ConnId) -> bool {
        self.sessions.get(&conn).is_none_or(|session| !session.is_backlogged())
    }

    /// For `Effect::SendBulk`: what the slot is.
    pub fn space(&self) -> &NameSpace {
        &self.common.space
    }

    pub fn progress(&self) -> Option<Progress> {
        match &self.role {
            Role::Fetch(fetch) => Some(fetch.progress()),
            Role::Master(_) => None,
        }
    }

    /// A master's hashing before the first generation: bytes done and in all.
    pub fn hashing(&self) -> Option<(u64, u64)> {
        match &self.role {
            Role::Master(master) => master.first_hashing(),
            Role::Fetch(_) => None,
        }
    }

    /// A master has a generation to serve.
    pub fn is_serving(&self) -> bool {
        match &self.role {
            Role::Master(master) => master.is_serving(),
            Role::Fetch(_) => false,
        }
    }

    /// A client's files are all verified and in place.
    pub fn is_in_place(&self) -> bool {
        match &self.role {
            Role::Fetch(fetch) => fetch.is_in_place(),
            Role::Master(_) => false,
        }
    }

    /// Whether we answer requests on this connection, and do not send them.
    pub fn serves(&self, conn: ConnId) -> bool {
        self.sessions.contains_key(&conn)
    }

    /// Connections that fetch from us.
    pub fn served_count(&self) -> usize {
        self.sessions.len()
    }

    pub fn handle(&mut self, now_ms: u64, input: Input) {
        match input {
            Input::Accepted { conn, peer } => {
                self.common.space.add_peer(conn, peer);
                self.sessions.insert(conn, Box::new(Session::new(conn, MSIZE)));
            }
            Input::Frame { conn, frame } if self.sessions.contains_key(&conn) => {
                self.serve_frame(conn, frame.prefix);
            }
            Input::Gone { conn, .. } if self.sessions.contains_key(&conn) => {
                self.end_session(conn);
            }
            Input::Heard { conn } if self.sessions.contains_key(&conn) => {}
            Input::Note { text, is_warning } => {
                let effect = if is_warning { Effect::Warn(text) } else { Effect::Say(text) };
                self.common.effects.push_back(effect);
            }
            Input::Checksum { slot, entry, sum } => {
                let tickets = self.common.space.set_checksum(slot, entry, sum);
                self.common.wake(tickets);
            }
            input => match &mut self.role {
                Role::Master(master) => master.handle(&mut self.common, now_ms, input),
                Role::Fetch(fetch) => fetch.handle(&mut self.common, now_ms, input),
            },
        }
        self.settle(now_ms);
    }

    fn serve_frame(&mut self, conn: ConnId, frame: &[u8]) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if let Err(fatal) = session.handle_frame(&mut self.common.space, frame) {
            let peer = self.common.space.peer(conn);
            let peer = peer.map_or(String::new(), |addr| addr.to_string());
            let text = format!("{peer}: closing the connection: {fatal}");
            self.common.effects.push_back(Effect::Warn(text));
            self.flush_session(conn);
            self.end_session(conn);
            self.common.effects.push_back(Effect::Close { conn });
        } else {
            self.flush_session(conn);
        }
    }

    fn end_session(&mut self, conn: ConnId) {
        if let Some(mut session) = self.sessions.remove(&conn) {
            session.close(&mut self.common.space);
        }
        self.common.space.drop_peer(conn);
    }

    /// Lets notices and parked reads have their consequences, until none do.
    fn settle(&mut self, now_ms: u64) {
        loop {
            if let Some(notice) = self.common.space.poll_notice() {
                match &mut self.role {
                    Role::Master(master) => master.notice(&mut self.common, now_ms, notice),
                    Role::Fetch(fetch) => fetch.notice(&mut self.common, notice),
                }
            } else if !self.common.wakes.is_empty() {
                let mut wakes = core::mem::take(&mut self.common.wakes);
                for ticket in wakes.drain(..) {
                    if let Some(session) = self.sessions.get_mut(&ticket.conn) {
                        session.resume(&mut self.common.space, ticket);
                    }
                    self.flush_session(ticket.conn);
                }
                wakes.append(&mut self.common.wakes);
                self.common.wakes = wakes;
            } else {
                break;
            }
        }
        if let Role::Fetch(fetch) = &mut self.role {
            fetch.settle(&mut self.common, now_ms, self.sessions.len());
        }
    }

    fn flush_session(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        while let Some(output) = session.poll_output() {
            self.common.effects.push_back(match output {
                Output::Frame(bytes) => Effect::Send { conn, bytes },
                Output::Bulk { header, what, len, failure } => {
                    Effect::SendBulk { conn, header, what, len, failure }
                }
            });
        }
    }
}

/// Words for a piece's first file, for messages.
pub fn piece_name(manifest: &Manifest, map: &PieceMap, piece: u32) -> String {
    match map.extents(manifest, piece).next() {
        Some(extent) => printable(&manifest.path(extent.entry)),
        None => "the manifest".into(),
    }
}

/// What others wrote, for a terminal: no control characters.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
