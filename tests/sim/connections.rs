//! Connections over the network: who called whom, and which end is open.
//!
//! Knows handshakes, SYNs that are lost, and both ends of each connection by
//! host, life and `ConnId`. Refuses to know nodes: what an end is told, and
//! whether its host can hear it, is up to `run`.

use crate::clock::Clock;
use crate::event::{Event, WayId};
use crate::network::{Item, Network};
use ninep::server::ConnId;

/// A peer whose machine is gone is given up by TCP's keepalive
/// (src/xget/os/socket.rs).
const KEEPALIVE_NS: u64 = 30_000_000_000;
/// TCP sends a SYN again after that; then after twice as long, and so on.
const SYN_AGAIN_NS: u64 = 1_000_000_000;
/// Signs of life within a frame go to a node this often at most.
const PARTIAL_MS: u64 = 100;

#[derive(Clone, Copy)]
pub struct End {
    pub host: u32,
    /// The host's life that it belongs to.
    pub life: u32,
    pub id: ConnId,
    pub is_open: bool,
}

struct Conn {
    ends: [End; 2],
    is_up: bool,
    /// The port that was called.
    port: u16,
    /// SYNs that were sent again.
    syns_again: u32,
    /// When each end was last told of a part of a frame.
    partial_ms: [u64; 2],
    /// Bytes of the frame that is on its way to each end.
    partial_len: [u32; 2],
}

impl Conn {
    fn end_of(&self, host: u32, id: ConnId) -> usize {
        usize::from(self.ends[0].host != host || self.ends[0].id != id)
    }
}

/// A SYN that has come to the host that is called.
pub struct Call {
    pub caller: u32,
    pub called: u32,
    pub port: u16,
}

/// Number `n` sends on the ways `2n`, from the caller, and `2n + 1`.
pub struct Connections {
    pub network: Network,
    conns: Vec<Conn>,
    syns: u32,
    /// Of so many SYNs one is lost; 0: none.
    lost_syn: u32,
}

impl Connections {
    pub fn new(network: Network, lost_syn: u32) -> Connections {
        Connections { network, conns: Vec::new(), syns: 0, lost_syn }
    }

    pub fn end(&self, conn: u32, end: usize) -> End {
        self.conns[conn as usize].ends[end]
    }

    /// The end of a connection that a host has.
    pub fn side_of(&self, conn: u32, host: u32) -> usize {
        usize::from(self.conns[conn as usize].ends[0].host != host)
    }

    /// The connection and the end that a way leads to.
    pub fn end_at(way: WayId) -> (u32, usize) {
        (way / 2, 1 - way as usize % 2)
    }

    /// Whether all that this end sent is there.
    pub fn is_idle(&self, conn: u32, end: usize) -> bool {
        self.network.is_idle(conn * 2 + end as u32)
    }

    /// A host calls another. The new connection's number.
    pub fn connect(&mut self, clock: &mut Clock, caller: End, called: u32, port: u16) -> u32 {
        let conn = self.conns.len() as u32;
        let nobody = End { host: called, life: 0, id: ConnId(0), is_open: false };
        let ends = [caller, nobody];
        self.conns.push(Conn {
            ends,
            is_up: false,
            port,
            syns_again: 0,
            partial_ms: [0; 2],
            partial_len: [0; 2],
        });
        let way = self.network.add_ways(caller.host, called);
        debug_assert_eq!(way, conn * 2);
        clock.after(self.network.latency_ns(caller.host, called), Event::Syn { conn });
        conn
    }

    /// A SYN has come, unless it was lost or its sender has given up.
    pub fn take_syn(&mut self, clock: &mut Clock, conn: u32) -> Option<Call> {
        let at = &mut self.conns[conn as usize];
        if !at.ends[0].is_open {
            return None;
        }
        self.syns += 1;
        if self.syns.checked_rem(self.lost_syn) == Some(0) {
            clock.after(SYN_AGAIN_NS << at.syns_again, Event::Syn { conn });
            at.syns_again += 1;
            return None;
        }
        Some(Call { caller: at.ends[0].host, called: at.ends[1].host, port: at.port })
    }

    /// The called host has the connection now.
    pub fn accept(&mut self, conn: u32, called: End) {
        self.conns[conn as usize].ends[1] = called;
    }

    /// The caller has its answer: its end, if it has not closed it meanwhile.
    pub fn establish(&mut self, clock: &mut Clock, conn: u32) -> Option<End> {
        let at = &mut self.conns[conn as usize];
        at.is_up = true;
        let caller = at.ends[0];
        if !caller.is_open {
            self.network.send(clock, conn * 2, Item::End);
            return None;
        }
        Some(caller)
    }

    pub fn send(&mut self, clock: &mut Clock, conn: u32, host: u32, id: ConnId, item: Item) {
        let at = &self.conns[conn as usize];
        let end = at.end_of(host, id);
        if at.ends[end].is_open {
            self.network.send(clock, conn * 2 + end as u32, item);
        }
    }

    pub fn close(&mut self, clock: &mut Clock, conn: u32, host: u32, id: ConnId) {
        let at = &mut self.conns[conn as usize];
        let end = at.end_of(host, id);
        if !std::mem::replace(&mut at.ends[end].is_open, false) {
            return;
        }
        if at.is_up || end == 1 {
            self.network.send(clock, conn * 2 + end as u32, Item::End);
        }
    }

    /// This end closes, as its process ends in good order.
    pub fn finish(&mut self, clock: &mut Clock, conn: u32, host: u32) {
        let end = self.side_of(conn, host);
        if std::mem::replace(&mut self.conns[conn as usize].ends[end].is_open, false) {
            self.network.send(clock, conn * 2 + end as u32, Item::End);
        }
    }

    /// This end of a connection is no more; the other learns it in time.
    pub fn abandon(&mut self, clock: &mut Clock, conn: u32, host: u32, silently: bool) {
        let end = self.side_of(conn, host);
        let other = 1 - end;
        let at = &mut self.conns[conn as usize];
        at.ends[end].is_open = false;
        let wait_ns = if silently {
            KEEPALIVE_NS
        } else {
            self.network.latency_ns(host, at.ends[other].host)
        };
        self.network.cut(conn * 2 + end as u32);
        if at.ends[other].is_open {
            clock.after(wait_ns, Event::Lost { conn, end: other });
        }
    }

    /// A connection is lost, as one end has learned: nothing more arrives on
    /// it. The end as it was, which is closed from now on.
    pub fn lose(&mut self, conn: u32, end: usize) -> End {
        self.network.cut(conn * 2);
        self.network.cut(conn * 2 + 1);
        let at = &mut self.conns[conn as usize].ends[end];
        let was = *at;
        at.is_open = false;
        was
    }

    /// An end whose host cannot notice yet that it is lost.
    pub fn keep_open(&mut self, conn: u32, end: usize) {
        self.conns[conn as usize].ends[end].is_open = true;
    }

    /// More of a frame has come to an end: how much is there, if it is to be told and
    /// was not a moment ago.
    pub fn take_partial(&mut self, now_ms: u64, conn: u32, end: usize, len: u32) -> Option<u32> {
        let at = &mut self.conns[conn as usize];
        at.partial_len[end] += len;
        let is_due = at.ends[end].is_open && now_ms >= at.partial_ms[end] + PARTIAL_MS;
        is_due.then(|| {
            at.partial_ms[end] = now_ms;
            at.partial_len[end]
        })
    }

    /// A frame is whole: the first part of the next is a sign of life of its own.
    pub fn forget_partial(&mut self, conn: u32, end: usize) {
        let at = &mut self.conns[conn as usize];
        (at.partial_ms[end], at.partial_len[end]) = (0, 0);
    }
}
