//! Frames to values: requests for the server, replies for our client.
//!
//! Knows every layout of the three dialects and checks every length before it
//! believes it; refuses to know fids, tags in use, or what a session agreed on
//! beyond its dialect. A frame whose length is wrong is `Fatal` (the stream has
//! lost its framing); a good frame with a bad body still has a tag, so its
//! sender gets an error reply and the connection lives.
//!
//! One knowing deviation from intro(5), which wants UTF-8: served file names
//! are whatever bytes the file system holds, and a name that cannot be asked
//! for cannot be fetched. So strings may hold any bytes but NUL, and names in
//! a walk any bytes but NUL and '/'.

use super::message::kind::*;
use super::message::*;

/// The framing is lost: the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// What the frame's size field says, if it was there.
    pub size: u32,
    /// How many bytes the frame has.
    pub len: usize,
}

impl std::fmt::Display for Fatal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "9P frame of {} bytes says that its size is {}", self.len, self.size)
    }
}

const SHORT: Error = Error::new(22, "message ends within a field");
const TRAILING: Error = Error::new(22, "bytes after the end of the message");
const NUL: Error = Error::new(22, "NUL in a string");
const BAD_NAME: Error = Error::new(22, "bad name in walk");
const TOO_MANY_NAMES: Error = Error::new(22, "more than 16 names in walk");
const NO_VERSION: Error = Error::new(71, "no protocol version agreed on");

/// The size field, once its four bytes are there. Compare it with msize before
/// waiting for the rest.
pub fn frame_len(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|size| u32::from_le_bytes(*size))
}

/// Decodes one whole frame. `dialect` is `None` until a version is agreed on,
/// when nothing but Tversion is valid.
pub fn request(
    dialect: Option<Dialect>,
    frame: &[u8],
) -> Result<(u16, Result<Request<'_>, Error>), Fatal> {
    let (kind, tag) = header(frame, frame.len())?;
    let mut body = Reader { rest: &frame[HEADER_LEN..] };
    let request = match (kind, dialect) {
        (TVERSION, _) => version(&mut body),
        (_, None) => return Ok((tag, Err(NO_VERSION))),
        (_, Some(Dialect::Linux)) => {
            common(kind, true, &mut body).or_else(|| linux(kind, &mut body))
        }
        (_, Some(dialect)) => {
            let unix = dialect == Dialect::Unix;
            common(kind, unix, &mut body).or_else(|| plan9(kind, unix, &mut body))
        }
    };
    // Types of another dialect, of no dialect, and R-types sent to us.
    let Some(request) = request else { return Ok((tag, Err(EOPNOTSUPP))) };
    Ok((tag, request.and_then(|request| body.end().map(|()| request))))
}

/// Type and tag of a frame that is `len` bytes long, of which `head` is there.
fn header(head: &[u8], len: usize) -> Result<(u8, u16), Fatal> {
    let size = frame_len(head).unwrap_or(0);
    if head.len() < HEADER_LEN || size as usize != len {
        return Err(Fatal { size, len });
    }
    Ok((head[4], u16::from_le_bytes([head[5], head[6]])))
}

type Decoded<'a> = Option<Result<Request<'a>, Error>>;

fn version<'a>(body: &mut Reader<'a>) -> Decoded<'a> {
    // Not `string`: whatever the version says, the answer is Rversion
    // "unknown" and never an error (version(5)).
    let decode =
        |body: &mut Reader<'a>| Ok(Request::Version { msize: body.u32()?, version: body.counted()? });
    Some(decode(body))
}

/// The messages that all three dialects have; `None` if it is none of them.
/// 9P2000.u and .L add a numeric user to Tauth and Tattach.
fn common<'a>(kind: u8, n_uname: bool, body: &mut Reader<'a>) -> Decoded<'a> {
    let mut decode = || {
        Ok(Some(match kind {
            TAUTH => auth(n_uname, body)?,
            TATTACH => attach(n_uname, body)?,
            TFLUSH => Request::Flush { oldtag: body.u16()? },
            TWALK => walk(body)?,
            TREAD => Request::Read { fid: body.u32()?, offset: body.u64()?, count: body.u32()? },
            TWRITE => Request::Write { fid: body.u32()?, offset: body.u64()?, data: body.data()? },
            TCLUNK => Request::Clunk { fid: body.u32()? },
            TREMOVE => Request::Remove { fid: body.u32()? },
            _ => return Ok(None),
        }))
    };
    decode().transpose()
}

/// The messages that 9P2000 and 9P2000.u have and 9P2000.L has not.
fn plan9<'a>(kind: u8, unix: bool, body: &mut Reader<'a>) -> Decoded<'a> {
    let mut decode = || {
        Ok(Some(match kind {
            TOPEN => Request::Open { fid: body.u32()?, mode: body.u8()? },
            TCREATE if unix => change(&[STRING, 4, 1, STRING], body)?,
            TCREATE => change(&[STRING, 4, 1], body)?,
            TSTAT => Request::Stat { fid: body.u32()? },
            TWSTAT => wstat(unix, body)?,
            _ => return Ok(None),
        }))
    };
    decode().transpose()
}

/// The messages that only 9P2000.L has.
fn linux<'a>(kind: u8, body: &mut Reader<'a>) -> Decoded<'a> {
    let mut decode = || {
        Ok(Some(match kind {
            TSTATFS => Request::Statfs { fid: body.u32()? },
            TLOPEN => Request::Lopen { fid: body.u32()?, flags: body.u32()? },
            TREADLINK => Request::Readlink { fid: body.u32()? },
            TGETATTR => Request::Getattr { fid: body.u32()?, mask: body.u64()? },
            TSETATTR => setattr(body)?,
            TXATTRWALK => xattrwalk(body)?,
            TREADDIR => {
                Request::Readdir { fid: body.u32()?, offset: body.u64()?, count: body.u32()? }
            }
            TFSYNC => fsync(body)?,
            TLOCK => Request::Lock { fid: body.fid_then(&[1, 4, 8, 8, 4, STRING])? },
            TGETLOCK => Request::Getlock { fid: body.fid_then(&[1, 8, 8, 4, STRING])? },
            TLCREATE => change(&[STRING, 4, 4, 4], body)?,
            TSYMLINK => change(&[STRING, STRING, 4], body)?,
            TMKNOD => change(&[STRING, 4, 4, 4, 4], body)?,
            TRENAME => change(&[4, STRING], body)?,
            TXATTRCREATE => change(&[STRING, 8, 4], body)?,
            TLINK => change(&[4, STRING], body)?,
            TMKDIR => change(&[STRING, 4, 4], body)?,
            TRENAMEAT => change(&[STRING, 4, STRING], body)?,
            TUNLINKAT => change(&[STRING, 4], body)?,
            _ => return Ok(None),
        }))
    };
    decode().transpose()
}

fn auth<'a>(n_uname: bool, body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    let afid = body.u32()?;
    body.skip(if n_uname { &[STRING, STRING, 4] } else { &[STRING, STRING] })?;
    Ok(Request::Auth { afid })
}

fn attach<'a>(n_uname: bool, body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    Ok(Request::Attach {
        fid: body.u32()?,
        afid: body.u32()?,
        uname: body.string()?,
        aname: body.string()?,
        n_uname: if n_uname { body.u32()? } else { NONUNAME },
    })
}

fn walk<'a>(body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    let (fid, newfid) = (body.u32()?, body.u32()?);
    let count = usize::from(body.u16()?);
    if count > WALK_NAMES_MAX {
        return Err(TOO_MANY_NAMES);
    }
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        let name = body.string()?;
        if name.is_empty() || name.contains(&b'/') {
            return Err(BAD_NAME);
        }
        list.push(name);
    }
    Ok(Request::Walk { fid, newfid, names: Names { list } })
}

/// A request of which only the fid matters, because it would change the tree.
fn change<'a>(fields: &[u8], body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    Ok(Request::Change { fid: body.fid_then(fields)? })
}

fn xattrwalk<'a>(body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    let (fid, newfid) = (body.u32()?, body.u32()?);
    body.skip(&[STRING])?;
    Ok(Request::Xattrwalk { fid, newfid })
}

/// Clients older than the datasync field leave it out (diod issue 118).
fn fsync<'a>(body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    let fid = body.u32()?;
    if !body.rest.is_empty() {
        body.skip(&[4])?;
    }
    Ok(Request::Fsync { fid })
}

/// Twstat: all ones, or an empty string, is "don't touch" (stat(5)). A Twstat
/// that touches nothing is fsync to Linux.
fn wstat<'a>(unix: bool, body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    let fid = body.u32()?;
    let mut record = Reader { rest: body.counted()? };
    let mut stat = Reader { rest: record.counted()? };
    record.end()?;
    let mut other = !all_ones(stat.take(2 + 4 + 13 + 4)?); // type dev qid mode
    let times = !all_ones(stat.take(4 + 4)?);
    let size = Some(stat.u64()?).filter(|size| *size != u64::MAX);
    for _name_uid_gid_muid in 0..4 {
        other |= !stat.string()?.is_empty();
    }
    if unix {
        other |= !stat.string()?.is_empty();
        other |= !all_ones(stat.take(3 * 4)?);
    }
    stat.end()?;
    // A truncating open brings the times along, and they are no news to a
    // server that sets them itself.
    Ok(Request::Wstat { fid, change: Change { size, other: other || (times && size.is_none()) } })
}

/// P9_ATTR_SIZE; _ATIME, _MTIME, _CTIME, _ATIME_SET, _MTIME_SET (net/9p/9p.h).
const SETATTR_SIZE: u32 = 0x008;
const SETATTR_TIMES: u32 = 0x1f0;

fn setattr<'a>(body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    let (fid, valid) = (body.u32()?, body.u32()?);
    body.skip(&[4, 4, 4])?; // mode uid gid
    let size = Some(body.u64()?).filter(|_| valid & SETATTR_SIZE != 0);
    body.skip(&[8, 8, 8, 8])?; // atime mtime
    let beside = if size.is_some() { SETATTR_SIZE | SETATTR_TIMES } else { 0 };
    Ok(Request::Setattr { fid, change: Change { size, other: valid & !beside != 0 } })
}

fn all_ones(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xff)
}

/// A reply, as far as our client asks for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rmessage<'a> {
    Version {
        msize: u32,
        version: &'a [u8],
    },
    Attach {
        qid: Qid,
    },
    Flush,
    /// How many of the names were walked.
    Walk {
        names: usize,
    },
    Open {
        qid: Qid,
        iounit: u32,
    },
    /// The data, if the whole frame was there; `count` says how many anyway.
    Read {
        count: u32,
        data: Option<&'a [u8]>,
    },
    Write {
        count: u32,
    },
    Clunk,
    Error(Error),
}

/// Why a reply could not be decoded. A client cannot go on after any of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadReply {
    Fatal(Fatal),
    /// A type that our client never asks for.
    Type(u8),
    Body(Error),
}

impl std::fmt::Display for BadReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadReply::Fatal(fatal) => fatal.fmt(f),
            BadReply::Type(kind) => write!(f, "9P message of type {kind} was not asked for"),
            BadReply::Body(error) => write!(f, "9P reply: {}", error.text),
        }
    }
}

/// Decodes a 9P2000.u reply that is `len` bytes long and begins with `head`.
/// Only the data of Rread may be missing from `head`.
pub fn reply(head: &[u8], len: u32) -> Result<(u16, Rmessage<'_>), BadReply> {
    let (kind, tag) = header(head, len as usize).map_err(BadReply::Fatal)?;
    let mut body = Reader { rest: &head[HEADER_LEN..] };
    let message = match kind {
        RREAD => rread(head, len),
        _ => reply_body(kind, &mut body).and_then(|message| {
            let Some(message) = message else { return Ok(None) };
            body.end().map(|()| Some(message))
        }),
    };
    match message {
        Ok(Some(message)) => Ok((tag, message)),
        Ok(None) => Err(BadReply::Type(kind)),
        Err(error) => Err(BadReply::Body(error)),
    }
}

fn rread(head: &[u8], len: u32) -> Result<Option<Rmessage<'_>>, Error> {
    let mut body = Reader { rest: &head[HEADER_LEN..] };
    let count = body.u32()?;
    let follow = len.checked_sub(RREAD_HEADER_LEN as u32).ok_or(SHORT)?;
    if count != follow {
        return Err(if count > follow { SHORT } else { TRAILING });
    }
    let data = Some(body.rest).filter(|data| data.len() == count as usize);
    if data.is_none() && body.rest.len() > count as usize {
        return Err(TRAILING);
    }
    Ok(Some(Rmessage::Read { count, data }))
}

fn reply_body<'a>(kind: u8, body: &mut Reader<'a>) -> Result<Option<Rmessage<'a>>, Error> {
    Ok(Some(match kind {
        RVERSION => Rmessage::Version { msize: body.u32()?, version: body.counted()? },
        RATTACH => Rmessage::Attach { qid: body.qid()? },
        RFLUSH => Rmessage::Flush,
        RWALK => rwalk(body)?,
        ROPEN => Rmessage::Open { qid: body.qid()?, iounit: body.u32()? },
        RWRITE => Rmessage::Write { count: body.u32()? },
        RCLUNK => Rmessage::Clunk,
        RERROR => rerror(body)?,
        // A server that knows only 9P2000.L may refuse our version so.
        RLERROR => {
            let errno = errno_of(body.u32()?);
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
const ERROR_TEXT_KEPT_MAX: usize = 256;

fn rerror<'a>(body: &mut Reader<'a>) -> Result<Rmessage<'a>, Error> {
    let text = body.counted()?;
    let text = String::from_utf8_lossy(&text[..text.len().min(ERROR_TEXT_KEPT_MAX)]).into_owned();
    // Before the version is agreed on a server may answer as in 9P2000.
    let errno = if body.rest.is_empty() { EIO.errno } else { errno_of(body.u32()?) };
    Ok(Rmessage::Error(Error::with(errno, text)))
}

/// Linux' errnos are 1..4095; anything else says only that it failed.
fn errno_of(ecode: u32) -> u16 {
    if (1..4096).contains(&ecode) { ecode as u16 } else { EIO.errno }
}

/// In a list of fields: a string; any other number is that many bytes.
const STRING: u8 = 0;

/// What is left of a message. Every step checks that it is there.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (field, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    fn qid(&mut self) -> Result<Qid, Error> {
        Ok(Qid { kind: self.u8()?, version: self.u32()?, path: self.u64()? })
    }

    /// len[2], then that many bytes of any kind.
    fn counted(&mut self) -> Result<&'a [u8], Error> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    fn string(&mut self) -> Result<&'a [u8], Error> {
        let string = self.counted()?;
        if string.contains(&0) { Err(NUL) } else { Ok(string) }
    }

    /// count[4], then that many bytes.
    fn data(&mut self) -> Result<&'a [u8], Error> {
        let count = self.u32()?;
        self.take(count as usize)
    }

    fn skip(&mut self, fields: &[u8]) -> Result<(), Error> {
        for field in fields {
            match *field {
                STRING => self.string()?,
                len => self.take(usize::from(len))?,
            };
        }
        Ok(())
    }

    fn fid_then(&mut self, fields: &[u8]) -> Result<u32, Error> {
        let fid = self.u32()?;
        self.skip(fields)?;
        Ok(fid)
    }

    fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(TRAILING) }
    }
}
