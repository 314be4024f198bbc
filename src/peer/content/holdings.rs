//! Which pieces of a generation are here: the one place that knows it.
//!
//! Knows pieces by number and counts what is missing of each stripe. Refuses to
//! know who is asked for what (the scheduler) and where the bytes lie (the
//! destination writer).

use alloc::vec;
use alloc::vec::Vec;

/// What is known of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PieceState {
    Missing,
    /// Verified and stored.
    Held,
    /// It will never be here: nobody has it, or it cannot be stored.
    Lost,
    /// It was here, and has fallen out of the window of a stream.
    Passed,
}

/// The pieces of one generation, as one node holds them.
#[derive(Clone, Debug)]
pub struct Holdings {
    pieces: Pieces,
    /// For each stripe: how many of its known pieces are missing.
    missing: Vec<u32>,
    /// Beyond what is known of there is more, for which there is no room yet.
    has_more: bool,
}

#[derive(Clone, Debug)]
enum Pieces {
    /// A master has all of what it serves: so many.
    All(u32),
    /// A client knows so many, and has some.
    Each(Vec<PieceState>),
}

impl Holdings {
    /// A master's: `count` pieces, all here.
    pub(crate) fn all(count: u32) -> Holdings {
        Holdings { pieces: Pieces::All(count), missing: vec![0], has_more: false }
    }

    /// A client's at the start: no piece is known yet. A piece belongs to the
    /// stripe that its number is congruent to, modulo `stripes`.
    pub fn none(stripes: u8) -> Holdings {
        let missing = vec![0; usize::from(stripes.max(1))];
        Holdings { pieces: Pieces::Each(Vec::new()), missing, has_more: false }
    }

    /// There are `count` pieces in all: more than was known before.
    pub fn extend(&mut self, count: u32) {
        let Pieces::Each(pieces) = &mut self.pieces else { return };
        let stripes = self.missing.len();
        for piece in pieces.len()..count as usize {
            pieces.push(PieceState::Missing);
            self.missing[piece % stripes] += 1;
        }
    }

    /// The same where there are `all`, and those beyond `count` are not wanted yet.
    pub(crate) fn extend_within(&mut self, count: u32, all: u32) {
        self.extend(count.min(all));
        self.has_more = self.count() < all;
    }

    /// There are more pieces than are known of.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Pieces that are known of.
    pub(crate) fn count(&self) -> u32 {
        match &self.pieces {
            Pieces::All(count) => *count,
            Pieces::Each(pieces) => pieces.len() as u32,
        }
    }

    /// The number of stripes that a client's pieces are counted by.
    pub fn stripes(&self) -> usize {
        self.missing.len()
    }

    fn set(&mut self, piece: u32, state: PieceState) -> bool {
        let Pieces::Each(pieces) = &mut self.pieces else { return false };
        let Some(known) = pieces.get_mut(piece as usize) else { return false };
        let was_missing = *known == PieceState::Missing;
        if was_missing {
            let stripe = piece as usize % self.missing.len();
            self.missing[stripe] -= 1;
        }
        core::mem::replace(known, state) != state
    }

    /// Notes a piece as here; whether that is news.
    pub fn hold(&mut self, piece: u32) -> bool {
        self.set(piece, PieceState::Held)
    }

    /// Notes a piece as one that will never be here; whether that is news.
    pub fn lose(&mut self, piece: u32) -> bool {
        self.set(piece, PieceState::Lost)
    }

    /// Notes a piece that was held as one that is not kept any more.
    pub(crate) fn pass(&mut self, piece: u32) {
        if self.holds(piece) {
            self.set(piece, PieceState::Passed);
        }
    }

    fn get(&self, piece: u32) -> Option<PieceState> {
        match &self.pieces {
            Pieces::All(count) => (piece < *count).then_some(PieceState::Held),
            Pieces::Each(pieces) => pieces.get(piece as usize).copied(),
        }
    }

    /// It is here.
    pub(crate) fn holds(&self, piece: u32) -> bool {
        self.get(piece) == Some(PieceState::Held)
    }

    /// It will never be here.
    pub fn has_lost(&self, piece: u32) -> bool {
        self.get(piece) == Some(PieceState::Lost)
    }

    /// It was here, and is not kept any more.
    pub(crate) fn has_passed(&self, piece: u32) -> bool {
        self.get(piece) == Some(PieceState::Passed)
    }

    /// It is known of, and neither here nor lost, and never was.
    pub fn misses(&self, piece: u32) -> bool {
        self.get(piece) == Some(PieceState::Missing)
    }

    /// Pieces that are missing of a stripe.
    pub(crate) fn missing_of(&self, stripe: usize) -> u32 {
        self.missing.get(stripe).copied().unwrap_or(0)
    }

    /// The same for each stripe.
    pub(crate) fn missing(&self) -> &[u32] {
        &self.missing
    }

    /// Nothing is missing of what is known, and no more is to come.
    pub(crate) fn is_complete(&self) -> bool {
        !self.has_more && self.is_filled()
    }

    /// Nothing is missing of what is known.
    pub(crate) fn is_filled(&self) -> bool {
        self.missing.iter().all(|&missing| missing == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn pieces_are_counted_by_stripe_until_they_are_held_or_lost() {
        let mut holdings = Holdings::none(2);
        assert!(holdings.is_complete() && !holdings.misses(0));
        assert!(!holdings.hold(0), "it is not known of yet");
        holdings.extend(5);
        assert_eq!(holdings.missing(), [3, 2]);
        assert!(holdings.hold(0) && !holdings.hold(0));
        assert!(holdings.lose(1) && !holdings.lose(1));
        assert_eq!(holdings.missing(), [2, 1]);
        assert!(holdings.holds(0) && holdings.has_lost(1) && holdings.misses(2));
        assert!(holdings.hold(1), "it came after all");
        assert_eq!(holdings.missing(), [2, 1]);
        holdings.extend(3);
        assert_eq!(holdings.count(), 5, "never fewer");
        (2..5).for_each(|piece| assert!(holdings.hold(piece)));
        assert!(holdings.is_complete());
    }

    #[test]
    fn what_lies_beyond_a_window_is_not_missing_and_what_lies_behind_is_not_held() {
        let mut holdings = Holdings::none(2);
        holdings.extend_within(4, 6);
        assert!(holdings.has_more() && holdings.missing() == [2, 2]);
        holdings.pass(1);
        assert!(holdings.misses(1), "it has to be here first");
        (0..4).for_each(|piece| assert!(holdings.hold(piece)));
        assert!(holdings.is_filled() && !holdings.is_complete());
        holdings.pass(1);
        assert!(holdings.has_passed(1) && !holdings.holds(1) && !holdings.misses(1));
        holdings.extend_within(9, 6);
        assert_eq!((holdings.missing(), holdings.count()), (&[1, 1][..], 6));
        assert!(!holdings.has_more());
    }

    proptest! {
        /// What is counted is what a count of the pieces would give.
        #[test]
        fn counts_are_those_of_the_pieces(
            stripes in 1..9u8,
            steps in vec((0..5u8, 0..60u32), 0..80),
        ) {
            let mut holdings = Holdings::none(stripes);
            for (step, piece) in steps {
                let news = holdings.misses(piece);
                let is_news = match step {
                    0 => { holdings.extend(piece); continue }
                    1 => holdings.lose(piece) || !news,
                    2 => { holdings.pass(piece); continue }
                    _ => holdings.hold(piece) || !news,
                };
                prop_assert!(is_news, "a missing piece is news");
            }
            let missing_of = |stripe| (stripe..holdings.count())
                .step_by(stripes.into())
                .filter(|&piece| holdings.misses(piece))
                .count() as u32;
            let missing: Vec<u32> = (0..stripes.into()).map(missing_of).collect();
            prop_assert_eq!(holdings.missing(), &missing[..]);
            for piece in 0..70 {
                let states = [
                    holdings.holds(piece),
                    holdings.has_lost(piece),
                    holdings.misses(piece),
                    holdings.has_passed(piece),
                ];
                let known = piece < holdings.count();
                prop_assert_eq!(states.iter().filter(|s| **s).count(), usize::from(known));
            }
        }
    }

    #[test]
    fn a_master_has_all_and_no_more() {
        let mut holdings = Holdings::all(3);
        assert!(holdings.is_complete() && holdings.holds(2) && !holdings.holds(3));
        assert!(!holdings.hold(5) && !holdings.lose(0) && holdings.holds(0));
    }
}
