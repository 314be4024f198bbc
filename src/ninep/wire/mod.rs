//! Messages as bytes: every layout of the three dialects, and its limits.
//!
//! Encoding and decoding stand side by side, one file a subject. Nothing here
//! knows fids, tags in use, or what a session agreed on beyond its dialect.
//!
//! A stream is cut into frames with [`frame_len`]; then [`request::decode`] and
//! [`reply::encode`] are the server's half, [`reply::decode`] and the functions
//! of [`request`] the client's. The sessions of [`crate::server`] and
//! [`crate::client`] do all of this; these functions are for those who look at
//! frames that pass.
//!
//! A frame whose length is wrong is [`Fatal`]: the stream has lost its framing.
//! A good frame with a bad body still has a tag, so its sender gets an error
//! reply and the connection lives.
//!
//! One deviation from intro(5), which wants UTF-8: served file names are
//! whatever bytes the file system holds, and a name that cannot be asked for
//! cannot be fetched. So strings may hold any bytes but NUL, and names in a walk
//! any bytes but NUL and '/'.

mod frame;
mod reader;
pub(crate) mod record;
pub mod reply;
pub mod request;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub use frame::{Fatal, frame_len};
