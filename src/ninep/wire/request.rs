//! Requests: decoded in every dialect, for a server; encoded in 9P2000.u, for
//! the client of this crate.
//!
//! Checks every length before it believes it. The encoders refuse to know
//! msize: whoever asks for a frame keeps it small enough (only names are cut
//! here, to limits that no file system reaches).

use super::frame::{Fatal, put_frame, split_frame};
use super::reader::{Reader, Skip};
use super::record::{LINK_LEN_MAX, NAME_LEN_MAX, read_setattr, read_wstat};
use super::writer::{put_string, put_u16, put_u32, put_u64};
use crate::error::{EOPNOTSUPP, Error};
use crate::message::{Dialect, NOFID, NONUNAME, NOTAG, Request, WALK_NAMES_MAX};
use crate::message_type::MessageType;
use Skip::{Bytes, Text};
use alloc::vec::Vec;

pub(super) const BAD_NAME: Error = Error::new(22, "bad name in walk");
pub(super) const TOO_MANY_NAMES: Error = Error::new(22, "more than 16 names in walk");
pub(super) const NO_VERSION: Error = Error::new(71, "no protocol version agreed on");

/// Decodes one whole frame to its tag and its request. `dialect` is `None` until
/// a version is agreed on, when nothing but Tversion is valid.
///
/// The inner error is what the sender is to be answered: the body is malformed,
/// or this dialect has no such request.
///
/// # Errors
///
/// [`Fatal`] if `frame` is not as long as its size field says, or shorter than a
/// header.
///
/// ```
/// use ninep::{Dialect, Request, wire::request};
///
/// let tread = [23, 0, 0, 0, 116, 1, 0, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0];
/// let read = Request::Read { fid: 7, offset: 9, count: 4096 };
/// assert_eq!(request::decode(Some(Dialect::Unix), &tread), Ok((1, Ok(read))));
///
/// // A message that ends within a field still has a tag to answer to ...
/// let cut = [8, 0, 0, 0, 116, 1, 0, 7];
/// assert!(matches!(request::decode(Some(Dialect::Unix), &cut), Ok((1, Err(_)))));
/// // ... a frame of another length than it says has nothing to go by.
/// assert!(request::decode(Some(Dialect::Unix), &tread[..20]).is_err());
/// ```
pub fn decode(
    dialect: Option<Dialect>,
    frame: &[u8],
) -> Result<(u16, Result<Request<'_>, Error>), Fatal> {
    let (message_type, tag, mut body) = split_frame(frame, frame.len())?;
    let request = match (message_type, dialect) {
        (MessageType::TVERSION, _) => version(&mut body).map(Some),
        (_, None) => Err(NO_VERSION),
        (_, Some(dialect)) => in_dialect(dialect, message_type, &mut body),
    };
    let request = match request {
        Ok(Some(request)) => body.end().map(|()| request),
        // A type of another dialect, of no dialect, or an R-message.
        Ok(None) => Err(EOPNOTSUPP),
        Err(error) => Err(error),
    };
    Ok((tag, request))
}

/// A request, or `None` if its type is not of this kind.
type Decoded<'a> = Result<Option<Request<'a>>, Error>;

fn in_dialect<'a>(
    dialect: Dialect,
    message_type: MessageType,
    body: &mut Reader<'a>,
) -> Decoded<'a> {
    if let Some(request) = common(dialect, message_type, body)? {
        return Ok(Some(request));
    }
    match dialect {
        Dialect::Plan9 | Dialect::Unix => plan9(dialect, message_type, body),
        Dialect::Linux => linux(message_type, body),
    }
}

/// Not `string`: whatever the version says, the answer is Rversion "unknown"
/// and never an error (version(5)).
fn version<'a>(body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    Ok(Request::Version { msize: body.u32()?, version: body.counted()? })
}

/// The messages that all three dialects have.
fn common<'a>(dialect: Dialect, message_type: MessageType, body: &mut Reader<'a>) -> Decoded<'a> {
    Ok(Some(match message_type {
        MessageType::TAUTH => auth(dialect, body)?,
        MessageType::TATTACH => attach(dialect, body)?,
        MessageType::TFLUSH => Request::Flush { oldtag: body.u16()? },
        MessageType::TWALK => walk(body)?,
        MessageType::TREAD => {
            Request::Read { fid: body.u32()?, offset: body.u64()?, count: body.u32()? }
        }
        MessageType::TWRITE => {
            Request::Write { fid: body.u32()?, offset: body.u64()?, data: body.data()? }
        }
        MessageType::TCLUNK => Request::Clunk { fid: body.u32()? },
        MessageType::TREMOVE => Request::Remove { fid: body.u32()? },
        _ => return Ok(None),
    }))
}

/// The messages that 9P2000 and 9P2000.u have and 9P2000.L has not.
fn plan9<'a>(dialect: Dialect, message_type: MessageType, body: &mut Reader<'a>) -> Decoded<'a> {
    Ok(Some(match message_type {
        MessageType::TOPEN => Request::Open { fid: body.u32()?, mode: body.u8()? },
        // 9P2000.u adds an extension: the target of a link, the number of a device.
        MessageType::TCREATE if dialect == Dialect::Unix => {
            change_tree(&[Text, Bytes(4), Bytes(1), Text], body)?
        }
        MessageType::TCREATE => change_tree(&[Text, Bytes(4), Bytes(1)], body)?,
        MessageType::TSTAT => Request::Stat { fid: body.u32()? },
        MessageType::TWSTAT => {
            Request::Wstat { fid: body.u32()?, change: read_wstat(dialect, body)? }
        }
        _ => return Ok(None),
    }))
}

/// The messages that only 9P2000.L has.
fn linux<'a>(message_type: MessageType, body: &mut Reader<'a>) -> Decoded<'a> {
    Ok(Some(match message_type {
        MessageType::TSTATFS => Request::Statfs { fid: body.u32()? },
        MessageType::TLOPEN => Request::Lopen { fid: body.u32()?, flags: body.u32()? },
        MessageType::TREADLINK => Request::Readlink { fid: body.u32()? },
        MessageType::TGETATTR => Request::Getattr { fid: body.u32()?, mask: body.u64()? },
        MessageType::TSETATTR => Request::Setattr { fid: body.u32()?, change: read_setattr(body)? },
        MessageType::TXATTRWALK => xattrwalk(body)?,
        MessageType::TREADDIR => {
            Request::Readdir { fid: body.u32()?, offset: body.u64()?, count: body.u32()? }
        }
        MessageType::TFSYNC => fsync(body)?,
        // type flags start length proc_id client_id
        MessageType::TLOCK => {
            let fields = [Bytes(1), Bytes(4), Bytes(8), Bytes(8), Bytes(4), Text];
            Request::Lock { fid: body.fid_then(&fields)? }
        }
        // type start length proc_id client_id
        MessageType::TGETLOCK => {
            let fields = [Bytes(1), Bytes(8), Bytes(8), Bytes(4), Text];
            Request::Getlock { fid: body.fid_then(&fields)? }
        }
        _ => return linux_change(message_type, body),
    }))
}

/// The messages of 9P2000.L that would change the tree.
fn linux_change<'a>(message_type: MessageType, body: &mut Reader<'a>) -> Decoded<'a> {
    let fields: &[Skip] = match message_type {
        MessageType::TLCREATE => &[Text, Bytes(4), Bytes(4), Bytes(4)],
        MessageType::TSYMLINK => &[Text, Text, Bytes(4)],
        MessageType::TMKNOD => &[Text, Bytes(4), Bytes(4), Bytes(4), Bytes(4)],
        MessageType::TRENAME | MessageType::TLINK => &[Bytes(4), Text],
        MessageType::TXATTRCREATE => &[Text, Bytes(8), Bytes(4)],
        MessageType::TMKDIR => &[Text, Bytes(4), Bytes(4)],
        MessageType::TRENAMEAT => &[Text, Bytes(4), Text],
        MessageType::TUNLINKAT => &[Text, Bytes(4)],
        _ => return Ok(None),
    };
    change_tree(fields, body).map(Some)
}

fn change_tree<'a>(fields: &[Skip], body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    Ok(Request::ChangeTree { fid: body.fid_then(fields)? })
}

/// 9P2000.u and .L add a numeric user.
fn auth<'a>(dialect: Dialect, body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    let (afid, uname, aname) = (body.u32()?, body.string()?, body.string()?);
    if dialect != Dialect::Plan9 {
        body.skip(&[Bytes(4)])?;
    }
    Ok(Request::Auth { afid, uname, aname })
}

fn attach<'a>(dialect: Dialect, body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    Ok(Request::Attach {
        fid: body.u32()?,
        afid: body.u32()?,
        uname: body.string()?,
        aname: body.string()?,
        n_uname: if dialect == Dialect::Plan9 { NONUNAME } else { body.u32()? },
    })
}

fn walk<'a>(body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    let (fid, newfid) = (body.u32()?, body.u32()?);
    let count = usize::from(body.u16()?);
    if count > WALK_NAMES_MAX {
        return Err(TOO_MANY_NAMES);
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let name = body.string()?;
        if name.is_empty() || name.contains(&b'/') {
            return Err(BAD_NAME);
        }
        names.push(name);
    }
    Ok(Request::Walk { fid, newfid, names })
}

fn xattrwalk<'a>(body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    let (fid, newfid) = (body.u32()?, body.u32()?);
    body.skip(&[Text])?;
    Ok(Request::Xattrwalk { fid, newfid })
}

/// Clients older than the datasync field leave it out (diod issue 118).
fn fsync<'a>(body: &mut Reader<'a>) -> Result<Request<'a>, Error> {
    let fid = body.u32()?;
    if !body.rest().is_empty() {
        body.skip(&[Bytes(4)])?;
    }
    Ok(Request::Fsync { fid })
}

/// Appends a Tversion, which has the tag [`NOTAG`].
pub fn tversion(msize: u32, dialect: Dialect, out: &mut Vec<u8>) {
    put_frame(out, MessageType::TVERSION, NOTAG, |out| {
        put_u32(out, msize);
        put_string(out, dialect.version(), NAME_LEN_MAX);
    });
}

/// Appends a Tauth of `afid` for the tree `aname`. `uname` is cut to 255 bytes, `aname` to 4095.
pub fn tauth(tag: u16, afid: u32, uname: &[u8], aname: &[u8], out: &mut Vec<u8>) {
    put_frame(out, MessageType::TAUTH, tag, |out| {
        put_u32(out, afid);
        put_string(out, uname, NAME_LEN_MAX);
        put_string(out, aname, LINK_LEN_MAX);
        put_u32(out, NONUNAME);
    });
}

/// Appends a Tattach of `fid` to the tree `aname`, without authentication.
/// `uname` is cut to 255 bytes, `aname` to 4095.
pub fn tattach(tag: u16, fid: u32, uname: &[u8], aname: &[u8], out: &mut Vec<u8>) {
    tattach_by(tag, fid, NOFID, uname, aname, out);
}

/// The same by who has proved with `afid` who he is.
pub fn tattach_by(tag: u16, fid: u32, afid: u32, uname: &[u8], aname: &[u8], out: &mut Vec<u8>) {
    put_frame(out, MessageType::TATTACH, tag, |out| {
        put_u32(out, fid);
        put_u32(out, afid);
        put_string(out, uname, NAME_LEN_MAX);
        put_string(out, aname, LINK_LEN_MAX);
        put_u32(out, NONUNAME);
    });
}

/// A longer name than `NAME_LEN_MAX` cannot exist on the file systems that are
/// served. It is cut to one byte above that, so that the server refuses it too.
pub(super) const WALK_NAME_LEN_MAX: usize = NAME_LEN_MAX + 1;

/// Appends a Twalk from `fid` along `names`. A name of more than 255 bytes is cut
/// to 256.
///
/// # Panics
///
/// In debug builds if there are more than [`WALK_NAMES_MAX`] names, which every
/// server refuses.
pub fn twalk(tag: u16, fid: u32, newfid: u32, names: &[&[u8]], out: &mut Vec<u8>) {
    debug_assert!(names.len() <= WALK_NAMES_MAX);
    put_frame(out, MessageType::TWALK, tag, |out| {
        put_u32(out, fid);
        put_u32(out, newfid);
        put_u16(out, names.len() as u16);
        names.iter().for_each(|name| put_string(out, name, WALK_NAME_LEN_MAX));
    });
}

/// Appends a Topen. `mode` is that of open(5).
pub fn topen(tag: u16, fid: u32, mode: u8, out: &mut Vec<u8>) {
    put_frame(out, MessageType::TOPEN, tag, |out| {
        put_u32(out, fid);
        out.push(mode);
    });
}

/// Appends a Tread of at most `count` bytes from byte `offset` on.
///
/// ```
/// use ninep::{Dialect, Request, wire::request};
///
/// let mut frame = Vec::new();
/// request::tread(1, 7, 0, 4096, &mut frame);
/// let (tag, read) = request::decode(Some(Dialect::Unix), &frame).unwrap();
/// assert_eq!((tag, read), (1, Ok(Request::Read { fid: 7, offset: 0, count: 4096 })));
/// ```
pub fn tread(tag: u16, fid: u32, offset: u64, count: u32, out: &mut Vec<u8>) {
    put_frame(out, MessageType::TREAD, tag, |out| {
        put_u32(out, fid);
        put_u64(out, offset);
        put_u32(out, count);
    });
}

/// Appends a Twrite of `data` to the bytes from `offset` on.
pub fn twrite(tag: u16, fid: u32, offset: u64, data: &[u8], out: &mut Vec<u8>) {
    put_frame(out, MessageType::TWRITE, tag, |out| {
        put_u32(out, fid);
        put_u64(out, offset);
        put_u32(out, data.len() as u32);
        out.extend_from_slice(data);
    });
}

/// Appends a Tclunk.
pub fn tclunk(tag: u16, fid: u32, out: &mut Vec<u8>) {
    put_frame(out, MessageType::TCLUNK, tag, |out| put_u32(out, fid));
}

/// Appends a Tflush of the request that has the tag `oldtag`.
pub fn tflush(tag: u16, oldtag: u16, out: &mut Vec<u8>) {
    put_frame(out, MessageType::TFLUSH, tag, |out| put_u16(out, oldtag));
}
