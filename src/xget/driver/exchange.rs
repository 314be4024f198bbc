//! Short talks with a master, for who has no conversation with it: a line into its log, and
//! what a node is to have.
//!
//! Blocks, for as long as the caller says. Refuses to know what is said.

use ninep::client::{Client, Event, Frame, OpenMode, Token};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest frame either way, and bytes asked for at a time.
const MSIZE: u32 = 8192;
const COUNT: u32 = 4096;
/// Bytes of the longest answer.
const ANSWER_LEN_MAX: usize = 65_536;

/// A connection that is not up by then is given up, as in a fetch.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

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
    let mut line = Line { stream, end: Instant::now() + most };
    let mut client = Client::new(MSIZE);
    let mode = if reads { OpenMode::ReadWrite } else { OpenMode::Write };
    let fid = client.open(path, mode, Token(0));
    client.write(fid, 0, text.as_bytes(), WRITTEN);
    let mut answer = Vec::new();
    loop {
        line.write(&client.take_output())?;
        let frame = line.frame()?;
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

/// A connection that is of use until a time.
struct Line {
    stream: TcpStream,
    end: Instant,
}

impl Line {
    /// What is left, for each call anew: who brings a byte now and then is not waited for.
    fn limit(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(self.limit()?)?;
        self.stream.write_all(bytes)
    }

    fn fill(&mut self, mut place: &mut [u8]) -> io::Result<()> {
        while !place.is_empty() {
            self.stream.set_read_timeout(self.limit()?)?;
            match self.stream.read(place) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => place = &mut place[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; 4];
        self.fill(&mut frame)?;
        let len = ninep::wire::frame_len(&frame).unwrap_or(0);
        if !(7..=MSIZE).contains(&len) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        frame.resize(len as usize, 0);
        self.fill(&mut frame[4..])?;
        Ok(frame)
    }
}
