//! Pieces that the master itself sent wrong.
//!
//! They may have been damaged on the way, so each is asked for once more. Knows
//! which came wrong and not yet right; refuses to know what becomes of them.

use alloc::collections::BTreeSet;

/// Pieces that may have come wrong from the master and not yet right again.
pub(super) const CORRUPT_MAX: usize = 64;

/// What to do about a piece that the master sent wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    AskAgain,
    /// It was wrong the second time: it will be.
    GiveUp,
    /// Too many are wrong: nothing of it can be trusted.
    Fail,
}

#[derive(Debug, Default)]
pub(super) struct CorruptPieces(BTreeSet<u32>);

impl CorruptPieces {
    /// The piece came wrong.
    pub fn note(&mut self, piece: u32) -> Verdict {
        if self.0.contains(&piece) {
            return Verdict::GiveUp;
        }
        if self.0.len() == CORRUPT_MAX {
            return Verdict::Fail;
        }
        self.0.insert(piece);
        Verdict::AskAgain
    }

    /// The piece came right.
    pub fn forget(&mut self, piece: u32) {
        self.0.remove(&piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_asked_once_more_and_only_so_many_may_be_wrong() {
        let mut corrupt = CorruptPieces::default();
        for piece in 0..CORRUPT_MAX as u32 {
            assert_eq!(corrupt.note(piece), Verdict::AskAgain);
        }
        assert_eq!(corrupt.note(5), Verdict::GiveUp);
        assert_eq!(corrupt.note(999), Verdict::Fail);
        corrupt.forget(5);
        assert_eq!(corrupt.note(999), Verdict::AskAgain);
    }
}
