//! Links: when which bytes arrive.
//!
//! Every host has an uplink and a downlink with a rate, and a latency. What a
//! host sends is cut into segments, and its uplink takes one segment of each
//! connection in turn: the fairness that TCP flows over one bottleneck come
//! to. A segment takes its downlink as it arrives (cut through, as switches
//! and packets do), so that two links of one rate in a row cost their time
//! once, and waits there while others are before it. A connection with too
//! much on the way holds back, so a slow receiver does not take its sender's
//! uplink from the others. Messages of one connection stay in order.
//!
//! Refuses to know nodes and handshakes: who called whom is known by
//! `connections`, who lives and what a message means by `world`.

use crate::clock::Clock;
use crate::event::{Event, Segment, WayId};
use std::collections::VecDeque;

/// Bytes of one connection's direction that may be on the way: what a socket
/// holds and the window of the other side, together.
const ON_THE_WAY_MAX: u32 = 256 * 1024;

/// What is sent.
#[derive(Debug)]
pub enum Item {
    /// One or more whole frames.
    Frames(Vec<u8>),
    /// An Rread's header and the length of its bytes, which nobody looks at.
    Bulk { header: [u8; 11], len: u32, is_corrupt: bool },
    /// Nothing follows.
    End,
}

impl Item {
    fn len(&self) -> u32 {
        match self {
            Item::Frames(bytes) => bytes.len() as u32,
            Item::Bulk { len, .. } => 11 + len,
            Item::End => 0,
        }
    }
}

#[derive(Debug)]
pub struct Way {
    pub from: u32,
    pub to: u32,
    /// What has left whole and not arrived whole, then what has not left.
    items: VecDeque<Item>,
    /// How many of them have left.
    flying: usize,
    /// Of the first that has not.
    sent_len: u32,
    on_the_way: u32,
    in_turn: bool,
    is_cut: bool,
}

impl Way {
    /// What leaves next.
    fn next(&self) -> Option<&Item> {
        self.items.get(self.flying)
    }
}

/// One host's access to the network.
#[derive(Debug)]
pub struct Link {
    pub up_bytes_s: u64,
    pub down_bytes_s: u64,
    /// To the middle of the network: half of what it adds to a one-way trip.
    pub latency_ns: u64,
    /// Ways that have something to send and may, each once.
    turns: VecDeque<WayId>,
    leaving: Option<Segment>,
    /// A host that stands still sends nothing.
    pub is_still: bool,
    down_free_ns: u64,
    /// Bytes of bulk data that left, and that arrived.
    pub bulk_up: u64,
    pub bulk_down: u64,
}

impl Link {
    pub fn new(bytes_s: u64, latency_ns: u64) -> Link {
        Link {
            up_bytes_s: bytes_s,
            down_bytes_s: bytes_s,
            latency_ns,
            turns: VecDeque::new(),
            leaving: None,
            is_still: false,
            down_free_ns: 0,
            bulk_up: 0,
            bulk_down: 0,
        }
    }
}

fn time_ns(len: u32, bytes_s: u64) -> u64 {
    u64::from(len) * 1_000_000_000 / bytes_s
}

pub struct Network {
    pub links: Vec<Link>,
    ways: Vec<Way>,
    /// Longest segment: the grain of sharing.
    segment_len: u32,
}

impl Network {
    pub fn new(segment_len: u32) -> Network {
        Network { links: Vec::new(), ways: Vec::new(), segment_len }
    }

    /// Both directions of a connection: this one and the next.
    pub fn add_ways(&mut self, from: u32, to: u32) -> WayId {
        let way = |from, to| Way {
            from,
            to,
            items: VecDeque::new(),
            flying: 0,
            sent_len: 0,
            on_the_way: 0,
            in_turn: false,
            is_cut: false,
        };
        self.ways.extend([way(from, to), way(to, from)]);
        self.ways.len() as u32 - 2
    }

    pub fn latency_ns(&self, from: u32, to: u32) -> u64 {
        self.links[from as usize].latency_ns + self.links[to as usize].latency_ns
    }

    pub fn way(&self, way: WayId) -> &Way {
        &self.ways[way as usize]
    }

    pub fn send(&mut self, clock: &mut Clock, way: WayId, item: Item) {
        let at = &mut self.ways[way as usize];
        if at.is_cut {
            return;
        }
        at.items.push_back(item);
        self.take_turn(clock, way);
    }

    /// Nothing more leaves here, and what is on its way is lost.
    pub fn cut(&mut self, way: WayId) {
        let way = &mut self.ways[way as usize];
        way.items.clear();
        way.flying = 0;
        way.is_cut = true;
    }

    pub fn is_idle(&self, way: WayId) -> bool {
        self.ways[way as usize].items.is_empty()
    }

    /// The way waits for its turn, if it has something to send and may.
    fn take_turn(&mut self, clock: &mut Clock, id: WayId) {
        let way = &mut self.ways[id as usize];
        if !way.in_turn && way.next().is_some() && way.on_the_way < ON_THE_WAY_MAX {
            way.in_turn = true;
            let from = way.from;
            self.links[from as usize].turns.push_back(id);
            self.next_segment(clock, from);
        }
    }

    /// Lets the next segment leave, if the uplink is free.
    pub fn next_segment(&mut self, clock: &mut Clock, host: u32) {
        let link = &mut self.links[host as usize];
        if link.leaving.is_some() || link.is_still {
            return;
        }
        while let Some(id) = link.turns.pop_front() {
            let way = &mut self.ways[id as usize];
            way.in_turn = false;
            // It may have been cut in the meantime.
            let Some(item) = way.next() else { continue };
            let left = item.len() - way.sent_len;
            let len = left.min(self.segment_len);
            let takes_ns = time_ns(len, link.up_bytes_s);
            let leaving_ns = u32::try_from(takes_ns).unwrap_or(u32::MAX);
            link.leaving = Some(Segment { way: id, len, leaving_ns, is_last: len == left });
            clock.after(takes_ns, Event::Left { host });
            return;
        }
    }

    /// The segment at hand has left.
    pub fn left(&mut self, clock: &mut Clock, host: u32) {
        let Some(segment) = self.links[host as usize].leaving.take() else { return };
        let way = &mut self.ways[segment.way as usize];
        // Cut while it left: it leads nowhere.
        if let Some(item) = way.next() {
            if matches!(item, Item::Bulk { .. }) {
                self.links[host as usize].bulk_up += u64::from(segment.len);
            }
            way.on_the_way += segment.len;
            way.sent_len += segment.len;
            if segment.is_last {
                way.sent_len = 0;
                way.flying += 1;
            }
            let to = way.to;
            clock.after(self.latency_ns(host, to), Event::Arrives { segment });
            self.take_turn(clock, segment.way);
        }
        self.next_segment(clock, host);
    }

    /// A segment comes to its downlink. True when it is through at once.
    pub fn arrives(&mut self, clock: &mut Clock, segment: Segment) -> bool {
        let way = &self.ways[segment.way as usize];
        let link = &mut self.links[way.to as usize];
        let first_ns = clock.now_ns().saturating_sub(u64::from(segment.leaving_ns));
        let was_free_ns = link.down_free_ns;
        let takes_ns = time_ns(segment.len, link.down_bytes_s);
        let through_ns = (was_free_ns.max(first_ns) + takes_ns).max(clock.now_ns());
        link.down_free_ns = through_ns;
        // Behind what is through at this very moment it waits its turn.
        if through_ns == clock.now_ns() && was_free_ns < through_ns {
            return true;
        }
        clock.at(through_ns, Event::Through { segment });
        false
    }

    /// A segment is here and was taken: more may be on its way.
    pub fn taken(&mut self, clock: &mut Clock, segment: Segment) {
        let way = &mut self.ways[segment.way as usize];
        way.on_the_way = way.on_the_way.saturating_sub(segment.len);
        self.take_turn(clock, segment.way);
    }

    /// What a last segment completes, unless it was cut.
    pub fn arrived(&mut self, segment: Segment) -> Option<Item> {
        let way = &mut self.ways[segment.way as usize];
        way.flying = way.flying.checked_sub(1)?;
        let item = way.items.pop_front();
        if let Some(Item::Bulk { len, .. }) = &item {
            self.links[way.to as usize].bulk_down += u64::from(*len);
        }
        item
    }
}

/// The whole frames that a buffer holds.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let size = rest.first_chunk::<4>()?;
        let (frame, after) = rest.split_at(u32::from_le_bytes(*size) as usize);
        rest = after;
        Some(frame)
    })
}
