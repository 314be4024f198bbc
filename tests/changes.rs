//! What is served changes while it is fetched: the file that changed is the only
//! one that is not delivered, and nobody else notices.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::lab::{Lab, PORT};
use support::proc::{Ended, Master, Proc, xget};
use support::reader::{self, Reader};
use support::{Scratch, fake, noise, until};

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

/// `path` as bytes that are there, through the plain tree and through the paper's.
fn both_views(master: &Master, names: &[&str]) -> Vec<(Reader, u32)> {
    let mut plain = Reader::attach(("127.0.0.1", master.port), "files").unwrap();
    let file = plain.open(names, 0).unwrap();
    let mut paper = Reader::connect(("127.0.0.1", master.port)).unwrap();
    let data = paper.open(&[names, &["data"]].concat(), 0).unwrap();
    vec![(plain, file), (paper, data)]
}

#[test]
fn a_file_whose_ctime_alone_changed_is_read_on_without_a_break() {
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    // To hash it takes longer than to read a little of it many times.
    let (path, contents) = (source.join("image"), noise(1, 400_000_000));
    fs::write(&path, &contents).unwrap();
    fs::write(source.join("small"), b"small").unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let mut image = both_views(&master, &["image"]);
    let mut small = both_views(&master, &["small"]);
    let mut longest = Duration::ZERO;
    let changes: [&dyn Fn(); 5] = [
        &|| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap(),
        &|| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap(),
        &|| fs::hard_link(&path, scratch.join("backup")).unwrap(),
        &|| fs::hard_link(source.join("small"), scratch.join("small backup")).unwrap(),
        // It lives on under its other name, and here as long as it is open.
        &|| fs::remove_file(scratch.join("backup")).unwrap(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        change();
        for at in [0, 5_000_000 * (number + 1), 300_000_001, contents.len() - 100] {
            let began = Instant::now();
            for (reader, fid) in &mut image {
                let read = reader.read(*fid, at as u64).unwrap();
                assert!(!read.is_empty() && contents[at..].starts_with(&read), "{number}, {at}");
            }
            for (reader, fid) in &mut small {
                assert_eq!(reader.read(*fid, 1).unwrap(), b"mall");
            }
            longest = longest.max(began.elapsed());
        }
    }
    assert!(longest < Duration::from_secs(2), "a read took {longest:?}");
    // Also while it is hashed again, its sum is to be had.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let sum = reader::read_text(("127.0.0.1", master.port), &["image", "checksum"]).unwrap();
    assert_eq!(sum.len(), 72, "{sum}");
    let said = format!("{}{}", master.proc.out(), master.proc.err());
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn of_a_pack_one_file_of_which_changed_the_others_come() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    let name = |number: usize| format!("small{number:03}");
    for number in 0..600 {
        fs::write(source.join(name(number)), noise(number as u64, 300)).unwrap();
    }
    fs::write(source.join("image"), noise(1, 16 << 20)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let copy = scratch.join("copy");
    // So slow that the change comes before the packs.
    let gate = fake::Throttle::start(master.port, 20_000);
    let mut command = xget();
    command.args(["-n", &gate.addr(), "--linger", "0", "."]).arg(&copy);
    let client = Proc::start(command, &scratch);
    until("the client has joined", 10, || master.status().contains(" fetching "));
    fs::write(source.join(name(7)), noise(9_999, 300)).unwrap();
    fs::remove_file(source.join(name(300))).unwrap();
    fs::write(source.join(name(301)), b"shorter").unwrap();
    gate.open();
    let ended = client.wait().expect(4);
    let got = |number: usize| fs::read(copy.join(name(number))).ok();
    let changed = [7, 300, 301];
    for number in 0..600 {
        if changed.contains(&number) {
            assert!(got(number).is_none_or(|got| got == noise(number as u64, 300)), "a mixture");
            continue;
        }
        assert_eq!(got(number), Some(noise(number as u64, 300)), "{number}: {}", ended.err);
    }
    assert_eq!(fs::read(copy.join("image")).unwrap(), noise(1, 16 << 20));
    assert!(ended.err.lines().count() <= changed.len(), "{}", ended.err);
}
