//! Clients that wait for the served tree to be hashed or looked at.
//!
//! Knows what they asked for, and tells them how far the hashing is. Refuses to
//! know what they are given then.

use crate::control::MasterMessage;
use crate::server::Server;
use alloc::vec::Vec;
use ninep::server::OpenId;

/// How often waiting clients hear of the hashing.
const WAIT_LINE_MS: u64 = 1_000;
/// Most clients that wait.
const WAITING_MAX: usize = 100_000;

/// What a client asked for.
#[derive(Debug)]
pub(super) struct Join {
    /// Its conversation on `route`.
    pub open_id: OpenId,
    /// Where it serves.
    pub port: u16,
    pub sources: Vec<Vec<u8>>,
}

/// Too many wait already.
#[derive(Debug)]
pub(super) struct TooMany;

#[derive(Debug, Default)]
pub(super) struct Joins {
    waiting: Vec<Join>,
    /// When they last heard of the hashing.
    announced_ms: u64,
    /// Bytes hashed and bytes in all.
    hashing: (u64, u64),
}

impl Joins {
    pub fn set_hashing(&mut self, done_bytes: u64, total_bytes: u64) {
        self.hashing = (done_bytes, total_bytes);
    }

    pub fn hashing(&self) -> (u64, u64) {
        self.hashing
    }

    pub fn wait(&mut self, now_ms: u64, join: Join) -> Result<(), TooMany> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(TooMany);
        }
        if self.waiting.is_empty() {
            self.announced_ms = now_ms;
        }
        self.waiting.push(join);
        Ok(())
    }

    pub fn has(&self, open_id: OpenId) -> bool {
        self.waiting.iter().any(|join| join.open_id == open_id)
    }

    pub fn forget(&mut self, open_id: OpenId) {
        self.waiting.retain(|join| join.open_id != open_id);
    }

    pub fn take_all(&mut self) -> Vec<Join> {
        core::mem::take(&mut self.waiting)
    }

    /// When they are to hear again.
    pub fn deadline_ms(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(self.announced_ms + WAIT_LINE_MS)
    }

    pub fn announce_hashing(&mut self, now_ms: u64, server: &mut Server) {
        if self.deadline_ms().is_none_or(|at_ms| now_ms < at_ms) {
            return;
        }
        self.announced_ms = now_ms;
        let (done_bytes, total_bytes) = self.hashing;
        for join in &self.waiting {
            server.answer(join.open_id, &MasterMessage::Wait { done_bytes, total_bytes });
        }
    }
}
