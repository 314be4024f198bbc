//! What the machine that a client runs on does to it: signals, limits, disks.
//! The rows of docs/faults.md that need no network of their own.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::mounts::{have_own_mounts, mount_memory, mount_new, run};
use support::proc::{Ended, Master, Proc, XGET, command, copy_program, free_port, xget};
use support::tree::{assert_nothing_half, assert_same, chmod};
use support::{Scratch, fake::Throttle, lacks, lacks_root, noise, skip, until};

const MIB: u64 = 1 << 20;

/// A tree with one large file and some small ones.
fn source_of(scratch: &Scratch, large_bytes: u64) -> PathBuf {
    let source = scratch.dir("source");
    fs::create_dir(source.join("dir")).unwrap();
    fs::write(source.join("big"), noise(7, large_bytes as usize)).unwrap();
    (0..20).for_each(|n| fs::write(source.join(format!("dir/{n}")), noise(n, 900)).unwrap());
    source
}

fn fetching(program: Command, addr: &str, dest: &Path) -> Command {
    let mut command = program;
    command.args(["-n", addr, "--linger", "0", "."]).arg(dest);
    command
}

/// The program started by another, which sets something up for it.
fn under(launcher: &[&str]) -> Command {
    let mut command = command(launcher[0]);
    command.args(&launcher[1..]).arg(XGET);
    command
}

/// No temporary file of ours is below.
#[track_caller]
fn assert_no_remains(dest: &Path) {
    let mut dirs = vec![dest.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(!name.starts_with(".xget"), "{:?} is left", entry.path());
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            }
        }
    }
}

/// A third of 24 MB has come when the signal does; then the same command again.
/// Gives how it ended and how the second ended, and what the master said.
fn interrupted(program: Command, signal: Signal) -> (Ended, Ended, String) {
    let scratch = Scratch::new();
    let source = source_of(&scratch, 24 * MIB);
    let master = Master::start(&scratch, &source, &[]);
    let slow = Throttle::start(master.port, 12 * MIB);
    let dest = scratch.join("dest");
    let client = Proc::start(fetching(program, &slow.addr(), &dest), &scratch);
    until("a third has passed", 30, || slow.passed_bytes() > 8 * MIB);
    client.signal(signal);
    let first = client.wait();
    assert!(!dest.join("big").exists());
    assert_nothing_half(&source, &dest);
    until("it is missed", 20, || said(&master).contains(" left "));
    let second = Proc::start(fetching(xget(), &master.addr(), &dest), &scratch).wait().expect(0);
    assert_same(&source, &dest);
    assert_no_remains(&dest);
    // 8 MiB had passed; what was on its way may come again.
    assert!(second.moved() < (18 * MIB) as f64, "it began anew: {}", second.out);
    (first, second, said(&master))
}

fn said(master: &Master) -> String {
    format!("{}{}", master.proc.out(), master.proc.err())
}

/// Of a percentage, in the master's words.
fn percent_left(said: &str) -> u32 {
    let line = said.lines().find(|line| line.contains(" left at ")).expect(said);
    line.split(' ').find_map(|word| word.parse().ok()).expect(line)
}

#[test]
fn ended_by_a_signal_it_says_so_and_how_far_it_was() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        let (first, _, master_said) = interrupted(xget(), signal);
        first.expect(1).says("interrupted; the same command goes on from here");
        let percent = percent_left(&master_said);
        assert!((25..70).contains(&percent), "{signal}: {master_said}");
    }
}

#[test]
fn killed_it_goes_on_from_where_it_was() {
    interrupted(xget(), Signal::SIGKILL).0.expect(128 + 9);
}

#[test]
fn signals_that_nohup_ignores_stay_ignored() {
    let scratch = Scratch::new();
    let source = source_of(&scratch, 8 * MIB);
    let master = Master::start(&scratch, &source, &[]);
    let slow = Throttle::start(master.port, 8 * MIB);
    let dest = scratch.join("dest");
    let program = under(&["sh", "-c", "trap '' HUP QUIT; exec \"$@\"", "sh"]);
    let client = Proc::start(fetching(program, &slow.addr(), &dest), &scratch);
    until("a part has passed", 30, || slow.passed_bytes() > 2 * MIB);
    client.signal(Signal::SIGHUP);
    client.signal(Signal::SIGQUIT);
    client.wait().expect(0);
    assert_same(&source, &dest);
}

#[test]
fn with_too_few_descriptors_it_ends_at_once_and_says_how_many() {
    if lacks(&["prlimit"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = source_of(&scratch, MIB);
    let master = Master::start(&scratch, &source, &[]);
    let limited = |count: u32| under(&["prlimit", &format!("--nofile={count}:{count}"), "--"]);
    for count in [5, 8, 16, 127] {
        let dest = scratch.join(format!("dest{count}"));
        let ended = Proc::start(fetching(limited(count), &master.addr(), &dest), &scratch).wait();
        let why = format!("may have {count} files open, and needs 128");
        ended.expect(6).says(&why).says("ulimit -n").within(2);
        assert!(!dest.exists());
        let mut serving = limited(count);
        serving.args(["--no-cache", "-p", &free_port().to_string()]).arg(&source);
        Proc::start(serving, &scratch).wait().expect(1).says(&why).within(2);
    }
    // With no more than it needs, all of it works, and serves.
    let dest = scratch.join("dest128");
    Proc::start(fetching(limited(128), &master.addr(), &dest), &scratch).wait().expect(0);
    assert_same(&source, &dest);
}

/// Even where nothing is reserved beforehand.
#[test]
fn beyond_the_file_size_limit_is_an_error_of_that_file() {
    if lacks(&["prlimit"]) || !have_own_mounts() {
        return;
    }
    let scratch = Scratch::new();
    let source = source_of(&scratch, 3 * MIB);
    let master = Master::start(&scratch, &source, &[]);
    let in_memory = scratch.dir("memory");
    let _memory = mount_memory(&in_memory, "size=20m");
    for dest in [scratch.join("dest"), in_memory.join("dest")] {
        let program = under(&["prlimit", "--fsize=1000000", "--"]);
        let ended = Proc::start(fetching(program, &master.addr(), &dest), &scratch).wait();
        ended.expect(6).says("File too large").says("/big").within(10);
        assert!(!dest.join("big").exists());
        assert_eq!(fs::read(dest.join("dir/7")).unwrap(), noise(7, 900));
        // Without the limit the same command completes it.
        Proc::start(fetching(xget(), &master.addr(), &dest), &scratch).wait().expect(0);
        assert_same(&source, &dest);
    }
}

/// The master's digest cache and log are files, too.
#[test]
fn a_master_bears_the_file_size_limit() {
    if lacks(&["prlimit"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = source_of(&scratch, MIB);
    let port = free_port();
    let mut serving = under(&["prlimit", "--fsize=10", "--"]);
    serving.args(["-p", &port.to_string(), "--log"]).arg(scratch.join("log"));
    serving.arg("--cache").arg(scratch.join("cache")).arg(&source);
    // Its standard output is a file as well, which holds no more than 10 bytes.
    let master = Master { proc: Proc::start(serving, &scratch), port };
    until("it serves", 20, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let dest = scratch.join("dest");
    Proc::start(fetching(xget(), &master.addr(), &dest), &scratch).wait().expect(0);
    assert_same(&source, &dest);
}

#[test]
fn with_little_memory_it_works_or_says_so() {
    if lacks(&["prlimit"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = source_of(&scratch, 48 * MIB);
    let master = Master::start(&scratch, &source, &[]);
    let dest = scratch.join("dest");
    let limited = |mib: u64| under(&["prlimit", &format!("--as={}", mib * MIB), "--"]);
    // Less than the file by far: what is fetched passes through.
    Proc::start(fetching(limited(24), &master.addr(), &dest), &scratch).wait().expect(0);
    assert_same(&source, &dest);
}

/// A memory cgroup of a test's own (cgroups(7), version 1 or 2), if there can be one.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(limit_bytes: u64) -> Option<Cgroup> {
        let name = format!("xget-test-{}", std::process::id());
        let versions =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        versions.into_iter().find_map(|(hierarchy, limit)| {
            let group = Cgroup(Path::new(hierarchy).join(&name));
            fs::create_dir(&group.0).ok()?;
            fs::write(group.0.join(limit), limit_bytes.to_string()).ok()?;
            Some(group)
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// What it writes counts, too, until it is on the disk.
#[test]
fn in_a_small_memory_cgroup_it_works() {
    let Some(group) = Cgroup::new(16 * MIB) else {
        // A kernel, or a container, without them.
        let _ = writeln!(std::io::stderr(), "skipped: no memory cgroup can be made");
        return;
    };
    let scratch = Scratch::new();
    let source = source_of(&scratch, 48 * MIB);
    let master = Master::start(&scratch, &source, &[]);
    let dest = scratch.join("dest");
    let enter = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", group.0.display());
    let program = under(&["sh", "-c", &enter, "sh"]);
    Proc::start(fetching(program, &master.addr(), &dest), &scratch).wait().expect(0);
    assert_same(&source, &dest);
}

#[test]
fn with_nothing_open_what_is_opened_is_not_written_to() {
    let scratch = Scratch::new();
    let source = source_of(&scratch, 3 * MIB);
    let master = Master::start(&scratch, &source, &[]);
    let closed = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    for options in [&[][..], &["-D", "31"]] {
        let dest = scratch.join(format!("dest{}", options.len()));
        let mut program = under(&closed);
        program.args(options);
        let ended = Proc::start(fetching(program, &master.addr(), &dest), &scratch).wait();
        ended.expect(0);
        assert_same(&source, &dest);
    }
    let mut missing = under(&closed);
    missing.args(["-n", &master.addr(), "not here"]).arg(scratch.join("none"));
    Proc::start(missing, &scratch).wait().expect(4);
    let port = free_port();
    let mut serving = under(&closed);
    serving.args(["--no-cache", "-D", "31", "-p", &port.to_string()]).arg(&source);
    let serving = Master { proc: Proc::start(serving, &scratch), port };
    let dest = scratch.join("from closed");
    Proc::start(fetching(xget(), &serving.addr(), &dest), &scratch).wait().expect(0);
    assert_same(&source, &dest);
}

/// Somebody else fills the disk in the middle of a fetch.
#[test]
fn a_disk_that_fills_up_is_status_6_and_gone_on_with_when_there_is_room() {
    if !have_own_mounts() {
        return;
    }
    let scratch = Scratch::new();
    let source = source_of(&scratch, 16 * MIB);
    let master = Master::start(&scratch, &source, &[]);
    let slow = Throttle::start(master.port, 8 * MIB);
    let disk = scratch.dir("disk");
    let _disk = mount_memory(&disk, "size=20m");
    let dest = disk.join("dest");
    let client = Proc::start(fetching(xget(), &slow.addr(), &dest), &scratch);
    until("a third has passed", 30, || slow.passed_bytes() > 6 * MIB);
    let hog = disk.join("hog");
    // As much as fits.
    let _ = fs::write(&hog, vec![1; 12 << 20]);
    client.wait().expect(6).says("No space left").says("dest").within(20);
    assert!(!dest.join("big").exists());
    assert_nothing_half(&source, &dest);
    fs::remove_file(hog).unwrap();
    let again = Proc::start(fetching(xget(), &master.addr(), &dest), &scratch).wait().expect(0);
    assert!(again.moved() < (13 * MIB) as f64, "it began anew: {}", again.out);
    assert_same(&source, &dest);
    assert_no_remains(&dest);
}

#[test]
fn a_quota_is_a_full_disk() {
    if !have_own_mounts() || lacks(&["btrfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = source_of(&scratch, 24 * MIB);
    let master = Master::start(&scratch, &source, &[]);
    let (image, disk) = (scratch.join("image"), scratch.dir("disk"));
    let mounted = mount_new(&image, &["mkfs.btrfs", "-q"], 256 * MIB, "loop", &disk);
    if mounted.is_none() {
        return;
    }
    let volume = disk.join("volume");
    let btrfs = |words: &[&str], at: &Path| run(Command::new("btrfs").args(words).arg(at));
    btrfs(&["quota", "enable"], &disk);
    btrfs(&["subvolume", "create"], &volume);
    btrfs(&["qgroup", "limit", "8M"], &volume);
    let dest = volume.join("dest");
    let ended = Proc::start(fetching(xget(), &master.addr(), &dest), &scratch).wait();
    ended.expect(6).says("quota exceeded").says("big").within(20);
    assert!(!dest.join("big").exists());
    btrfs(&["qgroup", "limit", "none"], &volume);
    Proc::start(fetching(xget(), &master.addr(), &dest), &scratch).wait().expect(0);
    assert_same(&source, &dest);
}

#[test]
fn where_nothing_may_be_written_below_the_others_come_still() {
    if lacks_root() || lacks(&["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    chmod(&scratch.path, 0o755);
    let source = source_of(&scratch, MIB);
    let master = Master::start(&scratch, &source, &[]);
    let dest = scratch.dir("dest");
    // It belongs to the client's user, and one directory in it to root.
    std::os::unix::fs::chown(&dest, Some(65534), Some(65534)).unwrap();
    fs::create_dir(dest.join("dir")).unwrap();
    chmod(&dest.join("dir"), 0o755);
    let program = scratch.join("xget");
    copy_program(XGET, &program);
    let mut stranger = command("setpriv");
    stranger.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
    let ended = Proc::start(fetching(stranger, &master.addr(), &dest), &scratch).wait();
    ended.expect(6).says("Permission denied").says("dest/dir/").within(10);
    assert_eq!(fs::metadata(dest.join("big")).unwrap().size(), MIB);
    assert_eq!(fs::read_dir(dest.join("dir")).unwrap().count(), 0);
}

#[test]
fn a_name_that_is_too_long_is_an_error_of_its_own() {
    let scratch = Scratch::new();
    let source = source_of(&scratch, MIB);
    // As long as names can be: ours beside it is not longer.
    let longest = "n".repeat(255);
    fs::write(source.join(&longest), b"long").unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let dest = scratch.join("dest");
    Proc::start(fetching(xget(), &master.addr(), &dest), &scratch).wait().expect(0);
    assert_same(&source, &dest);
    let too_long = scratch.join("d".repeat(256));
    let ended = Proc::start(fetching(xget(), &master.addr(), &too_long), &scratch).wait();
    ended.expect(6).says("File name too long").within(5);
}

/// Two agents of one node, as two jobs would start them, do not know each other.
#[test]
fn started_twice_into_two_directories_both_come_through() {
    let scratch = Scratch::new();
    let source = source_of(&scratch, 4 * MIB);
    let master = Master::start(&scratch, &source, &[]);
    let dests = ["one", "two"].map(|name| scratch.join(name));
    let start = |dest: &PathBuf| Proc::start(fetching(xget(), &master.addr(), dest), &scratch);
    let ended = dests.each_ref().map(start).map(Proc::wait);
    ended.into_iter().for_each(|ended| drop(ended.expect(0)));
    dests.iter().for_each(|dest| assert_same(&source, dest));
}

/// The line is drawn anew in its place: nothing of it goes beyond the edge.
#[test]
fn on_a_narrow_terminal_the_status_line_does_not_wrap() {
    if lacks(&["script", "stty"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = source_of(&scratch, 8 * MIB);
    let master = Master::start(&scratch, &source, &[]);
    let slow = Throttle::start(master.port, 8 * MIB);
    let dest = scratch.join("dest");
    let line = format!(
        "stty cols 30; exec {XGET} -n {} --linger 0 . {}",
        slow.addr(),
        dest.to_str().unwrap()
    );
    let mut terminal = command("script");
    terminal.args(["-qec", &line, "/dev/null"]);
    let ended = Proc::start(terminal, &scratch).wait().expect(0);
    let drawn: Vec<&str> =
        ended.out.split('\r').filter_map(|line| line.strip_suffix("\x1b[K")).collect();
    assert!(drawn.iter().any(|line| line.starts_with('[')), "{:?}", ended.out);
    drawn.iter().for_each(|line| assert!(line.len() < 30, "{line:?}"));
}

/// The time of day leaps by ten years, and back by more: nothing that waits looks
/// at it. (The program as it is tested is not static, so that its clock can be
/// another's; that it is another's shows in the master's log. Its clock is read from a file, which
/// who is shut in does not open.)
#[test]
fn leaps_of_the_clock_change_nothing() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !Path::new(library).exists() {
        skip("libfaketime is not installed");
        return;
    }
    let scratch = Scratch::new();
    let source = source_of(&scratch, 24 * MIB);
    let clock = scratch.join("clock");
    let leap_to = |time: &str| fs::write(&clock, time).unwrap();
    leap_to("+0");
    let at_its_mercy = || {
        let mut command = xget();
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        command.env("NO_FAKE_STAT", "1").env("FAKETIME_NO_CACHE", "1").env("TZ", "UTC");
        command
    };
    let port = free_port();
    let mut serving = at_its_mercy();
    serving.args(["--no-sandbox", "--no-cache", "-p", &port.to_string()]).arg(&source);
    let master = Master { proc: Proc::start(serving, &scratch), port };
    master.await_ready();
    let slow = Throttle::start(port, 12 * MIB);
    let dest = scratch.join("dest");
    let mut fetching = fetching(at_its_mercy(), &slow.addr(), &dest);
    fetching.arg("--no-sandbox");
    let client = Proc::start(fetching, &scratch);
    until("a third has passed", 30, || slow.passed_bytes() > 8 * MIB);
    leap_to("+87600h");
    until("two thirds have passed", 30, || slow.passed_bytes() > 16 * MIB);
    // A time of day that no test runs at by chance: the date is fixed.
    leap_to("1999-12-31 23:59:01");
    client.wait().expect(0).within(20);
    assert_same(&source, &dest);
    until("the clock was seen to leap", 10, || master.proc.out().contains("23:59:01 127.0.0.1"));
}
