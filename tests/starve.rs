//! One client must not hurt the others, nor whoever does not read what is said:
//! attacks on real processes, each beside somebody who is to be served.

#![allow(clippy::unwrap_used)] // in tests a panic is the report
#![allow(clippy::print_stdout)] // the measurements

mod support;

use nix::sys::stat::Mode;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::lab::{Lab, PORT};
use support::proc::{Master, Proc, free_port, xget};
use support::reader::Reader;
use support::stranger::{connect_from, ip_of};
use support::{Scratch, noise, until};

/// A process that ends with the test, and whose output nobody reads so far.
struct Unread(Child);

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All that a pipe has, once the process at its other end has ended.
fn rest(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_master_whose_output_nobody_reads_serves_on_and_says_what_is_missing() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("f"), noise(1, 1 << 20)).unwrap();
    let log = scratch.join("log");
    nix::unistd::mkfifo(&log, Mode::S_IRWXU).unwrap();
    let port = free_port();
    let mut command = xget();
    // Each message that comes or goes is a line on standard error.
    command.args(["-D", "31", "--no-cache", "-p", &port.to_string(), "--log"]);
    command.arg(&log).arg(&source).stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut master = Unread(child);
    let began = Instant::now();
    until("the master answers", 30, || Reader::connect(("127.0.0.1", port)).is_ok());
    let mut reader = Reader::connect(("127.0.0.1", port)).unwrap();
    for round in 0..400 {
        assert_eq!(reader.read_all(&["f", "redir"]).unwrap(), b"me", "{round}");
    }
    assert!(began.elapsed() < Duration::from_secs(60));
    // Somebody reads at last.
    let mut err = master.0.stderr.take().unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    until("it is said what is missing", 30, || {
        let len = err.read(&mut buffer).unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..len]));
        text.contains("lines were not shown: nobody read standard error")
    });
    let mut logged = File::open(&log).unwrap();
    let len = logged.read(&mut buffer).unwrap();
    assert!(String::from_utf8_lossy(&buffer[..len]).contains(" serving "));
    master.0.kill().unwrap();
    assert!(rest(master.0.stdout.take().unwrap()).contains(" serving "));
}

#[test]
fn a_client_whose_output_nobody_reads_fetches_and_its_summary_can_be_read() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("f"), noise(2, 30 << 20)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let dest = scratch.join("dest");
    let mut command = xget();
    command.args(["-D", "31", "-n", &master.addr(), "--linger", "0", "f"]).arg(&dest);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = Unread(command.spawn().unwrap());
    until("it ends", 60, || client.0.try_wait().unwrap().is_some());
    assert!(client.0.wait().unwrap().success());
    assert_eq!(fs::read(dest.join("f")).unwrap(), noise(2, 30 << 20));
    assert!(rest(client.0.stdout.take().unwrap()).starts_with("xget: 1 files, 31457280 bytes"));
    assert!(rest(client.0.stderr.take().unwrap()).len() >= 60_000, "what the pipe took");
}

#[test]
fn who_half_closes_gets_its_replies() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("f"), b"contents").unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", master.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"\x13\0\0\0\x64\xff\xff\0\x20\0\0\x06\x009P2000").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"\x13\0\0\0\x65\xff\xff\0\x20\0\0\x06\x009P2000");
}

/// Tversion and Tattach of fid 0, in 9P2000.
fn attached() -> Vec<u8> {
    let version = message(100, u16::MAX, &[&65_536u32.to_le_bytes(), &string("9P2000")]);
    let none = u32::MAX.to_le_bytes();
    [version, message(104, 0, &[&[0; 4], &none, &string("nobody"), &string("")])].concat()
}

fn message(kind: u8, tag: u16, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let len = (7 + body.len()) as u32;
    [&len.to_le_bytes()[..], &[kind], &tag.to_le_bytes(), &body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Twalk from the root to a new fid.
fn walk(fid: u32, path: &[&str]) -> Vec<u8> {
    let names: Vec<u8> = path.iter().flat_map(|name| string(name)).collect();
    let count = (path.len() as u16).to_le_bytes();
    message(110, 1, &[&[0; 4], &fid.to_le_bytes(), &count, &names])
}

/// Opens fid 1, and reads it so often at its start, from tag 2 on.
fn reads(count: u16) -> Vec<u8> {
    let one = 1u32.to_le_bytes();
    let read = |tag| message(116, tag, &[&one, &[0; 8], &65_000u32.to_le_bytes()]);
    [message(112, 1, &[&one, &[0]]), (2..2 + count).flat_map(read).collect()].concat()
}

/// What strangers do to a master, all at once, until they are told to stop.
struct Strangers<'a> {
    lab: &'a Lab,
    /// Where they are.
    node: usize,
    over: AtomicBool,
}

impl Strangers<'_> {
    fn call(&self) -> Option<TcpStream> {
        let addr = (Lab::ip(0), PORT);
        let stream = self.lab.on(self.node, || TcpStream::connect(addr)).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
        stream.set_write_timeout(Some(Duration::from_millis(200))).ok()?;
        Some(stream)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn wait(&self) {
        while !self.is_over() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Connections that say this and nothing more, and read nothing.
    fn stay(&self, count: usize, what: &[u8]) {
        let held: Vec<Option<TcpStream>> = (0..count)
            .map(|_| self.call().filter(|mut stream| stream.write_all(what).is_ok()))
            .collect();
        self.wait();
        drop(held);
    }

    /// So many at a time, the oldest gone with each that comes.
    fn churn(&self, count: usize) {
        let mut held = VecDeque::new();
        while !self.is_over() {
            held.push_back(self.call());
            if held.len() > count {
                held.pop_front();
            }
        }
    }

    /// One byte a second, of a message and of its answer.
    fn trickle(&self) {
        let (Some(mut stream), said) = (self.call(), attached()) else { return };
        for byte in said.iter().cycle() {
            if self.is_over() || stream.write_all(&[*byte]).is_err() {
                return;
            }
            let _ = stream.read(&mut [0]);
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// All of this at once, over and over; what is answered is read.
    fn flood(&self, what: &[u8]) {
        while !self.is_over() {
            let Some(stream) = self.call() else { continue };
            let Ok(mut reading) = stream.try_clone() else { continue };
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let mut buffer = [0; 65_536];
                    while !self.is_over() {
                        match reading.read(&mut buffer) {
                            Ok(0) => return,
                            Ok(_) => {}
                            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                            Err(_) => return,
                        }
                    }
                });
                let _ = (&stream).write_all(what);
            });
        }
    }
}

/// Of a megabyte each.
const FILES: u64 = 24;

/// Fetches everything to 15 nodes at once; gives how long the last took.
fn fetch_all(lab: &Lab, scratch: &Scratch, round: &str) -> Duration {
    let dest = |node: usize| scratch.join(format!("{round}{node}"));
    let begin = |node: usize| {
        let mut command = xget();
        command.args(["-n", &Lab::ip(0), "--linger", "3", "."]).arg(dest(node));
        lab.on(node, || Proc::start(command, scratch))
    };
    let began = Instant::now();
    let clients: Vec<Proc> = (2..17).map(begin).collect();
    let has_all = |node| (0..FILES).all(|n| dest(node).join(format!("f{n}")).exists());
    until("all have everything", 80, || (2..17).all(has_all));
    let took = began.elapsed();
    for client in clients {
        client.wait().expect(0);
    }
    took
}

/// The most memory that a process had, in MiB.
fn peak_mib(pid: nix::unistd::Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A thousand idle, a thousand that come and go, a hundred that never read, some at
/// a byte a second, 65,536 fids, 100,000 requests at once: who fetches beside them
/// hardly notices, and the master stays within its memory.
#[test]
fn fifteen_clients_are_served_beside_a_crowd_of_strangers() {
    let Some(lab) = Lab::new(17) else { return };
    lab.shape(60);
    lab.shape_one(1, 1_000);
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    (0..FILES).for_each(|n| fs::write(source.join(format!("f{n}")), noise(n, 1 << 20)).unwrap());
    let options = ["--max-memory", "64", "--max-clients", "4000"];
    let master = lab.on(0, || Master::on(PORT, &scratch, &source, &options));
    master.await_ready();
    let alone = fetch_all(&lab, &scratch, "alone");
    let before = peak_mib(master.proc.pid());

    let strangers = Strangers { lab: &lab, node: 1, over: AtomicBool::new(false) };
    let manifest = [attached(), walk(1, &[".xget", "manifest"]), reads(4_000)].concat();
    let fids: Vec<u8> = (1..=65_536).flat_map(|fid| walk(fid, &[])).collect();
    let flushes: Vec<u8> = (0..100_000).flat_map(|_| message(108, 1, &[&[9, 9]])).collect();
    let (fids, flushes) = ([attached(), fids].concat(), [attached(), flushes].concat());
    let announced = [attached(), message(118, 1, &[&vec![0; 60_000]])].concat();
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| strangers.stay(500, b""));
        scope.spawn(|| strangers.stay(500, &attached()));
        scope.spawn(|| strangers.churn(1_000));
        scope.spawn(|| strangers.stay(100, &manifest));
        scope.spawn(|| strangers.stay(300, &announced[..announced.len() - 9]));
        (0..5).for_each(|_| drop(scope.spawn(|| strangers.trickle())));
        (0..2).for_each(|_| drop(scope.spawn(|| strangers.flood(&fids))));
        scope.spawn(|| strangers.flood(&flushes));
        std::thread::sleep(Duration::from_secs(3));
        let beside = fetch_all(&lab, &scratch, "beside");
        strangers.over.store(true, Ordering::Relaxed);
        beside
    });
    let peak = peak_mib(master.proc.pid());
    println!("alone {alone:?}, beside {beside:?}; peak {before} MiB, then {peak} MiB");
    assert!(beside < alone * 3 / 2 + Duration::from_secs(2), "{alone:?} {beside:?}");
    assert!(peak < 64 + before, "{before} {peak}");
}

/// Conversations of one address take every place; who comes from another gets some.
#[test]
fn who_holds_all_connections_from_one_address_makes_room_for_others() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("f"), noise(3, 3 << 20)).unwrap();
    let master = Master::start(&scratch, &source, &["--max-clients", "24"]);
    let open = message(112, 1, &[&1u32.to_le_bytes(), &[2]]);
    let said = [attached(), walk(1, &[".xget", "route"]), open].concat();
    let held = || {
        let mut stream = connect_from(ip_of(0), master.port);
        let _ = stream.write_all(&said);
        stream
    };
    let held: Vec<TcpStream> = (0..60).map(|_| held()).collect();
    for dest in ["one", "two", "three"] {
        let dest = scratch.join(dest);
        let fetch = master.fetch(&scratch, ["f", dest.to_str().unwrap()]);
        fetch.expect(0);
        assert_eq!(fs::read(dest.join("f")).unwrap(), noise(3, 3 << 20));
    }
    drop(held);
}

/// Each of them waits until something is said on its conversation, which is never.
#[test]
fn reads_that_wait_by_the_thousand_are_forgotten_at_once() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("f"), b"contents").unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let open = message(112, 1, &[&1u32.to_le_bytes(), &[2]]);
    let waiting: Vec<u8> = (0..4_096u16)
        .flat_map(|tag| message(116, 10 + tag, &[&1u32.to_le_bytes(), &[0; 12]]))
        .collect();
    let said = [attached(), walk(1, &[".xget", "route"]), open, waiting].concat();
    let held: Vec<TcpStream> = (0..30)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", master.port)).unwrap();
            stream.write_all(&said).unwrap();
            stream
        })
        .collect();
    let mut reader = Reader::connect(("127.0.0.1", master.port)).unwrap();
    let fid = reader.open(&["f", "redir"], 0).unwrap();
    reader.read(fid, 0).unwrap();
    let began = Instant::now();
    drop(held);
    while began.elapsed() < Duration::from_millis(500) {
        reader.read(fid, 0).unwrap();
    }
    let last = Instant::now();
    reader.read(fid, 0).unwrap();
    let (whole, one) = (began.elapsed(), last.elapsed());
    assert!(whole < Duration::from_secs(10) && one < Duration::from_secs(2), "{whole:?} {one:?}");
}
