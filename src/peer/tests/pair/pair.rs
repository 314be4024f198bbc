//! Machines over a link in memory and a clock that jumps from deadline to
//! deadline: exact to the millisecond, and the same every time.
//!
//! As the `Pair` of the tests of quinn-proto, with any number of hosts. The
//! link loses, holds back, delays and damages what a test says, and takes no
//! time unless told so.

use crate::between::Between;
use crate::content::Tree;
use crate::host::{ClientHost, Fault, MasterHost, Node};
use crate::scripted_client::ScriptedClient;
use crate::scripted_server::ScriptedServer;
use ninep::client::Frame;
use ninep::server::ConnId;
use ninep::{Dialect, NOTAG, Request, wire};
use peer::auth::Key;
use peer::conn::{ConnEffect, ConnEvent};
use peer::control::ClientMessage;
use peer::fetch::{FetchInput, FetchOptions, Fetcher};
use peer::master::{Master, MasterInput, MasterOptions};
use peer::namespace::Bulk;
use peer::request::{FetchRequest, Masters};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

/// A run that is not over after so many steps never will be.
const STEPS_MAX: u32 = 20_000;
/// Rounds of one millisecond: more, and somebody spins.
const ROUNDS_MAX: u32 = 200_000;
/// A frame that takes longer is heard of this often meanwhile.
const PART_MS: u64 = 50;

/// One way of a connection's two.
#[derive(Clone, Copy, Debug)]
struct End {
    host: usize,
    id: ConnId,
    is_open: bool,
    /// When what it sends next can begin to leave.
    free_ms: u64,
}

/// A connection: who called, then who was called.
struct Conn {
    ends: [End; 2],
    is_up: bool,
}

#[derive(Debug)]
enum Event {
    Syn {
        conn: usize,
    },
    Connected {
        conn: usize,
    },
    Refused {
        conn: usize,
    },
    /// To one end.
    Accepted {
        conn: usize,
    },
    Partial {
        conn: usize,
        end: usize,
        len: u32,
    },
    Frame {
        conn: usize,
        end: usize,
        bytes: Vec<u8>,
    },
    Closed {
        conn: usize,
        end: usize,
    },
}

pub struct Host {
    pub node: Node,
    fault: Fault,
    /// What waits until it is not frozen any more.
    stash: VecDeque<Event>,
    /// How long what it sends is on the way.
    pub latency_ms: u64,
    /// How long the frame of a piece takes to leave.
    pub piece_ms: u64,
    /// So many of the next SYNs to it are lost.
    pub syns_lost: u32,
    /// Another process on the machine of that host.
    pub beside: Option<usize>,
    /// Pieces that leave it with a wrong byte, so many times yet.
    pub wrong: BTreeMap<u32, u32>,
}

#[derive(Default)]
pub struct Pair {
    pub now_ms: u64,
    pub hosts: Vec<Host>,
    conns: Vec<Conn>,
    /// By time, then in the order in which they were caused.
    events: BTreeMap<(u64, u64), Event>,
    events_used: u64,
    /// Who called whom, and when.
    pub calls: Vec<(u64, usize, usize)>,
    /// Another one gives other random bytes.
    pub lot: u8,
    /// Who sits on all links.
    pub between: Option<Between>,
}

/// Where a host serves.
pub fn addr(host: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host as u8 + 1], 20_004))
}

fn host_of(addr: SocketAddr) -> usize {
    match addr.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        std::net::IpAddr::V6(_) => panic!("{addr}: nobody has one of these"),
    }
}

/// A request for everything.
pub fn all() -> FetchRequest {
    FetchRequest::of(vec![b".".to_vec()])
}

impl Pair {
    fn add(&mut self, node: Node) -> usize {
        self.hosts.push(Host {
            node,
            fault: Fault::None,
            stash: VecDeque::new(),
            latency_ms: 0,
            piece_ms: 0,
            syns_lost: 0,
            beside: None,
            wrong: BTreeMap::new(),
        });
        let host = self.hosts.len() - 1;
        self.send_all(host);
        host
    }

    /// A master that is still hashing.
    pub fn add_hashing_master(&mut self, fan_out: u8) -> usize {
        let options = MasterOptions { fan_out, head_copies: 1, selection_bytes: 64 << 20 };
        let master = Master::new(options, "a tree".into());
        self.add(Node::Master(MasterHost::new(master)))
    }

    pub fn add_master(&mut self, tree: &Rc<Tree>, fan_out: u8) -> usize {
        let host = self.add_hashing_master(fan_out);
        let manifest = tree.manifest.clone();
        self.input_master(host, MasterInput::Scanned { manifest, scan: 1 });
        host
    }

    /// A client of that master, which calls at once.
    pub fn add_client(&mut self, master: usize, request: FetchRequest) -> usize {
        self.add_client_of(vec![addr(master)].into(), request)
    }

    /// A client of these.
    pub fn add_client_of(&mut self, masters: Masters, request: FetchRequest) -> usize {
        let port = addr(0).port();
        let options = FetchOptions {
            masters,
            port,
            request,
            memory_bytes: u64::MAX,
            makes_specials: false,
            is_resumed: true,
        };
        let fetcher = Fetcher::new(options, self.now_ms);
        self.add(Node::Client(ClientHost::new(fetcher)))
    }

    /// Gives a master or a client a key.
    pub fn lock(&mut self, host: usize, key: &Key, is_plain_free: bool) {
        // Each has other random bytes.
        let seed = [host as u8 + 1 + 64 * self.lot; 32];
        match &mut self.hosts[host].node {
            Node::Master(at) => at.master.lock(key, seed, is_plain_free),
            Node::Client(at) => at.fetcher.lock(key, seed),
            _ => panic!("{host} has no key"),
        }
    }

    pub fn add_server(&mut self, tree: &Rc<Tree>, stripes: u8) -> usize {
        self.add(Node::Server(ScriptedServer::new(tree, stripes)))
    }

    /// A scripted client that is connected to somebody.
    pub fn add_caller(&mut self, to: usize) -> usize {
        self.add_caller_of(to, false)
    }

    /// One that sends what frames a test likes.
    pub fn add_raw_caller(&mut self, to: usize) -> usize {
        self.add_caller_of(to, true)
    }

    /// One on the machine of another host.
    pub fn add_caller_beside(&mut self, to: usize, machine: usize) -> usize {
        let id = ConnId(self.conns.len() as u32);
        let host = self.add(Node::Caller(ScriptedClient::new(id, false)));
        self.hosts[host].beside = Some(machine);
        self.connect(host, id, addr(to));
        self.settle();
        host
    }

    fn add_caller_of(&mut self, to: usize, is_raw: bool) -> usize {
        let id = ConnId(self.conns.len() as u32);
        let host = self.add(Node::Caller(ScriptedClient::new(id, is_raw)));
        self.connect(host, id, addr(to));
        self.settle();
        host
    }

    /// Tells a master what happened outside, and lets what follows happen.
    pub fn input_master(&mut self, host: usize, input: MasterInput) {
        let now_ms = self.now_ms;
        let Node::Master(at) = &mut self.hosts[host].node else { panic!("{host} is no master") };
        at.master.handle(now_ms, input);
        self.hosts[host].node.carry_out(now_ms, &[]);
        self.send_all(host);
        self.settle();
    }

    /// The same of a client.
    pub fn input_client(&mut self, host: usize, input: FetchInput) {
        let now_ms = self.now_ms;
        let Node::Client(at) = &mut self.hosts[host].node else { panic!("{host} is no client") };
        at.fetcher.handle(now_ms, input);
        self.hosts[host].node.carry_out(now_ms, &[]);
        self.send_all(host);
        self.settle();
    }

    pub fn befall(&mut self, host: usize, fault: Fault) {
        self.hosts[host].fault = fault;
        if fault != Fault::Frozen {
            let now_ms = self.now_ms;
            for event in std::mem::take(&mut self.hosts[host].stash) {
                self.at(now_ms, event);
            }
        }
    }

    /// Breaks all connections of a host, as a reset does.
    pub fn cut(&mut self, host: usize) {
        for conn in 0..self.conns.len() {
            if self.conns[conn].ends.iter().any(|end| end.host == host) {
                self.cut_conn(conn);
            }
        }
        self.settle();
    }

    /// Breaks the oldest connection that one has open to another.
    pub fn cut_oldest(&mut self, from: usize, to: usize) {
        let is_it = |conn: &Conn| {
            conn.ends[0].host == from && conn.ends[1].host == to && conn.ends[0].is_open
        };
        let conn = self.conns.iter().position(is_it).expect("there is one");
        self.cut_conn(conn);
        self.settle();
    }

    fn cut_conn(&mut self, conn: usize) {
        self.events.retain(|_, event| !matches!(event, Event::Frame { conn: c, .. } if *c == conn));
        for end in 0..2 {
            self.at(self.now_ms, Event::Closed { conn, end });
        }
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.events_used += 1;
        self.events.insert((at_ms, self.events_used), event);
    }

    /// All that is due now happens, and all that follows from it at once.
    pub fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if !self.happen_one() && !self.tick_one() {
                return;
            }
        }
        panic!("somebody spins at {} ms", self.now_ms);
    }

    fn happen_one(&mut self) -> bool {
        let Some(entry) = self.events.first_entry() else { return false };
        if entry.key().0 > self.now_ms {
            return false;
        }
        let event = entry.remove();
        self.happen(event);
        true
    }

    fn tick_one(&mut self) -> bool {
        for host in 0..self.hosts.len() {
            if self.deadline_ms(host).is_some_and(|at_ms| at_ms <= self.now_ms) {
                self.hosts[host].node.timeout(self.now_ms);
                self.send_all(host);
                return true;
            }
        }
        false
    }

    fn deadline_ms(&self, host: usize) -> Option<u64> {
        let at = &self.hosts[host];
        if at.fault == Fault::Frozen { None } else { at.node.poll_timeout() }
    }

    fn next_ms(&self) -> Option<u64> {
        let event = self.events.first_key_value().map(|((at_ms, _), _)| *at_ms);
        let ticks = (0..self.hosts.len()).filter_map(|host| self.deadline_ms(host));
        ticks.chain(event).min()
    }

    /// Moves all machines, then jumps to the next deadline. False when there is
    /// none: nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        self.settle();
        let next = self.next_ms();
        self.now_ms = next.unwrap_or(self.now_ms);
        next.is_some()
    }

    /// Steps until nothing is left to happen.
    pub fn drive_bounded(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!("not idle after {STEPS_MAX} steps, at {} ms", self.now_ms);
    }

    /// Steps until something is so: gives the time.
    pub fn until(&mut self, is_so: impl Fn(&Pair) -> bool) -> u64 {
        for _ in 0..STEPS_MAX {
            self.settle();
            if is_so(self) {
                return self.now_ms;
            }
            assert!(self.step(), "idle at {} ms, and it is not so", self.now_ms);
        }
        panic!("not so after {STEPS_MAX} steps, at {} ms", self.now_ms);
    }

    /// All that happens until then, and then.
    pub fn run_to(&mut self, at_ms: u64) {
        self.settle();
        while let Some(next_ms) = self.next_ms().filter(|&next_ms| next_ms <= at_ms) {
            self.now_ms = next_ms;
            self.settle();
        }
        self.now_ms = at_ms;
    }

    pub fn run_for(&mut self, ms: u64) {
        self.run_to(self.now_ms + ms);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Syn { conn } => self.syn(conn),
            Event::Connected { conn } => {
                self.conns[conn].is_up = true;
                self.feed(conn, 0, event);
            }
            Event::Refused { conn } => self.feed(conn, 0, Event::Closed { conn, end: 0 }),
            Event::Accepted { conn } => self.feed(conn, 1, event),
            Event::Partial { conn, end, .. }
            | Event::Frame { conn, end, .. }
            | Event::Closed { conn, end } => self.feed(conn, end, event),
        }
    }

    fn syn(&mut self, conn: usize) {
        let called = self.conns[conn].ends[1].host;
        let at = &mut self.hosts[called];
        if at.fault == Fault::Unreachable || at.syns_lost > 0 {
            at.syns_lost = at.syns_lost.saturating_sub(1);
            return;
        }
        let back_ms = self.now_ms + at.latency_ms;
        if at.fault == Fault::Refuses {
            return self.at(back_ms, Event::Refused { conn });
        }
        let id = at.node.next_conn().unwrap_or(ConnId(conn as u32));
        let end = End { host: called, id, is_open: true, free_ms: 0 };
        self.conns[conn].ends[1] = end;
        self.at(back_ms, Event::Connected { conn });
        self.at(self.now_ms, Event::Accepted { conn });
    }

    /// Lets one end's machine know.
    fn feed(&mut self, conn: usize, end: usize, event: Event) {
        let End { host, id, is_open, .. } = self.conns[conn].ends[end];
        let is_gone = self.hosts[host].fault == Fault::Unreachable;
        if !is_open || is_gone && !matches!(event, Event::Closed { .. }) {
            return;
        }
        if self.hosts[host].fault == Fault::Frozen {
            return self.hosts[host].stash.push_back(event);
        }
        let caller = self.conns[conn].ends[0].host;
        let machine = self.hosts[caller].beside.unwrap_or(caller);
        let peer = SocketAddr::new(addr(machine).ip(), 40_000);
        let now_ms = self.now_ms;
        let node = &mut self.hosts[host].node;
        match &event {
            Event::Accepted { .. } => node.handle(now_ms, ConnEvent::Accepted { conn: id, peer }),
            Event::Connected { .. } => node.handle(now_ms, ConnEvent::Connected { conn: id }),
            Event::Partial { len, .. } => {
                node.handle(now_ms, ConnEvent::Partial { conn: id, len: *len });
            }
            Event::Frame { bytes, .. } => {
                let frame = Frame::whole(bytes);
                node.handle(now_ms, ConnEvent::Frame { conn: id, frame });
            }
            Event::Closed { .. } => {
                self.conns[conn].ends[end].is_open = false;
                let reason = "cut".into();
                node.handle(now_ms, ConnEvent::Closed { conn: id, reason });
            }
            Event::Syn { .. } | Event::Refused { .. } => panic!("{event:?} is nobody's"),
        }
        self.send_all(host);
    }

    fn carry_out(&mut self, host: usize, effect: ConnEffect) {
        match effect {
            ConnEffect::Connect { conn, addr } => self.connect(host, conn, addr),
            ConnEffect::Close { conn } => self.close(host, conn),
            ConnEffect::Send { conn, bytes } => self.send(host, conn, bytes, None),
            ConnEffect::Replies { conn } => {
                while let Some(reply) = self.hosts[host].node.poll_reply(conn) {
                    self.carry_out(host, reply);
                }
            }
            ConnEffect::SendBulk { conn, header, what, len, .. } => {
                let mut bytes = header.to_vec();
                bytes.extend(self.hosts[host].node.bytes(what, len));
                let piece = match what {
                    Bulk::Piece { piece, .. } | Bulk::Rest { piece, .. } => Some(piece),
                    Bulk::File { .. } => None,
                };
                self.send(host, conn, bytes, piece);
            }
        }
    }

    /// Carries out what a machine wants of its connections.
    pub fn send_all(&mut self, host: usize) {
        while let Some(effect) = self.hosts[host].node.poll_conn_effect() {
            self.carry_out(host, effect);
        }
        match &mut self.hosts[host].node {
            Node::Server(server) => {
                for answer in server.take_answers() {
                    self.send(host, answer.conn, answer.bytes, answer.piece);
                }
            }
            Node::Caller(caller) if !caller.replies.is_empty() => {
                for (id, bytes) in std::mem::take(&mut caller.replies) {
                    self.send(host, id, bytes, None);
                }
            }
            Node::Caller(caller)
                if self.conns.get(caller.conn.0 as usize).is_some_and(|c| c.is_up) =>
            {
                let (id, bytes) = (caller.conn, caller.take_output());
                self.send(host, id, bytes, None);
            }
            Node::Client(client) if client.exit.is_some() => self.close_all(host),
            Node::Caller(_) | Node::Client(_) | Node::Master(_) => {}
        }
    }

    fn connect(&mut self, host: usize, id: ConnId, to: SocketAddr) {
        let end = End { host, id, is_open: true, free_ms: 0 };
        let called = End { host: host_of(to), id: ConnId(0), is_open: false, free_ms: 0 };
        self.calls.push((self.now_ms, host, called.host));
        self.conns.push(Conn { ends: [end, called], is_up: false });
        let conn = self.conns.len() - 1;
        self.at(self.now_ms + self.hosts[host].latency_ms, Event::Syn { conn });
    }

    fn find(&self, host: usize, id: ConnId) -> Option<(usize, usize)> {
        let is_it = |end: &End| end.host == host && end.id == id && end.is_open;
        let at = |conn: &Conn| conn.ends.iter().position(is_it);
        self.conns.iter().enumerate().rev().find_map(|(conn, c)| Some((conn, at(c)?)))
    }

    fn close(&mut self, host: usize, id: ConnId) {
        if let Some((conn, end)) = self.find(host, id) {
            self.conns[conn].ends[end].is_open = false;
            let at_ms = self.leaves_ms(conn, end);
            self.at(at_ms, Event::Closed { conn, end: 1 - end });
        }
    }

    fn close_all(&mut self, host: usize) {
        let ends = |conn: &Conn| conn.ends.into_iter().find(|e| e.host == host && e.is_open);
        let open: Vec<ConnId> = self.conns.iter().filter_map(ends).map(|end| end.id).collect();
        open.into_iter().for_each(|id| self.close(host, id));
    }

    /// When what leaves now arrives, after all before it.
    fn leaves_ms(&self, conn: usize, end: usize) -> u64 {
        let End { host, free_ms, .. } = self.conns[conn].ends[end];
        self.now_ms.max(free_ms) + self.hosts[host].latency_ms
    }

    /// Sends frames, the last of them a piece's.
    pub fn send(&mut self, host: usize, id: ConnId, bytes: Vec<u8>, piece: Option<u32>) {
        let Some((conn, end)) = self.find(host, id) else { return };
        if self.hosts[host].fault == Fault::Unreachable {
            return;
        }
        self.note_said(host, self.conns[conn].ends[1 - end].host, &bytes);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let len = wire::frame_len(rest).expect("frames are whole") as usize;
            let (frame, after) = rest.split_at(len.min(rest.len()));
            rest = after;
            self.send_frame(conn, end, frame.to_vec(), piece);
        }
    }

    fn send_frame(&mut self, conn: usize, end: usize, bytes: Vec<u8>, piece: Option<u32>) {
        let Some(between) = &mut self.between else { return self.hand_on(conn, end, bytes, piece) };
        for passed in between.take(conn, 1 - end, bytes) {
            self.hand_on(passed.conn, 1 - passed.to, passed.bytes, None);
        }
    }

    fn hand_on(&mut self, conn: usize, end: usize, mut bytes: Vec<u8>, piece: Option<u32>) {
        let host = self.conns[conn].ends[end].host;
        let begins_ms = self.leaves_ms(conn, end);
        if let Some(left) = piece.and_then(|piece| self.hosts[host].wrong.get_mut(&piece))
            && *left > 0
        {
            *left -= 1;
            bytes[ninep::RREAD_HEADER_LEN] ^= 1;
        }
        let takes_ms = if piece.is_some() { self.hosts[host].piece_ms } else { 0 };
        let to = 1 - end;
        for part_ms in (0..takes_ms).step_by(PART_MS as usize) {
            let len = (bytes.len() as u64 * part_ms / takes_ms) as u32;
            self.at(begins_ms + part_ms, Event::Partial { conn, end: to, len });
        }
        self.at(begins_ms + takes_ms, Event::Frame { conn, end: to, bytes });
        let free_ms = begins_ms + takes_ms - self.hosts[host].latency_ms;
        self.conns[conn].ends[end].free_ms = free_ms;
    }

    /// Notes what a client says to the master, and whom it probes.
    fn note_said(&mut self, host: usize, to: usize, bytes: &[u8]) {
        let now_ms = self.now_ms;
        let Node::Client(client) = &mut self.hosts[host].node else { return };
        let mut rest = bytes;
        while let Some(len) = wire::frame_len(rest) {
            let (frame, after) = rest.split_at(len as usize);
            rest = after;
            let Ok((_, Ok(request))) = wire::request::decode(Some(Dialect::Unix), frame) else {
                continue;
            };
            match request {
                Request::Flush { oldtag } if oldtag == NOTAG - 1 => {
                    client.probed.push((now_ms, to));
                }
                Request::Read { count: 1, .. } => client.probed.push((now_ms, to)),
                Request::Write { data, .. } => {
                    let message = ClientMessage::parse(data);
                    client.said.extend(message.map(|message| (now_ms, message)));
                }
                _ => {}
            }
        }
    }
}
