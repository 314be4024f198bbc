//! Questions from the network: how many are looked at, and which wait for a look at the tree.
//!
//! Refuses to know what is asked, and what is said to it.

use crate::control::Question;
use crate::rate::Rate;
use crate::recent::Recent;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Questions that are looked at, of all together: so many at once, and one more in so much time.
pub(super) const AT_ONCE: u64 = 2_000;
const EACH_MS: u64 = 1;
/// The same of one address, of the last few that asked.
pub(super) const OF_ONE_AT_ONCE: u64 = 8;
const OF_ONE_EACH_MS: u64 = 250;
const ADDRS_MAX: usize = 256;
/// Questions that wait for a look at the tree. Who is not answered asks again.
pub(super) const WAITING_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Questions {
    rate: Rate,
    rates: Recent<(IpAddr, Rate), ADDRS_MAX>,
    waiting: Vec<(SocketAddr, Question)>,
}

impl Questions {
    /// Whether one of this address is looked at now, which is noted then.
    pub fn allows(&mut self, now_ms: u64, ip: IpAddr) -> bool {
        let known = self.rates.iter().find(|(known, _)| *known == ip);
        let mut rate = known.map_or(Rate::default(), |(_, rate)| *rate);
        let is_allowed = rate.allows(now_ms, OF_ONE_EACH_MS, OF_ONE_AT_ONCE);
        self.rates.push((ip, rate), |(known, _)| *known == ip);
        is_allowed && self.rate.allows(now_ms, EACH_MS, AT_ONCE)
    }

    /// Those who waited.
    pub fn take(&mut self) -> Vec<(SocketAddr, Question)> {
        core::mem::take(&mut self.waiting)
    }

    /// In the place of what the same asked before.
    pub fn wait(&mut self, from: SocketAddr, question: Question) {
        self.waiting.retain(|(known, _)| *known != from);
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push((from, question));
        }
    }
}
