//! What a master says in its files, over 9P.
//!
//! One connection, files read to their ends, within a time and a size, whatever is at the other
//! end. Knows no words of what it reads but how they are encoded.

use crate::failure::{Failure, Outcome, Status, reason};
use crate::interrupt;
use crate::key;
use ninep::client::{Event, Frame, OpenMode, Token};
use ninep::{HEADER_LEN, wire};
use peer::auth::{Key, Random};
use peer::caller::{Caller, Credentials};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

const PORT: u16 = 20_004;
const MSIZE: u32 = 64 << 10;
/// For a connection, and for each answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// For a file.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(60);
/// How often a wait is left to see whether we are to end.
const SLICE: Duration = Duration::from_millis(200);
/// Bytes of the longest file: 65,536 nodes with all that is kept of each.
const FILE_LEN_MAX: usize = 128 << 20;
const OPEN: Token = Token(0);
const READ: Token = Token(1);
const ENOENT: u16 = 2;

/// A conversation with a master.
pub struct Session {
    /// `HOST`, `HOST:PORT`, `IPv6` or `[IPv6]:PORT`.
    master: String,
    line: Line,
    caller: Caller,
}

/// Why a file could not be read.
enum Unread {
    /// It is not there.
    Missing,
    Refused(String),
    /// Nobody answers, or no master does.
    Silent(String),
    Interrupted,
}

impl Session {
    /// As who has this key, where there is one.
    pub fn open(master: &str, key: Option<Key>) -> Outcome<Session> {
        let line = Line { stream: connect(master)?, end: Instant::now(), patience: PATIENCE };
        let seed = key::random()?;
        let mut credentials = key.map(|key| Credentials::new(key, Random::new(seed)));
        let caller = Caller::new(MSIZE, credentials.as_mut());
        Ok(Session { master: master.into(), line, caller })
    }

    /// A file of `/.xget`.
    pub fn control(&mut self, file: &str) -> Outcome<String> {
        let bytes = self.copy(&[b".xget", file.as_bytes()]).map_err(|unread| {
            let older = "it has no such file, and is older than this program";
            self.failure(&format!("/.xget/{file}"), unread, older)
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A served file at the top; `None` where there is none.
    pub fn served(&mut self, file: &str) -> Outcome<Option<Vec<u8>>> {
        match self.copy(&[file.as_bytes(), b"data"]) {
            Err(Unread::Missing) => Ok(None),
            Err(unread) => Err(self.failure(file, unread, "")),
            Ok(bytes) => Ok(Some(bytes)),
        }
    }

    fn failure(&self, file: &str, unread: Unread, missing: &str) -> Failure {
        let (status, why) = match &unread {
            Unread::Interrupted => return Failure::interrupted(),
            Unread::Missing => (Status::Source, missing),
            Unread::Refused(why) => (Status::Source, &**why),
            Unread::Silent(why) => (Status::Unreachable, &**why),
        };
        Failure::new(status, format!("cannot read {file} of the master {}: {why}", self.master))
    }

    fn copy(&mut self, path: &[&[u8]]) -> Result<Vec<u8>, Unread> {
        let Session { line, caller, .. } = self;
        let deadline = Instant::now() + PATIENCE_IN_ALL;
        let fid = caller.client.open(path, OpenMode::Read, OPEN);
        let mut bytes = Vec::new();
        caller.client.read(fid, 0, MSIZE, READ);
        loop {
            let now = Instant::now();
            if now >= deadline {
                let why = format!("it takes more than {} s", PATIENCE_IN_ALL.as_secs());
                return Err(Unread::Silent(why));
            }
            line.end = deadline.min(now + line.patience);
            let frame = line.write(&caller.client.take_output()).and_then(|()| line.frame())?;
            let event = caller.handle_frame(Frame::whole(&frame));
            match event.map_err(Unread::Silent)? {
                Some(Event::Read { len: 0, .. }) => break,
                Some(Event::Read { data: Some(data), .. }) => {
                    bytes.extend_from_slice(data);
                    if bytes.len() > FILE_LEN_MAX {
                        let why = format!("it is longer than {} MiB", FILE_LEN_MAX >> 20);
                        return Err(Unread::Refused(why));
                    }
                    caller.client.read(fid, bytes.len() as u64, MSIZE, READ);
                }
                // What was asked for behind the opening fails with it.
                Some(Event::Failed { token: OPEN, .. }) => {}
                Some(Event::Failed { error, .. }) if error.errno == ENOENT => {
                    return Err(Unread::Missing);
                }
                Some(Event::Failed { error, .. }) => {
                    return Err(Unread::Refused(error.to_string()));
                }
                _ => {}
            }
        }
        caller.client.clunk(fid);
        Ok(bytes)
    }
}

fn addresses(master: &str) -> io::Result<Vec<SocketAddr>> {
    let bare = master.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse() {
        return Ok(vec![SocketAddr::new(ip, PORT)]);
    }
    let has_port = master.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let found = if has_port { master.to_socket_addrs() } else { (master, PORT).to_socket_addrs() };
    found.map(Iterator::collect)
}

fn connect(master: &str) -> Outcome<TcpStream> {
    let no_master = |why: String| {
        let text = format!(
            "no master answers at {master}: {why}; start it (`xget DIR`), or name another with -n"
        );
        Failure::new(Status::Unreachable, text)
    };
    let mut why = "the name has no address".to_string();
    for address in addresses(master).map_err(|error| no_master(reason(&error)))? {
        interrupt::check()?;
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = reason(&error),
        }
    }
    Err(no_master(why))
}

/// A connection that is of use until a time.
struct Line {
    stream: TcpStream,
    end: Instant,
    patience: Duration,
}

impl Line {
    /// What is left, for each call anew: who brings a byte now and then is not waited for.
    fn limit(&self) -> Result<Option<Duration>, Unread> {
        if interrupt::is_asked() {
            return Err(Unread::Interrupted);
        }
        match self.end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => {
                Err(Unread::Silent(format!("no answer for {} s", self.patience.as_secs())))
            }
            left => Ok(Some(left.min(SLICE))),
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Unread> {
        while !bytes.is_empty() {
            let limit = self.limit()?;
            let set = self.stream.set_write_timeout(limit);
            match set.and_then(|()| self.stream.write(bytes)) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) => again(error)?,
            }
        }
        Ok(())
    }

    fn fill(&mut self, mut place: &mut [u8]) -> Result<(), Unread> {
        while !place.is_empty() {
            let limit = self.limit()?;
            let set = self.stream.set_read_timeout(limit);
            match set.and_then(|()| self.stream.read(place)) {
                Ok(0) => return Err(Unread::Silent("it closed the connection".into())),
                Ok(len) => place = &mut place[len..],
                Err(error) => again(error)?,
            }
        }
        Ok(())
    }

    /// The next frame, once it is there whole; its length is looked at first.
    fn frame(&mut self) -> Result<Vec<u8>, Unread> {
        let mut frame = vec![0; HEADER_LEN];
        self.fill(&mut frame)?;
        let len = wire::frame_len(&frame).unwrap_or(0);
        if (len as usize) < HEADER_LEN || len > MSIZE {
            let why = format!("a frame of {len} bytes: this is no master");
            return Err(Unread::Silent(why));
        }
        frame.resize(len as usize, 0);
        self.fill(&mut frame[HEADER_LEN..])?;
        Ok(frame)
    }
}

/// Whether the end of a slice is all that it is.
fn again(error: io::Error) -> Result<(), Unread> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(()),
        _ => Err(Unread::Silent(reason(&error))),
    }
}

/// The words `name=value` of a line, with their percent encoding undone.
pub fn words(line: &str) -> impl Iterator<Item = (&str, String)> {
    line.split_ascii_whitespace().filter_map(|word| {
        let (name, value) = word.split_once('=')?;
        Some((name, decoded(value)))
    })
}

/// What is no encoding stands for itself: it is for people.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|two| str::from_utf8(two).ok());
        let byte = digits.filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match byte.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn words_are_decoded_and_what_cannot_be_stays() {
        let found: Vec<_> = words("state=up said=a%20b%25 x y=%zz%4 z=%+1").collect();
        let texts = ["up", "a b%", "%zz%4", "%+1"].map(String::from);
        let names = ["state", "said", "y", "z"];
        assert_eq!(found, names.into_iter().zip(texts).collect::<Vec<_>>());
    }

    #[test]
    fn a_master_is_an_address_or_a_name_with_a_port_or_without() {
        let first = |text: &str| addresses(text).unwrap()[0].to_string();
        assert_eq!(first("127.0.0.1"), "127.0.0.1:20004");
        assert_eq!(first("127.0.0.1:7"), "127.0.0.1:7");
        assert_eq!(first("::1"), "[::1]:20004");
        assert_eq!(first("[::1]"), "[::1]:20004");
        assert_eq!(first("[::1]:7"), "[::1]:7");
    }

    /// Somebody who is called, takes what comes, and says this, a part at a time.
    fn talker(parts: Vec<&'static [u8]>, pause: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for part in parts {
                if stream.write_all(part).is_err() {
                    return;
                }
                thread::sleep(pause);
            }
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        address.to_string()
    }

    #[test]
    fn another_server_is_no_master() {
        let mut session = Session::open(&talker(vec![b"HTTP/1.1 400 Bad"], SLICE), None).unwrap();
        let failure = session.control("nodes").unwrap_err();
        assert!(failure.text.ends_with("this is no master"), "{failure:?}");
        assert_eq!(failure.status, Status::Unreachable);
    }

    #[test]
    fn who_brings_a_byte_now_and_then_is_not_waited_for() {
        let drops = [&b"\x15"[..], b"\0", b"\0", b"\0", b"\x65", b"\xff", b"\xff", b"\0"];
        let mut session = Session::open(&talker(drops.repeat(9), SLICE), None).unwrap();
        session.line.patience = 4 * SLICE;
        let failure = session.control("nodes").unwrap_err();
        assert!(failure.text.ends_with("no answer for 0 s"), "{failure:?}");
    }
}
