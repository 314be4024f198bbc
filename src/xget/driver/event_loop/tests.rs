//! A real master and a real socket, turn by turn.

use super::super::budget::Limits;
use super::super::conn::INPUT_LEN_MIN;
use super::super::machine::{MasterObserver, MasterState, Observer};
use super::super::master::{self, ServeTask};
use super::*;
use crate::os::scratch::Dir;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::Duration;

struct Silent;

impl Observer for Silent {
    fn say(&mut self, _: &str) {}
    fn warn(&mut self, _: &str) {}
}

impl MasterObserver for Silent {
    fn turn(&mut self, _: MasterState) -> bool {
        false
    }
}

const MSIZE: u32 = 1024 * 1024;
/// Of replies in all more than the kernel holds for a peer that reads nothing.
const READS: u16 = 1_000;

fn message(kind: u8, tag: u16, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let len = (7 + body.len()) as u32;
    [&len.to_le_bytes()[..], &[kind], &tag.to_le_bytes(), &body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Tversion, Tattach of fid 0, Twalk to fid 1, Topen.
fn opening(path: [&str; 2]) -> Vec<u8> {
    let (zero, one, none) = (0u32.to_le_bytes(), 1u32.to_le_bytes(), u32::MAX.to_le_bytes());
    let names = [string(path[0]), string(path[1])].concat();
    [
        message(100, u16::MAX, &[&MSIZE.to_le_bytes(), &string("9P2000")]),
        message(104, 0, &[&zero, &none, &string("nobody"), &string("")]),
        message(110, 1, &[&zero, &one, &2u16.to_le_bytes(), &names]),
        message(112, 2, &[&one, &[0]]),
    ]
    .concat()
}

fn read_at_start(tag: u16) -> Vec<u8> {
    let (fid, offset, count) = (1u32.to_le_bytes(), 0u64.to_le_bytes(), MSIZE - 24);
    message(116, tag, &[&fid, &offset, &count.to_le_bytes()])
}

/// Adds what has arrived; gives the kinds and tags of the whole messages.
fn receive(peer: &mut TcpStream, bytes: &mut Vec<u8>) -> Vec<(u8, u16, usize)> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match peer.read(&mut buffer) {
            Ok(0) => panic!("closed"),
            Ok(len) => bytes.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(header) = bytes.get(at..at + 7) {
        let len = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        if bytes.len() < at + len {
            break;
        }
        found.push((header[4], u16::from_le_bytes([header[5], header[6]]), len));
        at += len;
    }
    bytes.drain(..at);
    found
}

#[test]
fn who_reads_nothing_fills_no_memory_and_is_answered_later() {
    let dir = Dir::new();
    // Their targets make a manifest of many pieces.
    (0..300).for_each(|i| symlink("t".repeat(4000), dir.join(&format!("{i}"))).unwrap());
    let (mut machine, mut master, mut peer) = called(&dir);
    peer.set_nonblocking(true).unwrap();
    peer.write_all(&opening([".xget", "manifest"])).unwrap();
    let (mut bytes, mut replies) = (Vec::new(), Vec::new());
    while replies.len() < 4 {
        master.turn(&mut machine).unwrap();
        replies.extend(receive(&mut peer, &mut bytes));
    }
    let kinds: Vec<u8> = replies.drain(..).map(|(kind, _, _)| kind).collect();
    assert_eq!(kinds, [101, 105, 111, 113]);

    let reads: Vec<u8> = (0..READS).flat_map(read_at_start).collect();
    peer.write_all(&reads).unwrap();
    let mut most = 0;
    let waits = |master: &Loop| master.conns.values().any(|c| c.is_backlogged());
    while !waits(&master) {
        master.turn(&mut machine).unwrap();
    }
    for _ in 0..4 {
        master.turn(&mut machine).unwrap();
        most = most.max(master.conns.values().map(|c| c.output_bytes()).sum());
    }
    assert!(most < MSIZE as usize, "{most}: they are named, and not held");
    // Nothing more is asked; all is answered.
    let mut tags = Vec::new();
    let began = Instant::now();
    while tags.len() < READS as usize && began.elapsed() < Duration::from_secs(20) {
        for (kind, tag, len) in receive(&mut peer, &mut bytes) {
            assert_eq!(kind, 117);
            assert_eq!(len, 32 * 1024 + 11, "a piece of the manifest");
            tags.push(tag);
        }
        master.turn(&mut machine).unwrap();
    }
    assert_eq!(tags, (0..READS).collect::<Vec<_>>());
    assert_eq!(master.conns.values().map(|c| c.output_bytes()).sum::<usize>(), 0);
}

/// A master of a directory, and somebody who called it.
fn called(dir: &Dir) -> (master::MasterMachine<'static>, Loop, TcpStream) {
    let limits = Limits::of_master(None, None);
    let task = ServeTask {
        path: dir.path().into(),
        port: 0,
        fan_out: 4,
        head_copies: 1,
        one_file_system: false,
        is_found: false,
        key: None,
        is_plain_free: false,
        cache: None,
        limits,
        account: None,
        is_shut_in: false,
    };
    let (mut machine, mut master) = master::begin(task, Box::new(Silent)).unwrap();
    while !machine.is_serving() {
        master.turn(&mut machine).unwrap();
    }
    let port = master.listener.local_addr().unwrap().port();
    let peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
    (machine, master, peer)
}

#[test]
fn a_client_that_says_no_more_gets_all_replies_and_then_the_end() {
    let dir = Dir::new();
    let (mut machine, mut master, mut peer) = called(&dir);
    // More than one turn takes.
    let reads: Vec<u8> = (0..300).flat_map(read_at_start).collect();
    peer.write_all(&[opening([".xget", "info"]), reads].concat()).unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    let began = Instant::now();
    loop {
        master.turn(&mut machine).unwrap();
        match peer.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => bytes.extend_from_slice(&buffer[..len]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    let (mut replies, mut at) = (0, 0);
    while at < bytes.len() {
        at += u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        replies += 1;
    }
    assert_eq!((at, replies), (bytes.len(), 4 + 300));
    assert!(master.conns.is_empty());
}

#[test]
fn one_turn_takes_so_many_frames_and_the_rest_is_gone_on_with() {
    let dir = Dir::new();
    let (mut machine, mut master, mut peer) = called(&dir);
    let flushes: Vec<u8> = (0..1_000).flat_map(|tag| message(108, tag, &[&[9, 9]])).collect();
    peer.write_all(&[opening([".xget", "info"]), flushes].concat()).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (mut bytes, mut got, mut turns) = (Vec::new(), 0, 0);
    while got < 1_004 {
        master.turn(&mut machine).unwrap();
        let now = receive(&mut peer, &mut bytes).len();
        assert!(now <= 2 * FRAMES_MAX, "{now} in one turn");
        (got, turns) = (got + now, turns + 1);
        assert!(turns < 1_000);
    }
}

#[test]
fn a_buffer_grows_with_what_arrives_and_is_given_back() {
    let dir = Dir::new();
    let (mut machine, mut master, mut peer) = called(&dir);
    peer.write_all(&opening([".xget", "info"])).unwrap();
    // A frame of half a megabyte, of which 5,000 bytes come.
    let huge = message(118, 3, &[&vec![0; 1 << 19]]);
    peer.write_all(&huge[..5_000]).unwrap();
    let held = |master: &Loop| master.conns.values().map(|c| c.input_bytes()).sum::<usize>();
    let began = Instant::now();
    while master.conns.values().all(|c| c.filled() < 5_000) {
        master.turn(&mut machine).unwrap();
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    assert!(held(&master) <= 2 * 5_000 + INPUT_LEN_MIN, "{}", held(&master));
    peer.write_all(&huge[5_000..]).unwrap();
    while master.conns.values().any(|c| c.filled() > 0) {
        master.turn(&mut machine).unwrap();
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    assert!(held(&master) <= INPUT_LEN_MIN, "{}", held(&master));
}
