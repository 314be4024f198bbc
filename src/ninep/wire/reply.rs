//! Replies: encoded in every dialect, for a server; decoded in 9P2000.u, for
//! the client of this crate.
//!
//! The encoder refuses to know msize: whoever asks for a frame keeps it small
//! enough (only names, link targets and error texts are cut here, to limits
//! that no honest one reaches). Everything is appended to a buffer that the
//! caller owns.

use super::frame::{Fatal, put_frame, split_frame};
use super::reader::{Reader, SHORT, TRAILING};
use super::record::{
    LINK_LEN_MAX, NAME_LEN_MAX, put_getattr, put_getlock, put_stat_record, put_statfs,
};
use super::request::TOO_MANY_NAMES;
use super::writer::{put_counted, put_qid, put_string, put_u16, put_u32};
use crate::error::{EIO, ERROR_TEXT_MAX, Error};
use crate::message::{Dialect, Qid, RREAD_HEADER_LEN, Reply, WALK_NAMES_MAX};
use crate::message_type::MessageType;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Rversion's word for "none of what you offered" (version(5)).
const VERSION_UNKNOWN: &[u8] = b"unknown";

/// P9_LOCK_SUCCESS.
const LOCK_SUCCESS: u8 = 0;

/// Appends the reply's whole frame.
///
/// ```
/// use ninep::{Dialect, ENOENT, Reply, wire::reply};
///
/// let mut frame = Vec::new();
/// reply::encode(Dialect::Linux, 1, &Reply::Error(ENOENT), &mut frame);
/// assert_eq!(frame, [11, 0, 0, 0, 7, 1, 0, 2, 0, 0, 0]);
/// ```
pub fn encode(dialect: Dialect, tag: u16, reply: &Reply, out: &mut Vec<u8>) {
    put_frame(out, type_of(dialect, reply), tag, |out| put_body(out, dialect, reply));
}

/// The first [`RREAD_HEADER_LEN`] bytes of an Rread whose `len` bytes of data
/// follow from elsewhere. `len` is below any msize, hence far below 4 GiB.
pub fn rread_header(tag: u16, len: u32) -> [u8; RREAD_HEADER_LEN] {
    let size = len.saturating_add(RREAD_HEADER_LEN as u32).to_le_bytes();
    let (tag, count) = (tag.to_le_bytes(), len.to_le_bytes());
    let mut header = [0; RREAD_HEADER_LEN];
    header[..4].copy_from_slice(&size);
    header[4] = MessageType::RREAD.0;
    header[5..7].copy_from_slice(&tag);
    header[7..].copy_from_slice(&count);
    header
}

fn type_of(dialect: Dialect, reply: &Reply) -> MessageType {
    let linux = dialect == Dialect::Linux;
    match reply {
        Reply::Version { .. } => MessageType::RVERSION,
        Reply::Auth { .. } => MessageType::RAUTH,
        Reply::Attach { .. } => MessageType::RATTACH,
        Reply::Flush => MessageType::RFLUSH,
        Reply::Walk { .. } => MessageType::RWALK,
        Reply::Open { .. } if linux => MessageType::RLOPEN,
        Reply::Open { .. } => MessageType::ROPEN,
        Reply::Read { .. } => MessageType::RREAD,
        Reply::Write { .. } => MessageType::RWRITE,
        Reply::Clunk => MessageType::RCLUNK,
        Reply::Stat { .. } => MessageType::RSTAT,
        Reply::Wstat => MessageType::RWSTAT,
        Reply::Statfs { .. } => MessageType::RSTATFS,
        Reply::Getattr { .. } => MessageType::RGETATTR,
        Reply::Setattr => MessageType::RSETATTR,
        Reply::Readlink { .. } => MessageType::RREADLINK,
        Reply::Readdir { .. } => MessageType::RREADDIR,
        Reply::Fsync => MessageType::RFSYNC,
        Reply::Lock => MessageType::RLOCK,
        Reply::Getlock => MessageType::RGETLOCK,
        Reply::Error(_) if linux => MessageType::RLERROR,
        Reply::Error(_) => MessageType::RERROR,
    }
}

fn put_body(out: &mut Vec<u8>, dialect: Dialect, reply: &Reply) {
    match reply {
        Reply::Version { msize, dialect } => {
            put_u32(out, *msize);
            put_string(out, dialect.map_or(VERSION_UNKNOWN, Dialect::version), NAME_LEN_MAX);
        }
        Reply::Auth { qid } | Reply::Attach { qid } => put_qid(out, dialect, qid),
        Reply::Walk { qids } => {
            put_u16(out, qids.len() as u16);
            qids.iter().for_each(|qid| put_qid(out, dialect, qid));
        }
        Reply::Open { qid, iounit } => {
            put_qid(out, dialect, qid);
            put_u32(out, *iounit);
        }
        Reply::Read { data } | Reply::Readdir { data } => {
            put_u32(out, data.len() as u32);
            out.extend_from_slice(data);
        }
        Reply::Write { count } => put_u32(out, *count),
        Reply::Stat { attr } => put_counted(out, |out| put_stat_record(out, dialect, attr)),
        Reply::Statfs { files, blocks, block_len } => put_statfs(out, *files, *blocks, *block_len),
        Reply::Getattr { attr } => put_getattr(out, attr),
        Reply::Readlink { target } => put_string(out, target, LINK_LEN_MAX),
        Reply::Lock => out.push(LOCK_SUCCESS),
        Reply::Getlock => put_getlock(out),
        Reply::Error(error) => put_error(out, dialect, error),
        Reply::Flush | Reply::Clunk | Reply::Wstat | Reply::Setattr | Reply::Fsync => {}
    }
}

fn put_error(out: &mut Vec<u8>, dialect: Dialect, error: &Error) {
    if dialect != Dialect::Linux {
        let plain = dialect == Dialect::Plan9;
        let text = if plain { error.known_text() } else { &error.text };
        // Too long a string is cut rather than refused (intro(5)).
        let mut len = text.len().min(ERROR_TEXT_MAX);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        put_string(out, &text.as_bytes()[..len], ERROR_TEXT_MAX);
    }
    if dialect != Dialect::Plan9 {
        put_u32(out, u32::from(valid_errno(error.errno.into())));
    }
}

/// Linux takes 0 for "no error" and from 4096 on for no errno at all. Such a
/// number says only that the request failed.
fn valid_errno(errno: u32) -> u16 {
    if (1..4096).contains(&errno) { errno as u16 } else { EIO.errno }
}

/// A reply as a client hears it: what [`decode`] makes of an R-message. Only
/// those that the requests of [`super::request`] may have; a server's
/// [`Reply`] has more of them, and what they carry as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rmessage<'a> {
    /// Rversion.
    Version {
        /// Longest frame from now on, in bytes.
        msize: u32,
        /// The dialect that was agreed on, or "unknown".
        version: &'a [u8],
    },
    /// Rauth.
    Auth {
        /// That of the file by which it goes on.
        qid: Qid,
    },
    /// Rattach.
    Attach {
        /// The root's.
        qid: Qid,
    },
    /// Rflush.
    Flush,
    /// Rwalk.
    Walk {
        /// How many of the names were walked.
        names: usize,
    },
    /// Ropen.
    Open {
        /// The file's.
        qid: Qid,
        /// Most bytes that are read or written as one; 0 is what msize allows.
        iounit: u32,
    },
    /// Rread.
    Read {
        /// Bytes of data.
        count: u32,
        /// The data, if the frame is there whole.
        data: Option<&'a [u8]>,
    },
    /// Rwrite.
    Write {
        /// Bytes that were taken.
        count: u32,
    },
    /// Rclunk.
    Clunk,
    /// Rerror or Rlerror.
    Error(Error),
}

/// Why a reply could not be decoded. A client cannot go on after any of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadReply {
    /// The frame has another length than it says.
    Fatal(Fatal),
    /// A type that no request of [`super::request`] is answered by.
    Type(MessageType),
    /// The body is malformed.
    Body(Error),
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadReply::Fatal(fatal) => fatal.fmt(f),
            BadReply::Type(MessageType(number)) => {
                write!(f, "9P message of type {number} was not asked for")
            }
            BadReply::Body(error) => write!(f, "9P reply: {error}"),
        }
    }
}

impl core::error::Error for BadReply {}

/// Decodes a 9P2000.u reply that is `len` bytes long and begins with `prefix`.
/// Only the data of an Rread may be missing from `prefix`, all or some of it.
///
/// # Errors
///
/// [`BadReply`] if the frame or its body is malformed, or of a type that the
/// client of this crate never asks for.
///
/// ```
/// use ninep::wire::reply::{self, Rmessage};
///
/// let header = reply::rread_header(1, 4096);
/// let read = Rmessage::Read { count: 4096, data: None };
/// assert_eq!(reply::decode(&header, 11 + 4096), Ok((1, read)));
/// ```
pub fn decode(prefix: &[u8], len: u32) -> Result<(u16, Rmessage<'_>), BadReply> {
    let (message_type, tag, mut body) =
        split_frame(prefix, len as usize).map_err(BadReply::Fatal)?;
    if message_type == MessageType::RREAD {
        return Ok((tag, rread(body, len).map_err(BadReply::Body)?));
    }
    let message = read_body(message_type, &mut body).map_err(BadReply::Body)?;
    let message = message.ok_or(BadReply::Type(message_type))?;
    body.end().map_err(BadReply::Body)?;
    Ok((tag, message))
}

fn rread<'a>(mut body: Reader<'a>, len: u32) -> Result<Rmessage<'a>, Error> {
    let count = body.u32()?;
    let follow = len.checked_sub(RREAD_HEADER_LEN as u32).ok_or(SHORT)?;
    if count != follow {
        return Err(if count > follow { SHORT } else { TRAILING });
    }
    let here = body.rest();
    if here.len() > count as usize {
        return Err(TRAILING);
    }
    Ok(Rmessage::Read { count, data: Some(here).filter(|here| here.len() == count as usize) })
}

fn read_body<'a>(
    message_type: MessageType,
    body: &mut Reader<'a>,
) -> Result<Option<Rmessage<'a>>, Error> {
    Ok(Some(match message_type {
        MessageType::RVERSION => Rmessage::Version { msize: body.u32()?, version: body.counted()? },
        MessageType::RAUTH => Rmessage::Auth { qid: body.qid()? },
        MessageType::RATTACH => Rmessage::Attach { qid: body.qid()? },
        MessageType::RFLUSH => Rmessage::Flush,
        MessageType::RWALK => rwalk(body)?,
        MessageType::ROPEN => Rmessage::Open { qid: body.qid()?, iounit: body.u32()? },
        MessageType::RWRITE => Rmessage::Write { count: body.u32()? },
        MessageType::RCLUNK => Rmessage::Clunk,
        MessageType::RERROR => rerror(body)?,
        // A server that knows only 9P2000.L may refuse our version so.
        MessageType::RLERROR => {
            let errno = valid_errno(body.u32()?);
            Rmessage::Error(Error::with(errno, format!("errno {errno}")))
        }
        _ => return Ok(None),
    }))
}

fn rwalk<'a>(body: &mut Reader<'a>) -> Result<Rmessage<'a>, Error> {
    let names = usize::from(body.u16()?);
    if names > WALK_NAMES_MAX {
        return Err(TOO_MANY_NAMES);
    }
    for _ in 0..names {
        body.qid()?;
    }
    Ok(Rmessage::Walk { names })
}

/// More of a server's words is not kept: they end up in logs.
pub(super) const ERROR_TEXT_KEPT_MAX: usize = 256;

fn rerror<'a>(body: &mut Reader<'a>) -> Result<Rmessage<'a>, Error> {
    let text = body.counted()?;
    let text = String::from_utf8_lossy(&text[..text.len().min(ERROR_TEXT_KEPT_MAX)]).into_owned();
    // Before the version is agreed on a server may answer as in 9P2000.
    let errno = if body.rest().is_empty() { EIO.errno } else { valid_errno(body.u32()?) };
    Ok(Rmessage::Error(Error::with(errno, text)))
}
