//! Clients by hand on loopback: each has an address of its own (127.1.x.y), and
//! one port answers for all of them who calls to see whether they are there.

use ninep::client::{Client, Event, Fid, Frame, OpenMode, Token};
use ninep::wire::{frame_len, reply, request};
use ninep::{Dialect, QTDIR, QTFILE, Qid, Reply, Request};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The address of the n-th.
pub fn ip_of(number: usize) -> Ipv4Addr {
    let number = number as u32 + 1;
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number)
}

/// Which of them has this address.
pub fn number_of(addr: SocketAddr) -> usize {
    match addr.ip() {
        IpAddr::V4(ip) => (u32::from(ip) - u32::from(ip_of(0))) as usize,
        IpAddr::V6(_) => panic!("{addr}: nobody has one of these"),
    }
}

/// A connection from there to a port of this machine.
pub fn connect_from(ip: Ipv4Addr, port: u16) -> TcpStream {
    let (inet, flags) = (AddressFamily::Inet, SockFlag::SOCK_CLOEXEC);
    let fd = socket(inet, SockType::Stream, flags, None).unwrap();
    let [a, b, c, d] = ip.octets();
    bind(fd.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
    connect(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
    TcpStream::from(fd)
}

/// A port at all addresses that answers greetings and opens, and no read.
pub struct Porter {
    pub port: u16,
}

impl Porter {
    pub fn start() -> Porter {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || greet(stream));
            }
        });
        Porter { port }
    }
}

/// Answers until the other side has enough.
fn greet(mut stream: TcpStream) -> Option<()> {
    let (mut input, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        while let Some(len) = frame_len(&input).map(|len| len as usize)
            && input.len() >= len
        {
            let frame: Vec<u8> = input.drain(..len).collect();
            let (tag, asked) = request::decode(Some(Dialect::Unix), &frame).ok()?;
            let qid = Qid { file_type: QTDIR, version: 1, path: 1 };
            let answer = match asked.ok()? {
                Request::Version { msize, .. } => {
                    Reply::Version { msize, dialect: Some(Dialect::Unix) }
                }
                Request::Attach { .. } => Reply::Attach { qid },
                Request::Flush { .. } => Reply::Flush,
                Request::Walk { names, .. } => Reply::Walk { qids: vec![qid; names.len()] },
                Request::Open { .. } => {
                    Reply::Open { qid: Qid { file_type: QTFILE, ..qid }, iounit: 0 }
                }
                Request::Clunk { .. } => Reply::Clunk,
                _ => continue,
            };
            let mut bytes = Vec::new();
            reply::encode(Dialect::Unix, tag, &answer, &mut bytes);
            stream.write_all(&bytes).ok()?;
        }
        let len = stream.read(&mut buffer).ok().filter(|&len| len > 0)?;
        input.extend(&buffer[..len]);
    }
}

/// A client that says what it likes on its conversation, and fetches nothing.
pub struct Stranger {
    stream: TcpStream,
    client: Client,
    route: Fid,
    input: Vec<u8>,
    unread: Vec<u8>,
    /// Whom the master named, by stripe.
    pub parents: BTreeMap<String, String>,
    pub is_over: bool,
}

const ROUTE: Token = Token(1);
const READ: Token = Token(2);
const WRITE: Token = Token(3);

impl Stranger {
    /// Joins on a connection that is up.
    pub fn join(stream: TcpStream, port: u16) -> Stranger {
        let mut client = Client::new(peer::server::MSIZE);
        let route = client.open(&[b".xget", b"route"], OpenMode::ReadWrite, ROUTE);
        client.read(route, 0, 8192, READ);
        stream.set_nonblocking(true).unwrap();
        let (input, unread, parents) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut stranger =
            Stranger { stream, client, route, input, unread, parents, is_over: false };
        stranger.say(&format!("join 3 {port} ."));
        stranger
    }

    pub fn say(&mut self, line: &str) {
        self.client.write(self.route, 0, format!("{line}\n").as_bytes(), WRITE);
        self.send();
    }

    fn send(&mut self) {
        let bytes = self.client.take_output();
        // Who is not read from is not told any more.
        self.is_over |= !bytes.is_empty() && self.stream.write_all(&bytes).is_err();
    }

    /// Takes what the master has said.
    pub fn hear(&mut self) {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.is_over = true,
                Ok(len) => {
                    self.input.extend(&buffer[..len]);
                    continue;
                }
                Err(error) => self.is_over |= error.kind() != ErrorKind::WouldBlock,
            }
            break;
        }
        while let Some(len) = frame_len(&self.input).map(|len| len as usize)
            && self.input.len() >= len
        {
            let frame: Vec<u8> = self.input.drain(..len).collect();
            match self.client.handle_frame(Frame::whole(&frame)) {
                Ok(Some(Event::Read { data: Some(data), .. })) => {
                    self.unread.extend(data);
                    self.client.read(self.route, 0, 8192, READ);
                }
                Ok(_) => {}
                Err(_) => self.is_over = true,
            }
        }
        self.send();
        while let Some(end) = self.unread.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim().to_string();
            if let ["parent", stripe, parent] = *line.split(' ').collect::<Vec<_>>() {
                self.parents.insert(stripe.into(), parent.into());
            }
        }
    }
}

/// What liars do until they are dropped.
pub struct Liars {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liars {
    /// So many join, from this thread's network, on that port; whenever one is named
    /// a parent, and again and again, it says these words of it in turn.
    pub fn start(
        connect: impl Fn() -> TcpStream + Send + 'static,
        (count, port): (usize, u16),
        words: &'static [&'static str],
    ) -> Liars {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let thread = thread::spawn(move || {
            let mut liars: Vec<Stranger> = Vec::new();
            for turn in 0.. {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                liars.retain(|liar| !liar.is_over);
                while liars.len() < count {
                    liars.push(Stranger::join(connect(), port));
                }
                for liar in &mut liars {
                    liar.hear();
                    for (stripe, parent) in liar.parents.clone() {
                        match words[turn % words.len()] {
                            "done" => liar.say("done 9 9 0 9 1"),
                            word if parent != "me" => {
                                liar.say(&format!("replace {stripe} {parent} {word}"));
                            }
                            _ => {}
                        }
                    }
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Liars { is_over, thread: Some(thread) }
    }
}

impl Drop for Liars {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
