//! `xgetctl image create` with the real mmdebstrap and the mirror that this machine's apt has: an
//! image that a node would come up from.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

#[path = "ctl_support.rs"]
mod ctl;
mod support;

use ctl::Head;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};
use support::proc::command;
use support::{lacks, lacks_root};

/// It moves 130 MB, and others use the line.
const SECONDS_MAX: &str = "900";
/// Suites that can be made with the keys of one another's machines.
const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// A Debian suite that apt knows here, and its mirror; where it knows none mmdebstrap does.
fn suite_and_mirror() -> (String, Option<String>) {
    let targets = Command::new("apt-get")
        .args(["indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"])
        .output()
        .unwrap();
    let targets = String::from_utf8(targets.stdout).unwrap();
    let mut lines = targets.lines().filter_map(|line| line.split_once(' '));
    match lines.find(|(suite, _)| SUITES.contains(suite)) {
        Some((suite, mirror)) => (suite.into(), Some(mirror.into())),
        None => (SUITES[0].into(), None),
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
#[ignore = "it moves 130 MB; scripts/test runs it"]
fn a_real_image_is_made_and_has_nothing_that_keeps_a_node_from_coming_up() {
    if lacks_root() || lacks(&["mmdebstrap", "getcap"]) {
        return;
    }
    let head = Head::with_real_initrds();
    let (suite, mirror) = suite_and_mirror();
    let mut create = command("timeout");
    create.arg(SECONDS_MAX).arg(ctl::XGETCTL).arg("--root").arg(&head.dir);
    create.args(["image", "create", "real", "--suite", &suite]);
    create.args(mirror.iter().flat_map(|mirror| ["--mirror", mirror]));
    create.args(["--kernel", "linux-image-cloud-amd64"]);
    for (name, value) in head.command([""]).get_envs() {
        create.env(name, value.unwrap_or_default());
    }
    run(&mut create);
    head.says("image check real").expect(0).says("1 images: no errors, 0 warnings");
    let image = head.image("real");
    for part in ["kernel", "initrd", "root/usr/lib/systemd/systemd", "root/usr/local/bin/xget"] {
        assert!(fs::metadata(image.join(part)).unwrap().len() > 0, "{part}");
    }
    let root = image.join("root");
    let is_there = |path: &str| root.join(path).symlink_metadata().is_ok();
    assert_eq!(fs::read(root.join("etc/machine-id")).unwrap(), b"");
    let keys = fs::read_dir(root.join("etc/ssh")).unwrap();
    let keys = keys.filter(|key| key.as_ref().unwrap().path().to_string_lossy().contains("_key"));
    assert_eq!(keys.count(), 0);
    assert!(!is_there("etc/hostname") && !is_there("boot/initrd.img"));
    assert!(is_there("etc/systemd/system/multi-user.target.wants/systemd-networkd.service"));
    // A user's ping, and a program that changes the user: attributes and modes are kept.
    let ping = run(Command::new("getcap").arg(root.join("usr/bin/ping")));
    assert!(String::from_utf8_lossy(&ping.stdout).contains("cap_net_raw"), "{ping:?}");
    assert_eq!(fs::metadata(root.join("usr/bin/su")).unwrap().mode() & 0o7777, 0o4755);
    let shown = head.says("image show real --json").expect(0).out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["root_digest"].as_str().is_some_and(|d| d.starts_with("blake3:")), "{shown}");
    // And apt works in it: the mirror is there, and its keys.
    let update = ["image", "shell", "real", "--dry-run", "--", "apt-get", "check"];
    head.run(update).expect(0);
    assert_eq!(head.names(), ["real"]);
    assert!(!Path::new(&head.dir).join("images/.xget").exists());
}
