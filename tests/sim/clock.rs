//! The virtual clock: which event is next.
//!
//! Knows the time and what is due when. Refuses to know what follows from an
//! event, which is up to `run`. Real time is never looked at.

use crate::event::Event;
use crate::random::Random;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

#[derive(Clone, Copy, Debug)]
struct Due {
    at_ns: u64,
    /// Of several at one time the first that was put in.
    number: u64,
    event: Event,
}

impl Due {
    fn rank(&self) -> (u64, u64) {
        (self.at_ns, self.number)
    }

    fn bucket(&self) -> u64 {
        self.at_ns >> BUCKET_BITS
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The greatest of a heap is the first that is due.
    fn cmp(&self, other: &Due) -> Ordering {
        other.rank().cmp(&self.rank())
    }
}

/// 65 µs: as many events as a sort has in its cache, of ten thousand nodes.
const BUCKET_BITS: u32 = 16;
/// Buckets of the near future: 0.27 s, so that all but a few events are in it.
const BUCKETS: u64 = 4096;
/// A timing wheel (Varghese and Lauck, SOSP 1987): a ring of buckets for what
/// comes soon, each sorted only when its time is there, and a heap for the rest.
/// One heap for all costs a cache miss for each of its levels, and was a sixth
/// of the time of a large run.
#[derive(Debug)]
pub struct Clock {
    now_ns: u64,
    numbers: u64,
    /// The bucket at hand.
    bucket: u64,
    /// What was in it when it began, the last first.
    present: Vec<Due>,
    /// What came into it since then.
    fresh: BinaryHeap<Due>,
    wheel: Vec<Vec<Due>>,
    in_wheel: usize,
    later: BinaryHeap<Due>,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock {
            now_ns: 0,
            numbers: 0,
            bucket: 0,
            present: Vec::new(),
            fresh: BinaryHeap::new(),
            wheel: (0..BUCKETS).map(|_| Vec::new()).collect(),
            in_wheel: 0,
            later: BinaryHeap::new(),
        }
    }
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
        match due.bucket() {
            bucket if bucket <= self.bucket => self.fresh.push(due),
            bucket if bucket < self.bucket + BUCKETS => {
                self.wheel[(bucket % BUCKETS) as usize].push(due);
                self.in_wheel += 1;
            }
            _ => self.later.push(due),
        }
    }

    pub fn after(&mut self, ns: u64, event: Event) {
        self.at(self.now_ns + ns, event);
    }

    /// The next event before that time, which is then the time.
    pub fn advance(&mut self, before_ns: u64) -> Option<Event> {
        while self.present.is_empty() && self.fresh.is_empty() {
            self.turn(before_ns)?;
        }
        let is_fresh = match (self.present.last(), self.fresh.peek()) {
            (Some(present), Some(fresh)) => fresh.rank() < present.rank(),
            (present, _) => present.is_none(),
        };
        let next = if is_fresh { self.fresh.peek() } else { self.present.last() };
        if next?.at_ns >= before_ns {
            return None;
        }
        let due = if is_fresh { self.fresh.pop() } else { self.present.pop() }?;
        self.now_ns = due.at_ns;
        Some(due.event)
    }

    /// Goes on to the next bucket that may hold something; not beyond the time.
    fn turn(&mut self, before_ns: u64) -> Option<()> {
        let mut bucket = self.bucket + 1;
        if self.in_wheel == 0 {
            bucket = self.later.peek()?.bucket();
        }
        if bucket > before_ns >> BUCKET_BITS {
            return None;
        }
        self.bucket = bucket;
        std::mem::swap(&mut self.present, &mut self.wheel[(bucket % BUCKETS) as usize]);
        self.in_wheel -= self.present.len();
        while self.later.peek().is_some_and(|due| due.bucket() <= bucket) {
            self.present.extend(self.later.pop());
        }
        self.present.sort_unstable_by_key(|due| Reverse(due.rank()));
        Some(())
    }

    /// Events so far.
    pub fn count(&self) -> u64 {
        self.numbers
    }
}

#[test]
fn events_come_in_order_of_time_and_then_as_they_were_put_in() {
    let mut clock = Clock::default();
    let (mut random, mut put, mut got) = (Random(7), Vec::new(), Vec::new());
    for number in 0..20_000 {
        // From at once to minutes, and many at one time.
        let wait_ns = (random.next() >> 40) << (random.next() % 14);
        let at_ns = if number % 5 == 0 { clock.now_ns() } else { clock.now_ns() + wait_ns };
        clock.at(at_ns, Event::Start { host: number });
        put.push((at_ns, number));
        let before_ns = if number % 3 == 0 { u64::MAX } else { clock.now_ns() + 1_000_000 };
        if let Some(Event::Start { host }) = clock.advance(before_ns) {
            got.push((clock.now_ns(), host));
            assert!(clock.now_ns() < before_ns);
        }
    }
    while let Some(Event::Start { host }) = clock.advance(u64::MAX) {
        got.push((clock.now_ns(), host));
    }
    assert!(got.is_sorted(), "an event came after a later one");
    put.sort_unstable();
    assert_eq!(got, put);
}
