//! What is spread, and how: digests, the index of a generation, its pieces,
//! the routes between nodes and the progress of one transfer.
//!
//! All of it is pure: no socket, no file, no clock.

pub mod digest;
pub mod index;
pub mod pieces;
pub mod route;
pub mod talk;
pub mod transfer;
