//! Which pieces of a generation are here: the one place that knows it.
//!
//! Knows pieces by number and counts what is missing of each stripe. Refuses to
//! know who is asked for what (the scheduler) and where the bytes lie (the
//! destination writer).

use alloc::vec;
use alloc::vec::Vec;

/// What is known of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Missing,
    /// Verified and stored.
    Held,
    /// It will never be here: nobody has it, or it cannot be stored.
    Lost,
}

/// The pieces of one generation, as one node holds them.
#[derive(Clone, Debug)]
pub struct Holdings {
    pieces: Pieces,
    /// For each stripe: how many of its known pieces are missing.
    missing: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Pieces {
    /// A master has all of what it serves: so many.
    All(u32),
    /// A client knows so many, and has some.
    Each(Vec<Piece>),
}

impl Holdings {
    /// A master's: `count` pieces, all here.
    pub fn all(count: u32) -> Holdings {
        Holdings { pieces: Pieces::All(count), missing: vec![0] }
    }

    /// A client's at the start: no piece is known yet. A piece belongs to the
    /// stripe that its number is congruent to, modulo `stripes`.
    pub fn none(stripes: u8) -> Holdings {
        let missing = vec![0; usize::from(stripes.max(1))];
        Holdings { pieces: Pieces::Each(Vec::new()), missing }
    }

    /// There are `count` pieces in all: more than was known before.
    pub fn extend(&mut self, count: u32) {
        let Pieces::Each(pieces) = &mut self.pieces else { return };
        let stripes = self.missing.len();
        for piece in pieces.len()..count as usize {
            pieces.push(Piece::Missing);
            self.missing[piece % stripes] += 1;
        }
    }

    /// Pieces that are known of.
    pub fn count(&self) -> u32 {
        match &self.pieces {
            Pieces::All(count) => *count,
            Pieces::Each(pieces) => pieces.len() as u32,
        }
    }

    /// The number of stripes that a client's pieces are counted by.
    pub fn stripes(&self) -> usize {
        self.missing.len()
    }

    fn set(&mut self, piece: u32, state: Piece) -> bool {
        let Pieces::Each(pieces) = &mut self.pieces else { return false };
        let Some(known) = pieces.get_mut(piece as usize) else { return false };
        let was_missing = *known == Piece::Missing;
        if was_missing {
            let stripe = piece as usize % self.missing.len();
            self.missing[stripe] -= 1;
        }
        core::mem::replace(known, state) != state
    }

    /// Notes a piece as here; whether that is news.
    pub fn hold(&mut self, piece: u32) -> bool {
        self.set(piece, Piece::Held)
    }

    /// Notes a piece as one that will never be here; whether that is news.
    pub fn lose(&mut self, piece: u32) -> bool {
        self.set(piece, Piece::Lost)
    }

    fn get(&self, piece: u32) -> Option<Piece> {
        match &self.pieces {
            Pieces::All(count) => (piece < *count).then_some(Piece::Held),
            Pieces::Each(pieces) => pieces.get(piece as usize).copied(),
        }
    }

    pub fn holds(&self, piece: u32) -> bool {
        self.get(piece) == Some(Piece::Held)
    }

    pub fn has_lost(&self, piece: u32) -> bool {
        self.get(piece) == Some(Piece::Lost)
    }

    /// It is known of, and neither here nor lost.
    pub fn misses(&self, piece: u32) -> bool {
        self.get(piece) == Some(Piece::Missing)
    }

    /// Pieces that are missing of a stripe.
    pub fn missing_of(&self, stripe: usize) -> u32 {
        self.missing.get(stripe).copied().unwrap_or(0)
    }

    /// The same for each stripe.
    pub fn missing(&self) -> &[u32] {
        &self.missing
    }

    /// Nothing is missing of what is known.
    pub fn is_complete(&self) -> bool {
        self.missing.iter().all(|&missing| missing == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_master_has_all_and_no_more() {
        let mut holdings = Holdings::all(3);
        assert!(holdings.is_complete() && holdings.holds(2) && !holdings.holds(3));
        assert!(!holdings.hold(5) && !holdings.lose(0) && holdings.holds(0));
    }
}
