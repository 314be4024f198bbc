//! Nodes in network namespaces on one bridge, with links as slow as wanted.
//!
//! A namespace lives as long as somebody holds its descriptor: when the test
//! ends, however it ends, nothing is left of it.

use super::{lacks, lacks_root};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::process::Command;

pub const PORT: u16 = 20_004;

pub struct Lab {
    hub: File,
    nodes: Vec<File>,
}

fn own_namespace() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

fn new_namespace() -> File {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        own_namespace()
    });
    made.join().unwrap()
}

/// Runs `what` in a network namespace; processes started there stay there.
fn inside<T>(namespace: &File, what: impl FnOnce() -> T) -> T {
    let home = own_namespace();
    setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(what));
    setns(&home, CloneFlags::CLONE_NEWNET).unwrap();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn run(line: &str) {
    said(line);
}

/// What a command says.
fn said(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Lab {
    /// `None` (with a word why) where this cannot be had.
    pub fn new(count: usize) -> Option<Lab> {
        if lacks_root() || lacks(&["ip", "tc"]) {
            return None;
        }
        let hub = new_namespace();
        let nodes: Vec<File> = (0..count).map(|_| new_namespace()).collect();
        inside(&hub, || run("ip link add hub up type bridge"));
        for (number, node) in nodes.iter().enumerate() {
            let (pid, fd) = (std::process::id(), node.as_raw_fd());
            inside(&hub, || {
                run(&format!(
                    "ip link add port{number} type veth peer name eth0 netns /proc/{pid}/fd/{fd}"
                ));
                run(&format!("ip link set port{number} master hub up"));
            });
            inside(node, || {
                run("ip link set lo up");
                run(&format!("ip addr add {}/24 dev eth0", Lab::ip(number)));
                run("ip link set eth0 up");
            });
        }
        Some(Lab { hub, nodes })
    }

    pub fn ip(node: usize) -> String {
        format!("10.99.0.{}", node + 1)
    }

    pub fn on<T>(&self, node: usize, what: impl FnOnce() -> T) -> T {
        inside(&self.nodes[node], what)
    }

    /// So fast and no faster, both ways, on every link.
    pub fn shape(&self, megabits: u32) {
        for number in 0..self.nodes.len() {
            self.shape_one(number, megabits);
        }
    }

    pub fn shape_one(&self, number: usize, megabits: u32) {
        let slow = |dev: &str| {
            // A tbf that is replaced may never send again.
            if said(&format!("tc qdisc show dev {dev} root")).contains(" tbf ") {
                run(&format!("tc qdisc del dev {dev} root"));
            }
            let rate = format!("rate {megabits}mbit burst 128kb latency 100ms");
            run(&format!("tc qdisc add dev {dev} root tbf {rate}"));
        };
        self.on(number, || slow("eth0"));
        inside(&self.hub, || slow(&format!("port{number}")));
    }

    /// The cable is cut: nothing passes, and nobody is told.
    pub fn cut(&self, number: usize) {
        inside(&self.hub, || run(&format!("ip link set port{number} nomaster")));
    }

    /// Bytes that left a node by its link.
    pub fn sent_bytes(&self, node: usize) -> u64 {
        self.link_figure(node, 9)
    }

    /// Bytes that came to a node by its link.
    pub fn received_bytes(&self, node: usize) -> u64 {
        self.link_figure(node, 1)
    }

    /// A column of its line in proc_net_dev(5).
    fn link_figure(&self, node: usize, column: usize) -> u64 {
        let table = self.on(node, || fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        let line = table.lines().find(|line| line.trim().starts_with("eth0:")).unwrap();
        line.split_whitespace().nth(column).unwrap().parse().unwrap()
    }
}
