//! docs/protocol.md, "Moving pieces": what becomes of corrupt pieces.

use crate::content::{STRIDE, Tree};
use crate::fixture::*;
use crate::pair::*;
use crate::scripted_server::Asked;
use peer::control::{ClientMessage, Complaint, ParentAddr};
use peer::failure::Status;
use peer::request::{FetchRequest, Linger};

/// A piece leaves a host with a wrong byte every time.
const ALWAYS: u32 = u32::MAX;

#[test]
fn a_corrupt_piece_is_not_stored_and_not_served_on() {
    let mut fed = fed_pieces(2, &[1]);
    fed.pair.hosts[1].wrong.insert(1, ALWAYS);
    let child = fed.pair.add_caller(fed.client);
    let path = format!(".xget/{}/pieces", fed.tree.digest());
    let token = fed.pair.read_file_at(child, &path, STRIDE);
    fed.give(1, [1]);
    assert_eq!((fed.stored(), fed.pair.bytes(child, token)), (vec![], None));
    fed.name(0, MASTER);
    fed.give(MASTER, [1]);
    assert_eq!(fed.pair.bytes(child, token), Some(fed.tree.piece(1)));
}

#[test]
fn who_sent_it_is_reported_in_each_stripe_and_asked_for_nothing_any_more() {
    let mut fed = fed_pieces(40, &[1, 2, 1]);
    fed.pair.hosts[1].wrong.insert(3, ALWAYS);
    fed.pair.run_to(30);
    fed.give(1, [3]);
    let wrong = |stripe| (30, stripe, parent_addr(1), Complaint::Corrupt);
    assert_eq!(fed.complaints(), [wrong(0), wrong(2)]);
    assert_eq!(fed.pair.asked_ms(1, &Asked::Closed), [30]);
    // Named for another stripe, it is complained of again.
    fed.name(1, 1);
    assert_eq!(fed.complaints()[2..], [wrong(1)]);
    assert_eq!(fed.pair.called_ms(fed.client, 1), [0]);
}

#[test]
fn a_corrupt_list_of_the_manifest_is_as_bad() {
    let mut fed = fed(Tree::of(&[("file", 300 * 4096)]), &[1], all());
    fed.pair.let_server(1, |server| server.faults.is_list_wrong = true);
    assert_eq!(fed.complaints(), [(0, 0, parent_addr(1), Complaint::Corrupt)]);
}

#[test]
fn a_piece_of_another_length_is_a_corrupt_one() {
    let mut fed = fed_pieces(2, &[1]);
    fed.pair.let_server(1, |server| server.faults.is_cut_short = true);
    fed.give(1, [1]);
    assert_eq!(fed.complaints(), [(0, 0, parent_addr(1), Complaint::Corrupt)]);
    assert_eq!(fed.stored(), []);
}

#[test]
fn the_master_itself_is_asked_once_more_on_a_new_connection() {
    let mut fed = fed_pieces(20, &[MASTER]);
    fed.pair.hosts[MASTER].wrong.insert(5, 1);
    fed.give(MASTER, 1..=20);
    fed.pair.drive_bounded();
    // The conversation, the first link, and the second.
    assert_eq!(fed.pair.called_ms(fed.client, MASTER).len(), 3);
    assert_eq!(fed.asked_ms(MASTER, 5).len(), 2);
    assert_eq!(fed.complaints(), [(0, 0, ParentAddr::Master, Complaint::Corrupt)]);
    assert_eq!(fed.pair.client(fed.client).exit, Some((0, Vec::new())));
}

/// Files of one piece and a little: their first pieces come before all the last.
fn two_piece_files(count: usize) -> std::rc::Rc<Tree> {
    const NAMES: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-=";
    let files: Vec<(&'static str, u64)> = (0..count).map(|at| (&NAMES[at..=at], 4_100)).collect();
    Tree::of(&files)
}

#[test]
fn wrong_twice_fails_the_files_of_the_piece_and_the_others_go_on() {
    let tree = two_piece_files(3);
    let first = tree.map.of_entry(&tree.manifest, 2).start;
    let mut fed = fed(tree, &[MASTER], all());
    fed.pair.hosts[MASTER].wrong.insert(first, ALWAYS);
    let count = fed.tree.map.count();
    fed.give(MASTER, 0..count);
    fed.pair.drive_bounded();
    assert_eq!(fed.asked_ms(MASTER, first).len(), 2);
    let host = fed.pair.client(fed.client);
    let (_, failures) = host.exit.as_ref().expect("it is over");
    let [failure] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!((failure.status, failure.fatal), (Status::Verification, false));
    let name = fed.tree.manifest.path(2);
    assert_eq!(failure.what.as_bytes(), name);
    assert!(failure.why.contains("sent wrong bytes twice"), "{}", failure.why);
    for entry in [1, 3] {
        let path = String::from_utf8(fed.tree.manifest.path(entry)).expect("it is text");
        assert_eq!(host.file(&path), fed.tree.file(&path));
    }
    // Others cannot have it from here.
    assert!(host.said.contains(&(0, ClientMessage::Leave)));
}

#[test]
fn a_wrong_manifest_ends_the_fetch() {
    let mut fed = fed_pieces(2, &[MASTER]);
    fed.pair.hosts[MASTER].wrong.insert(0, ALWAYS);
    fed.pair.drive_bounded();
    let (_, failures) = fed.pair.client(fed.client).exit.clone().expect("it is over");
    assert_eq!((failures[0].status, failures[0].fatal), (Status::Verification, true));
    assert_eq!(fed.asked_ms(MASTER, 0).len(), 2);
}

#[test]
fn more_than_64_pieces_wrong_and_not_yet_right_end_the_fetch() {
    for wrong_count in [64, 65] {
        let mut fed = fed(two_piece_files(65), &[MASTER], all());
        let (first, count) = (fed.tree.map.manifest_pieces().count(), fed.tree.map.count());
        for file in 0..wrong_count {
            fed.pair.hosts[MASTER].wrong.insert(first + 2 * file, ALWAYS);
        }
        fed.give(MASTER, 0..count);
        fed.pair.drive_bounded();
        let (_, failures) = fed.pair.client(fed.client).exit.clone().expect("it is over");
        let last = failures.last().expect("something failed");
        assert_eq!((failures.len(), last.fatal), (wrong_count as usize, wrong_count > 64));
        assert_eq!(last.status, Status::Verification);
    }
}

/// A real master and real clients: one of them sends nothing but wrong bytes.
#[test]
fn a_peer_with_wrong_bytes_costs_nobody_the_fetch() {
    let (mut pair, tree) = (Pair::default(), Tree::of_pieces(100));
    let master = pair.add_master(&tree, 2);
    let linger = Linger::Millis(500);
    let clients = [0; 6].map(|_| pair.add_client(master, FetchRequest { linger, ..all() }));
    let bad = clients[0];
    pair.hosts[bad].wrong = (0..tree.map.count()).map(|piece| (piece, ALWAYS)).collect();
    for host in clients.into_iter().chain([master]) {
        pair.hosts[host].piece_ms = 1;
    }
    pair.drive_bounded();
    for client in clients {
        assert_eq!(pair.client(client).file("file"), tree.file("file"));
        assert_eq!(pair.client(client).exit.as_ref().map(|(_, failures)| failures.len()), Some(0));
    }
    let said = format!("says that {}!20004 is wrong", addr(bad).ip());
    assert!(pair.master(master).warned.iter().any(|warned| warned.ends_with(&said)));
}
