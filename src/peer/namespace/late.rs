//! Who reads `late` of a master, and may not keep those waiting who read `pieces`.
//!
//! Those who stream and have fallen out of the windows of all who are ahead can be given
//! what they want by the master alone, whose uplink those ahead need. So they get a part of
//! what the others take, and all where nobody else takes anything. Refuses to know pieces
//! and who waits.

/// A part in so many of what others take.
const SHARE: u64 = 16;
/// What others took and nobody wanted a part of is forgotten beyond this.
const CREDIT_BYTES_MAX: u64 = 1 << 20;
/// Others take nothing any more who took nothing for so long.
const LOOK_MS: u64 = 500;

#[derive(Debug, Default)]
pub(super) struct Late {
    /// Bytes, in parts of `SHARE`.
    credit: u64,
    /// Others took something since the last look.
    is_used: bool,
    /// Others take nothing.
    is_idle: bool,
    looked_ms: u64,
}

impl Late {
    /// Others are sent so many bytes.
    pub fn note_others(&mut self, bytes: u32) {
        self.credit = (self.credit + u64::from(bytes)).min(SHARE * CREDIT_BYTES_MAX);
        (self.is_used, self.is_idle) = (true, false);
    }

    /// Whether so many bytes may be sent.
    pub fn allows(&self, bytes: u32) -> bool {
        self.is_idle || self.credit >= SHARE * u64::from(bytes)
    }

    /// They are.
    pub fn take(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_sub(SHARE * u64::from(bytes));
    }

    /// Whether they may be sent as much as they like.
    pub fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// When to call `look`, as long as somebody waits.
    pub fn look_ms(&self) -> u64 {
        self.looked_ms + LOOK_MS
    }

    /// Looks whether others took something since the last look.
    pub fn look(&mut self, now_ms: u64) {
        if now_ms >= self.look_ms() {
            self.looked_ms = now_ms;
            self.is_idle = !core::mem::take(&mut self.is_used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_gets_a_part_of_what_others_take_and_all_that_they_leave() {
        let mut late = Late::default();
        late.note_others(16_000);
        assert!(late.allows(1_000) && !late.allows(1_001));
        late.take(1_000);
        assert!(!late.allows(1));
        late.look(LOOK_MS);
        assert!(!late.allows(1), "others took something since");
        late.look(2 * LOOK_MS - 1);
        assert!(!late.is_idle(), "not yet");
        late.look(2 * LOOK_MS);
        assert!(late.allows(u32::MAX));
        late.take(u32::MAX);
        late.note_others(15);
        assert!(!late.allows(1), "they are there again");
        (0..99).for_each(|_| late.note_others(u32::MAX));
        assert!(late.allows(CREDIT_BYTES_MAX as u32) && !late.allows(1 + (1 << 20)));
    }
}
