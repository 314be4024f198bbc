//! docs/protocol.md, "Spare masters": who is asked when a master has not what is wanted, is
//! lost, or lies.

use crate::content::Tree;
use crate::host::Fault;
use crate::pair::*;
use crate::scripted_server::Asked;
use peer::control::{ClientMessage, ParentAddr, VERSION_PLAIN};
use peer::failure::{Failure, Status};
use peer::master::MasterInput;
use peer::request::{FetchRequest, Linger, Masters, Pin};
use std::rc::Rc;

fn request() -> FetchRequest {
    FetchRequest { linger: Linger::Millis(0), ..all() }
}

fn masters(hosts: &[usize]) -> Masters {
    let mut masters = Masters::default();
    hosts.iter().for_each(|host| masters.add([addr(*host)]));
    masters
}

/// Masters of these trees, and a client of all of them.
fn pair_of(trees: &[&Rc<Tree>], request: FetchRequest) -> (Pair, usize) {
    let mut pair = Pair::default();
    let hosts: Vec<usize> = trees.iter().map(|tree| pair.add_master(tree, 1)).collect();
    let client = pair.add_client_of(masters(&hosts), request);
    (pair, client)
}

fn ended(pair: &mut Pair, client: usize) -> Vec<Failure> {
    pair.until(|pair| pair.client(client).exit.is_some());
    pair.client(client).exit.clone().map(|(_, failures)| failures).expect("it has ended")
}

fn warnings(pair: &Pair, client: usize) -> String {
    let warned = pair.client(client).warned.iter();
    warned.map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n")
}

fn of_b() -> FetchRequest {
    FetchRequest { sources: vec![b"b".to_vec()], ..request() }
}

#[test]
fn a_master_without_the_source_is_left_for_the_next() {
    let (one, two) = (Tree::of(&[("a", 9_000)]), Tree::of(&[("b", 9_000)]));
    let (mut pair, client) = pair_of(&[&one, &two], of_b());
    assert_eq!(ended(&mut pair, client), []);
    assert_eq!(pair.client(client).file("b").len(), 9_000);
    let said = warnings(&pair, client);
    assert!(said.contains("b: no such file") && said.contains("another is asked"), "{said}");
}

#[test]
fn a_spare_may_be_older_and_is_asked_in_words_that_it_knows() {
    let (one, two) = (Tree::of(&[("a", 9_000)]), Tree::of(&[("b", 9_000)]));
    let mut pair = Pair::default();
    let hosts = [pair.add_master(&one, 1), pair.add_server(&two, 1)];
    pair.add_client_of(masters(&hosts), of_b());
    pair.run_to(1_000);
    let asked = pair.server(hosts[1]).asked.iter();
    let joins: Vec<u32> = asked
        .filter_map(|(_, asked)| match asked {
            Asked::Said(ClientMessage::Join { version, .. }) => Some(*version),
            _ => None,
        })
        .collect();
    assert_eq!(joins, [VERSION_PLAIN]);
}

#[test]
fn where_all_lack_it_the_fetch_fails_at_once_and_a_master_with_two_addresses_is_one() {
    let tree = Tree::of(&[("a", 9_000)]);
    let (mut pair, client) = pair_of(&[&tree, &tree], of_b());
    assert_eq!(ended(&mut pair, client)[0].status, Status::Source);
    assert!(pair.now_ms < 1_000, "{}", pair.now_ms);
    let mut pair = Pair::default();
    let master = pair.add_master(&tree, 1);
    let other = pair.add_master(&tree, 1);
    let client = pair.add_client_of(vec![addr(master), addr(other)].into(), of_b());
    assert_eq!(ended(&mut pair, client)[0].status, Status::Source);
    assert_eq!((pair.now_ms, pair.called_ms(client, other)), (0, vec![]));
}

#[test]
fn the_first_that_answers_is_asked() {
    let tree = Tree::of_pieces(9);
    let mut pair = Pair::default();
    let hosts = [pair.add_master(&tree, 1), pair.add_master(&tree, 1), pair.add_master(&tree, 1)];
    pair.befall(hosts[0], Fault::Unreachable);
    pair.befall(hosts[1], Fault::Refuses);
    let client = pair.add_client_of(masters(&hosts), request());
    assert_eq!(ended(&mut pair, client), []);
    assert!(pair.now_ms < 5_000, "{}", pair.now_ms);
}

/// A fetch of which a few pieces have come from the first of two masters.
fn begun(trees: [&Rc<Tree>; 2]) -> (Pair, usize) {
    let mut pair = Pair::default();
    let hosts = trees.map(|tree| pair.add_master(tree, 1));
    hosts.iter().for_each(|host| pair.hosts[*host].piece_ms = 20);
    let client = pair.add_client_of(masters(&hosts), request());
    pair.until(|pair| pair.client(client).stored.len() == 5);
    (pair, client)
}

#[test]
fn a_master_that_dies_or_stands_still_is_replaced_and_nothing_moves_again() {
    let tree = Tree::of_pieces(60);
    for fault in [Fault::Refuses, Fault::Unreachable, Fault::Frozen] {
        let (mut pair, client) = begun([&tree, &tree]);
        let since_ms = pair.now_ms;
        pair.befall(0, fault);
        if fault == Fault::Refuses {
            pair.cut(0);
        }
        // That a piece is stored once is asserted where it is stored.
        assert_eq!(ended(&mut pair, client), [], "{fault:?}");
        assert_eq!(pair.client(client).stored.len(), 60);
        let most_ms = if fault == Fault::Refuses { 2_500 } else { 15_000 };
        assert!(pair.now_ms - since_ms < most_ms, "{fault:?} {}", pair.now_ms - since_ms);
    }
}

#[test]
fn a_spare_of_another_generation_is_said_and_the_first_tried_on() {
    let (tree, other) = (Tree::of_pieces(60), Tree::of_pieces(61));
    let (mut pair, client) = begun([&tree, &other]);
    pair.befall(0, Fault::Refuses);
    pair.cut(0);
    pair.run_for(3_000);
    let said = warnings(&pair, client);
    let why = format!("the master {}: the served tree: changed on the master", addr(1));
    assert!(said.contains(&why) && said.contains("another is asked"), "{said}");
    assert_eq!(pair.client(client).exit, None);
    pair.befall(0, Fault::None);
    assert_eq!(ended(&mut pair, client), []);
    assert_eq!(pair.client(client).stored.len(), 60);
}

#[test]
fn and_where_the_first_is_gone_for_good_the_fetch_ends_as_one_that_lost_its_master() {
    let (tree, other) = (Tree::of_pieces(60), Tree::of_pieces(61));
    let (mut pair, client) = begun([&tree, &other]);
    pair.befall(0, Fault::Refuses);
    pair.cut(0);
    let failures = ended(&mut pair, client);
    assert_eq!(failures[0].status, Status::Connection);
    assert!(failures[0].text().contains("gave up after"), "{failures:?}");
}

#[test]
fn what_was_announced_before_is_what_is_fetched_and_a_liar_is_left() {
    let (tree, other) = (Tree::of_pieces(9), Tree::of_pieces(8));
    for spares in [true, false] {
        let mut pair = Pair::default();
        let hosts = [pair.add_master(&other, 1), pair.add_master(&tree, 1)];
        let mut all = masters(&hosts[..1 + usize::from(spares)]);
        all.generation = Some(tree.digest());
        let client = pair.add_client_of(all, request());
        let failures = ended(&mut pair, client);
        assert_eq!(failures.is_empty(), spares, "{failures:?}");
        if !spares {
            assert_eq!(failures[0].status, Status::Verification);
            assert!(pair.client(client).content.is_none(), "nothing was prepared");
        }
    }
}

#[test]
fn a_pin_is_looked_for_at_all_of_them() {
    let (tree, other) = (Tree::of_pieces(9), Tree::of_pieces(8));
    let pin = Some(Pin::Blake3(tree.digest()));
    let (mut pair, client) = pair_of(&[&other, &tree], FetchRequest { pin, ..request() });
    assert_eq!(ended(&mut pair, client), []);
    assert_eq!(pair.client(client).file("file").len(), 9 * 4096);
    let (mut pair, client) = pair_of(&[&other, &other], FetchRequest { pin, ..request() });
    let failures = ended(&mut pair, client);
    assert_eq!((failures[0].status, &*failures[0].what), (Status::Verification, "--digest"));
    assert!(pair.client(client).content.is_none());
}

#[test]
fn a_master_that_sends_wrong_bytes_twice_is_left_for_the_next() {
    let tree = Tree::of_pieces(20);
    // The manifest, and a piece of the file.
    for piece in [0, 7] {
        let mut pair = Pair::default();
        let hosts = [pair.add_master(&tree, 1), pair.add_master(&tree, 1)];
        pair.hosts[hosts[0]].wrong.insert(piece, u32::MAX);
        let client = pair.add_client_of(masters(&hosts), request());
        assert_eq!(ended(&mut pair, client), [], "piece {piece}");
        assert_eq!(pair.client(client).stored.len(), 20);
        assert!(warnings(&pair, client).contains("wrong bytes twice"));
    }
}

/// Two files of ten pieces each, 1 to 10 and 11 to 20.
fn two_files() -> Rc<Tree> {
    Tree::of(&[("a", 40_960), ("b", 40_960)])
}

/// A master by script that has all of a tree but one piece, and another beside it.
fn lacking(tree: &Rc<Tree>, piece: u32) -> (Pair, [usize; 2]) {
    let mut pair = Pair::default();
    let hosts = [pair.add_server(tree, 1), pair.add_master(tree, 1)];
    pair.let_server(hosts[0], |server| {
        server.parents = vec![ParentAddr::Master];
        server.faults.refused.insert(piece);
        server.give(0..tree.map.count());
    });
    (pair, hosts)
}

fn joins(pair: &Pair, server: usize) -> Vec<u32> {
    let version = |(_, asked): &(u64, Asked)| match asked {
        Asked::Said(ClientMessage::Join { version, .. }) => Some(*version),
        _ => None,
    };
    pair.server(server).asked.iter().filter_map(version).collect()
}

#[test]
fn an_older_spare_is_asked_in_the_version_that_it_speaks() {
    let tree = Tree::of_pieces(9);
    for (version_max, versions) in [(3, vec![3]), (2, vec![3, 2])] {
        let mut pair = Pair::default();
        let hosts = [pair.add_master(&tree, 1), pair.add_server(&tree, 1)];
        pair.befall(hosts[0], Fault::Refuses);
        pair.let_server(hosts[1], |server| {
            server.parents = vec![ParentAddr::Master];
            server.faults.version_max = Some(version_max);
            server.give(0..tree.map.count());
        });
        let client = pair.add_client_of(masters(&hosts), request());
        assert_eq!(ended(&mut pair, client), [], "{version_max}");
        assert_eq!(joins(&pair, hosts[1]), versions);
    }
}

#[test]
fn and_the_first_in_the_same_when_it_comes_back() {
    let tree = Tree::of_pieces(9);
    let mut pair = Pair::default();
    let hosts = [pair.add_server(&tree, 1), pair.add_master(&tree, 1)];
    pair.befall(hosts[1], Fault::Refuses);
    pair.let_server(hosts[0], |server| {
        server.parents = vec![ParentAddr::Master];
        server.faults.version_max = Some(3);
        server.give(0..5);
    });
    let client = pair.add_client_of(masters(&hosts), request());
    pair.until(|pair| pair.client(client).stored.len() == 4);
    pair.cut(hosts[0]);
    pair.let_server(hosts[0], |server| server.give(5..10));
    assert_eq!(ended(&mut pair, client), []);
    assert_eq!(joins(&pair, hosts[0]), [3, 3]);
}

#[test]
fn what_the_master_that_lives_says_is_why_the_fetch_ends() {
    let (one, two) = (Tree::of(&[("a", 9_000)]), Tree::of(&[("b", 9_000)]));
    let (mut pair, client) = pair_of(&[&one, &two], of_b());
    pair.befall(1, Fault::Refuses);
    let failures = ended(&mut pair, client);
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].status, Status::Source, "{failures:?}");
    let said = failures[0].text();
    let other = format!("the master {}: ", addr(1));
    assert!(said.contains("no such file") && said.contains(&other), "{said}");
    assert!(said.contains("gave up after"), "{said}");
}

#[test]
fn no_master_is_left_unasked_however_few_tries_there_are() {
    let tree = Tree::of_pieces(9);
    let mut pair = Pair::default();
    let hosts = [pair.add_master(&tree, 1), pair.add_master(&tree, 1), pair.add_master(&tree, 1)];
    hosts[..2].iter().for_each(|host| pair.befall(*host, Fault::Refuses));
    let patience = FetchRequest { retries: 0, ..request() };
    let client = pair.add_client_of(masters(&hosts), patience.clone());
    assert_eq!(ended(&mut pair, client), []);
    let client = pair.add_client_of(masters(&hosts[..2]), patience);
    assert_eq!(ended(&mut pair, client)[0].status, Status::Connection);
    assert_eq!(pair.called_ms(client, hosts[0]).len(), 1);
}

#[test]
fn what_the_first_cannot_read_comes_from_the_spare() {
    let tree = two_files();
    let (mut pair, hosts) = lacking(&tree, 7);
    let client = pair.add_client_of(masters(&hosts), request());
    assert_eq!(ended(&mut pair, client), []);
    assert_eq!(pair.client(client).stored.len(), 20);
    let said = warnings(&pair, client);
    let who = format!("the master {}: ", addr(hosts[0]));
    assert!(said.contains(&who) && said.contains("another is asked"), "{said}");
}

#[test]
fn small_files_that_the_first_has_no_more_come_from_the_spare() {
    let tree = Tree::of(&[("a", 900), ("b", 800), ("c", 9_000)]);
    let pack = 1;
    assert_eq!(tree.map.extents(&tree.manifest, pack).count(), 2);
    let (mut pair, hosts) = lacking(&tree, pack);
    pair.let_server(hosts[0], |server| server.faults.changed = Some(0..900));
    let client = pair.add_client_of(masters(&hosts), request());
    assert_eq!(ended(&mut pair, client), []);
}

#[test]
fn where_no_spare_has_better_bytes_one_file_fails_and_the_others_come() {
    let tree = two_files();
    for (is_wrong, status) in [(true, Status::Verification), (false, Status::Changed)] {
        // The spare is away, has nothing of it, or has something else.
        for other in [None, Some(Tree::of(&[("x", 3)])), Some(Tree::of(&[("a", 3), ("b", 3)]))] {
            let (mut pair, mut hosts) = lacking(&tree, 7);
            if is_wrong {
                hosts = [pair.add_master(&tree, 1), hosts[1]];
                pair.hosts[hosts[0]].wrong.insert(7, u32::MAX);
            }
            match &other {
                None => pair.befall(hosts[1], Fault::Refuses),
                Some(other) => hosts[1] = pair.add_master(other, 1),
            }
            let sources = vec![b"a".to_vec(), b"b".to_vec()];
            let wanted = FetchRequest { sources, ..request() };
            let client = pair.add_client_of(masters(&hosts), wanted);
            let failures = ended(&mut pair, client);
            assert_eq!(failures.len(), 1, "{failures:?}");
            assert_eq!((failures[0].status, &*failures[0].what), (status, "a"), "{failures:?}");
            assert_eq!(pair.client(client).file("b"), tree.file("b"));
        }
    }
}

#[test]
fn where_two_have_bad_disks_each_is_left_once() {
    let tree = two_files();
    let (mut pair, mut hosts) = lacking(&tree, 7);
    hosts[1] = pair.add_master(&tree, 1);
    pair.hosts[hosts[1]].wrong.insert(7, u32::MAX);
    pair.hosts[hosts[1]].wrong.insert(15, u32::MAX);
    let client = pair.add_client_of(masters(&hosts), request());
    let failures = ended(&mut pair, client);
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert_eq!(warnings(&pair, client).matches("another is asked").count(), 1);
    assert_eq!(pair.client(client).stored.len(), 18);
}

#[test]
fn wrong_bytes_of_one_master_are_not_held_against_another_that_is_called() {
    let tree = Tree::of_pieces(60);
    let mut pair = Pair::default();
    let hosts = [pair.add_master(&tree, 1), pair.add_master(&tree, 1)];
    pair.hosts[hosts[0]].piece_ms = 20;
    let client = pair.add_client_of(masters(&hosts), request());
    pair.until(|pair| pair.client(client).stored.len() == 5);
    // It ends the conversation, and goes on sending; the other takes its time to answer.
    pair.hosts[hosts[1]].latency_ms = 600;
    pair.cut_oldest(client, hosts[0]);
    pair.until(|pair| pair.called_ms(client, hosts[1]).len() == 1);
    pair.hosts[hosts[0]].wrong = (1..61).map(|piece| (piece, u32::MAX)).collect();
    pair.run_for(500);
    assert_eq!(pair.called_ms(client, hosts[1]).len(), 1);
    let said = warnings(&pair, client);
    let who = format!("the master {} sent wrong bytes twice", addr(hosts[0]));
    assert!(said.contains(&who), "{said}");
    assert_eq!(ended(&mut pair, client), [], "{}", warnings(&pair, client));
    assert_eq!(pair.client(client).stored.len(), 60);
}

#[test]
fn a_spare_is_asked_where_the_first_has_to_hash_for_long() {
    let tree = Tree::of_pieces(9);
    let mut pair = Pair::default();
    let hosts = [pair.add_hashing_master(1), pair.add_master(&tree, 1)];
    let patience = FetchRequest { retries: 0, ..request() };
    let client = pair.add_client_of(masters(&hosts), patience.clone());
    assert_eq!(ended(&mut pair, client), []);
    assert!((15_000..20_000).contains(&pair.now_ms), "{}", pair.now_ms);
    // It is waited for where there is no other, or that was asked in vain.
    pair.befall(hosts[1], Fault::Refuses);
    for known in [&hosts[..], &hosts[..1]] {
        let client = pair.add_client_of(masters(known), patience.clone());
        pair.run_for(60_000);
        assert_eq!(pair.client(client).exit, None, "{}", warnings(&pair, client));
        assert_eq!(pair.called_ms(client, hosts[1]).len(), known.len() - 1);
    }
    let manifest = tree.manifest.clone();
    pair.input_master(hosts[0], MasterInput::Scanned { manifest, scan: 1 });
    for client in hosts[1] + 2..hosts[1] + 4 {
        assert_eq!(ended(&mut pair, client), []);
    }
}
