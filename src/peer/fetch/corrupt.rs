//! Corrupt pieces that the master itself sent.
//!
//! They may have been damaged on the way, so each is asked for once more. Knows
//! which came corrupt and have not come right since. Refuses to know who else
//! sent corrupt pieces, and what becomes of these.

use sorted::SortedSet;

/// Most pieces that may have come corrupt and not have come right since.
pub(super) const CORRUPT_MAX: usize = 64;

/// What to do about a corrupt piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    AskAgain,
    /// It was corrupt twice: the piece is lost.
    GiveUp,
    /// Too many are corrupt: the fetch fails.
    Fail,
}

#[derive(Debug, Default)]
pub(super) struct CorruptPieces(SortedSet<u32>);

impl CorruptPieces {
    /// The piece came corrupt.
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
