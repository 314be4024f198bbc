//! Every bound that a session keeps, in one place.
//!
//! Who is at the other end of a connection is not known: whatever it can make the
//! server hold is counted here. (How long names, walks and error texts
//! may be is a matter of the messages: [`crate::WALK_NAMES_MAX`],
//! [`crate::ERROR_TEXT_MAX`].)

/// Longest frame, in bytes, before Tversion has agreed on an msize. Tversion
/// itself is a few dozen bytes; Linux and lib9p start at 8 KiB as well.
pub const FIRST_FRAME_LEN_MAX: u32 = 8 * 1024;

/// Least msize that is accepted, in bytes: room for every error, for a walk of 16
/// names, and for the longest name in a directory, so that each can be listed.
pub const MSIZE_MIN: u32 = 512;

/// Fids of one connection; more are refused.
pub const FIDS_MAX: usize = 65_536;

/// Reads of one connection that wait for their bytes; more are refused.
pub const PARKED_MAX: usize = 4_096;

/// Replies queued on one connection from which on it is
/// [backlogged](super::Session::is_backlogged).
pub const OUTPUTS_MAX: usize = 256;

/// The same in bytes held (stored bytes are named, not held).
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a directory in one reply: some hundred entries, each of which is looked
/// up and written, where a file's bytes are only named.
pub const DIR_BYTES_MAX: u32 = 32 * 1024;
