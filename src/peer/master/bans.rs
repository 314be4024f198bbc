//! Who sent corrupt pieces, and until when it serves nobody for that.
//!
//! By address and port, so that who joins again is banned still. Refuses to know
//! how corruption was found, and what follows for the forest.

use crate::recent::Recent;
use core::net::SocketAddr;

/// How long a ban lasts; twice as long each time.
const BAN_MS: u64 = 600_000;
const BAN_DOUBLINGS_MAX: u32 = 6;
/// Bans that are remembered; the oldest is forgotten.
const BANS_MAX: usize = 64;

struct Ban {
    addr: SocketAddr,
    until_ms: u64,
    times: u32,
    is_over: bool,
}

/// The oldest first.
#[derive(Default)]
pub(super) struct Bans(Recent<Ban, BANS_MAX>);

impl Bans {
    /// Who is at this address serves nobody for so many minutes.
    pub fn ban(&mut self, addr: SocketAddr, now_ms: u64) -> u64 {
        let known = self.0.iter().find(|ban| ban.addr == addr);
        let times = known.map_or(0, |ban| ban.times + 1);
        let ban_ms = BAN_MS << times.min(BAN_DOUBLINGS_MAX);
        let ban = Ban { addr, until_ms: now_ms + ban_ms, times, is_over: false };
        self.0.push(ban, |known| known.addr == addr);
        ban_ms / 60_000
    }

    pub fn is_banned(&self, addr: SocketAddr) -> bool {
        self.0.iter().any(|ban| ban.addr == addr && !ban.is_over)
    }

    /// When the next of them ends.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.0.iter().filter(|ban| !ban.is_over).map(|ban| ban.until_ms).min()
    }

    /// Whose ban ends now. That it was banned is remembered.
    pub fn poll_over(&mut self, now_ms: u64) -> Option<SocketAddr> {
        let mut bans = self.0.iter_mut();
        let ban = bans.find(|ban| !ban.is_over && ban.until_ms <= now_ms)?;
        ban.is_over = true;
        Some(ban.addr)
    }
}
