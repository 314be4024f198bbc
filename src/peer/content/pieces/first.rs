//! The first pieces of a generation: those of the manifest itself.
//!
//! All that can be known before the manifest is here: its digest, its length
//! and, if it takes more than one piece, the list of their digests, which is
//! believed when it merges to the digest.

use crate::content::digest::{self, Digest};
use crate::content::manifest::stride;
use alloc::vec::Vec;
use core::ops::Range;

/// A piece's bytes are not what the manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongBytes;

/// The first pieces: those of the manifest itself, known before the manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestPieces {
    /// The digest of the manifest.
    pub generation: Digest,
    /// Bytes of the manifest, at most 2^32 pieces.
    pub manifest_len: u64,
    /// Bytes of a piece, a power of two.
    pub piece_len: u32,
    /// Digests of the manifest's pieces; empty when it fits into one.
    pub list: Vec<Digest>,
}

impl ManifestPieces {
    /// For a manifest that one holds.
    pub fn of(bytes: &[u8], piece_len: u32) -> ManifestPieces {
        let list = match bytes.len() > piece_len as usize {
            true => digest::list_of(bytes, piece_len),
            false => Vec::new(),
        };
        let manifest_len = bytes.len() as u64;
        let whole = digest::of_list(&list, manifest_len, piece_len);
        let generation = whole.unwrap_or_else(|| Digest::of(bytes));
        ManifestPieces { generation, manifest_len, piece_len, list }
    }

    /// For a manifest to be fetched: takes the list only when it is right.
    ///
    /// # Errors
    /// [`WrongBytes`] if the list does not merge to the digest of the generation,
    /// or if there is one where none is needed.
    pub(crate) fn from_list(
        generation: Digest,
        manifest_len: u64,
        piece_len: u32,
        bytes: &[u8],
    ) -> Result<ManifestPieces, WrongBytes> {
        let mut list = Vec::new();
        digest::read_list(bytes, &mut list);
        let needed = manifest_len > u64::from(piece_len);
        let right = match needed {
            false => list.is_empty(),
            true => digest::of_list(&list, manifest_len, piece_len) == Some(generation),
        };
        if right {
            Ok(ManifestPieces { generation, manifest_len, piece_len, list })
        } else {
            Err(WrongBytes)
        }
    }

    /// How many pieces the manifest takes.
    pub fn count(&self) -> u32 {
        self.manifest_len.div_ceil(u64::from(self.piece_len)) as u32
    }

    /// Bytes from the place of one piece in the stream of all to that of the next.
    pub(crate) fn stride(&self) -> u32 {
        stride(self.piece_len)
    }

    /// The part of the manifest that a piece holds.
    pub fn range(&self, piece: u32) -> Range<usize> {
        let start = u64::from(piece) * u64::from(self.piece_len);
        let end = (start + u64::from(self.piece_len)).min(self.manifest_len);
        start as usize..end as usize
    }

    /// Whether these bytes are that piece of the manifest.
    ///
    /// # Errors
    /// [`WrongBytes`] if they are not, or nothing is known of that piece.
    pub(crate) fn verify(&self, piece: u32, bytes: &[u8]) -> Result<(), WrongBytes> {
        let range = self.range(piece);
        let right = bytes.len() == range.len()
            && match self.list.get(piece as usize) {
                Some(wanted) => digest::of_piece(range.start as u64, bytes) == *wanted,
                None => Digest::of(bytes) == self.generation,
            };
        if right { Ok(()) } else { Err(WrongBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::samples::{assert_verified, bytes};
    use proptest::prelude::*;
    use proptest::sample::Index;

    const P: u32 = 4096;

    proptest! {
        #[test]
        fn a_manifest_comes_in_pieces_that_make_it_up(
            len in 1..40_000usize,
            bit in any::<Index>(),
        ) {
            let bytes = bytes(len, len);
            let pieces = ManifestPieces::of(&bytes, P);
            prop_assert_eq!(pieces.generation, Digest::of(&bytes));
            let mut end = 0;
            for piece in 0..pieces.count() {
                let range = pieces.range(piece);
                prop_assert_eq!(range.start, end);
                end = range.end;
                assert_verified(|bytes| pieces.verify(piece, bytes), &bytes[range], bit);
            }
            prop_assert_eq!(end, len);
            prop_assert_eq!(pieces.verify(pieces.count(), &bytes[end - 1..]), Err(WrongBytes));
        }

        #[test]
        fn a_list_is_taken_when_it_is_right(len in 1..40_000usize, bit in any::<Index>()) {
            let pieces = ManifestPieces::of(&bytes(len, len), P);
            let raw: Vec<u8> = pieces.list.iter().flat_map(|digest| digest.0).collect();
            prop_assert_eq!(raw.is_empty(), len <= P as usize);
            let take =
                |raw: &[u8]| ManifestPieces::from_list(pieces.generation, len as u64, P, raw);
            prop_assert_eq!(take(&raw), Ok(pieces.clone()));
            prop_assert_eq!(take(&[&raw[..], &[0; 32]].concat()), Err(WrongBytes));
            if !raw.is_empty() {
                let mut bad = raw.clone();
                let bit = bit.index(raw.len() * 8);
                bad[bit / 8] ^= 1 << (bit % 8);
                for wrong in [&bad[..], &[], &raw[32..]] {
                    prop_assert_eq!(take(wrong), Err(WrongBytes));
                }
            }
        }
    }
}
