//! Stored bytes by name: what a read is answered with, without carrying them.

use super::generation::GenerationId;

/// Stored bytes, named. Whoever owns the connection finds and sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bulk {
    /// A piece.
    Piece {
        /// The generation that it belongs to.
        generation: GenerationId,
        /// Its number, counted over all pieces of the generation.
        piece: u32,
        /// Bytes of it that are passed over.
        skip: u32,
    },
    /// A piece of several files some of which have changed: their bytes are zeros.
    Rest {
        /// The generation that it belongs to.
        generation: GenerationId,
        /// Its number, counted over all pieces of the generation.
        piece: u32,
        /// Bytes of it that are passed over.
        skip: u32,
    },
    /// A served file.
    File {
        /// The generation that it belongs to.
        generation: GenerationId,
        /// Its entry in the manifest; of a hard link the file that it names.
        entry: u32,
        /// Bytes of it that are passed over.
        offset: u64,
    },
}

/// What there is of the bytes that a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// All of them, or as many as there are: never 0.
    Here { what: Bulk, len: u32 },
    /// There are none so far into it.
    End,
    /// This piece has to arrive first.
    Missing(GenerationId, u32),
    /// They will never be here: the piece cannot be had, or not be written.
    Lost,
}
