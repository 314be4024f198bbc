//! The replies that wait to be sent: encoded, in order, and counted.
//!
//! Knows how a reply leaves a session; refuses to know which request it is for.

use super::limits::{OUTPUT_BYTES_MAX, OUTPUTS_MAX};
use crate::error::Error;
use crate::message::{Dialect, RREAD_HEADER_LEN, Reply};
use crate::wire::reply::{self, rread_header};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// EMSGSIZE.
const REPLY_TOO_LONG: Error = Error::new(90, "Message too long");
/// What a client gets when stored bytes vanish between answer and sending.
const BULK_LOST: Error = Error::new(5, "file changed or cannot be read on this server");

/// What a session wants sent, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<B> {
    /// A whole frame.
    Frame(Vec<u8>),
    /// An Rread whose data are stored elsewhere.
    Bulk {
        /// To be sent first; it promises the data that follow.
        header: [u8; RREAD_HEADER_LEN],
        /// Which bytes follow.
        what: B,
        /// How many; never 0.
        len: u32,
        /// When the bytes turn out not to be there before the header left, the
        /// [frame](BulkLost::frame) of this goes instead.
        failure: BulkLost,
    },
}

/// The error reply for stored bytes that are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkLost {
    dialect: Dialect,
    tag: u16,
}

impl BulkLost {
    /// The whole frame that goes in the place of the Rread.
    pub fn frame(self) -> Vec<u8> {
        frame(self.dialect, self.tag, &Reply::Error(BULK_LOST))
    }
}

/// What a session agreed on with Tversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    pub dialect: Dialect,
    /// Longest frame in either direction.
    pub msize: u32,
}

pub(super) struct Outputs<B> {
    queue: VecDeque<Output<B>>,
    /// Bytes of it that are in memory.
    held_bytes: usize,
}

impl<B> Outputs<B> {
    pub fn new() -> Outputs<B> {
        Outputs { queue: VecDeque::new(), held_bytes: 0 }
    }

    pub fn push_reply(&mut self, agreed: Agreed, tag: u16, reply: &Reply) {
        let mut bytes = frame(agreed.dialect, tag, reply);
        if bytes.len() > agreed.msize as usize {
            bytes = frame(agreed.dialect, tag, &Reply::Error(REPLY_TOO_LONG));
        }
        self.push(Output::Frame(bytes));
    }

    pub fn push_bulk(&mut self, agreed: Agreed, tag: u16, what: B, len: u32) {
        let failure = BulkLost { dialect: agreed.dialect, tag };
        self.push(Output::Bulk { header: rread_header(tag, len), what, len, failure });
    }

    fn push(&mut self, output: Output<B>) {
        self.held_bytes += held_bytes(&output);
        self.queue.push_back(output);
    }

    pub fn pop(&mut self) -> Option<Output<B>> {
        let output = self.queue.pop_front()?;
        self.held_bytes -= held_bytes(&output);
        Some(output)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of memory that it takes, about.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes + self.queue.capacity() * size_of::<Output<B>>()
    }

    pub fn is_backlogged(&self) -> bool {
        self.queue.len() >= OUTPUTS_MAX || self.held_bytes >= OUTPUT_BYTES_MAX
    }
}

fn frame(dialect: Dialect, tag: u16, reply: &Reply) -> Vec<u8> {
    let mut bytes = Vec::new();
    reply::encode(dialect, tag, reply, &mut bytes);
    bytes
}

fn held_bytes<B>(output: &Output<B>) -> usize {
    match output {
        Output::Frame(bytes) => bytes.len(),
        Output::Bulk { header, .. } => header.len(),
    }
}
