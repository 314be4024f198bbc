//! The report of a fetch: counts, times, what failed.
//!
//! Knows numbers and the times that follow from them. Refuses to know what is
//! counted, and who hears of it.

use crate::control::TransferStats;
use crate::failure::Failure;
use alloc::vec::Vec;

/// How long children have to move when we leave before they are through.
pub(super) const LEAVE_MS: u64 = 3_000;

#[derive(Debug)]
pub(super) struct FetchReport {
    /// What the master and the console hear.
    pub stats: TransferStats,
    /// Files of the generation.
    pub files: u64,
    pub failures: Vec<Failure>,
    /// The master knows that we are to be given no more children.
    pub has_left: bool,
    started_ms: u64,
    /// When everything was in place.
    finished_ms: u64,
}

impl FetchReport {
    pub fn new(now_ms: u64) -> FetchReport {
        let (stats, failures) = (TransferStats::default(), Vec::new());
        let (files, has_left) = (0, false);
        FetchReport { stats, files, failures, has_left, started_ms: now_ms, finished_ms: now_ms }
    }

    /// Notes how long the fetch has taken so far.
    pub fn note_time(&mut self, now_ms: u64) {
        self.stats.elapsed_ms = now_ms - self.started_ms;
    }

    pub fn finish(&mut self, now_ms: u64) {
        self.finished_ms = now_ms;
        self.note_time(now_ms);
    }

    /// A piece of so many bytes came from the master, or from a peer.
    pub fn count(&mut self, from_master: bool, len: u32) {
        let stats = &mut self.stats;
        match from_master {
            true => stats.from_master_bytes += u64::from(len),
            false => stats.from_peers_bytes += u64::from(len),
        }
    }

    /// When twice the time of the fetch has passed since its start (the XGet
    /// paper, section 3.2).
    pub fn twice_ms(&self) -> u64 {
        2 * self.finished_ms - self.started_ms
    }

    /// That long after everything was in place.
    pub fn after_finish_ms(&self, ms: u64) -> u64 {
        self.finished_ms.saturating_add(ms)
    }

    /// Children get their notice this long before lingering ends.
    pub fn notice_ms(&self, until_ms: u64) -> u64 {
        LEAVE_MS.min(until_ms.saturating_sub(self.finished_ms) / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_is_a_quarter_of_lingering_and_three_seconds_at_most() {
        let mut report = FetchReport::new(1_000);
        report.finish(3_000);
        assert_eq!((report.stats.elapsed_ms, report.twice_ms()), (2_000, 5_000));
        assert_eq!(report.notice_ms(5_000), 500);
        assert_eq!(report.notice_ms(1_000_000), 3_000);
        assert_eq!(report.notice_ms(report.after_finish_ms(u64::MAX)), 3_000);
    }
}
