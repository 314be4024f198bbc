//! HTTP for boot programs: a few files of one directory, by GET and HEAD.
//!
//! What may be fetched is a question of its name alone, so that no path leads anywhere else.
//! Who asks slowly, for long or from too many connections is bounded: a thread each, and so
//! many of them. Parsing is `httparse`'s. Knows nothing of what is in the files.

mod lines;
mod places;

use super::children::Voice;
use super::place::is_fetched;
use crate::failure::reason;
use lines::Lines;
use places::{CONNECTIONS_PER_ADDRESS_MAX, Place, Places};
use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a request.
const REQUEST_LEN_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
/// For a whole request to come.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// For a part of an answer to be taken.
const PART_PATIENCE: Duration = Duration::from_secs(30);
/// For all of a connection: 100 MB at half a megabit a second.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(1800);
/// For a refusal to be read.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
const PART_LEN: usize = 64 << 10;
/// After an accept that failed, for want of descriptors and the like.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
const STACK_LEN: usize = 256 << 10;
/// Characters of a path that the log has.
const SHOWN_LEN_MAX: usize = 100;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    path: String,
    /// HEAD: the answer is without the file.
    headers_only: bool,
    /// The connection is used again.
    stays: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Partial,
    Whole(Request, usize),
    /// The status of the answer.
    Refused(u16),
}

fn read_request(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < REQUEST_LEN_MAX => return Parsed::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Refused(431);
        }
        Err(httparse::Error::Version) => return Parsed::Refused(505),
        Err(_) => return Parsed::Refused(400),
    };
    let header = |name: &str| {
        let mut found = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
        found.next().map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
    };
    let is_new = request.version == Some(1);
    // Without a body there is nothing that could be taken for the next request.
    let has_body = header("transfer-encoding").is_some()
        || header("content-length").is_some_and(|len| len.trim() != "0");
    if has_body || is_new && header("host").is_none() {
        return Parsed::Refused(400);
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Parsed::Refused(400);
    };
    let headers_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Parsed::Refused(405),
    };
    let connection = header("connection").unwrap_or_default();
    let says = |word: &str| connection.split(',').any(|said| said.trim() == word);
    let stays = if is_new { !says("close") } else { says("keep-alive") };
    Parsed::Whole(Request { path: path_of(target).into(), headers_only, stays }, len)
}

/// The path of a target, also of one with `http://HOST` before it (RFC 9112, 3.2.2).
fn path_of(target: &str) -> &str {
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    path.split('?').next().unwrap_or_default()
}

fn words_of(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

fn header_of(status: u16, len: u64, kind: &str, stays: bool) -> String {
    let words = words_of(status);
    let connection = if stays { "keep-alive" } else { "close" };
    let allow = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status} {words}\r\nContent-Length: {len}\r\nContent-Type: {kind}\r\n\
         {allow}Connection: {connection}\r\n\r\n"
    )
}

/// A file that may be fetched, and how long it is.
fn open_file(dir: &Path, path: &str) -> Result<(File, u64), u16> {
    let name = path.strip_prefix('/').filter(|name| is_fetched(name)).ok_or(404_u16)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(dir.join(name), flags, Mode::empty()).map_err(|_| 404_u16)?);
    let status = file.metadata().map_err(|_| 500_u16)?;
    if status.is_file() { Ok((file, status.len())) } else { Err(404) }
}

/// Serves until the process ends.
pub fn serve(listener: TcpListener, dir: PathBuf, voice: Voice) -> io::Result<()> {
    let (places, lines) = (Arc::new(Places::default()), Lines::new(voice));
    let accept = move || {
        loop {
            match listener.accept() {
                Ok((stream, from)) => begin(stream, from.ip(), &dir, &lines, &places),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    lines.refused(format!("cannot accept a connection: {}", reason(&error)));
                    thread::sleep(ACCEPT_RETRY);
                }
            }
        }
    };
    thread::Builder::new().stack_size(STACK_LEN).spawn(accept).map(drop)
}

fn begin(mut stream: TcpStream, from: IpAddr, dir: &Path, lines: &Lines, places: &Arc<Places>) {
    // A header and a small file are two writes: the second would wait for an acknowledgement.
    let set = stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(PART_PATIENCE)));
    let same = set.and_then(|()| stream.try_clone());
    let same = match same {
        Ok(same) => same,
        Err(error) => return lines.refused(format!("{from}: {}", reason(&error))),
    };
    let Some((place, gave_way)) = Places::take(places, from, same) else {
        // A few bytes into an empty buffer: this does not wait.
        let _ = stream.write_all(header_of(503, 0, "text/plain", false).as_bytes());
        let text = format!("{from}: refused, it has {CONNECTIONS_PER_ADDRESS_MAX} connections");
        return lines.refused(text);
    };
    if let Some(other) = gave_way {
        lines.refused(format!("{other}: all connections are taken: one of its is closed"));
    }
    let (dir, to) = (dir.to_path_buf(), lines.clone());
    let talk = move || talk(&mut stream, from, &dir, &place, &to);
    if let Err(error) = thread::Builder::new().stack_size(STACK_LEN).spawn(talk) {
        lines.refused(format!("{from}: no thread for it: {}", reason(&error)));
    }
}

/// One connection, to its end.
fn talk(stream: &mut TcpStream, from: IpAddr, dir: &Path, place: &Place, lines: &Lines) {
    let end = Instant::now() + CONNECTION_PATIENCE;
    let mut bytes = Vec::new();
    loop {
        let (request, len) = match next_request(stream, &mut bytes, end) {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(status) => {
                let words = words_of(status);
                lines.refused(format!("{from} a request that was refused: {status} {words}"));
                let _ = stream.write_all(header_of(status, 0, "text/plain", false).as_bytes());
                return let_it_be_read(stream);
            }
        };
        bytes.drain(..len);
        place.touch();
        let shown: String = request.path.chars().take(SHOWN_LEN_MAX).collect();
        match answer(stream, dir, &request, place, end) {
            Ok((200, len)) if request.headers_only => {
                lines.fetched(format!("{from} {shown}: has {len} bytes"));
            }
            Ok((200, len)) => lines.fetched(format!("{from} {shown}: {len} bytes")),
            Ok((status, _)) => {
                lines.refused(format!("{from} {shown}: {status} {}", words_of(status)));
            }
            Err(error) => {
                return lines.refused(format!("{from} {shown}: broken off: {}", reason(&error)));
            }
        }
        if !request.stays {
            return;
        }
    }
}

/// What has not been read when a connection is closed would take the answer with it.
fn let_it_be_read(stream: &mut TcpStream) {
    let deadline = Instant::now() + CLOSE_PATIENCE;
    let is_shut = stream.shutdown(Shutdown::Write).is_ok();
    let timed = stream.set_read_timeout(Some(CLOSE_PATIENCE));
    let mut part = [0; 2048];
    while is_shut && timed.is_ok() && Instant::now() < deadline {
        if !matches!(stream.read(&mut part), Ok(1..)) {
            return;
        }
    }
}

/// The next request; `None` at the end of the connection. One that is late or wrong has a
/// status.
fn next_request(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    end: Instant,
) -> Result<Option<(Request, usize)>, u16> {
    let deadline = end.min(Instant::now() + REQUEST_PATIENCE);
    loop {
        match read_request(bytes) {
            Parsed::Whole(request, len) => return Ok(Some((request, len))),
            Parsed::Refused(status) => return Err(status),
            Parsed::Partial => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let is_late = left.is_zero() || stream.set_read_timeout(Some(left)).is_err();
        let mut part = [0; 2048];
        let len = if is_late { None } else { stream.read(&mut part).ok() };
        match len {
            Some(0) => return Ok(None),
            Some(len) => bytes.extend_from_slice(&part[..len]),
            // Nobody waits for an answer to nothing.
            None if bytes.is_empty() => return Ok(None),
            None => return Err(408),
        }
    }
}

/// The status, and how long the file is.
fn answer(
    stream: &mut TcpStream,
    dir: &Path,
    request: &Request,
    place: &Place,
    end: Instant,
) -> io::Result<(u16, u64)> {
    let (mut file, len) = match open_file(dir, &request.path) {
        Ok(found) => found,
        Err(status) => {
            let header = header_of(status, 0, "text/plain", request.stays);
            stream.write_all(header.as_bytes())?;
            return Ok((status, 0));
        }
    };
    let is_text = request.path.ends_with(".ipxe");
    let kind = if is_text { "text/plain" } else { "application/octet-stream" };
    stream.write_all(header_of(200, len, kind, request.stays).as_bytes())?;
    if !request.headers_only {
        send(stream, &mut file, len, place, end)?;
    }
    Ok((200, len))
}

fn send(
    stream: &mut TcpStream,
    file: &mut File,
    len: u64,
    place: &Place,
    end: Instant,
) -> io::Result<()> {
    let mut part = vec![0; PART_LEN];
    let mut left = len;
    while left > 0 {
        let most = left.min(PART_LEN as u64) as usize;
        let read = file.read(&mut part[..most])?;
        if read == 0 {
            return Err(io::Error::other("the file has become shorter"));
        }
        let mut rest = &part[..read];
        while !rest.is_empty() {
            if Instant::now() > end {
                return Err(io::Error::other("it takes too long"));
            }
            match stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        place.touch();
        left -= read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
