//! 9P on the wire and in session: frames to values and back, in three dialects.
//!
//! Knows layouts, limits and error words; refuses to know files, sockets and
//! clocks. Sources: Plan 9 manual section 5, the 9P2000.u draft, diod's
//! protocol.md for 9P2000.L, and Linux' net/9p for what clients accept.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod client;
pub mod decode;
pub mod encode;
mod message;
pub mod server;

pub use message::*;
