//! The hosts of a pair: a machine each, its files in memory, what it said.
//!
//! Knows what a machine wants done that is not a connection's. Refuses to know
//! the link and the clock (`pair`).

use crate::content::bytes_of;
use crate::scripted_client::ScriptedClient;
use crate::scripted_server::ScriptedServer;
use ::nodes::Table;
use ninep::server::ConnId;
use peer::conn::{ConnEffect, ConnEvent};
use peer::content::digest::Digest;
use peer::control::ClientMessage;
use peer::failure::Failure;
use peer::fetch::{FetchEffect, FetchInput, Fetcher, StoreResult};
use peer::master::{Master, MasterEffect, MasterInput};
use peer::namespace::{Bulk, Content, GenerationId};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What befell a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It stands still; its kernel takes connections and bytes.
    Frozen,
    /// Nothing reaches it, nobody says so.
    Unreachable,
    /// It is not there, and its machine says so.
    Refuses,
}

pub enum Node {
    Master(MasterHost),
    Client(ClientHost),
    Server(ScriptedServer),
    Caller(ScriptedClient),
}

pub struct MasterHost {
    pub master: Box<Master>,
    pub said: Vec<String>,
    pub warned: Vec<String>,
    /// Looks at the tree that were wanted, and when.
    pub rescans: Vec<u64>,
    /// Each look ends at once, with nothing changed.
    pub is_looked_at_once: bool,
    pub checksums: Vec<(GenerationId, u32)>,
    pub looks_at_nodes: u32,
    /// What the next look at `nodes.tab` gives.
    pub nodes_tab: Option<Result<Option<Table>, String>>,
    /// By their places.
    pub signatures: BTreeMap<Digest, Vec<u8>>,
}

pub struct ClientHost {
    pub fetcher: Box<Fetcher>,
    pub content: Option<Rc<Content>>,
    /// Pieces that are in the destination already, for who only counts them.
    pub found: Vec<u32>,
    /// It looks at its destination without an end.
    pub is_slow_to_prepare: bool,
    /// By their entries.
    files: BTreeMap<u32, Vec<u8>>,
    /// Pieces that were verified and stored, and when.
    pub stored: Vec<(u64, u32)>,
    /// Pieces below this number are kept no more.
    pub forgotten: u32,
    pub said: Vec<(u64, ClientMessage)>,
    /// Whom it probed, and when.
    pub probed: Vec<(u64, usize)>,
    pub warned: Vec<(u64, String)>,
    pub checksums: Vec<(GenerationId, u32)>,
    pub exit: Option<(u64, Vec<Failure>)>,
}

impl MasterHost {
    pub fn new(master: Master) -> MasterHost {
        MasterHost {
            master: Box::new(master),
            said: Vec::new(),
            warned: Vec::new(),
            rescans: Vec::new(),
            is_looked_at_once: true,
            checksums: Vec::new(),
            looks_at_nodes: 0,
            nodes_tab: None,
            signatures: BTreeMap::new(),
        }
    }

    fn carry_out(&mut self, now_ms: u64, effect: MasterEffect, frame: &[u8]) {
        match effect {
            MasterEffect::Verify { conn, generation, piece, range } => {
                let generation = self.master.space().generation(generation).expect("it is there");
                let content = generation.content.as_ref().expect("a master has all");
                let verified = content.map.verify(&content.manifest, piece, &frame[range]);
                let verified = MasterInput::Verified { conn, is_right: verified.is_ok() };
                self.master.handle(now_ms, verified);
            }
            MasterEffect::Say(text) => self.said.push(text),
            MasterEffect::Warn(text) => self.warned.push(text),
            MasterEffect::Rescan => {
                self.rescans.push(now_ms);
                if self.is_looked_at_once {
                    self.master.handle(now_ms, MasterInput::Unchanged);
                }
            }
            MasterEffect::Checksum { generation, entry } => {
                self.checksums.push((generation, entry));
            }
            MasterEffect::ReadSignature { open_id, place } => {
                let signed = self.signatures.get(&place).cloned().unwrap_or_default();
                self.master.handle(now_ms, MasterInput::Signature { open_id, signed });
            }
            MasterEffect::PackAlone { .. } => panic!("nobody shows a node's key"),
            MasterEffect::LookAtNodes => {
                self.looks_at_nodes += 1;
                let news = self.nodes_tab.take();
                self.master.handle(now_ms, MasterInput::NodesTab(news));
            }
            MasterEffect::Answer { .. } => panic!("nobody asked"),
            MasterEffect::Exit { failure } => panic!("the master ends: {}", failure.text()),
        }
    }

    /// Stored bytes, named by the master's name space.
    fn bytes(&self, what: Bulk, len: u32) -> Vec<u8> {
        let (id, at) = named(what);
        let generation = self.master.space().generation(id).expect("what is sent is served");
        let content = generation.content.as_ref().expect("a master has all");
        let origin = generation.origin.as_ref().expect("a master has the files");
        let file = |entry: u32, offset: u64, len: usize| bytes_of(origin.entry(entry), offset, len);
        let bytes = match at {
            At::File(entry, offset) => file(entry, offset, len as usize),
            At::Piece(piece) if piece < generation.manifest_pieces.count() => {
                generation.manifest_piece(piece).expect("it is here").to_vec()
            }
            At::Piece(piece) => {
                let extents = content.map.extents(&content.manifest, piece);
                extents.flat_map(|e| file(e.entry, e.offset, e.len as usize)).collect()
            }
        };
        part(bytes, what, len)
    }
}

impl ClientHost {
    pub fn new(fetcher: Fetcher) -> ClientHost {
        ClientHost {
            fetcher: Box::new(fetcher),
            content: None,
            found: Vec::new(),
            is_slow_to_prepare: false,
            files: BTreeMap::new(),
            stored: Vec::new(),
            forgotten: 0,
            said: Vec::new(),
            probed: Vec::new(),
            warned: Vec::new(),
            checksums: Vec::new(),
            exit: None,
        }
    }

    fn carry_out(&mut self, now_ms: u64, effect: FetchEffect, frame: &[u8]) {
        match effect {
            FetchEffect::Prepare { content } => {
                self.content = Some(content);
                if !self.is_slow_to_prepare {
                    let found = self.found.clone();
                    self.fetcher.handle(now_ms, FetchInput::Prepared { found });
                }
            }
            FetchEffect::Store { conn, piece, range, is_rest } => {
                let result = match is_rest {
                    true => self.store_rest(piece, &frame[range]),
                    false => self.store(now_ms, piece, &frame[range]),
                };
                self.fetcher.handle(now_ms, FetchInput::Stored { conn, piece, result });
            }
            FetchEffect::Forget { below } => {
                self.forgotten = below;
                self.stored.retain(|(_, piece)| *piece >= below);
            }
            FetchEffect::Finish => {
                let failures = Vec::new();
                self.fetcher.handle(now_ms, FetchInput::Finished { failures });
            }
            FetchEffect::Checksum { generation, entry } => {
                self.checksums.push((generation, entry));
            }
            FetchEffect::Warn(text) => self.warned.push((now_ms, text)),
            FetchEffect::Exit { failures } => self.exit = Some((now_ms, failures)),
        }
    }

    fn store(&mut self, now_ms: u64, piece: u32, bytes: &[u8]) -> StoreResult {
        let content = self.content.clone().expect("the manifest is here first");
        if content.map.verify(&content.manifest, piece, bytes).is_err() {
            return StoreResult::Corrupt;
        }
        let mut rest = bytes;
        for extent in content.map.extents(&content.manifest, piece) {
            let (part, after) = rest.split_at(extent.len as usize);
            rest = after;
            let size = content.manifest.entries[extent.entry as usize].size;
            let file = self.files.entry(extent.entry).or_insert_with(|| vec![0; size as usize]);
            file[extent.offset as usize..][..part.len()].copy_from_slice(part);
        }
        assert!(!self.stored_pieces().any(|stored| stored == piece), "{piece} is stored twice");
        self.stored.push((now_ms, piece));
        StoreResult::Stored
    }

    /// Stores the files of a pack that are right.
    fn store_rest(&mut self, piece: u32, bytes: &[u8]) -> StoreResult {
        let content = self.content.clone().expect("the manifest is here first");
        let (mut rest, mut changed) = (bytes, Vec::new());
        for extent in content.map.extents(&content.manifest, piece) {
            let (part, after) = rest.split_at(extent.len as usize);
            rest = after;
            match content.map.verify_extent(&content.manifest, piece, extent, part) {
                Ok(()) => drop(self.files.insert(extent.entry, part.to_vec())),
                Err(_) => changed.push(extent.entry),
            }
        }
        StoreResult::Rest { changed }
    }

    pub fn stored_pieces(&self) -> impl Iterator<Item = u32> + '_ {
        self.stored.iter().map(|(_, piece)| *piece)
    }

    /// The bytes of a file as they were stored.
    pub fn file(&self, path: &str) -> &[u8] {
        let content = self.content.as_ref().expect("the manifest is here");
        let entry = content.manifest.find(path.as_bytes(), false).expect("it is in the tree");
        self.files.get(&entry).map_or(&[], Vec::as_slice)
    }

    fn bytes(&self, what: Bulk, len: u32) -> Vec<u8> {
        let (id, at) = named(what);
        let generation = self.fetcher.space().generation(id).expect("what is sent is served");
        let file = |entry: u32, offset: u64, len: usize| {
            self.files[&entry][offset as usize..][..len].to_vec()
        };
        let bytes = match at {
            At::File(entry, offset) => file(entry, offset, len as usize),
            At::Piece(piece) if piece < generation.manifest_pieces.count() => {
                generation.manifest_piece(piece).expect("it is here").to_vec()
            }
            At::Piece(piece) => {
                assert!(self.stored_pieces().any(|stored| stored == piece), "it has not {piece}");
                let content = self.content.as_ref().expect("the manifest is here");
                let extents = content.map.extents(&content.manifest, piece);
                extents.flat_map(|e| file(e.entry, e.offset, e.len as usize)).collect()
            }
        };
        part(bytes, what, len)
    }
}

enum At {
    Piece(u32),
    File(u32, u64),
}

fn named(what: Bulk) -> (GenerationId, At) {
    match what {
        Bulk::Piece { generation, piece, .. } | Bulk::Rest { generation, piece, .. } => {
            (generation, At::Piece(piece))
        }
        Bulk::File { generation, entry, offset } => (generation, At::File(entry, offset)),
    }
}

/// What is meant of the bytes of a whole piece, or of a file from there on.
fn part(bytes: Vec<u8>, what: Bulk, len: u32) -> Vec<u8> {
    let skip = match what {
        Bulk::Piece { skip, .. } | Bulk::Rest { skip, .. } => skip as usize,
        Bulk::File { .. } => 0,
    };
    bytes[skip..][..len as usize].to_vec()
}

impl Node {
    /// The name of a connection that was accepted; those of scripted ones are
    /// given by who makes the link.
    pub fn next_conn(&mut self) -> Option<ConnId> {
        match self {
            Node::Master(host) => Some(host.master.next_conn()),
            Node::Client(host) => Some(host.fetcher.next_conn()),
            Node::Server(_) | Node::Caller(_) => None,
        }
    }

    /// Takes what happened on a connection, and carries out what follows but
    /// for what concerns connections.
    pub fn handle(&mut self, now_ms: u64, event: ConnEvent) {
        let bytes = match &event {
            ConnEvent::Frame { frame, .. } => frame.prefix.to_vec(),
            _ => Vec::new(),
        };
        match self {
            Node::Master(host) => host.master.handle(now_ms, MasterInput::Conn(event)),
            Node::Client(host) => host.fetcher.handle(now_ms, FetchInput::Conn(event)),
            Node::Server(server) => match event {
                ConnEvent::Accepted { .. } => {
                    server.asked.push((now_ms, crate::scripted_server::Asked::Accepted));
                }
                ConnEvent::Frame { conn, frame } => server.frame(now_ms, conn, frame.prefix),
                ConnEvent::Closed { conn, .. } => server.closed(now_ms, conn),
                _ => {}
            },
            Node::Caller(caller) => match event {
                ConnEvent::Frame { conn, frame } if conn != caller.conn => {
                    caller.greeted(conn, frame.prefix);
                }
                ConnEvent::Frame { frame, .. } => caller.frame(now_ms, frame.prefix),
                ConnEvent::Closed { conn, .. } if conn == caller.conn => {
                    caller.closed_ms = Some(now_ms);
                }
                _ => {}
            },
        }
        self.carry_out(now_ms, &bytes);
    }

    pub fn timeout(&mut self, now_ms: u64) {
        match self {
            Node::Master(host) => host.master.handle(now_ms, MasterInput::Timeout),
            Node::Client(host) => host.fetcher.handle(now_ms, FetchInput::Timeout),
            Node::Server(_) | Node::Caller(_) => {}
        }
        self.carry_out(now_ms, &[]);
    }

    pub fn poll_timeout(&self) -> Option<u64> {
        match self {
            Node::Master(host) => host.master.poll_timeout(),
            Node::Client(host) => host.fetcher.poll_timeout(),
            Node::Server(_) | Node::Caller(_) => None,
        }
    }

    /// Carries out what does not concern connections, until there is nothing.
    pub fn carry_out(&mut self, now_ms: u64, frame: &[u8]) {
        match self {
            Node::Master(host) => {
                while let Some(effect) = host.master.poll_effect() {
                    host.carry_out(now_ms, effect, frame);
                }
            }
            Node::Client(host) => {
                while let Some(effect) = host.fetcher.poll_effect() {
                    host.carry_out(now_ms, effect, frame);
                }
            }
            Node::Server(_) | Node::Caller(_) => {}
        }
    }

    pub fn poll_conn_effect(&mut self) -> Option<ConnEffect> {
        match self {
            Node::Master(host) => host.master.poll_conn_effect(),
            Node::Client(host) => host.fetcher.poll_conn_effect(),
            Node::Server(_) | Node::Caller(_) => None,
        }
    }

    /// The next reply on a connection: here there is always room.
    pub fn poll_reply(&mut self, conn: ConnId) -> Option<ConnEffect> {
        match self {
            Node::Master(host) => host.master.poll_reply(conn),
            Node::Client(host) => host.fetcher.poll_reply(conn),
            Node::Server(_) | Node::Caller(_) => None,
        }
    }

    /// The bytes that [`ConnEffect::SendBulk`] names.
    pub fn bytes(&self, what: Bulk, len: u32) -> Vec<u8> {
        match self {
            Node::Master(host) => host.bytes(what, len),
            Node::Client(host) => host.bytes(what, len),
            Node::Server(_) | Node::Caller(_) => panic!("they send their bytes themselves"),
        }
    }
}
