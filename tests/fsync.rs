//! `--fsync`: status 0 when all is on the medium, and a failure when it is not.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::{Signal, kill};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::mounts::{Mounted, have_own_mounts, mount_image, mount_memory, mount_new, run};
use support::proc::{Master, Proc, XGET, command};
use support::reader::read_text;
use support::tree::{assert_same, look, make_odd_tree};
use support::{Scratch, lacks, noise, until};

fn source(scratch: &Scratch) -> PathBuf {
    let source = scratch.dir("source");
    make_odd_tree(&source, 50);
    fs::create_dir(source.join("boot")).unwrap();
    fs::write(source.join("boot/kernel"), noise(1, 3_000_000)).unwrap();
    fs::write(source.join("big"), noise(2, 20_000_000)).unwrap();
    source
}

fn ext4(image: &Path, at: &Path) -> Mounted {
    // Nothing is written by itself before the test is over.
    mount_new(image, &["mkfs.ext4", "-q"], 128 << 20, "loop,commit=300", at).unwrap()
}

/// Fetches onto a file system with another one mounted below it; the power goes
/// when that has ended. Gives whether all is there when it is back.
fn survives(options: &[&str]) -> bool {
    let scratch = Scratch::new();
    let source = source(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let images = ["root", "boot"].map(|name| scratch.join(name));
    let mut disk = scratch.dir("disk");
    let _root = ext4(&images[0], &disk);
    let boot = disk.join("dest/boot");
    fs::create_dir_all(&boot).unwrap();
    run(&mut Command::new("sync"));
    let _boot = ext4(&images[1], &boot);
    fs::remove_dir(boot.join("lost+found")).unwrap();
    let dest = disk.join("dest");
    let mut args: Vec<&str> = options.to_vec();
    args.extend([".", dest.to_str().unwrap()]);
    master.fetch(&scratch, &args).expect(0);
    // What the medium has now: the kernel's memory of these disks is not in it.
    let after = ["root after", "boot after"].map(|name| scratch.join(name));
    for (image, after) in images.iter().zip(&after) {
        fs::copy(image, after).unwrap();
    }
    assert_same(&source, &dest);
    disk = scratch.dir("disk again");
    let again = |image: &Path, at: &str| mount_image(image, "loop", &disk.join(at)).unwrap();
    let _root_again = again(&after[0], "");
    let _boot_again = again(&after[1], "dest/boot");
    let (mut got, mut wanted) = (look(&disk.join("dest")), look(&source));
    // Of the file system that is mounted there, not of the tree.
    [&mut got, &mut wanted].into_iter().for_each(|tree| drop(tree.remove(Path::new("boot"))));
    got == wanted
}

#[test]
fn what_was_synced_is_there_after_the_power_was_gone() {
    if !have_own_mounts() || lacks(&["mkfs.ext4"]) {
        return;
    }
    assert!(survives(&["--fsync"]));
    assert!(!survives(&[]), "this test shows nothing");
}

#[test]
fn what_the_medium_does_not_take_is_status_6() {
    if !have_own_mounts() || lacks(&["mkfs.ext4"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = source(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    // A disk of 128 MiB that in truth takes 12.
    let (memory, disk) = (scratch.dir("memory"), scratch.dir("disk"));
    let _memory = mount_memory(&memory, "size=12m");
    let _disk = ext4(&memory.join("image"), &disk);
    let dest = disk.join("dest");
    let ended = master.fetch(&scratch, ["--fsync", ".", dest.to_str().unwrap()]);
    ended.expect(6).says("cannot sync to the disk").says("dest").says("error");
}

/// A client under strace(1), which writes down its calls.
fn traced(scratch: &Scratch, master: &Master, inject: &str, linger: &str) -> Proc {
    let mut command = command("strace");
    command.args(["-f", "-qq", "-e", "trace=renameat,syncfs,sendto,exit_group", "-s", "4096"]);
    command.args(["-e", inject, "-o"]).arg(scratch.join("trace")).arg(XGET);
    command.args(["-n", &master.addr(), "--linger", linger, "--fsync", "."]);
    command.arg(scratch.join("dest"));
    Proc::start(command, scratch)
}

#[test]
fn it_is_synced_once_after_the_last_name_and_before_it_is_said() {
    if lacks(&["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = source(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    traced(&scratch, &master, "inject=syncfs:delay_enter=1000", "0").wait().expect(0);
    let trace = fs::read_to_string(scratch.join("trace")).unwrap();
    let at = |words: &str| trace.find(words).unwrap_or_else(|| panic!("no {words}: {trace}"));
    let synced = at("syncfs(");
    assert_eq!(trace.matches("syncfs(").count(), 1, "{trace}");
    assert!(trace.rfind("renameat(").is_some_and(|named| named < synced), "{trace}");
    assert!(synced < at("done "), "{trace}");
}

#[test]
fn an_error_of_the_disk_is_status_6_and_so_says_the_master() {
    if lacks(&["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = source(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let ended = traced(&scratch, &master, "inject=syncfs:error=EIO", "0").wait();
    ended.expect(6).says("cannot sync to the disk").says("Input/output error");
    assert!(!master.proc.out().contains(" done: "), "{}", master.proc.out());
    until("the master says so", 10, || master.proc.out().contains("cannot sync to the disk"));
}

/// The disk takes ten seconds: others are served meanwhile, and a signal ends it.
#[test]
fn while_the_disk_is_waited_for_others_are_served() {
    if lacks(&["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = source(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let client = traced(&scratch, &master, "inject=syncfs:delay_enter=10000000", "0");
    let named = || scratch.join("dest/boot/kernel").exists() && scratch.join("dest/big").exists();
    until("all is in place", 30, named);
    std::thread::sleep(Duration::from_millis(300));
    let status = master.status();
    let line = status.lines().find(|line| line.contains(" fetching ")).expect(&status);
    let addr = line.split(' ').next().unwrap().replace('!', ":");
    let began = Instant::now();
    let info = read_text(&addr, &[".xget", "info"]).unwrap();
    assert!(info.contains("generation ") && began.elapsed() < Duration::from_secs(3), "{info}");
    // It, and not strace.
    let pid = fs::read_to_string(format!("/proc/{0}/task/{0}/children", client.pid())).unwrap();
    let pid: i32 = pid.split(' ').next().unwrap().parse().unwrap();
    kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    let said = || format!("{}{}", master.proc.out(), master.proc.err());
    until("it has ended", 8, || said().contains(" left at 100 %"));
}

#[test]
fn what_is_there_already_is_synced_too() {
    let scratch = Scratch::new();
    let source = source(&scratch);
    let master = Master::start(&scratch, &source, &[]);
    let dest = scratch.join("dest");
    // Some daemons ignore SIGCHLD, and so does what they start.
    for options in [&[][..], &["--fsync"]] {
        let mut fetching = command("env");
        fetching.args(["--ignore-signal=CHLD", XGET]);
        fetching.args(["-n", &master.addr(), "--linger", "0"]).args(options).arg(".").arg(&dest);
        Proc::start(fetching, &scratch).wait().expect(0);
    }
    assert_same(&source, &dest);
}
