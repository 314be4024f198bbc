//! The only door to Linux, and the only room with `unsafe` in it.

pub mod clock;
pub mod daemon;
pub mod file;
pub mod signal;
pub mod socket;
