//! Who a node is, and what `nodes.tab` says of it (docs/provisioning.md).
//!
//! Knows the words by which a node is known, host ranges as pdsh and clush write
//! them, the table that is read from a text, and which served directories its lines stand
//! for. Refuses to know files, sockets, and what is served.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod addresses;
mod key;
mod ranges;
mod served;
mod table;
#[cfg(test)]
mod tests;

pub use key::{Key, Kind, VALUE_LEN_MAX};
pub use ranges::expand;
pub use served::{IMAGES, LAYERS, Layers, RENDERED, directory};
pub use table::{
    COLUMN_LEN_MAX, Fault, Found, LINE_LEN_MAX, NODES_MAX, TAB_BYTES_MAX, TAB_NAME, Table,
};
