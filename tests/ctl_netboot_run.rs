//! `xgetctl netboot --run` in a network of its own: machines that ask for an address, and
//! fetch by TFTP, HTTP and 9P; what is in its way, and what stays when it has ended.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

#[path = "ctl_support.rs"]
mod ctl;
mod support;

use ctl::{Head, XGETCTL};
use nix::sys::signal::Signal;
use nix::sys::socket::sockopt::{BindToDevice, ReuseAddr, ReusePort};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::lab::Lab;
use support::proc::{Ended, Proc, command, copy_program, xget};
use support::{lacks, until};

const RUN: &str = "netboot --run --interface eth0";
const READY: &str = "machines can boot";
const HEAD: usize = 0;
const NODE: usize = 1;
/// What udhcpc(8) is told, as a file of the shell.
const LEASE_SCRIPT: &str = "[ \"$1\" = bound ] || exit 0\nset >\"$LEASE\"\n";

struct Net {
    head: Head,
    lab: Lab,
}

fn served_by(table: &str) -> Head {
    let head = Head::new();
    fs::create_dir_all(head.image("debian").join("root")).unwrap();
    for name in ["kernel", "initrd"] {
        fs::write(head.image("debian").join(name), name).unwrap();
    }
    fs::write(head.dir.join("nodes.tab"), table).unwrap();
    head
}

impl Net {
    fn new() -> Option<Net> {
        if lacks(&["dnsmasq", "busybox", "ip", "unshare", "curl"]) {
            return None;
        }
        let lab = Lab::new(2)?;
        let head = served_by("* - debian\n");
        Some(Net { head, lab })
    }

    fn start(&self, line: &str) -> Proc {
        self.lab.on(HEAD, || self.head.start(line))
    }

    fn ready(&self, line: &str) -> Proc {
        let mut run = self.start(line);
        until("it serves", 60, || {
            assert!(!run.has_ended(), "{}{}", run.out(), run.err());
            run.out().contains(READY)
        });
        run
    }

    fn fails(&self, line: &str) -> Ended {
        self.start(line).wait()
    }

    fn node(&self, line: &str) -> Ended {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = command(words[0]);
        command.args(&words[1..]).current_dir(&self.head.scratch.path);
        self.lab.on(NODE, || Proc::start(command, &self.head.scratch)).wait()
    }

    /// What a machine is told that says this.
    fn lease(&self, says: &str) -> String {
        let script = self.head.scratch.join("lease-script");
        let lease = self.head.scratch.join("lease");
        fs::write(&script, format!("#!/bin/sh\n{LEASE_SCRIPT}")).unwrap();
        make_executable(&script);
        let _ = fs::remove_file(&lease);
        let mut ask = command("busybox");
        let line = format!("udhcpc -i eth0 -n -q -f -t 10 -T 1{says} -s {}", script.display());
        ask.args(line.split(' ')).env("LEASE", &lease);
        self.lab.on(NODE, || Proc::start(ask, &self.head.scratch)).wait().expect(0);
        fs::read_to_string(&lease).unwrap()
    }

    /// Processes in the head's network, this one not counted.
    fn processes(&self) -> Vec<String> {
        let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let heads = self.lab.on(HEAD, || network("thread-self"));
        let listed = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
        let pids = listed.map(|name| name.into_string().unwrap());
        let in_it = pids.filter(|pid| pid.parse::<u32>().is_ok() && network(pid) == heads);
        let name =
            |pid: String| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // What has ended and was not waited for yet has no network any more.
        in_it.map(name).filter(|stat| !stat.is_empty()).collect()
    }

    fn nothing_is_left(&self) {
        until("all have ended", 30, || self.processes().is_empty());
    }
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Where its files are, as it says.
fn place_of(run: &Proc) -> PathBuf {
    let out = run.out();
    let line = out.lines().find(|line| line.contains("TFTP has")).unwrap();
    line.rsplit('(').next().unwrap().trim_end_matches(')').into()
}

#[test]
fn a_machine_has_all_that_it_boots_from() {
    let Some(net) = Net::new() else { return };
    let run = net.ready(RUN);
    let place = place_of(&run);
    // Firmware, then iPXE, which says so by option 175.
    let lease = net.lease(" -x 0x5d:0000");
    assert!(lease.contains("\nip='10.99.0."), "{lease}");
    assert!(lease.contains("\nsiaddr='10.99.0.1'\n"), "{lease}");
    if place.join("undionly.kpxe").exists() {
        assert!(lease.contains("\nboot_file='undionly.kpxe'\n"), "{lease}");
        net.node("busybox tftp -g -r undionly.kpxe -l undionly 10.99.0.1").expect(0);
        let same = [place.join("undionly.kpxe"), net.head.scratch.join("undionly")];
        assert!(fs::read(&same[0]).unwrap() == fs::read(&same[1]).unwrap());
    }
    let lease = net.lease(" -x 0xaf:01");
    assert!(lease.contains("\nboot_file='http://10.99.0.1/boot.ipxe'\n"), "{lease}");
    net.node("busybox tftp -g -r boot.ipxe -l by-tftp 10.99.0.1").expect(0);
    net.node("busybox wget -q -O by-http http://10.99.0.1/boot.ipxe").expect(0);
    let script = fs::read_to_string(net.head.scratch.join("by-http")).unwrap();
    assert_eq!(script, fs::read_to_string(net.head.scratch.join("by-tftp")).unwrap());
    assert!(script.contains(" xget.master=10.99.0.1 "), "{script}");
    for (before, text) in [("kernel vmlinuz-", "kernel"), ("\ninitrd initramfs-", "initrd")] {
        let at = script.find(before).unwrap() + before.find(' ').unwrap() + 1;
        let name = script[at..].split(' ').next().unwrap();
        net.node(&format!("busybox wget -q -O fetched http://10.99.0.1/{name}")).expect(0);
        assert_eq!(fs::read_to_string(net.head.scratch.join("fetched")).unwrap(), text);
    }
    let mut fetch = xget();
    fetch.args(["-n", "10.99.0.1", "--linger", "0", "nodes.tab"]).arg(&net.head.scratch.path);
    net.lab.on(NODE, || Proc::start(fetch, &net.head.scratch)).wait().expect(0);
    let out = run.out();
    for says in ["\nmaster: ", "\ndnsmasq-dhcp", "\nhttp: 10.99.0.2 /boot.ipxe: ", "\nnetboot: "] {
        assert!(out.contains(says), "no {says:?} in {out}");
    }
    run.signal(Signal::SIGTERM);
    run.wait().expect(0).says("ended, as asked");
    net.nothing_is_left();
    assert!(!place.exists());
}

#[test]
fn ipv6_is_served_beside() {
    let Some(net) = Net::new() else { return };
    let ip = |line: &str| {
        let done = Command::new("ip").args(line.split(' ')).status().unwrap();
        assert!(done.success(), "{line}");
    };
    net.lab.on(HEAD, || ip("address add fd99::1/64 dev eth0 nodad"));
    net.lab.on(NODE, || ip("address add fd99::2/64 dev eth0 nodad"));
    let run = net.ready(&format!("{RUN} --ipv6"));
    let out = run.out();
    assert!(out.contains("http://10.99.0.1/ and http://[fd99::1]/ has "), "{out}");
    assert!(out.contains("dnsmasq-dhcp") && out.contains("fd99::1:ffff"), "{out}");
    net.node("curl -sf -o by-http http://[fd99::1]/boot.ipxe").expect(0);
    let script = fs::read_to_string(net.head.scratch.join("by-http")).unwrap();
    assert!(script.contains(" xget.master=10.99.0.1,[fd99::1] "), "{script}");
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
    net.nothing_is_left();
}

#[test]
fn names_follow_the_table_and_leases_stay_where_asked_for() {
    let Some(net) = Net::new() else { return };
    let dir = net.head.scratch.join("boot");
    let line = format!("{RUN} --dir {}", dir.display());
    let run = net.ready(&line);
    assert!(!net.lease("").contains("\nhostname="));
    let mac = net.lab.on(NODE, || {
        fs::read_to_string("/proc/thread-self/net/arp").unwrap();
        let said = Command::new("ip").args(["-o", "link", "show", "eth0"]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        said.split(' ').skip_while(|word| *word != "link/ether").nth(1).unwrap().to_string()
    });
    fs::write(net.head.dir.join("nodes.tab"), "n001 - @none\n").unwrap();
    until("a bad table is said", 30, || run.out().contains("names stay"));
    fs::write(net.head.dir.join("nodes.tab"), format!("{mac} n007 debian\n")).unwrap();
    until("the change is seen", 30, || run.out().contains("nodes.tab has changed"));
    let lease = net.lease("");
    assert!(lease.contains("\nhostname='n007'\n"), "{lease}");
    net.fails(&line).expect(2).says("another `xgetctl netboot --run` has");
    run.signal(Signal::SIGINT);
    run.wait().expect(0);
    net.nothing_is_left();
    assert!(fs::read_to_string(dir.join("leases")).unwrap().contains(&mac));
    // Once more, with what is there.
    let run = net.ready(&line);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

#[test]
fn a_head_with_a_wrong_table_starts_and_lends_no_address_of_its_lines() {
    let Some(net) = Net::new() else { return };
    let known = "10.99.0.128-10.99.0.253 n[128-253] debian\n";
    fs::write(net.head.dir.join("nodes.tab"), format!("{known}n1 - @none\n")).unwrap();
    let run = net.ready(RUN);
    assert!(
        run.err().contains("line 2, column ") && run.err().contains("names stay"),
        "{}",
        run.err()
    );
    assert!(net.lease("").contains("\nip='10.99.0.254'\n"));
    // Mended; and what it lends is a node's now.
    fs::write(net.head.dir.join("nodes.tab"), format!("{known}10.99.0.254 n254 debian\n")).unwrap();
    let lent = "10.99.0.254 to 10.99.0.254, which are lent to others until";
    until("it says what it lends", 30, || run.out().contains(lent));
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

#[test]
fn leases_outlive_it_without_a_directory_too() {
    let Some(net) = Net::new() else { return };
    let state = net.head.scratch.join("state");
    let run = net.ready(RUN);
    net.lease("");
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
    let leases = fs::read_to_string(state.join("leases-eth0")).unwrap();
    assert!(leases.contains(" 10.99.0."), "{leases}");
    let run = net.ready(RUN);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
    assert_eq!(fs::read_to_string(state.join("leases-eth0")).unwrap(), leases);
    // Where there is no place for them.
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "").unwrap();
    let run = net.ready(RUN);
    assert!(run.out().contains("leases go at the end"), "{}", run.out());
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

#[test]
fn names_that_cannot_be_written_stay_and_are_written_later() {
    let Some(net) = Net::new() else { return };
    let dir = net.head.scratch.join("boot");
    let aside = net.head.scratch.join("aside");
    let run = net.ready(&format!("{RUN} --dir {}", dir.display()));
    fs::rename(&dir, &aside).unwrap();
    fs::write(&dir, "").unwrap();
    fs::write(net.head.dir.join("nodes.tab"), "52:54:00:00:00:01 n9 debian\n").unwrap();
    until("it says so", 30, || run.out().contains("names stay"));
    fs::remove_file(&dir).unwrap();
    fs::rename(&aside, &dir).unwrap();
    until("it has them", 30, || run.out().contains("dnsmasq has its names"));
    assert!(fs::read_to_string(dir.join("dhcp-hosts")).unwrap().contains(",n9\n"));
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

/// With its log there, and what it is in the end.
fn logging_to(net: &Net, log: Stdio) -> std::process::Child {
    let mut command = net.head.command(RUN.split(' '));
    command.stdin(Stdio::null()).stdout(log);
    command.stderr(fs::File::create(net.head.scratch.join("said")).unwrap());
    net.lab.on(HEAD, || command.spawn().unwrap())
}

fn ends_as_asked(mut run: std::process::Child) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(run.id() as i32), Signal::SIGTERM).unwrap();
    let mut ended = None;
    until("it ends", 30, || {
        ended = run.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.unwrap().success());
}

#[test]
fn a_log_that_has_no_room_is_no_end() {
    let Some(net) = Net::new() else { return };
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let run = logging_to(&net, full.into());
    let lease = net.lease(" -x 0xaf:01");
    assert!(lease.contains("\nboot_file='http://10.99.0.1/boot.ipxe'\n"), "{lease}");
    net.node("curl -sf -o by-http http://10.99.0.1/boot.ipxe").expect(0);
    ends_as_asked(run);
    let said = fs::read_to_string(net.head.scratch.join("said")).unwrap();
    assert_eq!(said.matches("cannot write the log: No space left on device").count(), 1, "{said}");
    net.nothing_is_left();
}

#[test]
fn who_reads_the_log_no_more_holds_nothing_up() {
    let Some(net) = Net::new() else { return };
    let (reader, writer) = std::io::pipe().unwrap();
    let run = logging_to(&net, writer.into());
    net.lease(" -x 0xaf:01");
    // More lines than a pipe holds, and less than are said in a minute.
    let asks = "http://10.99.0.1/boot.ipxe?[1-2500]";
    net.node("curl -s -o /dev/null http://10.99.0.1/boot.ipxe").expect(0);
    let mut ask = command("curl");
    ask.args(["-s", "-o", "/dev/null", asks]);
    net.lab.on(NODE, || Proc::start(ask, &net.head.scratch)).wait().expect(0);
    fs::write(net.head.dir.join("nodes.tab"), "10.99.0.2 n2 debian\n").unwrap();
    net.node("curl -sf -o by-http http://10.99.0.1/boot.ipxe").expect(0);
    ends_as_asked(run);
    let said = fs::read_to_string(net.head.scratch.join("said")).unwrap();
    assert!(said.contains("nobody reads the log"), "{said}");
    drop(reader);
    net.nothing_is_left();
}

#[test]
fn a_master_that_answers_is_taken_and_stays() {
    let Some(net) = Net::new() else { return };
    let mut master = xget();
    master.arg("--no-cache").arg(&net.head.dir);
    let mut master = net.lab.on(HEAD, || Proc::start(master, &net.head.scratch));
    until("the master serves", 30, || master.out().contains(" serving "));
    let run = net.ready(RUN);
    assert!(run.out().contains("a master answers on 10.99.0.1:20004"), "{}", run.out());
    assert!(!run.out().contains("another nodes.tab"), "{}", run.out());
    assert!(!master.has_ended());
    master.signal(Signal::SIGTERM);
    master.wait();
    until("it is missed", 60, || run.out().contains("10.99.0.1:20004 does not answer any more"));
    let mut master = xget();
    master.arg("--no-cache").arg(&net.head.dir);
    let mut master = net.lab.on(HEAD, || Proc::start(master, &net.head.scratch));
    until("it is back", 60, || run.out().contains("10.99.0.1:20004 answers again"));
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
    assert!(!master.has_ended());
    let other = Net { head: served_by("* - debian quiet\n"), ..net };
    let run = other.ready(RUN);
    until("it says so", 20, || run.out().contains("that master has another nodes.tab"));
}

/// A server's socket as dnsmasq has it.
fn sharing(port: u16, interface: Option<&str>) -> OwnedFd {
    let made = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None).unwrap();
    setsockopt(&made, ReuseAddr, &true).unwrap();
    setsockopt(&made, ReusePort, &true).unwrap();
    if let Some(interface) = interface {
        setsockopt(&made, BindToDevice, &interface.into()).unwrap();
    }
    bind(made.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port)).unwrap();
    made
}

#[test]
fn what_has_a_port_is_named() {
    let Some(net) = Net::new() else { return };
    let us = format!("(process {})", std::process::id());
    for (port, what) in [(67, "DHCP: udp"), (69, "TFTP: udp")] {
        let taken = net.lab.on(HEAD, || UdpSocket::bind(("0.0.0.0", port)).unwrap());
        net.fails(RUN).expect(12).says(&format!("cannot serve {what} port {port}")).says(&us);
        drop(taken);
    }
    // Two that share a port would both answer.
    let taken = net.lab.on(HEAD, || sharing(67, None));
    net.fails(RUN).expect(12).says("udp port 67 is taken by").says(&us);
    drop(taken);
    let taken = net.lab.on(HEAD, || TcpListener::bind("0.0.0.0:80").unwrap());
    net.fails(RUN).expect(12).says("cannot serve HTTP: tcp port 80").says(&us);
    // Another port, and a DHCP server of another interface, are in nobody's way.
    let other = net.lab.on(HEAD, || sharing(67, Some("lo")));
    let run = net.ready(&format!("{RUN} --http-port 8080"));
    let lease = net.lease(" -x 0xaf:01");
    assert!(lease.contains("\nboot_file='http://10.99.0.1:8080/boot.ipxe'\n"), "{lease}");
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
    drop((taken, other));
}

#[test]
fn one_that_ends_ends_all_and_a_kill_leaves_nobody() {
    let Some(net) = Net::new() else { return };
    let run = net.ready(RUN);
    let place = place_of(&run);
    run.signal(Signal::SIGKILL);
    run.wait().expect(137);
    net.nothing_is_left();
    let words = "case $* in *--test*) exit 0 ;; esac\necho bad luck >&2\nexit 3";
    net.head.stand_in("dnsmasq", words);
    net.fails(RUN).expect(13).says("dnsmasq ended with status 3").says("bad luck");
    net.nothing_is_left();
    // What the killed one left was removed by the next.
    assert!(!place.exists());
    net.head.stand_in("dnsmasq", "case $* in *--test*) exit 0 ;; esac\nexec sleep 1000");
    net.fails(RUN).expect(13).says("does not say within 20 s that it serves");
    net.nothing_is_left();
}

#[test]
fn what_it_cannot_do_without_is_said_first() {
    let Some(net) = Net::new() else { return };
    net.lab.on(HEAD, || {
        let line = ["link", "add", "bare0", "type", "bridge"];
        assert!(Command::new("ip").args(line).status().unwrap().success());
    });
    net.fails("netboot --run --interface bare0").expect(11).says("bare0 has no IPv4 address");
    net.fails("netboot --run --interface none0").expect(11).says("none0");
    // As nobody; who cannot see where it was built.
    let own = net.head.scratch.join("xgetctl");
    copy_program(XGETCTL, &own);
    let mut nobody = command("setpriv");
    nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(&own);
    nobody.args(RUN.split(' '));
    let ended = net.lab.on(HEAD, || Proc::start(nobody, &net.head.scratch)).wait();
    ended.expect(10).says("only root may");
    let mut without = command("unshare");
    let hide = "mount --bind /dev/null $(command -v dnsmasq) && exec \"$@\"";
    without.args(["--mount", "sh", "-c", hide, "sh", XGETCTL]).args(RUN.split(' '));
    let ended = net.lab.on(HEAD, || Proc::start(without, &net.head.scratch)).wait();
    ended.expect(6).says("apt-get install dnsmasq-base");
    net.head.says("netboot").expect(2).says("--dir");
    net.head.says("netboot --dir x --http-port 81").expect(2).says("--run");
    net.nothing_is_left();
}
