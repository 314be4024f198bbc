//! xget: the same bytes onto every node of a cluster.
//!
//! The rooms, from the ground up; a room may use only those above it in this
//! list (tests/rooms.rs checks it). `table` to `node` know no socket, no file,
//! no clock and no libc: bytes, inputs and the time go in, effects come out.

pub mod table;

pub mod wire;

pub mod spread;

pub mod client;
pub mod serve;

pub mod tree;

pub mod node;

pub mod os;

pub mod store;

pub mod drive;

pub mod boot;

pub mod cli;
pub mod console;
pub mod logger;
