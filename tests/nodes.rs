//! Nodes that ask a real master who they are: `nodes.tab` in all its states, many nodes, hostile
//! ones, and `xget --up`.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::io::{Error, ErrorKind};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use support::proc::{Ended, Master, Proc, xget};
use support::reader::{Reader, read_text};
use support::stranger::{connect_from, ip_of};
use support::{DeafPort, Scratch, until};

const NODE: [&str; 2] = [".xget", "node"];

/// A served directory of two images and some layers.
fn served(scratch: &Scratch) -> PathBuf {
    let source = scratch.dir("source");
    for file in [
        "images/debian/kernel",
        "images/debian/root/etc/motd",
        "images/tiny/kernel",
        "layers/all/etc/motd",
        "layers/n001/etc/motd",
    ] {
        fs::create_dir_all(source.join(file).parent().unwrap()).unwrap();
        fs::write(source.join(file), file).unwrap();
    }
    source
}

/// Replaces the file in one step, as an editor does.
fn write_tab(source: &Path, text: &str) {
    fs::write(source.join(".new"), text).unwrap();
    fs::rename(source.join(".new"), source.join("nodes.tab")).unwrap();
}

/// Says who it is and reads all of the answer.
fn ask_on(mut reader: Reader, line: &str) -> Result<String, Error> {
    let fid = reader.open(&NODE, 2)?;
    reader.write(fid, line.as_bytes())?;
    let mut answer = Vec::new();
    loop {
        match reader.read(fid, answer.len() as u64)? {
            part if part.is_empty() => return Ok(String::from_utf8_lossy(&answer).into_owned()),
            part => answer.extend(part),
        }
    }
}

fn ask(master: &Master, line: &str) -> String {
    let reader = Reader::connect(("127.0.0.1", master.port)).unwrap();
    ask_on(reader, line).unwrap()
}

fn nodes(master: &Master) -> String {
    read_text(("127.0.0.1", master.port), &[".xget", "nodes"]).unwrap()
}

fn up(args: &[&str]) -> Ended {
    let mut command = xget();
    command.arg("--up").args(args);
    Proc::start(command, &Scratch::new()).wait()
}

#[test]
fn a_node_is_told_what_its_line_says() {
    let scratch = Scratch::new();
    let source = served(&scratch);
    write_tab(
        &source,
        "@base - debian all console=ttyS0\n\
         52:54:00:00:00:01 n001 @base\n\
         node[1-2] n[101-102] @base\n\
         serial=X7 n200 tiny - quiet\n\
         127.0.0.0/8 - tiny\n",
    );
    let master = Master::start(&scratch, &source, &[]);
    let kernel = |image: &str| {
        let digest = blake3::hash(format!("images/{image}/kernel").as_bytes()).to_hex();
        format!("image images/{image}\nkernel blake3:{digest}\npart kernel\n")
    };
    let base = kernel("debian") + "root dir\nlayer layers/all\n";
    let words = "words console=ttyS0\n";
    let of_mac = ask(&master, "mac=52-54-00-00-00-01 host=node1\n");
    assert_eq!(of_mac, format!("name n001\n{base}layer layers/n001\n{words}"));
    assert_eq!(ask(&master, "host=node2"), format!("name n102\n{base}{words}"));
    let of_serial = ask(&master, "serial=X7");
    assert_eq!(of_serial, format!("name n200\n{}words quiet\n", kernel("tiny")));
    assert_eq!(ask(&master, "serial=none"), kernel("tiny"), "by its address");
    let heard = nodes(&master);
    assert!(heard.starts_with(
        "table=good nodes=5\nstate=asked seconds=0 heard=0 address=127.0.0.1 name=n001 "
    ));
    assert_eq!(heard.lines().count(), 5, "{heard}");
}

#[test]
fn the_file_may_come_change_be_wrong_and_go() {
    let scratch = Scratch::new();
    let source = served(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let image = |line: &str| ask(&master, line).lines().next().unwrap().to_string();
    assert_eq!(image("host=n001 image=debian"), "image images/debian");
    write_tab(&source, "n001 - tiny\n");
    until("it is read", 20, || image("host=n001") == "name n001");
    let unknown = "unknown no line of nodes.tab is this node's, and none is for all";
    assert_eq!(image("host=n002 image=debian"), unknown);
    assert!(nodes(&master).contains("\nstate=unknown "), "{}", nodes(&master));
    write_tab(&source, "n001 - tiny\n\nn002 debian]\n");
    let why = "nodes.tab: line 3, column 6: \"debian]\": a host name is expected; \
               what it said before stays in force";
    until("it is found wrong", 20, || {
        assert_eq!(image("host=n001"), "name n001");
        master.proc.err().contains(why)
    });
    until("it is not said again", 20, || {
        nodes(&master).starts_with("table=wrong nodes=1 why=line")
    });
    assert_eq!(master.proc.err().matches("nodes.tab").count(), 1, "{}", master.proc.err());
    // Nobody asks, and SIGHUP is enough.
    write_tab(&source, "n[001-040] - tiny\n");
    master.proc.signal(Signal::SIGHUP);
    until("it is read again", 20, || nodes(&master).starts_with("table=good nodes=40\n"));
    fs::remove_file(source.join("nodes.tab")).unwrap();
    until("it is gone", 20, || image("host=n002 image=debian") == "image images/debian");
    assert!(master.proc.err().contains("nodes.tab is gone"), "{}", master.proc.err());
}

#[test]
fn an_image_that_comes_late_is_there_with_the_next_question() {
    let scratch = Scratch::new();
    let source = served(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    assert_eq!(ask(&master, "host=a image=late"), "missing image late is not served\n");
    fs::create_dir_all(source.join("images/late")).unwrap();
    fs::write(source.join("images/late/kernel"), "k").unwrap();
    assert!(ask(&master, "host=a image=late").starts_with("image images/late\nkernel blake3:"));
}

#[test]
fn a_thousand_nodes_ask_and_each_is_listed() {
    const NODES: usize = 1_000;
    let scratch = Scratch::new();
    let source = served(&scratch);
    let tab: String = (0..NODES)
        .map(|n| format!("52:54:00:00:{:02x}:{:02x} n{n:04} debian all\n", n >> 8, n & 255))
        .collect();
    write_tab(&source, &tab);
    let master = Master::start(&scratch, &source, &[]);
    for n in 0..NODES {
        let stream = connect_from(ip_of(n), master.port);
        let line = format!("mac=52:54:00:00:{:02x}:{:02x}\nstate starting", n >> 8, n & 255);
        let answer = ask_on(Reader::over(stream).unwrap(), &line).unwrap();
        assert!(answer.starts_with(&format!("name n{n:04}\nimage images/debian\n")), "{answer}");
    }
    until("all are listed", 20, || nodes(&master).lines().count() == NODES + 1);
    let heard = nodes(&master);
    assert_eq!(heard.lines().count(), NODES + 1);
    assert_eq!(heard.matches("state=starting ").count(), NODES);
}

#[test]
fn hostile_lines_are_refused_or_cut_and_the_others_are_heard() {
    let scratch = Scratch::new();
    let source = served(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let mut reader = Reader::connect(("127.0.0.1", master.port)).unwrap();
    let fid = reader.open(&NODE, 2).unwrap();
    let long = format!("host={}", "x".repeat(5_000));
    for line in ["", "x", "host=a\nhost=b\nhost=c", "state dancing", "a=b\n\n", &long] {
        assert!(reader.write(fid, line.as_bytes()).is_err(), "{line:.20}");
    }
    assert!(reader.write(fid, b"\xff\xfe=\n").is_err());
    assert!(Reader::connect(("127.0.0.1", master.port)).unwrap().open(&NODE, 2).is_ok());
    // No newline, control character or terminal code of a stranger gets through.
    let odd = ask(&master, "host=a serial=a%0ab image=%1b[31m%0aname%20x");
    assert_eq!(odd, "missing image ?[31m?name x is not served\n");
    ask(&master, "host=odd\nstate failed a\x1b[31m%0a state=up");
    let heard = nodes(&master);
    assert!(heard.contains(" said=a%3f%5b31m%250a%20state=up host=odd\n"), "{heard}");
    // Of a path all is kept that is one, and no more of it than people read.
    let winding = format!("host=long image={}images/tiny", "./".repeat(1_500));
    assert!(ask(&master, &winding).starts_with("image images/tiny\n"));
    assert!(nodes(&master).contains(" image=images/tiny host=long\n"), "{}", nodes(&master));
    let upwards = format!("host=long image={}images/tiny", "images/../".repeat(300));
    assert!(ask(&master, &upwards).ends_with("images/tiny is not served\n"));
    assert!(nodes(&master).lines().all(|line| line.len() < 2_000));
    // 2,000 of one address are not 2,000 lines.
    for n in 0..2_000 {
        let mac = format!("mac=02:00:00:00:{:02x}:{:02x} image=tiny", n >> 8, n & 255);
        assert!(ask(&master, &mac).starts_with("image images/tiny\n"));
    }
    until("all are listed", 20, || nodes(&master).lines().count() == 1 + 1_024);
    let stream = connect_from(ip_of(1), master.port);
    ask_on(Reader::over(stream).unwrap(), "mac=52:54:00:00:00:01").unwrap();
    // The list of so many is composed anew after an eighth of a second.
    until("another is listed", 20, || nodes(&master).contains(" mac=52:54:00:00:00:01\n"));
}

#[test]
fn up_is_heard_by_the_master_that_is_named() {
    let scratch = Scratch::new();
    let source = served(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    up(&["-n", &master.addr()]).expect(0).within(10);
    let heard = nodes(&master);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let said = format!(" said=kernel={}%20image=", release.trim());
    assert!(heard.contains("\nstate=up seconds=0 heard=0 address=127.0.0.1 "), "{heard}");
    assert!(heard.contains(&said), "{heard}");
}

#[test]
fn up_ends_in_words_where_there_is_no_master_or_no_answer() {
    let deaf = DeafPort::new();
    let nobody = up(&["-n", &deaf.addr()]).expect(3).within(85);
    nobody.says("does not hear that this node is up: Connection refused");
    let words = fs::read_to_string("/proc/cmdline").unwrap();
    let came_from_a_master = Path::new("/run/xget/node").exists()
        || words.split_whitespace().any(|word| word.starts_with("xget.master="));
    if !came_from_a_master {
        let no_master = up(&[]).expect(2).within(10);
        no_master.says("no master is known: neither -n, nor /run/xget/node, nor xget.master=");
    }
}

#[test]
fn up_does_not_wait_for_one_that_takes_calls_and_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    up(&["-n", &addr]).expect(3).within(85).says("timed out");
}

#[test]
fn a_node_that_breaks_off_is_no_trouble() {
    let scratch = Scratch::new();
    let source = served(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    for _ in 0..50 {
        let mut reader = Reader::connect(("127.0.0.1", master.port)).unwrap();
        let fid = reader.open(&NODE, 2).unwrap();
        reader.write(fid, b"host=a image=none").unwrap();
        assert_eq!(reader.open(&NODE, 2).unwrap_err().kind(), ErrorKind::Other, "one each");
    }
    assert!(ask(&master, "host=a image=tiny").starts_with("image images/tiny\n"));
}
