//! What is on disk: the tree that a master serves, and where a client puts
//! the one that it fetches.
//!
//! A thin edge over the file system. Every call here blocks for a bounded
//! slice of work and says whether more is left; there is no socket, no clock
//! and no loop. Which piece comes from whom is not known here.

pub mod alone;
mod attributes;
pub mod cache;
pub mod comparison;
mod cost;
pub mod dest;
pub mod destination;
pub mod device;
pub mod directory;
mod dirs;
pub mod error;
pub mod files;
mod hash;
pub mod name;
mod one_file;
mod reader;
pub mod refresh;
pub mod scan;
pub mod served;
mod served_root;
pub mod sha256;
pub mod signatures;
pub mod stream;
mod walk;
pub mod writer;
mod xattrs;

#[cfg(test)]
pub(crate) mod testing;
