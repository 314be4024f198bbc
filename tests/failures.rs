//! What goes wrong outside of the program, and what it says of it.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;
use support::proc::{Master, Proc, command, free_port, xget};
use support::tree::{assert_same, look};
use support::{DeafPort, Scratch, fake, lacks, lacks_root, noise, until};

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap().into()
}

#[test]
fn usage_is_refused_with_status_2() {
    let scratch = Scratch::new();
    for args in [&["-n", "localhost", "."][..], &["--nonsense"], &[], &["-n", "x:y:z", ".", "d"]] {
        let mut wrong = xget();
        wrong.args(args).current_dir(&scratch.path);
        Proc::start(wrong, &scratch).wait().expect(2).says("xget: ");
    }
    for (option, words) in [("--help", "exit status"), ("--version", "xget ")] {
        let mut right = xget();
        right.arg(option);
        Proc::start(right, &scratch).wait().expect(0).says(words);
    }
}

#[test]
fn the_xget_of_an_initramfs_fetches_and_says_that_it_serves_no_directory() {
    let scratch = Scratch::new();
    let init = env!("CARGO_BIN_EXE_xget-init");
    for head in [&["."][..], &["--print-digest", "."]] {
        let mut asked = command(init);
        asked.args(head);
        Proc::start(asked, &scratch).wait().expect(2).says("make install");
    }
    let tree = scratch.dir("tree");
    fs::write(tree.join("file"), "bytes").unwrap();
    let master = Master::start(&scratch, &tree, &[]);
    let mut asked = command(init);
    asked.args(["-n", &master.addr(), "--linger", "0", "."]).arg(scratch.join("dest"));
    Proc::start(asked, &scratch).wait().expect(0);
    assert_eq!(fs::read(scratch.join("dest/file")).unwrap(), b"bytes");
    let fetch = |args: &[&str]| {
        let mut asked = command(init);
        asked.args(["-n", &master.addr(), "--linger", "0"]).args(args).current_dir(&scratch.path);
        Proc::start(asked, &scratch).wait()
    };
    // A disk whose driver is missing: it would be a directory in memory.
    let device = format!("/dev/xget-test-{}", std::process::id());
    for dest in [device.clone(), format!("{device}/by-id/x"), format!("/proc/self/root{device}")] {
        for options in [&[][..], &["--dry-run"]] {
            fetch(&[options, &["file", &dest]].concat()).expect(6).says("No such file");
        }
        assert!(!Path::new(&device).exists(), "{dest}");
    }
    fetch(&["file", "/dev/null"]).expect(6).says("not a directory");
    fetch(&["-x", "file", "dest"]).expect(2).says("unknown option -x");
    fetch(&["*", "dest"]).expect(4).says("patterns");
}

#[test]
fn a_comparison_promises_nothing_that_a_fetch_would_refuse() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    fs::write(tree.join("file"), "bytes").unwrap();
    let master = Master::start(&scratch, &tree, &[]);
    symlink(scratch.join("nowhere"), scratch.join("dangling")).unwrap();
    let taken = tree.join("file/x").into_os_string().into_string().unwrap();
    let dangling = scratch.join("dangling").into_os_string().into_string().unwrap();
    for (dest, why) in [(&*dangling, "symlink"), ("/proc/nosuch/x", "nothing can be made")] {
        master.fetch(&scratch, ["--dry-run", "file", dest]).expect(6).says(why);
        master.fetch(&scratch, ["file", dest]).expect(6);
    }
    master.fetch(&scratch, ["--dry-run", "file", &taken]).expect(6);
    let new = scratch.join("new");
    let mut lost = xget();
    lost.args(["-n", &master.addr(), "--dry-run", "file"]).arg(&new).env("TMPDIR", "/nonexistent");
    Proc::start(lost, &scratch).wait().expect(6).says("TMPDIR says where");
    assert!(!new.exists());
}

#[test]
fn no_master_is_a_clear_error_after_the_tries() {
    let scratch = Scratch::new();
    let dest = scratch.join("dest");
    let begin = |host: &str, retries: &str| {
        let mut fetching = xget();
        fetching.args(["-n", host, "-r", retries, "."]).arg(&dest);
        Proc::start(fetching, &scratch)
    };
    let deaf = DeafPort::new();
    begin(&deaf.addr(), "0").wait().expect(3).says("refused").within(2);
    let tried = begin(&deaf.addr(), "2").wait().expect(3).says("gave up after 3 tries");
    let tried = tried.says("look whether `xget DIR` runs there");
    assert_eq!(tried.err.matches("trying again").count(), 2, "{}", tried.err);
    begin("no-such-host.invalid:1", "1").wait().expect(3).says("no-such-host.invalid");
    assert!(!dest.exists());
    // It waits for one that comes up later.
    let source = scratch.dir("source");
    fs::write(source.join("file"), b"late").unwrap();
    let port = free_port();
    let waiting = begin(&format!("127.0.0.1:{port}"), "20");
    until("it has tried", 10, || waiting.err().contains("trying again"));
    let _late = Master::on(port, &scratch, &source, &[]);
    waiting.wait().expect(0);
    assert_same(&source, &dest);
}

#[test]
fn a_missing_source_is_status_4() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("there"), b"1").unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let dest = scratch.join("dest");
    let args = |names: &[&str]| {
        let names = names.iter().map(std::ffi::OsString::from);
        names.chain([dest.clone().into_os_string()]).collect::<Vec<_>>()
    };
    master.fetch(&scratch, args(&["nothere"])).expect(4).says("nothere").within(3);
    master.fetch(&scratch, args(&["there", "not/here"])).expect(4).says("not/here");
    master.fetch(&scratch, args(&["../../etc/passwd"])).expect(2).says("..");
    master.fetch(&scratch, args(&[""])).expect(2).says("empty");
    assert!(!dest.exists(), "something was made for nothing");
    // What is put there a moment later is found, however fresh the last look.
    fs::write(source.join("nothere"), b"2").unwrap();
    master.fetch(&scratch, args(&["nothere"])).expect(0);
    assert_eq!(fs::read(dest.join("nothere")).unwrap(), b"2");
    // And what cannot be served at all ends the master.
    let gone = Master::on(free_port(), &scratch, scratch.join("gone"), &[]);
    gone.proc.wait().expect(1).says("gone");
    let taken = Master::on(master.port, &scratch, &source, &[]);
    taken.proc.wait().expect(1).says("cannot listen");
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(1, 3_000_000)).unwrap();
    fs::write(source.join("other"), noise(2, 3_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let blake3 = format!("blake3:{}", blake3::hash(&noise(1, 3_000_000)));
    let sha256 = format!("sha256:{}", sha256(&source.join("image")));
    let printed = |names: &[&str]| {
        let mut printing = xget();
        printing.arg("--print-digest").arg(&source).args(names);
        Proc::start(printing, &scratch).wait().expect(0).out.trim().to_string()
    };
    let fetch = |number: usize, digest: &str, name: &str| {
        let dest = scratch.join(format!("dest{number}"));
        let args = ["--digest".as_ref(), digest.as_ref(), name.as_ref(), dest.as_os_str()];
        (master.fetch(&scratch, args), dest)
    };
    let right = [
        (blake3.clone(), "image"),
        (sha256.clone(), "image"),
        (printed(&["image"]), "image"),
        (printed(&[]), "."),
    ];
    for (number, (digest, name)) in right.iter().enumerate() {
        let (ended, dest) = fetch(number, digest, name);
        ended.expect(0);
        assert_eq!(fs::read(dest.join("image")).unwrap(), noise(1, 3_000_000));
    }
    let wrong = [
        (blake3.clone(), "other"),
        (sha256.clone(), "other"),
        (sha256, "."),
        (format!("blake3:{}", "0".repeat(64)), "."),
        (printed(&["other"]), "."),
    ];
    for (number, (digest, name)) in wrong.iter().enumerate() {
        let (ended, dest) = fetch(10 + number, digest, name);
        ended.expect(5).says(&digest[..7]).within(5);
        assert!(!dest.join("other").exists() && !dest.join("image").exists(), "{name} {digest}");
    }
}

/// Fetches into a file system of that size; gives what is in it afterwards.
fn fetch_into_tmpfs(master: &Master, scratch: &Scratch, options: &str) -> (i32, String, String) {
    let dest = scratch.dir("small");
    let script = "mount -t tmpfs -o \"$1\" none \"$2\" && shift && cd \"$1\" && shift && \"$@\"; \
                  status=$?; echo; echo \"left: $(ls -A d 2>/dev/null | tr '\\n' ' ')\"; \
                  exit $status";
    let mut fetching = command("unshare");
    fetching.args(["-m", "sh", "-c", script, "sh", options]).arg(&dest);
    fetching.args([support::proc::XGET, "-n", &master.addr(), "--linger", "0", ".", "d"]);
    let ended = Proc::start(fetching, scratch).wait();
    let left = ended.out.lines().find(|line| line.starts_with("left:")).unwrap_or("").to_string();
    (ended.status, ended.err, left)
}

#[test]
fn a_full_disk_is_status_6_and_nothing_half() {
    if lacks_root() || lacks(&["unshare", "mount"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("big"), noise(1, 8 << 20)).unwrap();
    fs::write(source.join("small"), b"small").unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let (status, err, left) = fetch_into_tmpfs(&master, &scratch, "size=4m");
    assert_eq!(status, 6, "{err}");
    assert!(err.contains("not enough room"), "{err}");
    assert!(!left.contains("big"), "{left}");
    let (status, err, left) = fetch_into_tmpfs(&master, &scratch, "size=20m,nr_inodes=2");
    assert_eq!(status, 6, "{err}");
    assert!(!left.contains("big") && !left.contains("small"), "{left}");
    let (status, err, left) = fetch_into_tmpfs(&master, &scratch, "size=20m");
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(left.contains("big"), "{left}");
}

#[test]
fn a_destination_that_cannot_be_is_status_6() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::create_dir(source.join("dir")).unwrap();
    fs::write(source.join("dir/file"), b"1").unwrap();
    fs::write(source.join("file"), b"2").unwrap();
    let master = Master::start(&scratch, &source, &[]);
    fs::write(scratch.join("plain"), b"in the way").unwrap();
    let plain = scratch.join("plain");
    master.fetch(&scratch, [".".as_ref(), plain.as_os_str()]).expect(6).says("not a directory");
    let below = plain.join("below");
    master.fetch(&scratch, [".".as_ref(), below.as_os_str()]).expect(6);
    assert_eq!(fs::read(&plain).unwrap(), b"in the way");
    // One thing in the way of one file does not keep the others from coming.
    let dest = scratch.dir("dest");
    fs::create_dir_all(dest.join("file/full")).unwrap();
    let ended = master.fetch(&scratch, [".".as_ref(), dest.as_os_str()]);
    ended.expect(6).says("in the way").says("file");
    assert_eq!(fs::read(dest.join("dir/file")).unwrap(), b"1");
    assert!(dest.join("file/full").exists());
}

/// Serves 48 MB, changes the file when a quarter of it has passed.
fn change_in_the_middle(change: impl FnOnce(&std::path::Path)) {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    let (old, path) = (noise(1, 48 << 20), source.join("big"));
    fs::write(&path, &old).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let slow = fake::Throttle::start(master.port, 16 << 20);
    let copy = scratch.join("copy");
    let mut fetching = xget();
    fetching.args(["-n", &slow.addr(), "--linger", "0", "."]).arg(&copy);
    let client = Proc::start(fetching, &scratch);
    until("a part has passed", 20, || slow.passed_bytes() > 12 << 20);
    change(&path);
    let ended = client.wait().within(30);
    let got = fs::read(copy.join("big")).ok();
    match ended.status {
        0 => assert!(got == Some(old) || got == fs::read(&path).ok(), "a mixture"),
        4 => {
            assert!(ended.err.contains("change"), "{}", ended.err);
            assert!(got.is_none(), "not whole, and under its name");
        }
        status => panic!("{status}: {}", ended.err),
    }
    // Again, and it is the new one, from the same master: at the latest when
    // it has looked at its tree.
    until("the new contents are served", 15, || {
        let again = master.fetch(&scratch, [".".as_ref(), copy.as_os_str()]);
        again.status == 0 && fs::read(copy.join("big")).ok() == fs::read(&path).ok()
    });
    until("all of it is served", 15, || {
        let again = master.fetch(&scratch, [".".as_ref(), copy.as_os_str()]);
        again.status == 0 && look(&copy) == look(&source)
    });
}

#[test]
fn a_source_rewritten_during_the_fetch_is_never_mixed() {
    change_in_the_middle(|path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&noise(9, 8 << 20), 30 << 20).unwrap();
    });
}

#[test]
fn a_source_replaced_during_the_fetch_is_never_mixed() {
    change_in_the_middle(|path| {
        let new = path.with_file_name("new");
        fs::write(&new, noise(8, 40 << 20)).unwrap();
        fs::rename(&new, path).unwrap();
    });
}

#[test]
fn a_source_cut_short_during_the_fetch_is_never_mixed() {
    change_in_the_middle(|path| {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 20).unwrap();
    });
}

#[test]
fn a_replaced_image_is_served_without_a_restart() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(1, 1_000_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let copy = scratch.join("copy");
    let args = [".".as_ref(), copy.as_os_str()];
    master.fetch(&scratch, args).expect(0);
    // Told by a signal, the master looks at once.
    fs::write(source.join("image"), noise(2, 1_000_000)).unwrap();
    master.proc.signal(Signal::SIGHUP);
    until("it is hashed again", 10, || master.proc.out().matches(" serving ").count() == 2);
    master.fetch(&scratch, args).expect(0);
    assert_same(&source, &copy);
    // Not told, it looks when somebody joins some seconds after its last look.
    fs::write(source.join("image"), noise(3, 1_000_000)).unwrap();
    fs::write(source.join("one more"), b"new").unwrap();
    until("who joins is served what is there now", 10, || {
        master.fetch(&scratch, args).expect(0);
        look(&copy) == look(&source)
    });
}

#[test]
fn a_cache_of_digests_is_kept_and_not_believed_blindly() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(1, 5_000_000)).unwrap();
    let cache = scratch.join("cache");
    let copy = scratch.join("copy");
    let options = ["--cache", cache.to_str().unwrap()];
    // Fetches, and gives the bytes that the master had read before it served.
    let fetch = || {
        let master = Master::start(&scratch, &source, &options);
        let read_bytes = read_bytes(&master.proc);
        master.fetch(&scratch, [".".as_ref(), copy.as_os_str()]).expect(0);
        assert_same(&source, &copy);
        read_bytes
    };
    // What has just changed is not kept yet, until its time stamps are settled.
    until("a master starts without reading the file", 10, || fetch() < 5_000_000);
    assert!(cache.exists());
    assert!(fetch() < 5_000_000, "what is known was read again");
    // As long, and of the same time, but not the same.
    let mtime = fs::metadata(source.join("image")).unwrap().modified().unwrap();
    fs::write(source.join("image"), noise(2, 5_000_000)).unwrap();
    fs::File::options()
        .write(true)
        .open(source.join("image"))
        .unwrap()
        .set_modified(mtime)
        .unwrap();
    fs::remove_dir_all(&copy).unwrap();
    assert!(fetch() >= 5_000_000, "what was changed was not read");
    fs::write(&cache, b"rubbish").unwrap();
    assert!(fetch() >= 5_000_000, "rubbish was believed");
}

/// What a process has read so far, from files and sockets (proc_pid_io(5)).
fn read_bytes(proc: &Proc) -> u64 {
    let account = fs::read_to_string(format!("/proc/{}/io", proc.pid())).unwrap();
    let line = account.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn a_read_only_destination_is_status_6() {
    if lacks_root() || lacks(&["unshare", "mount"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("file"), noise(1, 100_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let (status, err, left) = fetch_into_tmpfs(&master, &scratch, "ro");
    assert_eq!(status, 6, "{err}");
    assert!(err.contains("Read-only"), "{err}");
    assert_eq!(left, "left: ");
}
