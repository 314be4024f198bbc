//! The driver of all nodes: carries out their effects over `network`, gives
//! them their inputs, and tells them the time.
//!
//! The counterpart of `drive` for nodes that have no sockets and no files.
//! Host 0 is the master. The same setup gives the same events, to the last.

use crate::clock::{Clock, Event, Fault};
use crate::content;
use crate::host::{Host, Node, Part, State, port};
use crate::network::{Item, Link, Network, Segment};
use crate::report::Report;
use ninep::client::Frame;
use ninep::server::ConnId;
use ninep::{Dialect, Request, wire};
use peer::conn::{ConnEffect, ConnEvent};
use peer::content::manifest::Manifest;
use peer::content::pieces::{ManifestPieces, PieceMap};
use peer::control::{ClientMessage, Complaint, MasterMessage, ParentAddr};
use peer::fetch::{FetchEffect, FetchInput, FetchOptions, StoreResult};
use peer::master::{MasterEffect, MasterInput, MasterOptions};
use peer::namespace::Bulk;
use peer::request::{FetchRequest, Linger};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

/// A peer whose machine is gone is given up by TCP's keepalive (os/socket.rs).
const KEEPALIVE_NS: u64 = 30_000_000_000;
/// What a process that ends has to let its replies leave (drive/mod.rs).
const DRAIN_NS: u64 = 5_000_000_000;
/// TCP sends a SYN again after that; then after twice as long, and so on.
const SYN_AGAIN_NS: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    pub nodes: u32,
    pub files: Vec<u64>,
    pub piece_len: u32,
    pub bytes_s: u64,
    /// From one node to another, one way.
    pub latency_us: u64,
    pub segment_len: u32,
    pub fan_out: u8,
    pub head: u16,
    pub linger: Linger,
    /// Of so many SYNs one is lost; 0: none.
    pub lost_syn: u32,
}

impl Default for Setup {
    /// A hundred pieces over 100 Mbit/s.
    fn default() -> Setup {
        Setup {
            seed: 1,
            nodes: 1,
            files: vec![100 * 128 * 1024],
            piece_len: 128 * 1024,
            bytes_s: 12_500_000,
            latency_us: 200,
            segment_len: 16 * 1024,
            fan_out: 4,
            head: 1,
            linger: Linger::Twice,
            lost_syn: 0,
        }
    }
}

struct End {
    host: u32,
    /// The host's life that it belongs to.
    life: u32,
    id: ConnId,
    is_open: bool,
}

struct Conn {
    ends: [End; 2],
    is_up: bool,
    /// The port that was called.
    port: u16,
    /// SYNs that were sent again.
    again: u32,
    /// Signs of life within a frame go to the node this often at most.
    heard_ms: [u64; 2],
}

pub struct World {
    pub setup: Setup,
    pub clock: Clock,
    pub network: Network,
    pub hosts: Vec<Host>,
    conns: Vec<Conn>,
    manifest: Rc<Manifest>,
    pub map: PieceMap,
    random: Random,
    /// Clients that begin yet or have not come to an end.
    unfinished: u32,
    /// ... of which so many stand still.
    frozen: u32,
    pub trace: u64,
    syns: u32,
    /// Parents that somebody accused of being frozen.
    pub said_frozen: u32,
    talks: bool,
}

impl World {
    pub fn new(setup: Setup) -> World {
        // Shown by the test harness when the test fails.
        println!("{setup:?}");
        let manifest = content::manifest(&setup.files, setup.piece_len);
        let map = PieceMap::new(ManifestPieces::of(&manifest.encode(), setup.piece_len), &manifest);
        let mut world = World {
            random: Random(setup.seed),
            clock: Clock::default(),
            network: Network::new(setup.segment_len),
            hosts: Vec::new(),
            conns: Vec::new(),
            manifest,
            map,
            unfinished: 0,
            frozen: 0,
            trace: 0,
            syns: 0,
            said_frozen: 0,
            talks: std::env::var_os("XGET_SIM_LOG").is_some(),
            setup,
        };
        let options = MasterOptions { fan_out: world.setup.fan_out, head_copies: world.setup.head };
        world.add(Part::Master(options));
        world.clock.at(0, Event::Start { host: 0 });
        for _ in 0..world.setup.nodes {
            world.add_client();
        }
        world
    }

    fn add(&mut self, part: Part) -> u32 {
        self.hosts.push(Host::new(part));
        let link = Link::new(self.setup.bytes_s, self.setup.latency_us * 1000 / 2);
        self.network.links.push(link);
        self.hosts.len() as u32 - 1
    }

    pub fn add_client(&mut self) -> u32 {
        let options = FetchOptions {
            masters: vec![addr(0, port(1))],
            port: 0,
            request: FetchRequest {
                linger: self.setup.linger,
                ..FetchRequest::of(vec![b".".to_vec()])
            },
        };
        self.add(Part::Client(options))
    }

    /// A number below `below`.
    pub fn random(&mut self, below: u64) -> u64 {
        self.random.next() % below
    }

    /// All clients in an order of chance.
    pub fn shuffled(&mut self) -> Vec<u32> {
        let mut hosts: Vec<u32> = (1..=self.setup.nodes).collect();
        for at in (1..hosts.len()).rev() {
            hosts.swap(at, self.random(at as u64 + 1) as usize);
        }
        hosts
    }

    pub fn start_at(&mut self, host: u32, ms: u64) {
        self.begin_at(host, ms * 1_000_000);
    }

    fn begin_at(&mut self, host: u32, at_ns: u64) {
        self.unfinished += u32::from(self.hosts[host as usize].is_client());
        self.clock.at(at_ns, Event::Start { host });
    }

    /// All clients begin within this time, in an order of chance.
    pub fn start_all_within(&mut self, ms: u64) {
        for host in 1..self.hosts.len() as u32 {
            let at_ns = self.random(ms.max(1) * 1_000_000);
            self.begin_at(host, at_ns);
        }
    }

    pub fn fault_at(&mut self, host: u32, ms: u64, fault: Fault) {
        self.clock.at(ms * 1_000_000, Event::Fault { host, fault });
    }

    /// Something befalls somebody within this time, or nothing that matters.
    pub fn befall_one(&mut self, within_ms: u64) {
        let faults = [Fault::Crash, Fault::PowerLoss, Fault::Freeze, Fault::Thaw];
        let fault = faults[self.random(faults.len() as u64) as usize];
        let host = 1 + self.random(u64::from(self.setup.nodes)) as u32;
        let at_ms = self.random(within_ms);
        self.fault_at(host, at_ms, fault);
    }

    pub fn bytes_total(&self) -> u64 {
        self.setup.files.iter().sum()
    }

    /// How long the contents take over one link.
    pub fn wire_ms(&self) -> u64 {
        self.bytes_total() * 1000 / self.setup.bytes_s
    }

    /// Until every client that lives has come to its end, or until that time.
    pub fn run_until(&mut self, limit_ms: u64) -> Report {
        while self.unfinished > 0 && self.step(limit_ms) {}
        Report::of(self)
    }

    /// The same where nobody waits for those that are frozen. True as long as
    /// there is somebody to wait for.
    pub fn run_survivors(&mut self, limit_ms: u64) -> bool {
        while self.unfinished > self.frozen && self.step(limit_ms) {}
        self.unfinished > self.frozen
    }

    fn step(&mut self, limit_ms: u64) -> bool {
        let event = self.clock.advance(limit_ms * 1_000_000);
        event.map(|event| self.happen(event)).is_some()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start { host } => self.start(host),
            Event::Tick { host } => self.tick(host),
            Event::Left { host } => self.network.left(&mut self.clock, host),
            Event::Arrives { segment } => {
                if self.network.arrives(&mut self.clock, segment) {
                    self.through(segment);
                }
            }
            Event::Through { segment } => self.through(segment),
            Event::Syn { conn } => self.syn(conn),
            Event::Established { conn } => self.established(conn),
            Event::Refused { conn } => self.lost(conn, 0, "refused"),
            Event::Lost { conn, end } => self.lost(conn, end, "reset"),
            Event::Fault { host, fault } => self.befall(host, fault),
            Event::Finished { host } => {
                self.feed(host, &(8, 0), |node, now_ms| {
                    if let Node::Client(fetcher) = node {
                        fetcher.handle(now_ms, FetchInput::Finished { failures: Vec::new() });
                    }
                });
            }
            Event::Drained { host, life } => self.drained(host, life),
        }
    }

    fn start(&mut self, host: u32) {
        let now_ms = self.clock.now_ms();
        let at = &mut self.hosts[host as usize];
        assert!(!matches!(at.state, State::Up | State::Frozen), "{host} is there already");
        if at.life == 0 {
            at.stats.began_ns = self.clock.now_ns();
        }
        at.begin(now_ms);
        self.network.links[host as usize].is_still = false;
        if host == 0 {
            let manifest = self.manifest.clone();
            self.feed(0, &(8, 0), |node, now_ms| {
                if let Node::Master(master) = node {
                    master.handle(now_ms, MasterInput::Scanned { manifest, scan: 1 });
                }
            });
        } else {
            self.settle(host, false);
        }
    }

    fn tick(&mut self, host: u32) {
        let at = &mut self.hosts[host as usize];
        if at.tick_ns != Some(self.clock.now_ns()) {
            return;
        }
        at.tick_ns = None;
        if at.state == State::Up {
            self.feed(host, &(7, 0), Node::timeout);
        }
    }

    /// Lets something happen to a host's node, and everything follow from it.
    fn feed(&mut self, host: u32, note: &(u64, u32), happen: impl FnOnce(&mut Node, u64)) {
        self.note(host, note);
        let now_ms = self.clock.now_ms();
        let Some(node) = &mut self.hosts[host as usize].node else { return };
        happen(node, now_ms);
        self.settle(host, false);
    }

    /// Gives a host's node what happened on a connection; the data of the frame
    /// at hand may be wrong.
    fn feed_conn(&mut self, host: u32, event: ConnEvent, is_wrong: bool) {
        self.note(host, &digest_of(&event));
        let now_ms = self.clock.now_ms();
        let Some(node) = &mut self.hosts[host as usize].node else { return };
        node.handle(now_ms, event);
        self.settle(host, is_wrong);
    }

    fn settle(&mut self, host: u32, is_wrong: bool) {
        let Some(mut node) = self.hosts[host as usize].node.take() else { return };
        let is_over = self.carry_out_all(host, &mut node, is_wrong);
        if is_over {
            return self.end(host);
        }
        let now_ms = self.clock.now_ms();
        if let Some(at_ms) = node.poll_timeout(now_ms) {
            let at_ns = (at_ms * 1_000_000).max(self.clock.now_ns());
            let at = &mut self.hosts[host as usize];
            if at.tick_ns.is_none_or(|due_ns| due_ns > at_ns) {
                at.tick_ns = Some(at_ns);
                self.clock.at(at_ns, Event::Tick { host });
            }
        }
        self.hosts[host as usize].node = Some(node);
    }

    /// Whether the node has ended.
    fn carry_out_all(&mut self, host: u32, node: &mut Node, is_wrong: bool) -> bool {
        let now_ms = self.clock.now_ms();
        let mut is_over = false;
        loop {
            while let Some(effect) = node.poll_conn_effect() {
                self.carry_out_conn(host, node, effect);
            }
            match node {
                Node::Master(master) => {
                    let Some(effect) = master.poll_effect() else { return is_over };
                    if let Some(input) = self.carry_out_master(host, effect) {
                        master.handle(now_ms, input);
                    }
                }
                Node::Client(fetcher) => {
                    let Some(effect) = fetcher.poll_effect() else { return is_over };
                    is_over |= matches!(effect, FetchEffect::Exit { .. });
                    if let Some(input) = self.carry_out_fetch(host, effect, is_wrong) {
                        fetcher.handle(now_ms, input);
                    }
                }
            }
        }
    }

    fn carry_out_conn(&mut self, host: u32, node: &Node, effect: ConnEffect) {
        match effect {
            ConnEffect::Connect { conn, addr } => self.connect(host, conn, addr),
            ConnEffect::Close { conn } => self.close(host, conn),
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
    ) -> Option<MasterInput<'static>> {
        match effect {
            MasterEffect::Rescan => Some(MasterInput::Unchanged),
            MasterEffect::Checksum { generation, entry } => {
                Some(MasterInput::Checksum { generation, entry, sum: Err(()) })
            }
            MasterEffect::Say(text) | MasterEffect::Warn(text) => {
                self.say(host, &text);
                None
            }
            MasterEffect::Exit { failure } => panic!("the master ends: {}", failure.text()),
        }
    }

    fn carry_out_fetch(
        &mut self,
        host: u32,
        effect: FetchEffect,
        is_wrong: bool,
    ) -> Option<FetchInput<'static>> {
        match effect {
            FetchEffect::Prepare { .. } => {
                let disk = &self.hosts[host as usize].disk;
                let found = (self.map.manifest_pieces().count()..self.map.count())
                    .filter(|&piece| disk.contains(&piece))
                    .collect();
                return Some(FetchInput::Prepared { found });
            }
            FetchEffect::Store { conn, piece, .. } => {
                let result = self.store(host, piece, is_wrong);
                return Some(FetchInput::Stored { conn, piece, result });
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
        let child = self.conns[conn as usize].ends[0].host;
        for text in frames(bytes).filter_map(|frame| std::str::from_utf8(frame.get(11..)?).ok()) {
            for line in text.lines() {
                if let Some(MasterMessage::Parent { stripe, source }) =
                    MasterMessage::parse(line.as_bytes())
                {
                    let parent = match source {
                        ParentAddr::Master => 0,
                        ParentAddr::Peer(addr) => host_of(addr),
                    };
                    let at = &mut self.hosts[child as usize].parents;
                    at.resize(usize::from(self.setup.fan_out), 0);
                    at[usize::from(stripe)] = parent;
                }
            }
        }
    }

    /// How far below the master a host stands in a stripe, unless one of those
    /// above it is no more.
    pub fn level_among_the_living(&self, host: u32, stripe: usize) -> Option<u32> {
        let (mut at, mut level) = (host, 0);
        while at != 0 {
            let host = &self.hosts[at as usize];
            at = *host.parents.get(stripe).filter(|_| host.state == State::Up && level < 1000)?;
            level += 1;
        }
        Some(level)
    }

    fn say(&self, host: u32, text: &str) {
        if self.talks {
            println!("{:9.3} {host}: {text}", self.clock.now_ns() as f64 / 1e9);
        }
    }

    fn bulk(&mut self, host: u32, node: &Node, header: [u8; 11], what: Bulk, len: u32) -> Item {
        let Bulk::Piece { generation, piece, skip } = what else {
            panic!("nobody reads files here")
        };
        let wrong_every = self.hosts[host as usize].wrong_every;
        let is_wrong = wrong_every.is_some_and(|every| self.random(u64::from(every)) == 0);
        let generation = node.space().generation(generation).expect("what is sent is served");
        if piece < generation.manifest_pieces.count() {
            let start = generation.manifest_pieces.range(piece).start + skip as usize;
            let mut bytes = header.to_vec();
            bytes.extend_from_slice(&generation.manifest_bytes[start..start + len as usize]);
            bytes[11] ^= u8::from(is_wrong);
            return Item::Frames(bytes);
        }
        let at = &self.hosts[host as usize];
        assert!(!at.is_client() || at.disk.contains(&piece), "{host} sends what it has not");
        Item::Bulk { header, len, is_wrong }
    }

    fn store(&mut self, host: u32, piece: u32, is_wrong: bool) -> StoreResult {
        let at = &mut self.hosts[host as usize];
        if is_wrong {
            at.stats.wrong += 1;
            return StoreResult::Corrupt;
        }
        if !at.disk.insert(piece) {
            at.stats.stored_again += 1;
            self.say(host, &format!("piece {piece} is stored again"));
        }
        StoreResult::Stored
    }

    fn connect(&mut self, host: u32, id: ConnId, to: SocketAddr) {
        let conn = self.conns.len() as u32;
        let other = host_of(to);
        assert!((other as usize) < self.hosts.len(), "{host} calls {to}, which is nobody's");
        let life = self.hosts[host as usize].life;
        let ends = [
            End { host, life, id, is_open: true },
            End { host: other, life: 0, id: ConnId(0), is_open: false },
        ];
        self.conns.push(Conn { ends, is_up: false, port: to.port(), again: 0, heard_ms: [0; 2] });
        let way = self.network.add_ways(host, other);
        debug_assert_eq!(way, conn * 2);
        self.hosts[host as usize].set_conn(id, conn);
        self.clock.after(self.network.latency_ns(host, other), Event::Syn { conn });
    }

    fn syn(&mut self, conn: u32) {
        let c = &mut self.conns[conn as usize];
        let (caller, called, at) = (c.ends[0].host, c.ends[1].host, c.port);
        if !c.ends[0].is_open {
            return;
        }
        self.syns += 1;
        if self.syns.checked_rem(self.setup.lost_syn) == Some(0) {
            let wait_ns = SYN_AGAIN_NS << c.again;
            c.again += 1;
            return self.clock.after(wait_ns, Event::Syn { conn });
        }
        let latency_ns = self.network.latency_ns(caller, called);
        let host = &mut self.hosts[called as usize];
        if host.state == State::Dark {
            return;
        }
        if !host.listens_on(at) {
            return self.clock.after(latency_ns, Event::Refused { conn });
        }
        self.clock.after(latency_ns, Event::Established { conn });
        let life = host.life;
        let Some(node) = &mut host.node else { return };
        let id = node.next_conn();
        host.set_conn(id, conn);
        self.conns[conn as usize].ends[1] = End { host: called, life, id, is_open: true };
        // One that is frozen takes it from its kernel later; it makes no
        // difference, because what follows waits in the stash.
        let peer = addr(caller, 40_000);
        self.feed_conn(called, ConnEvent::Accepted { conn: id, peer }, false);
    }

    fn established(&mut self, conn: u32) {
        let c = &mut self.conns[conn as usize];
        c.is_up = true;
        let (host, id) = (c.ends[0].host, c.ends[0].id);
        if !c.ends[0].is_open {
            return self.network.send(&mut self.clock, conn * 2, Item::End);
        }
        if self.hosts[host as usize].state == State::Up {
            self.feed_conn(host, ConnEvent::Connected { conn: id }, false);
        }
    }

    fn close(&mut self, host: u32, id: ConnId) {
        let Some(conn) = self.hosts[host as usize].conn(id) else { return };
        let c = &mut self.conns[conn as usize];
        let end = c.end_of(host, id);
        if !std::mem::replace(&mut c.ends[end].is_open, false) {
            return;
        }
        if c.is_up || end == 1 {
            self.network.send(&mut self.clock, conn * 2 + end as u32, Item::End);
        }
    }

    fn send(&mut self, host: u32, id: ConnId, item: Item) {
        let Some(conn) = self.hosts[host as usize].conn(id) else { return };
        let c = &self.conns[conn as usize];
        let end = c.end_of(host, id);
        if c.ends[end].is_open {
            self.network.send(&mut self.clock, conn * 2 + end as u32, item);
        }
    }

    /// A segment is through its downlink.
    fn through(&mut self, segment: Segment) {
        let (conn, end) = (segment.way / 2, 1 - segment.way as usize % 2);
        let to = self.network.way(segment.way).to;
        let state = self.hosts[to as usize].state;
        if state == State::Dark {
            return;
        }
        self.network.taken(&mut self.clock, segment);
        if segment.is_last {
            // The first part of the next is a sign of life of its own.
            self.conns[conn as usize].heard_ms[end] = 0;
            let Some(item) = self.network.arrived(segment) else { return };
            if state == State::Frozen {
                self.hosts[to as usize].stash.push_back((conn, end, item));
            } else {
                self.arrive(conn, end, item);
            }
            return;
        }
        let now_ms = self.clock.now_ms();
        let c = &mut self.conns[conn as usize];
        if state == State::Up && c.ends[end].is_open && now_ms >= c.heard_ms[end] + 100 {
            c.heard_ms[end] = now_ms;
            let id = c.ends[end].id;
            self.feed_conn(to, ConnEvent::Partial { conn: id }, false);
        }
    }

    fn arrive(&mut self, conn: u32, end: usize, item: Item) {
        let at = &self.conns[conn as usize].ends[end];
        let (host, id) = (at.host, at.id);
        if !at.is_open || at.life != self.hosts[host as usize].life {
            return;
        }
        match item {
            Item::End => self.lost(conn, end, "closed"),
            Item::Bulk { header, len, is_wrong } => {
                let frame = Frame { prefix: &header, len: 11 + len };
                self.feed_conn(host, ConnEvent::Frame { conn: id, frame }, is_wrong);
            }
            Item::Frames(bytes) => {
                for frame in frames(&bytes) {
                    if !self.conns[conn as usize].ends[end].is_open {
                        return;
                    }
                    let stats = &mut self.hosts[host as usize].stats;
                    stats.control_in += 1;
                    stats.control_in_bytes += frame.len() as u64;
                    let frame = Frame::whole(frame);
                    self.feed_conn(host, ConnEvent::Frame { conn: id, frame }, false);
                }
            }
        }
    }

    /// One end has learned that the connection is lost.
    fn lost(&mut self, conn: u32, end: usize, why: &str) {
        self.network.cut(conn * 2);
        self.network.cut(conn * 2 + 1);
        let at = &mut self.conns[conn as usize].ends[end];
        let (host, id, life) = (at.host, at.id, at.life);
        let was_open = std::mem::replace(&mut at.is_open, false);
        let is_there = self.hosts[host as usize].life == life;
        match self.hosts[host as usize].state {
            State::Up if was_open && is_there => {
                self.feed_conn(host, ConnEvent::Closed { conn: id, reason: why.into() }, false);
            }
            State::Frozen if was_open && is_there => {
                self.conns[conn as usize].ends[end].is_open = true;
                self.hosts[host as usize].stash.push_back((conn, end, Item::End));
            }
            _ => {}
        }
    }

    fn befall(&mut self, host: u32, fault: Fault) {
        let state = self.hosts[host as usize].state;
        let lives = matches!(state, State::Up | State::Frozen);
        match fault {
            Fault::Crash if lives => self.die(host, State::Down),
            Fault::PowerLoss if lives => self.die(host, State::Dark),
            Fault::Freeze if state == State::Up => {
                self.hosts[host as usize].state = State::Frozen;
                self.frozen += u32::from(host > 0);
                self.network.links[host as usize].is_still = true;
            }
            Fault::Thaw if state == State::Frozen => self.thaw(host),
            _ => {}
        }
    }

    fn thaw(&mut self, host: u32) {
        self.frozen -= u32::from(host > 0);
        self.hosts[host as usize].state = State::Up;
        self.network.links[host as usize].is_still = false;
        self.network.next_segment(&mut self.clock, host);
        // What came meanwhile is there at once; so is the time.
        while self.hosts[host as usize].state == State::Up
            && let Some((conn, end, item)) = self.hosts[host as usize].stash.pop_front()
        {
            self.arrive(conn, end, item);
        }
        if self.hosts[host as usize].state == State::Up {
            self.feed(host, &(7, 0), Node::timeout);
        }
    }

    fn die(&mut self, host: u32, state: State) {
        let at = &mut self.hosts[host as usize];
        self.frozen -= u32::from(at.state == State::Frozen && at.is_client());
        at.state = state;
        at.node = None;
        at.tick_ns = None;
        if at.is_client() {
            self.unfinished -= 1;
        }
        let conns: Vec<u32> = at.conns().collect();
        self.network.links[host as usize].is_still = state == State::Dark;
        for conn in conns {
            self.abandon(host, conn, state == State::Dark);
        }
    }

    /// This end of a connection is no more; the other learns it in time.
    fn abandon(&mut self, host: u32, conn: u32, silently: bool) {
        let c = &mut self.conns[conn as usize];
        let end = usize::from(c.ends[0].host != host);
        let other = 1 - end;
        c.ends[end].is_open = false;
        let wait_ns =
            if silently { KEEPALIVE_NS } else { self.network.latency_ns(host, c.ends[other].host) };
        self.network.cut(conn * 2 + end as u32);
        if c.ends[other].is_open {
            self.clock.after(wait_ns, Event::Lost { conn, end: other });
        }
    }

    /// The node has ended in good order.
    fn end(&mut self, host: u32) {
        let at = &mut self.hosts[host as usize];
        at.state = State::Over;
        at.tick_ns = None;
        at.stats.over_ns = Some(self.clock.now_ns());
        self.unfinished -= 1;
        let life = at.life;
        for conn in at.conns().collect::<Vec<_>>() {
            let c = &mut self.conns[conn as usize];
            let end = usize::from(c.ends[0].host != host);
            if std::mem::replace(&mut c.ends[end].is_open, false) {
                self.network.send(&mut self.clock, conn * 2 + end as u32, Item::End);
            }
        }
        self.clock.after(DRAIN_NS, Event::Drained { host, life });
    }

    fn drained(&mut self, host: u32, life: u32) {
        let at = &self.hosts[host as usize];
        if at.life != life || at.state != State::Over {
            return;
        }
        for conn in at.conns().collect::<Vec<_>>() {
            let end = usize::from(self.conns[conn as usize].ends[0].host != host);
            if !self.network.is_idle(conn * 2 + end as u32) {
                self.abandon(host, conn, false);
            }
        }
    }

    /// Mixes what happens into the trace, so that two runs can be compared.
    fn note(&mut self, host: u32, &(kind, number): &(u64, u32)) {
        for word in [self.clock.now_ns(), u64::from(host), kind, u64::from(number)] {
            self.trace = (self.trace ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }
}

/// What happened, for the trace.
fn digest_of(event: &ConnEvent) -> (u64, u32) {
    match event {
        ConnEvent::Accepted { conn, .. } => (1, conn.0),
        ConnEvent::Connected { conn } => (2, conn.0),
        ConnEvent::Frame { conn, frame } => {
            let mixed = frame
                .prefix
                .iter()
                .fold(frame.len, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
            (3, conn.0 ^ mixed)
        }
        ConnEvent::Partial { conn } => (4, conn.0),
        ConnEvent::Closed { conn, .. } => (5, conn.0),
    }
}

impl Conn {
    fn end_of(&self, host: u32, id: ConnId) -> usize {
        usize::from(self.ends[0].host != host || self.ends[0].id != id)
    }
}

/// The whole frames that a buffer holds.
fn frames(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let size = rest.first_chunk::<4>()?;
        let (frame, after) = rest.split_at(u32::from_le_bytes(*size) as usize);
        rest = after;
        Some(frame)
    })
}

/// Hosts are numbered within 10.0.0.0/8.
fn addr(host: u32, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from((10 << 24) + host + 1)), port)
}

fn host_of(addr: SocketAddr) -> u32 {
    match addr.ip() {
        IpAddr::V4(ip) => u32::from(ip) - (10 << 24) - 1,
        IpAddr::V6(_) => panic!("{addr}: nobody has one of these"),
    }
}

/// SplitMix64 (Steele and others, 2014): small, and good enough for chance.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
