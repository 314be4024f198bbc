//! How often something may be done: so many times at once, then one in each so much time.
//!
//! Knows when all that was done is made up for. Refuses to know what is done and how
//! often: who asks says that each time.

/// Nothing was done yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    /// When there is nothing to make up for.
    even_ms: u64,
}

impl Rate {
    /// Whether it may be done once more now, which is noted then.
    pub fn allows(&mut self, now_ms: u64, each_ms: u64, at_once: u64) -> bool {
        let even_ms = self.even_ms.max(now_ms) + each_ms;
        let is_allowed = even_ms <= now_ms + at_once * each_ms;
        if is_allowed {
            self.even_ms = even_ms;
        }
        is_allowed
    }

    /// Once did not count.
    pub fn take_back(&mut self, each_ms: u64) {
        self.even_ms = self.even_ms.saturating_sub(each_ms);
    }

    /// Whether as many may be done at once as if nothing ever was.
    pub fn is_even(&self, now_ms: u64) -> bool {
        self.even_ms <= now_ms
    }
}
