//! Who on the network has it? `xget get` and `find` on a bridge, masters that die and lie.

#![allow(clippy::unwrap_used)]

mod support;

use nix::sys::signal::Signal;
use peer::content::digest::Digest;
use peer::control::{Answer, Question, Speaker};
use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use support::lab::{Lab, PORT};
use support::proc::{Ended, Master, Proc, XGET, xget};
use support::{Scratch, until};

/// A master on a node, and what it serves.
fn master(lab: &Lab, node: usize, scratch: &Scratch, dir: &Path, options: &[&str]) -> Master {
    let port = if options.contains(&"-p") { 0 } else { PORT };
    let master = lab.on(node, || match port {
        0 => {
            let mut command = xget();
            command.args(options).arg("--no-cache").arg(dir);
            Master { proc: Proc::start(command, scratch), port: PORT }
        }
        port => Master::on(port, scratch, dir, options),
    });
    master.await_ready();
    master
}

fn started(lab: &Lab, node: usize, scratch: &Scratch, line: &str) -> Proc {
    let mut command = xget();
    command.args(line.split(' '));
    lab.on(node, || Proc::start(command, scratch))
}

fn ran(lab: &Lab, node: usize, scratch: &Scratch, line: &str) -> Ended {
    started(lab, node, scratch, line).wait()
}

/// A tree of one file, and where it is.
fn tree(scratch: &Scratch, name: &str, text: &[u8]) -> std::path::PathBuf {
    let dir = scratch.join(name);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("image"), text).unwrap();
    dir
}

/// The same files, with all their attributes.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

fn digest_of(dir: &Path) -> String {
    let mut command = Command::new(XGET);
    command.arg("--print-digest").args([dir, Path::new("image")]);
    printed_by(&mut command).trim_end().to_string()
}

fn printed_by(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn who_has_it_is_found_wherever_it_serves_and_who_is_hidden_is_not() {
    let Some(lab) = Lab::new(4) else { return };
    let scratch = Scratch::new();
    let dir = tree(&scratch, "a", b"the image");
    let copied = scratch.join("b");
    copy(&dir, &copied);
    let _plain = master(&lab, 0, &scratch, &dir, &[]);
    let _other = master(&lab, 1, &scratch, &copied, &["-p", "7777"]);
    let _hidden = master(&lab, 2, &scratch, &copied, &["--no-discovery"]);
    let found = ran(&lab, 3, &scratch, "find image").expect(0).within(5);
    let digest = digest_of(&dir);
    let lines: Vec<&str> = found.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", found.out);
    for (addr, line) in ["10.99.0.1:20004", "10.99.0.2:7777"].into_iter().zip({
        let mut lines = lines.clone();
        lines.sort_unstable();
        lines
    }) {
        assert!(
            line.starts_with(addr) && line.ends_with(&digest) && line.contains(" 9 "),
            "{line}"
        );
    }
    let dest = scratch.join("dest");
    let dest = dest.to_str().unwrap();
    let line = format!("get --linger 0 image {dest}");
    ran(&lab, 3, &scratch, &line).expect(0).says("image is at 10.99.0.").within(5);
    assert_eq!(fs::read(Path::new(dest).join("image")).unwrap(), b"the image");
    // A pattern, and one machine that asks itself.
    ran(&lab, 0, &scratch, "find --json ima*").expect(0).says(&digest);
}

#[test]
fn two_masters_of_one_machine_both_answer() {
    let Some(lab) = Lab::new(2) else { return };
    let scratch = Scratch::new();
    let (one, two) = (tree(&scratch, "a", b"one"), tree(&scratch, "b", b"two!"));
    let _one = master(&lab, 0, &scratch, &one, &[]);
    let _two = master(&lab, 0, &scratch, &two, &["-p", "7777"]);
    let found = ran(&lab, 1, &scratch, "find image").expect(0);
    assert!(found.out.contains("10.99.0.1:20004 ") && found.out.contains("10.99.0.1:7777 "));
    // They have different things: a person chooses.
    let dest = scratch.join("dest");
    let line = format!("get --linger 0 image {}", dest.display());
    let ended = ran(&lab, 1, &scratch, &line).expect(4).says("nothing was fetched");
    for what in [digest_of(&one), digest_of(&two), "10.99.0.1:7777".into()] {
        assert!(ended.err.contains(&what), "{}", ended.err);
    }
    assert!(!dest.exists());
    let line = format!("get --linger 0 --digest {} image {}", digest_of(&two), dest.display());
    ran(&lab, 1, &scratch, &line).expect(0);
    assert_eq!(fs::read(dest.join("image")).unwrap(), b"two!");
}

#[test]
fn where_nobody_has_it_that_is_said_after_ten_seconds() {
    let Some(lab) = Lab::new(2) else { return };
    let scratch = Scratch::new();
    let dir = tree(&scratch, "a", b"x");
    let _master = master(&lab, 0, &scratch, &dir, &[]);
    let dest = scratch.join("dest");
    let ended = ran(&lab, 1, &scratch, &format!("get other {}", dest.display())).expect(3);
    assert!(ended.took >= Duration::from_secs(10), "{:?}", ended.took);
    let ended = ended.within(15).says("--no-discovery").says("UDP port 20004").says("by -n");
    assert!(ended.err.contains("has other") && !dest.exists(), "{}", ended.err);
}

#[test]
fn a_file_that_has_come_since_the_last_look_is_found_at_once() {
    let Some(lab) = Lab::new(2) else { return };
    let scratch = Scratch::new();
    let dir = tree(&scratch, "a", b"x");
    let _master = master(&lab, 0, &scratch, &dir, &[]);
    std::thread::sleep(Duration::from_millis(1_100));
    fs::write(dir.join("new"), "y").unwrap();
    ran(&lab, 1, &scratch, "find new").expect(0).within(5);
}

#[test]
fn by_ipv6_alone_it_is_found_and_fetched_over_the_link() {
    let Some(lab) = Lab::new(2) else { return };
    let scratch = Scratch::new();
    let dir = tree(&scratch, "a", b"six");
    for node in [0, 1] {
        lab.on(node, || {
            let flush = ["-4", "addr", "flush", "dev", "eth0"];
            assert!(Command::new("ip").args(flush).status().unwrap().success());
        });
    }
    let addrs = || printed_by(Command::new("ip").args(["-6", "addr", "show", "dev", "eth0"]));
    for node in [0, 1] {
        until("the link has its address", 10, || {
            let text = lab.on(node, addrs);
            text.contains("fe80:") && !text.contains("tentative")
        });
    }
    let _master = master(&lab, 0, &scratch, &dir, &[]);
    let dest = scratch.join("dest");
    let line = format!("get --linger 0 image {}", dest.display());
    ran(&lab, 1, &scratch, &line).expect(0).says("image is at [fe80:");
    assert_eq!(fs::read(dest.join("image")).unwrap(), b"six");
}

#[test]
fn a_master_that_dies_in_the_middle_is_replaced_and_nothing_moves_again() {
    let Some(lab) = Lab::new(5) else { return };
    let scratch = Scratch::new();
    // 4 s at this pace.
    const BYTES: usize = 20 << 20;
    let bytes: Vec<u8> =
        (0..BYTES as u32 / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let dir = tree(&scratch, "a", &bytes);
    let copied = scratch.join("b");
    copy(&dir, &copied);
    let first = master(&lab, 0, &scratch, &dir, &[]);
    let _second = master(&lab, 1, &scratch, &copied, &[]);
    lab.shape(40);
    let fetch = |node: usize| {
        let dest = scratch.join(format!("dest{node}"));
        let masters = format!("{},{}", Lab::ip(0), Lab::ip(1));
        started(&lab, node, &scratch, &format!("-n {masters} image {}", dest.display()))
    };
    let clients: Vec<Proc> = (2..5).map(fetch).collect();
    until("a third has come", 60, || lab.received_bytes(2) > BYTES as u64 / 3);
    first.proc.signal(Signal::SIGKILL);
    for (node, client) in (2..5).zip(clients) {
        let ended = client.wait().expect(0);
        assert!(ended.moved() < 1.01 * BYTES as f64, "moved {}: {}", ended.moved(), ended.out);
        let here = fs::read(scratch.join(format!("dest{node}/image"))).unwrap();
        assert!(here == bytes, "node {node}");
        // And what is beside it on the link.
        let received = lab.received_bytes(node);
        assert!(received < BYTES as u64 * 5 / 4, "node {node} received {received}");
    }
    let copies = lab.sent_bytes(1) as f64 / BYTES as f64;
    assert!(copies < 1.4, "{copies} copies left the spare");
}

#[test]
fn a_spare_that_serves_something_else_is_said_and_the_fetch_ends_as_one_without() {
    let Some(lab) = Lab::new(3) else { return };
    let scratch = Scratch::new();
    let bytes = vec![7; 6 << 20];
    let dir = tree(&scratch, "a", &bytes);
    let other = tree(&scratch, "b", b"something else");
    let first = master(&lab, 0, &scratch, &dir, &[]);
    let _second = master(&lab, 1, &scratch, &other, &[]);
    lab.shape(20);
    let dest = scratch.join("dest");
    let line = format!("-r 3 -n {},{} image {}", Lab::ip(0), Lab::ip(1), dest.display());
    let client = started(&lab, 2, &scratch, &line);
    until("some has come", 60, || lab.received_bytes(2) > 1 << 20);
    first.proc.signal(Signal::SIGKILL);
    let ended = client.wait().expect(3).says("another is asked");
    assert!(ended.err.contains("10.99.0.2:20004: the served tree: changed"), "{}", ended.err);
    assert!(!dest.join("image").exists());
}

/// Answers every question it hears with what `answers` make of it, until it is dropped.
struct Liar {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// The answers: a digest, a TCP port, and how often it says so.
    fn on(lab: &Lab, node: usize, digest: Digest, bytes: u64, port: u16, count: u32) -> Liar {
        Liar::saying(lab, node, move |_, id| {
            let answer = |nth| {
                let port = port.wrapping_add(nth as u16).max(1);
                let speaker = Speaker { master: u64::from(nth), port };
                [Answer::Have { bytes, digest }.datagram(id, speaker), vec![0xff; 99]]
            };
            (0..count).flat_map(answer).collect()
        })
    }

    /// Says this to the first question, the second, and so on.
    fn saying(
        lab: &Lab,
        node: usize,
        answers: impl Fn(usize, u64) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Liar {
        let socket = lab.on(node, || {
            let socket = UdpSocket::bind(("0.0.0.0", 20_004)).unwrap();
            nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv4Ttl, &255)
                .unwrap();
            socket
        });
        assert!(socket.as_raw_fd() >= 0);
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = std::thread::spawn(move || {
            let (mut buffer, mut nth) = ([0; 2_000], 0);
            while !over.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                let Some(question) = Question::parse(&buffer[..len]) else { continue };
                for datagram in answers(nth, question.id) {
                    let _ = socket.send_to(&datagram, from);
                }
                nth += 1;
            }
        });
        Liar { is_over, thread: Some(thread) }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn parsed(digest: &str) -> Digest {
    Digest::parse(digest.strip_prefix("blake3:").unwrap()).unwrap()
}

#[test]
fn who_says_that_it_has_what_it_has_not_is_left_for_who_has_it_or_the_fetch_fails() {
    let Some(lab) = Lab::new(3) else { return };
    let scratch = Scratch::new();
    let (dir, other) = (tree(&scratch, "a", b"right"), tree(&scratch, "b", b"wrong"));
    let digest = parsed(&digest_of(&dir));
    // A real master of something else, and a liar beside it that says it is the right thing.
    let _wrong = master(&lab, 1, &scratch, &other, &["--no-discovery"]);
    let _liar = Liar::on(&lab, 1, digest, 5, PORT, 1);
    let dest = scratch.join("dest");
    let line = format!("get --linger 0 image {}", dest.display());
    let ended = ran(&lab, 2, &scratch, &line).expect(5).says("nothing was written");
    assert!(ended.err.contains("the master 10.99.0.2:20004"), "{}", ended.err);
    assert!(!dest.join("image").exists());
    let _right = master(&lab, 0, &scratch, &dir, &[]);
    ran(&lab, 2, &scratch, &line).expect(0);
    assert_eq!(fs::read(dest.join("image")).unwrap(), b"right");
}

/// Of signify(1), without a passphrase.
const SECRET: &str = "\
untrusted comment: test secret key
RWRCSwAAAADvhnuZ9gTF1n0A3O7vl9aPBTW2uehzY01lzykCgUxEr6Zi5dKJH+bFKZyvI1aOwozm3111d6E1F2mvBqyaPXC9fxXmCnRYqq4UaStX4oofcmf74HW4MucLUEzYFJYyuZs=
";
const PUBLIC: &str = "RWRlzykCgUxEr38V5gp0WKquFGkrV+KKH3Jn++B1uDLnC1BM2BSWMrmb";

#[test]
fn of_those_who_differ_the_one_whose_is_signed_is_found() {
    let Some(lab) = Lab::new(3) else { return };
    let scratch = Scratch::new();
    let (dir, other) = (tree(&scratch, "a", b"right"), tree(&scratch, "b", b"wrong"));
    let key = scratch.join("key");
    fs::write(&key, SECRET).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let dest = scratch.join("dest");
    let line = format!("get --linger 0 --trust {PUBLIC} image {}", dest.display());
    let _wrong = master(&lab, 0, &scratch, &other, &[]);
    let _right = master(&lab, 1, &scratch, &dir, &[]);
    ran(&lab, 2, &scratch, &line).expect(5).says("is not signed");
    assert!(!dest.join("image").exists());
    printed_by(Command::new(XGET).arg("--sign").args([&key, &dir]).arg("image"));
    ran(&lab, 2, &scratch, &line).expect(0);
    assert_eq!(fs::read(dest.join("image")).unwrap(), b"right");
    // Who trusts nobody in particular has to choose.
    let line = format!("get --linger 0 image {}", dest.display());
    ran(&lab, 2, &scratch, &line).expect(4).says("do not have the same");
}

#[test]
fn what_another_still_hashes_is_waited_for_and_the_old_one_is_not_taken() {
    let Some(lab) = Lab::new(3) else { return };
    let scratch = Scratch::new();
    let dir = tree(&scratch, "a", b"old");
    let _old = master(&lab, 0, &scratch, &dir, &[]);
    // It looks at its tree, is still at it when it is asked again, and then has the new one.
    let speaker = Speaker { master: 9, port: PORT };
    let _new = Liar::saying(&lab, 1, move |nth, id| match nth {
        0 => vec![],
        1 => vec![Answer::Hashing.datagram(id, speaker)],
        _ => vec![Answer::Have { bytes: 9, digest: Digest([9; 32]) }.datagram(id, speaker)],
    });
    let dest = scratch.join("dest");
    let line = format!("get --linger 0 image {}", dest.display());
    ran(&lab, 2, &scratch, &line).expect(4).says("10.99.0.2:20004  9 bytes").within(8);
    assert!(!dest.exists());
}

#[test]
fn who_hashes_all_the_while_is_named_where_another_is_taken() {
    let Some(lab) = Lab::new(3) else { return };
    let scratch = Scratch::new();
    let dir = tree(&scratch, "a", b"old");
    let _old = master(&lab, 0, &scratch, &dir, &[]);
    let speaker = Speaker { master: 9, port: PORT };
    let _new = Liar::saying(&lab, 1, move |_, id| vec![Answer::Hashing.datagram(id, speaker)]);
    let dest = scratch.join("dest");
    let line = format!("get --linger 0 image {}", dest.display());
    let ended = ran(&lab, 2, &scratch, &line).expect(0).within(15);
    ended.says("10.99.0.2:20004 still hashes and may have another image");
    let line = format!("get --linger 0 --digest {} image {}", digest_of(&dir), dest.display());
    ran(&lab, 2, &scratch, &line).expect(0).within(5);
}

#[test]
fn on_a_machine_without_a_network_its_own_masters_silence_is_said_too() {
    let Some(lab) = Lab::new(1) else { return };
    let scratch = Scratch::new();
    let dir = tree(&scratch, "a", b"x");
    lab.on(0, || {
        let down = ["link", "set", "eth0", "down"];
        assert!(Command::new("ip").args(down).status().unwrap().success());
    });
    let _master = master(&lab, 0, &scratch, &dir, &[]);
    ran(&lab, 0, &scratch, "find image").expect(0);
    let ended = ran(&lab, 0, &scratch, "find other").expect(3);
    ended.says("nobody answers on this machine").says("no network to ask on");
}

#[test]
fn a_flood_of_answers_ends_in_a_bounded_list() {
    let Some(lab) = Lab::new(3) else { return };
    let scratch = Scratch::new();
    let dir = tree(&scratch, "a", b"right");
    let _right = master(&lab, 0, &scratch, &dir, &[]);
    let _liar = Liar::on(&lab, 1, Digest([7; 32]), 5, 1, 5_000);
    let dest = scratch.join("dest");
    let line = format!("get --linger 0 image {}", dest.display());
    let ended = ran(&lab, 2, &scratch, &line).within(40);
    // The kernel may have dropped the answer of who has it: then a liar is called.
    assert!([3, 4].contains(&ended.status), "{}", ended.err);
    assert!(ended.err.lines().count() <= 40, "{}", ended.err);
    assert!(ended.status == 3 || ended.err.contains("and "), "{}", ended.err);
    assert!(!dest.join("image").exists());
    // What is pinned comes from who has it, as soon as one of its answers is heard.
    let line = format!("get --linger 0 --digest {} image {}", digest_of(&dir), dest.display());
    until("the pinned one is heard", 100, || ran(&lab, 2, &scratch, &line).within(40).status == 0);
    assert_eq!(fs::read(dest.join("image")).unwrap(), b"right");
}

#[test]
fn one_liar_with_many_ports_keeps_nobody_from_who_has_it() {
    let Some(lab) = Lab::new(3) else { return };
    let scratch = Scratch::new();
    let dir = tree(&scratch, "a", b"right");
    // Who has it looks at what it serves first, and so answers last.
    for number in 0..5_000 {
        fs::write(dir.join(format!("other{number}")), "").unwrap();
    }
    let digest = digest_of(&dir);
    let _right = master(&lab, 0, &scratch, &dir, &[]);
    let _liar = Liar::on(&lab, 1, parsed(&digest), 5, 30_000, 40);
    for (nth, pin) in [String::new(), format!("--digest {digest} ")].iter().enumerate() {
        let dest = scratch.join(format!("dest{nth}"));
        let line = format!("get -r 3 --linger 0 {pin}image {}", dest.display());
        ran(&lab, 2, &scratch, &line).expect(0).within(20).says("10.99.0.2:30000");
        assert_eq!(fs::read(dest.join("image")).unwrap(), b"right");
    }
}

#[test]
fn ls_and_status_ask_the_network_where_nobody_names_a_master() {
    let Some(lab) = Lab::new(3) else { return };
    let scratch = Scratch::new();
    let dir = tree(&scratch, "a", b"the image");
    let other = tree(&scratch, "b", b"another image");
    ran(&lab, 2, &scratch, "ls").expect(3).says("nobody on this network").within(20);
    let _one = master(&lab, 0, &scratch, &dir, &[]);
    let listed = ran(&lab, 2, &scratch, "ls").expect(0);
    assert_eq!(listed.out, "image\n");
    listed.says(&format!("the master is {}:{PORT}", Lab::ip(0)));
    ran(&lab, 2, &scratch, "status").expect(0).says("ADDRESS");
    let _two = master(&lab, 1, &scratch, &other, &[]);
    ran(&lab, 2, &scratch, "ls").expect(4).says("several masters").says(&Lab::ip(1));
    ran(&lab, 2, &scratch, &format!("ls -n {}", Lab::ip(1))).expect(0);
    // Who serves lists what it serves itself.
    assert_eq!(ran(&lab, 0, &scratch, "ls").expect(0).err, "");
}
