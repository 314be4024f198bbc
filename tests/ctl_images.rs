//! Images as an administrator makes and changes them, on a served directory of the test's own.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

#[path = "ctl_support.rs"]
mod ctl;
mod support;

use ctl::{Head, VERSION, add_kernel, make_root};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use support::proc::{Master, Proc, XGET};
use support::tree::{assert_same, look};
use support::{lacks, lacks_root, until};

/// A head with one image, imported from `root` in the scratch directory.
fn head_with(name: &str) -> Option<Head> {
    (!lacks_root() && !lacks(&["busybox", "unshare"])).then(|| import_into(Head::new(), name))
}

fn import_into(head: Head, name: &str) -> Head {
    make_root(&head.scratch.dir("root"));
    head.run(["image", "import", name, head.scratch.join("root").to_str().unwrap()]).expect(0);
    head
}

/// Processes that have these words on their command line.
fn processes(words: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if let Ok(pid) = entry.file_name().to_string_lossy().parse()
            && line.contains(words)
        {
            found.push(Pid::from_raw(pid));
        }
    }
    found
}

#[test]
fn an_image_is_fit_for_many_nodes() {
    if lacks_root() || lacks(&["busybox", "depmod", "zstd"]) {
        return;
    }
    let head = import_into(Head::with_real_initrds(), "debian");
    let image = head.image("debian");
    assert_eq!(fs::read(image.join("root/etc/machine-id")).unwrap(), b"");
    for gone in ["srcpkgcache.bin", "archives/htop.deb"] {
        assert!(!image.join("root/var/cache/apt").join(gone).exists(), "{gone}");
    }
    assert!(!image.join("root/etc/ssh/ssh_host_ed25519_key").exists());
    for unit in ["xget-up", "xget-ssh-keys"] {
        let dir = image.join("root/etc/systemd/system");
        let unit = format!("{unit}.service");
        let to = fs::read_link(dir.join("multi-user.target.wants").join(&unit)).unwrap();
        assert_eq!(to, Path::new("/etc/systemd/system").join(&unit));
        assert!(dir.join(&unit).exists());
    }
    assert!(image.join("root/usr/local/bin/xget").metadata().unwrap().mode() & 0o111 == 0o111);
    assert_eq!(fs::read(image.join("kernel")).unwrap(), ctl::kernel(VERSION));
    let initrd = fs::read(image.join("initrd")).unwrap();
    assert!(initrd.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "no zstd");
    assert!(image.join("cmdline").exists());
    // What it was made of is as it was.
    assert!(head.scratch.join("root/etc/ssh/ssh_host_ed25519_key").exists());
    assert_eq!(head.names(), ["debian"]);
}

#[test]
fn a_root_with_sysvinit_gets_scripts() {
    if lacks_root() || lacks(&["busybox"]) {
        return;
    }
    let head = Head::new();
    let root = head.scratch.dir("root");
    make_root(&root);
    fs::remove_dir_all(root.join("usr/lib/systemd")).unwrap();
    (2..=5).for_each(|level| fs::create_dir_all(root.join(format!("etc/rc{level}.d"))).unwrap());
    head.run(["image", "import", "old", root.to_str().unwrap()]).expect(0);
    let link = head.image("old").join("root/etc/rc3.d/S99xget-up");
    assert_eq!(fs::read_link(link).unwrap(), Path::new("../init.d/xget-up"));
    assert!(head.image("old").join("root/etc/init.d/xget-ssh-keys").exists());
}

#[test]
fn images_are_listed_copied_and_removed() {
    let Some(head) = head_with("debian") else { return };
    head.says("image clone debian other").expect(0);
    assert_same(&head.image("debian"), &head.image("other"));
    let listed = head.says("image list").expect(0);
    assert!(listed.out.lines().count() == 3 && listed.out.contains(VERSION), "{}", listed.out);
    let json = head.says("image list --json").expect(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["name"], &json[0]["root"]), (&"debian".into(), &"dir".into()));
    assert_eq!(json[1]["kernel"], VERSION);
    assert!(json[1]["node_bytes"].as_u64().unwrap() > 150 << 20);
    head.says("image clone debian other").expect(2).says("there is an image other already");
    head.says("image rm debian nothing").expect(4).says("there is: debian, other");
    head.says("image rm debian --dry-run").expect(0).says("would remove");
    assert_eq!(head.names(), ["debian", "other"]);
    head.says("image rm debian").expect(0);
    assert_eq!(head.names(), ["other"]);
    head.says("image rm ../srv").expect(2).says("is no name for an image");
}

/// What is done to the copy must not be done to what a link leads to.
#[test]
fn a_link_to_a_directory_is_not_taken_for_it() {
    let Some(head) = head_with("debian") else { return };
    let (root, link) = (head.scratch.join("root"), head.scratch.join("link"));
    let before = look(&root);
    std::os::unix::fs::symlink(&root, &link).unwrap();
    head.run(["image", "import", "linked", link.to_str().unwrap()]).expect(0);
    assert!(!head.image("linked").join("root").symlink_metadata().unwrap().is_symlink());
    assert_eq!(look(&root), before);
    let other = head.scratch.dir("other");
    fs::rename(head.image("linked"), other.join("image")).unwrap();
    std::os::unix::fs::symlink(other.join("image"), head.image("linked")).unwrap();
    head.says("image shell linked -- touch /made").expect(0);
    assert!(!other.join("image/root/made").exists());
    assert!(head.image("linked").join("root/made").exists());
    fs::rename(head.image("linked").join("root"), other.join("root")).unwrap();
    std::os::unix::fs::symlink(other.join("root"), head.image("linked").join("root")).unwrap();
    head.says("image shell linked -- touch /again").expect(6).says("Not a directory");
    assert!(!other.join("root/again").exists());
    head.run(["image", "import", "all", head.scratch.path.to_str().unwrap()])
        .expect(2)
        .says("holds the place that it is to be copied to");
}

#[test]
fn what_is_only_said_is_not_done() {
    let Some(head) = head_with("debian") else { return };
    head.stand_in("mmdebstrap", "exit 1");
    let before = look(&head.dir);
    for line in [
        "image create new --suite bookworm --dry-run",
        "image create debian --suite bookworm --replace --dry-run",
        "image import new /etc --dry-run",
        "image clone debian new --dry-run",
        "image rm debian --dry-run",
        "image build debian --squashfs --dry-run",
    ] {
        head.says(line).expect(0).says("would ");
        assert_eq!(look(&head.dir), before, "{line}");
    }
    head.says("image shell debian --dry-run -- touch /made").expect(0).says("as it was");
    // The directory that the copy lay in has another time.
    let without_top = |mut seen: std::collections::BTreeMap<_, _>| {
        seen.remove(Path::new("images"));
        seen
    };
    assert_eq!(without_top(look(&head.dir)), without_top(before));
}

#[test]
fn a_build_follows_the_newest_kernel_and_the_compressed_root() {
    let Some(head) = head_with("debian") else { return };
    if lacks(&["mksquashfs", "mkfs.erofs"]) {
        return;
    }
    let image = head.image("debian");
    add_kernel(&image.join("root"), "6.1.0-10-test");
    add_kernel(&image.join("root"), "6.1.0-9-test");
    head.says("image build debian --squashfs").expect(0);
    assert_eq!(fs::read(image.join("kernel")).unwrap(), ctl::kernel("6.1.0-10-test"));
    assert_eq!(fs::read(image.join("initrd")).unwrap(), b"6.1.0-10-test\n");
    assert!(fs::read(image.join("root.squashfs")).unwrap().starts_with(b"hsqs"));
    let made = image.join("root.squashfs").metadata().unwrap().ino();
    // It is made anew with every change of the root.
    head.says("image shell debian -- touch /etc/new").expect(0);
    assert_ne!(image.join("root.squashfs").metadata().unwrap().ino(), made);
    head.says("image list").expect(0).says("squashfs");
    // One file alone takes its place by itself: the root is not copied.
    let root = image.join("root").metadata().unwrap().ino();
    fs::remove_file(image.join("root.squashfs")).unwrap();
    head.says("image build debian").expect(0);
    assert_eq!(image.join("root").metadata().unwrap().ino(), root);
    head.says("image build debian --erofs").expect(0);
    head.says("image list").expect(0).says("erofs");
    assert_eq!(head.names(), ["debian"]);
}

#[test]
fn a_shell_changes_an_image_when_all_went_well() {
    let Some(head) = head_with("debian") else { return };
    let root = head.image("debian").join("root");
    head.says("image shell debian -- sh -c test!-e/dev/null").expect(6).says("127");
    assert!(!root.join("made").exists());
    let script = "test -c /dev/null && test -e /proc/self && test ! -e /run/nothing && \
                  test -x /usr/sbin/policy-rc.d && touch /made";
    let args = ["image", "shell", "debian", "--", "sh", "-c", script];
    head.run(args).expect(0).says("debian is changed");
    assert!(root.join("made").exists());
    let failing = ["image", "shell", "debian", "--", "sh", "-c", "rm /made; exit 3"];
    head.run(failing).expect(6).says("status 3").says("debian is as it was");
    assert!(root.join("made").exists());
    // Of what was there for the time of the shell nothing stays.
    for gone in ["usr/sbin/policy-rc.d", "etc/resolv.conf", "dev/null", "run/lock"] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
    assert_eq!(head.names(), ["debian"]);
}

/// However it ends: nothing is mounted, nothing runs, nothing lies about.
#[test]
fn nothing_is_left_of_a_shell_that_is_ended() {
    let Some(head) = head_with("debian") else { return };
    let mounts = || fs::read_to_string("/proc/self/mounts").unwrap();
    let before = mounts();
    let ends = [(Signal::SIGTERM, 1), (Signal::SIGHUP, 1), (Signal::SIGKILL, 137)];
    for (nth, (signal, status)) in ends.into_iter().enumerate() {
        let seconds = format!("{}", 86_000 + nth as u32 * 1000 + std::process::id() % 1000);
        let sleep = format!("sleep {seconds}");
        let script = format!("touch /made; touch /proc/sys/kernel/hostname; {sleep}");
        let args = ["image", "shell", "debian", "--", "sh", "-c", &script];
        let shell = Proc::start(head.command(args), &head.scratch);
        // Several have its words: those that lead to it, too.
        let sleeps = || {
            let found = processes(&sleep);
            found.into_iter().filter(|pid| {
                fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.starts_with(b"sleep"))
            })
        };
        until("the command runs", 60, || sleeps().count() == 1);
        shell.signal(signal);
        shell.wait().expect(status);
        until("all of it has ended", 20, || processes(&sleep).is_empty());
        assert_eq!(mounts(), before, "{signal}");
        assert!(!head.image("debian").join("root/made").exists());
    }
    // What SIGKILL left is swept by the next.
    head.says("image clone debian other").expect(0);
    assert_eq!(head.names(), ["debian", "other"]);
}

#[test]
fn a_distribution_is_made_by_its_own_tool() {
    if lacks_root() || lacks(&["busybox"]) {
        return;
    }
    let head = Head::new();
    let root = head.scratch.dir("root");
    make_root(&root);
    fs::write(root.join("etc/hostname"), "the builder\n").unwrap();
    fs::create_dir_all(root.join("usr/lib/systemd/system")).unwrap();
    fs::write(root.join("usr/lib/systemd/systemd-networkd"), "").unwrap();
    fs::write(root.join("usr/lib/systemd/system/systemd-networkd.service"), "").unwrap();
    fs::write(root.join(format!("boot/initrd.img-{VERSION}")), "large").unwrap();
    let made = head.scratch.join("args");
    let script = format!(
        "echo \"$@\" >{}\nfor to; do :; done\ncp -a {} \"$to\"\n",
        made.display(),
        root.display()
    );
    head.stand_in("mmdebstrap", &script);
    head.says("image create debian --suite bookworm --include htop,tmux --include git").expect(0);
    let args = fs::read_to_string(&made).unwrap();
    for words in ["--variant=minbase", "linux-image-", "htop", "tmux", "git", "bookworm"] {
        assert!(args.contains(words), "{words}: {args}");
    }
    let root = head.image("debian").join("root");
    for gone in [&format!("boot/initrd.img-{VERSION}"), "etc/hostname", "etc/resolv.conf"] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
    let network = fs::read_to_string(root.join("etc/systemd/network/80-xget.network")).unwrap();
    assert!(network.contains("ClientIdentifier=mac"));
    head.says("image create debian --suite bookworm").expect(2).says("already");
    head.says("image create other --suite windows").expect(2).says("is not known");
    head.stand_in("mmdebstrap", "echo E: no mirror >&2; exit 25");
    head.says("image create other --suite trixie").expect(6).says("status 25").says("no mirror");
    assert_eq!(head.names(), ["debian"]);
}

#[test]
fn an_interrupted_create_leaves_nothing_and_can_be_run_again() {
    if lacks_root() {
        return;
    }
    let head = Head::new();
    let mark = head.scratch.join("runs");
    let number = 86_000 + std::process::id() % 1000;
    let script =
        format!("for to; do :; done\nmkdir \"$to\"\n: >{}\nsleep {number}.5", mark.display());
    head.stand_in("mmdebstrap", &script);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let create = head.start("image create debian --suite bookworm");
        until("it runs", 30, || mark.exists());
        fs::remove_file(&mark).unwrap();
        create.signal(signal);
        create.wait().expect(1).says("interrupted").within(30);
        until("its program has ended", 10, || processes(&format!("sleep {number}.5")).is_empty());
        assert!(head.names().is_empty(), "{signal}: {:?}", head.names());
    }
}

/// The files of an image in two states, each with the other's names.
fn make_state(dir: &Path, state: &str) {
    fs::create_dir_all(dir).unwrap();
    for nth in 0..400 {
        fs::write(dir.join(format!("file{nth}")), format!("{state} {nth}").repeat(500)).unwrap();
    }
}

/// What a node has is one of the states, and never some of both.
#[test]
fn an_image_that_is_replaced_while_it_is_served_is_never_a_mixture() {
    if lacks_root() {
        return;
    }
    let head = Head::new();
    let states = ["one", "two"].map(|state| {
        make_state(&head.scratch.dir("roots").join(state), state);
        head.scratch.join("roots").join(state)
    });
    let import = |nth: usize| {
        let from = states[nth % 2].to_str().unwrap().to_owned();
        head.run(["image", "import", "debian", "--replace", &from]).expect(0);
    };
    import(0);
    let master = Master::start(&head.scratch, &head.dir, &[]);
    let mut seen = BTreeSet::new();
    for nth in 1..=6 {
        let fetches = (0..3).map(|client| {
            let copy = head.scratch.join(format!("copy-{nth}-{client}"));
            (
                copy.clone(),
                Proc::start(
                    master.client(["images/debian/.".as_ref(), copy.as_os_str()]),
                    &head.scratch,
                ),
            )
        });
        let fetches: Vec<_> = fetches.collect();
        import(nth);
        for (copy, fetch) in fetches {
            let ended = fetch.wait();
            assert!([0, 4].contains(&ended.status), "{}: {}", ended.status, ended.err);
            let root = copy.join("root");
            let states: BTreeSet<String> = fs::read_dir(&root)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("file"))
                .map(|path| fs::read_to_string(path).unwrap().split(' ').next().unwrap().to_owned())
                .collect();
            assert!(states.len() <= 1, "a mixture: {states:?}, status {}", ended.status);
            if ended.status == 0 {
                assert_eq!(states.len(), 1);
                assert_eq!(fs::read_dir(&root).unwrap().count(), 401, "usr and 400 files");
                seen.extend(states);
            }
        }
    }
    let copy = head.scratch.join("last");
    // Who joins within a second of the master's last look is given what that saw.
    until("the last state is fetched", 30, || {
        let ended = master.fetch(&head.scratch, ["images/debian/.".as_ref(), copy.as_os_str()]);
        assert!([0, 4].contains(&ended.status), "{}: {}", ended.status, ended.err);
        ended.status == 0
    });
    assert_same(&head.image("debian"), &copy);
    assert!(!seen.is_empty());
}

#[test]
fn the_command_line_explains_itself() {
    let head = Head::new();
    head.says("--help").expect(0).says("exit status").says("image");
    head.says("--version").expect(0);
    head.says("image").expect(2);
    head.says("nonsense").expect(2);
    head.says("completion bash").expect(0).says("xgetctl");
    head.says("man").expect(0).says(".TH xgetctl");
    let pages = head.scratch.join("man");
    head.run(["man", "--dir", pages.to_str().unwrap()]).expect(0);
    assert!(pages.join("xgetctl-image-create.1").exists());
    // A reader that goes away is no failure.
    let line = format!("'{}' man | head -c 1; exit \"${{PIPESTATUS[0]}}\"", ctl::XGETCTL);
    let status = std::process::Command::new("bash").args(["-c", &line]).status().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn an_image_is_shown_with_its_digests() {
    let Some(head) = head_with("debian") else { return };
    let mut command = head.command(["image", "show", "debian", "--json"]);
    command.env("XGET_BINARY", XGET);
    let json = Proc::start(command, &head.scratch).wait().expect(0).out;
    let shown: serde_json::Value = serde_json::from_str(&json).unwrap();
    let taken = support::proc::xget()
        .arg("--print-digest")
        .arg(&head.dir)
        .args(["kernel", "cmdline", "initrd"].map(|name| format!("images/debian/{name}")))
        .output()
        .unwrap();
    assert_eq!(shown["digest"], String::from_utf8(taken.stdout).unwrap().trim());
    assert!(shown["root_digest"].as_str().unwrap().starts_with("blake3:"));
    assert_eq!((&shown["kernel"], &shown["root"]), (&VERSION.into(), &"dir".into()));
    assert!(shown["tally"]["tmpfs_bytes"].as_u64().unwrap() > 1 << 20);
    // A pin of what nothing starts would be refused by the node.
    fs::remove_file(head.image("debian").join("kernel")).unwrap();
    let mut command = head.command(["image", "show", "debian", "--json"]);
    command.env("XGET_BINARY", XGET);
    let json = Proc::start(command, &head.scratch).wait().expect(0).out;
    let shown: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(shown["digest"].is_null() && shown["root_digest"].is_string(), "{json}");
}

#[test]
fn a_check_says_what_keeps_a_node_from_coming_up() {
    if lacks_root() || lacks(&["busybox", "depmod", "zstd"]) {
        return;
    }
    let head = import_into(Head::with_real_initrds(), "debian");
    let image = head.image("debian");
    let root = image.join("root");
    // This initrd has no modules, as the kernel has none; its directory is enough.
    head.says("image check").expect(0).says("1 image: no errors, 0 warnings");
    let check = |words: &str| {
        head.says("image check debian").expect(5).says(words);
    };
    let moved = |path: &Path, words: &str| {
        let away = head.scratch.join("away");
        fs::rename(path, &away).unwrap();
        check(words);
        fs::rename(&away, path).unwrap();
    };
    fs::rename(image.join("kernel"), head.scratch.join("away")).unwrap();
    head.says("image check debian").expect(0).says("nodes keep the kernel that started the agent");
    fs::rename(head.scratch.join("away"), image.join("kernel")).unwrap();
    moved(&image.join("initrd"), "an image with a root needs it");
    moved(&root.join("usr/lib/modules"), "no modules for the image's kernel");
    moved(&root.join("usr/sbin/init"), "has nothing to start");
    fs::write(image.join("kernel"), ctl::kernel("6.9-other")).unwrap();
    check("and not of 6.9-other");
    fs::write(image.join("kernel"), "\x7fELF").unwrap();
    check("too short for a kernel");
    fs::write(image.join("kernel"), ctl::kernel(VERSION)).unwrap();
    fs::create_dir_all(head.dir.join("layers/all/lib/firmware")).unwrap();
    check("takes the place of a symbolic link of the image debian");
    fs::remove_dir_all(head.dir.join("layers/all")).unwrap();
    head.says("image check").expect(0);
}

#[test]
fn a_check_warns_of_what_everybody_can_read() {
    let Some(head) = head_with("debian") else { return };
    let root = head.image("debian").join("root");
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n";
    let ssh = head.dir.join("layers/all/root/.ssh");
    fs::create_dir_all(&ssh).unwrap();
    fs::write(ssh.join("id"), key).unwrap();
    fs::write(root.join("etc/ssh/ssh_host_rsa_key"), key).unwrap();
    fs::write(root.join("etc/shadow"), "root:$y$j9T$x$y:19000::::::\n").unwrap();
    fs::write(root.join("etc/machine-id"), "0123\n").unwrap();
    fs::write(root.join("etc/fstab"), "UUID=0-1 / ext4\n").unwrap();
    std::os::unix::fs::symlink("gone", root.join("dangling")).unwrap();
    std::os::unix::fs::chown(ssh.join("id"), Some(4242), None).unwrap();
    let json = head.says("image check --json").out;
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    let has = |place: &str, what: &str| {
        let text = |one: &serde_json::Value, name: &str| one[name].as_str().unwrap().to_owned();
        let mut all = found.as_array().unwrap().iter();
        let there =
            all.any(|one| text(one, "place").ends_with(place) && text(one, "what").contains(what));
        assert!(there, "{place}: {what} is not in {json}");
    };
    has("layers/all/root/.ssh/id", "private key");
    has("layers/all/root/.ssh/id", "belongs to 4242:0");
    has("root/etc/ssh/ssh_host_rsa_key", "one machine's");
    has("root/etc/shadow", "1 hashes of passwords");
    has("root/etc/machine-id", "one machine's");
    has("root/etc/fstab", "UUID=0-1");
    has("root/dangling", "leads nowhere");
}
