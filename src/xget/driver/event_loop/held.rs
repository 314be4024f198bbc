//! Connections with frames that a turn left, and when it is their turn again.
//!
//! Refuses to know what is in the frames.

use ninep::server::ConnId;

/// Between two turns of those who send more: they take no more of a link, and of our
/// time, than 13,000 requests a second.
const HELD_MS: u64 = 5;
/// Connections with frames that a turn left.
#[derive(Default)]
pub struct Held {
    pub conns: Vec<ConnId>,
    due_ms: u64,
}

impl Held {
    pub fn deadline_ms(&self) -> Option<u64> {
        (!self.conns.is_empty()).then_some(self.due_ms)
    }

    /// Those whose next turn it is: of the first at once.
    pub fn take_due(&mut self, now_ms: u64) -> Vec<ConnId> {
        if self.conns.is_empty() || now_ms < self.due_ms {
            return Vec::new();
        }
        self.due_ms = now_ms + HELD_MS;
        std::mem::take(&mut self.conns)
    }
}
