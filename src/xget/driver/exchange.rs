//! Short talks with a master, for who has no conversation with it: a line into its log, and
//! what a node is to have.
//!
//! Blocks, for as long as the caller says. Refuses to know what is said.

use super::line::{CONNECT_TIME_MAX, Line};
use ninep::client::{Client, Event, Frame, OpenMode, Token};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest frame either way, and bytes asked for at a time.
const MSIZE: u32 = 8192;
const COUNT: u32 = 4096;
/// Bytes of the longest answer.
const ANSWER_LEN_MAX: usize = 65_536;

const WRITTEN: Token = Token(1);

/// Puts one line into a master's log, within `most`.
pub fn write_log(master: SocketAddr, line: &str, most: Duration) -> io::Result<()> {
    exchange(master, &[b"log"], line, false, most).map(|_| ())
}

/// Says lines on a master's `/.xget/node` and gives what it answers, all within `most`
/// (`peer::control`: `NodeMessage`, `NodeAnswer`). A line of who the node is comes first;
/// a line of how far it is may follow it.
///
/// # Errors
/// `NotFound` from a master that knows no nodes.
pub fn ask_node(master: SocketAddr, lines: &str, most: Duration) -> io::Result<String> {
    let answer = exchange(master, &[b".xget", b"node"], lines, true, most)?;
    String::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Writes a text to a file, and reads from it to its end where there is something to be read.
fn exchange(
    master: SocketAddr,
    path: &[&[u8]],
    text: &str,
    reads: bool,
    most: Duration,
) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect_timeout(&master, most.min(CONNECT_TIME_MAX))?;
    let mut line = Line::new(stream, Instant::now() + most);
    let mut client = Client::new(MSIZE);
    let mode = if reads { OpenMode::ReadWrite } else { OpenMode::Write };
    let fid = client.open(path, mode, Token(0));
    client.write(fid, 0, text.as_bytes(), WRITTEN);
    let mut answer = Vec::new();
    loop {
        line.write(&client.take_output())?;
        let frame = line.frame(MSIZE)?;
        match client.handle_frame(Frame::whole(&frame)) {
            Ok(Some(Event::Written { .. })) if !reads => return Ok(answer),
            Ok(Some(Event::Read { data, .. })) => {
                let data = data.unwrap_or_default();
                answer.extend_from_slice(data);
                if data.is_empty() {
                    return Ok(answer);
                }
                if answer.len() > ANSWER_LEN_MAX {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
            }
            Ok(Some(Event::Failed { error, .. })) => {
                let kind = io::Error::from_raw_os_error(error.errno.into()).kind();
                return Err(io::Error::new(kind, error.text.into_owned()));
            }
            Ok(None | Some(Event::Opened { .. } | Event::Pong { .. })) => continue,
            Ok(Some(Event::Written { .. })) => {}
            Err(broken) => return Err(io::Error::other(broken.to_string())),
        }
        client.read(fid, answer.len() as u64, COUNT, Token(2));
    }
}
