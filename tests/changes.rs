//! What is served changes while it is fetched: the file that changed is the only
//! one that is not delivered, and nobody else notices.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::lab::{Lab, PORT};
use support::proc::{Ended, Master, Proc, xget};
use support::{Scratch, noise, until};

const CLIENTS: usize = 15;
const FILES: u64 = 12;
const FILE_LEN: usize = 2_000_000;

/// Node 0 is the master's.
fn start_master(lab: &Lab, scratch: &Scratch, source: &Path) -> Master {
    let master = lab.on(0, || Master::on(PORT, scratch, source, &[]));
    master.await_ready();
    master
}

fn name(number: u64) -> String {
    format!("file{number:02}")
}

/// Fetches `source` with fifteen clients; when an eighth of it has come, `change`
/// is done. Gives how they ended, when the last did, and how many copies left the
/// master.
fn fetch_all(
    lab: &Lab,
    scratch: &Scratch,
    source: &Path,
    copy: &dyn Fn(usize) -> PathBuf,
    change: &mut dyn FnMut(),
) -> (Vec<Ended>, Duration, f64, Master) {
    let master = start_master(lab, scratch, source);
    let total = FILES * FILE_LEN as u64;
    let sent = lab.sent_bytes(0);
    let began = Instant::now();
    let clients: Vec<Proc> = (1..=CLIENTS)
        .map(|node| {
            let mut command = xget();
            command.args(["-n", &Lab::ip(0), "-q", "--linger", "2", "."]).arg(copy(node));
            lab.on(node, || Proc::start(command, scratch))
        })
        .collect();
    until("a part has arrived", 30, || {
        (1..=CLIENTS).all(|node| lab.received_bytes(node) >= total / 8)
    });
    change();
    until("all have ended their fetches", 120, || {
        let out = master.proc.out();
        let ended = out.matches(" done: ").count() + out.matches(" failed: ").count();
        ended >= CLIENTS
    });
    let took = began.elapsed();
    let copies = (lab.sent_bytes(0) - sent) as f64 / total as f64;
    (clients.into_iter().map(Proc::wait).collect(), took, copies, master)
}

#[test]
fn a_served_file_that_changes_costs_the_swarm_nothing_but_that_file() {
    let Some(lab) = Lab::new(CLIENTS + 1) else { return };
    lab.shape(40);
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    for number in 0..FILES {
        fs::write(source.join(name(number)), noise(number, FILE_LEN)).unwrap();
    }
    let copy = |node: usize| scratch.join(format!("calm{node}"));
    let (ended, calm, _, master) = fetch_all(&lab, &scratch, &source, &copy, &mut || ());
    ended.into_iter().for_each(|ended| drop(ended.expect(0)));
    drop(master);
    let changed = name(FILES - 2);
    let copy = |node: usize| scratch.join(format!("copy{node}"));
    let (ended, took, copies, master) = fetch_all(&lab, &scratch, &source, &copy, &mut || {
        fs::write(source.join(&changed), noise(99, FILE_LEN)).unwrap();
    });
    let said = format!("{}{}", master.proc.out(), master.proc.err());
    for (number, ended) in ended.into_iter().enumerate() {
        let ended = ended.expect(4).says(&changed);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        for number_of in (0..FILES).filter(|&number| name(number) != changed) {
            let got = fs::read(copy(number + 1).join(name(number_of))).unwrap();
            assert!(got == noise(number_of, FILE_LEN), "{number}: {}", name(number_of));
        }
        assert!(!copy(number + 1).join(&changed).exists());
    }
    assert!(took < calm * 13 / 10 + Duration::from_secs(1), "{took:?}, undisturbed {calm:?}");
    assert!(copies < 2.0, "{copies} copies left the master");
    let lines = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("changed since it was hashed"), 1, "{said}");
}
