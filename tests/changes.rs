//! What is served changes while it is fetched: the file that changed is the only
//! one that is not delivered, and nobody else notices.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use support::lab::{Lab, PORT};
use support::proc::{Ended, Master, Proc, XGET, command, free_port, xget};
use support::reader::{self, Reader};
use support::{Scratch, fake, lacks, lacks_root, noise, tree, until};

const CLIENTS: usize = 15;
const FILES: u64 = 12;
const FILE_LEN: usize = 2_000_000;

/// Their times are compared.
static ONE_LAB: Mutex<()> = Mutex::new(());

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
    (source, total): (&Path, u64),
    copy: &dyn Fn(usize) -> PathBuf,
    change: &mut dyn FnMut(),
) -> (Vec<Ended>, Duration, f64, Master) {
    let master = start_master(lab, scratch, source);
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
    let _alone = ONE_LAB.lock();
    let Some(lab) = Lab::new(CLIENTS + 1) else { return };
    lab.shape(40);
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    for number in 0..FILES {
        fs::write(source.join(name(number)), noise(number, FILE_LEN)).unwrap();
    }
    let total = FILES * FILE_LEN as u64;
    let copy = |node: usize| scratch.join(format!("calm{node}"));
    let (ended, calm, _, master) = fetch_all(&lab, &scratch, (&source, total), &copy, &mut || ());
    ended.into_iter().for_each(|ended| drop(ended.expect(0)));
    drop(master);
    let changed = name(FILES - 2);
    let copy = |node: usize| scratch.join(format!("copy{node}"));
    let (ended, took, copies, master) =
        fetch_all(&lab, &scratch, (&source, total), &copy, &mut || {
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

#[test]
fn small_files_that_change_cost_the_swarm_their_packs_from_the_master() {
    const COUNT: u64 = 4_000;
    const LEN: usize = 5_000;
    let _alone = ONE_LAB.lock();
    let Some(lab) = Lab::new(CLIENTS + 1) else { return };
    lab.shape(40);
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    let name = |number: u64| format!("small{number:04}");
    for number in 0..COUNT {
        fs::write(source.join(name(number)), noise(number, LEN)).unwrap();
    }
    let changed = [1_990, 2_500, 3_000, 3_500, 3_999];
    let copy = |node: usize| scratch.join(format!("copy{node}"));
    let total = COUNT * LEN as u64;
    let (ended, took, copies, master) =
        fetch_all(&lab, &scratch, (&source, total), &copy, &mut || {
            for number in changed {
                fs::write(source.join(name(number)), noise(9_999, LEN)).unwrap();
            }
        });
    for (number, ended) in ended.into_iter().enumerate() {
        assert!(matches!(ended.status, 0 | 4), "{}", ended.err);
        assert!(ended.err.lines().count() <= changed.len(), "{}", ended.err);
        for file in (0..COUNT).filter(|file| !changed.contains(file)) {
            let got = fs::read(copy(number + 1).join(name(file))).unwrap();
            assert!(got == noise(file, LEN), "{number}: {}", name(file));
        }
    }
    let said = format!("{}{}", master.proc.out(), master.proc.err());
    // 4 s on such links; an eighth of a copy for the packs that each got from the master.
    assert!(took < Duration::from_secs(20), "{took:?}: {said}");
    assert!(copies < 2.0, "{copies} copies left the master: {said}");
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

/// A fetch of `source` through a link on which it takes seconds. When a part has come,
/// `change` is done; then the link is as fast as it can.
fn change_in_the_middle(master: &Master, scratch: &Scratch, change: &mut dyn FnMut()) -> Ended {
    let gate = fake::Throttle::start(master.port, 8_000_000);
    let mut command = xget();
    command.args(["-n", &gate.addr(), "--linger", "0", "."]).arg(scratch.join("copy"));
    let client = Proc::start(command, scratch);
    until("a part has passed", 20, || gate.passed_bytes() > 4_000_000);
    change();
    gate.open();
    client.wait().within(30)
}

/// `small`, `image` of 24 MB, and `last`, which comes after it.
fn image_and_others(scratch: &Scratch) -> PathBuf {
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(1, 24_000_000)).unwrap();
    fs::write(source.join("last"), noise(2, 3_000_000)).unwrap();
    fs::write(source.join("small"), b"small").unwrap();
    source
}

fn got(scratch: &Scratch, name: &str) -> Option<Vec<u8>> {
    fs::read(scratch.join("copy").join(name)).ok()
}

#[test]
fn a_file_that_is_deleted_or_replaced_while_it_is_fetched_comes_as_it_was() {
    for is_replaced in [false, true] {
        let scratch = Scratch::new();
        let source = image_and_others(&scratch);
        let master = Master::start(&scratch, &source, &[]);
        let ended = change_in_the_middle(&master, &scratch, &mut || {
            if is_replaced {
                fs::write(source.join("new"), noise(3, 24_000_000)).unwrap();
                fs::rename(source.join("new"), source.join("image")).unwrap();
            } else {
                fs::remove_file(source.join("image")).unwrap();
            }
        });
        ended.expect(0);
        assert!(got(&scratch, "image") == Some(noise(1, 24_000_000)));
        assert!(got(&scratch, "last") == Some(noise(2, 3_000_000)));
    }
}

#[test]
fn a_file_that_was_deleted_before_it_was_asked_for_fails_and_the_others_come() {
    let scratch = Scratch::new();
    let source = image_and_others(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let ended = change_in_the_middle(&master, &scratch, &mut || {
        fs::remove_file(source.join("last")).unwrap();
    });
    ended.expect(4).says("last: changed on the master");
    assert!(got(&scratch, "image") == Some(noise(1, 24_000_000)));
    assert!(got(&scratch, "last").is_none() && got(&scratch, "small").is_some());
}

#[test]
fn what_is_appended_to_a_file_or_added_to_the_tree_changes_nothing_for_a_fetch_that_runs() {
    let scratch = Scratch::new();
    let source = image_and_others(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let ended = change_in_the_middle(&master, &scratch, &mut || {
        for name in ["image", "last", "small", "added"] {
            let file = fs::File::options().append(true).create(true).open(source.join(name));
            file.unwrap().write_all(b"more").unwrap();
        }
        master.proc.signal(Signal::SIGHUP);
    });
    ended.expect(0);
    assert!(got(&scratch, "image") == Some(noise(1, 24_000_000)));
    assert!(got(&scratch, "last") == Some(noise(2, 3_000_000)));
    assert_eq!((got(&scratch, "small"), got(&scratch, "added")), (Some(b"small".to_vec()), None));
    until("what is there now is served", 15, || {
        let copy = scratch.join("copy");
        master.fetch(&scratch, [".".as_ref(), copy.as_os_str()]).expect(0);
        tree::look(&copy) == tree::look(&source)
    });
}

#[test]
fn a_file_that_was_made_unreadable_fails_and_the_others_come() {
    if lacks_root() || lacks(&["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = image_and_others(&scratch);
    // A master to whom modes apply.
    let port = free_port();
    let mut command = command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", XGET]);
    command.args(["-p", &port.to_string(), "--no-cache"]).arg(&source);
    let master = Master { proc: Proc::start(command, &scratch), port };
    master.await_ready();
    let ended = change_in_the_middle(&master, &scratch, &mut || {
        for name in ["image", "last"] {
            let none = fs::Permissions::from_mode(0o000);
            fs::set_permissions(source.join(name), none).unwrap();
        }
    });
    ended.expect(4).says("last: changed on the master");
    assert!(got(&scratch, "image") == Some(noise(1, 24_000_000)), "it is open, and what it was");
    assert_eq!((got(&scratch, "small"), got(&scratch, "last")), (Some(b"small".to_vec()), None));
    let said = master.proc.err();
    assert!(said.lines().filter(|line| line.contains("last")).count() <= 2, "{said}");
}

#[test]
fn a_log_that_grows_in_the_served_tree_and_forty_new_generations_disturb_nobody() {
    let scratch = Scratch::new();
    let source = image_and_others(&scratch);
    fs::write(source.join("a log"), noise(7, 100_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let mut made = 0;
    let ended = change_in_the_middle(&master, &scratch, &mut || {
        for number in 1..=40 {
            let log = fs::File::options().append(true).open(source.join("a log"));
            log.unwrap().write_all(format!("line {number}\n").as_bytes()).unwrap();
            master.proc.signal(Signal::SIGHUP);
            until("it is hashed again", 10, || {
                made = master.proc.out().matches(" serving ").count();
                made > number
            });
        }
    });
    assert_eq!(made, 41);
    ended.expect(0);
    assert!(got(&scratch, "image") == Some(noise(1, 24_000_000)));
    assert!(got(&scratch, "last") == Some(noise(2, 3_000_000)));
    assert!(got(&scratch, "a log") == Some(noise(7, 100_000)), "as it was at the join");
    let said = master.proc.err();
    assert!(!said.contains("changed"), "{said}");
}

#[test]
fn what_is_open_stays_open_when_another_file_changes() {
    let scratch = Scratch::new();
    let source = image_and_others(&scratch);
    fs::create_dir(source.join("dir")).unwrap();
    fs::write(source.join("dir/file"), b"in a directory").unwrap();
    fs::hard_link(source.join("dir/file"), source.join("other name")).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let mut same = both_views(&master, &["image"]);
    let mut linked = both_views(&master, &["other name"]);
    let mut below = both_views(&master, &["dir", "file"]);
    let mut changed = both_views(&master, &["last"]);
    for (reader, fid) in &mut changed {
        assert!(!reader.read(*fid, 0).unwrap().is_empty());
    }
    for round in 0..3 {
        fs::write(source.join("last"), noise(10 + round, 3_000_000)).unwrap();
        fs::write(source.join(format!("dir/added {round}")), b"new").unwrap();
        master.proc.signal(Signal::SIGHUP);
        until("it is hashed again", 10, || {
            master.proc.out().matches(" serving ").count() == 2 + round as usize
        });
        for (reader, fid) in &mut same {
            let at = 1_000_000 * round;
            let read = reader.read(*fid, at).unwrap();
            assert!(noise(1, 24_000_000)[at as usize..].starts_with(&read), "{round}");
        }
        for (reader, fid) in linked.iter_mut().chain(&mut below) {
            assert_eq!(reader.read(*fid, 3).unwrap(), b"a directory", "{round}");
        }
        for (reader, fid) in &mut changed {
            assert!(reader.read(*fid, 0).is_err(), "neither the old nor the new one");
        }
    }
    let new = both_views(&master, &["last"]);
    for (mut reader, fid) in new {
        assert!(noise(12, 3_000_000).starts_with(&reader.read(fid, 0).unwrap()));
    }
}

#[test]
fn a_master_that_comes_back_with_other_content_ends_the_fetch_and_nothing_is_mixed() {
    let scratch = Scratch::new();
    let source = image_and_others(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let port = master.port;
    let mut masters = vec![master];
    let gate = fake::Throttle::start(port, 8_000_000);
    let mut command = xget();
    command.args(["-n", &gate.addr(), "--linger", "0", "."]).arg(scratch.join("copy"));
    let client = Proc::start(command, &scratch);
    until("a part has passed", 20, || gate.passed_bytes() > 4_000_000);
    drop(masters.pop());
    fs::write(source.join("image"), noise(5, 24_000_000)).unwrap();
    let master = Master::on(port, &scratch, &source, &[]);
    master.await_ready();
    gate.open();
    let ended = client.wait().within(40).expect(4);
    let ended = ended.says("the served tree: changed on the master during the fetch; fetch again");
    assert!(got(&scratch, "image").is_none(), "{}", ended.err);
    let copy = scratch.join("copy");
    master.fetch(&scratch, [".".as_ref(), copy.as_os_str()]).expect(0);
    tree::assert_same(&source, &copy);
}

#[test]
fn who_is_cut_off_while_the_tree_changes_joins_again_for_what_it_has_a_part_of() {
    let scratch = Scratch::new();
    let source = image_and_others(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let gate = fake::Throttle::start(master.port, 8_000_000);
    let mut command = xget();
    command.args(["-n", &gate.addr(), "--linger", "0", "."]).arg(scratch.join("copy"));
    let client = Proc::start(command, &scratch);
    until("a part has passed", 20, || gate.passed_bytes() > 4_000_000);
    for round in 1..=2 {
        fs::write(source.join("small"), format!("small {round}")).unwrap();
        gate.cut();
        until("it has left", 10, || {
            master.proc.err().matches("not done").count() == round
                && master.status().contains("lost")
        });
        master.proc.signal(Signal::SIGHUP);
        until("it is hashed again", 10, || {
            master.proc.out().matches(" serving ").count() == 1 + round
        });
        until("it is back", 10, || master.status().contains(" fetching "));
    }
    gate.open();
    let ended = client.wait().within(30);
    assert!(got(&scratch, "image") == Some(noise(1, 24_000_000)), "{}", ended.err);
    assert!(got(&scratch, "last") == Some(noise(2, 3_000_000)), "{}", ended.err);
    // As it was, if it had come before.
    assert!(matches!(ended.status, 0 | 4), "{}", ended.err);
    assert!(!ended.err.contains("the served tree"), "{}", ended.err);
}

#[test]
fn a_master_that_freezes_and_goes_on_is_gone_on_with() {
    let scratch = Scratch::new();
    let source = image_and_others(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let ended = change_in_the_middle(&master, &scratch, &mut || {
        master.proc.signal(Signal::SIGSTOP);
        // It is given up after eight.
        std::thread::sleep(Duration::from_secs(10));
        master.proc.signal(Signal::SIGCONT);
    });
    ended.expect(0).says("silent for 8 s");
    tree::assert_same(&source, &scratch.join("copy"));
}

/// Each piece that a server gives, and that of which it says that it has it not.
fn pieces_of(port: u16, generation: &str, count: u64) -> Vec<Result<Vec<u8>, String>> {
    let mut reader = Reader::connect(("127.0.0.1", port)).unwrap();
    let fid = reader.open(&[".xget", generation, "pieces"], 0).unwrap();
    let read = |piece| reader.read(fid, piece * 4 * 32_768).map_err(|error| error.to_string());
    (0..count).map(read).collect()
}

/// A node that booted into what it fetched writes to it, and serves it yet.
#[test]
fn what_somebody_changes_under_a_client_is_not_served_and_the_rest_is() {
    let scratch = Scratch::new();
    let source = image_and_others(&scratch);
    fs::write(source.join("kept"), noise(8, 12_000_000)).unwrap();
    fs::hard_link(source.join("kept"), source.join("kept too")).unwrap();
    fs::write(source.join("removed"), noise(9, 200_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let first = scratch.join("first");
    let gate = fake::Throttle::start(master.port, 8_000_000);
    let mut command = xget();
    command.args(["-n", &gate.addr(), "--linger", "80", "."]).arg(&first);
    let lingering = Proc::start(command, &scratch);
    until("it fetches", 20, || gate.passed_bytes() > 1_000_000);
    // Somebody is connected: else it would not stay.
    let status = master.status();
    let port = status.lines().nth(1).and_then(|line| line.split(['!', ' ']).nth(1)).unwrap();
    let port = port.parse().unwrap();
    let _guest = Reader::connect(("127.0.0.1", port)).unwrap();
    gate.open();
    until("it is through", 30, || master.proc.out().contains(" done: "));
    let info = reader::read_text(("127.0.0.1", port), &[".xget", "info"]).unwrap();
    let generation = info.split_whitespace().find(|word| word.len() == 71).unwrap();
    let generation = generation.strip_prefix("blake3:").unwrap();
    // The manifest, a pack, and the pieces of four files.
    let count = 2 + [24_000_000, 12_000_000, 3_000_000, 200_000]
        .map(|len| u64::div_ceil(len, 32_768))
        .iter()
        .sum::<u64>();
    let right = pieces_of(master.port, generation, count);
    assert!(right.iter().all(|piece| piece.as_ref().is_ok_and(|bytes| !bytes.is_empty())));

    // Touched alone it is what it was.
    tree::chmod(&first.join("kept"), 0o640);
    assert!(pieces_of(port, generation, count) == right);
    // In place: of the same length, and with its time set back.
    let rewrite = |name: &str, at: u64, bytes: &[u8]| {
        let file = fs::File::options().write(true).open(first.join(name)).unwrap();
        file.write_all_at(bytes, at).unwrap();
        file
    };
    let modified = fs::metadata(first.join("last")).unwrap().modified().unwrap();
    let last = rewrite("last", 1_000_000, &noise(20, 2_000_000));
    last.set_modified(modified).unwrap();
    rewrite("small", 0, b"smell");
    fs::remove_file(first.join("removed")).unwrap();
    for _ in 0..2 {
        let given = pieces_of(port, generation, count);
        let (mut lost, mut same) = (0, 0);
        for (given, right) in given.iter().zip(&right) {
            match given {
                Ok(_) if given == right => same += 1,
                Ok(_) => panic!("a piece with other bytes was served"),
                Err(_) => lost += 1,
            }
        }
        // What is open is what it was, though it has no name any more.
        assert!((62 + 1..=62 + 1 + 7).contains(&lost), "{lost} lost, {same} served");
    }
    let said = lingering.err();
    assert!(said.contains("last is not what was put in place: not served"), "{said}");
    assert!(!said.contains("kept") && said.lines().count() <= 20, "{said}");
    let copies = [1, 2, 3, 4].map(|number| scratch.join(format!("copy{number}")));
    let fetch = |copy: &PathBuf| {
        let mut command = xget();
        command.args(["-n", &master.addr(), "."]).arg(copy);
        Proc::start(command, &scratch)
    };
    for ended in copies.each_ref().map(fetch).map(Proc::wait) {
        ended.expect(0);
    }
    copies.iter().for_each(|copy| tree::assert_same(&source, copy));
    let blamed = master.proc.err();
    for word in ["corrupt", "wrong", "falsely", "serves nobody"] {
        assert!(!blamed.contains(word), "{blamed}");
    }
}
