//! `xgetctl key`, and a cluster that has one: who is let in, and what is said to who is not.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use support::proc::{Ended, Master, Proc, XGET, command, xget};
use support::{Scratch, lacks, noise};

fn key(scratch: &Scratch, words: &[&str]) -> Ended {
    let mut key = command(env!("CARGO_BIN_EXE_xgetctl"));
    key.arg("key").args(words);
    Proc::start(key, scratch).wait()
}

/// A root key of that name.
fn root(scratch: &Scratch, name: &str) -> PathBuf {
    let path = scratch.join(name);
    key(scratch, &["new", path.to_str().unwrap()]).expect(0);
    path
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn fetch(master: &Master, scratch: &Scratch, words: &[&str], dest: &str) -> Ended {
    let mut fetch = xget();
    fetch.args(["-n", &master.addr(), "-r", "0", "--linger", "0"]).args(words);
    fetch.arg("file").arg(scratch.join(dest));
    Proc::start(fetch, scratch).wait()
}

fn served(scratch: &Scratch) -> PathBuf {
    let dir = scratch.dir("served");
    fs::write(dir.join("file"), noise(1, 300_000)).unwrap();
    dir
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    let scratch = Scratch::new();
    let path = root(&scratch, "root");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let name = path.to_str().unwrap();
    let before = fs::read(&path).unwrap();
    key(&scratch, &["new", name]).expect(6).says("exists");
    // The first command of all, where nothing is there yet.
    let deep = scratch.join("etc/xget/key");
    key(&scratch, &["new", deep.to_str().unwrap()]).expect(0);
    let dir = fs::metadata(deep.parent().unwrap()).unwrap();
    assert_eq!(dir.permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read(&path).unwrap(), before);
    let cluster = key(&scratch, &["cluster", name]).expect(0).out;
    assert!(cluster.starts_with("xget-cluster-1:"), "{cluster}");
    assert_eq!(key(&scratch, &["cluster", name]).expect(0).out, cluster);
    let node = key(&scratch, &["node", name, "n001"]).expect(0).out;
    assert!(node.starts_with("xget-node-1:n001:"), "{node}");
    key(&scratch, &["node", name, "a b"]).expect(2);
    // As an archive that goes behind an initramfs, for root alone.
    let archive = scratch.join("n001.img");
    let out = archive.to_str().unwrap();
    key(&scratch, &["node", name, "n001", "--cpio", out]).expect(0);
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
    key(&scratch, &["node", name, "n001", "--cpio", out]).expect(6).says("exists");
    let mut cpio = command("cpio");
    cpio.args(["-idm", "--quiet", "--no-absolute-filenames", "-F", out]);
    cpio.current_dir(scratch.dir("unpacked"));
    Proc::start(cpio, &scratch).wait().expect(0);
    let unpacked = scratch.join("unpacked/etc/xget/node-key");
    assert_eq!(fs::read_to_string(&unpacked).unwrap(), node);
    assert_eq!(fs::metadata(unpacked).unwrap().permissions().mode() & 0o777, 0o600);
    let of_nodes = &of_cluster(&scratch, name)[..];
    key(&scratch, &["node", of_nodes, "n001"]).expect(5).says("follow from a root key alone");
    assert_eq!(key(&scratch, &["cluster", of_nodes]).expect(0).out, cluster);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    key(&scratch, &["cluster", name]).expect(5).says("others can read");
    assert_ne!(fs::read(root(&scratch, "other")).unwrap(), before);
}

#[test]
fn who_has_the_key_fetches_and_who_has_not_is_told_so() {
    let scratch = Scratch::new();
    let (dir, path) = (served(&scratch), root(&scratch, "root"));
    let name = path.to_str().unwrap();
    let of_nodes = &of_cluster(&scratch, name)[..];
    let other = root(&scratch, "other");
    let master = Master::start(&scratch, &dir, &["--key", name]);
    for (dest, key) in [("one", of_nodes), ("two", name)] {
        fetch(&master, &scratch, &["--key", key], dest).expect(0);
        assert_eq!(
            fs::read(scratch.join(dest).join("file")).unwrap(),
            fs::read(dir.join("file")).unwrap()
        );
    }
    let none = fetch(&master, &scratch, &[], "none").expect(3);
    none.says("only who has the key of this cluster is let in");
    let wrong = fetch(&master, &scratch, &["--key", other.to_str().unwrap()], "wrong").expect(3);
    let wrong = wrong.says("authentication failed");
    // Whoever it is that has the wrong one reads it here.
    wrong.says("this side has another key than that one");
    // By the environment, for verbs too.
    let mut ls = xget();
    ls.args(["ls", "-n", &master.addr()]).env("XGET_KEY", of_nodes);
    assert_eq!(Proc::start(ls, &scratch).wait().expect(0).out, "file\n");
    let mut ls = xget();
    ls.args(["ls", "-n", &master.addr()]);
    Proc::start(ls, &scratch).wait().expect(3);
    // The other way round: who has a key takes nobody for its master who has none.
    let stranger = Master::start(&scratch, &dir, &[]);
    let refused = fetch(&stranger, &scratch, &["--key", of_nodes], "stranger").expect(3);
    refused.says("server takes no proof of who asks");
    let liar = Master::start(&scratch, &dir, &["--key", other.to_str().unwrap()]);
    fetch(&liar, &scratch, &["--key", of_nodes], "liar").expect(3).says("authentication failed");
    for dest in ["none", "wrong", "stranger", "liar"] {
        assert!(!scratch.join(dest).join("file").exists(), "{dest}");
    }
}

#[test]
fn a_key_file_that_will_not_do_is_refused_on_either_side() {
    let scratch = Scratch::new();
    let (dir, path) = (served(&scratch), root(&scratch, "root"));
    let name = path.to_str().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let node = key(&scratch, &["node", name, "n001"]).expect(0).out;
    let bad = scratch.join("bad");
    let master = Master::start(&scratch, &dir, &["--key", name]);
    for (text, mode, why) in [
        (&text[..], 0o640, "others can read this key"),
        (&text[..50], 0o600, "it is cut off"),
        (&text.replacen(':', ":0", 1)[..text.len()], 0o600, "it is "),
        (&node, 0o600, "the key of n001 alone"),
        ("", 0o600, "it is no key of xget"),
    ] {
        fs::write(&bad, text).unwrap();
        fs::set_permissions(&bad, Permissions::from_mode(mode)).unwrap();
        let mut serve = xget();
        serve.args(["--no-cache", "-p", "1", "--key"]).arg(&bad).arg(&dir);
        let served = Proc::start(serve, &scratch).wait().expect(2).says(why);
        let digits = text.trim().rsplit(':').next().unwrap();
        assert!(digits.len() < 20 || !served.err.contains(&digits[..20]), "{}", served.err);
        let mut fetch = xget();
        fetch.args(["-n", "127.0.0.1:9", "--key"]).arg(&bad).args(["a", "b"]);
        Proc::start(fetch, &scratch).wait().expect(2).says(why);
        let mut status = command(env!("CARGO_BIN_EXE_xgetctl"));
        status.args(["status", "-n", &master.addr(), "--key"]).arg(&bad);
        let refused = Proc::start(status, &scratch).wait().expect(5).says(why);
        assert!(digits.len() < 20 || !refused.err.contains(&digits[..20]), "{}", refused.err);
    }
}

/// The file with the cluster's key, of this root.
fn of_cluster(scratch: &Scratch, root: &str) -> String {
    let file = scratch.join("cluster");
    private(&file, &key(scratch, &["cluster", root]).expect(0).out);
    file.to_str().unwrap().into()
}

/// What people run, with a key and without, at a master that wants one and at one that has none.
#[test]
fn commands_of_people_show_the_key_or_say_what_is_missing() {
    let scratch = Scratch::new();
    let (dir, path) = (served(&scratch), root(&scratch, "root"));
    let name = path.to_str().unwrap();
    let of_nodes = &of_cluster(&scratch, name)[..];
    let other = root(&scratch, "other");
    let [locked, open] = [&["--key", name][..], &[]].map(|o| Master::start(&scratch, &dir, o));
    let to = scratch.join("to");
    let run = |program: &str, words: &[&str], master: &Master, key: Option<&str>| {
        let mut command = command(program);
        command.args(words).args(["-n", &master.addr()]);
        if let Some(key) = key {
            command.env("XGET_KEY", key);
        }
        if words == ["get"] {
            command.args(["-r", "0", "file"]).arg(&to);
        }
        if words == ["run"] {
            command.args(["-r", "0", "--cache-dir"]).arg(scratch.join("cache"));
            command.args(["--", "test", "-s", "file:file"]);
        }
        Proc::start(command, &scratch).wait()
    };
    let xgetctl = env!("CARGO_BIN_EXE_xgetctl");
    for (program, words) in [
        (XGET, &["ls"][..]),
        (XGET, &["status"]),
        (XGET, &["get"]),
        (XGET, &["run"]),
        (xgetctl, &["--root", dir.to_str().unwrap(), "status"]),
        (xgetctl, &["nodes", "--unknown"]),
    ] {
        run(program, words, &locked, Some(of_nodes)).expect(0);
        run(program, words, &open, None).expect(0);
        let none = run(program, words, &locked, None).expect(3);
        none.says("only who has the key of this cluster is let in");
        let wrong = run(program, words, &locked, Some(other.to_str().unwrap())).expect(3);
        wrong.says("this side has another key than that one");
        // A key is not left out because the other side does not ask for it.
        let alone = run(program, words, &open, Some(of_nodes)).expect(3);
        alone.says("server takes no proof of who asks").says("that one has none");
    }
    // None is shown where that is said: XGET_KEY names one all the while.
    for none in [&["--no-key"][..], &[]] {
        let mut get = xget();
        get.args(["-n", &open.addr(), "-r", "0", "--linger", "0"]).args(none).arg("file");
        get.arg(scratch.join("free")).env("XGET_KEY", if none.is_empty() { "" } else { of_nodes });
        Proc::start(get, &scratch).wait().expect(0);
    }
    assert!(locked.proc.out().contains(", for who has the key: "), "{}", locked.proc.out());
    assert!(open.proc.out().contains(", for everybody (no key): "), "{}", open.proc.out());
    let mounts = Master::start(&scratch, &dir, &["--key", of_nodes, "--free-mounts"]);
    let who = ", for who has the key, and mounts without: ";
    assert!(mounts.proc.out().contains(who), "{}", mounts.proc.out());
    let mut status = command(xgetctl);
    status.args(["status", "--root", dir.to_str().unwrap(), "--key", of_nodes]);
    status.args(["-n", &locked.addr()]);
    Proc::start(status, &scratch).wait().expect(0);
}

/// The key of the usual place is root's: others ask without, and are not let to serve without.
#[test]
fn who_may_not_read_the_key_of_the_machine_asks_without() {
    if lacks(&["unshare", "setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let dir = served(&scratch);
    let open = Master::start(&scratch, &dir, &[]);
    let run = |command_line: &str| {
        let script = format!(
            r#"mount -t tmpfs -o mode=755 none /etc && cp "$1" /etc/a && cp "$2" /etc/b && /etc/b key new /etc/xget/key &&
            chmod 755 /etc/xget && cd / && exec setpriv --reuid 65534 --regid 65534 --clear-groups {command_line}"#
        );
        let mut unshare = command("unshare");
        unshare.args(["-m", "sh", "-c", &script, "sh", XGET, env!("CARGO_BIN_EXE_xgetctl")]);
        Proc::start(unshare, &scratch).wait()
    };
    let listed = run(&format!("/etc/a ls -n {}", open.addr())).expect(0);
    let listed = listed.says("/etc/xget/key is not for this user");
    assert_eq!(listed.err.lines().count(), 1, "{}", listed.err);
    let listed = run(&format!("/etc/b nodes --unknown -n {}", open.addr())).expect(0);
    listed.says("/etc/xget/key is not for this user");
    run("/etc/a --no-cache -p 1 /proc/self").expect(2).says("/etc/xget/key: Permission denied");
    run(&format!("env XGET_KEY=/etc/xget/key /etc/a ls -n {}", open.addr())).expect(2);
}

#[test]
fn those_of_the_cluster_feed_each_other() {
    let scratch = Scratch::new();
    let (dir, path) = (served(&scratch), root(&scratch, "root"));
    fs::write(dir.join("file"), noise(2, 40 << 20)).unwrap();
    let name = path.to_str().unwrap();
    let master = Master::start(&scratch, &dir, &["--key", name]);
    let nodes: Vec<Proc> = (0..6)
        .map(|number| {
            let mut fetch = xget();
            fetch.args(["-n", &master.addr(), "--linger", "5", "--key", name, "file"]);
            fetch.arg(scratch.join(format!("node{number}")));
            Proc::start(fetch, &scratch)
        })
        .collect();
    let mut from_peers = 0.0;
    for node in nodes {
        let ended = node.wait().expect(0);
        from_peers += ended.figure(" from peers");
        assert!(!ended.err.contains("warning") && !ended.err.contains("refuses"), "{}", ended.err);
    }
    assert!(from_peers > 40e6, "{from_peers} bytes from peers");
}
