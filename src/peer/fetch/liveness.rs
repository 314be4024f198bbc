//! Whether data come, and how fast: local stalls, drought, slow uplinks.
//!
//! Knows what can be seen from here. Refuses to know connections and addresses,
//! the silence of one parent (`ParentLink`), and what follows from a complaint,
//! which the master decides because it hears all.

use super::scheduler::View;
use crate::control::Complaint;
use alloc::vec;
use alloc::vec::Vec;

/// How often lagging stripes are looked for and our own lateness is measured.
const SAMPLE_MS: u64 = 100;
/// With every sample a local stall counts for less: by one part in so many.
const LOCAL_STALL_FADES: u64 = 64;
/// When nothing that is right came from any parent for this long, the fetch fails.
pub(super) const DROUGHT_MS: u64 = 60_000;
/// Of a stripe that lags, or whose parent owes a piece for long, what it brings is
/// counted over this time; then, if it is too little, its parent is complained of.
const SLOW_MS: u64 = 300;
/// An uplink is slow that sends all the time and brings less than one in so many
/// of what is usual: one that is only loaded, where others are idle, brings more.
const SLOW_UPLINK: u32 = 4;
/// A parent that answers and owes a piece for this long is slow ...
const OWED_MS: u64 = 5_000;
/// ... and for this long where meanwhile another stripe brings so many, or nothing is
/// missing of any other.
const OWED_ALONE_MS: u64 = 1_000;
const OTHERS_BRING: u32 = 8;
/// So it is left, where the master names no other meanwhile.
const LEFT_ALONE_MS: u64 = 3_000;

/// A stripe that lags: since when its pieces are counted, how many were missing
/// of each stripe then, of so many in all, and how long its parent's link had been busy.
#[derive(Clone, Debug)]
struct Lag {
    since_ms: u64,
    missing: Vec<u32>,
    count: u32,
    busy_ms: u64,
}

/// What is seen of a stripe's parent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed {
    /// How long it owes a piece, if that is longer than pieces take.
    pub owed_ms: u64,
    /// How long frames from it were under way in all.
    pub busy_ms: u64,
    /// It says that it has not what we have had for long, of other stripes.
    pub denies: bool,
}

#[derive(Debug)]
pub(super) struct Liveness {
    sample_ms: u64,
    /// How long we were lately held up, by a slow disk or a busy processor, or a
    /// parent that answered a probe late was: others may be, and are not frozen.
    local_stall_ms: u64,
    /// When a piece, or a part of one, last came from anybody.
    last_data_ms: u64,
    /// When something that is right last came: of the content, or of the manifest.
    last_right_ms: u64,
    /// For each stripe that lags.
    lags: Vec<Option<Lag>>,
}

impl Liveness {
    pub fn new(stripes: u8, now_ms: u64) -> Liveness {
        Liveness {
            sample_ms: now_ms + SAMPLE_MS,
            local_stall_ms: 0,
            last_data_ms: now_ms,
            last_right_ms: now_ms,
            lags: vec![None; usize::from(stripes)],
        }
    }

    pub fn local_stall_ms(&self) -> u64 {
        self.local_stall_ms
    }

    pub fn data_came(&mut self, now_ms: u64) {
        self.last_data_ms = now_ms;
    }

    /// How long nothing has come from anybody.
    pub fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.last_data_ms)
    }

    pub fn right_came(&mut self, now_ms: u64) {
        self.last_right_ms = now_ms;
    }

    /// How long nothing that is right has come from anybody.
    pub fn barren_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.last_right_ms)
    }

    /// When to call `sample`.
    pub fn sample_ms(&self) -> u64 {
        self.sample_ms
    }

    /// Takes a sample, for which it is time: how late we are is how long something
    /// held us up. `answer_ms` is the longest that a probe took to be answered.
    pub fn sample(&mut self, now_ms: u64, answer_ms: u64) {
        let late_ms = now_ms.saturating_sub(self.sample_ms).max(answer_ms);
        let faded_ms = self.local_stall_ms - self.local_stall_ms / LOCAL_STALL_FADES;
        self.local_stall_ms = late_ms.max(faded_ms);
        self.sample_ms = now_ms + SAMPLE_MS;
    }

    /// The stripe has another parent, or none: what was seen is of the last one.
    pub fn forget_lag(&mut self, stripe: usize) {
        if let Some(lag) = self.lags.get_mut(stripe) {
            *lag = None;
        }
    }

    /// What there is to complain of in a stripe, if it is time to.
    // Inlined it is 350 bytes more.
    #[inline(never)]
    pub fn complaint(
        &mut self,
        view: View,
        stripe: usize,
        observed: Observed,
        now_ms: u64,
    ) -> Option<Complaint> {
        let Observed { owed_ms, busy_ms, denies } = observed;
        if !view.lags(stripe) && owed_ms < OWED_ALONE_MS {
            self.lags[stripe] = None;
            return None;
        }
        if self.lags[stripe].as_ref().is_some_and(|lag| now_ms < lag.since_ms + SLOW_MS) {
            return None;
        }
        let missing = view.holdings.missing();
        let count = view.holdings.count();
        let next = Lag { since_ms: now_ms, missing: missing.to_vec(), count, busy_ms };
        let lag = self.lags[stripe].replace(next)?;
        // Who streams misses more whenever there is room for more: so many of each, at least.
        let more = (count - lag.count) / missing.len().max(1) as u32;
        let came = |s: usize| (lag.missing[s] + more).saturating_sub(missing[s]);
        let others: Vec<u32> = (0..missing.len()).filter(|&s| s != stripe).map(came).collect();
        // The median and not the mean: a stripe that comes very fast takes so much
        // of our downlink that the others are slow.
        let usual = lower_median(&others);
        let is_busy = 2 * (busy_ms - lag.busy_ms) >= now_ms - lag.since_ms;
        if is_busy && SLOW_UPLINK * came(stripe) < usual {
            return Some(Complaint::SlowUplink);
        }
        let is_alone = others.iter().any(|&came| came >= OTHERS_BRING)
            || missing.len() > 1 && missing.iter().sum::<u32>() == missing[stripe];
        if owed_ms < OWED_ALONE_MS || came(stripe) > 0 {
            return None;
        }
        // Who waits itself has what others have of the other stripes.
        if is_alone && (denies || owed_ms >= LEFT_ALONE_MS) {
            return Some(Complaint::Refused);
        }
        (is_alone || owed_ms >= OWED_MS).then_some(Complaint::Slow)
    }
}

/// Of a few counts, the middle one, or the lower of the two; 0 of none. Without
/// sorting, which is 2 KB of program for each type.
fn lower_median(counts: &[u32]) -> u32 {
    let middle = counts.len().saturating_sub(1) / 2;
    let below = |count: u32| counts.iter().filter(|&&other| other < count).count();
    let up_to = |count: u32| counts.iter().filter(|&&other| other <= count).count();
    let is_middle = |count: &u32| below(*count) <= middle && middle < up_to(*count);
    counts.iter().copied().find(is_middle).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::holdings::Holdings;

    const STRIPES: u32 = 4;

    fn holdings() -> Holdings {
        let mut holdings = Holdings::none(STRIPES as u8);
        holdings.extend(400);
        holdings
    }

    /// So many more pieces of each stripe come.
    fn bring(holdings: &mut Holdings, counts: [u32; STRIPES as usize]) {
        for (stripe, count) in counts.into_iter().enumerate() {
            let missing = |piece: &u32| holdings.misses(*piece);
            let pieces: Vec<u32> = (stripe as u32..400)
                .step_by(STRIPES as usize)
                .filter(missing)
                .take(count as usize)
                .collect();
            pieces.into_iter().for_each(|piece| assert!(holdings.hold(piece)));
        }
    }

    /// What is said of stripe 0, which brings `came` of 12 while its link is
    /// busy for so long of 300 ms.
    fn said_of(came: u32, busy_ms: u64, owed_ms: u64) -> Option<Complaint> {
        said_beside(12, came, busy_ms, owed_ms)
    }

    /// The same where each other stripe brings so many.
    fn said_beside(others: u32, came: u32, busy_ms: u64, owed_ms: u64) -> Option<Complaint> {
        said_where(others, came, [busy_ms, owed_ms], false)
    }

    /// The same of a parent that denies what it must have.
    fn said_where(
        others: u32,
        came: u32,
        [busy_ms, owed_ms]: [u64; 2],
        denies: bool,
    ) -> Option<Complaint> {
        let (mut liveness, mut held) = (Liveness::new(STRIPES as u8, 0), holdings());
        let parents = [None; STRIPES as usize];
        bring(&mut held, [0, 20, 20, 20]);
        let mut look = |held: &Holdings, busy_ms, now_ms| {
            let view = View { holdings: held, parents: &parents };
            let observed = Observed { owed_ms, busy_ms, denies };
            liveness.complaint(view, 0, observed, now_ms)
        };
        assert_eq!(look(&held, 0, 1_000), None, "it has just been seen");
        assert_eq!(look(&held, 0, 1_000 + SLOW_MS - 1), None, "not yet");
        bring(&mut held, [came, others, others, others]);
        look(&held, busy_ms, 1_000 + SLOW_MS)
    }

    #[test]
    fn a_parent_that_sends_all_the_time_and_brings_little_has_a_slow_uplink() {
        assert_eq!(said_of(2, 150, 0), Some(Complaint::SlowUplink));
        assert_eq!(said_of(3, 150, 0), None, "a quarter of what is usual will do");
        assert_eq!(said_of(2, 149, 0), None, "it waits itself");
    }

    #[test]
    fn a_parent_that_owes_a_piece_for_five_seconds_and_brings_none_is_slow() {
        assert_eq!(said_beside(0, 0, 0, OWED_MS), Some(Complaint::Slow));
        assert_eq!(said_beside(1, 1, 0, OWED_MS), None);
        assert_eq!(said_beside(OTHERS_BRING - 1, 0, 0, OWED_MS - 1), None);
    }

    #[test]
    fn and_after_one_second_where_others_bring_theirs() {
        assert_eq!(said_beside(OTHERS_BRING, 0, 0, OWED_ALONE_MS), Some(Complaint::Slow));
        assert_eq!(said_beside(OTHERS_BRING, 0, 0, LEFT_ALONE_MS), Some(Complaint::Refused));
        assert_eq!(said_beside(OTHERS_BRING - 1, 0, 0, LEFT_ALONE_MS), None);
        assert_eq!(said_beside(OTHERS_BRING, 1, 0, OWED_ALONE_MS), None);
        assert_eq!(said_beside(OTHERS_BRING, 0, 0, OWED_ALONE_MS - 1), None);
    }

    #[test]
    fn what_came_is_counted_where_a_window_makes_room_for_as_much() {
        let (mut liveness, mut held) =
            (Liveness::new(STRIPES as u8, 0), Holdings::none(STRIPES as u8));
        held.extend_within(100, 400);
        bring(&mut held, [0, 20, 20, 20]);
        let mut look = |held: &Holdings, busy_ms, now_ms| {
            let view = View { holdings: held, parents: &[None; STRIPES as usize] };
            let observed = Observed { owed_ms: OWED_MS, busy_ms, denies: true };
            liveness.complaint(view, 0, observed, now_ms)
        };
        assert_eq!(look(&held, 0, 0), None);
        let missing = held.missing().to_vec();
        bring(&mut held, [4, 5, 5, 5]);
        held.extend_within(116, 400);
        assert_eq!(held.missing()[0], missing[0], "as if nothing came");
        assert_eq!(look(&held, SLOW_MS, SLOW_MS), None, "nearly as much as of the others");
        held.extend_within(132, 400);
        bring(&mut held, [0, 4, 4, 4]);
        assert_eq!(look(&held, 2 * SLOW_MS, 2 * SLOW_MS), Some(Complaint::SlowUplink));
    }

    #[test]
    fn who_has_not_what_it_must_have_is_left_after_one_second() {
        let said = |others, came, owed_ms| said_where(others, came, [0, owed_ms], true);
        assert_eq!(said(OTHERS_BRING, 0, OWED_ALONE_MS), Some(Complaint::Refused));
        assert_eq!(said(OTHERS_BRING, 0, OWED_ALONE_MS - 1), None);
        assert_eq!(said(OTHERS_BRING, 1, OWED_ALONE_MS), None, "it gives something");
        assert_eq!(said(OTHERS_BRING - 1, 0, OWED_ALONE_MS), None, "nobody gives");
    }

    #[test]
    fn the_lower_median_is_the_middle_one() {
        assert_eq!(lower_median(&[]), 0);
        assert_eq!(lower_median(&[7]), 7);
        assert_eq!(lower_median(&[9, 2]), 2);
        assert_eq!(lower_median(&[9, 2, 5]), 5);
        assert_eq!(lower_median(&[5, 5, 1, 5]), 5);
        assert_eq!(lower_median(&[1, 8, 1, 9]), 1);
    }

    #[test]
    fn a_stall_of_our_own_is_seen_and_fades() {
        let mut liveness = Liveness::new(1, 0);
        liveness.sample(SAMPLE_MS + 640, 0);
        assert_eq!(liveness.local_stall_ms(), 640);
        assert_eq!(liveness.sample_ms(), 2 * SAMPLE_MS + 640, "from when it was taken");
        liveness.sample(2 * SAMPLE_MS + 640, 0);
        assert_eq!(liveness.local_stall_ms(), 630);
        liveness.sample(3 * SAMPLE_MS + 640, 900);
        assert_eq!(liveness.local_stall_ms(), 900, "an answer that came so late");
    }
}
