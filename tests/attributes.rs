//! What a root file system is made of besides its bytes: capabilities, ACLs, devices,
//! owners of all that there is, as tar sees it.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use support::mounts::{have_own_mounts, mount_memory, run};
use support::proc::{Ended, Master, Proc, command, xget};
use support::tree::{assert_same, chmod};
use support::{Scratch, lacks, lacks_root, noise, until};

/// Whether this test cannot be.
fn lacks_something() -> bool {
    lacks_root() || lacks(&["setfattr", "getfattr", "setfacl", "setcap", "tar"])
}

fn setfattr(path: &Path, name: &str, value: &str) {
    run(Command::new("setfattr").args(["-h", "-n", name, "-v", value]).arg(path));
}

fn remove_xattr(path: &Path, name: &str) {
    run(Command::new("setfattr").args(["-h", "-x", name]).arg(path));
}

fn setcap(path: &Path, capabilities: &str) {
    run(Command::new("setcap").arg(capabilities).arg(path));
}

fn setfacl(path: &Path, options: &[&str]) {
    run(Command::new("setfacl").args(options).arg(path));
}

/// All extended attributes of a path itself, in words.
fn xattrs(path: &Path) -> String {
    let mut getting = Command::new("getfattr");
    getting.args(["-h", "-d", "-m", "-", "-e", "hex", "--absolute-names"]).arg(path);
    String::from_utf8(getting.output().unwrap().stdout).unwrap()
}

fn node(path: &Path, kind: SFlag, (major, minor): (u64, u64), mode: u32) {
    mknod(path, kind, Mode::from_bits_truncate(mode), makedev(major, minor)).unwrap();
    chmod(path, mode);
}

/// One of everything that a root has and a download has not.
fn make_root(dir: &Path) {
    let at = |name: &str| dir.join(name);
    for name in ["dev", "bin", "srv", "tmp", "run"] {
        fs::create_dir(at(name)).unwrap();
    }
    node(&at("dev/null"), SFlag::S_IFCHR, (1, 3), 0o666);
    node(&at("dev/sda"), SFlag::S_IFBLK, (8, 0), 0o660);
    // More than eight bits of each number, and none of either.
    node(&at("dev/big"), SFlag::S_IFCHR, (0xabc, 0xfedcb), 0o600);
    node(&at("dev/whiteout"), SFlag::S_IFCHR, (0, 0), 0);
    chown(at("dev/sda"), Some(0), Some(6)).unwrap();
    setfattr(&at("dev/null"), "security.selinux", "system_u:object_r:null_device_t:s0");
    mkfifo(&at("run/initctl"), Mode::from_bits_truncate(0o600)).unwrap();
    chown(at("run/initctl"), Some(7), Some(8)).unwrap();
    drop(UnixListener::bind(at("run/socket")).unwrap());
    chmod(&at("run/socket"), 0o4755);

    fs::write(at("bin/ping"), noise(1, 200_000)).unwrap();
    fs::write(at("bin/small"), "small").unwrap();
    fs::write(at("bin/empty"), "").unwrap();
    fs::write(at("bin/sudo"), noise(2, 50_000)).unwrap();
    for (name, mode) in [("ping", 0o755), ("small", 0o755), ("empty", 0o750), ("sudo", 0o4755)] {
        chmod(&at("bin").join(name), mode);
    }
    chown(at("bin/small"), Some(12), Some(34)).unwrap();
    for name in ["bin/ping", "bin/small", "bin/empty"] {
        setcap(&at(name), "cap_net_raw+ep");
    }
    fs::hard_link(at("bin/ping"), at("bin/ping4")).unwrap();
    fs::hard_link(at("bin/small"), at("srv/small too")).unwrap();
    symlink("ping", at("bin/ping6")).unwrap();
    lchown(at("bin/ping6"), Some(56), Some(78)).unwrap();
    setfattr(&at("bin/ping6"), "trusted.of-a-link", "itself");
    chmod(&at("tmp"), 0o1777);

    fs::create_dir(at("srv/shared")).unwrap();
    setfacl(&at("srv/shared"), &["-m", "u:1234:rwx,g:5678:r-x"]);
    setfacl(&at("srv/shared"), &["-d", "-m", "u:1234:rwx,g::---"]);
    for number in 0..40 {
        // They have an ACL of the directory, and bytes that fill packs.
        let file = at("srv/shared").join(format!("{number:02}"));
        fs::write(&file, noise(number, 2_000)).unwrap();
        setfattr(&file, "user.number", &number.to_string());
    }
    let plain = at("srv/shared/plain");
    fs::write(&plain, "no ACL in a directory that hands one down").unwrap();
    setfacl(&plain, &["-b"]);
    setfattr(&at("srv"), "user.mime_type", "inode/directory");
    setfattr(&plain, "user.empty", "");
    setfattr(&plain, "trusted.overlay.opaque", "y");
    setfattr(dir, "user.of-the-root", "is one, too");
    chmod(dir, 0o711);
    chown(dir, Some(90), Some(12)).unwrap();
}

/// What tar makes of a tree.
fn tar(dir: &Path) -> Vec<u8> {
    let options = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--sort=name"];
    let made = Command::new("tar")
        .args(options)
        .args(["--format=posix", "--xattrs-exclude=trusted.overlay.*"])
        .args(["--pax-option=delete=atime,delete=ctime,exthdr.name=%d/%f", "-c", "-C"])
        .arg(dir)
        .arg(".")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

#[track_caller]
fn assert_same_to_tar(source: &Path, copy: &Path) {
    assert_same(source, copy);
    if tar(source) == tar(copy) {
        return;
    }
    let all = |dir: &Path| {
        let listed = Command::new("getfattr")
            .args(["-R", "-h", "-d", "-m", "-", "."])
            .current_dir(dir)
            .output()
            .unwrap();
        String::from_utf8_lossy(&listed.stdout).into_owned()
    };
    panic!("they differ:\n{}\n---\n{}", all(source), all(copy));
}

fn fetch_all(master: &Master, scratch: &Scratch, copy: &Path) -> Ended {
    master.fetch(scratch, [".".as_ref(), copy.as_os_str()])
}

#[test]
fn a_root_arrives_as_tar_sees_it_from_the_master_and_from_peers() {
    if lacks_something() {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    make_root(&source);
    fs::write(source.join("large"), noise(9, 20 << 20)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    // The second in memory, as a node's root is.
    let memory = Scratch::in_memory();
    let copies = [scratch.join("one"), memory.join("another")];
    let fetch = |copy: &std::path::PathBuf| {
        let mut command = xget();
        command.args(["-n", &master.addr(), "."]).arg(copy);
        Proc::start(command, &scratch)
    };
    let ended = copies.each_ref().map(fetch).map(Proc::wait).map(|ended| ended.expect(0));
    let from_peers: f64 = ended.iter().map(|ended| ended.figure(" from peers")).sum();
    assert!(from_peers > 0.0, "neither served the other: {}{}", ended[0].out, ended[1].out);
    for (copy, ended) in copies.iter().zip(&ended) {
        assert_same_to_tar(&source, copy);
        assert_eq!(ended.err, "", "nothing was left out");
    }
    // Nothing is changed, nothing moved, by a second run; nor is the generation by a copy.
    let before = |name: &str| fs::symlink_metadata(copies[0].join(name)).unwrap();
    let ids = ["dev/null", "bin/ping", "run/initctl", "bin/ping6"];
    let (inodes, ctimes) =
        (ids.map(|name| before(name).ino()), ids.map(|n| before(n).ctime_nsec()));
    fetch_all(&master, &scratch, &copies[0]).expect(0);
    assert_eq!(ids.map(|name| before(name).ino()), inodes);
    assert_eq!(ids.map(|name| before(name).ctime_nsec()), ctimes);
    let digest = |dir: &Path| {
        let mut command = xget();
        command.arg("--print-digest").arg(dir);
        Proc::start(command, &scratch).wait().expect(0).out
    };
    remove_xattr(&source.join("srv/shared/plain"), "trusted.overlay.opaque");
    assert_eq!(digest(&source), digest(&copies[1]));
}

#[test]
fn an_attribute_that_changed_is_mended_where_the_file_is() {
    if lacks_something() {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    make_root(&source);
    let (copy, master) = (scratch.join("copy"), Master::start(&scratch, &source, &[]));
    fetch_all(&master, &scratch, &copy).expect(0);
    let sudo = |dir: &Path| dir.join("bin/sudo");
    let inode = fs::metadata(sudo(&copy)).unwrap().ino();
    // The master sees each of these by itself.
    setcap(&sudo(&source), "cap_setuid+ep");
    setfacl(&source.join("srv/shared"), &["-b"]);
    setfattr(&source.join("bin/ping6"), "trusted.of-a-link", "another");
    setfattr(&source.join("dev/big"), "trusted.of-a-device", "new");
    setfattr(&source, "user.of-the-root", "changed");
    // These are not in the source, but for the labels of a running system.
    setfattr(&copy.join("bin/small"), "user.superfluous", "yes");
    setfattr(&copy.join("bin"), "user.superfluous", "yes");
    setfattr(&copy.join("dev/sda"), "trusted.superfluous", "yes");
    setfattr(&sudo(&copy), "security.selinux", "system_u:object_r:sudo_exec_t:s0");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let again = fetch_all(&master, &scratch, &copy).expect(0);
    assert!(again.moved() < 40_000.0, "the manifest alone: {}", again.out);
    assert!(xattrs(&sudo(&copy)).contains("security.selinux"), "not ours to take away");
    assert_eq!(fs::metadata(sudo(&copy)).unwrap().ino(), inode);
    remove_xattr(&sudo(&copy), "security.selinux");
    // A destination that was there keeps its own attributes, but for its time.
    remove_xattr(&source, "user.of-the-root");
    remove_xattr(&copy, "user.of-the-root");
    assert_same_to_tar(&source, &copy);
}

#[test]
fn what_stands_where_a_device_goes_is_replaced_and_nothing_is_opened() {
    if lacks_something() {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    make_root(&source);
    let copy = scratch.dir("copy");
    fs::create_dir_all(copy.join("dev")).unwrap();
    fs::create_dir_all(copy.join("bin")).unwrap();
    fs::write(copy.join("dev/null"), "a file").unwrap();
    symlink("/dev/null", copy.join("dev/sda")).unwrap();
    node(&copy.join("dev/big"), SFlag::S_IFCHR, (1, 3), 0o600);
    // To open one of these without a writer would take for ever.
    mkfifo(&copy.join("bin/ping"), Mode::from_bits_truncate(0o644)).unwrap();
    mkfifo(&copy.join("bin/empty"), Mode::from_bits_truncate(0o644)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    fetch_all(&master, &scratch, &copy).expect(0);
    remove_xattr(&source, "user.of-the-root");
    chmod(&copy, 0o711);
    chown(&copy, Some(90), Some(12)).unwrap();
    assert_same_to_tar(&source, &copy);
    // A directory is nothing to be replaced.
    fs::remove_file(copy.join("dev/null")).unwrap();
    fs::create_dir(copy.join("dev/null")).unwrap();
    fetch_all(&master, &scratch, &copy).expect(6).says("a directory is in the way");
}

#[test]
fn a_user_gets_what_a_user_can_have() {
    if lacks_something() || lacks(&["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    fs::set_permissions(&scratch.path, Permissions::from_mode(0o777)).unwrap();
    let source = scratch.dir("source");
    make_root(&source);
    let master = Master::start(&scratch, &source, &[]);
    let copy = scratch.join("copy");
    let mut client = command("setpriv");
    client.args(["--reuid=65534", "--regid=65534", "--clear-groups", support::proc::XGET]);
    client.args(["-n", &master.addr(), "--linger", "0", "."]).arg(&copy);
    let ended = Proc::start(client, &scratch).wait().expect(0);
    for name in ["dev/null", "dev/sda", "run/initctl", "run/socket"] {
        assert!(ended.err.contains(&format!("{name}: left out")), "{name}: {}", ended.err);
    }
    assert!(!copy.join("dev/null").exists());
    assert!(xattrs(&copy.join("srv/shared/07")).contains("user.number"));
    assert!(xattrs(&copy.join("srv")).contains("user.mime_type"));
    assert_eq!(xattrs(&copy.join("bin/ping")), "", "silently, as owners are");
    // As root with -s it is the same.
    let plain = scratch.join("plain");
    let ended = master.fetch(&scratch, ["-s".as_ref(), ".".as_ref(), plain.as_os_str()]).expect(0);
    assert!(ended.err.contains("dev/null: left out"), "{}", ended.err);
    assert!(xattrs(&plain.join("srv/shared/07")).contains("user.number"));
    assert_eq!(xattrs(&plain.join("bin/ping")), "");
    setfattr(&plain.join("bin/small"), "user.mine", "stays with -s");
    master.fetch(&scratch, ["-s".as_ref(), ".".as_ref(), plain.as_os_str()]).expect(0);
    assert!(xattrs(&plain.join("bin/small")).contains("user.mine"));
}

#[test]
fn a_file_system_without_extended_attributes_is_an_error_of_each_file_that_has_some() {
    if lacks_something() || !have_own_mounts() {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("capable"), "capable").unwrap();
    fs::write(source.join("plain"), "plain").unwrap();
    setcap(&source.join("capable"), "cap_net_raw+ep");
    let at = scratch.dir("memory");
    run(Command::new("mount").args(["-t", "ramfs", "none"]).arg(&at));
    let master = Master::start(&scratch, &source, &[]);
    let copy = at.join("copy");
    let ended = fetch_all(&master, &scratch, &copy).expect(6);
    let ended = ended.says("cannot set the extended attribute \"security.capability\"");
    ended.says("capable").says("setfattr -x");
    assert_eq!(fs::read(copy.join("plain")).unwrap(), b"plain");
    assert!(!copy.join("capable").exists(), "not without what it is to have");
    let ended = master.fetch(&scratch, ["-s".as_ref(), ".".as_ref(), copy.as_os_str()]);
    ended.expect(0);
    assert!(copy.join("capable").exists());
    run(Command::new("umount").arg(&at));
}

#[test]
fn a_directory_that_hands_down_an_acl_does_so_to_nothing_that_is_fetched() {
    if lacks_something() {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::create_dir(source.join("below")).unwrap();
    for number in 0..20 {
        fs::write(source.join(format!("{number:02}")), noise(number, 500)).unwrap();
    }
    fs::write(source.join("below/large"), noise(1, 100_000)).unwrap();
    fs::write(source.join("below/empty"), "").unwrap();
    symlink("below", source.join("link")).unwrap();
    node(&source.join("null"), SFlag::S_IFCHR, (1, 3), 0o666);
    let copy = scratch.dir("copy");
    setfacl(&copy, &["-d", "-m", "u:1234:rwx,g:5678:rwx"]);
    let master = Master::start(&scratch, &source, &[]);
    fetch_all(&master, &scratch, &copy).expect(0);
    assert!(fs::symlink_metadata(copy.join("null")).unwrap().file_type().is_char_device());
    setfacl(&copy, &["-k"]);
    assert_same_to_tar(&source, &copy);
}

/// As in a chroot that nobody has mounted anything in. Whether digests are known from before
/// makes no difference.
#[test]
fn without_proc_a_master_sees_the_attributes_of_all_files() {
    if lacks_something() || !have_own_mounts() {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for name in ["ping", "plain"] {
        fs::write(source.join(name), noise(1, 50_000)).unwrap();
    }
    setcap(&source.join("ping"), "cap_net_raw+ep");
    symlink("ping", source.join("link")).unwrap();
    let wanted = xattrs(&source.join("ping")).lines().nth(1).unwrap().to_owned();
    // What has changed just now is not kept in the cache.
    let changed_s = fs::metadata(source.join("ping")).unwrap().ctime();
    let now_s = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    until("the files are old enough", 60, || now_s() > changed_s + 3);
    let cache = scratch.join("cache");
    let options = ["--cache", cache.to_str().unwrap()];
    let has_proc = ["/proc is there", "it is not", "it is again"];
    for (round, text) in has_proc.into_iter().enumerate() {
        let hidden = (round == 1).then(|| mount_memory(Path::new("/proc"), "size=1m"));
        let master = Master::start(&scratch, &source, &options);
        let told = master.proc.err() + &master.proc.out();
        assert_eq!(told.contains("/proc: not there: extended attributes of symlinks"), round == 1);
        drop(hidden);
        let copy = scratch.join(format!("copy{round}"));
        master.fetch(&scratch, [".".as_ref(), copy.as_os_str()]).expect(0);
        assert!(xattrs(&copy.join("ping")).contains(&wanted), "{text}");
    }
}
