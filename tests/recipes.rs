//! docs/recipes.md, as it stands: each block is run on a head with three nodes, by ssh.
//!
//! A block is four spaces deep, and a comment above it says where it is run: `head`, `node NAME`,
//! or `file NAME`, which it is the contents of. `each: CHECK` and `on NAME: CHECK` say what has to
//! be true on all nodes, or one, when it has ended; `$ORIG` is what the head serves.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::lab::Lab;
use support::mounts::LoopDevice;
use support::proc::{Proc, XGET, command};
use support::{Scratch, lacks, noise, until};

const NODES: usize = 3;

/// A block of the page.
#[derive(Default)]
struct Block {
    /// What the comments above it say.
    marks: Vec<String>,
    text: String,
    line: usize,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut next) = (Vec::new(), Block::default());
    for (number, line) in page.lines().enumerate() {
        if let Some(code) = line.strip_prefix("    ") {
            next.line = next.line.max(number + 1);
            next.text.extend([code, "\n"]);
        } else if !next.text.is_empty() && !line.is_empty() {
            blocks.push(std::mem::take(&mut next));
        } else if !next.text.is_empty() {
            next.text.push('\n');
        }
        if let Some(mark) = line.strip_prefix("<!-- ").and_then(|mark| mark.strip_suffix(" -->")) {
            next.marks.push(mark.into());
        }
    }
    blocks.extend((!next.text.is_empty()).then_some(next));
    blocks
}

/// A machine: a network, processes and a few directories of its own.
struct Machine {
    /// Ends with the test, and all of the machine with it.
    _unshare: Proc,
    /// The first process in it.
    pid: String,
}

impl Machine {
    /// `main` runs until the test ends.
    fn start(scratch: &Scratch, name: &str, main: &str) -> Machine {
        let dir = scratch.path.display();
        let (ready, root) =
            (scratch.join(format!("{name}.ready")), scratch.dir(&format!("{name}.root")));
        let script = format!(
            "set -e; mount --make-rprivate /; hostname {name}; export HOME=/root
             for dir in /srv /usr/local/bin /run /root; do mount -t tmpfs tmpfs $dir; done
             chmod 700 /root; mkdir /run/sshd; cp {XGET} /usr/local/bin/xget; mount --bind {dir}/hosts /etc/hosts
             mkdir -m 700 /root/.ssh; cp {dir}/key {dir}/config /root/.ssh/; cp {dir}/key.pub /root/.ssh/authorized_keys
             mount --bind {root} /var/log; readlink /proc/self >{ready}.part; mv {ready}.part {ready}
             {main}",
            root = root.display(),
            ready = ready.display(),
        );
        let mut unshare = command("unshare");
        unshare.args(["--mount", "--uts", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]);
        unshare.args(["sh", "-c", &script]);
        let unshare = Proc::start(unshare, scratch);
        until("the machine is up", 30, || {
            let up = ready.exists();
            assert!(up || !unshare.err().contains("cannot"), "{}", unshare.err());
            up
        });
        let children = format!("/proc/{0}/task/{0}/children", unshare.pid());
        let pid = fs::read_to_string(children).unwrap().trim().to_string();
        Machine { _unshare: unshare, pid }
    }

    fn command(&self, scratch: &Scratch, line: &str) -> Command {
        let mut inside = command("nsenter");
        inside.args(["-t", &self.pid, "--mount", "--uts", "--net", "--pid"]);
        inside.args(["bash", "-e", "-o", "pipefail", "-c"]).arg(format!("cd; {line}"));
        inside
            .env("ORIG", scratch.join("images"))
            .env("HOME", "/root")
            .env_remove("XDG_CACHE_HOME");
        inside.env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        inside
    }

    fn run(&self, scratch: &Scratch, what: &str, line: &str) {
        let ended = Proc::start(self.command(scratch, line), scratch).wait();
        let said = format!("{}{}", ended.out, ended.err);
        assert_eq!(ended.status, 0, "{what}:\n{line}\nends with {}: {said}", ended.status);
    }
}

/// What the head serves, and what all machines have: names, a key, the way to each other by ssh.
fn prepare(scratch: &Scratch) -> PathBuf {
    let images = scratch.dir("images");
    fs::create_dir_all(images.join("debian/etc")).unwrap();
    fs::write(images.join("debian/kernel"), noise(1, 200_000)).unwrap();
    fs::write(images.join("debian/etc/hostname"), "debian\n").unwrap();
    fs::write(images.join("disk.img"), noise(2, 3_000_000)).unwrap();
    let tar = command("tar")
        .args(["-C", images.to_str().unwrap(), "-czf"])
        .arg(images.join("root.tar.gz"))
        .arg("debian")
        .status();
    assert!(tar.unwrap().success());
    fs::create_dir_all(scratch.join("mirror/releases")).unwrap();
    fs::write(scratch.join("mirror/releases/small.img"), noise(3, 100_000)).unwrap();
    let mut hosts = format!("127.0.0.1 localhost\n{} head mirror\n", Lab::ip(0));
    (1..=NODES).for_each(|node| hosts += &format!("{} n{node}\n", Lab::ip(node)));
    fs::write(scratch.join("hosts"), hosts).unwrap();
    let config = "Host *\n IdentityFile /root/.ssh/key\n StrictHostKeyChecking no\n \
                  UserKnownHostsFile /dev/null\n LogLevel ERROR\n";
    fs::write(scratch.join("config"), config).unwrap();
    for key in ["key", "hostkey"] {
        let made = command("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(scratch.join(key))
            .status();
        assert!(made.unwrap().success());
    }
    let sshd = format!(
        "HostKey {}\nUsePAM no\nPermitRootLogin yes\nPidFile none\nMaxStartups 100\n",
        scratch.join("hostkey").display()
    );
    fs::write(scratch.join("sshd_config"), sshd).unwrap();
    images
}

#[test]
fn every_recipe_does_what_it_says() {
    let tools =
        ["sshd", "ssh", "clush", "pdsh", "ansible-playbook", "nsenter", "pkill", "tar", "python3"];
    if lacks(&tools) {
        return;
    }
    let Some(lab) = Lab::new(NODES + 1) else { return };
    let scratch = Scratch::new();
    let images = prepare(&scratch);
    let disk =
        |node: usize| LoopDevice::filled(&scratch.join(format!("disk{node}")), 4 << 20, 0xaa);
    let disks: Vec<LoopDevice> = (1..=NODES).filter_map(disk).collect();
    if disks.len() < NODES {
        return;
    }
    let main = |node: usize| match node {
        0 => format!(
            "mkdir /srv/images; mount --bind {} /srv/images; python3 -m http.server -d {} 80",
            images.display(),
            scratch.join("mirror").display()
        ),
        _ => format!(
            "mkdir -p /dev/disk; mount -t tmpfs tmpfs /dev/disk; mkdir /dev/disk/by-path
             ln -s {} /dev/disk/by-path/pci-0000:01:00.0-nvme-1
             /usr/sbin/sshd -D -e -f {}; sleep 600",
            disks[node - 1].as_str(),
            scratch.join("sshd_config").display()
        ),
    };
    let name = |node: usize| if node == 0 { "head".into() } else { format!("n{node}") };
    let start = |node: usize| {
        (name(node), lab.on(node, || Machine::start(&scratch, &name(node), &main(node))))
    };
    let machines: BTreeMap<String, Machine> = (0..=NODES).map(start).collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipes.md");
    for block in blocks(&fs::read_to_string(page).unwrap()) {
        let what = format!("recipes.md, line {}", block.line);
        let mut is_run = false;
        for mark in &block.marks {
            let (place, check) = mark.split_once(": ").unwrap_or((mark, ""));
            match place.split_once(' ').unwrap_or((place, "")) {
                ("head", "") => machines["head"].run(&scratch, &what, &block.text),
                ("node", name) => machines[name].run(&scratch, &what, &block.text),
                ("file", name) => {
                    let write = format!("cat >{name} <<'END'\n{}END\n", block.text);
                    machines["head"].run(&scratch, &what, &write);
                }
                ("each", "") => {
                    (1..=NODES).for_each(|n| machines[&name(n)].run(&scratch, &what, check));
                }
                ("on", name) => machines[name].run(&scratch, &what, check),
                _ => panic!("{what}: {mark:?} says nothing"),
            }
            is_run |= check.is_empty();
        }
        assert!(is_run, "{what}: nobody tries it");
    }
}
