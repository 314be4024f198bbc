//! The virtual clock: what happens next.

use crate::network::Segment;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A host begins, for the first time or again.
    Start {
        host: u32,
    },
    Tick {
        host: u32,
    },
    /// A segment has left the host's uplink.
    Left {
        host: u32,
    },
    /// A segment has come to the downlink of its host.
    Arrives {
        segment: Segment,
    },
    /// ... and is through.
    Through {
        segment: Segment,
    },
    /// The parts of a handshake.
    Syn {
        conn: u32,
    },
    Established {
        conn: u32,
    },
    Refused {
        conn: u32,
    },
    /// One end learns that the other is lost.
    Lost {
        conn: u32,
        end: usize,
    },
    Fault {
        host: u32,
        fault: Fault,
    },
    /// The files of a host are in place.
    Finished {
        host: u32,
    },
    /// A process that has ended has no more time for what is queued.
    Drained {
        host: u32,
        life: u32,
    },
}

/// What may befall a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies: its connections are reset.
    Crash,
    /// The machine is gone: nobody is told.
    PowerLoss,
    /// It takes bytes and does nothing with them, until it thaws.
    Freeze,
    Thaw,
}

#[derive(Debug)]
struct Due {
    at_ns: u64,
    /// Of several at one time the first that was put in.
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at_ns, self.number).cmp(&(other.at_ns, other.number))
    }
}

#[derive(Debug, Default)]
pub struct Clock {
    now_ns: u64,
    numbers: u64,
    heap: BinaryHeap<Reverse<Due>>,
}

impl Clock {
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ns / 1_000_000
    }

    pub fn at(&mut self, at_ns: u64, event: Event) {
        self.numbers += 1;
        let due = Due { at_ns: at_ns.max(self.now_ns), number: self.numbers, event };
        self.heap.push(Reverse(due));
    }

    pub fn after(&mut self, ns: u64, event: Event) {
        self.at(self.now_ns + ns, event);
    }

    /// The next event before that time, which is then the time.
    pub fn advance(&mut self, before_ns: u64) -> Option<Event> {
        if self.heap.peek()?.0.at_ns >= before_ns {
            return None;
        }
        let Reverse(due) = self.heap.pop()?;
        self.now_ns = due.at_ns;
        Some(due.event)
    }

    /// Events so far.
    pub fn count(&self) -> u64 {
        self.numbers
    }
}
