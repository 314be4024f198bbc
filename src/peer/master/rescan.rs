//! When the served tree is looked at again.
//!
//! Knows when the last look began and ended, and how long it took. Refuses to
//! know what was found.

use alloc::string::String;

/// The tree is looked at again when somebody joins this long after the last
/// look, and longer where a look takes long: so an image that was replaced is
/// not served half old, half new.
const RESCAN_MS_MIN: u64 = 1_000;
const RESCAN_FACTOR: u64 = 10;
/// A look that takes longer probably hashes.
const LONG_MS: u64 = 500;

/// The looks at the served tree.
#[derive(Debug, Default)]
pub(super) struct Rescan {
    /// One is under way since then; joins wait for it.
    began_ms: Option<u64>,
    ended_ms: u64,
    took_ms: u64,
    /// Why the last one failed, which is said once.
    fault: Option<String>,
}

impl Rescan {
    pub fn is_under_way(&self) -> bool {
        self.began_ms.is_some()
    }

    /// It is one that others had better be told of.
    pub fn is_long(&self, now_ms: u64) -> bool {
        self.began_ms.is_some_and(|began_ms| now_ms >= began_ms + LONG_MS)
    }

    /// Begins a look, unless one is under way.
    pub fn begin(&mut self, now_ms: u64) -> bool {
        let begins = !self.is_under_way();
        self.began_ms.get_or_insert(now_ms);
        begins
    }

    /// The tree was hashed anew, or compared.
    pub fn ended(&mut self, now_ms: u64) {
        (self.ended_ms, self.began_ms, self.fault) = (now_ms, None, None);
    }

    /// Whether it is news that it failed, and why.
    pub fn failed(&mut self, now_ms: u64, why: &str) -> bool {
        let before = self.fault.take();
        self.ended(now_ms);
        self.fault.insert(why.into()) != before.as_deref().unwrap_or_default()
    }

    /// The tree is as it was: this is what a look costs.
    pub fn ended_unchanged(&mut self, now_ms: u64) {
        self.took_ms = now_ms.saturating_sub(self.began_ms.unwrap_or(now_ms));
        self.ended(now_ms);
    }

    /// The last look is so recent that another would tell nothing new.
    pub fn is_recent(&self, now_ms: u64) -> bool {
        let pause_ms = RESCAN_MS_MIN.max(RESCAN_FACTOR * self.took_ms);
        !self.is_under_way() && now_ms < self.ended_ms + pause_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_recent_for_a_second_or_ten_times_what_it_took() {
        let mut rescan = Rescan::default();
        rescan.ended(1_000);
        assert!(rescan.is_recent(1_999) && !rescan.is_recent(2_000));
        assert!(rescan.begin(5_000) && !rescan.begin(5_100), "one at a time");
        assert!(rescan.is_under_way() && !rescan.is_recent(5_100));
        rescan.ended_unchanged(5_400);
        assert!(rescan.is_recent(9_399) && !rescan.is_recent(9_400));
    }

    #[test]
    fn that_it_failed_is_news_until_it_was_said_and_when_it_had_not_meanwhile() {
        let mut rescan = Rescan::default();
        let mut is_news = |why: &str| {
            assert!(rescan.begin(0));
            rescan.failed(1, why)
        };
        assert_eq!(["a", "a", "b", "b", "a"].map(&mut is_news), [true, false, true, false, true]);
        assert!(rescan.begin(0));
        rescan.ended_unchanged(1);
        assert!(rescan.begin(2) && rescan.failed(3, "a") && !rescan.is_under_way());
    }
}
