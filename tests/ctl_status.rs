//! `xgetctl status` beside a real master: what it shows, follows and waits for, and how it ends.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

#[path = "ctl_support.rs"]
mod ctl;
mod support;

use ctl::{Head, XGETCTL};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use support::proc::{Master, Proc, command, free_port};
use support::reader::Reader;
use support::stranger::{connect_from, ip_of};
use support::{DeafPort, lacks, until};

const TAB: &str = "52:54:00:00:00:01 n001 debian\n52:54:00:00:00:02 n002 debian\n\
                   10.0.0.3 n003 tiny\n";

fn head() -> Head {
    let head = Head::new();
    for image in ["debian", "tiny"] {
        fs::create_dir_all(head.image(image)).unwrap();
        fs::write(head.image(image).join("kernel"), image).unwrap();
    }
    fs::write(head.dir.join("nodes.tab"), TAB).unwrap();
    head
}

/// A node that says this of itself, from an address of its own.
fn ask(master: &Master, node: usize, line: &str) {
    let mut reader = Reader::over(connect_from(ip_of(node), master.port)).unwrap();
    let fid = reader.open(&[".xget", "node"], 2).unwrap();
    reader.write(fid, line.as_bytes()).unwrap();
    assert!(!reader.read(fid, 0).unwrap().is_empty());
}

/// One that fetches, for as long as this is held.
fn fetch(master: &Master, node: usize) -> Reader {
    let mut reader = Reader::over(connect_from(ip_of(node), master.port)).unwrap();
    let fid = reader.open(&[".xget", "route"], 2).unwrap();
    reader.write(fid, b"join 3 9 images/debian\n").unwrap();
    until("it is told what there is", 20, || {
        String::from_utf8_lossy(&reader.read(fid, 0).unwrap()).contains("generation ")
    });
    reader.write(fid, b"progress 43 100 43 0 7\n").unwrap();
    reader
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_node_is_listed_heard_or_not() {
    let head = head();
    let master = Master::start(&head.scratch, &head.dir, &[]);
    let status = |options: &str| head.says(&format!("status -n {}{options}", master.addr()));
    assert!(status("").expect(0).out.ends_with("\n3 not heard\n"));
    ask(&master, 1, "mac=52:54:00:00:00:01\nstate up kernel=6");
    ask(&master, 2, "mac=52:54:00:00:00:02");
    ask(&master, 4, "mac=52:54:00:00:00:04");
    let fetching = fetch(&master, 2);
    let mut said = String::new();
    until("it is known how far it is", 20, || {
        said = status("").expect(0).out;
        said.contains("fetching 43 %")
    });
    assert!(said.ends_with("\n1 up, 1 fetching, 1 unknown, 1 not heard\n"), "{said}");
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..2], ["n001", "up"]);
    assert_eq!(rows[3], ["n003", "not", "heard", "-", "tiny", "10.0.0.3"]);
    assert_eq!(rows[4][..2], ["52:54:00:00:00:04", "unknown"]);
    let all = json(&status(" --json").expect(0).out);
    assert_eq!(all["counts"]["up"], 1);
    assert_eq!(all["nodes"][1]["have_bytes"], 43);
    assert_eq!(all["nodes"][2]["state"], Value::Null);
    assert_eq!(all["nodes"][3]["key"], "52:54:00:00:00:04");
    drop(fetching);
    let some = status(" n[1-2]").expect(4);
    some.says("no line of nodes.tab has the name n1,");
    assert!(status(" n00[1-2]").expect(0).out.ends_with("\n1 up, 1 fetching\n"));
    // Where there is no table here, that of the master counts.
    let elsewhere = head.scratch.dir("elsewhere");
    let mut other = command(XGETCTL);
    other.arg("--root").arg(&elsewhere).args(["status", "-n", &master.addr()]);
    let other = Proc::start(other, &head.scratch).wait().expect(0);
    other.says("1 up, 1 fetching, 1 unknown, 1 not heard");
}

#[test]
fn a_table_that_is_wrong_is_said_and_what_was_heard_is_shown() {
    let head = head();
    let master = Master::start(&head.scratch, &head.dir, &[]);
    ask(&master, 1, "mac=52:54:00:00:00:01\nstate up kernel=6");
    fs::write(head.dir.join("nodes.tab"), "n1 x]\n").unwrap();
    let said = head.says(&format!("status -n {}", master.addr())).expect(0);
    assert!(said.out.contains("\nn001  up "), "{}", said.out);
    said.says("nodes.tab: line 1, column 4");
}

#[test]
fn who_waits_for_nobody_that_is_known_does_not_hear_that_all_are_up() {
    let head = head();
    let tab = head.dir.join("nodes.tab");
    let master = Master::start(&head.scratch, &head.dir, &[]);
    ask(&master, 1, "mac=52:54:00:00:00:01\nstate up kernel=6");
    let status = |options: &str| format!("status -n {} {options}", master.addr());
    // Who is named is known to the master, if not to the table.
    fs::write(&tab, "n1 x]\n").unwrap();
    assert!(head.says(&status("--wait 80 n001")).expect(0).out.ends_with("\n1 up\n"));
    let wrong = head.says(&status("--wait 1")).expect(5);
    wrong.says("it is not known who is up: ").says("nodes.tab: line 1, column 4").says("; waits");
    head.says(&status("--wait 1 n002")).expect(5).says("nodes.tab: line 1, column 4");
    // It is mended while somebody waits.
    let waits = head.start(&status("--wait 80"));
    let named = head.start(&status("--follow --wait 80 n001 n002"));
    for waiting in [&waits, &named] {
        until("it says why it waits", 20, || waiting.err().contains("line 1, column 4"));
    }
    ask(&master, 2, "mac=52:54:00:00:00:02\nstate up kernel=6");
    fs::write(&tab, "52:54:00:00:00:01 n001\n52:54:00:00:00:02 n002\n").unwrap();
    assert!(waits.wait().expect(0).out.ends_with("\n2 up\n"));
    named.wait().expect(0);
    for text in ["", "# none\n", "* - debian\n"] {
        fs::write(&tab, text).unwrap();
        head.says(&status("--wait 80")).expect(4).within(20).says("nobody to wait for");
    }
}

#[test]
fn without_a_master_there_is_a_status_of_its_own() {
    let head = head();
    let deaf = DeafPort::new();
    let none = head.says(&format!("status -n {}", deaf.addr())).expect(3).within(20);
    none.says("no master answers at 127.0.0.1:");
    head.says(&format!("status --follow -n {}", deaf.addr())).expect(3).within(20);
    head.says(&format!("status --wait 1 -n {}", deaf.addr())).expect(3).within(20);
}

#[test]
fn a_signal_ends_it_at_once_whatever_it_waits_for() {
    let head = head();
    let master = Master::start(&head.scratch, &head.dir, &[]);
    let follows = head.start(&format!("status --follow -n {}", master.addr()));
    until("it shows what there is", 20, || follows.out().contains(" 3 not heard\n"));
    follows.signal(Signal::SIGINT);
    follows.wait().expect(130);
    // One that takes calls and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (line, signal) in [("status", Signal::SIGINT), ("nodes list", Signal::SIGTERM)] {
        let waits = head.start(&format!("{line} -n {}", silent.local_addr().unwrap()));
        let (_called, _) = silent.accept().unwrap();
        waits.signal(signal);
        waits.wait().expect(128 + signal as i32);
    }
}

#[test]
fn changes_are_followed_and_the_end_is_waited_for() {
    let head = head();
    let port = free_port();
    let waits = head.start(&format!("status --wait 80 n001 -n 127.0.0.1:{port}"));
    let follows = head.start(&format!("status --follow --wait 80 -n 127.0.0.1:{port}"));
    until("it says that there is no master", 20, || follows.err().contains("no master answers"));
    let master = Master::on(port, &head.scratch, &head.dir, &[]);
    master.await_ready();
    until("the master is found", 20, || follows.out().contains(" 3 not heard\n"));
    head.says(&format!("status --wait 1 -n {}", master.addr())).expect(7).says("after 1 s");
    ask(&master, 1, "mac=52:54:00:00:00:01\nstate up kernel=6");
    assert!(waits.wait().expect(0).out.ends_with("\n1 up\n"));
    until("it is followed", 20, || follows.out().ends_with("Z 1 up, 2 not heard\n"));
    fs::write(head.dir.join("nodes.tab"), "52:54:00:00:00:01 n001 debian\n").unwrap();
    let ended = follows.wait().expect(0);
    let changes: Vec<&str> =
        ended.out.lines().filter_map(|l| Some(l.split_once("Z ")?.1)).collect();
    assert!(changes.contains(&"n001 up debian 127.1.0.2"), "{changes:?}");
    assert_eq!(changes[changes.len() - 2..], ["n003 gone tiny 10.0.0.3", "1 up"]);
}

#[test]
fn on_a_terminal_it_is_drawn_in_place() {
    if lacks(&["script"]) {
        return;
    }
    let head = head();
    let master = Master::start(&head.scratch, &head.dir, &[]);
    ask(&master, 1, "mac=52:54:00:00:00:01\nstate up kernel=6");
    let line = format!(
        "{XGETCTL} --root {} status --follow --wait 3 -n {}",
        head.dir.display(),
        master.addr()
    );
    let mut terminal = command("script");
    terminal.args(["-qec", &format!("stty rows 6 cols 40; {line}"), "/dev/null"]);
    let said = Proc::start(terminal, &head.scratch).wait().expect(7);
    assert!(said.out.contains("\x1b[4A\r"), "{:?}", said.out);
    assert!(said.out.contains("… and 2 more\x1b[K"), "{:?}", said.out);
    assert!(said.out.contains("1 up, 2 not heard\x1b[K"), "{:?}", said.out);
}
