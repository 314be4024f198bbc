//! What is for one node alone: a master with a root key, nodes that have theirs, strangers and
//! whoever is between.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use peer::alone::{BYTES_MAX, ENTRIES_MAX};
use peer::auth::Key;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use support::proc::{Master, Proc, xget};
use support::{Scratch, noise, until};

const SECRET: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";

fn root() -> Key {
    Key::root([7; 32])
}

fn node(name: &str) -> Key {
    root().node(name).unwrap()
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A key in a file that its owner alone may read.
fn key_file(scratch: &Scratch, key: &Key) -> PathBuf {
    let path = scratch.join(format!("key-{}", support::unique()));
    fs::write(&path, key.text() + "\n").unwrap();
    mode(&path, 0o600);
    path
}

/// A served directory with a layer for n1 alone.
fn served(scratch: &Scratch) -> PathBuf {
    let dir = scratch.dir("served");
    fs::write(dir.join("public"), "everybody's").unwrap();
    let layer = scratch.dir("served/.xget/alone/n1");
    fs::create_dir_all(layer.join("etc/ssh")).unwrap();
    fs::write(layer.join("etc/ssh/ssh_host_ed25519_key"), SECRET).unwrap();
    mode(&layer.join("etc/ssh/ssh_host_ed25519_key"), 0o600);
    fs::write(layer.join("etc/large"), noise(3, 200_000)).unwrap();
    fs::write(layer.join("etc/empty"), "").unwrap();
    symlink("large", layer.join("etc/link")).unwrap();
    mode(&dir.join(".xget/alone"), 0o700);
    dir
}

fn start(scratch: &Scratch, dir: &Path, key: &Key) -> Master {
    Master::start(scratch, dir, &["--key", key_file(scratch, key).to_str().unwrap()])
}

fn addr(master: &Master) -> SocketAddr {
    master.addr().parse().unwrap()
}

fn fetch(master: &Master, key: &Key, dest: &Path) -> Result<Option<usize>, String> {
    fs::create_dir_all(dest).unwrap();
    xget::fetch_alone(addr(master), key, dest)
}

#[test]
fn a_node_gets_its_own_as_it_is_and_nobody_sees_a_name_of_it() {
    let scratch = Scratch::new();
    let dir = served(&scratch);
    let master = start(&scratch, &dir, &root());
    let dest = scratch.dir("n1");
    assert_eq!(fetch(&master, &node("n1"), &dest), Ok(Some(4)));
    let key = dest.join("etc/ssh/ssh_host_ed25519_key");
    assert_eq!(fs::read_to_string(&key).unwrap(), SECRET);
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    assert!(fs::read(dest.join("etc/large")).unwrap() == noise(3, 200_000));
    assert_eq!(fs::read(dest.join("etc/empty")).unwrap(), b"");
    assert_eq!(fs::read_link(dest.join("etc/link")).unwrap(), Path::new("large"));
    // Again, over what is there.
    fs::write(dest.join("etc/ssh/known"), "kept").unwrap();
    fs::write(&key, "another").unwrap();
    assert_eq!(fetch(&master, &node("n1"), &dest), Ok(Some(4)));
    assert_eq!(fs::read_to_string(&key).unwrap(), SECRET);
    assert!(dest.join("etc/ssh/known").exists());
    // Of another node there is none, and none beside it.
    assert_eq!(fetch(&master, &node("n2"), &scratch.join("n2")), Ok(None));
    // Neither the log has a name of it, nor what the cluster can see.
    let shown = master.proc.err() + &master.proc.out();
    assert!(shown.contains("n1: a layer for it alone, 4 files"), "{shown}");
    let key = key_file(&scratch, &root().cluster().unwrap());
    let verb = |words: &[&str]| {
        let mut verb = xget();
        verb.args(words).args(["-n", &master.addr()]).env("XGET_KEY", &key);
        Proc::start(verb, &scratch).wait()
    };
    let mut all = shown;
    for words in [&["ls", "-lR"][..], &["find"], &["status"], &["status", "--nodes"]] {
        let ended = verb(words);
        all += &ended.out;
        all += &ended.err;
    }
    assert!(all.contains("public"), "{all}");
    for name in ["ssh_host", "etc/", "large", SECRET, &node("n1").text()[20..]] {
        assert!(!all.contains(name), "{name}: {all}");
    }
    let mut fetch_all = xget();
    fetch_all.args(["-n", &master.addr(), "--linger", "0", "--key"]).arg(&key);
    fetch_all.arg(".").arg(scratch.join("all"));
    Proc::start(fetch_all, &scratch).wait().expect(0);
    assert!(!scratch.join("all/.xget").exists() && scratch.join("all/public").exists());
}

#[test]
fn strangers_hear_nothing_and_the_operator_what_is_missing() {
    let scratch = Scratch::new();
    let dir = served(&scratch);
    let (of_root, of_cluster) =
        (start(&scratch, &dir, &root()), start(&scratch, &dir, &root().cluster().unwrap()));
    let none = Master::start(&scratch, &dir, &[]);
    let dest = scratch.join("x");
    let other = Key::root([8; 32]).node("n1").unwrap();
    let mut said: Vec<String> = Vec::new();
    for (master, key) in [
        (&of_root, &other),
        (&of_root, &Key::root([8; 32]).node("n9").unwrap()),
        (&of_cluster, &node("n1")),
        // The key of the cluster, where it is not wanted.
        (&of_root, &root().cluster().unwrap()),
    ] {
        said.push(fetch(master, key, &dest).unwrap_err());
    }
    assert!(said.iter().all(|why| why.contains("authentication failed")), "{said:?}");
    assert_eq!((&said[0], &said[0]), (&said[1], &said[2]));
    until("the operator hears of it", 10, || {
        of_cluster.proc.err().contains("follows from the root key")
    });
    let why = fetch(&none, &node("n1"), &dest).unwrap_err();
    assert!(why.contains("proof of who asks"), "{why}");
    assert_eq!(fs::read_dir(&dest).unwrap().count(), 0);
}

#[test]
fn what_others_may_see_and_what_is_too_much_is_not_given() {
    let scratch = Scratch::new();
    let dir = served(&scratch);
    let master = start(&scratch, &dir, &root());
    let (alone, layer, dest) =
        (dir.join(".xget/alone"), dir.join(".xget/alone/n1"), scratch.join("dest"));
    let refused = |name: &str, why: &str| {
        let said = fetch(&master, &node(name), &dest).unwrap_err();
        assert!(said.contains("Wrong"), "{said}");
        until(why, 10, || master.proc.err().contains(why));
        assert_eq!(fs::read_dir(&dest).unwrap().count(), 0);
    };
    mode(&alone, 0o750);
    refused("n1", "others can look into it");
    mode(&alone, 0o701);
    refused("n2", "others can look into it");
    mode(&alone, 0o700);
    symlink("n1", alone.join("linked")).unwrap();
    fs::write(alone.join("file"), "").unwrap();
    refused("linked", "linked: it is no directory");
    refused("file", "file: it is no directory");
    // What all of them are in, too: none does without its secrets by a mistake.
    let (aside, own) = (scratch.join("aside"), dir.join(".xget"));
    for moved in [&alone, &own, &dir] {
        fs::rename(moved, &aside).unwrap();
        if *moved != dir {
            symlink(&aside, moved).unwrap();
            refused("n2", "alone: it is no directory");
            fs::remove_file(moved).unwrap();
        } else {
            refused("n2", "No such file or directory");
        }
        fs::rename(&aside, moved).unwrap();
    }
    // A link out of it is a link, and not what it leads to.
    symlink("/etc/passwd", layer.join("passwd")).unwrap();
    fetch(&master, &node("n1"), &scratch.join("links")).unwrap();
    assert!(fs::symlink_metadata(scratch.join("links/passwd")).unwrap().is_symlink());
    // One byte too much, and one entry.
    let big = scratch.dir("served/.xget/alone/big");
    fs::File::create(big.join("f")).unwrap().set_len(BYTES_MAX as u64 + 1).unwrap();
    refused("big", "it has 16777217 bytes, and 16777216 at most");
    fs::File::create(big.join("f")).unwrap().set_len(BYTES_MAX as u64 - 20_000).unwrap();
    assert_eq!(fetch(&master, &node("big"), &scratch.join("just")), Ok(Some(1)));
    let many = scratch.dir("served/.xget/alone/many");
    for number in 0..ENTRIES_MAX {
        fs::write(many.join(number.to_string()), "").unwrap();
    }
    refused("many", "it has more than 4096 entries");
    fs::remove_file(many.join("0")).unwrap();
    assert_eq!(fetch(&master, &node("many"), &scratch.join("many")), Ok(Some(ENTRIES_MAX - 1)));
}

#[test]
fn what_changes_while_it_is_read_does_not_come_in_parts() {
    let scratch = Scratch::new();
    let dir = served(&scratch);
    let pair = ["etc/one", "etc/two"].map(|name| dir.join(".xget/alone/n1").join(name));
    let write = move |number: u64| {
        for path in &pair {
            fs::write(path, noise(number, 60_000)).unwrap();
        }
    };
    write(0);
    let master = start(&scratch, &dir, &root());
    let over = Arc::new(AtomicBool::new(false));
    let is_over = over.clone();
    let writer = thread::spawn(move || {
        let mut number = 0;
        while !is_over.load(Ordering::Relaxed) {
            number += 1;
            write(number);
        }
    });
    let mut got = 0;
    for number in 0..4 {
        let dest = scratch.join(format!("changing{number}"));
        if fetch(&master, &node("n1"), &dest).is_ok() {
            got += 1;
            let read = |name: &str| fs::read(dest.join(name)).unwrap();
            assert!([0, 60_000].contains(&read("etc/one").len()), "a part of a file");
        }
    }
    over.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let dest = scratch.join("still");
    until("it is left alone", 20, || fetch(&master, &node("n1"), &dest).is_ok());
    let [one, two] = ["etc/one", "etc/two"].map(|name| fs::read(dest.join(name)).unwrap());
    assert!(one == two && one.len() == 60_000, "{got} came while it changed");
}

/// What was said in both directions.
type Heard = Arc<Mutex<Vec<u8>>>;

/// Somebody between, who passes so many bytes of the answers on, and sees all of them.
fn between(master: SocketAddr, most: usize) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, heard) = (listener.local_addr().unwrap(), Heard::default());
    let sees = heard.clone();
    thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        let far = TcpStream::connect(master).unwrap();
        let (up, asks) = ((near.try_clone().unwrap(), far.try_clone().unwrap()), sees.clone());
        let asking = thread::spawn(move || pass(up.0, up.1, usize::MAX, &asks));
        pass(far, near, most, &sees);
        let _ = asking.join();
    });
    (at, heard)
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut left: usize, heard: &Heard) {
    let mut bytes = [0; 4096];
    while left > 0 {
        let len = match from.read(&mut bytes) {
            Ok(len @ 1..) => len.min(left),
            _ => break,
        };
        heard.lock().unwrap().extend_from_slice(&bytes[..len]);
        if to.write_all(&bytes[..len]).is_err() {
            break;
        }
        left -= len;
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}

#[test]
fn who_is_between_sees_nothing_and_can_only_cut_it_off() {
    let scratch = Scratch::new();
    let dir = served(&scratch);
    let master = start(&scratch, &dir, &root());
    let (at, heard) = between(addr(&master), usize::MAX);
    let dest = scratch.dir("whole");
    assert_eq!(xget::fetch_alone(at, &node("n1"), &dest), Ok(Some(4)));
    let heard = heard.lock().unwrap();
    assert!(heard.len() > 200_000);
    let large = noise(3, 200_000);
    let secret = node("n1").text();
    for needle in
        [SECRET.as_bytes(), b"ssh_host", b"large", &large[..32], &secret.as_bytes()[20..52]]
    {
        let is_seen = heard.windows(needle.len()).any(|part| part == needle);
        assert!(!is_seen, "{}", String::from_utf8_lossy(needle));
    }
    for most in [100, 300, 1_000, 100_000, 200_000] {
        let (at, _) = between(addr(&master), most);
        let dest = scratch.dir("cut");
        let mut why = xget::fetch_alone(at, &node("n1"), &dest).unwrap_err();
        // Where it was asked for too often, it was not cut.
        while why.contains("Busy") {
            thread::sleep(std::time::Duration::from_millis(500));
            let (at, _) = between(addr(&master), most);
            why = match xget::fetch_alone(at, &node("n1"), &dest) {
                Err(why) => why,
                Ok(_) => panic!("{most}"),
            };
        }
        assert_eq!(fs::read_dir(&dest).unwrap().count(), 0, "{most}: {why}");
    }
}
