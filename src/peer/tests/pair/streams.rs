//! docs/protocol.md, "Streams": who keeps a part of what it fetched, and says of the rest nothing.

use crate::content::Tree;
use crate::fixture::*;
use crate::pair::*;
use peer::control::{Complaint, ParentAddr};
use peer::failure::Status;
use peer::request::FetchRequest;

/// One that streams, of so many pieces.
fn streaming(count: u32, parents: &[usize]) -> Fed {
    fed(Tree::of_pieces(count), parents, FetchRequest { window_bytes: Some(1 << 20), ..all() })
}

/// All that a parent sends is empty, from this piece on.
fn empty(fed: &mut Fed, host: usize, from: u32) {
    fed.pair.let_server(host, |server| server.faults.empty_from = Some(from));
    let count = fed.tree.map.count();
    fed.give(host, 0..count);
}

#[test]
fn a_parent_that_keeps_a_piece_no_more_is_no_wrong_one() {
    let mut fed = streaming(4, &[1]);
    let first = fed.tree.map.manifest_pieces().count();
    empty(&mut fed, 1, first);
    fed.pair.run_to(10);
    assert_eq!(fed.complaints(), [(0, 0, parent_addr(1), Complaint::Passed)]);
}

#[test]
fn to_who_keeps_all_nothing_is_a_wrong_piece() {
    let mut fed = fed_pieces(4, &[1]);
    empty(&mut fed, 1, 1);
    fed.pair.run_to(10);
    assert_eq!(fed.complaints(), [(0, 0, parent_addr(1), Complaint::Corrupt)]);
}

#[test]
fn nobody_passes_a_piece_of_the_manifest() {
    let mut fed = streaming(4, &[1]);
    empty(&mut fed, 1, 0);
    fed.pair.run_to(10);
    assert_eq!(fed.complaints(), [(0, 0, parent_addr(1), Complaint::Corrupt)]);
}

#[test]
fn a_master_has_passed_nothing_and_is_left_when_it_sends_nothing_twice() {
    let mut fed = streaming(4, &[MASTER]);
    let first = fed.tree.map.manifest_pieces().count();
    empty(&mut fed, MASTER, first);
    fed.pair.drive_bounded();
    assert_eq!(fed.complaints()[0], (0, 0, ParentAddr::Master, Complaint::Corrupt));
    assert_eq!(fed.asked_ms(MASTER, first).len(), 2);
    let (_, failures) = fed.pair.client(fed.client).exit.clone().expect("it is over");
    assert_eq!(failures[0].status, Status::Verification);
    assert!(failures[0].why.contains("sent wrong bytes twice"), "{}", failures[0].why);
}
