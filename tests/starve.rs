//! One client must not hurt the others, nor whoever does not read what is said:
//! attacks on real processes, each beside somebody who is to be served.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::proc::{Master, free_port, xget};
use support::reader::Reader;
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
