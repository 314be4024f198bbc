//! The only door to Linux, and the only room with `unsafe` in it.

pub mod socket;
pub mod clock;
