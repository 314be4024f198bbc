//! The manifest of a generation: every entry of the tree, and the piece lists.
//!
//! It has one canonical encoding, so that its BLAKE3 digest names the generation
//! and pins every byte and attribute in it. Knows the tree, how it is written
//! and read, and how part of it becomes a manifest of its own. Refuses to know
//! where files lie and which pieces are here.
//!
//! Entries stand breadth first, the children of one directory together and
//! sorted by name: a look-up is a binary search and needs no further table.

mod encoding;
mod fitting;
mod limits;
mod lookup;
mod selection;
mod selector;
mod values;
mod xattrs;

pub use encoding::Malformed;
pub(crate) use encoding::NO_MEMORY;
pub use limits::{DEPTH_MAX, ENTRIES_MAX, PIECE_LEN, name_is_sound, piece_len_of, stride};
pub(crate) use limits::{PIECE_LEN_MAX, PIECE_LEN_MIN};
pub use selection::{SelectError, Selection};
pub use selector::Selector;
pub use values::{Entry, EntryKind, Manifest};
pub use xattrs::{XattrSet, XattrTable};
