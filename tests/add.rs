//! `xget add`: from real servers into a served directory, by curl and by wget.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use peer::content::digest::Digest;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::proc::{Ended, Master, Proc, XGET, command, xget};
use support::{DeafPort, Scratch, lacks, noise, until};

/// An HTTP server that serves one file, and what it was asked for.
struct Web {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    /// Those that are connected are given no more, until this is false.
    stalls: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

impl Web {
    fn start(contents: Vec<u8>) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let web =
            Web { port, asked: Arc::default(), stalls: Arc::default(), served: Arc::default() };
        let (asked, stalls, served) = (web.asked.clone(), web.stalls.clone(), web.served.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, stalls, served) = (asked.clone(), stalls.clone(), served.clone());
                let contents = contents.clone();
                thread::spawn(move || answer(stream, &contents, &asked, &stalls, &served));
            }
        });
        web
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// `GET /PATH`: `missing`, `busy`, `cut` (half of it), `drip` (a MiB, and no more), `whole` (no
/// parts), `short` (nothing behind its begin), `to/URL` (a redirection), or the file.
fn answer(
    mut stream: TcpStream,
    contents: &[u8],
    asked: &Mutex<Vec<String>>,
    stalls: &AtomicBool,
    served: &AtomicUsize,
) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let (mut from, mut line) = (0, lines.next()?.ok()?);
    while !line.is_empty() {
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok()?;
        }
        line = lines.next()?.ok()?;
    }
    asked.lock().unwrap().push(format!("{first} {from}"));
    let path = first.split(' ').nth(1)?.trim_start_matches('/').to_string();
    let total = contents.len();
    let head = match path.as_str() {
        "missing" => "404 Not Found\r\nContent-Length: 0".into(),
        path if path.starts_with("busy") => "503 Busy\r\nContent-Length: 0".into(),
        "short" if from > 0 => "416 Range Not Satisfiable\r\nContent-Length: 0".into(),
        "whole" => {
            from = 0;
            format!("200 OK\r\nContent-Length: {total}")
        }
        path if path.starts_with("to/") => {
            format!("302 Found\r\nLocation: {}\r\nContent-Length: 0", &path[3..])
        }
        _ if from > 0 => format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}\r\nContent-Length: {}",
            total - 1,
            total - from
        ),
        _ => format!("200 OK\r\nContent-Length: {total}"),
    };
    stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    if !head.starts_with("20") {
        return None;
    }
    let end = match path.as_str() {
        "cut" => total / 2,
        "drip" => total.min(from + (1 << 20)),
        _ => total,
    };
    let half = total / 2;
    for chunk in contents[from..end].chunks(64 << 10) {
        while stalls.load(Ordering::Relaxed) && served.load(Ordering::Relaxed) >= half {
            thread::sleep(Duration::from_millis(5));
        }
        stream.write_all(chunk).ok()?;
        served.fetch_add(chunk.len(), Ordering::Relaxed);
    }
    Some(())
}

fn add(scratch: &Scratch, dir: &Path, words: &[&str]) -> Proc {
    let mut command = xget();
    command.arg("add").args(words).current_dir(dir).env_remove("XGET_ROOT");
    Proc::start(command, scratch)
}

fn added(scratch: &Scratch, dir: &Path, words: &[&str]) -> Ended {
    add(scratch, dir, words).wait()
}

/// Files of a directory that are no whole ones.
fn parts(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.to_string_lossy().contains(".xget-")).collect()
}

fn blake3(bytes: &[u8]) -> String {
    format!("blake3:{}", Digest::of(bytes))
}

#[test]
fn what_is_added_is_served_under_the_path_of_its_url() {
    if lacks(&["curl"]) {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    let contents = noise(1, 300_000);
    let web = Web::start(contents.clone());
    let master = Master::start(&scratch, &dir, &[]);
    let url = web.url("releases/a%20b.img");
    added(&scratch, &dir, &[&url]).expect(0).says("releases/a b.img added: 300000 bytes, blake3:");
    assert_eq!(fs::read(dir.join("releases/a b.img")).unwrap(), contents);
    assert_eq!(parts(&dir.join("releases")), Vec::<PathBuf>::new());
    let copy = scratch.join("copy");
    master.fetch(&scratch, ["releases/a b.img".as_ref(), copy.as_os_str()]).expect(0);
    assert_eq!(fs::read(copy.join("a b.img")).unwrap(), contents);
    // Again: nothing is asked for.
    let before = web.asked().len();
    added(&scratch, &dir, &[&url]).expect(0).says("is there already");
    let digest = blake3(&contents);
    added(&scratch, &dir, &["--digest", &digest, &url]).expect(0).says("is there already");
    assert_eq!(web.asked().len(), before);
    let wrong = added(&scratch, &dir, &["--digest", &blake3(b""), &url]).expect(5);
    wrong.says("remove it to have it fetched");
    // Elsewhere, under another name.
    let other = scratch.dir("other");
    let words = ["-C", other.to_str().unwrap(), "-q", &url, "x/y"];
    assert_eq!(added(&scratch, &dir, &words).expect(0).out, "");
    assert_eq!(fs::read(other.join("x/y")).unwrap(), contents);
    let mut by_root = xget();
    by_root.args(["add", &url, "z"]).env("XGET_ROOT", &other).current_dir(&scratch.path);
    Proc::start(by_root, &scratch).wait().expect(0);
    assert!(other.join("z").exists());
}

#[test]
fn what_is_wrong_is_not_added() {
    if lacks(&["curl"]) {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    let contents = noise(2, 300_000);
    let web = Web::start(contents.clone());
    added(&scratch, &dir, &[&web.url("missing")]).expect(4).says("404").says("nothing was added");
    added(&scratch, &dir, &[&web.url("cut")]).expect(4).says("nothing was added");
    // Nor a directory on its way.
    added(&scratch, &dir, &[&web.url("busy/x/y")]).expect(4).says("503");
    added(&scratch, &dir, &[&web.url("a%0a%1b[2J")]).expect(2).says("control character");
    let with_password = web.url("missing").replace("//", "//user:secret@");
    let ended = added(&scratch, &dir, &[&with_password]).expect(4);
    assert!(!format!("{}{}", ended.out, ended.err).contains("secret"));
    let sha = format!("{:064x}", 7);
    added(&scratch, &dir, &["--sha256", &sha, &web.url("a")]).expect(5).says("nothing was added");
    fs::write(scratch.join("contents"), &contents).unwrap();
    let out = Command::new("sha256sum").arg(scratch.join("contents")).output().unwrap().stdout;
    let sum = String::from_utf8(out).unwrap().split_whitespace().next().unwrap().to_owned();
    added(&scratch, &dir, &["--sha256", &sum, &web.url("right")]).expect(0).says("added");
    let deaf = DeafPort::new();
    added(&scratch, &dir, &[&format!("http://{}/a", deaf.addr())]).expect(3);
    // A redirection leads to no file of the head.
    let secret = scratch.join("secret");
    fs::write(&secret, b"secret").unwrap();
    let to_file = web.url(&format!("to/file://{}", secret.display()));
    assert_ne!(added(&scratch, &dir, &[&to_file, "stolen"]).status, 0);
    let to_web = web.url(&format!("to/{}", web.url("b")));
    added(&scratch, &dir, &[&to_web, "redirected"]).expect(0);
    added(&scratch, &dir, &[&format!("file://{}", secret.display()), "own"]).expect(0);
    // Names that lead out of the directory, or are taken.
    symlink("/tmp", dir.join("out")).unwrap();
    added(&scratch, &dir, &[&web.url("a"), "out/x"]).expect(6).says("symlink");
    added(&scratch, &dir, &[&web.url("a"), "../x"]).expect(2);
    fs::create_dir(dir.join("directory")).unwrap();
    added(&scratch, &dir, &[&web.url("a"), "directory"])
        .expect(6)
        .says("what has that name is no file");
    added(&scratch, &dir, &["-C", "/nonexistent", &web.url("a")]).expect(2).says("-C DIR");
    let mut names: Vec<String> = fs::read_dir(&dir)
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["directory", "out", "own", "redirected", "right"]);
}

#[test]
fn how_far_it_is_is_shown_on_a_terminal() {
    if lacks(&["curl", "wget", "script"]) {
        return;
    }
    let (scratch, web) = (Scratch::new(), Web::start(noise(4, 300_000)));
    let dir = scratch.dir("served");
    for (program, shown) in [("curl", "####"), ("wget", "100%")] {
        let bin = with_only(&scratch, &[program]);
        let line = format!("PATH={} {XGET} add {} {program}", bin.display(), web.url("a"));
        let mut script = command("script");
        script.args(["-qec", &line, "/dev/null"]).current_dir(&dir).env("SHELL", "/bin/sh");
        Proc::start(script, &scratch).wait().expect(0).says(shown);
        // And into a log nothing but what came of it.
        let quiet = added(&scratch, &dir, &[&web.url("a"), &format!("{program}-2")]).expect(0);
        assert!(!format!("{}{}", quiet.out, quiet.err).contains(shown), "{}", quiet.err);
    }
}

#[test]
fn interrupted_it_leaves_nothing_or_goes_on_where_it_was() {
    if lacks(&["curl"]) {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    let contents = noise(3, 8 << 20);
    let digest = blake3(&contents);
    for (pin, is_kept) in [(None, false), (Some(&*digest), true)] {
        let web = Web::start(contents.clone());
        web.stalls.store(true, Ordering::Relaxed);
        let url = web.url("a.img");
        let words: Vec<&str> =
            pin.iter().flat_map(|pin| ["--digest", pin]).chain([&*url]).collect();
        let proc = add(&scratch, &dir, &words);
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |status| status.len());
        until("half of it is here", 30, || parts(&dir).first().map_or(0, size) > 1 << 20);
        proc.signal(Signal::SIGTERM);
        proc.wait().expect(1).says("interrupted");
        assert_eq!(parts(&dir).len(), usize::from(is_kept));
        web.stalls.store(false, Ordering::Relaxed);
        if is_kept {
            added(&scratch, &dir, &words).expect(0).says("added");
            let last = web.asked().pop().unwrap();
            let from: u64 = last.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(from > 1 << 20, "{last}");
            assert_eq!(fs::read(dir.join("a.img")).unwrap(), contents);
        }
    }
}

/// What is there is hashed, which can take long: a file without contents.
#[test]
fn it_is_interrupted_while_it_hashes_what_is_there() {
    let (scratch, web) = (Scratch::new(), Web::start(Vec::new()));
    let dir = scratch.dir("served");
    fs::File::create(dir.join("a.img")).unwrap().set_len(256 << 30).unwrap();
    let (digest, other) = (format!("sha256:{:064}", 0), format!("blake3:{:064}", 0));
    let url = web.url("a.img");
    added(&scratch, &dir, &[&url]).expect(0).says("is there already: 274877906944 bytes");
    for words in [&["a.img", "--digest", &digest], &["a.img", "--digest", &other]] {
        let all: Vec<&str> = [&*url].into_iter().chain(words.iter().copied()).collect();
        let mut run = add(&scratch, &dir, &all);
        let reads = format!("/proc/{}/io", run.pid());
        let has_begun = || {
            let text = fs::read_to_string(&reads).unwrap();
            let read = text.lines().find_map(|line| line.strip_prefix("rchar: "));
            read.unwrap().parse::<u64>().unwrap() > 1 << 20
        };
        until("it hashes", 30, has_begun);
        run.signal(Signal::SIGINT);
        until("it ends", 10, || run.has_ended());
        run.wait().expect(1).says("interrupted");
    }
    assert!(parts(&dir).is_empty() && dir.join("a.img").exists());
}

/// Whoever has a bad day at the other end, or here.
#[test]
fn what_was_kept_stays_until_the_server_gives_no_part() {
    if lacks(&["curl"]) {
        return;
    }
    const MIB: u64 = 1 << 20;
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    let contents = noise(8, 3 << 20);
    let (web, digest) = (Web::start(contents.clone()), blake3(&contents));
    let add = |path: &str| {
        let words = ["--digest", &digest, &web.url(path), "images/a.img"];
        added(&scratch, &dir, &words)
    };
    let kept = || fs::metadata(&parts(&dir.join("images"))[0]).unwrap().len();
    let said = add("drip").expect(4);
    said.says("nothing was added").says(".part keeps 1048576 bytes for the next xget add");
    add("drip").expect(4);
    assert_eq!(kept(), 2 * MIB);
    add("busy").expect(4).says("503");
    let deaf = DeafPort::new();
    let url = format!("http://{}/a", deaf.addr());
    added(&scratch, &dir, &["--digest", &digest, &url, "images/a.img"]).expect(3);
    assert_eq!(kept(), 2 * MIB);
    add("drip").expect(0).says("added: 3145728 bytes");
    assert_eq!(fs::read(dir.join("images/a.img")).unwrap(), contents);
    let froms = |asked: &[String]| -> Vec<u64> {
        asked.iter().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
    };
    assert_eq!(froms(&web.asked()), [0, MIB, 2 * MIB, 2 * MIB]);
    for path in ["whole", "short"] {
        fs::remove_file(dir.join("images/a.img")).unwrap();
        add("drip").expect(4);
        let before = web.asked().len();
        add(path).expect(0);
        let asked = froms(&web.asked()[before..]);
        assert!(asked.starts_with(&[MIB]) && asked.len() == 2, "{path}: {asked:?}");
        assert_eq!(fs::read(dir.join("images/a.img")).unwrap(), contents);
    }
}

#[test]
fn what_was_kept_of_another_version_is_fetched_anew() {
    if lacks(&["curl"]) {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    let (old, new) = (noise(4, 4 << 20), noise(5, 4 << 20));
    let web = Web::start(old);
    web.stalls.store(true, Ordering::Relaxed);
    let digest = blake3(&new);
    let proc = add(&scratch, &dir, &["--digest", &digest, &web.url("a.img")]);
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |status| status.len());
    until("some of it is here", 30, || parts(&dir).first().map_or(0, size) > 1 << 20);
    proc.signal(Signal::SIGINT);
    proc.wait().expect(1);
    let web = Web::start(new.clone());
    added(&scratch, &dir, &["--digest", &digest, &web.url("a.img")]).expect(0);
    assert_eq!(web.asked().len(), 2, "a part, and then all: {:?}", web.asked());
    assert_eq!(fs::read(dir.join("a.img")).unwrap(), new);
}

#[test]
fn two_at_once_fetch_it_once() {
    if lacks(&["curl"]) {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    let contents = noise(6, 4 << 20);
    let web = Web::start(contents.clone());
    web.stalls.store(true, Ordering::Relaxed);
    let url = web.url("a.img");
    let first = add(&scratch, &dir, &[&url]);
    until("the first has begun", 30, || !web.asked().is_empty());
    let second = add(&scratch, &dir, &[&url]);
    until("the second waits", 30, || second.err().contains("waits for another"));
    web.stalls.store(false, Ordering::Relaxed);
    first.wait().expect(0).says("added");
    second.wait().expect(0).says("is there already");
    assert_eq!(web.asked().len(), 1);
    assert_eq!(fs::read(dir.join("a.img")).unwrap(), contents);
}

/// A directory with these programs of the system alone.
fn with_only(scratch: &Scratch, programs: &[&str]) -> PathBuf {
    let bin = scratch.dir(&format!("bin-{}", programs.join("-")));
    programs
        .iter()
        .for_each(|program| symlink(format!("/usr/bin/{program}"), bin.join(program)).unwrap());
    bin
}

#[test]
fn wget_does_where_there_is_no_curl() {
    if lacks(&["wget"]) {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    let contents = noise(7, 300_000);
    let web = Web::start(contents.clone());
    let run = |bin: &Path, words: &[&str]| {
        let mut command: Command = command(XGET);
        command.arg("add").args(words).current_dir(&dir).env("PATH", bin).env_remove("XGET_ROOT");
        Proc::start(command, &scratch).wait()
    };
    let bin = with_only(&scratch, &["wget"]);
    run(&bin, &[&web.url("a.img")]).expect(0).says("added");
    assert_eq!(fs::read(dir.join("a.img")).unwrap(), contents);
    run(&bin, &[&web.url("missing")]).expect(4).says("wget ended with status 8");
    run(&bin, &["file:///etc/passwd", "x"]).expect(6).says("takes curl");
    let deaf = DeafPort::new();
    run(&bin, &[&format!("http://{}/b", deaf.addr())]).expect(3);
    run(&with_only(&scratch, &[]), &[&web.url("c")]).expect(6).says("neither curl nor wget");
    assert_eq!(parts(&dir), Vec::<PathBuf>::new());
}
