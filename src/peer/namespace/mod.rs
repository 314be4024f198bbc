//! The 9P name space that every node serves (docs/protocol.md, "Name space").
//!
//! Knows look-up, directories, attributes, and what each control file does.
//! Refuses to know tags, sockets, and what follows from a line that is written
//! on `route` or `log`: that queues as a `Notice` for the node. Bulk data is
//! named ([`Bulk`]), never carried.
//!
//! # How to add a control file
//!
//! A control file is one module of `src/peer/namespace/files/`, say
//! `files/NAME.rs`:
//!
//! 1. Write a type without fields that implements `ControlFile`
//!    (`control_file.rs`): `name`, `directory` (which of the four kinds of
//!    directories it stands in) and `read`. Everything else has an answer that
//!    suits a live file which can only be read; override what differs: `len`,
//!    `mode`, `version` (1 for bytes that never change), `takes_writes` with
//!    `write`, `open`, `close`. A read that cannot be answered yet parks:
//!    `space.park(Wait::…, request.ticket)`. What only a master does stands behind a
//!    const of the type, as in `files/route.rs`: the agent is linked without it.
//! 2. Add its `mod` line and its line in the table to `files/mod.rs`. The place
//!    in the table is the place in the directory's listing. Look-up, listing,
//!    stat, qid and permissions follow from it.
//! 3. If it shows or changes something that is not there yet, add that to
//!    `NameSpace` (`space.rs`), with a method for the node to set it; what a read
//!    may wait for is a `Wait`, what the node has to act upon a `Notice`.
//! 4. Test it at the bottom of its file, as a master's and as a client's:
//!    `testing.rs` has both, and `look` tries walk, listing, stat and open modes.
//!    `tests.rs` pins the listing of each directory: it has to agree.
//! 5. Describe it in docs/protocol.md, "Name space".

mod alone;
mod attr;
mod bulk;
mod control_file;
mod conversations;
mod directory;
mod file_id;
mod files;
mod generation;
mod generations;
mod guard;
mod handovers;
mod late;
mod lineage;
mod log_lines;
mod node_keys;
mod parking;
mod reports;
mod served;
mod space;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod unproved;
mod workers;

pub use bulk::Bulk;
pub use generation::{Content, Generation, GenerationId, Origin};
pub(crate) use reports::Report;
pub use space::NameSpace;
pub(crate) use space::Notice;
