//! `xget run`: commands whose files are at the head.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use support::bench::{Bench, place};
use support::lab::{self, Lab};
use support::proc::{Ended, Master, Proc, XGET, command, xget};
use support::{DeafPort, Scratch, is_root, lacks, noise, tree, until};

#[test]
fn a_command_gets_paths_in_the_place_of_names_and_its_status_is_ours() {
    let bench = Bench::new();
    let script = "cmp -s \"$1\" \"$0\" && echo \"$2\" \"$3\"; exit 7";
    let ended = bench.run(&[
        "--",
        "sh",
        "-c",
        script,
        bench.source.join("disk.img").to_str().unwrap(),
        "file:disk.img",
        "if=x,file=file:a,,b,y=file:dir",
        "file=plain,\\file:left",
    ]);
    let ended = ended.expect(7);
    let words: Vec<&str> = ended.out.split(['=', ',', ' ', '\n']).collect();
    let ["if", "x", "file", comma, "y", dir, "file", "plain", "file:left", ""] = words[..] else {
        panic!("{words:?}");
    };
    assert_eq!(fs::read(comma).unwrap(), b"comma");
    assert_eq!(fs::read(Path::new(dir).join("sub/file")).unwrap(), b"below");
    let cache = bench.cache();
    assert!([comma, dir].iter().all(|path| Path::new(path).starts_with(&cache)), "{words:?}");
    assert_eq!(ended.err, "");
    assert_eq!(fs::metadata(bench.path("file:disk.img")).unwrap().mode() & 0o7777, 0o444);
}

#[test]
fn what_is_there_and_right_is_used_again_and_what_was_changed_is_not() {
    let bench = Bench::new();
    let path = bench.path("file:disk.img");
    let first = place(&path);
    assert_eq!(bench.path("file:disk.img"), path);
    assert_eq!(place(&path), first, "it was written again");
    // By hand, with its time and size as before.
    let status = fs::metadata(&path).unwrap();
    tree::chmod(&path, 0o644);
    let mut bytes = fs::read(&path).unwrap();
    bytes[1_500_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(status.modified().unwrap()).unwrap();
    let held = fs::File::open(&path).unwrap();
    assert_eq!(bench.path("file:disk.img"), path);
    assert_eq!(fs::read(&path).unwrap(), noise(1, 3_000_000));
    assert_ne!(held.metadata().unwrap().ino(), fs::metadata(&path).unwrap().ino());
    // What somebody put into a directory goes.
    let dir = bench.path("file:dir");
    fs::write(dir.join("sub/more"), b"").unwrap();
    fs::remove_file(dir.join("sub/file")).unwrap();
    assert_eq!(bench.path("file:dir"), dir);
    let names: Vec<_> =
        fs::read_dir(dir.join("sub")).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
}

#[test]
fn what_changed_at_the_head_lands_beside_what_a_command_still_uses() {
    let bench = Bench::new();
    let old = bench.path("file:disk.img");
    let (ready, go) = (bench.scratch.join("ready"), bench.scratch.join("go"));
    let script = "touch \"$1\"; while ! [ -e \"$2\" ]; do sleep 0.05; done; sha256sum <\"$0\"";
    let words = ["--", "sh", "-c", script, "file:disk.img"];
    let mut args = words.to_vec();
    args.extend([ready.to_str().unwrap(), go.to_str().unwrap()]);
    let using = bench.start(&args);
    until("it runs", 30, || ready.exists());
    fs::write(bench.source.join("disk.img"), noise(2, 3_000_000)).unwrap();
    until("the head serves what it has now", 30, || bench.path("file:disk.img") != old);
    let new = bench.path("file:disk.img");
    assert_eq!(fs::read(&new).unwrap(), noise(2, 3_000_000));
    // Nor does it go because room is wanted, but with who used it.
    bench.run(&["--cache-max", "0", "--", "true", "file:disk.img"]).expect(0);
    assert_eq!(fs::read(&old).unwrap(), noise(1, 3_000_000));
    fs::write(&go, b"").unwrap();
    let sum = command("sha256sum").arg(&old).output().unwrap();
    assert_eq!(using.wait().expect(0).out[..64], String::from_utf8(sum.stdout).unwrap()[..64]);
    bench.run(&["--cache-max", "0", "--", "true", "file:disk.img"]).expect(0);
    assert!(!old.exists() && new.exists());
}

#[test]
fn where_a_name_is_missing_nothing_is_run() {
    let bench = Bench::new();
    symlink("disk.img", bench.source.join("link")).unwrap();
    let ran = bench.scratch.join("ran");
    let touch = ["--", "touch", ran.to_str().unwrap()];
    let cases: &[(&str, i32, &str)] = &[
        ("file:nope", 4, "nope: no such file"),
        ("http://h/releases/nope.img", 4, "xget add http://h/releases/nope.img"),
        ("https://h/", 2, "names no file"),
        ("file:link", 4, "symbolic link"),
        ("tar:dir", 4, "no archive"),
        ("file:", 2, "no name"),
        ("file:/disk.img", 2, "begin with `/`"),
        ("file:../disk.img", 2, "above"),
    ];
    for (name, status, words) in cases {
        let args: Vec<&str> = touch.into_iter().chain(["file:disk.img", name]).collect();
        bench.run(&args).expect(*status).says(words);
    }
    assert!(!ran.exists());
    let deaf = DeafPort::new();
    let mut command = xget();
    let args = ["run", "-n", &deaf.addr(), "-r", "0", "--cache-dir"];
    command.args(args).arg(bench.cache()).args(touch).arg("file:disk.img");
    Proc::start(command, &bench.scratch)
        .wait()
        .expect(3)
        .says("look whether `xget DIR` runs there");
    bench.run(&["--", "no-such-program", "file:disk.img"]).expect(127).says("no-such-program");
    bench.run(&["--", "file:disk.img"]).expect(126).says("cannot run");
    // Without a name no head is asked.
    let mut command = xget();
    command.args(["run", "--", "sh", "-c", "exit 5"]);
    Proc::start(command, &bench.scratch).wait().expect(5);
}

#[test]
fn a_url_is_what_the_head_has_under_its_path() {
    let bench = Bench::new();
    fs::create_dir(bench.source.join("releases")).unwrap();
    fs::write(bench.source.join("releases/a b[1].img"), b"from afar").unwrap();
    let ended = bench.run(&["--", "cat", "http://host.example:81/releases/a%20b[1].img"]);
    assert_eq!(ended.expect(0).out, "from afar");
    let ended = bench.run(&["--", "cat", "https://host.example/releases/a%20b[1].img"]);
    assert_eq!(ended.expect(0).out, "from afar");
}

#[test]
fn a_pattern_is_the_one_name_that_fits_it() {
    let bench = Bench::new();
    fs::write(bench.source.join("disk[1].img"), b"literal").unwrap();
    fs::write(bench.source.join("other.qcow2"), b"the one").unwrap();
    let cat = |name: &str| bench.run(&["--", "cat", name]);
    assert_eq!(cat("file:*.qcow2").expect(0).out, "the one");
    assert_eq!(cat("file:o?her.q*").expect(0).out, "the one");
    assert_eq!(cat("file:dir/*/file").expect(0).out, "below");
    assert_eq!(cat(r"file:disk\[1\].img").expect(0).out, "literal");
    cat("file:*.img").expect(4).says("2 names fit");
    cat("file:d*/.").expect(4).says("not their contents");
    cat("file:*.none").expect(4).says("*.none");
    cat("file:disk[2-9].img").expect(4).says("disk[2-9].img");
}

/// The beginning of a qcow2 image that names what it stands on, and something to know it by.
fn make_image(path: &Path, backing: &str, mark: &str) {
    let mut bytes = b"QFI\xfb\0\0\0\x03".to_vec();
    bytes.extend(32u64.to_be_bytes());
    bytes.extend((backing.len() as u32).to_be_bytes());
    bytes.resize(32, 0);
    bytes.extend_from_slice(backing.as_bytes());
    bytes.extend_from_slice(mark.as_bytes());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_image_has_what_it_stands_on_beside_it() {
    let bench = Bench::new();
    let source = &bench.source;
    make_image(&source.join("vm/a.qcow2"), "../base/b.qcow2", "a");
    make_image(&source.join("base/b.qcow2"), "root.img", "b");
    fs::write(source.join("base/root.img"), b"at the bottom").unwrap();
    let path = bench.path("file:vm/a.qcow2");
    let beside = path.parent().unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(source.join("vm/a.qcow2")).unwrap());
    let below = fs::read(beside.join("../base/b.qcow2")).unwrap();
    assert_eq!(below, fs::read(source.join("base/b.qcow2")).unwrap());
    assert_eq!(fs::read(beside.join("../base/root.img")).unwrap(), b"at the bottom");
    assert_eq!(bench.path("file:vm/./a.qcow2"), path);
    assert_eq!(bench.entries(), 3, "each image is there once");
    // Another one below it is another place: who uses the old one keeps what it stood on.
    fs::write(source.join("base/root.img"), b"another").unwrap();
    until("the head serves what it has now", 30, || bench.path("file:vm/a.qcow2") != path);
    assert_eq!(fs::read(beside.join("../base/root.img")).unwrap(), b"at the bottom");
    make_image(&source.join("lost.qcow2"), "nothing", "l");
    make_image(&source.join("round.qcow2"), "round.qcow2", "r");
    make_image(&source.join("far.qcow2"), "/srv/far.img", "f");
    make_image(&source.join("high.qcow2"), "../high.img", "h");
    let run = |name: &str| bench.run(&["--", "echo", "ran", name]);
    run("file:lost.qcow2").expect(4).says("has it as its backing file");
    run("file:round.qcow2").expect(4).says("more than 16");
    run("file:high.qcow2").expect(4).says("above what the head serves");
    run("file:far.qcow2").expect(0).says("ran");
}

/// An archive of directories of the scratch, as tar(1) makes it.
#[test]
fn many_at_once_share_one_cache() {
    let bench = Bench::new();
    let script = "sha256sum <\"$0\"; echo \"$0\"";
    let start = |number: usize| {
        let name = if number % 4 == 3 { "file:dir/sub/file" } else { "file:disk.img" };
        bench.start(&["--", "sh", "-c", script, name])
    };
    let procs: Vec<Proc> = (0..8).map(start).collect();
    let ended: Vec<Ended> = procs.into_iter().map(|proc| proc.wait().expect(0)).collect();
    let disk: Vec<&str> =
        ended.iter().map(|e| e.out.as_str()).filter(|o| o.contains("disk")).collect();
    assert_eq!((disk.len(), bench.entries()), (6, 2));
    let sum = command("sha256sum").arg(bench.source.join("disk.img")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert!(disk.iter().all(|out| *out == disk[0] && out[..64] == sum[..64]), "{disk:?}");
}

#[test]
fn a_run_that_was_killed_leaves_nothing_in_the_way() {
    let bench = Bench::new();
    fs::write(bench.source.join("large"), noise(3, 60_000_000)).unwrap();
    let killed = bench.start(&["--", "true", "file:large"]);
    let has_begun = || {
        let entries = fs::read_dir(bench.cache()).into_iter().flatten().flatten();
        let mut files =
            entries.flat_map(|e| fs::read_dir(e.path().join("files")).into_iter().flatten());
        files.next().is_some()
    };
    until("something is there", 60, has_begun);
    killed.signal(Signal::SIGKILL);
    assert_ne!(killed.wait().status, 0);
    let path = bench.path("file:large");
    assert_eq!(fs::read(&path).unwrap(), noise(3, 60_000_000));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "something is left");
}

/// A directory keeps its write permission: what a command has put there stays until it ends.
#[test]
fn what_a_command_has_put_into_a_directory_stays_while_it_runs() {
    let bench = Bench::new();
    let (ready, go) = (bench.scratch.join("ready"), bench.scratch.join("go"));
    let script = "echo data >\"$0/new\"; touch \"$1\"; while ! [ -e \"$2\" ]; do sleep 0.05; done; \
                  cat \"$0/new\"; printf %s \"$0\"";
    let (at, until_go) = (ready.to_str().unwrap(), go.to_str().unwrap());
    let using = bench.start(&["--", "sh", "-c", script, "file:dir", at, until_go]);
    until("it runs", 30, || ready.exists());
    let other = bench.path("file:dir");
    assert!(other.join("sub/file").exists() && !other.join("new").exists());
    assert_eq!(bench.path("file:dir"), other);
    fs::write(&go, b"").unwrap();
    let ended = using.wait().expect(0);
    let first = Path::new(ended.out.strip_prefix("data\n").unwrap());
    assert!(first != other && first.join("new").exists());
    // Nobody has it any more.
    assert_eq!(bench.path("file:dir"), first);
    assert!(!first.join("new").exists());
}

/// Whoever has it is waited for, and not for ever.
#[test]
fn an_entry_that_another_process_has_is_waited_for() {
    if lacks(&["flock"]) {
        return;
    }
    let bench = Bench::new();
    let files = bench.path("file:disk.img").parent().unwrap().to_path_buf();
    let go = bench.scratch.join("go");
    let hold = |end: &str| {
        let held = bench.scratch.join(format!("held{end}"));
        let script = format!(
            "touch {}; while ! [ -e {}{end} ]; do sleep 0.05; done",
            held.display(),
            go.display()
        );
        let mut flock = command("flock");
        flock.arg(&files).args(["sh", "-c", &script]);
        let proc = Proc::start(flock, &bench.scratch);
        until("the lock is held", 30, || held.exists());
        proc
    };
    let holder = hold("1");
    let waits = bench.start(&["--", "true", "file:disk.img"]);
    until("it says that it waits", 30, || waits.err().contains("waits for process"));
    fs::write(bench.scratch.join("go1"), b"").unwrap();
    waits.wait().expect(0);
    holder.wait().expect(0);
    let _holder = hold("2");
    let ended = bench.run(&["--", "true", "file:disk.img"]).expect(6);
    let ended = ended.says("waits for process").says("does nothing for 30 s");
    assert!(!ended.err.contains("checking"), "nothing is: {}", ended.err);
}

#[test]
fn a_cache_that_others_could_change_is_refused() {
    let bench = Bench::new();
    let refused = |dir: &Path, words: &str| {
        let mut command = xget();
        command.args(["run", "-n", &bench.master.addr(), "--cache-dir"]).arg(dir);
        command.args(["--", "echo", "ran", "file:disk.img"]);
        let ended = Proc::start(command, &bench.scratch).wait().expect(6).says(words);
        assert_eq!(ended.out, "");
    };
    let open = bench.scratch.dir("open");
    tree::chmod(&open, 0o777);
    refused(&open, "others may write");
    refused(&bench.scratch.join("a,b"), "comma");
    refused(&bench.source.join("disk.img"), "no directory");
    if is_root() {
        let other = bench.scratch.dir("other");
        std::os::unix::fs::chown(&other, Some(12345), None).unwrap();
        refused(&other, "another user");
    }
    // Where nobody says another, it is the user's.
    let home = bench.scratch.dir("home");
    let mut command = xget();
    command.env_remove("XDG_CACHE_HOME").env("HOME", &home).args([
        "run",
        "-n",
        &bench.master.addr(),
    ]);
    command.args(["--", "printf", "%s", "file:disk.img"]);
    let ended = Proc::start(command, &bench.scratch).wait().expect(0);
    assert!(Path::new(&ended.out).starts_with(home.join(".cache/xget/files")), "{}", ended.out);
    assert_eq!(fs::metadata(home.join(".cache/xget/files")).unwrap().mode() & 0o777, 0o700);
    // Or where XDG_CACHE_HOME says; a relative one does not count.
    let mine = bench.scratch.dir("mine");
    for (said, dir) in [(&*mine, &mine), (Path::new("mine"), &home.join(".cache"))] {
        let mut command = xget();
        command.env("XDG_CACHE_HOME", said).env("HOME", &home).current_dir(&bench.scratch.path);
        command.args(["run", "-n", &bench.master.addr(), "--", "printf", "%s", "file:a,,b"]);
        let ended = Proc::start(command, &bench.scratch).wait().expect(0);
        assert!(Path::new(&ended.out).starts_with(dir.join("xget/files")), "{}", ended.out);
    }
}

#[test]
fn the_environment_says_who_the_head_is() {
    let bench = Bench::new();
    let mut command = xget();
    command.env("XGET_MASTER", bench.master.addr()).args(["run", "--cache-dir"]);
    command.arg(bench.cache()).args(["--", "cat", "file:dir/sub/file"]);
    assert_eq!(Proc::start(command, &bench.scratch).wait().expect(0).out, "below");
}

/// What execve(2) hands on, and nothing of ours.
#[test]
fn the_command_is_as_if_it_had_been_started_itself() {
    let bench = Bench::new();
    let script = "grep -E '^(SigIgn|SigBlk|Threads)' /proc/self/status; ulimit -Sn; pwd; \
                  ls -l /proc/$$/fd; test -e \"$0\"";
    let started = |words: &[&str]| {
        let mut command = command("sh");
        let line = "trap '' HUP CHLD; ulimit -Sn 300; exec \"$@\" 2>/dev/null";
        command.args(["-c", line, "sh"]).args(words).current_dir(&bench.source);
        let ended = Proc::start(command, &bench.scratch).wait().expect(0);
        // Of its files where they lead; its own output is another for each, locks are said.
        let lines = ended.out.lines().map(|line| line.rsplit(" -> ").next().unwrap().to_string());
        lines.filter(|l| !l.ends_with(".out") && !l.contains("/cache/")).collect::<Vec<_>>()
    };
    let addr = bench.master.addr();
    let cache = bench.cache();
    let run = [XGET, "run", "-n", &addr, "--cache-dir", cache.to_str().unwrap(), "--"];
    let of_run: Vec<&str> = run.into_iter().chain(["sh", "-c", script, "file:disk.img"]).collect();
    assert_eq!(started(&of_run), started(&["sh", "-c", script, "disk.img"]));
}

/// Nodes that run the same: who is through runs its command at once, and another process serves on
/// for who is slower, until nobody needs it.
#[test]
fn a_command_begins_while_others_are_served_on() {
    let Some(lab) = Lab::new(3) else { return };
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(4, 6_000_000)).unwrap();
    lab.shape_one(0, 40);
    lab.shape_one(2, 10);
    let serve = || {
        let mut command = xget();
        command.args(["--no-cache"]).arg(&source);
        Master { proc: Proc::start(command, &scratch), port: lab::PORT }
    };
    let master = lab.on(0, serve);
    master.await_ready();
    let start = |round: usize, number: usize| {
        let mut command = xget();
        let cache = scratch.join(format!("cache{number}.{round}"));
        command.args(["run", "-n", &Lab::ip(0), "--cache-dir"]).arg(cache);
        command.args(["--linger", "60", "--", "sh", "-c", "sha256sum <\"$0\"", "file:image"]);
        lab.on(number, || Proc::start(command, &scratch))
    };
    // Processes that have files of a node's cache open.
    let serving = |round: usize| {
        let cache = scratch.join(format!("cache1.{round}"));
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let names = processes.filter_map(|p| {
            let links = fs::read_dir(p.path().join("fd")).ok()?.flatten();
            let mut links = links.filter_map(|link| fs::read_link(link.path()).ok());
            let ours = links.any(|link| link.starts_with(&cache));
            ours.then(|| fs::read_to_string(p.path().join("comm")).unwrap_or_default())
        });
        names.collect::<Vec<_>>()
    };
    // Which of the two feeds the other is the master's to say; one who needs nobody stays for nobody.
    let was_served_on = (0..5).any(|round| {
        let (fast, mut slow) = (start(round, 1), start(round, 2));
        let fast = fast.wait().expect(0);
        let (is_slower, names) = (!slow.has_ended(), serving(round));
        assert!(names.iter().all(|name| name == "xget-serving\n"), "{names:?}");
        assert_eq!(fast.out, slow.wait().expect(0).out);
        until("nobody is served any more", 30, || serving(round).is_empty());
        is_slower && !names.is_empty()
    });
    assert!(was_served_on);
}

/// Without -n: each name is asked for on the network, and what was announced has to come.
#[test]
fn whoever_on_the_network_has_a_name_is_asked() {
    let Some(lab) = Lab::new(3) else { return };
    let scratch = Scratch::new();
    let serve = |node: usize, other: &str| {
        let source = scratch.dir(&format!("source{node}"));
        fs::write(source.join("same"), b"the same").unwrap();
        fs::write(source.join("other"), other).unwrap();
        fs::write(source.join(format!("of{node}")), b"of one").unwrap();
        tree::set_mtime(&source.join("same"), 1_000_000_000, 0);
        let mut command = xget();
        command.args(["--no-cache"]).arg(&source);
        let proc = lab.on(node, || Proc::start(command, &scratch));
        let master = Master { proc, port: lab::PORT };
        master.await_ready();
        master
    };
    let _masters = [serve(0, "one"), serve(1, "another")];
    let run = |name: &str| {
        let mut command = xget();
        command.args(["run", "--cache-dir"]).arg(scratch.join("cache"));
        command.args(["--linger", "0", "--", "cat", "file:same", name]);
        lab.on(2, || Proc::start(command, &scratch)).wait()
    };
    assert_eq!(run("file:of1").expect(0).out, "the sameof one");
    assert_eq!(run("file:other").expect(4).says("do not have the same").out, "");
}
