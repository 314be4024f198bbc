//! The effects of nodes, carried out on links and disks that are made up.
//!
//! The counterpart of `src/xget/driver` for nodes that have no sockets and no
//! files. Knows what each effect does to the world, and what a node is told of
//! it at once. Refuses to know when a node runs, which is up to `run`.

use crate::connections::End;
use crate::event::Event;
use crate::host::{HostState, Lie, Node, host_of};
use crate::network::{Item, frames};
use crate::world::World;
use ninep::server::ConnId;
use ninep::{Dialect, Request, wire};
use peer::conn::ConnEffect;
use peer::control::{ClientMessage, Complaint, MasterMessage, ParentAddr};
use peer::fetch::{FetchEffect, FetchInput, StoreResult};
use peer::master::{MasterEffect, MasterInput};
use peer::namespace::Bulk;
use std::net::SocketAddr;

/// What becomes of an effect at a host that lies. It accuses nobody.
fn bend(lie: Lie, node: &Node, effect: ConnEffect) -> Option<ConnEffect> {
    let is_accusation = |frame: &&[u8]| frame.windows(8).any(|words| words == b"replace ");
    let is_read = |frame: &&[u8]| frame[4] == 117;
    match effect {
        ConnEffect::Send { conn, bytes } => {
            let is_left_out = |frame: &&[u8]| match node.serves(conn) {
                true => lie == Lie::Mute && is_read(frame),
                false => is_accusation(frame),
            };
            let bytes: Vec<u8> =
                frames(&bytes).filter(|f| !is_left_out(f)).flatten().copied().collect();
            (!bytes.is_empty()).then_some(ConnEffect::Send { conn, bytes })
        }
        ConnEffect::SendBulk { .. } if lie == Lie::Mute => None,
        ConnEffect::SendBulk { conn, mut header, what, len, failure } if lie == Lie::Short => {
            let short = len - 1;
            header[..4].copy_from_slice(&(11 + short).to_le_bytes());
            header[7..].copy_from_slice(&short.to_le_bytes());
            (short > 0).then_some(ConnEffect::SendBulk { conn, header, what, len: short, failure })
        }
        // The first is its conversation with the master.
        ConnEffect::Connect { conn, .. } if lie.is_idle() && conn.0 > 1 => None,
        effect => Some(effect),
    }
}

impl World {
    /// Carries out all that a node wants done. The data of the frame at hand
    /// may be wrong. Whether the node has ended.
    pub fn carry_out_all(&mut self, host: u32, node: &mut Node, is_corrupt: bool) -> bool {
        let now_ms = self.clock.now_ms();
        let mut is_over = false;
        loop {
            while let Some(effect) = node.poll_conn_effect() {
                self.carry_out_conn(host, node, effect);
            }
            match node {
                Node::Master(master) => {
                    let Some(effect) = master.poll_effect() else { return is_over };
                    if let Some(input) = self.carry_out_master(host, effect, is_corrupt) {
                        master.handle(now_ms, input);
                    }
                }
                Node::Client(fetcher) => {
                    let Some(effect) = fetcher.poll_effect() else { return is_over };
                    is_over |= matches!(effect, FetchEffect::Exit { .. });
                    if let Some(input) = self.carry_out_fetch(host, effect, is_corrupt) {
                        fetcher.handle(now_ms, input);
                    }
                }
            }
        }
    }

    fn carry_out_conn(&mut self, host: u32, node: &mut Node, effect: ConnEffect) {
        let lie = self.hosts[host as usize].lie;
        let bent = match lie {
            Some(lie) => bend(lie, node, effect),
            None => Some(effect),
        };
        let Some(effect) = bent else { return };
        match effect {
            ConnEffect::Replies { conn } => {
                while let Some(reply) = node.poll_reply(conn) {
                    self.carry_out_conn(host, node, reply);
                }
            }
            ConnEffect::Connect { conn, addr } => self.connect(host, conn, addr),
            ConnEffect::Close { conn } => {
                if let Some(at) = self.hosts[host as usize].conn(conn) {
                    self.connections.close(&mut self.clock, at, host, conn);
                }
            }
            ConnEffect::Send { conn, bytes } => {
                let stats = &mut self.hosts[host as usize].stats;
                stats.control_out += frames(&bytes).count() as u64;
                stats.control_out_bytes += bytes.len() as u64;
                if host == 0 {
                    self.note_parents(conn, &bytes);
                } else {
                    self.note_accusations(&bytes);
                }
                self.send(host, conn, Item::Frames(bytes));
            }
            ConnEffect::SendBulk { conn, header, what, len, .. } => {
                let item = self.bulk(host, node, header, what, len);
                self.send(host, conn, item);
            }
        }
    }

    fn carry_out_master(
        &mut self,
        host: u32,
        effect: MasterEffect,
        is_corrupt: bool,
    ) -> Option<MasterInput<'static>> {
        match effect {
            MasterEffect::Verify { conn, .. } => {
                Some(MasterInput::Verified { conn, is_right: !is_corrupt })
            }
            MasterEffect::Rescan => Some(MasterInput::Unchanged),
            MasterEffect::Checksum { generation, entry } => {
                Some(MasterInput::Checksum { generation, entry, sum: Err(()) })
            }
            MasterEffect::Say(text) | MasterEffect::Warn(text) => {
                self.say(host, &text);
                None
            }
            MasterEffect::ReadSignature { open_id, .. } => {
                Some(MasterInput::Signature { open_id, signed: Vec::new() })
            }
            MasterEffect::PackAlone { .. } => panic!("nobody has a key"),
            MasterEffect::LookAtNodes => Some(MasterInput::NodesTab(None)),
            MasterEffect::Answer { .. } => panic!("nobody asked"),
            MasterEffect::Exit { failure } => panic!("the master ends: {}", failure.text()),
        }
    }

    fn carry_out_fetch(
        &mut self,
        host: u32,
        effect: FetchEffect,
        is_corrupt: bool,
    ) -> Option<FetchInput<'static>> {
        match effect {
            FetchEffect::Prepare { .. } => {
                if let Some(reader) = &mut self.hosts[host as usize].reader {
                    reader.next = self.map.manifest_pieces().count();
                    return Some(FetchInput::Prepared { found: Vec::new() });
                }
                let disk = &self.hosts[host as usize].disk;
                let found = (self.map.manifest_pieces().count()..self.map.count())
                    .filter(|&piece| disk.contains(&piece))
                    .collect();
                return Some(FetchInput::Prepared { found });
            }
            FetchEffect::Store { conn, piece, .. } => {
                let result = self.store(host, piece, is_corrupt);
                return Some(FetchInput::Stored { conn, piece, result });
            }
            FetchEffect::Forget { below } => {
                let disk = &mut self.hosts[host as usize].disk;
                *disk = disk.split_off(&below);
            }
            FetchEffect::Finish if self.hosts[host as usize].reader.is_some() => {
                if let Some(reader) = &mut self.hosts[host as usize].reader {
                    reader.is_last = true;
                }
                self.take_next(host);
            }
            FetchEffect::Finish => {
                let stats = &mut self.hosts[host as usize].stats;
                stats.complete_ns = Some(self.clock.now_ns());
                self.clock.after(0, Event::Finished { host });
            }
            FetchEffect::Checksum { generation, entry } => {
                return Some(FetchInput::Checksum { generation, entry, sum: Err(()) });
            }
            FetchEffect::Warn(text) => self.say(host, &text),
            FetchEffect::Exit { failures } => self.hosts[host as usize].stats.failures = failures,
        }
        None
    }

    fn connect(&mut self, host: u32, id: ConnId, to: SocketAddr) {
        let called = host_of(to);
        assert!((called as usize) < self.hosts.len(), "{host} calls {to}, which is nobody's");
        let life = self.hosts[host as usize].life;
        let caller = End { host, life, id, is_open: true };
        let conn = self.connections.connect(&mut self.clock, caller, called, to.port());
        self.hosts[host as usize].set_conn(id, conn);
    }

    fn send(&mut self, host: u32, id: ConnId, item: Item) {
        if let Some(conn) = self.hosts[host as usize].conn(id) {
            self.connections.send(&mut self.clock, conn, host, id, item);
        }
    }

    fn bulk(&mut self, host: u32, node: &Node, header: [u8; 11], what: Bulk, len: u32) -> Item {
        let Bulk::Piece { generation, piece, skip } = what else {
            panic!("nobody reads files here")
        };
        let at = &self.hosts[host as usize];
        // It is there as it is sent: whoever asks for that piece gets it wrong.
        let is_corrupt = at.lie == Some(Lie::Wrong)
            || at.corrupt_every.is_some_and(|every| (piece + host).is_multiple_of(every));
        let generation = node.space().generation(generation).expect("what is sent is served");
        if piece < generation.manifest_pieces.count() {
            let here = generation.manifest_piece(piece).expect("what is sent is here");
            let mut bytes = header.to_vec();
            bytes.extend_from_slice(&here[skip as usize..][..len as usize]);
            bytes[11] ^= u8::from(is_corrupt);
            return Item::Frames(bytes);
        }
        let at = &self.hosts[host as usize];
        assert!(!at.is_client() || at.disk.contains(&piece), "{host} sends what it has not");
        Item::Bulk { header, len, is_corrupt }
    }

    fn store(&mut self, host: u32, piece: u32, is_corrupt: bool) -> StoreResult {
        let at = &mut self.hosts[host as usize];
        if is_corrupt {
            at.stats.corrupt += 1;
            return StoreResult::Corrupt;
        }
        at.stats.stored += 1;
        let is_news = at.disk.insert(piece);
        at.stats.held_max = at.stats.held_max.max(at.disk.len() as u32);
        if !is_news {
            at.stats.stored_again += 1;
            self.say(host, &format!("piece {piece} is stored again"));
        }
        self.take_next(host);
        StoreResult::Stored
    }

    /// Who reads begins with the next piece, if it is here; who has the last is done.
    fn take_next(&mut self, host: u32) {
        let count = self.map.count();
        let at = &mut self.hosts[host as usize];
        let Some(reader) = at.reader.as_mut().filter(|reader| !reader.is_busy) else { return };
        if reader.next == count && core::mem::take(&mut reader.is_last) {
            at.stats.complete_ns = Some(self.clock.now_ns());
            return self.clock.after(0, Event::Finished { host });
        }
        if at.disk.contains(&reader.next) {
            reader.is_busy = true;
            let len =
                self.map.extents(&self.manifest, reader.next).map(|extent| extent.len).sum::<u32>();
            let took_ns = (u64::from(len) * 1_000_000_000).checked_div(reader.bytes_s);
            let life = at.life;
            self.clock.after(took_ns.unwrap_or(0), Event::Taken { host, life });
        }
    }

    /// Who reads has taken a piece.
    pub fn taken(&mut self, host: u32, life: u32) {
        let at = &mut self.hosts[host as usize];
        let Some(reader) = at.reader.as_mut().filter(|_| at.life == life) else { return };
        reader.is_busy = false;
        reader.next += 1;
        let below = reader.next;
        if matches!(at.state, HostState::Up) {
            self.feed(host, &(9, below), |node, now_ms| {
                if let Node::Client(fetcher) = node {
                    fetcher.handle(now_ms, FetchInput::Written { below });
                }
            });
        }
        self.take_next(host);
    }

    /// Reads what clients tell the master of parents.
    fn note_accusations(&mut self, bytes: &[u8]) {
        for frame in frames(bytes) {
            if let Ok((_, Ok(Request::Write { data, .. }))) =
                wire::request::decode(Some(Dialect::Unix), frame)
                && let Some(ClientMessage::Replace { complaint: Complaint::Frozen, .. }) =
                    ClientMessage::parse(data)
            {
                self.said_frozen += 1;
            }
        }
    }

    /// Reads what the master tells its clients: the trees, as they are meant.
    fn note_parents(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.hosts[0].conn(id) else { return };
        let child = self.connections.end(conn, 0).host;
        for text in frames(bytes).filter_map(|frame| std::str::from_utf8(frame.get(11..)?).ok()) {
            for line in text.lines() {
                if let Some(MasterMessage::Parent { stripe, parent }) =
                    MasterMessage::parse(line.as_bytes())
                {
                    let parent = match parent {
                        ParentAddr::Master => 0,
                        ParentAddr::Peer(addr) => host_of(addr),
                    };
                    let parents = &mut self.hosts[child as usize].parents;
                    parents.resize(usize::from(self.setup.fan_out), 0);
                    parents[usize::from(stripe)] = parent;
                }
            }
        }
    }
}
