//! Short talks with a master, for who has no conversation with it: a line into its log, what a
//! node is to have, and what is for one alone.
//!
//! Blocks, for as long as the caller says. Refuses to know what is said.

use super::line::{CONNECT_TIME_MAX, Line};
use crate::key_file;
use ninep::client::{Event, Frame, OpenMode, Token};
use peer::alone::{BYTES_MAX, HEAD_LEN, Head};
use peer::auth::{Key, Random};
use peer::caller::{ALONE, Caller, Credentials};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

/// Longest frame either way, and bytes asked for at a time.
const MSIZE: u32 = 40_960;
const COUNT: u32 = MSIZE - ninep::IO_HEADER_LEN;
/// Bytes of the longest answer.
const ANSWER_LEN_MAX: usize = 65_536;
/// The same of what is for one node alone, and of its seals; and what it may take to read it.
const ALONE_LEN_MAX: usize = BYTES_MAX + BYTES_MAX / 64;
/// As much of it as the first answer brings, and its head is in that.
const BEGIN_LEN: usize = 2 * COUNT as usize;
const ALONE_TIME_MAX: Duration = Duration::from_secs(60);

const WRITTEN: Token = Token(1);
const NODE: &[&[u8]] = &[b".xget", b"node"];

/// Calls somebody, with the key of the cluster where there is one.
pub fn caller(msize: u32, aname: &'static [u8], key: Option<&Key>) -> io::Result<Caller> {
    let seed = key.map(|_| key_file::seed()).transpose().map_err(io::Error::other)?;
    let mut credentials =
        key.zip(seed).map(|(key, seed)| Credentials::new(key.clone(), Random::new(seed)));
    Ok(Caller::attached(msize, aname, credentials.as_mut()))
}

/// Puts one line into a master's log, within `most`.
pub fn write_log(
    master: SocketAddr,
    key: Option<&Key>,
    line: &str,
    most: Duration,
) -> io::Result<()> {
    exchange(master, key, &[b"log"], line, most).map(|_| ())
}

/// Says lines on a master's `/.xget/node` and gives what it answers, all within `most`
/// (`peer::control`: `NodeMessage`, `NodeAnswer`). A line of who the node is comes first;
/// a line of how far it is may follow it.
///
/// # Errors
/// `NotFound` from a master that knows no nodes.
pub fn ask_node(
    master: SocketAddr,
    key: Option<&Key>,
    lines: &str,
    most: Duration,
) -> io::Result<String> {
    let answer = exchange(master, key, NODE, lines, most)?;
    String::from_utf8(answer).map_err(|_| ErrorKind::InvalidData.into())
}

/// What is for one node alone, of a master: by that node's key, as it travels
/// ([`peer::alone`]). Each answer has to come within `most`, all of it within a time of its own;
/// `look` is called between them, and says whether it goes on.
///
/// # Errors
/// It did not come whole, and of who has the key. Nothing that anybody else can say is taken for an
/// answer.
pub fn ask_alone(
    master: SocketAddr,
    key: &Key,
    most: Duration,
    look: &mut dyn FnMut() -> bool,
) -> io::Result<(Head, Zeroizing<Vec<u8>>)> {
    let talk = Talk { master, key: Some(key), aname: ALONE, path: &[], most };
    let mut bytes = Zeroizing::new(Vec::with_capacity(BEGIN_LEN));
    talk.hold(None, &mut bytes, look)?;
    match Head::whole(&bytes) {
        Some((head, _)) => Ok((head, bytes)),
        None => Err(io::Error::other("what it sent is cut off, or of another version of xget")),
    }
}

/// All of what its head says: nothing of it is to be left in memory that was too short.
fn make_room(answer: &mut Vec<u8>) {
    if let Some((Head::Layer { manifest_len, contents_len }, _)) = Head::decode(answer) {
        let len = HEAD_LEN + manifest_len as usize + contents_len as usize;
        if answer.capacity() < len {
            let mut whole = Vec::with_capacity(len);
            whole.extend_from_slice(answer);
            mem::replace(answer, whole).zeroize();
        }
    }
}

/// Writes a text to a file, and reads from it to its end where there is something to be read.
fn exchange(
    master: SocketAddr,
    key: Option<&Key>,
    path: &[&[u8]],
    text: &str,
    most: Duration,
) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let talk = Talk { master, key, aname: b"", path, most };
    talk.hold(Some(text), &mut answer, &mut || true).map(|()| answer)
}

/// With whom, about which file.
struct Talk<'a> {
    master: SocketAddr,
    key: Option<&'a Key>,
    aname: &'static [u8],
    path: &'a [&'a [u8]],
    most: Duration,
}

impl Talk<'_> {
    /// Writes the text, where there is one, and reads what there is to be read.
    fn hold(
        &self,
        text: Option<&str>,
        answer: &mut Vec<u8>,
        look: &mut dyn FnMut() -> bool,
    ) -> io::Result<()> {
        let &Talk { master, key, aname, path, most } = self;
        let (is_alone, is_log) = (text.is_none(), path != NODE && text.is_some());
        let stream = TcpStream::connect_timeout(&master, most.min(CONNECT_TIME_MAX))?;
        let began = Instant::now();
        let mut line = Line::new(stream, began + most);
        let mut caller = caller(MSIZE, aname, key)?;
        let mode = match (is_alone, is_log) {
            (true, _) => OpenMode::Read,
            (_, true) => OpenMode::Write,
            _ => OpenMode::ReadWrite,
        };
        let answer_len_max = if is_alone { ALONE_LEN_MAX } else { ANSWER_LEN_MAX };
        let fid = caller.client.open(path, mode, Token(0));
        let (mut unsaid, mut sealed) = (text.map(str::as_bytes), Vec::new());
        if is_alone {
            caller.client.read(fid, 0, COUNT, Token(2));
        }
        let mut read_len = 0;
        loop {
            if let Some(text) = unsaid.take_if(|_| !caller.is_proving()) {
                let said = caller.seal(text);
                caller.client.write(fid, 0, &said, WRITTEN);
            }
            line.write(&caller.client.take_output())?;
            let frame = line.frame(MSIZE)?;
            match caller.handle_frame(Frame::whole(&frame)) {
                Ok(Some(Event::Written { .. })) if is_log => return Ok(()),
                Ok(Some(Event::Read { data, .. })) => {
                    let data = data.unwrap_or_default();
                    sealed.extend_from_slice(data);
                    read_len += data.len();
                    caller.open(&mut sealed, answer).map_err(io::Error::other)?;
                    if is_alone {
                        make_room(answer);
                    }
                    if data.is_empty() {
                        // An end can be said by who is between. What comes sealed is there whole.
                        let is_cut =
                            caller.is_sealed() && (answer.is_empty() || !sealed.is_empty());
                        return if is_cut { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) };
                    }
                    if read_len > answer_len_max {
                        return Err(ErrorKind::FileTooLarge.into());
                    }
                }
                Ok(Some(Event::Failed { error, .. })) => {
                    // So can be errors: of who has a key none means that it has no such file.
                    let kind = match caller.is_sealed() {
                        true => ErrorKind::Other,
                        false => io::Error::from_raw_os_error(error.errno.into()).kind(),
                    };
                    return Err(io::Error::new(kind, error.text.into_owned()));
                }
                Ok(None | Some(Event::Opened { .. } | Event::Pong { .. })) => continue,
                Ok(Some(Event::Written { .. })) => {}
                Err(why) => return Err(io::Error::other(why)),
            }
            if is_alone {
                if !look() {
                    return Err(ErrorKind::Interrupted.into());
                }
                line.set_end((Instant::now() + most).min(began + ALONE_TIME_MAX));
            }
            caller.client.read(fid, read_len as u64, COUNT, Token(2));
        }
    }
}
