//! What a master knows of clients that stream: what they said, and who is to be looked at.
//!
//! Refuses to know what follows from it.

use crate::overlay::NodeId;
use alloc::collections::VecDeque;
use ninep::server::OpenId;

/// Who was passed by two parents within so long is behind; in hours every parent is, once.
const PASSED_MS: u64 = 60_000;

/// What is known of a member as one that streams.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    /// Bytes that it keeps; `None` where that is everything.
    pub window_bytes: Option<u64>,
    /// What it said last, what of that is so, and since when it was full last.
    pub says_full: bool,
    pub is_full: bool,
    pub full_ms: u64,
    /// When others were last put right because it said how far it is.
    pub relieved_ms: u64,
    /// It is to be looked at.
    pub is_noted: bool,
    /// What it said of parents that have passed it.
    pub passed: Passed,
}

/// The parent of which a member said first that it has passed it, in the minute that began then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed {
    since_ms: u64,
    first: Option<NodeId>,
}

impl Passed {
    /// Notes which parent it was; whether another has passed it, too: one may lie.
    pub fn is_second(&mut self, now_ms: u64, parent: NodeId) -> bool {
        if now_ms >= self.since_ms + PASSED_MS {
            *self = Passed { since_ms: now_ms, first: None };
        }
        *self.first.get_or_insert(parent) != parent
    }
}

impl Stream {
    pub fn of(window_bytes: Option<u64>) -> Stream {
        Stream { window_bytes, ..Stream::default() }
    }
}

/// Who is to be parted from others, and when; the next first.
#[derive(Default)]
pub(super) struct Streams(pub VecDeque<(u64, OpenId)>);

impl Streams {
    pub fn deadline_ms(&self) -> Option<u64> {
        self.0.front().map(|(at_ms, _)| *at_ms)
    }
}
