//! What a master says in its control files, over 9P.
//!
//! One connection, one file, read to its end, within a time and a size. Knows no words of
//! what it reads but how they are encoded.

use crate::failure::{Failure, Outcome, reason};
use crate::interrupt;
use ninep::client::{Client, Event, Frame, OpenMode, Token};
use ninep::{HEADER_LEN, wire};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

const PORT: u16 = 20_004;
const MSIZE: u32 = 64 << 10;
/// For a connection, and for each answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// For all of it.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(60);
/// Bytes of the longest file: 65,536 nodes with all that is kept of each.
const FILE_LEN_MAX: usize = 128 << 20;
const OPEN: Token = Token(0);
const READ: Token = Token(1);
const ENOENT: u16 = 2;

/// Reads a file of `/.xget`. `master` is `HOST`, `HOST:PORT`, `IPv6` or `[IPv6]:PORT`.
pub fn read(master: &str, file: &str) -> Outcome<String> {
    let mut stream = connect(master)?;
    let bytes = copy(&mut stream, file).map_err(|failed| {
        Failure::source(format!("cannot read /.xget/{file} of the master {master}: {failed}"))
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
        Failure::source(format!(
            "no master answers at {master}: {why}; start it (`xget DIR`), or name another with -n"
        ))
    };
    let mut why = "the name has no address".to_string();
    for address in addresses(master).map_err(|error| no_master(reason(&error)))? {
        interrupt::check()?;
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                let set = stream.set_read_timeout(Some(PATIENCE));
                let set = set.and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
                return set.map(|()| stream).map_err(|error| no_master(reason(&error)));
            }
            Err(error) => why = reason(&error),
        }
    }
    Err(no_master(why))
}

fn copy(stream: &mut TcpStream, file: &str) -> Result<Vec<u8>, String> {
    let deadline = Instant::now() + PATIENCE_IN_ALL;
    let mut client = Client::new(MSIZE);
    let fid = client.open(&[b".xget", file.as_bytes()], OpenMode::Read, OPEN);
    client.read(fid, 0, MSIZE, READ);
    let mut bytes = Vec::new();
    loop {
        stream.write_all(&client.take_output()).map_err(|error| of_stream(&error))?;
        if interrupt::is_asked() {
            return Err("interrupted".into());
        }
        if Instant::now() > deadline {
            return Err(format!("it takes more than {} s", PATIENCE_IN_ALL.as_secs()));
        }
        let frame = next_frame(stream).map_err(|error| of_stream(&error))?;
        match client.handle_frame(Frame::whole(&frame)).map_err(|broken| broken.reason)? {
            Some(Event::Read { len: 0, .. }) => return Ok(bytes),
            Some(Event::Read { data: Some(data), .. }) => {
                bytes.extend_from_slice(data);
                if bytes.len() > FILE_LEN_MAX {
                    return Err(format!("it is longer than {} MiB", FILE_LEN_MAX >> 20));
                }
                client.read(fid, bytes.len() as u64, MSIZE, READ);
            }
            Some(Event::Failed { error, .. }) if error.errno == ENOENT => {
                return Err("it has no such file, and is older than this program".into());
            }
            Some(Event::Failed { error, .. }) => return Err(error.to_string()),
            _ => {}
        }
    }
}

fn of_stream(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("no answer for {} s", PATIENCE.as_secs())
        }
        io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        _ => reason(error),
    }
}

/// The next frame, once it is there whole; its length is looked at first.
fn next_frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_LEN];
    stream.read_exact(&mut frame)?;
    let len = wire::frame_len(&frame).unwrap_or(0);
    if (len as usize) < HEADER_LEN || len > MSIZE {
        return Err(io::Error::other(format!("a frame of {len} bytes: this is no master")));
    }
    frame.resize(len as usize, 0);
    stream.read_exact(&mut frame[HEADER_LEN..])?;
    Ok(frame)
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

    #[test]
    fn frames_of_other_servers_are_refused() {
        let refused = next_frame(&mut &b"HTTP/1.1 400 Bad"[..]).unwrap_err();
        assert!(refused.to_string().ends_with("this is no master"), "{refused}");
        assert!(next_frame(&mut &[7, 0, 0][..]).is_err());
    }
}
