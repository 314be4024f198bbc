//! Who waits for what is for it alone, who has it, and how often.
//!
//! Refuses to know what it is, and that there is a master.

use crate::rate::Rate;
use crate::recent::Recent;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use ninep::server::OpenId;
use zeroize::Zeroizing;

/// Nodes that wait until there is room, and how long.
pub(super) const WAITING_MAX: usize = 256;
const WAIT_MS: u64 = 5_000;
/// What one may take to read all of it.
pub(super) const READ_MS: u64 = 60_000;
/// How often one node gets it: so many times at once, then one in so much time; of the last few
/// that came.
const AT_ONCE: u64 = 4;
const EACH_MS: u64 = 2_000;
const NODES_MAX: usize = 1_024;

/// What became of [`PackAlone`](super::MasterEffect::PackAlone).
#[derive(Debug)]
pub enum Packed {
    /// There is nothing for this node.
    None,
    /// It cannot be given; the operator was told why.
    Wrong,
    /// All of it, as it travels, and how many files are in it.
    Layer(Zeroizing<Vec<u8>>, usize),
}

#[derive(Debug, Default)]
pub(super) struct Alone {
    /// Who wants it, since when.
    pub waiting: VecDeque<(OpenId, String, u64)>,
    /// Who wants the one that is being looked for, while it is there.
    pub packing: Option<(Option<OpenId>, String)>,
    /// Who has it, since when.
    pub given: Vec<(OpenId, u64)>,
    rates: Recent<(String, Rate), NODES_MAX>,
}

impl Alone {
    /// When somebody has waited or read for too long.
    pub fn deadline_ms(&self) -> Option<u64> {
        let waits = self.waiting.front().map(|(_, _, since_ms)| since_ms + WAIT_MS);
        let reads = self.given.first().map(|(_, since_ms)| since_ms + READ_MS);
        waits.into_iter().chain(reads).min()
    }

    /// Whether this node may have it once more now, which is noted then.
    pub fn may(&mut self, now_ms: u64, node: &str) -> bool {
        let known = self.rates.iter().find(|(known, _)| known == node);
        let mut rate = known.map_or(Rate::default(), |(_, rate)| *rate);
        let may = rate.allows(now_ms, EACH_MS, AT_ONCE);
        self.rates.push((node.into(), rate), |(known, _)| known == node);
        may
    }
}
