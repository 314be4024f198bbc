//! Sessions of three dialects with the real master, as tshark's 9P dissector
//! reads them: it shares no code with us, and knows the fields by name.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::proc::Master;
use support::{Scratch, lacks, noise, tree};

const NOFID: u32 = u32::MAX;
/// tshark takes what goes to this port for 9P.
const SERVER_PORT: u16 = 20_004;
const CLIENT_PORT: u16 = 40_000;
const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];
const TCP: u8 = 6;
const PSH_ACK: u8 = 0x18;
/// LINKTYPE_RAW of pcap: packets begin with their IP header.
const RAW_IP: u32 = 101;

/// A connection whose frames go into a file as if they had been captured: no
/// rights to capture are needed, and each frame is one packet.
struct Session {
    stream: TcpStream,
    pcap: Vec<u8>,
    /// Types of the frames so far, and how many bytes each side has sent.
    types: Vec<u8>,
    sent: [u32; 2],
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}

impl Session {
    fn connect(master: &Master) -> Session {
        let stream = TcpStream::connect(("127.0.0.1", master.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let version = 2 | 4 << 16; // 2.4
        let pcap = words(&[0xa1b2_c3d4, version, 0, 0, 65_535, RAW_IP]);
        Session { stream, pcap, types: Vec::new(), sent: [1, 1] }
    }

    fn record(&mut self, from_server: bool, frame: &[u8]) {
        let (us, them) = (usize::from(from_server), usize::from(!from_server));
        let (ports, addrs) = match from_server {
            false => ([CLIENT_PORT, SERVER_PORT], [CLIENT, SERVER]),
            true => ([SERVER_PORT, CLIENT_PORT], [SERVER, CLIENT]),
        };
        let len = (40 + frame.len()) as u16;
        let mut packet = [&[0x45, 0][..], &len.to_be_bytes(), &[0; 4], &[64, TCP, 0, 0]].concat();
        packet.extend(addrs.concat());
        packet.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        packet.extend(self.sent[us].to_be_bytes());
        packet.extend(self.sent[them].to_be_bytes());
        packet.extend([0x50, PSH_ACK, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(frame);
        self.pcap.extend(words(&[self.types.len() as u32, 0, len.into(), len.into()]));
        self.pcap.extend(packet);
        self.sent[us] += frame.len() as u32;
        self.types.push(frame[4]);
    }

    fn send(&mut self, kind: u8, tag: u16, parts: &[&[u8]]) {
        let body = parts.concat();
        let mut frame = words(&[7 + body.len() as u32]);
        frame.push(kind);
        frame.extend(tag.to_le_bytes());
        frame.extend(body);
        self.stream.write_all(&frame).unwrap();
        self.record(false, &frame);
    }

    fn receive(&mut self) {
        let mut frame = vec![0; 4];
        self.stream.read_exact(&mut frame).unwrap();
        frame.resize(u32::from_le_bytes(frame[..4].try_into().unwrap()) as usize, 0);
        self.stream.read_exact(&mut frame[4..]).unwrap();
        self.record(true, &frame);
    }

    fn ask(&mut self, kind: u8, parts: &[&[u8]]) {
        self.send(kind, if kind == 100 { u16::MAX } else { 1 }, parts);
        self.receive();
    }

    /// Attached at fid 0.
    fn begin(&mut self, dialect: &str, aname: &str) {
        self.ask(100, &[&words(&[8192]), &string(dialect)]);
        let n_uname = if dialect == "9P2000" { vec![] } else { words(&[NOFID]) };
        self.ask(104, &[&words(&[0, NOFID]), &string("tester"), &string(aname), &n_uname]);
    }

    fn walk(&mut self, newfid: u32, names: &[&str]) {
        let count = (names.len() as u16).to_le_bytes();
        let names: Vec<u8> = names.iter().flat_map(|name| string(name)).collect();
        self.ask(110, &[&words(&[0, newfid]), &count, &names]);
    }

    fn open(&mut self, linux: bool, fid: u32, mode: u8) {
        match linux {
            true => self.ask(12, &[&words(&[fid, 0o100_000 | u32::from(mode)])]),
            false => self.ask(112, &[&words(&[fid]), &[mode]]),
        }
    }
}

/// What every session does with the plain view: looks, reads, is refused.
fn look_around(session: &mut Session, dialect: &str) {
    let linux = dialect == "9P2000.L";
    session.begin(dialect, "files");
    session.walk(1, &["links", "one"]);
    session.walk(2, &["links", "two"]);
    for fid in [1, 2] {
        match linux {
            true => session.ask(24, &[&words(&[fid, 0x7ff, 0])]),
            false => session.ask(124, &[&words(&[fid])]),
        }
    }
    session.walk(3, &["links"]);
    session.open(linux, 3, 0);
    session.ask(if linux { 40 } else { 116 }, &[&words(&[3, 0, 0, 8000])]);
    session.walk(4, &["nothing"]);
    session.open(linux, 1, 0);
    session.ask(116, &[&words(&[1, 0, 0, 100])]);
    session.open(linux, 2, 1);
    session.ask(108, &[&77u16.to_le_bytes()]);
    if linux {
        session.walk(4, &["links", "to"]);
        session.ask(22, &[&words(&[4])]);
        session.ask(8, &[&words(&[0])]);
        session.ask(30, &[&words(&[1, 5]), &string("user.x")]);
        session.ask(26, &[&words(&[1, 8]), &[0; 52]]);
        session.ask(50, &[&words(&[1, 0])]);
    } else if dialect == "9P2000.u" {
        session.walk(4, &["links", "to"]);
        session.ask(124, &[&words(&[4])]);
        session.ask(126, &[&words(&[1]), &wstat_of_nothing()]);
    }
    session.ask(122, &[&words(&[2])]);
    session.ask(120, &[&words(&[1])]);
}

/// Twstat with each field "don't touch": what Linux sends for fsync.
fn wstat_of_nothing() -> Vec<u8> {
    let stat = [&[0xff; 39][..], &[0; 4 * 2], &[0; 2], &[0xff; 3 * 4]].concat();
    let len = stat.len() as u16;
    [&(len + 2).to_le_bytes()[..], &len.to_le_bytes(), &stat].concat()
}

/// Live files: a read that waits and is given up, and a line for the log.
fn wait_and_write(session: &mut Session, dialect: &str) {
    let linux = dialect == "9P2000.L";
    session.begin(dialect, "");
    session.walk(1, &[".xget", "route"]);
    session.open(linux, 1, 2);
    session.send(116, 9, &[&words(&[1, 0, 0, 100])]);
    session.ask(108, &[&9u16.to_le_bytes()]);
    session.walk(2, &["log"]);
    session.open(linux, 2, 1);
    let line = b"a line\n";
    session.ask(118, &[&words(&[2, 0, 0, line.len() as u32]), line]);
}

/// One line of these fields for each frame, tabs between; of a field that is
/// there several times, commas.
fn dissect(file: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(file).args(["-d", &format!("tcp.port=={SERVER_PORT},9p")]);
    command.args(["-o", "tcp.check_checksum:FALSE", "-Y", filter, "-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{fields:?}: {said}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn served(scratch: &Scratch) -> Master {
    let source = scratch.dir("source");
    let links = source.join("links");
    fs::create_dir(&links).unwrap();
    fs::write(links.join("one"), noise(1, 5000)).unwrap();
    tree::chmod(&links.join("one"), 0o640);
    tree::set_mtime(&links.join("one"), 1_500_000_000, 5);
    fs::hard_link(links.join("one"), links.join("two")).unwrap();
    symlink("one", links.join("to")).unwrap();
    Master::start(scratch, &source, &[])
}

/// Records a session; the file is whole and each frame is what was sent.
fn recorded(scratch: &Scratch, master: &Master, run: impl FnOnce(&mut Session)) -> PathBuf {
    let mut session = Session::connect(master);
    run(&mut session);
    let file = scratch.join(format!("{}.pcap", support::unique()));
    fs::write(&file, &session.pcap).unwrap();
    let malformed = "_ws.malformed || 9p.msgtype.unknown || !9p";
    let wrong = dissect(&file, malformed, &["frame.number", "_ws.expert.message", "data"]);
    assert!(wrong.is_empty(), "{wrong:?} of {:?}", session.types);
    let types: Vec<String> = session.types.iter().map(u8::to_string).collect();
    assert_eq!(dissect(&file, "9p", &["9p.msgtype"]), types);
    file
}

/// The second name of the file that `served` makes, in both, has that file's number.
fn assert_one_file(found: &[String], expected: &[&str]) {
    let qid_path = |line: &String| line.split('\t').next().unwrap().to_owned();
    assert_eq!(qid_path(&found[0]), qid_path(&found[1]), "{found:?}");
    let rest: Vec<_> = found.iter().map(|line| line.split_once('\t').unwrap().1).collect();
    assert_eq!(rest, expected);
}

#[test]
fn tshark_finds_nothing_malformed_in_three_dialects() {
    if lacks(&["tshark"]) {
        return;
    }
    let scratch = Scratch::new();
    let master = served(&scratch);
    for dialect in ["9P2000", "9P2000.u", "9P2000.L"] {
        let file = recorded(&scratch, &master, |session| look_around(session, dialect));
        let of = |kind: u8, fields: &[&str]| dissect(&file, &format!("9p.msgtype=={kind}"), fields);
        assert_eq!(of(101, &["9p.maxsize", "9p.version"]), [format!("8192\t{dialect}")]);
        if dialect == "9P2000.L" {
            let fields = ["9p.qidpath", "9p.nlink", "9p.size", "9p.statmode", "9p.mtime"];
            let seen = "2\t5000\t33184\tJul 14, 2017 02:40:00.000000005 UTC";
            assert_one_file(&of(25, &fields), &[seen, seen]);
            let statfs = of(9, &["9p.fstype", "9p.blksize", "9p.files", "9p.namelen"]);
            assert_eq!(statfs, ["0x01021997\t4096\t2\t255"]);
        } else {
            let fields = ["9p.qidpath", "9p.filename", "9p.length", "9p.statmode", "9p.mtime"];
            let seen = "5000\t416\tJul 14, 2017 02:40:00.000000000 UTC";
            let stats = &of(125, &fields)[..2];
            assert_one_file(stats, &[&format!("one\t{seen}"), &format!("two\t{seen}")]);
            let (absent, refused) = ("No such file or directory", "Read-only file system");
            assert_eq!(of(107, &["9p.ename"]), [absent, refused, refused]);
        }
        recorded(&scratch, &master, |session| wait_and_write(session, dialect));
    }
}
