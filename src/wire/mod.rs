//! 9P on the wire: frames to values and back, in three dialects.
//!
//! Knows layouts, limits and error words; refuses to know fids, files,
//! sockets. Sources: Plan 9 manual section 5, the 9P2000.u draft, diod's
//! protocol.md for 9P2000.L, and Linux' net/9p for what clients accept.

pub mod decode;
pub mod encode;
mod message;

pub use message::*;
