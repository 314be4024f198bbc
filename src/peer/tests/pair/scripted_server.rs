//! A 9P server without a will: a parent, or a master, that does what a test says.
//!
//! Notes what is asked of it and when. Gives the pieces that it was told to
//! have, parks reads of all others, answers whatever else there is at once.

use crate::content::{STRIDE, Tree};
use core::ops::Range;
use ninep::server::ConnId;
use ninep::wire::{reply, request};
use ninep::{Dialect, ENOENT, Error, NOTAG, QTDIR, QTFILE, Qid, Reply, Request};
use peer::control::{ClientMessage, MasterMessage, ParentAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Accepted,
    Closed,
    /// A file was opened, by its last name.
    Open(String),
    /// Through `pieces`, where it may wait, or through `held`.
    Piece {
        piece: u32,
        waits: bool,
    },
    /// Through `rest`.
    Rest {
        piece: u32,
    },
    List,
    /// A flush of an unused tag, or a read of one byte that may not wait.
    Probe,
    /// A read of this piece is given up.
    Flush {
        piece: u32,
    },
    Said(ClientMessage),
    Log(String),
}

/// A read that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Parked {
    conn: ConnId,
    tag: u16,
    piece: u32,
    count: u32,
}

/// A frame to be sent; whether it is of a piece.
pub struct Answer {
    pub conn: ConnId,
    pub bytes: Vec<u8>,
    pub piece: Option<u32>,
}

/// What it answers at all, pings always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    #[default]
    All,
    NoOpen,
    NoRead,
    /// Nothing that it may park: neither a piece nor the list.
    NothingParked,
}

/// What it does wrong.
#[derive(Default)]
pub struct Faults {
    /// It answers no join.
    pub is_mute: bool,
    /// It is older, and speaks no later version than this.
    pub version_max: Option<u32>,
    /// Its list of the manifest's pieces is of another one.
    pub is_list_wrong: bool,
    /// Of each piece of the content it sends all but the last byte.
    pub is_cut_short: bool,
    /// From this piece on it sends nothing of any, as who keeps it no more.
    pub empty_from: Option<u32>,
    pub answers: Answers,
    /// It says of all pieces, when it is probed, that they are not here.
    pub denies: bool,
    /// How many opens of `pieces` it refuses yet.
    pub opens_refused: u32,
    /// Pieces that it says it has not.
    pub refused: BTreeSet<u32>,
    /// It has a `rest`, and these bytes of a piece are zeros there.
    pub changed: Option<Range<usize>>,
}

pub struct ScriptedServer {
    tree: Rc<Tree>,
    stripes: u8,
    /// Who the stripes' parents are, for who joins.
    pub parents: Vec<ParentAddr>,
    pub faults: Faults,
    has: BTreeSet<u32>,
    pub asked: Vec<(u64, Asked)>,
    fids: BTreeMap<(ConnId, u32), String>,
    parked: Vec<Parked>,
    /// The conversation, its read, and what was not read of it.
    route: Option<(ConnId, Option<u16>)>,
    unread: Vec<u8>,
    answers: Vec<Answer>,
}

impl ScriptedServer {
    pub fn new(tree: &Rc<Tree>, stripes: u8) -> ScriptedServer {
        ScriptedServer {
            tree: tree.clone(),
            stripes,
            parents: Vec::new(),
            faults: Faults::default(),
            has: BTreeSet::new(),
            asked: Vec::new(),
            fids: BTreeMap::new(),
            parked: Vec::new(),
            route: None,
            unread: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// What is to be sent.
    pub fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    pub fn closed(&mut self, now_ms: u64, conn: ConnId) {
        self.asked.push((now_ms, Asked::Closed));
        self.fids.retain(|(known, _), _| *known != conn);
        self.parked.retain(|read| read.conn != conn);
        if self.route.is_some_and(|(known, _)| known == conn) {
            self.route = None;
            self.unread.clear();
        }
    }

    /// It has these pieces from now on: who waits for them gets them.
    pub fn give(&mut self, pieces: impl IntoIterator<Item = u32>) {
        self.has.extend(pieces);
        let has = self.has.clone();
        let (ready, parked) = self.parked.drain(..).partition(|read| has.contains(&read.piece));
        self.parked = parked;
        let ready: Vec<Parked> = ready;
        ready.into_iter().for_each(|read| self.send_piece(read));
    }

    /// Says something on the conversation.
    pub fn tell(&mut self, message: &MasterMessage) {
        self.tell_line(&message.line());
    }

    pub fn tell_line(&mut self, line: &str) {
        self.unread.extend_from_slice(line.as_bytes());
        self.answer_route();
    }

    pub fn frame(&mut self, now_ms: u64, conn: ConnId, frame: &[u8]) {
        let decoded = request::decode(Some(Dialect::Unix), frame);
        let (tag, request) = decoded.expect("a client keeps its framing");
        let request = request.expect("a client knows its messages");
        let reply = self.reply(now_ms, conn, tag, request);
        if let Some(reply) = reply {
            self.send(conn, tag, &reply);
        }
    }

    fn send(&mut self, conn: ConnId, tag: u16, reply: &Reply) {
        let mut bytes = Vec::new();
        reply::encode(Dialect::Unix, tag, reply, &mut bytes);
        self.answers.push(Answer { conn, bytes, piece: None });
    }

    fn reply(&mut self, now_ms: u64, conn: ConnId, tag: u16, request: Request) -> Option<Reply> {
        let dir = Qid { file_type: QTDIR, version: 1, path: 1 };
        Some(match request {
            Request::Version { msize, .. } => {
                Reply::Version { msize, dialect: Some(Dialect::Unix) }
            }
            Request::Attach { fid, .. } => {
                self.fids.insert((conn, fid), String::new());
                Reply::Attach { qid: dir }
            }
            Request::Walk { newfid, names, .. } => {
                let last = names.last().map_or("", |name| str::from_utf8(name).expect("a name"));
                self.fids.insert((conn, newfid), last.into());
                Reply::Walk { qids: vec![dir; names.len()] }
            }
            Request::Open { fid, .. } => {
                let reply = self.open(now_ms, conn, fid);
                return (self.faults.answers != Answers::NoOpen).then_some(reply);
            }
            Request::Read { fid, offset, count } => {
                return self.read(
                    now_ms,
                    Parked { conn, tag, piece: (offset / STRIDE) as u32, count },
                    fid,
                );
            }
            Request::Write { fid, data, .. } => {
                self.write(now_ms, conn, fid, data);
                Reply::Write { count: data.len() as u32 }
            }
            Request::Flush { oldtag } => {
                self.flush(now_ms, conn, oldtag);
                Reply::Flush
            }
            Request::Clunk { .. } => Reply::Clunk,
            other => panic!("no client of ours sends {other:?}"),
        })
    }

    fn name(&self, conn: ConnId, fid: u32) -> String {
        self.fids.get(&(conn, fid)).cloned().expect("the fid was walked to")
    }

    fn open(&mut self, now_ms: u64, conn: ConnId, fid: u32) -> Reply {
        let name = self.name(conn, fid);
        if name == "route" {
            self.route = Some((conn, None));
        }
        let is_refused = name == "pieces" && self.faults.opens_refused > 0;
        self.asked.push((now_ms, Asked::Open(name)));
        if is_refused {
            self.faults.opens_refused -= 1;
            return Reply::Error(ENOENT);
        }
        Reply::Open { qid: Qid { file_type: QTFILE, version: 1, path: 2 }, iounit: 0 }
    }

    fn read(&mut self, now_ms: u64, read: Parked, fid: u32) -> Option<Reply> {
        let Parked { conn, tag, piece, count } = read;
        let answers = self.faults.answers;
        match self.name(conn, fid).as_str() {
            name if name != "route" && answers == Answers::NoRead => {}
            name if name != "route" && name != "held" && answers == Answers::NothingParked => {}
            "route" => {
                self.route = Some((conn, Some(tag)));
                self.answer_route();
            }
            "list" => {
                self.asked.push((now_ms, Asked::List));
                let list = &self.tree.map.manifest_pieces().list;
                let mut data: Vec<u8> = list.iter().flat_map(|digest| digest.0).collect();
                data[0] ^= u8::from(self.faults.is_list_wrong);
                return Some(Reply::Read { data });
            }
            "rest" => {
                self.asked.push((now_ms, Asked::Rest { piece }));
                let Some(changed) = self.faults.changed.clone() else {
                    return Some(Reply::Error(ENOENT));
                };
                let mut data = self.tree.piece(piece);
                data[changed].fill(0);
                return Some(Reply::Read { data });
            }
            name => {
                let waits = name == "pieces";
                if count == 1 {
                    self.asked.push((now_ms, Asked::Probe));
                    let data = self.tree.piece(piece)[..1].to_vec();
                    let is_here = self.has.contains(&piece) && !self.faults.denies;
                    return Some(Reply::Read { data: if is_here { data } else { Vec::new() } });
                }
                self.asked.push((now_ms, Asked::Piece { piece, waits }));
                assert_eq!(u64::from(count), STRIDE, "4 x the piece size");
                if self.faults.refused.contains(&piece) {
                    return Some(Reply::Error(Error::new(5, "it is not here")));
                } else if self.has.contains(&piece) {
                    self.send_piece(read);
                } else if waits {
                    self.parked.push(read);
                } else {
                    return Some(Reply::Read { data: Vec::new() });
                }
            }
        }
        None
    }

    fn send_piece(&mut self, read: Parked) {
        let Parked { conn, tag, piece, .. } = read;
        let mut bytes = Vec::new();
        let mut data = self.tree.piece(piece);
        if self.faults.is_cut_short && piece >= self.tree.map.manifest_pieces().count() {
            data.pop();
        }
        if self.faults.empty_from.is_some_and(|from| piece >= from) {
            data.clear();
        }
        reply::encode(Dialect::Unix, tag, &Reply::Read { data }, &mut bytes);
        self.answers.push(Answer { conn, bytes, piece: Some(piece) });
    }

    fn write(&mut self, now_ms: u64, conn: ConnId, fid: u32, data: &[u8]) {
        if self.name(conn, fid) == "log" {
            let text = String::from_utf8_lossy(data).into_owned();
            return self.asked.push((now_ms, Asked::Log(text)));
        }
        let message = ClientMessage::parse(data).expect("a client says what is understood");
        let joins_by = match &message {
            ClientMessage::Join { version, .. } => Some(*version),
            _ => None,
        };
        self.asked.push((now_ms, Asked::Said(message)));
        match (joins_by, self.faults.version_max) {
            (Some(version), Some(max)) if version > max => {
                self.tell_line("error 93 this%20master%20is%20older\n");
            }
            (Some(_), _) if !self.faults.is_mute => self.announce(),
            _ => {}
        }
    }

    /// Says what there is, and who the parents are.
    pub fn announce(&mut self) {
        let pieces = self.tree.map.manifest_pieces();
        self.tell(&MasterMessage::Generation {
            digest: pieces.generation,
            manifest_len: pieces.manifest_len,
            piece_len: pieces.piece_len,
            stripes: self.stripes,
        });
        for (stripe, parent) in self.parents.clone().into_iter().enumerate() {
            self.tell(&MasterMessage::Parent { stripe: stripe as u8, parent });
        }
    }

    fn answer_route(&mut self) {
        if let Some((conn, Some(tag))) = self.route
            && !self.unread.is_empty()
        {
            self.route = Some((conn, None));
            let data = std::mem::take(&mut self.unread);
            self.send(conn, tag, &Reply::Read { data });
        }
    }

    fn flush(&mut self, now_ms: u64, conn: ConnId, oldtag: u16) {
        let is_it = |read: &Parked| read.conn == conn && read.tag == oldtag;
        if oldtag == NOTAG - 1 {
            self.asked.push((now_ms, Asked::Probe));
        } else if let Some(at) = self.parked.iter().position(is_it) {
            let piece = self.parked.remove(at).piece;
            self.asked.push((now_ms, Asked::Flush { piece }));
        }
    }
}
