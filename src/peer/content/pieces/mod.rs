//! The pieces of a generation: what each holds, and what its bytes must be.
//!
//! Pieces are numbered through the whole generation: first those of the manifest
//! itself, then packs of small files, then the pieces of each larger file. A
//! pack holds whole files, each verified by its own digest, so ten thousand
//! small files travel as a few hundred pieces and are hashed once.
//! Everything here follows from the manifest alone: both ends compute it.

mod first;
mod map;

pub use first::{ManifestPieces, WrongBytes};
pub use map::{Extent, Extents, PieceMap};
