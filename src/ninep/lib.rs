#![doc = include_str!("README.md")]
//!
//! # Where to begin
//!
//! - [`server::Session`] is one connection's server, [`server::Tree`] what it
//!   serves; [`server::Output`] is what it wants sent.
//! - [`client::Client`] is one connection's client, [`client::Event`] what came of
//!   its requests.
//! - [`Request`] and [`Reply`] are the messages, [`wire`] has their bytes. [`Error`]
//!   is what a reply says of a failure; the constants beside it are those that
//!   clients know.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod client;
mod error;
mod message;
mod message_type;
pub mod server;
pub mod wire;

pub use error::{
    EACCES, EINVAL, EIO, EISDIR, ENOENT, ENOTDIR, EOPNOTSUPP, EROFS, ERROR_TEXT_MAX, ESTALE, Error,
    NO_AUTH,
};
pub use message::{
    Attr, AttrChange, Dialect, HEADER_LEN, IO_HEADER_LEN, NOFID, NONUNAME, NOTAG, QTAUTH, QTDIR,
    QTFILE, QTSYMLINK, Qid, RREAD_HEADER_LEN, Reply, Request, WALK_NAMES_MAX,
};
pub use message_type::MessageType;
