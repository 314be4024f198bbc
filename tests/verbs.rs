//! Verbs as one types them: `ls`, `status`, and what there is in place of `rm`.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use peer::content::digest::Digest;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use support::fake::{Act, Fake};
use support::mounts::{have_own_mounts, mount_memory};
use support::proc::{Ended, Master, Proc, XGET, command, xget};
use support::reader::Reader;
use support::stranger::{connect_from, ip_of};
use support::{DeafPort, Scratch, lacks, until};

fn run(scratch: &Scratch, words: &[&str]) -> Ended {
    run_with(scratch, words, |_| {})
}

fn run_with(scratch: &Scratch, words: &[&str], more: impl FnOnce(&mut Command)) -> Ended {
    let mut command = xget();
    command.args(words).env_remove("XGET_MASTER");
    more(&mut command);
    Proc::start(command, scratch).wait()
}

/// What a shell line shows on a terminal of so many columns.
fn on_terminal(scratch: &Scratch, columns: u16, line: &str) -> String {
    let line = format!("stty cols {columns} rows 24; {XGET} {line}");
    let mut script = command("script");
    script.args(["-qec", &line, "/dev/null"]).env("TERM", "dumb").env("SHELL", "/bin/sh");
    Proc::start(script, scratch).wait().expect(0).out.replace("\r\n", "\n")
}

/// Ordinary names, an odd one, a link and a directory.
fn served(scratch: &Scratch) -> std::path::PathBuf {
    let source = scratch.dir("source");
    fs::create_dir_all(source.join("images/debian")).unwrap();
    fs::write(source.join("images/debian/kernel"), b"kernel").unwrap();
    for name in ["a.img", "b.img", "with space"] {
        fs::write(source.join(name), name).unwrap();
    }
    fs::write(source.join(OsStr::from_bytes(b"odd\x1b[2J\xff")), b"").unwrap();
    symlink("images", source.join("link")).unwrap();
    source
}

#[test]
fn what_is_served_is_listed_raw_to_a_pipe_and_quoted_on_a_terminal() {
    let scratch = Scratch::new();
    let master = Master::start(&scratch, served(&scratch), &[]);
    let addr = master.addr();
    let listed = Proc::start(
        {
            let mut c = command("sh");
            c.args(["-c", &format!("{XGET} ls -n {addr} >{}/out", scratch.path.display())]);
            c
        },
        &scratch,
    );
    listed.wait().expect(0);
    let out = fs::read(scratch.join("out")).unwrap();
    assert_eq!(out, b"a.img\nb.img\nimages\nlink\nodd\x1b[2J\xff\nwith space\n");
    let shown = on_terminal(&scratch, 30, &format!("ls -n {addr}"));
    assert!(!shown.contains('\x1b'), "{shown:?}");
    assert!(shown.contains(r"$'odd\033[2J\377'") && shown.contains("'with space'"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 30), "{shown}");
    assert!(shown.lines().count() < 6, "columns: {shown}");
    let long = run(&scratch, &["ls", "-l", "-n", &addr, "a.img", "link"]).expect(0);
    let line = long.out.lines().find(|line| line.ends_with("link -> images")).unwrap();
    assert!(line.starts_with("lrwxrwxrwx "), "{line}");
    let human = run(&scratch, &["ls", "-lh", "-n", &addr, "a.img"]).expect(0);
    assert!(human.out.contains(" 5 B "), "{}", human.out);
    run(&scratch, &["ls", "-l", "-h", "-n", &addr]).expect(0).says(" a.img");
    let below = run(&scratch, &["ls", "-R", "-n", &addr, "images"]).expect(0);
    assert_eq!(below.out, "images:\ndebian\n\nimages/debian:\nkernel\n");
    let json = run(&scratch, &["ls", "--json", "-R", "-n", &addr]).expect(0);
    let all: Value = serde_json::from_str(&json.out).unwrap();
    let kernel = all.as_array().unwrap().iter().find(|e| e["path"] == "images/debian/kernel");
    let digest = format!("blake3:{}", Digest::of(b"kernel"));
    assert_eq!(kernel.unwrap()["digest"].as_str(), Some(&*digest));
    assert!(all.as_array().unwrap().iter().any(|e| e["path_encoded"] == "odd%1b%5b2J%ff"));
}

#[test]
fn what_is_not_there_is_said_and_the_rest_is_listed() {
    let scratch = Scratch::new();
    let master = Master::start(&scratch, served(&scratch), &[]);
    let addr = master.addr();
    let ended = run(&scratch, &["ls", "-n", &addr, "nothing", "a.img"]).expect(4);
    assert_eq!(ended.out, "a.img\n");
    ended.says("nothing: nothing that is served fits");
    run(&scratch, &["ls", "-n", &addr, ""]).expect(2).says("an empty PATTERN");
    run(&scratch, &["ls", "-n", &addr, "../x"]).expect(2).says("above what is served");
    run(&scratch, &["ls", "--help"]).expect(0).says("usage: xget ls");
    run(&scratch, &["status", "-h"]).expect(0).says("usage: xget status");
}

#[test]
fn the_master_is_named_in_several_ways() {
    let scratch = Scratch::new();
    let master = Master::start(&scratch, served(&scratch), &[]);
    let (addr, deaf) = (master.addr(), DeafPort::new());
    let from = |named: &str| {
        run_with(&scratch, &["ls", "link"], |c| {
            c.env("XGET_MASTER", named);
        })
        .expect(0)
        .out
    };
    assert_eq!(from(&addr), "debian\n");
    assert_eq!(from(&format!("{},{addr}", deaf.addr())), "debian\n", "the first that answers");
    // Its kernel takes the call, and no more; and one that has no such files.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = Fake::start(|_, _, _| Act::Error("none here"));
    for other in [mute.local_addr().unwrap().to_string(), other.addr()] {
        let hosts = format!("{other},{addr}");
        assert_eq!(from(&hosts), "debian\n", "the first that answers");
        run(&scratch, &["status", "-n", &hosts]).expect(0).says("ADDRESS");
        let hosts = format!("{other},{}", deaf.addr());
        run(&scratch, &["status", "-n", &hosts]).expect(3).says(&other).says(&deaf.addr());
    }
    run(&scratch, &["ls", "-p", &master.port.to_string()]).expect(0).says("images");
    let port = deaf.port.to_string();
    run(&scratch, &["ls", "-p", &port]).expect(3).says("no master answers at").says("-n");
    run(&scratch, &["ls", "-n", "no.such.host.invalid"]).expect(3).says("no.such.host.invalid");
    run(&scratch, &["ls", "-n", "a b"]).expect(2);
}

/// A master whose files say this.
fn liar(info: String, manifest: fn(u64, u32) -> Act) -> Fake {
    Fake::start(move |path, offset, count| match path {
        "/.xget/info" => {
            let bytes = info.as_bytes().get(offset as usize..).unwrap_or_default();
            Act::Bytes(bytes.to_vec())
        }
        "/.xget/manifest" => manifest(offset, count),
        _ => Act::Park,
    })
}

#[test]
fn a_master_that_lies_or_hangs_is_found_out() {
    let scratch = Scratch::new();
    let info = |len: u64| format!("generation blake3:{}\nindex_bytes {len}\n", Digest::of(b"x"));
    let ls = |fake: &Fake| run(&scratch, &["ls", "-n", &fake.addr()]);
    let noise: fn(u64, u32) -> Act =
        |at, count| Act::Bytes(vec![7; (5000 - at.min(5000)).min(count.into()) as usize]);
    ls(&liar(info(5000), noise)).expect(5).says("the manifest of");
    ls(&liar(info(4000), noise)).expect(5).says("not the one announced");
    ls(&liar(info(1 << 50), noise)).expect(6).says("MiB of memory");
    ls(&liar(info(5000), |_, _| Act::Raw(vec![0xff; 99]))).expect(3);
    ls(&liar("protocol 3\n".into(), noise)).expect(3).says("no master");
    let mute = liar(info(5000), |_, _| Act::Park);
    ls(&mute).expect(3).says("no answer").within(20);
    ls(&Fake::start(|_, _, _| Act::Freeze)).expect(3).within(20);
}

/// One that joined, for as long as this is held.
fn join(master: &Master, number: usize, sources: &str) -> (Reader, u32) {
    let mut reader = Reader::over(connect_from(ip_of(number), master.port)).unwrap();
    let fid = reader.open(&[".xget", "route"], 2).unwrap();
    reader.write(fid, format!("join 3 9 {sources}\n").as_bytes()).unwrap();
    until("it is told what there is", 20, || {
        String::from_utf8_lossy(&reader.read(fid, 0).unwrap()).contains("generation ")
    });
    reader.write(fid, b"progress 43 100 43 0 7\n").unwrap();
    (reader, fid)
}

/// Where nobody names one, it is whom the agent got this system from.
#[test]
fn a_node_asks_the_master_that_it_was_booted_from() {
    let scratch = Scratch::new();
    let master = Master::start(&scratch, served(&scratch), &[]);
    if !have_own_mounts() {
        return;
    }
    let _run = mount_memory(Path::new("/run"), "size=1m");
    fs::create_dir("/run/xget").unwrap();
    fs::write("/run/xget/node", format!("name n1\nmaster {}\n", master.addr())).unwrap();
    let ask = |words: &[&str]| {
        run_with(&scratch, words, |c| {
            c.env_remove("XGET_MASTER").env("HOME", &scratch.path).env_remove("XDG_CACHE_HOME");
        })
        .expect(0)
    };
    assert_eq!(ask(&["ls", "link"]).out, "debian\n");
    ask(&["status"]).says("ADDRESS");
    ask(&["run", "--", "cat", "file:a.img"]);
}

#[test]
fn who_fetches_what_is_shown_once_or_for_ever() {
    let scratch = Scratch::new();
    let master = Master::start(&scratch, served(&scratch), &[]);
    let addr = master.addr();
    let heads = run(&scratch, &["status", "-n", &addr]).expect(0).out;
    assert!(heads.starts_with("ADDRESS") && heads.lines().count() == 1, "{heads}");
    let (mut reader, fid) = join(&master, 0, "images a.img");
    let text = run(&scratch, &["status", "-n", &addr]).expect(0).out;
    let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[1..4], ["fetching", "43", "%"], "{text}");
    let json = run(&scratch, &["status", "--json", "-n", &addr]).expect(0).out;
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value[0]["have_bytes"], &value[0]["state"]), (&43.into(), &"fetching".into()));
    assert_eq!(value[0]["sources"], serde_json::json!(["images", "a.img"]));
    assert!(text.ends_with("  images a.img\n"), "{text}");

    let mut follow = xget();
    follow.args(["status", "--follow", "-n", &addr]);
    let follow = Proc::start(follow, &scratch);
    until("it is listed", 20, || follow.out().contains(" fetching "));
    let mut follow_json = xget();
    follow_json.args(["status", "--follow", "--json", "-n", &addr]);
    let follow_json = Proc::start(follow_json, &scratch);
    until("it is an object", 20, || follow_json.out().contains("fetching"));
    reader.write(fid, b"progress 77 100 77 0 8\n").unwrap();
    until("a change is a line", 20, || follow.out().contains("77 %"));
    until("and an object", 20, || follow_json.out().contains("77"));
    drop(reader);
    until("and its end", 20, || follow.out().contains(" lost "));
    assert_eq!(follow.out().lines().count(), 3, "{}", follow.out());
    until("and of that", 20, || follow_json.out().contains("lost"));
    let out = follow_json.out();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<_> = lines.iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["fetching", "fetching", "lost"], "{out}");
    assert!(lines.iter().all(|line| line["time"].is_string() || line["time"].is_number()), "{out}");
    drop(master);
    until("the master is missed", 20, || follow.err().contains("no master answers"));
}

#[test]
fn on_a_terminal_the_table_is_drawn_over_itself() {
    if lacks(&["script", "timeout"]) {
        return;
    }
    let scratch = Scratch::new();
    let master = Master::start(&scratch, served(&scratch), &[]);
    let (_reader, _) = join(&master, 0, ".");
    let line = format!(
        "stty cols 40 rows 10; timeout -s INT 6 {XGET} status --follow -n {}; true",
        master.addr()
    );
    let mut script = command("script");
    script.args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh");
    let out = Proc::start(script, &scratch).wait().expect(0).out;
    assert!(out.contains("\x1b[3A\r"), "{out:?}");
    assert!(out.contains("1 fetching"), "{out:?}");
    // Nothing is set that would have to be set back.
    assert!(!out.contains("\x1b[?"), "{out:?}");
    let shown = out.split("\x1b[K").map(|line| line.trim_start_matches(['\r', '\n']));
    assert!(shown.filter(|line| line.contains("fetch")).all(|line| line.len() < 48), "{out:?}");
}

#[test]
fn who_stops_reading_is_told_nothing_but_a_status() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    (0..3000).for_each(|n| fs::write(source.join(format!("{n:0200}")), b"").unwrap());
    let master = Master::start(&scratch, &source, &[]);
    let line = format!("set -o pipefail; {XGET} ls -n {} | head -n 1", master.addr());
    let mut bash = command("bash");
    bash.args(["-c", &line]);
    let ended = Proc::start(bash, &scratch).wait().expect(1);
    assert_eq!((ended.out.lines().count(), &*ended.err), (1, ""));
    // Nothing changes, and nothing is printed.
    let _joined = join(&master, 0, ".");
    let line = format!("set -o pipefail; {XGET} status --follow -n {} | head -n 1", master.addr());
    let mut bash = command("bash");
    bash.args(["-c", &line]);
    let ended = Proc::start(bash, &scratch).wait().expect(1).within(20);
    assert_eq!((ended.out.lines().count(), &*ended.err), (1, ""));
}

#[test]
fn removing_is_done_where_the_files_are() {
    let scratch = Scratch::new();
    let dir = scratch.dir("empty");
    let at = |words: &[&str]| {
        run_with(&scratch, words, |c| {
            c.current_dir(&dir);
        })
    };
    at(&["rm", "a.img"]).expect(2).says("`rm NAME`");
    at(&["rm"]).expect(2).says("`rm NAME`");
    at(&["-p", "7", "ls"]).expect(2).says("a verb comes first: xget ls");
    fs::create_dir(dir.join("rm")).unwrap();
    let mut serve = xget();
    serve
        .args(["-p", &support::proc::free_port().to_string(), "--no-cache", "rm"])
        .current_dir(&dir);
    let serves = Proc::start(serve, &scratch);
    until("a directory of that name is served", 20, || serves.out().contains(" serving "));
}

#[test]
fn a_directory_named_as_a_verb_is_served_by_its_path() {
    let scratch = Scratch::new();
    let dir = scratch.dir("ls");
    fs::write(dir.join("x"), b"x").unwrap();
    let mut serve = xget();
    let port = support::proc::free_port().to_string();
    serve.args(["-p", &port, "--no-cache", "./ls"]).current_dir(&scratch.path);
    let serves = Proc::start(serve, &scratch);
    until("it serves", 20, || serves.out().contains(" serving "));
    run(&scratch, &["ls", "-p", &port]).expect(0).says("x");
    assert!(Path::new(XGET).exists());
}

#[test]
fn the_agent_has_no_verbs() {
    let agent = Path::new(XGET).with_file_name("xget-init");
    let scratch = Scratch::new();
    for verb in ["ls", "status"] {
        let mut agent = command(&agent);
        agent.args([verb, "-n", "127.0.0.1"]);
        Proc::start(agent, &scratch).wait().expect(2).says("the whole program");
    }
}
