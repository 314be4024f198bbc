//! How long a generation is served that newcomers are not given any more: as long as
//! somebody fetches it, and a little longer, for who was cut off and joins again.
//!
//! Knows which were left by somebody who had not all of them. Refuses to know who that was.

use super::Master;
use crate::namespace::GenerationId;
use alloc::collections::VecDeque;

/// So long a generation is kept for a client that left before it had all of it: it may
/// have been cut off, and calls again.
const RETURN_MS: u64 = 30_000;
/// Most generations that are kept so.
const LEFT_MAX: usize = 4;

/// Generations that somebody left before all of it was there, and until when they are
/// kept, in that order.
#[derive(Debug, Default)]
pub(super) struct Returns(VecDeque<(u64, GenerationId)>);

impl Returns {
    /// When the next is kept no longer.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.0.front().map(|(until_ms, _)| *until_ms)
    }

    fn keep(&mut self, until_ms: u64, id: GenerationId) {
        self.forget(id);
        self.0.push_back((until_ms, id));
    }

    /// Its memory is needed.
    pub fn forget(&mut self, id: GenerationId) {
        self.0.retain(|(_, left)| *left != id);
    }
}

impl Master {
    /// Somebody left it who may come back, whatever changes meanwhile.
    pub(super) fn keep_for_return(&mut self, id: GenerationId) {
        self.selections.returns.keep(self.now_ms + RETURN_MS, id);
        self.drop_returns(self.now_ms);
    }

    /// Drops what was kept long enough, and what is too many.
    pub(super) fn drop_returns(&mut self, now_ms: u64) {
        let is_over = |returns: &Returns| {
            returns.0.len() > LEFT_MAX || returns.deadline_ms().is_some_and(|at_ms| now_ms >= at_ms)
        };
        while is_over(&self.selections.returns) {
            let Some((_, id)) = self.selections.returns.0.pop_front() else { return };
            self.drop_unused(id);
        }
    }

    /// A generation that nobody can ask for any more goes with its last member.
    pub(super) fn drop_unused(&mut self, id: GenerationId) {
        let is_current = self.whole == Some(id) || self.selections.has(id);
        let is_kept = self.selections.returns.0.iter().any(|(_, left)| *left == id);
        if !is_current && !is_kept && !self.members.has_any_of(id) {
            self.members.forget_generation(id);
            self.server.space.drop_generation(id);
        }
    }
}
