//! `xget run` with `tar:`: what is unpacked, for whom, and how long it is taken for right.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use support::bench::{Bench, place};
use support::mounts::{have_own_mounts, mount_memory};
use support::proc::command;
use support::{lacks, until};

fn make_archive(bench: &Bench, name: &str, options: &[&str], what: &[&str]) {
    let mut tar = command("tar");
    tar.args(options).arg("-cf").arg(bench.source.join(name)).args(what);
    assert!(tar.current_dir(&bench.scratch.path).status().unwrap().success());
}

fn make_root(bench: &Bench) {
    let root = bench.scratch.dir("root fs");
    fs::create_dir(root.join("etc")).unwrap();
    fs::write(root.join("etc/name"), b"n001").unwrap();
}

#[test]
fn an_archive_is_unpacked_once_and_its_one_directory_is_used() {
    if lacks(&["tar", "gzip", "zstd", "xz"]) {
        return;
    }
    let bench = Bench::new();
    make_root(&bench);
    for (name, options) in [
        ("fs.tar", &[][..]),
        ("fs.tgz", &["--gzip"]),
        ("fs.tzst", &["--zstd"]),
        ("fs.txz", &["--xz"]),
    ] {
        make_archive(&bench, name, options, &["root fs"]);
        let top = bench.path(&format!("tar:{name}"));
        assert_eq!(top.file_name(), Some(OsStr::new("root fs")));
        assert_eq!(fs::read(top.join("etc/name")).unwrap(), b"n001");
        let before = place(&top.join("etc/name"));
        assert_eq!(bench.path(&format!("tar:{name}")), top);
        assert_eq!(place(&top.join("etc/name")), before, "{name} was unpacked again");
    }
}

#[test]
fn an_archive_that_was_changed_since_is_unpacked_anew_and_stays_for_who_uses_it() {
    if lacks(&["tar"]) {
        return;
    }
    let bench = Bench::new();
    make_root(&bench);
    make_archive(&bench, "fs.tar", &[], &["root fs"]);
    let (ready, go) = (bench.scratch.join("ready"), bench.scratch.join("go"));
    let script = "touch \"$1\"; while ! [ -e \"$2\" ]; do sleep 0.05; done; \
                  echo x >\"$0/etc/more\"; printf %s \"$0\"";
    let (at, until_go) = (ready.to_str().unwrap(), go.to_str().unwrap());
    let using = bench.start(&["--", "sh", "-c", script, "tar:fs.tar", at, until_go]);
    until("it runs", 30, || ready.exists());
    // Nothing was changed yet, and will be: who comes has one of its own.
    let other = bench.path("tar:fs.tar");
    fs::write(&go, b"").unwrap();
    let changed = PathBuf::from(using.wait().expect(0).out);
    assert!(changed != other && changed.join("etc/more").exists());
    assert!(!other.join("etc/more").exists());
    // Nobody has it any more.
    let ended = bench.run(&["--", "printf", "%s", "tar:fs.tar"]).expect(0);
    let ended = ended.says("was changed since it was unpacked");
    assert_eq!((Path::new(&ended.out), changed.join("etc/more").exists()), (&*changed, false));
    // Under a name that no digest has in it.
    fs::write(changed.join("etc/.xget-0123456789abcdef.part"), b"").unwrap();
    bench.run(&["--", "true", "tar:fs.tar"]).expect(0).says("was changed since");
}

/// A container's root, which was left with a directory of the machine's in it.
#[test]
fn what_is_mounted_in_an_unpacked_root_is_not_touched() {
    if lacks(&["tar"]) || !have_own_mounts() {
        return;
    }
    let bench = Bench::new();
    make_root(&bench);
    make_archive(&bench, "fs.tar", &[], &["root fs"]);
    let top = bench.path("tar:fs.tar");
    let etc = top.join("etc");
    let mounted = mount_memory(&etc, "size=1m");
    fs::write(etc.join("dear"), b"").unwrap();
    let other = bench.path("tar:fs.tar");
    assert!(other != top && other.join("etc/name").exists());
    bench.run(&["--cache-max", "0", "--", "true", "file:disk.img"]).expect(0);
    assert!(etc.join("dear").exists());
    drop(mounted);
    assert_eq!(bench.path("tar:fs.tar"), top);
}

/// ^C while what was unpacked is hashed: a file without contents that takes a minute.
#[test]
fn an_archive_that_is_hashed_for_long_can_be_interrupted() {
    if lacks(&["tar", "truncate"]) {
        return;
    }
    let bench = Bench::new();
    make_root(&bench);
    let large = bench.scratch.join("root fs/large");
    assert!(command("truncate").args(["-s", "256G"]).arg(&large).status().unwrap().success());
    make_archive(&bench, "fs.tar", &["--sparse"], &["root fs"]);
    let mut run = bench.start(&["--", "echo", "ran", "tar:fs.tar"]);
    let children = format!("/proc/{0}/task/{0}/children", run.pid());
    let is_hashed = || {
        let entries = fs::read_dir(bench.cache()).into_iter().flatten().flatten();
        let mut unpacked = entries.map(|entry| entry.path().join("tar/1/tree/root fs/large"));
        unpacked.any(|file| fs::metadata(file).is_ok_and(|file| file.len() == 256 << 30))
            && fs::read_to_string(&children).unwrap().is_empty()
    };
    until("tar is done", 60, is_hashed);
    run.signal(Signal::SIGINT);
    until("it ends", 10, || run.has_ended());
    assert_eq!(run.wait().expect(1).says("interrupted").out, "");
}

#[test]
fn an_archive_without_one_directory_at_its_top_or_broken_is_an_error() {
    if lacks(&["tar", "gzip"]) {
        return;
    }
    let bench = Bench::new();
    make_root(&bench);
    bench.scratch.dir("other");
    make_archive(&bench, "two.tar", &[], &["root fs", "other"]);
    make_archive(&bench, "none.tar", &["--files-from=/dev/null"], &[]);
    make_archive(&bench, "file.tar", &["--directory=root fs/etc"], &["name"]);
    fs::write(bench.scratch.dir("ours").join(".xget-0123456789abcdef.part"), b"").unwrap();
    make_archive(&bench, "ours.tar", &[], &["ours"]);
    fs::create_dir_all(bench.scratch.join(".xget/etc")).unwrap();
    make_archive(&bench, "reserved.tar", &[], &[".xget"]);
    assert_eq!(bench.path("tar:reserved.tar").file_name(), Some(OsStr::new(".xget")));
    make_archive(&bench, "whole.tgz", &["--gzip"], &["source/disk.img"]);
    let whole = fs::read(bench.source.join("whole.tgz")).unwrap();
    fs::write(bench.source.join("half.tgz"), &whole[..whole.len() / 2]).unwrap();
    for (name, status, words) in [
        ("two.tar", 4, "has 2: other, root fs"),
        ("none.tar", 4, "is empty"),
        ("file.tar", 4, "has name, which is none"),
        ("ours.tar", 4, "keeps for itself: ours/.xget-0123456789abcdef.part"),
        ("half.tgz", 6, "tar ended with"),
        ("disk.img", 6, "tar ended with"),
    ] {
        for _ in 0..2 {
            let ended = bench.run(&["--", "echo", "ran", &format!("tar:{name}")]);
            assert_eq!(ended.expect(status).says(words).out, "");
        }
    }
}
