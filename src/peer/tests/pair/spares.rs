//! docs/protocol.md, "Spare masters": who is asked when a master has not what is wanted, is
//! lost, or lies.

use crate::content::Tree;
use crate::host::Fault;
use crate::pair::*;
use crate::scripted_server::Asked;
use peer::control::{ClientMessage, VERSION_PLAIN};
use peer::failure::{Failure, Status};
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
