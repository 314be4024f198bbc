//! What a master and a client can do no more once they run: as the kernel has it, and as whoever
//! depends on it notices.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;
use support::proc::{Ended, Master, Proc, xget};
use support::{Scratch, is_root, lacks_root, noise, until};

const READ_SEARCH: u64 = 1 << 2;
const SYS_ADMIN: u64 = 1 << 21;

/// A line of proc_pid_status(5).
fn status(proc: &Proc, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", proc.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().into()
}

fn capabilities(proc: &Proc) -> [u64; 2] {
    ["CapEff", "CapPrm"].map(|name| u64::from_str_radix(&status(proc, name), 16).unwrap())
}

fn is_shut_in(proc: &Proc) -> bool {
    let (filter, gains) = (status(proc, "Seccomp"), status(proc, "NoNewPrivs"));
    assert_eq!(filter == "2", gains == "1", "{filter} {gains}");
    filter == "2"
}

fn fetch(master: &Master, scratch: &Scratch, source: &str, dest: &str) -> Ended {
    master.fetch(scratch, [source.as_ref(), scratch.join(dest).as_os_str()])
}

#[test]
fn a_master_keeps_what_reading_takes_and_without_a_sandbox_everything() {
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    fs::write(dir.join("f"), noise(1, 300_000)).unwrap();
    let master = Master::start(&scratch, &dir, &[]);
    assert!(is_shut_in(&master.proc));
    if is_root() {
        assert_eq!(capabilities(&master.proc), [READ_SEARCH | SYS_ADMIN; 2]);
    }
    assert_eq!(master.proc.err(), "", "this kernel has all of it");
    fetch(&master, &scratch, "f", "dest").expect(0);
    let before = capabilities(&master.proc);
    let open = Master::start(&scratch, &dir, &["--no-sandbox"]);
    assert!(!is_shut_in(&open.proc));
    if is_root() {
        assert_ne!(capabilities(&open.proc), before);
    }
    fetch(&open, &scratch, "f", "dest2").expect(0);
}

#[test]
fn a_master_reads_nothing_beside_what_it_serves() {
    let scratch = Scratch::new();
    let (dir, beside) = (scratch.dir("served"), scratch.dir("beside"));
    fs::write(dir.join("f"), "f").unwrap();
    fs::write(beside.join("table"), "n1 mac=52:54:00:00:00:01\n").unwrap();
    let master = Master::start(&scratch, &dir, &[]);
    // Of all that it reads by name only this is read through a link.
    symlink(beside.join("table"), dir.join("nodes.tab")).unwrap();
    until("the link is refused", 20, || {
        master.proc.signal(Signal::SIGHUP);
        let said = master.proc.err();
        said.contains("nodes.tab: cannot read it: Permission denied")
            && said.contains("reads what was there when it started, and nothing else")
    });
    // A link that was there when it started is followed, and so is what takes its place.
    let again = Master::start(&scratch, &dir, &[]);
    fs::write(beside.join("new"), "n1 mac=nonsense\n").unwrap();
    fs::rename(beside.join("new"), beside.join("table")).unwrap();
    until("the new table is read", 20, || {
        again.proc.signal(Signal::SIGHUP);
        again.proc.err().contains("nodes.tab: line 1")
    });
}

#[test]
fn what_changes_in_the_served_tree_is_served_and_its_cache_is_written() {
    let scratch = Scratch::new();
    let (dir, cache) = (scratch.dir("served"), scratch.dir("cache"));
    fs::write(dir.join("f"), "old").unwrap();
    let path = cache.join("digests");
    settle();
    let master = Master::start(&scratch, &dir, &["--cache", path.to_str().unwrap()]);
    let first = fs::metadata(&path).unwrap().ino();
    fs::create_dir(dir.join("new")).unwrap();
    fs::write(dir.join("new/g"), noise(2, 200_000)).unwrap();
    fs::write(dir.join(".f"), "new").unwrap();
    fs::rename(dir.join(".f"), dir.join("f")).unwrap();
    until("the tree is hashed again", 30, || {
        master.proc.signal(Signal::SIGHUP);
        master.proc.out().contains("hashed again")
    });
    until("what is new is served", 30, || {
        fetch(&master, &scratch, ".", "dest").status == 0
            && fs::read(scratch.join("dest/new/g")).is_ok()
            && fs::read(scratch.join("dest/f")).unwrap() == b"new"
    });
    settle();
    fs::write(dir.join("h"), "h").unwrap();
    until("the cache is another file", 30, || {
        master.proc.signal(Signal::SIGHUP);
        fs::metadata(&path).unwrap().ino() != first
    });
    assert_eq!(cache.read_dir().unwrap().count(), 1);
    assert_eq!(master.proc.err(), "");
}

#[test]
fn a_link_that_leads_elsewhere_is_followed_and_a_directory_that_is_another_is_not() {
    let scratch = Scratch::new();
    let releases = scratch.dir("releases");
    for number in ["1", "2"] {
        fs::create_dir(releases.join(number)).unwrap();
        fs::write(releases.join(number).join("f"), number).unwrap();
    }
    let link = scratch.join("current");
    symlink("releases/1", &link).unwrap();
    let master = Master::start(&scratch, &link, &[]);
    symlink("releases/2", scratch.join("next")).unwrap();
    fs::rename(scratch.join("next"), &link).unwrap();
    let is_new = |master: &Master, dest: &str, wanted: &str| {
        master.proc.signal(Signal::SIGHUP);
        fetch(master, &scratch, "f", dest).status == 0
            && fs::read_to_string(scratch.join(dest).join("f")).unwrap() == wanted
    };
    until("the second release is served", 30, || is_new(&master, "dest", "2"));
    drop(master);
    let one = releases.join("1");
    let master = Master::start(&scratch, &one, &[]);
    fs::rename(&one, releases.join("0")).unwrap();
    fs::rename(releases.join("2"), &one).unwrap();
    until("it is said what to do", 20, || {
        master.proc.signal(Signal::SIGHUP);
        master.proc.err().contains("reads what was there when it started, and nothing else")
    });
    let again = Master::start(&scratch, &one, &[]);
    until("a new master serves it", 30, || is_new(&again, "dest2", "2"));
}

#[test]
fn what_lies_below_a_link_is_served_where_the_link_leads_next() {
    let scratch = Scratch::new();
    let releases = scratch.dir("releases");
    for number in ["1", "2"] {
        fs::create_dir_all(releases.join(number).join("images")).unwrap();
        fs::write(releases.join(number).join("images/f"), number).unwrap();
    }
    let link = releases.join("current");
    symlink("1", &link).unwrap();
    let master = Master::start(&scratch, link.join("images"), &[]);
    symlink("2", releases.join("next")).unwrap();
    fs::rename(releases.join("next"), &link).unwrap();
    until("the second release is served", 30, || {
        master.proc.signal(Signal::SIGHUP);
        fetch(&master, &scratch, "f", "dest").status == 0
            && fs::read_to_string(scratch.join("dest/f")).unwrap() == "2"
    });
    assert_eq!(master.proc.err(), "");
}

#[test]
fn a_directory_that_is_another_takes_no_table_away_and_is_told_of_once() {
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    fs::write(dir.join("f"), "old").unwrap();
    fs::write(dir.join("nodes.tab"), "n1\n").unwrap();
    let master = Master::start(&scratch, &dir, &[]);
    fs::rename(&dir, scratch.join("old")).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("f"), "new").unwrap();
    let advice = "reads what was there when it started, and nothing else: start it again";
    let again = || {
        master.proc.signal(Signal::SIGHUP);
        fetch(&master, &scratch, "f", "dest").expect(0);
        master.proc.err()
    };
    until("both are told of", 30, || again().matches(advice).count() >= 2);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(1_100));
        let said = again();
        assert_eq!(said.matches(advice).count(), 2, "{said}");
        assert!(said.contains("what it said before stays in force"), "{said}");
        assert!(!said.contains("nodes.tab is gone"), "{said}");
    }
    assert!(!master.proc.out().contains("hashed again"), "{}", master.proc.out());
}

#[test]
fn a_file_that_is_served_may_be_replaced() {
    let scratch = Scratch::new();
    let file = scratch.dir("served").join("a.img");
    fs::write(&file, noise(1, 200_000)).unwrap();
    let master = Master::start(&scratch, &file, &[]);
    let new = file.with_extension("new");
    fs::write(&new, noise(2, 200_000)).unwrap();
    fs::rename(&new, &file).unwrap();
    until("the new one is served", 30, || {
        master.proc.signal(Signal::SIGHUP);
        fetch(&master, &scratch, "a.img", "dest").status == 0
            && fs::read(scratch.join("dest/a.img")).unwrap() == noise(2, 200_000)
    });
}

/// What has just been written may change unseen, and its digest is not kept.
fn settle() {
    std::thread::sleep(Duration::from_secs(3));
}

/// Who may go through these directories, as others than their owner.
fn open_to_all(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn another_user_serves_what_root_alone_may_read_and_can_do_nothing_else() {
    if lacks_root() {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    open_to_all(&scratch.path);
    fs::write(dir.join("shadow"), noise(3, 100_000)).unwrap();
    fs::set_permissions(dir.join("shadow"), Permissions::from_mode(0o000)).unwrap();
    symlink("shadow", dir.join("link")).unwrap();
    let caches = scratch.dir("caches");
    open_to_all(&caches);
    let log = scratch.join("log");
    settle();
    let mut command = xget();
    let port = support::proc::free_port();
    command.env("XDG_CACHE_HOME", &caches).arg("-p").arg(port.to_string());
    command.args(["--user", "nobody", "--log"]).arg(&log).arg(&dir);
    let master = Master { proc: Proc::start(command, &scratch), port };
    master.await_ready();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    assert_eq!(status(&master.proc, "Uid"), [uid; 4].map(|id| id.to_string()).join("\t"));
    assert_eq!(status(&master.proc, "Gid"), [gid; 4].map(|id| id.to_string()).join("\t"));
    assert_eq!(status(&master.proc, "Groups"), gid.to_string());
    assert_eq!(capabilities(&master.proc), [READ_SEARCH; 2]);
    assert!(is_shut_in(&master.proc));
    fetch(&master, &scratch, ".", "dest").expect(0);
    assert_eq!(fs::read(scratch.join("dest/shadow")).unwrap(), noise(3, 100_000));
    let own = caches.join("xget").join(uid.to_string());
    assert_eq!(fs::metadata(&own).unwrap().uid(), uid);
    assert_eq!(own.read_dir().unwrap().count(), 1, "{}", master.proc.err());
    assert!(fs::read_to_string(&log).unwrap().contains(" serving "));
    assert_eq!(master.proc.err(), "");
}

#[test]
fn who_cannot_write_where_digests_are_to_be_kept_is_told_so_at_the_start() {
    if lacks_root() {
        return;
    }
    let scratch = Scratch::new();
    open_to_all(&scratch.path);
    let (dir, caches) = (scratch.dir("served"), scratch.dir("caches"));
    let path = caches.join("digests");
    let words = ["--user", "nobody", "--cache", path.to_str().unwrap()];
    let said = |mode| {
        fs::set_permissions(&caches, Permissions::from_mode(mode)).unwrap();
        Master::start(&scratch, &dir, &words).proc.err()
    };
    let refused = said(0o755);
    assert!(refused.contains("digests are not kept"), "{refused}");
    assert!(refused.contains("nobody cannot make a file beside"), "{refused}");
    assert_eq!(said(0o777), "");
    // The capability that it keeps leads through what is above.
    let above = scratch.dir("above");
    fs::set_permissions(&above, Permissions::from_mode(0o700)).unwrap();
    fs::rename(&caches, above.join("caches")).unwrap();
    let path = above.join("caches/digests");
    let words = ["--user", "nobody", "--cache", path.to_str().unwrap()];
    assert_eq!(Master::start(&scratch, &dir, &words).proc.err(), "");
}

#[test]
fn capabilities_of_another_user_than_root_are_given_up_as_well() {
    if lacks_root() {
        return;
    }
    let scratch = Scratch::new();
    open_to_all(&scratch.path);
    let dir = scratch.dir("served");
    fs::write(dir.join("f"), "f").unwrap();
    // As a service that systemd gives AmbientCapabilities=.
    let granted = "+net_admin,+kill,+dac_read_search";
    let mut command = support::proc::command("setpriv");
    command.args(["--reuid", "nobody", "--regid", "65534", "--clear-groups"]);
    command.args(["--inh-caps", granted, "--ambient-caps", granted, "--", support::proc::XGET]);
    let port = support::proc::free_port();
    command.args(["-p", &port.to_string(), "--no-cache"]).arg(&dir);
    let master = Master { proc: Proc::start(command, &scratch), port };
    master.await_ready();
    assert_eq!(capabilities(&master.proc), [READ_SEARCH; 2], "{}", master.proc.err());
    assert_eq!(u64::from_str_radix(&status(&master.proc, "CapAmb"), 16), Ok(0));
    fetch(&master, &scratch, "f", "dest").expect(0);
}

/// Of a zone that is so far east of Greenwich, in the format of tzfile(5), version 1.
fn zone_file(hours: i32) -> Vec<u8> {
    let mut bytes = b"TZif".to_vec();
    bytes.extend([0; 16]);
    for count in [0u32, 0, 0, 0, 1, 4] {
        bytes.extend(count.to_be_bytes());
    }
    bytes.extend((hours * 3_600).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(b"EST\0");
    bytes
}

#[test]
fn the_log_has_the_time_of_the_zone_that_it_began_in() {
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    fs::write(scratch.join("zone"), zone_file(9)).unwrap();
    let hour = |zone: &std::ffi::OsStr| {
        let mut command = xget();
        let port = support::proc::free_port();
        command.env("TZ", zone).args(["-p", &port.to_string(), "--no-cache"]).arg(&dir);
        let master = Master { proc: Proc::start(command, &scratch), port };
        master.await_ready();
        assert!(is_shut_in(&master.proc));
        let out = master.proc.out();
        let line = out.lines().find(|line| line.contains(" serving ")).unwrap();
        line[..2].parse::<i32>().unwrap()
    };
    let here = hour(scratch.join("zone").as_os_str());
    let later = hour("UTC0".as_ref());
    // The hour may have ended between the two.
    let ahead = (here - later).rem_euclid(24);
    assert!((8..=9).contains(&ahead), "{here} h there, {later} h in UTC");
}

#[test]
fn a_user_that_cannot_be_is_an_error() {
    let scratch = Scratch::new();
    let serve = |words: &[&str]| {
        let mut command = xget();
        command.args(words).arg(scratch.dir("served"));
        Proc::start(command, &scratch).wait()
    };
    if lacks_root() {
        serve(&["--user", "nobody"]).expect(2).says("only root can become another user");
        return;
    }
    serve(&["--user", "no-such-user"]).expect(2).says("--user no-such-user: this machine has no");
    serve(&["--user", "root"]).expect(2).says("it is root, as which xget runs without");
}

#[test]
fn a_client_opens_its_destination_and_nothing_beside_it() {
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/f"), noise(1, 3_000_000)).unwrap();
    fs::hard_link(dir.join("sub/f"), dir.join("linked")).unwrap();
    symlink("sub/f", dir.join("link")).unwrap();
    let master = Master::start(&scratch, &dir, &[]);
    // Once into what is there, once into what has to be made, two levels of it.
    scratch.dir("there");
    for dest in ["there", "above/made"] {
        let mut command = xget();
        command.args(["-n", &master.addr(), "--linger", "60", "."]).arg(scratch.join(dest));
        let client = Proc::start(command, &scratch);
        let whole = scratch.join(dest).join("linked");
        until("it is in place", 30, || {
            fs::read(&whole).is_ok_and(|bytes| bytes.len() == 3_000_000)
        });
        assert!(is_shut_in(&client));
        if is_root() {
            let kept = capabilities(&client)[0];
            assert_eq!(kept & READ_SEARCH, READ_SEARCH);
            // CAP_NET_ADMIN, CAP_SYS_MODULE, CAP_SYS_PTRACE, CAP_SYS_BOOT
            assert_eq!(kept & (1 << 12 | 1 << 16 | 1 << 19 | 1 << 22), 0, "{kept:x}");
        }
        client.signal(Signal::SIGTERM);
        let ended = client.wait().expect(0);
        assert_eq!(ended.err.matches("shut").count(), 0, "{}", ended.err);
        let (one, other) = (scratch.join(dest).join("sub/f"), whole);
        assert_eq!(fs::metadata(one).unwrap().ino(), fs::metadata(other).unwrap().ino());
    }
    let free = [scratch.join("free").into_os_string()];
    let words = ["--no-sandbox", "."].map(Into::into);
    master.fetch(&scratch, words.into_iter().chain(free)).expect(0);
}

#[test]
fn a_worker_goes_on_round_after_round() {
    let scratch = Scratch::new();
    let dir = scratch.dir("served");
    fs::write(dir.join("f"), noise(1, 500_000)).unwrap();
    let master = Master::start(&scratch, &dir, &[]);
    fetch(&master, &scratch, ".", "dest").expect(0);
    let mut command = xget();
    command.args(["-n", &master.addr(), "--worker", "--linger", "1", "."]);
    let worker = Proc::start(
        {
            command.arg(scratch.join("dest"));
            command
        },
        &scratch,
    );
    // Once as a client, and twice as a worker, which looks again after ten seconds.
    until("it looks again", 60, || master.proc.out().matches(" done: ").count() == 3);
    assert!(is_shut_in(&worker));
    assert_eq!(status(&worker, "Seccomp_filters"), "1", "it is so once: {}", worker.err());
    worker.signal(Signal::SIGTERM);
    worker.wait().expect(0);
}
