//! `xgetctl image create` with the real mmdebstrap and the mirror that this machine's apt has: an
//! image that a node would come up from. And with the real dnf and a repository made here.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

#[path = "ctl_support.rs"]
mod ctl;
mod support;

use ctl::Head;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::proc::command;
use support::{lacks, lacks_root};

/// It moves 130 MB, and others use the line.
const SECONDS_MAX: &str = "900";
/// Suites that can be made with the keys of one another's machines.
const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// Fetches the lists anew, and is content with all of them alone: where none are named there are
/// none.
const APT_UPDATE: &str = "rm -r /var/lib/apt/lists; apt-get -o APT::Update::Error-Mode=any update; \
                          ls /var/lib/apt/lists/*Release";

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
    head.says("image check real").expect(0).says("1 image: no errors, 0 warnings");
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
    let update = ["image", "shell", "real", "--dry-run", "--", "sh", "-ec", APT_UPDATE];
    head.run(update).expect(0);
    assert_eq!(head.names(), ["real"], "nor is anything that is half made");
}

/// What an image of dnf wants besides a kernel.
const NAMES: [&str; 11] = [
    "bash",
    "ca-certificates",
    "dnf",
    "iproute",
    "iputils",
    "less",
    "openssh-server",
    "passwd",
    "procps-ng",
    "vim-minimal",
    "systemd",
];

const SPEC: &str = "\
%define _binaries_in_noarch_packages_terminate_build 0
%define _unpackaged_files_terminate_build 0
%define __os_install_post %{nil}
Name: kernel
Version: 1
Release: 1
Summary: x
License: x
BuildArch: noarch
AutoReqProv: no
%description
%files
/boot/vmlinuz-*
/usr/lib/modules
%install
mkdir -p %{buildroot}
cp -a SOURCE/. %{buildroot}
";

/// A key pair, and an agent for it as long as this is held.
struct Signer {
    home: PathBuf,
    name: &'static str,
}

impl Signer {
    fn new(head: &Head, name: &'static str) -> Signer {
        let signer = Signer { home: head.scratch.dir(name), name };
        fs::set_permissions(&signer.home, fs::Permissions::from_mode(0o700)).unwrap();
        signer.gpg(&["--passphrase", "", "--quick-gen-key", name, "rsa2048", "sign", "never"]);
        signer
    }

    fn gpg(&self, args: &[&str]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        run(gpg.arg("--homedir").arg(&self.home).args(["--batch", "--quiet"]).args(args)).stdout
    }

    /// Signs packages of a repository, and lists them.
    fn sign(&self, packages: &Path, name: &str) {
        let all = fs::read_dir(packages.join("noarch")).unwrap();
        let all = all.map(|file| file.unwrap().path());
        let chosen = all.filter(|file| file.to_string_lossy().contains(name));
        let mut sign = Command::new("rpmsign");
        sign.env("GNUPGHOME", &self.home).arg("--addsign");
        sign.args(["--define", &format!("_gpg_name {}", self.name)]);
        run(sign.args(["--define", "__gpg /usr/bin/gpg"]).args(chosen));
        run(Command::new("createrepo_c").arg("--quiet").arg(packages));
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        let _ = end.arg("--homedir").arg(&self.home).args(["--kill", "all"]).status();
    }
}

/// Packages with the names that an image wants.
fn build_packages(head: &Head) -> PathBuf {
    let (source, packages) = (head.scratch.dir("source"), head.scratch.dir("rpms"));
    ctl::make_root(&source);
    let mut spec = SPEC.replace("SOURCE", &source.display().to_string());
    for name in NAMES {
        spec += &format!("%package -n {name}\nSummary: x\nAutoReqProv: no\n");
        spec += &format!("%description -n {name}\n%files -n {name}\n");
    }
    // All else is of the last one.
    spec += "/bin\n/sbin\n/lib\n/etc\n/usr/bin\n/usr/sbin\n/usr/lib/systemd\n";
    let file = head.scratch.join("node.spec");
    fs::write(&file, spec).unwrap();
    let mut build = Command::new("rpmbuild");
    build.arg("-bb").args(["--define", &format!("_rpmdir {}", packages.display())]);
    build.args(["--define", &format!("_topdir {}", head.scratch.dir("top").display())]);
    run(build.arg(&file));
    packages
}

#[test]
#[ignore = "it wants dnf; scripts/test runs it"]
fn an_image_by_dnf_has_a_database_of_its_own_and_packages_that_are_signed() {
    let programs = ["dnf", "rpmbuild", "rpmsign", "createrepo_c", "gpg"];
    if lacks_root() || lacks(&programs) {
        return;
    }
    let head = Head::new();
    let packages = build_packages(&head);
    let signer = Signer::new(&head, "signer");
    signer.sign(&packages, "");
    let key = head.scratch.join("key.asc").display().to_string();
    fs::write(&key, signer.gpg(&["--armor", "--export", "signer"])).unwrap();
    let mirror = format!("file://{}", packages.display());
    let create = ["image", "create", "fedora", "--suite", "fedora-42", "--mirror", &mirror];
    head.run(create).expect(2).says("Name its file with --keyring");
    head.run(create.iter().chain(&["--keyring", &key])).expect(0);
    assert!(head.image("fedora").join("kernel").exists());
    let root = head.image("fedora").join("root");
    assert!(root.join("usr/lib/sysimage/rpm/rpmdb.sqlite").exists());
    for gone in ["root/.rpmmacros", "root/.rpmdb", "var/cache/dnf"] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
    // A package that somebody else made in its place.
    Signer::new(&head, "stranger").sign(&packages, "less-1-1");
    let create = ["image", "create", "rocky", "--suite", "rocky-9", "--mirror", &mirror];
    head.run(create.iter().chain(&["--keyring", &key])).expect(6).says("less-1-1.noarch");
    assert_eq!(head.names(), ["fedora"]);
}
