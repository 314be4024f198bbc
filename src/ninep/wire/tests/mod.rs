//! Frames against the manual: byte literals, and properties over every layout.
//!
//! The layouts are written down a second time here, in the manual's own words,
//! and read by a few lines that share nothing with the code under test.

mod hostile;
mod layout;
mod records;
mod replies;
mod requests;

use crate::MessageType;
use alloc::vec::Vec;
use proptest::prelude::*;

/// A whole frame.
pub(crate) fn frame(message_type: MessageType, tag: u16, body: &[u8]) -> Vec<u8> {
    let size = (7 + body.len()) as u32;
    [&size.to_le_bytes(), &[message_type.0][..], &tag.to_le_bytes(), body].concat()
}

/// Properties of the wire are cheap: many cases.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 1_000, ..ProptestConfig::default() }
}
