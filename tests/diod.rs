//! A foreign 9P client, Debian's diod, at the master's name space.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use support::proc::Master;
use support::reader::Reader;
use support::{Scratch, lacks, noise, tree, until};

fn diod(tool: &str, master: &Master, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new(format!("/usr/sbin/{tool}"));
    command.args(["-s", &master.addr()]).args(args).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {said}");
    output.stdout
}

fn cat(master: &Master, path: &str) -> Vec<u8> {
    diod("diodcat", master, &["-a", "/", path])
}

fn list(master: &Master, path: &str) -> String {
    String::from_utf8_lossy(&diod("diodls", master, &["-a", "/", path])).into_owned()
}

#[test]
fn diod_lists_and_reads_the_master() {
    if lacks(&["diodls", "diodcat", "sha256sum"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    tree::make_odd_tree(&source, 300);
    fs::write(source.join("image"), noise(1, 5_000_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let root = list(&master, "/");
    for name in ["image", "log", ".xget", "small", "grüße-日本語", "new\nline", "data", "redir"]
    {
        assert!(root.contains(name), "{name} is not in {root}");
    }
    let file = list(&master, "image");
    for name in ["data", "redir", "avail", "checksum"] {
        assert!(file.contains(name), "{name} is not in {file}");
    }
    let small = list(&master, "small/3");
    assert_eq!(small.matches("file ").count(), 15, "{small}");
    assert_eq!(cat(&master, "image/data"), noise(1, 5_000_000));
    assert_eq!(cat(&master, "data/data"), fs::read(source.join("data")).unwrap());
    assert_eq!(cat(&master, "dirs/data/data/data"), b"in a directory of this name");
    assert_eq!(cat(&master, "with space/data"), fs::read(source.join("with space")).unwrap());
    assert_eq!(cat(&master, "image/redir"), b"me");
    assert_eq!(diod("diodcat", &master, &["-a", "files", "image"]), noise(1, 5_000_000));
    let sum = Command::new("sha256sum").arg(source.join("image")).output().unwrap();
    let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
    let wanted = format!("sha256:{}", sum.split_whitespace().next().unwrap());
    let found = String::from_utf8_lossy(&cat(&master, "image/checksum")).into_owned();
    assert_eq!(found.trim_end(), wanted);
    let info = String::from_utf8_lossy(&cat(&master, ".xget/info")).into_owned();
    assert!(info.contains("generation blake3:"), "{info}");
    assert!(String::from_utf8_lossy(&cat(&master, ".xget/status")).starts_with("# address"));
}

#[test]
fn diod_sees_the_attributes_of_the_source_at_any_msize() {
    if lacks(&["diodls", "diodcat"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    let long = "n".repeat(255);
    fs::write(source.join(&long), noise(1, 100_000)).unwrap();
    fs::hard_link(source.join(&long), source.join("two")).unwrap();
    symlink("two", source.join("to")).unwrap();
    tree::chmod(&source.join("two"), 0o750);
    tree::chmod(&source, 0o751);
    let master = Master::start(&scratch, &source, &[]);
    // 4096 is the least that Linux takes, 512 the least that we do.
    for msize in ["512", "4096", "65536", "1048576"] {
        let args = ["-a", "files", "-m", msize];
        let listing = diod("diodls", &master, &[&args[..], &["-l"]].concat());
        let listing = String::from_utf8(listing).unwrap();
        // Mode, links, size, name; owners are names here, and times local.
        let seen: Vec<_> = listing
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .map(|words| (words[0].trim_end_matches('.'), words[1], words[4], words[8]))
            .collect();
        let wanted = [
            ("drwxr-x--x", "1", "0", "."),
            ("drwxr-x--x", "1", "0", ".."),
            ("-rwxr-x---", "2", "100000", &long),
            ("-rwxrwxrwx", "1", "3", "to"), // diodls has no letter for links
            ("-rwxr-x---", "2", "100000", "two"),
        ];
        assert_eq!(seen, wanted, "msize {msize}");
        let bytes = diod("diodcat", &master, &[&args[..], &["two"]].concat());
        assert_eq!(bytes, noise(1, 100_000), "msize {msize}");
    }
}

#[test]
fn the_log_takes_lines_and_gives_them_back() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("log"), b"a served file of this name").unwrap();
    fs::write(source.join("file"), b"x").unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let mut reader = Reader::connect(("127.0.0.1", master.port)).unwrap();
    let log = reader.open(&["log"], 1).unwrap();
    reader.write(log, b"node 7 is \x1b[31mhot\n").unwrap();
    until("the operator sees it", 5, || master.proc.out().contains("node 7 is ?[31mhot"));
    let back = reader.read_all(&["log"]).unwrap();
    assert!(String::from_utf8_lossy(&back).contains("127.0.0.1 node 7 is "));
    // The served file is no less to be had.
    let dest = scratch.join("dest");
    master.fetch(&scratch, [".".as_ref(), dest.as_os_str()]).expect(0);
    tree::assert_same(&source, &dest);
}

#[test]
fn by_the_papers_files_a_worker_is_named_and_forgotten() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("file"), noise(1, 1000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let mut worker = Reader::connect(("127.0.0.1", master.port)).unwrap();
    let avail = worker.open(&["file", "avail"], 1).unwrap();
    worker.write(avail, b"7777 me").unwrap();
    let redir = || {
        let mut client = Reader::connect(("127.0.0.1", master.port)).unwrap();
        String::from_utf8(client.read_all(&["file", "redir"]).unwrap()).unwrap()
    };
    until("it is named", 5, || redir().contains("127.0.0.1!7777"));
    drop(worker);
    until("it is forgotten", 5, || redir() == "me");
}
