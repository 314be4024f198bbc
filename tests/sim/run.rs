//! The course of a run: what each event does.
//!
//! Knows when a node runs: it is given what happened, and all that follows from
//! it is carried out (`effects`) before the next event. Refuses to know what a
//! run is to come to, which is up to the tests. How hosts end is in `endings`.

use crate::connections::{Connections, End};
use crate::event::{Event, Fault, Segment};
use crate::host::{HostState, Node, addr_of};
use crate::network::{Item, frames};
use crate::world::World;
use ninep::client::Frame;
use peer::conn::ConnEvent;
use peer::fetch::FetchInput;
use peer::master::MasterInput;

impl World {
    /// Until every client that lives has come to its end, or until that time.
    pub fn run(&mut self, limit_ms: u64) {
        while self.unfinished > 0 && self.step(limit_ms) {}
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
            Event::Timeout { host } => self.timeout(host),
            Event::Left { host } => self.connections.network.left(&mut self.clock, host),
            Event::Arrives { segment } => {
                if self.connections.network.arrives(&mut self.clock, segment) {
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
            Event::Taken { host, life } => self.taken(host, life),
            Event::Drained { host, life } => self.drained(host, life),
        }
    }

    fn start(&mut self, host: u32) {
        let now_ms = self.clock.now_ms();
        let at = &mut self.hosts[host as usize];
        let is_there = matches!(at.state, HostState::Up | HostState::Frozen);
        assert!(!is_there, "{host} is there already");
        if at.life == 0 {
            at.stats.began_ns = self.clock.now_ns();
        }
        at.begin(now_ms);
        self.link_mut(host).is_still = false;
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

    fn timeout(&mut self, host: u32) {
        let at = &mut self.hosts[host as usize];
        if at.timeout_ns != Some(self.clock.now_ns()) {
            return;
        }
        at.timeout_ns = None;
        if at.state == HostState::Up {
            self.feed(host, &(7, 0), Node::timeout);
        }
    }

    /// Lets something happen to a host's node, and everything follow from it.
    pub fn feed(&mut self, host: u32, note: &(u64, u32), happen: impl FnOnce(&mut Node, u64)) {
        self.note(host, note);
        let now_ms = self.clock.now_ms();
        let Some(node) = &mut self.hosts[host as usize].node else { return };
        happen(node, now_ms);
        self.settle(host, false);
    }

    /// Gives a host's node what happened on a connection; the data of the frame
    /// at hand may be wrong.
    fn feed_conn(&mut self, host: u32, event: ConnEvent, is_corrupt: bool) {
        self.note(host, &digest_of(&event));
        let now_ms = self.clock.now_ms();
        let Some(node) = &mut self.hosts[host as usize].node else { return };
        node.handle(now_ms, event);
        self.settle(host, is_corrupt);
    }

    fn settle(&mut self, host: u32, is_corrupt: bool) {
        let Some(mut node) = self.hosts[host as usize].node.take() else { return };
        let is_over = self.carry_out_all(host, &mut node, is_corrupt);
        if is_over {
            return self.end(host);
        }
        if let Some(at_ms) = node.poll_timeout() {
            let at_ns = (at_ms * 1_000_000).max(self.clock.now_ns());
            let at = &mut self.hosts[host as usize];
            if at.timeout_ns.is_none_or(|due_ns| due_ns > at_ns) {
                at.timeout_ns = Some(at_ns);
                self.clock.at(at_ns, Event::Timeout { host });
            }
        }
        self.hosts[host as usize].node = Some(node);
    }

    fn syn(&mut self, conn: u32) {
        let Some(call) = self.connections.take_syn(&mut self.clock, conn) else { return };
        let latency_ns = self.connections.network.latency_ns(call.caller, call.called);
        let host = &mut self.hosts[call.called as usize];
        if host.state == HostState::Dark {
            return;
        }
        if !host.listens_on(call.port) {
            return self.clock.after(latency_ns, Event::Refused { conn });
        }
        self.clock.after(latency_ns, Event::Established { conn });
        let life = host.life;
        let Some(node) = &mut host.node else { return };
        let id = node.next_conn();
        host.set_conn(id, conn);
        self.connections.accept(conn, End { host: call.called, life, id, is_open: true });
        // One that is frozen takes it from its kernel later; it makes no
        // difference, because what follows waits in the stash.
        let peer = addr_of(call.caller, 40_000);
        self.feed_conn(call.called, ConnEvent::Accepted { conn: id, peer }, false);
    }

    fn established(&mut self, conn: u32) {
        let Some(end) = self.connections.establish(&mut self.clock, conn) else { return };
        if self.hosts[end.host as usize].state == HostState::Up {
            self.feed_conn(end.host, ConnEvent::Connected { conn: end.id }, false);
        }
    }

    /// A segment is through its downlink.
    fn through(&mut self, segment: Segment) {
        let (conn, end) = Connections::end_at(segment.way);
        let host = self.connections.network.way(segment.way).to;
        let state = self.hosts[host as usize].state;
        if state == HostState::Dark {
            return;
        }
        self.connections.network.taken(&mut self.clock, segment);
        if segment.is_last {
            self.connections.forget_partial(conn, end);
            let Some(item) = self.connections.network.arrived(segment) else { return };
            if state == HostState::Frozen {
                self.hosts[host as usize].stash.push_back((conn, end, item));
            } else {
                self.arrive(conn, end, item);
            }
            return;
        }
        let now_ms = self.clock.now_ms();
        let here = self.connections.take_partial(now_ms, conn, end, segment.len);
        if let (HostState::Up, Some(len)) = (state, here) {
            let id = self.connections.end(conn, end).id;
            self.feed_conn(host, ConnEvent::Partial { conn: id, len }, false);
        }
    }

    fn arrive(&mut self, conn: u32, end: usize, item: Item) {
        let End { host, life, id, is_open } = self.connections.end(conn, end);
        if !is_open || life != self.hosts[host as usize].life {
            return;
        }
        match item {
            Item::End => self.lost(conn, end, "closed"),
            Item::Bulk { header, len, is_corrupt } => {
                let frame = Frame { prefix: &header, len: 11 + len };
                self.feed_conn(host, ConnEvent::Frame { conn: id, frame }, is_corrupt);
            }
            Item::Frames(bytes) => {
                for frame in frames(&bytes) {
                    if !self.connections.end(conn, end).is_open {
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
        let End { host, life, id, is_open } = self.connections.lose(conn, end);
        if !is_open || self.hosts[host as usize].life != life {
            return;
        }
        match self.hosts[host as usize].state {
            HostState::Up => {
                self.feed_conn(host, ConnEvent::Closed { conn: id, reason: why.into() }, false);
            }
            HostState::Frozen => {
                self.connections.keep_open(conn, end);
                self.hosts[host as usize].stash.push_back((conn, end, Item::End));
            }
            _ => {}
        }
    }

    fn befall(&mut self, host: u32, fault: Fault) {
        let state = self.hosts[host as usize].state;
        let lives = matches!(state, HostState::Up | HostState::Frozen);
        match fault {
            Fault::Crash if lives => self.die(host, HostState::Down),
            Fault::PowerLoss if lives => self.die(host, HostState::Dark),
            Fault::Freeze if state == HostState::Up => {
                self.hosts[host as usize].state = HostState::Frozen;
                self.frozen += u32::from(host > 0);
                self.link_mut(host).is_still = true;
            }
            Fault::Thaw if state == HostState::Frozen => self.thaw(host),
            _ => {}
        }
    }

    fn thaw(&mut self, host: u32) {
        self.frozen -= u32::from(host > 0);
        self.hosts[host as usize].state = HostState::Up;
        self.link_mut(host).is_still = false;
        self.connections.network.next_segment(&mut self.clock, host);
        // What came meanwhile is there at once; so is the time.
        while self.hosts[host as usize].state == HostState::Up
            && let Some((conn, end, item)) = self.hosts[host as usize].stash.pop_front()
        {
            self.arrive(conn, end, item);
        }
        if self.hosts[host as usize].state == HostState::Up {
            self.feed(host, &(7, 0), Node::timeout);
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
        ConnEvent::Partial { conn, .. } => (4, conn.0),
        ConnEvent::Closed { conn, .. } => (5, conn.0),
    }
}
