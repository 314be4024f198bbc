//! The words of the conversation on `/.xget/route`, both ways, and of those on `/.xget/node`
//! ([`NodeMessage`], [`NodeAnswer`]); and two datagrams ([`Question`], [`Answer`]).
//!
//! One message a line, words parted by one space (docs/protocol.md). Knows the
//! words, not what follows from them (that is [`master`](crate::master) and [`fetch`](crate::fetch)).
//!
//! | from a client | value |
//! |---|---|
//! | `join <version> <port> [<option>=<value>...] <source>...` | [`ClientMessage::Join`] |
//! | `replace <stripe> <parent> <complaint> [<piece>]` | [`ClientMessage::Replace`] |
//! | `progress <have> <total> <from master> <from peers> <ms>` | [`ClientMessage::Progress`] |
//! | `done`, with the same five numbers | [`ClientMessage::Done`] |
//! | `leave` | [`ClientMessage::Leave`] |
//!
//! | from the master | value |
//! |---|---|
//! | `wait <done> <total>` | [`MasterMessage::Wait`] |
//! | `generation <digest> <manifest length> <piece length> <stripes>` | [`MasterMessage::Generation`] |
//! | `parent <stripe> <parent>` | [`MasterMessage::Parent`] |
//! | `error <errno> <text>` | [`MasterMessage::Error`] |
//!
//! A parent is [`ParentAddr`], a complaint one of the words of [`Complaint`],
//! numbers are decimal, and sources and texts are percent encoded, because file
//! names may hold anything but NUL and `/`.

mod addr;
mod client;
mod complaint;
mod discovery;
mod master;
mod node;
#[cfg(test)]
mod samples;
mod text;
mod words;

pub use addr::ParentAddr;
pub(crate) use addr::{format_addr, parse_addr};
pub use client::{
    ClientMessage, JOIN_LEN_MAX, JoinOptions, TransferStats, VERSION, VERSION_MIN, VERSION_PLAIN,
};
pub use complaint::Complaint;
pub use discovery::{
    ANSWER_LEN_MAX, Answer, QUESTION_LEN_MAX, Question, Speaker, Wanted, node_question,
};
pub use master::MasterMessage;
pub use node::{
    NODE_ANSWER_LEN_MAX, NODE_LINE_LEN_MAX, NodeAnswer, NodeMessage, NodeQuestion, NodeRefusal,
    NodeStage, RootKind,
};
pub(crate) use node::{ROOTS, add_path, add_word, add_word_within, add_words};
pub use text::printable;
pub use words::{LINE_LEN_MAX, escaped, unescape};
