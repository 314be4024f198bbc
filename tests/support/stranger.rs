//! Clients by hand on loopback: each has an address of its own (127.1.x.y), and
//! one port answers for all of them who calls to see whether they are there.

use ninep::wire::{frame_len, reply, request};
use ninep::{Dialect, ENOENT, QTDIR, Qid, Reply, Request};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;

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

/// A port at all addresses that answers greetings, and serves nothing.
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
                _ => Reply::Error(ENOENT),
            };
            let mut bytes = Vec::new();
            reply::encode(Dialect::Unix, tag, &answer, &mut bytes);
            stream.write_all(&bytes).ok()?;
        }
        let len = stream.read(&mut buffer).ok().filter(|&len| len > 0)?;
        input.extend(&buffer[..len]);
    }
}
