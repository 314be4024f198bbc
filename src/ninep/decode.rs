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
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The framing is lost: the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// What the frame's size field says, if it was there.
    pub size: u32,
    /// How many bytes the frame has.
    pub len: usize,
}

impl core::fmt::Display for Fatal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
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
    let decode = |body: &mut Reader<'a>| {
        Ok(Request::Version { msize: body.u32()?, version: body.counted()? })
    };
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

impl core::fmt::Display for BadReply {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
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

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{Linux, Plan9, Unix};

    /// A frame with tag 0x0102.
    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let size = (HEADER_LEN + body.len()) as u32;
        [&size.to_le_bytes(), &[kind, 0x02, 0x01][..], body].concat()
    }

    fn one(dialect: Dialect, frame: &[u8]) -> Result<Request<'_>, Error> {
        let (tag, request) = request(Some(dialect), frame).unwrap();
        assert_eq!(tag, 0x0102);
        request
    }

    /// Fields by name, so that a layout can be read beside its manual page.
    const FID: &[u8] = &[7, 0, 0, 0];
    const OFFSET: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8];
    const COUNT: &[u8] = &[0, 0, 1, 0];
    const AB: &[u8] = &[2, 0, b'a', b'b'];
    const EMPTY: &[u8] = &[0, 0];
    const NUM: &[u8] = &[9, 0, 0, 0];
    const ONES: &[u8] = &[0xff; 64];
    const OFFSET_VALUE: u64 = 0x0807_0605_0403_0201;

    /// stat[n] of Twstat with nothing but `length` touched, and `name`.
    fn stat(unix: bool, length: &[u8], mtime: &[u8], name: &[u8]) -> Vec<u8> {
        let fixed = [&ONES[..2 + 4 + 13 + 4 + 4], mtime, length].concat();
        let mut stat = [&fixed, name, EMPTY, EMPTY, EMPTY].concat();
        if unix {
            stat.extend([EMPTY, &ONES[..12]].concat());
        }
        let size = (stat.len() as u16).to_le_bytes();
        let nstat = (stat.len() as u16 + 2).to_le_bytes();
        [FID, &nstat, &size, &stat].concat()
    }

    fn setattr(valid: u32, size: u64) -> Vec<u8> {
        let (valid, size) = (valid.to_le_bytes(), size.to_le_bytes());
        frame(TSETATTR, &[FID, &valid, &[0; 12], &size, &[0; 32]].concat())
    }

    type Case = (Dialect, Vec<u8>, Request<'static>);

    /// Every message that a dialect has, with what it decodes to.
    fn corpus() -> Vec<Case> {
        let common = [Plan9, Unix, Linux].into_iter().flat_map(common_corpus);
        let plan9 = [Plan9, Unix].into_iter().flat_map(plan9_corpus);
        common.chain(plan9).chain(linux_corpus()).chain(setattr_corpus()).collect()
    }

    fn common_corpus(dialect: Dialect) -> Vec<Case> {
        let fid = 7;
        let mut corpus = Vec::new();
        let mut add = |kind: u8, body: &[&[u8]], request: Request<'static>| {
            corpus.push((dialect, frame(kind, &body.concat()), request));
        };
        let walk = |list: Vec<&'static [u8]>| {
            let names = Names { list };
            Request::Walk { fid, newfid: 9, names }
        };
        let (user, n_uname) = if dialect == Plan9 { (&[][..], NONUNAME) } else { (NUM, 9) };
        let (afid, uname, aname) = (NOFID, &b"ab"[..], &b""[..]);
        let (offset, count) = (OFFSET_VALUE, 0x1_0000);
        let written = [3, 0, 0, 0, 1, 0, 2];
        add(TVERSION, &[NUM, AB], Request::Version { msize: 9, version: b"ab" });
        add(TAUTH, &[FID, AB, EMPTY, user], Request::Auth { afid: 7 });
        let attach = Request::Attach { fid, afid, uname, aname, n_uname };
        add(TATTACH, &[FID, &ONES[..4], AB, EMPTY, user], attach);
        add(TFLUSH, &[&[5, 0]], Request::Flush { oldtag: 5 });
        add(TWALK, &[FID, NUM, EMPTY], walk(vec![]));
        add(TWALK, &[FID, NUM, &[2, 0], AB, &[1, 0, 0xff]], walk(vec![b"ab", b"\xff"]));
        add(TREAD, &[FID, OFFSET, COUNT], Request::Read { fid, offset, count });
        add(TWRITE, &[FID, OFFSET, &written], Request::Write { fid, offset, data: &[1, 0, 2] });
        add(TCLUNK, &[FID], Request::Clunk { fid });
        add(TREMOVE, &[FID], Request::Remove { fid });
        corpus
    }

    fn plan9_corpus(dialect: Dialect) -> Vec<Case> {
        let fid = 7;
        let mut corpus = Vec::new();
        let mut add = |kind: u8, body: &[&[u8]], request: Request<'static>| {
            corpus.push((dialect, frame(kind, &body.concat()), request));
        };
        let wstat = |size, other| Request::Wstat { fid, change: Change { size, other } };
        let (unix, ones) = (dialect == Unix, &ONES[..8]);
        let extension = if unix { AB } else { &[] };
        add(TOPEN, &[FID, &[0x11]], Request::Open { fid, mode: 0x11 });
        add(TCREATE, &[FID, AB, NUM, &[1], extension], Request::Change { fid });
        add(TSTAT, &[FID], Request::Stat { fid });
        add(TWSTAT, &[&stat(unix, ones, &ONES[..4], EMPTY)], wstat(None, false));
        add(TWSTAT, &[&stat(unix, &[0; 8], NUM, EMPTY)], wstat(Some(0), false));
        add(TWSTAT, &[&stat(unix, ones, NUM, EMPTY)], wstat(None, true));
        add(TWSTAT, &[&stat(unix, &[0; 8], &ONES[..4], AB)], wstat(Some(0), true));
        corpus
    }

    fn linux_corpus() -> Vec<Case> {
        let fid = 7;
        let change = Request::Change { fid };
        let mut corpus = Vec::new();
        let mut add = |kind: u8, body: &[&[u8]], request: Request<'static>| {
            corpus.push((Linux, frame(kind, &body.concat()), request));
        };
        let (offset, count) = (OFFSET_VALUE, 0x1_0000);
        add(TSTATFS, &[FID], Request::Statfs { fid });
        add(TLOPEN, &[FID, COUNT], Request::Lopen { fid, flags: 0x1_0000 });
        add(TREADLINK, &[FID], Request::Readlink { fid });
        add(TGETATTR, &[FID, OFFSET], Request::Getattr { fid, mask: OFFSET_VALUE });
        add(TXATTRWALK, &[FID, NUM, AB], Request::Xattrwalk { fid, newfid: 9 });
        add(TREADDIR, &[FID, OFFSET, COUNT], Request::Readdir { fid, offset, count });
        add(TFSYNC, &[FID], Request::Fsync { fid });
        add(TFSYNC, &[FID, NUM], Request::Fsync { fid });
        add(TLOCK, &[FID, &[1], NUM, OFFSET, OFFSET, NUM, AB], Request::Lock { fid });
        add(TGETLOCK, &[FID, &[1], OFFSET, OFFSET, NUM, AB], Request::Getlock { fid });
        add(TLCREATE, &[FID, AB, NUM, NUM, NUM], change.clone());
        add(TSYMLINK, &[FID, AB, AB, NUM], change.clone());
        add(TMKNOD, &[FID, AB, NUM, NUM, NUM, NUM], change.clone());
        add(TRENAME, &[FID, NUM, AB], change.clone());
        add(TXATTRCREATE, &[FID, AB, OFFSET, NUM], change.clone());
        add(TLINK, &[FID, NUM, AB], change.clone());
        add(TMKDIR, &[FID, AB, NUM, NUM], change.clone());
        add(TRENAMEAT, &[FID, AB, NUM, AB], change.clone());
        add(TUNLINKAT, &[FID, AB, NUM], change);
        corpus
    }

    fn setattr_corpus() -> Vec<Case> {
        let cases = [
            (0x08, Some(5), false),
            (0x68, Some(5), false), // O_TRUNC: size, mtime, ctime
            (0x60, None, true),
            (0x09, Some(5), true),
            (0, None, false),
        ];
        let case = |(valid, size, other)| {
            let request = Request::Setattr { fid: 7, change: Change { size, other } };
            (Linux, setattr(valid, 5), request)
        };
        cases.map(case).into()
    }

    #[test]
    fn every_message_decodes() {
        for (dialect, frame, expected) in corpus() {
            assert_eq!(one(dialect, &frame), Ok(expected), "{dialect:?} {frame:?}");
        }
    }

    /// As a Linux mount of version 9p2000.L begins, with msize 128 KiB.
    #[test]
    fn a_whole_tversion_and_twalk() {
        let version = b"\x15\0\0\0\x64\xff\xff\0\0\x02\0\x08\09P2000.L";
        assert_eq!(
            request(None, version),
            Ok((NOTAG, Ok(Request::Version { msize: 0x2_0000, version: b"9P2000.L" })))
        );
        let walk = b"\x17\0\0\0\x6e\x01\0\0\0\0\0\x01\0\0\0\x01\0\x04\0data";
        let names = Names { list: vec![b"data"] };
        assert_eq!(
            request(Some(Linux), walk),
            Ok((1, Ok(Request::Walk { fid: 0, newfid: 1, names })))
        );
    }

    #[test]
    fn truncated_and_padded_messages_keep_their_tag() {
        for (dialect, whole, _) in corpus() {
            let kind = whole[4];
            for len in 0..whole.len() {
                assert!(request(Some(dialect), &whole[..len]).is_err());
                if len < HEADER_LEN || (kind == TFSYNC && len == 11) {
                    continue;
                }
                let cut = frame(kind, &whole[HEADER_LEN..len]);
                assert!(one(dialect, &cut).is_err(), "{dialect:?} {kind} cut to {len}");
            }
            if kind == TFSYNC && whole.len() == 11 {
                continue;
            }
            let padded = frame(kind, &[&whole[HEADER_LEN..], &[0]].concat());
            assert_eq!(one(dialect, &padded), Err(TRAILING), "{dialect:?} {kind}");
        }
    }

    #[test]
    fn a_frame_of_the_wrong_length_is_fatal() {
        for size in [0u32, 6, 7, 12, 1 << 31, u32::MAX] {
            let mut bytes = frame(TCLUNK, FID);
            bytes[..4].copy_from_slice(&size.to_le_bytes());
            assert_eq!(frame_len(&bytes), Some(size));
            assert_eq!(request(Some(Unix), &bytes), Err(Fatal { size, len: 11 }));
        }
        assert!(request(Some(Unix), &[6, 0, 0, 0, TCLUNK, 0]).is_err());
        assert_eq!(frame_len(&[1, 0, 0]), None);
    }

    #[test]
    fn types_of_other_dialects_and_replies_are_not_supported() {
        for (dialect, kinds) in [
            (Linux, &[TOPEN, TCREATE, TSTAT, TWSTAT, 98][..]),
            (Unix, &[TGETATTR, TLOPEN, TREADDIR, TSTATFS, 6, 106]),
            (Plan9, &[TGETATTR, RVERSION, RREAD, RERROR, 0, 255]),
        ] {
            for kind in kinds {
                assert_eq!(one(dialect, &frame(*kind, FID)), Err(EOPNOTSUPP), "{kind}");
            }
        }
    }

    #[test]
    fn only_tversion_comes_before_a_version() {
        let clunk = frame(TCLUNK, FID);
        assert_eq!(request(None, &clunk), Ok((0x0102, Err(NO_VERSION))));
        // Any string is the session's to judge, even this one.
        let odd = frame(TVERSION, &[NUM, &[2, 0, 0, 0xff]].concat());
        assert!(request(None, &odd).unwrap().1.is_ok());
    }

    #[test]
    fn names_are_bounded_and_clean() {
        let walk = |count: u16, names: &[u8]| {
            frame(TWALK, &[FID, NUM, &count.to_le_bytes(), names].concat())
        };
        let sixteen = AB.repeat(16);
        assert!(one(Linux, &walk(16, &sixteen)).is_ok());
        assert_eq!(one(Linux, &walk(17, &AB.repeat(17))), Err(TOO_MANY_NAMES));
        assert_eq!(one(Linux, &walk(0xffff, &sixteen)), Err(TOO_MANY_NAMES));
        assert_eq!(one(Linux, &walk(1, &[3, 0, b'a', b'/', b'b'])), Err(BAD_NAME));
        assert_eq!(one(Linux, &walk(1, EMPTY)), Err(BAD_NAME));
        assert_eq!(one(Linux, &walk(1, &[2, 0, b'a', 0])), Err(NUL));
        assert_eq!(one(Linux, &walk(1, &[0xff, 0xff, b'a'])), Err(SHORT));
        let write = frame(TWRITE, &[FID, OFFSET, &ONES[..4], AB].concat());
        assert_eq!(one(Unix, &write), Err(SHORT));
    }

    #[test]
    fn a_stat_record_may_not_leave_its_count() {
        let mut body = stat(false, &[0; 8], NUM, AB);
        body[4] += 1; // nstat above what is there
        assert_eq!(one(Plan9, &frame(TWSTAT, &body)), Err(SHORT));
        body[4] -= 1;
        body[6] -= 1; // size below nstat - 2
        assert_eq!(one(Plan9, &frame(TWSTAT, &body)), Err(TRAILING));
        assert!(one(Unix, &frame(TWSTAT, &stat(false, &[0; 8], NUM, AB))).is_err());
    }

    fn xorshift(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// Flips, cuts and splices; a third of them with a true size field.
    fn mutate(seed: &mut u64, bytes: &mut Vec<u8>) {
        for _ in 0..1 + xorshift(seed) % 4 {
            let at = xorshift(seed) as usize % bytes.len();
            match xorshift(seed) % 4 {
                0 => bytes[at] ^= 1 << (xorshift(seed) % 8),
                1 => bytes[at] = [0, 1, 0x7f, 0xff][xorshift(seed) as usize % 4],
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, xorshift(seed) as u8),
            }
        }
        if xorshift(seed) % 3 != 0 && bytes.len() >= 4 {
            let size = (bytes.len() as u32).to_le_bytes();
            bytes[..4].copy_from_slice(&size);
        }
    }

    fn borrowed_len(request: &Request<'_>) -> usize {
        match request {
            Request::Version { version, .. } => version.len(),
            Request::Attach { uname, aname, .. } => uname.len() + aname.len(),
            Request::Walk { names, .. } => names.list.iter().map(|name| name.len() + 2).sum(),
            Request::Write { data, .. } => data.len(),
            _ => 0,
        }
    }

    #[test]
    fn mutated_requests_neither_panic_nor_outgrow_their_frame() {
        let (mut seed, mut good) = (0x9e37_79b9_7f4a_7c15, 0);
        for (_, original, _) in corpus() {
            for _ in 0..300 {
                let mut bytes = original.clone();
                mutate(&mut seed, &mut bytes);
                for dialect in [None, Some(Plan9), Some(Unix), Some(Linux)] {
                    if let Ok((_, Ok(request))) = request(dialect, &bytes) {
                        assert!(borrowed_len(&request) <= bytes.len() - HEADER_LEN);
                        good += 1;
                    }
                }
            }
        }
        assert!(good > 1000, "the mutations are too coarse to test anything: {good}");
    }

    const QID: &[u8] = &[0x80, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
    const QID_VALUE: Qid = Qid { kind: QTDIR, version: 1, path: 2 };

    fn replies() -> Vec<(Vec<u8>, Rmessage<'static>)> {
        vec![
            (frame(RVERSION, &[NUM, AB].concat()), Rmessage::Version { msize: 9, version: b"ab" }),
            (frame(RATTACH, QID), Rmessage::Attach { qid: QID_VALUE }),
            (frame(RFLUSH, &[]), Rmessage::Flush),
            (frame(RWALK, &[&[2, 0], QID, QID].concat()), Rmessage::Walk { names: 2 }),
            (frame(ROPEN, &[QID, NUM].concat()), Rmessage::Open { qid: QID_VALUE, iounit: 9 }),
            (
                frame(RREAD, &[3, 0, 0, 0, 1, 2, 3]),
                Rmessage::Read { count: 3, data: Some(&[1, 2, 3]) },
            ),
            (frame(RREAD, &[0; 4]), Rmessage::Read { count: 0, data: Some(&[]) }),
            (frame(RWRITE, NUM), Rmessage::Write { count: 9 }),
            (frame(RCLUNK, &[]), Rmessage::Clunk),
            (frame(RERROR, &[AB, &[2, 0, 0, 0]].concat()), Rmessage::Error(Error::new(2, "ab"))),
        ]
    }

    fn whole(frame: &[u8]) -> Result<(u16, Rmessage<'_>), BadReply> {
        reply(frame, frame.len() as u32)
    }

    #[test]
    fn every_reply_decodes_and_no_cut_one_does() {
        for (bytes, expected) in replies() {
            assert_eq!(whole(&bytes), Ok((0x0102, expected)));
            let kind = bytes[4];
            for len in 0..bytes.len() {
                assert!(whole(&bytes[..len]).is_err());
                // An Rerror without errno is 9P2000's own.
                if len < HEADER_LEN || (kind == RERROR && len == 11) {
                    continue;
                }
                assert!(whole(&frame(kind, &bytes[HEADER_LEN..len])).is_err(), "{kind} {len}");
            }
            assert!(whole(&frame(kind, &[&bytes[HEADER_LEN..], &[0]].concat())).is_err());
        }
    }

    #[test]
    fn rread_is_decoded_from_its_header_alone() {
        let head = [11, 0, 1, 0, RREAD, 2, 1, 0, 0, 1, 0];
        let message = Rmessage::Read { count: 0x1_0000, data: None };
        assert_eq!(reply(&head, 0x1_000b), Ok((0x0102, message.clone())));
        assert_eq!(reply(&[&head[..], &[1, 2]].concat(), 0x1_000b), Ok((0x0102, message)));
        assert!(matches!(reply(&head, 0x1_000c), Err(BadReply::Fatal(_))));
        assert!(matches!(reply(&head[..10], 0x1_000b), Err(BadReply::Body(_))));
        let mut lying = head;
        lying[7] = 1;
        assert_eq!(reply(&lying, 0x1_000b), Err(BadReply::Body(SHORT)));
        // Any other reply has to be there whole.
        let rwalk = frame(RWALK, &[&[1, 0], QID].concat());
        assert!(reply(&rwalk[..11], rwalk.len() as u32).is_err());
    }

    #[test]
    fn odd_errors_still_say_something() {
        let text = |frame: &[u8]| match whole(frame) {
            Ok((_, Rmessage::Error(error))) => (error.errno, error.text.into_owned()),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(&frame(RERROR, AB)), (5, "ab".into()));
        assert_eq!(text(&frame(RERROR, &[AB, &[0; 4]].concat())), (5, "ab".into()));
        assert_eq!(text(&frame(RLERROR, NUM)), (9, "errno 9".into()));
        let long = [&[0x2c, 1][..], &[0xc3; 300], NUM].concat();
        assert_eq!(text(&frame(RERROR, &long)).1.chars().count(), ERROR_TEXT_KEPT_MAX);
        assert_eq!(whole(&frame(TREAD + 9, &[])), Err(BadReply::Type(125)));
    }

    #[test]
    fn mutated_replies_never_panic() {
        let mut seed = 42;
        for (original, _) in replies() {
            for _ in 0..2000 {
                let mut bytes = original.clone();
                mutate(&mut seed, &mut bytes);
                let len = bytes.len() as u32;
                if let Ok((_, Rmessage::Read { data: Some(data), .. })) = reply(&bytes, len) {
                    assert!(data.len() + RREAD_HEADER_LEN == bytes.len());
                }
                let cut = bytes.len().min(RREAD_HEADER_LEN);
                let _ = reply(&bytes[..cut], len);
            }
        }
    }
}
