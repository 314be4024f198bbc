//! Fetching as one does it by hand: sources, names, attributes, again, resumed.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::PathBuf;
use support::proc::{Master, Proc, XGET, command, copy_program, free_port, xget};
use support::reader::Reader;
use support::tree::{self, assert_same};
use support::{Scratch, is_root, lacks, lacks_root, noise, until};

#[test]
fn an_odd_tree_arrives_as_it_is() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    tree::make_odd_tree(&source, 200);
    let master = Master::start(&scratch, &source, &[]);
    let copy = scratch.join("copy");
    master.fetch(&scratch, [".".as_ref(), copy.as_os_str()]).expect(0);
    assert_same(&source, &copy);
    let blocks = |dir: &std::path::Path| fs::metadata(dir.join("sparse")).unwrap().blocks();
    assert!(blocks(&copy) * 512 < 4 << 20, "the holes are filled: {} blocks", blocks(&copy));
}

/// Two clients at once, which serve each other.
fn fetch_two_copies(scratch: &Scratch, master: &Master) -> [PathBuf; 2] {
    let copies = ["one", "another"].map(|name| scratch.join(name));
    let fetch = |copy: &PathBuf| {
        let mut command = xget();
        command.args(["-n", &master.addr(), "."]).arg(copy);
        Proc::start(command, scratch)
    };
    let ended = copies.each_ref().map(fetch).map(Proc::wait).map(|ended| ended.expect(0));
    let from_peers: f64 = ended.iter().map(|ended| ended.figure(" from peers")).sum();
    assert!(from_peers > 0.0, "neither served the other: {}{}", ended[0].out, ended[1].out);
    copies
}

/// Offsets beyond 32 bits, in the pieces, between peers, by hand and on disk;
/// and holes, which nobody sends and nobody writes.
#[test]
fn a_sparse_file_of_more_than_four_gibibytes_arrives_as_it_is() {
    const GIB: u64 = 1 << 30;
    let islands = [0, GIB - 1, 4 * GIB - 70_000, 4 * GIB + 500_001, 5 * GIB - 150_000];
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    let image = fs::File::create(source.join("image")).unwrap();
    image.set_len(5 * GIB).unwrap();
    let data = |island: u64| noise(island, 150_000);
    islands.iter().for_each(|&at| image.write_all_at(&data(at), at).unwrap());
    let master = Master::start(&scratch, &source, &[]);
    let copies = fetch_two_copies(&scratch, &master);
    let read = |file: &fs::File, island: u64| {
        let mut bytes = vec![0; 150_000];
        file.read_exact_at(&mut bytes, island).unwrap();
        bytes
    };
    for copy in copies {
        let copy = fs::File::open(copy.join("image")).unwrap();
        let status = copy.metadata().unwrap();
        assert_eq!(status.len(), 5 * GIB);
        // With the blocks around them, and never more: the rest is a hole.
        let most = islands.len() as u64 * (150_000 + (64 << 10));
        assert!(status.blocks() * 512 <= most, "{} blocks", status.blocks());
        assert!(islands.iter().all(|&at| read(&copy, at) == data(at)));
    }
    let mut reader = Reader::connect(master.addr()).unwrap();
    let fid = reader.open(&["image", "data"], 0).unwrap();
    let got = reader.read(fid, 4 * GIB + 500_001).unwrap();
    assert_eq!(got, data(4 * GIB + 500_001)[..got.len()]);
    assert!(!got.is_empty());
}

/// Pieces of three kinds, between peers and by hand: 128 KiB of a file above
/// 256 MiB, 32 KiB of one that is just as large, and packs.
#[test]
fn a_very_large_file_arrives_beside_small_ones() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for (name, size) in [("image", 300 << 20), ("exact", 256 << 20), ("more", (256 << 20) + 1)] {
        let image = fs::File::create(source.join(name)).unwrap();
        image.set_len(size).unwrap();
        for at in [0, 128 << 10, (100 << 20) + 77_777, size - 400_000] {
            image.write_all_at(&noise(at, 400_000), at).unwrap();
        }
    }
    for number in 0..100 {
        fs::write(source.join(number.to_string()), noise(number, 900 * number as usize)).unwrap();
    }
    let master = Master::start(&scratch, &source, &[]);
    let copies = fetch_two_copies(&scratch, &master);
    copies.iter().for_each(|copy| assert_same(&source, copy));
    let mut reader = Reader::connect(master.addr()).unwrap();
    let fid = reader.open(&["image", "data"], 0).unwrap();
    let got = reader.read(fid, (100 << 20) + 77_777).unwrap();
    assert!(!got.is_empty());
    assert_eq!(got, noise((100 << 20) + 77_777, 400_000)[..got.len()]);
}

#[test]
fn without_attributes_the_contents_still_arrive() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("program"), b"#!").unwrap();
    tree::chmod(&source.join("program"), 0o4711);
    let master = Master::start(&scratch, &source, &[]);
    for option in ["-s", "-o"] {
        let copy = scratch.join(format!("copy{option}"));
        master.fetch(&scratch, [option.as_ref(), ".".as_ref(), copy.as_os_str()]).expect(0);
        let mode = fs::metadata(copy.join("program")).unwrap().mode();
        assert_eq!(mode & 0o7000, 0, "{mode:o}");
        assert_eq!(fs::read(copy.join("program")).unwrap(), b"#!");
    }
}

#[test]
fn sources_land_under_their_base_names() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/b/file"), b"1").unwrap();
    fs::write(source.join("top"), b"2").unwrap();
    symlink("a/b", source.join("link")).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let cases: &[(&[&str], &[&str])] = &[
        (&["a/b/file"], &["file"]),
        (&["a/b"], &["b/file"]),
        (&["a/b/"], &["b/file"]),
        (&["a/b/."], &["file"]),
        (&["/a/b", "top"], &["b/file", "top"]),
        (&["./a/../top"], &["top"]),
        (&["."], &["a/b/file", "top"]),
        (&["/"], &["a/b/file", "top"]),
    ];
    for (number, (sources, found)) in cases.iter().enumerate() {
        let copy = scratch.join(format!("copy{number}"));
        let args = sources.iter().map(AsRef::as_ref).chain([copy.as_os_str()]);
        master.fetch(&scratch, args).expect(0);
        let mut files: Vec<String> = tree::look(&copy)
            .into_iter()
            .filter(|(_, seen)| seen.mode & 0o170000 == 0o100000)
            .map(|(path, _)| path.to_str().unwrap().into())
            .collect();
        files.sort();
        assert_eq!(files, *found, "{sources:?}");
    }
    // Two things of one name cannot both land.
    fs::create_dir_all(source.join("other/b")).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let copy = scratch.join("clash");
    master
        .fetch(&scratch, ["a/b".as_ref(), "other/b".as_ref(), copy.as_os_str()])
        .expect(4)
        .says("a/b and other/b would both land under this name");
    assert!(!copy.exists());
}

#[test]
fn relative_paths_and_single_files_work_on_both_sides() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("served")).unwrap();
    fs::write(scratch.join("served/image"), noise(1, 300_000)).unwrap();
    for (path, from) in [("served", "image"), ("served/image", "."), ("served/image", "image")] {
        let mut serving = xget();
        let port = free_port();
        serving.current_dir(&scratch.path).args(["--no-cache", "-p", &port.to_string(), path]);
        let master = Master { proc: Proc::start(serving, &scratch), port };
        master.await_ready();
        let dest = scratch.dir(&format!("here-{path}-{from}").replace('/', "_"));
        let mut fetching = master.client([from, "."]);
        fetching.current_dir(&dest);
        Proc::start(fetching, &scratch).wait().expect(0);
        assert_eq!(fs::read(dest.join("image")).unwrap(), noise(1, 300_000), "{path} {from}");
    }
}

#[test]
fn a_second_fetch_moves_only_what_differs() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("big"), noise(1, 100 << 20)).unwrap();
    fs::write(source.join("small"), b"small").unwrap();
    let copy = scratch.join("copy");
    let args = [".".as_ref(), copy.as_os_str()];
    let master = Master::start(&scratch, &source, &[]);
    let first = master.fetch(&scratch, args).expect(0);
    assert!((99e6..110e6).contains(&first.moved()), "{}", first.out);
    let again = master.fetch(&scratch, args).expect(0);
    assert!(again.moved() < 1.1e5, "the manifest, with 3200 digests: {}", again.out);
    let big = fs::OpenOptions::new().write(true).open(source.join("big")).unwrap();
    big.write_all_at(&noise(2, 1 << 20), 50 << 20).unwrap();
    drop(big);
    // A client is served the new contents although the master was not told.
    let master = Master::start(&scratch, &source, &[]);
    let third = master.fetch(&scratch, args).expect(0);
    assert!((0.9e6..2e6).contains(&third.moved()), "{}", third.out);
    assert_same(&source, &copy);
}

#[test]
fn what_cannot_be_copied_is_named() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::create_dir(source.join("plain")).unwrap();
    fs::write(source.join("plain/file"), b"file").unwrap();
    tree::make_specials(&source);
    let master = Master::start(&scratch, &source, &[]);
    let said = master.proc.err();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("special files")).collect();
    assert!(
        matches!(lines[..], [line] if line.ends_with("make it; and 1 more special files")),
        "{said}"
    );
    let copy = scratch.join("copy");
    let args = ["-s".as_ref(), ".".as_ref(), copy.as_os_str()];
    let fetched = master.fetch(&scratch, args).expect(0);
    for name in ["a fifo", "a socket"] {
        let lines = fetched.err.lines().filter(|line| line.contains(name)).count();
        assert_eq!(lines, 1, "{name}: {}", fetched.err);
    }
    assert_eq!(fs::read(copy.join("plain/file")).unwrap(), b"file");
    // Who does not ask for it does not hear of it.
    let other = scratch.join("other");
    let fetched = master.fetch(&scratch, ["plain".as_ref(), other.as_os_str()]).expect(0);
    assert_eq!(fetched.err, "");
}

#[test]
fn what_the_master_may_not_read_is_named_and_fails() {
    if lacks_root() || lacks(&["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    tree::chmod(&scratch.path, 0o755);
    let source = scratch.dir("source");
    fs::write(source.join("open"), b"open").unwrap();
    fs::write(source.join("secret"), b"secret").unwrap();
    fs::create_dir(source.join("shut")).unwrap();
    fs::write(source.join("shut/inside"), b"x").unwrap();
    tree::chmod(&source.join("secret"), 0o600);
    tree::chmod(&source.join("shut"), 0o700);
    let mut serving = command("setpriv");
    let port = free_port();
    // A copy, because a stranger may not read where the program was built.
    let program = scratch.join("xget");
    copy_program(XGET, &program);
    serving.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    serving.arg(&program).args(["--no-cache", "-p", &port.to_string()]).arg(&source);
    let master = Master { proc: Proc::start(serving, &scratch), port };
    master.await_ready();
    assert!(master.proc.err().contains("secret"), "{}", master.proc.err());
    let copy = scratch.join("copy");
    let fetched = master.fetch(&scratch, [".".as_ref(), copy.as_os_str()]).expect(4);
    for name in ["secret", "shut"] {
        assert!(fetched.err.contains(name), "{name}: {}", fetched.err);
    }
    assert_eq!(fs::read(copy.join("open")).unwrap(), b"open");
    assert!(!copy.join("secret").exists() && !copy.join("shut/inside").exists());
    // The rest can be had without complaint.
    let other = scratch.join("other");
    master.fetch(&scratch, ["open".as_ref(), other.as_os_str()]).expect(0);
    master.fetch(&scratch, ["secret".as_ref(), other.as_os_str()]).expect(4).says("secret");
}

#[test]
fn two_fetches_into_one_directory_exclude_each_other() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("big"), noise(5, 32 << 20)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let slow = support::fake::Throttle::start(master.port, 16 << 20);
    let copy = scratch.dir("copy");
    let mut fetching = xget();
    fetching.args(["-n", &slow.addr(), "--linger", "0", "."]).arg(&copy);
    let first = Proc::start(fetching, &scratch);
    until("the first is under way", 10, || slow.passed_bytes() > 1 << 20);
    let args = [".".as_ref(), copy.as_os_str()];
    master.fetch(&scratch, args).expect(6).says("another").within(2);
    first.wait().expect(0);
    assert_same(&source, &copy);
}

#[test]
fn links_in_the_destination_lead_nowhere() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::create_dir(source.join("dir")).unwrap();
    fs::write(source.join("dir/file"), b"new").unwrap();
    fs::write(source.join("plain"), b"new").unwrap();
    let outside = scratch.dir("outside");
    fs::write(outside.join("file"), b"old").unwrap();
    fs::write(outside.join("plain"), b"old").unwrap();
    let copy = scratch.dir("copy");
    symlink(&outside, copy.join("dir")).unwrap();
    symlink(outside.join("plain"), copy.join("plain")).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    master.fetch(&scratch, [".".as_ref(), copy.as_os_str()]).expect(6).says("copy/dir");
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"old");
    assert_eq!(fs::read(outside.join("plain")).unwrap(), b"old");
    assert_eq!(fs::read(copy.join("plain")).unwrap(), b"new");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
}

#[test]
fn ipv6_and_both_ways_to_name_a_port() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("file"), noise(1, 1_000_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let port = master.port.to_string();
    let with_port = format!("[::1]:{port}");
    for (number, naming) in [
        vec!["-n", &with_port],
        vec!["-n", "::1", "-p", &port],
        vec!["-n", "localhost", "-p", &port],
    ]
    .into_iter()
    .enumerate()
    {
        let copy = scratch.join(format!("copy{number}"));
        let mut fetching = xget();
        fetching.args(&naming).args(["--linger", "0", "."]).arg(&copy);
        Proc::start(fetching, &scratch).wait().expect(0);
        assert_same(&source, &copy);
    }
}

#[test]
fn lingering_ends_by_itself() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("file"), noise(1, 1_000_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    for linger in [vec![], vec!["--linger", "0"], vec!["--linger", "30"]] {
        let copy = scratch.join(format!("copy{}", linger.len() + linger.concat().len()));
        let mut fetching = xget();
        fetching.args(["-n", &master.addr()]).args(&linger).arg(".").arg(&copy);
        // Nobody is connected, so there is nobody to linger for.
        Proc::start(fetching, &scratch).wait().expect(0).within(10);
        assert_same(&source, &copy);
    }
}

#[test]
fn it_runs_in_an_empty_root() {
    if lacks_root() || lacks(&["chroot"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    tree::make_odd_tree(&source, 20);
    let master = Master::start(&scratch, &source, &[]);
    let root = scratch.dir("root");
    copy_program(XGET, &root.join("xget"));
    // The static build brings nothing; the test build wants its libraries.
    let needs = std::process::Command::new("ldd").arg(XGET).output().unwrap();
    for word in String::from_utf8_lossy(&needs.stdout).split_whitespace() {
        if let Some(below) = word.strip_prefix('/') {
            let into = root.join(below);
            fs::create_dir_all(into.parent().unwrap()).unwrap();
            fs::copy(word, into).unwrap();
        }
    }
    let mut fetching = command("chroot");
    fetching.arg(&root).args(["/xget", "-n", &master.addr(), "--linger", "0", ".", "copy"]);
    Proc::start(fetching, &scratch).wait().expect(0);
    assert_same(&source, &root.join("copy"));
    let mut serving = command("chroot");
    let port = free_port();
    serving.arg(&root).args(["/xget", "-p", &port.to_string(), "copy"]);
    let master = Master { proc: Proc::start(serving, &scratch), port };
    master.await_ready();
    let again = scratch.join("again");
    master.fetch(&scratch, [".".as_ref(), again.as_os_str()]).expect(0);
    assert_same(&source, &again);
}

#[test]
fn as_a_daemon_it_returns_when_it_serves() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("source")).unwrap();
    fs::write(scratch.join("source/file"), noise(1, 20 << 20)).unwrap();
    let port = free_port();
    let mut serving = std::process::Command::new(XGET);
    serving.current_dir(&scratch.path);
    serving.args(["--daemon", "--log", "log", "--cache", "cache"]);
    serving.args(["-p", &port.to_string(), "source"]);
    let serving = Proc::start(serving, &scratch);
    serving.wait().expect(0);
    // Its process id, from whom holds the port.
    let daemon = Daemon(holder_of(port));
    let copy = scratch.join("copy");
    let mut fetching = xget();
    fetching.args(["-n", "127.0.0.1", "-p", &port.to_string(), "--linger", "0", "."]).arg(&copy);
    Proc::start(fetching, &scratch).wait().expect(0);
    assert_same(&scratch.join("source"), &copy);
    until("the client is in the log", 10, || {
        let log = fs::read_to_string(scratch.join("log")).unwrap();
        log.contains(" serving ") && log.contains("done")
    });
    drop(daemon);
    // What is refused whole is refused before anything is hashed.
    fs::write(scratch.dir("reserved").join(".xget"), "").unwrap();
    let mut serving = xget();
    // The daemon's port is free when it has ended, which nobody waits for.
    let other = free_port().to_string();
    serving.args(["--daemon", "--no-cache", "-p", &other]).arg(scratch.join("reserved"));
    Proc::start(serving, &scratch).wait().expect(1).says("reserved");
    // What cannot be served is said before it goes into the background.
    let mut serving = xget();
    let other = free_port().to_string();
    serving.args(["--daemon", "--no-cache", "-p", &other, "/nonexistent"]);
    Proc::start(serving, &scratch).wait().expect(1).says("nonexistent");
}

#[test]
fn output_that_cannot_be_written_ends_no_work() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("file"), b"contents").unwrap();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for option in ["--help", "--version"] {
        let status = std::process::Command::new(XGET).arg(option).stdout(full()).status();
        assert_eq!(status.unwrap().code(), Some(1), "{option}");
    }
    let mut digest = std::process::Command::new(XGET);
    digest.args(["--print-digest".as_ref(), source.as_os_str()]).stdout(full());
    assert_eq!(digest.status().unwrap().code(), Some(1));
    let master = Master::start(&scratch, &source, &[]);
    let copy = scratch.join("copy");
    let mut fetching = std::process::Command::new(XGET);
    fetching.args(["-n", &master.addr(), "--linger", "0", "."]).arg(&copy);
    fetching.stdout(full()).stderr(full());
    assert_eq!(fetching.status().unwrap().code(), Some(0), "the files are in place");
    assert_same(&source, &copy);
}

struct Daemon(nix::unistd::Pid);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(self.0, Signal::SIGKILL);
    }
}

/// The process that listens on a port (proc_net_tcp(5)).
fn holder_of(port: u16) -> nix::unistd::Pid {
    let table = fs::read_to_string("/proc/net/tcp6").unwrap();
    let wanted = format!(":{port:04X}");
    let listens = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() > 9 && words[1].ends_with(&wanted) && words[3] == "0A"
    };
    let line = table.lines().find(listens).expect("somebody listens");
    let inode = format!("socket:[{}]", line.split_whitespace().nth(9).unwrap());
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        for fd in descriptors.flatten() {
            if fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == inode.as_str()) {
                return nix::unistd::Pid::from_raw(pid);
            }
        }
    }
    panic!("nobody holds {inode}");
}

#[test]
fn sixty_clients_at_once() {
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    fs::write(source.join("big"), noise(7, 3 << 20)).unwrap();
    tree::make_odd_tree(&source, 50);
    let master = Master::start(&scratch, &source, &[]);
    let copy = |number: usize| scratch.join(format!("copy{number}"));
    let clients: Vec<Proc> = (0..60)
        .map(|number| {
            let mut fetching = xget();
            fetching.args(["-n", &master.addr(), "-q", "."]).arg(copy(number));
            Proc::start(fetching, &scratch)
        })
        .collect();
    clients.into_iter().for_each(|client| drop(client.wait().expect(0)));
    let wanted = tree::look(&source);
    (0..60).for_each(|number| tree::assert_same_as(&wanted, &copy(number)));
    let said = master.proc.out();
    assert_eq!(said.matches(" done: ").count(), 60, "{said}");
    assert!(!is_root() || !said.contains("warning"), "{said}");
}
