//! A running tree made the same as its source: programs go on, what is kept stays, and
//! whatever ends the update leaves the old or the new.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::fake::Throttle;
use support::lab::{Lab, PORT};
use support::mounts::{have_own_mounts, mount_image, mount_memory, mount_new, run};
use support::proc::{Master, Proc, XGET, command, copy_program, xget};
use support::reader::Reader;
use support::{Scratch, lacks, lacks_root, noise, tree, until};

/// A source of some files, and a destination with older ones and more.
fn source_and_dest(scratch: &Scratch, files: u64, len: usize) -> (PathBuf, PathBuf) {
    let (source, dest) = (scratch.dir("source"), scratch.dir("dest"));
    for dir in [&source, &dest] {
        fs::create_dir_all(dir.join("sub/deep")).unwrap();
        symlink("sub", dir.join("link")).unwrap();
    }
    for number in 0..files {
        let name = if number % 2 == 0 { format!("f{number}") } else { format!("sub/f{number}") };
        fs::write(source.join(&name), noise(number, len + number as usize)).unwrap();
        fs::write(dest.join(&name), noise(number + 1000, len)).unwrap();
    }
    fs::create_dir(dest.join("extra")).unwrap();
    for number in 0..20 {
        fs::write(dest.join(format!("extra/{number}")), "old").unwrap();
    }
    (source, dest)
}

type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// The files, without those that xget has under way.
fn contents(dir: &Path) -> Contents {
    let is_ours = |path: &Path| path.to_string_lossy().contains(".xget-");
    let files = tree::look(dir).into_keys().filter(|path| !is_ours(path));
    let read = |path: PathBuf| fs::read(dir.join(&path)).ok().map(|bytes| (path, bytes));
    files.filter_map(read).collect()
}

#[test]
fn programs_go_on_while_theirs_is_replaced_and_it_is_told_what_was() {
    let scratch = Scratch::new();
    let (source, dest) = source_and_dest(&scratch, 10, 3_000);
    copy_program("/bin/sleep", &dest.join("program"));
    fs::write(source.join("program"), "#!/bin/sh\n").unwrap();
    tree::chmod(&source.join("program"), 0o755);
    let mut sleeping = command(dest.join("program"));
    sleeping.arg("60");
    let mut sleeping = Proc::start(sleeping, &scratch);
    let open = fs::File::open(dest.join("f0")).unwrap();
    let before = tree::look(&dest);
    let master = Master::start(&scratch, &source, &[]);
    let dry = ["--delete", "--dry-run", "."].map(PathBuf::from);
    let dry = master.fetch(&scratch, dry.iter().chain([&dest])).expect(0);
    assert_eq!(tree::look(&dest), before);
    let done = master.client(["--delete", "."].map(PathBuf::from).iter().chain([&dest]));
    let done = Proc::start(done, &scratch).wait().expect(0).says("\nxget: 11 files");
    tree::assert_same(&source, &dest);
    assert!(!sleeping.has_ended());
    assert_eq!(std::io::read_to_string(open).ok(), String::from_utf8(noise(1000, 3_000)).ok());
    let lines = |out: &str| -> Vec<String> {
        let mut lines: Vec<_> = out.lines().filter(|l| !l.starts_with("xget:")).collect();
        lines.sort_unstable();
        lines.into_iter().map(String::from).collect()
    };
    assert_eq!(lines(&dry.out), lines(&done.out));
    let lines = lines(&done.out);
    let is_news = |line: &&String| !line.starts_with("attributes");
    assert_eq!(lines.iter().filter(is_news).count(), 32, "{lines:#?}");
    for line in ["changed 10 program", "changed 3001 sub/f1", "deleted 0 extra/"] {
        assert!(lines.iter().any(|told| told == line), "{line}: {lines:#?}");
    }
    until("the master knows that it was none", 10, || master.proc.out().contains("compared what"));
    assert!(!master.proc.err().contains("not done"), "{}", master.proc.err());
}

#[test]
fn what_was_changed_is_told_when_it_is_done_and_not_when_it_has_served_enough() {
    let scratch = Scratch::new();
    let (source, dest) = (scratch.dir("source"), scratch.dir("dest"));
    for number in 0..6_000 {
        fs::write(dest.join(format!("some-older-file-{number}")), "old").unwrap();
    }
    fs::write(source.join("new"), noise(1, 12_000_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let gate = Throttle::start(master.port, 8_000_000);
    let mut update = xget();
    update.args(["-n", &gate.addr(), "--delete", "--linger", "600", "."]).arg(&dest);
    let mut update = Proc::start(update, &scratch);
    until("it fetches", 20, || gate.passed_bytes() > 1_000_000);
    // Somebody is connected: else it would not stay.
    let status = master.status();
    let port = status.lines().nth(1).and_then(|line| line.split(['!', ' ']).nth(1)).unwrap();
    let _guest = Reader::connect(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
    gate.open();
    let told = |out: &str| out.lines().filter(|line| line.starts_with("deleted 3 some")).count();
    until("all of it is told", 60, || told(&update.out()) == 6_000);
    assert!(update.out().contains("new 12000000 new\n") && !update.has_ended());
    update.signal(Signal::SIGKILL);
}

/// An older and a newer system, which differ in all ways that there are.
fn make_systems(source: &Path, dest: &Path, files: u64) {
    for (dir, seed) in [(source, 0), (dest, 100_000)] {
        fs::create_dir_all(dir.join("sub/deep")).unwrap();
        for number in 0..files {
            let name = ["", "sub/", "sub/deep/"][number as usize % 3].to_owned();
            let bytes = noise(seed + number, 100 + number as usize);
            fs::write(dir.join(format!("{name}f{number:04}")), bytes).unwrap();
        }
        fs::write(dir.join("own.local"), noise(seed, 10)).unwrap();
    }
    // What programs are loaded with, in a directory that becomes a symlink.
    fs::create_dir(dest.join("lib")).unwrap();
    fs::copy(dest.join("sub/f0001"), dest.join("lib/f0001")).unwrap();
    symlink("sub", source.join("lib")).unwrap();
    // And one that becomes a directory.
    fs::create_dir(source.join("bin")).unwrap();
    fs::copy(source.join("sub/f0004"), source.join("bin/f0004")).unwrap();
    symlink("sub", dest.join("bin")).unwrap();
    fs::hard_link(source.join("f0003"), source.join("linked")).unwrap();
    fs::write(dest.join("linked"), "old").unwrap();
    fs::create_dir(dest.join("extra")).unwrap();
    for number in 0..200 {
        fs::write(dest.join(format!("extra/{number}")), "old").unwrap();
    }
}

/// Each file is the old or the new one, and nothing is deleted while one is missing.
/// How many are new, of how many.
fn look_at_killed(dest: &Path, old: &Contents, new: &Contents) -> (usize, usize) {
    let now = contents(dest);
    let is_kept = |path: &Path| path.ends_with("own.local");
    let news = new.iter().filter(|(path, _)| !is_kept(path));
    let (mut count, mut all) = (0, 0);
    for (path, bytes) in news {
        let there = fs::read(dest.join(path)).ok();
        all += 1;
        count += usize::from(there.as_ref() == Some(bytes));
        let is_bin = path.starts_with("bin");
        let known = if is_bin { old.get(Path::new("sub/f0004")) } else { old.get(path) };
        let is_known = there.is_some() && [Some(bytes), known].contains(&there.as_ref());
        assert!(is_known, "{path:?} is neither, or gone");
    }
    let loaded = fs::read(dest.join("lib/f0001")).unwrap();
    let name = Path::new("sub/f0001");
    assert!([old.get(name), new.get(name)].contains(&Some(&loaded)));
    assert_eq!(now.get(Path::new("own.local")), old.get(Path::new("own.local")));
    let extra = |contents: &Contents| contents.keys().filter(|p| p.starts_with("extra")).count();
    assert!(extra(&now) == extra(old) || count == all, "deleted with {count} of {all} new");
    (count, all)
}

#[test]
fn whenever_it_is_killed_there_is_the_old_or_the_new_and_the_next_one_ends_it() {
    const FILES: u64 = 900;
    let scratch = Scratch::new();
    let (source, dest) = (scratch.dir("source"), scratch.dir("dest"));
    make_systems(&source, &dest, FILES);
    fs::write(scratch.join("keep"), "*.local\n").unwrap();
    let (old, new) = (contents(&dest), contents(&source));
    let master = Master::start(&scratch, &source, &[]);
    let update = |dest: &Path| {
        let mut update = master.client(["-q", "--delete", "--keep"]);
        update.arg(scratch.join("keep")).arg(".").arg(dest);
        update
    };
    let has_name = |dir: &Path, part: &str| {
        let names = fs::read_dir(dir).unwrap().flatten();
        names.map(|name| name.file_name()).any(|name| name.to_string_lossy().contains(part))
    };
    type Moment<'a> = (&'a str, &'a dyn Fn(&Path) -> bool, (usize, usize));
    let is_new = |dest: &Path, name: &str| {
        fs::metadata(dest.join(name))
            .is_ok_and(|now| now.len() == new[Path::new(name)].len() as u64)
            && fs::read(dest.join(name)).is_ok_and(|now| now == new[Path::new(name)])
    };
    let all = new.len() - 1;
    // When it is killed, and how many may be new then.
    let moments: [Moment; 6] = [
        ("it fetches", &|dest| has_name(dest, ".xget-"), (0, 0)),
        ("the first has its name", &|dest| is_new(dest, "f0000"), (1, all - 1)),
        ("a later one has", &|dest| is_new(dest, "sub/f0601"), (2, all)),
        ("the symlink has", &|dest| dest.join("lib").is_symlink(), (all / 2, all)),
        ("the directory has", &|dest| !dest.join("bin").is_symlink(), (all, all)),
        ("something is deleted", &|dest| !dest.join("extra/0").exists(), (all, all)),
    ];
    for (text, is_it, (least, most)) in moments {
        let mut killed = Vec::new();
        // On a busy machine it may be through before it is seen.
        for turn in 0..20 {
            let dest = scratch.join(format!("{} {turn}", text.replace(' ', "-")));
            run(std::process::Command::new("cp").arg("-a").args([&scratch.join("dest"), &dest]));
            let mut updating = Proc::start(update(&dest), &scratch);
            while !updating.has_ended() && !is_it(&dest) {
                std::thread::yield_now();
            }
            let was_through = updating.has_ended();
            updating.signal(Signal::SIGKILL);
            drop(updating);
            let (count, _) = look_at_killed(&dest, &old, &new);
            killed.push((was_through, count));
            Proc::start(update(&dest), &scratch).wait().expect(0);
            assert_eq!(
                fs::read(dest.join("own.local")).ok().as_ref(),
                old.get(Path::new("own.local"))
            );
            let own = |dir: &Path| dir.join("own.local");
            run(std::process::Command::new("cp").arg("-p").args([own(&source), own(&dest)]));
            tree::assert_same(&source, &dest);
            fs::remove_dir_all(&dest).unwrap();
            if !was_through && (least..=most).contains(&count) {
                break;
            }
        }
        let is_hit =
            |(was_through, count): &(bool, usize)| !was_through && (least..=most).contains(count);
        assert!(killed.last().is_some_and(is_hit), "{text}: {killed:?}");
    }
}

#[test]
fn of_a_source_that_vanishes_on_the_way_nothing_is_taken_over() {
    let Some(lab) = Lab::new(2) else { return };
    lab.shape(80);
    let scratch = Scratch::new();
    let (source, dest) = source_and_dest(&scratch, 40, 500_000);
    let old = contents(&dest);
    let master = lab.on(0, || Master::on(PORT, &scratch, &source, &[]));
    master.await_ready();
    let mut update = xget();
    update.args(["-n", &Lab::ip(0), "--linger", "0", "--delete", "."]).arg(&dest);
    let update = lab.on(1, || Proc::start(update, &scratch));
    until("a part has arrived", 30, || lab.received_bytes(1) > 3_000_000);
    // In place, so that what the master has open is gone, too.
    for path in contents(&source).into_keys() {
        fs::write(source.join(path), "").unwrap();
    }
    let ended = update.wait().expect(4).says("nothing that was there is changed or deleted");
    assert!(!ended.out.contains("deleted") && !ended.out.contains("changed"), "{}", ended.out);
    assert_eq!(contents(&dest), old);
}

/// What a program needs to run elsewhere.
fn libraries(program: &str) -> Vec<PathBuf> {
    let told = std::process::Command::new("ldd").arg(program).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let words = told.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

#[test]
fn a_system_updates_itself_and_what_is_mounted_or_kept_stays() {
    if lacks_root() || lacks(&["chroot", "ldd"]) || !have_own_mounts() {
        return;
    }
    let scratch = Scratch::new();
    let (image, root) = (scratch.dir("served/image/root"), scratch.dir("root"));
    let _memory = mount_memory(&root, "size=200m");
    for dir in [&image, &root] {
        for below in ["etc", "usr/bin", "proc", "run", "data", "var/log"] {
            fs::create_dir_all(dir.join(below)).unwrap();
        }
        for library in libraries(XGET) {
            let to = dir.join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&library, to).unwrap();
        }
        fs::copy(XGET, dir.join("usr/bin/xget")).unwrap();
    }
    fs::write(image.join("etc/motd"), "new").unwrap();
    fs::write(image.join("etc/hostname"), "image").unwrap();
    fs::write(image.join("run/of-image"), "x").unwrap();
    fs::write(root.join("etc/motd"), "old").unwrap();
    fs::write(root.join("etc/hostname"), "n001").unwrap();
    fs::write(root.join("etc/old.conf"), "old").unwrap();
    fs::write(root.join("etc/keep"), "/etc/hostname\n/etc/keep\n/var/log/\n").unwrap();
    fs::write(root.join("var/log/boot"), "booted").unwrap();
    let _run = mount_memory(&root.join("run"), "size=1m");
    let _data = mount_memory(&root.join("data"), "size=1m");
    fs::write(root.join("run/pid"), "1").unwrap();
    fs::write(root.join("data/results"), "years of work").unwrap();
    let proc_dir = root.join("proc");
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some("/proc"), &proc_dir, None::<&str>, bind, None::<&str>).unwrap();
    let inode = fs::metadata(root.join("usr/bin/xget")).unwrap().ino();
    let master = Master::start(&scratch, scratch.join("served"), &[]);
    let update = |source: &str| {
        let mut update = command("chroot");
        update.arg(&root).args(["/usr/bin/xget", "-n", &master.addr(), "--linger", "0"]);
        update.args(["--delete", "--keep", "/etc/keep", source, "/"]);
        Proc::start(update, &scratch).wait()
    };
    // One level too high: the system would be gone.
    update("image/.").expect(6).says("name its root (IMAGE/root/.)");
    assert!(root.join("etc/old.conf").exists() && !root.join("root").exists());
    let done = update("image/root/.").expect(0).says("\"/run\" is another file system here");
    let is_news = |line: &&str| line.starts_with("changed") || line.starts_with("deleted");
    let lines: Vec<&str> = done.out.lines().filter(is_news).collect();
    assert_eq!(lines, ["changed 3 etc/motd", "deleted 3 etc/old.conf"]);
    for (path, text) in [
        ("etc/motd", "new"),
        ("etc/hostname", "n001"),
        ("var/log/boot", "booted"),
        ("run/pid", "1"),
        ("data/results", "years of work"),
    ] {
        assert_eq!(fs::read_to_string(root.join(path)).unwrap(), text, "{path}");
    }
    assert!(!root.join("run/of-image").exists());
    assert_eq!(fs::metadata(root.join("usr/bin/xget")).unwrap().ino(), inode, "it was right");
    nix::mount::umount2(&proc_dir, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

/// As docs/provisioning.md has it: the image, and the layers over it.
#[test]
fn layers_go_over_an_updated_image_and_leave_its_directories_as_they_are() {
    let scratch = Scratch::new();
    let (served, dest) = (scratch.dir("served"), scratch.dir("dest"));
    let (image, layer) = (served.join("images/debian/root"), served.join("layers/all"));
    for path in ["root", "etc", "tmp", "usr"] {
        fs::create_dir_all(image.join(path)).unwrap();
    }
    fs::write(image.join("etc/motd"), "image").unwrap();
    for path in ["root/.ssh", "etc/new", "tmp"] {
        fs::create_dir_all(layer.join(path)).unwrap();
    }
    fs::write(layer.join("root/.ssh/authorized_keys"), "key").unwrap();
    fs::write(layer.join("etc/motd"), "layer").unwrap();
    for (path, mode) in [("root", 0o700), ("tmp", 0o1777), ("etc", 0o755), (".", 0o755)] {
        tree::chmod(&image.join(path), mode);
        tree::chmod(&layer.join(path), 0o775);
    }
    tree::chmod(&layer.join("root/.ssh"), 0o750);
    tree::chmod(&layer.join("etc/new"), 0o775);
    fs::write(scratch.join("keep"), "/etc/motd\n/root/.ssh/\n/etc/new/\n").unwrap();
    let master = Master::start(&scratch, &served, &[]);
    let fetch = |words: &[&str]| {
        let words = words.iter().map(PathBuf::from).chain([dest.clone()]);
        master.fetch(&scratch, words).expect(0)
    };
    let keep = scratch.join("keep");
    let keep = keep.to_str().unwrap();
    let mode = |path: &str| fs::symlink_metadata(dest.join(path)).unwrap().mode() & 0o7777;
    for round in 0..2 {
        fetch(&["--delete", "--keep", keep, "images/debian/root/."]);
        let told = fetch(&["--dry-run", "--keep-dirs", "layers/all/."]).out;
        assert!(!told.contains("attributes"), "{told}");
        fetch(&["--keep-dirs", "layers/all/."]);
        let modes = ["root", "tmp", "etc", "root/.ssh", "etc/new"].map(mode);
        assert_eq!(modes, [0o700, 0o1777, 0o755, 0o750, 0o775], "round {round}");
        assert_eq!(fs::read_to_string(dest.join("etc/motd")).unwrap(), "layer");
        assert!(dest.join("root/.ssh/authorized_keys").exists());
    }
}

#[test]
fn patterns_that_are_none_are_told_before_anything_is_fetched() {
    let scratch = Scratch::new();
    fs::write(scratch.join("keep"), "# mine\n/etc/\n!/etc/motd\n").unwrap();
    let run = |keep: &Path| {
        let mut update = xget();
        update.args(["-n", "127.0.0.1:1", "--keep"]).arg(keep).args([".", "/nonexistent"]);
        Proc::start(update, &scratch).wait().expect(2)
    };
    run(&scratch.join("keep")).says("keep: line 3 is no pattern");
    run(&scratch.join("none")).says("No such file");
}

#[test]
fn a_worker_serves_what_is_right_writes_nothing_and_a_signal_ends_it() {
    const CLIENTS: usize = 6;
    let Some(lab) = Lab::new(CLIENTS + 2) else { return };
    lab.shape(80);
    let scratch = Scratch::in_memory();
    let (source, dest) = (scratch.dir("source"), scratch.dir("dest"));
    for number in 0..40 {
        fs::write(source.join(format!("f{number}")), noise(number, 300_000)).unwrap();
        fs::write(dest.join(format!("f{number}")), noise(number, 300_000)).unwrap();
    }
    fs::write(source.join("etc"), "of the image").unwrap();
    fs::write(dest.join("etc"), "of the node").unwrap();
    fs::write(dest.join("own"), "own").unwrap();
    // One byte of it is the node's own.
    fs::write(source.join("database"), noise(50, 3_000_000)).unwrap();
    let mut database = noise(50, 3_000_000);
    database[1_500_000] ^= 1;
    fs::write(dest.join("database"), database).unwrap();
    let before = tree::look(&dest);
    let master = lab.on(0, || Master::on(PORT, &scratch, &source, &[]));
    master.await_ready();
    let at_master = |source: &str, dest: &Path, options: &[&str]| {
        let mut command = xget();
        command.args(["-n", &Lab::ip(0)]).args(options).arg(source).arg(dest);
        command
    };
    let worker = at_master(".", &dest, &["--worker"]);
    let worker = lab.on(1, || Proc::start(worker, &scratch));
    // It is not done, as who is gets no more children.
    std::thread::sleep(Duration::from_secs(1));
    let fetch_all = |name: &str| {
        let copy = |node: usize| scratch.join(format!("{name}{node}"));
        let start = |node: usize| {
            let fetch = at_master(".", &copy(node), &["-q", "--linger", "2"]);
            lab.on(node, || Proc::start(fetch, &scratch))
        };
        let clients: Vec<Proc> = (2..CLIENTS + 2).map(start).collect();
        clients.into_iter().for_each(|client| drop(client.wait().expect(0)));
        (2..CLIENTS + 2).for_each(|node| tree::assert_same(&source, &copy(node)));
    };
    fetch_all("calm");
    let sent = lab.sent_bytes(1);
    assert!(sent > 3_000_000, "it sent {sent} bytes");
    // What somebody writes into is not served: it is looked at before it is sent.
    for number in 0..10 {
        fs::write(dest.join(format!("f{number}")), noise(99, 300_000)).unwrap();
    }
    fetch_all("changed");
    worker.signal(Signal::SIGTERM);
    worker.wait().expect(0);
    assert!(!master.proc.err().contains("corrupt"), "{}", master.proc.err());
    let after = tree::look(&dest);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
}

#[test]
fn a_worker_of_something_else_ends_and_one_without_a_master_tries_on() {
    let scratch = Scratch::new();
    let (source, dest) = source_and_dest(&scratch, 10, 100_000);
    let master = Master::start(&scratch, &source, &[]);
    let worker = ["--worker".as_ref(), ".".as_ref(), dest.as_os_str()];
    master.fetch(&scratch, worker).expect(6).says("make it the same first (--delete)");
    let both = ["--worker", "--delete", ".", "/nonexistent"];
    master.fetch(&scratch, both).expect(2).says("--delete does nothing for a --worker");
    let mut lonely = xget();
    lonely.args(["-n", "127.0.0.1:1", "-r", "0", "--worker", "."]).arg(&dest);
    let lonely = Proc::start(lonely, &scratch);
    until("it has tried", 10, || lonely.err().contains("gave up after 1 tries"));
    std::thread::sleep(Duration::from_millis(300));
    lonely.signal(Signal::SIGTERM);
    lonely.wait().expect(0).within(10);
}

/// All comes though what may be copied cannot be read, and that is said.
fn assert_done_without(scratch: &Scratch, source: &Path, copies: &Path) {
    let master = Master::start(scratch, source, &[]);
    let copy = scratch.join("copy");
    let mut fetch = master.client(["--copy-dest".as_ref(), copies.as_os_str()]);
    fetch.arg(".").arg(&copy);
    let words = "cannot be read (Input/output error (os error 5)): it is done without";
    Proc::start(fetch, scratch).wait().expect(0).says(words);
    tree::assert_same(source, &copy);
}

#[test]
fn a_directory_on_a_bad_disk_costs_time_and_nothing_else() {
    if !have_own_mounts() {
        return;
    }
    let scratch = Scratch::new();
    let (source, copies) = (scratch.dir("source"), scratch.dir("copies"));
    let image = scratch.join("disk");
    let disk = mount_new(&image, &["mkfs.ext4", "-q"], 64 << 20, "loop", &copies);
    let Some(_disk) = disk else { return };
    for number in 0..40 {
        let name = format!("f{number}");
        fs::write(source.join(&name), noise(number, 400_000)).unwrap();
        fs::copy(source.join(&name), copies.join(&name)).unwrap();
    }
    // What was read is forgotten, and most of the disk is not there any more.
    nix::unistd::sync();
    for number in 0..40 {
        let file = fs::File::open(copies.join(format!("f{number}"))).unwrap();
        let dont_need = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        nix::fcntl::posix_fadvise(&file, 0, 0, dont_need).unwrap();
    }
    let file = fs::File::options().write(true).open(&image).unwrap();
    file.set_len(9 << 20).unwrap();
    let is_bad = |number: u64| fs::read(copies.join(format!("f{number}"))).is_err();
    assert!((0..40).filter(|number| is_bad(*number)).count() > 8, "the disk is not bad enough");
    assert_done_without(&scratch, &source, &copies);
}

/// A disk whose files are where they were, and that has lost what says where: each that is
/// opened is an error of its own.
#[test]
fn a_directory_that_cannot_be_looked_into_costs_time_and_nothing_else() {
    if !have_own_mounts() {
        return;
    }
    let scratch = Scratch::new();
    let (source, copies) = (scratch.dir("source"), scratch.dir("copies"));
    let image = scratch.join("disk");
    // Eight groups, each with inodes of its own; directories are put into all of them.
    let mkfs = ["mkfs.ext4", "-q", "-b", "1024", "-O", "^flex_bg,^has_journal"];
    let disk = mount_new(&image, &mkfs, 64 << 20, "loop", &copies);
    let Some(disk) = disk else { return };
    for number in 0..60 {
        let name = format!("d{number}/f");
        for dir in [&source, &copies] {
            fs::create_dir(dir.join(format!("d{number}"))).unwrap();
            fs::write(dir.join(&name), noise(number, 1000)).unwrap();
        }
    }
    drop(disk);
    let Some(_disk) = mount_image(&image, "loop,ro", &copies) else { return };
    fs::File::options().write(true).open(&image).unwrap().set_len(4 << 20).unwrap();
    assert_done_without(&scratch, &source, &copies);
}
