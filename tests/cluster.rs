//! A master and its clients on links of their own: who sends how much, and
//! what happens when one of them dies, freezes or is cut off.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::lab::{Lab, PORT};
use support::proc::{Ended, Master, Proc, xget};
use support::{Scratch, noise, reader, tree, until};

/// Node 0 is the master's.
fn start_master(lab: &Lab, scratch: &Scratch, source: &Path, options: &[&str]) -> Master {
    let master = lab.on(0, || Master::on(PORT, scratch, source, options));
    master.await_ready();
    master
}

fn client(lab: &Lab, scratch: &Scratch, node: usize, options: &[&str], copy: &Path) -> Proc {
    let mut command = xget();
    command.args(["-n", &Lab::ip(0)]).args(options).arg(".").arg(copy);
    lab.on(node, || Proc::start(command, scratch))
}

fn status(lab: &Lab) -> String {
    let path = [".xget", "status"];
    lab.on(0, || reader::read_text(("127.0.0.1", PORT), &path).unwrap())
}

/// How many others a node feeds, from the master's own account.
fn children(lab: &Lab, node: usize) -> usize {
    let (status, addr) = (status(lab), format!("{}!", Lab::ip(node)));
    let parents = status.lines().filter_map(|line| line.split(' ').nth(7));
    parents.filter(|parents| parents.contains(&addr)).count()
}

/// Waits until so many bytes have come to each of these nodes.
fn until_received(lab: &Lab, nodes: impl Iterator<Item = usize> + Clone, bytes: u64) {
    until("a part has arrived", 30, || nodes.clone().all(|node| lab.received_bytes(node) >= bytes));
}

#[test]
fn fifteen_clients_get_everything_and_the_master_sends_about_two_copies() {
    let Some(lab) = Lab::new(16) else { return };
    lab.shape(300);
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    tree::make_odd_tree(&source, 2000);
    fs::write(source.join("image"), noise(1, 100_000_000)).unwrap();
    let wanted = tree::look(&source);
    let total: u64 = wanted.keys().filter_map(|p| size_of(&source.join(p))).sum();
    let master = start_master(&lab, &scratch, &source, &[]);
    let before = lab.sent_bytes(0);
    let copy = |node: usize| scratch.join(format!("copy{node}"));
    let clients: Vec<Proc> =
        (1..16).map(|node| client(&lab, &scratch, node, &["-q"], &copy(node))).collect();
    let ended: Vec<Ended> = clients.into_iter().map(Proc::wait).collect();
    let sent = lab.sent_bytes(0) - before;
    ended.into_iter().for_each(|e| drop(e.expect(0)));
    // Frames, headers and the manifest come on top.
    let said = format!("{}{}", master.proc.out(), master.proc.err());
    assert!(sent < total * 23 / 10, "{sent} bytes left the master, the tree has {total}: {said}");
    for node in 1..16 {
        tree::assert_same_as(&wanted, &copy(node));
    }
    assert_eq!(master.proc.out().matches(" done: ").count(), 15, "{}", master.proc.out());
    assert_eq!(status(&lab).matches(" done ").count(), 15, "{}", status(&lab));
}

fn size_of(path: &Path) -> Option<u64> {
    let data = fs::symlink_metadata(path).unwrap();
    data.is_file().then_some(data.len())
}

/// What is done to a client that feeds others.
#[derive(Clone, Copy)]
enum Blow {
    Kill,
    Freeze,
    Cut,
}

/// Eight clients, links on which the file takes four seconds at the least; in
/// the middle one that feeds others is struck.
fn strike(blow: Blow) {
    const COUNT: usize = 8;
    let Some(lab) = Lab::new(COUNT + 1) else { return };
    lab.shape(50);
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(2, 24_000_000)).unwrap();
    tree::make_odd_tree(&source, 50);
    let wanted = tree::look(&source);
    let _master = start_master(&lab, &scratch, &source, &[]);
    let copy = |node: usize| -> PathBuf { scratch.join(format!("copy{node}")) };
    let began = Instant::now();
    let mut clients: Vec<Option<Proc>> = (1..=COUNT)
        .map(|node| Some(client(&lab, &scratch, node, &["--linger", "1"], &copy(node))))
        .collect();
    // It has something to give, and somebody has need of it yet.
    let mut victim = 0;
    until("a node with a third of all feeds two others", 20, || {
        let has_third = |node: &usize| lab.received_bytes(*node) >= 8_000_000;
        let found = (1..=COUNT).filter(has_third).find(|&node| children(&lab, node) >= 2);
        victim = found.unwrap_or(0);
        found.is_some()
    });
    assert_eq!(status(&lab).matches(" fetching ").count(), COUNT, "{}", status(&lab));
    let struck = clients[victim - 1].take().unwrap();
    match blow {
        Blow::Kill => struck.signal(Signal::SIGKILL),
        Blow::Freeze => struck.signal(Signal::SIGSTOP),
        Blow::Cut => lab.cut(victim),
    }
    until("all others are done", 40, || {
        let left = status(&lab).lines().filter(|l| l.contains(" fetching ")).count();
        left <= usize::from(!matches!(blow, Blow::Kill))
    });
    let took = began.elapsed();
    for (number, client) in clients.into_iter().enumerate() {
        if let Some(client) = client {
            client.wait().expect(0);
            tree::assert_same_as(&wanted, &copy(number + 1));
        }
    }
    // Unharmed it takes five to seven.
    assert!(took < Duration::from_secs(12), "took {took:?}");
}

#[test]
fn a_parent_is_killed_and_its_children_go_on() {
    strike(Blow::Kill);
}

#[test]
fn a_parent_freezes_and_its_children_go_on() {
    strike(Blow::Freeze);
}

#[test]
fn a_parent_is_cut_off_and_its_children_go_on() {
    strike(Blow::Cut);
}

#[test]
fn a_slow_parent_slows_nobody_much() {
    let Some(lab) = Lab::new(7) else { return };
    lab.shape(80);
    lab.shape_one(2, 8);
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(3, 30_000_000)).unwrap();
    let _master = start_master(&lab, &scratch, &source, &[]);
    let copy = |node: usize| scratch.join(format!("copy{node}"));
    let clients: Vec<Proc> =
        (1..7).map(|node| client(&lab, &scratch, node, &["--linger", "0"], &copy(node))).collect();
    until("the slow one feeds another", 5, || children(&lab, 2) > 0);
    // 3 s at the full speed of a link; the slow one alone needs 30 s.
    for (number, client) in clients.into_iter().enumerate() {
        if number + 1 != 2 {
            client.wait().expect(0).within(15);
            tree::assert_same(&source, &copy(number + 1));
        }
    }
}

/// Four clients in the middle of a transfer, with the master about to go.
fn without_master(scratch: &Scratch, lab: &Lab) -> (PathBuf, Master, Vec<Proc>) {
    lab.shape(60);
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(4, 32_000_000)).unwrap();
    let master = start_master(lab, scratch, &source, &[]);
    let copy = |node: usize| scratch.join(format!("copy{node}"));
    let clients = (1..5)
        .map(|node| client(lab, scratch, node, &["-r", "1", "--linger", "0"], &copy(node)))
        .collect();
    until_received(lab, 1..5, 8_000_000);
    (source, master, clients)
}

#[test]
fn the_master_dies_and_comes_back_and_nothing_moves_twice() {
    let Some(lab) = Lab::new(5) else { return };
    let scratch = Scratch::in_memory();
    let (source, master, clients) = without_master(&scratch, &lab);
    drop(master);
    let copy = |node: usize| scratch.join(format!("copy{node}"));
    for client in clients {
        client.wait().expect(3).says("master").within(20);
    }
    for node in 1..5 {
        tree::assert_nothing_half(&source, &copy(node));
        assert!(!copy(node).join("image").exists());
    }
    lab.shape(1000);
    let _master = start_master(&lab, &scratch, &source, &[]);
    let clients: Vec<Proc> =
        (1..5).map(|node| client(&lab, &scratch, node, &["--linger", "0"], &copy(node))).collect();
    for (number, client) in clients.into_iter().enumerate() {
        let ended = client.wait().expect(0);
        assert!(ended.moved() < 28e6, "moved again what was there: {}", ended.out);
        tree::assert_same(&source, &copy(number + 1));
    }
}

#[test]
fn the_master_freezes_and_clients_say_so() {
    let Some(lab) = Lab::new(5) else { return };
    let scratch = Scratch::in_memory();
    let (source, master, clients) = without_master(&scratch, &lab);
    master.proc.signal(Signal::SIGSTOP);
    for (number, client) in clients.into_iter().enumerate() {
        client.wait().expect(3).says("master").within(40);
        tree::assert_nothing_half(&source, &scratch.join(format!("copy{}", number + 1)));
    }
}

#[test]
fn a_master_that_comes_back_in_time_is_joined_again() {
    let Some(lab) = Lab::new(5) else { return };
    lab.shape(60);
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(5, 24_000_000)).unwrap();
    let master = start_master(&lab, &scratch, &source, &[]);
    let copy = |node: usize| scratch.join(format!("copy{node}"));
    let clients: Vec<Proc> =
        (1..5).map(|node| client(&lab, &scratch, node, &["--linger", "0"], &copy(node))).collect();
    until_received(&lab, 1..5, 6_000_000);
    drop(master);
    until("all have missed it", 20, || clients.iter().all(|c| c.err().contains("trying again")));
    let _master = start_master(&lab, &scratch, &source, &[]);
    for (number, client) in clients.into_iter().enumerate() {
        let ended = client.wait().expect(0).within(60);
        assert!(ended.moved() < 30e6, "{}", ended.out);
        tree::assert_same(&source, &copy(number + 1));
    }
}
