//! What a master knows of clients that stream: what they said, and who is to be looked at.
//!
//! Refuses to know what follows from it.

use alloc::collections::VecDeque;
use ninep::server::OpenId;

/// What is known of a member as one that streams.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    /// Bytes that it keeps; `None` where that is everything.
    pub window_bytes: Option<u64>,
    /// What it said last.
    pub is_full: bool,
    /// When others were last put right because it said how far it is.
    pub relieved_ms: u64,
    /// It is to be looked at.
    pub is_noted: bool,
    /// How many parents have passed it.
    pub passed_count: u8,
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
