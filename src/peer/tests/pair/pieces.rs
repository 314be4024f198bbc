//! docs/protocol.md, "Moving pieces", as far as all bytes are right.

use crate::content::{STRIDE, Tree};
use crate::fixture::*;
use crate::host::Fault;
use crate::pair::*;
use crate::scripted_client::Answered;
use crate::scripted_server::Asked;
use peer::control::{ClientMessage, Complaint, MasterMessage};
use peer::failure::Status;
use peer::fetch::FetchInput;
use peer::master::MasterInput;
use peer::namespace::GenerationId;
use peer::request::{FetchRequest, Linger};
use std::collections::BTreeSet;

#[test]
fn a_read_is_parked_and_answered_the_moment_the_piece_is_stored() {
    let mut fed = fed_pieces(2, &[1]);
    let child = fed.pair.add_caller(fed.client);
    let path = format!(".xget/{}/pieces", fed.tree.digest());
    let token = fed.pair.read_file_at(child, &path, 2 * STRIDE);
    fed.pair.run_to(40);
    fed.give(1, [1]);
    fed.pair.run_to(77);
    assert_eq!(fed.pair.bytes(child, token), None);
    fed.give(1, [2]);
    let expected = Answered::Read(fed.tree.piece(2));
    assert_eq!(fed.pair.caller(child).answer(token), Some((77, &expected)));
    assert_eq!(fed.pair.client(fed.client).stored, [(40, 1), (77, 2)]);
}

#[test]
fn up_to_8_pieces_are_asked_of_a_parent_at_a_time_whatever_its_stripes() {
    for parents in [&[1][..], &[1, 1]] {
        let mut fed = fed_pieces(20, parents);
        fed.pair.settle();
        assert_eq!(fed.asked(1), (1..=8).collect::<Vec<_>>());
        fed.give(1, [3]);
        assert_eq!(fed.asked(1), (1..=9).collect::<Vec<_>>(), "one came, one is asked");
        fed.give(1, 1..=20);
        assert_eq!(fed.stored().len(), 20);
    }
}

#[test]
fn from_the_master_a_client_needs_its_answer_on_route_only() {
    let mut fed = fed_pieces(20, &[1, 2]);
    (1..3).for_each(|host| fed.give(host, 1..=20));
    fed.pair.drive_bounded();
    assert_eq!(fed.pair.client(fed.client).exit, Some((0, Vec::new())));
    assert_eq!(fed.pair.called_ms(fed.client, MASTER), [0]);
    assert!(fed.pair.asked_ms(MASTER, &Asked::Open("pieces".into())).is_empty());
}

#[test]
fn a_manifest_of_one_piece_is_asked_of_all_parents() {
    let mut pair = Pair::default();
    let tree = Tree::of_pieces(20);
    (0..3).for_each(|_| {
        pair.add_server(&tree, 3);
    });
    pair.let_server(MASTER, |server| server.parents = [0, 1, 2].map(parent_addr).into());
    let client = pair.add_client(MASTER, all());
    pair.run_to(5);
    let manifest = Asked::Piece { piece: 0, waits: true };
    for host in 0..3 {
        assert_eq!(pair.asked_ms(host, &manifest), [0]);
    }
    pair.let_server(2, |server| server.give([0]));
    assert!(pair.client(client).content.is_some());
    for host in 0..2 {
        let given_up = pair.asked_ms(host, &Asked::Flush { piece: 0 });
        assert_eq!(given_up, [5], "it may forget it");
    }
}

#[test]
fn a_longer_manifest_comes_by_stripes_as_everything_does() {
    let tree = Tree::of(&[("file", 300 * 4096)]);
    assert_eq!(tree.map.manifest_pieces().count(), 3);
    let mut fed = fed(tree, &[1, 2], all());
    fed.pair.settle();
    assert!(!fed.pair.asked_ms(1, &Asked::List).is_empty());
    let manifest = |host| fed.pair.pieces_asked(host, true).into_iter().filter(|&p| p < 3);
    assert_eq!(manifest(1).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(manifest(2).collect::<Vec<_>>(), [1]);
    assert!(fed.pair.client(fed.client).content.is_some());
}

/// Of the other stripe nothing comes, so each piece is one more that it is ahead.
#[test]
fn the_masters_stripe_is_asked_for_half_as_much_with_each_8_pieces_that_it_is_ahead() {
    let mut fed = fed_pieces(99, &[MASTER, 1]);
    fed.pair.client_mut(fed.client).found = vec![99];
    fed.pair.settle();
    let mut outstanding = 8;
    for ahead in 1..=32 {
        fed.give(MASTER, [2 * ahead]);
        let most = [8, 4, 2, 1, 0][ahead as usize / 8];
        // What was asked before stays asked.
        outstanding = most.max(outstanding - 1);
        assert_eq!(fed.asked(MASTER).len() as u32, ahead + outstanding, "{ahead} ahead");
    }
    assert_eq!(outstanding, 0);
    fed.give(1, [1]);
    assert_eq!(fed.asked(MASTER).len(), 33, "31 ahead");
}

#[test]
fn a_peers_stripe_is_not_held_back() {
    let mut fed = fed_pieces(100, &[2, 1]);
    fed.give(2, (2..=100).step_by(2));
    fed.pair.settle();
    let evens = fed.stored().iter().filter(|&&piece| piece % 2 == 0).count();
    assert_eq!(evens, 50);
}

/// Of two stripes, one comes whole at once and of the other nothing: 8 of it
/// are asked of its parent, the parent of the first is dealt its rows, and asked
/// for 4 more.
#[test]
fn what_is_left_of_others_is_dealt_out_over_all_parents_row_by_row() {
    let mut fed = fed_pieces(120, &[1, 2]);
    fed.give(1, (2..=120).step_by(2));
    fed.pair.settle();
    assert_eq!(fed.asked(2), [1, 3, 5, 7, 9, 11, 13, 15]);
    // Every second row is the tree's of stripe 0: 1, 5, 9 ... are of those.
    let dealt: Vec<u32> = fed.asked(1).into_iter().filter(|piece| piece % 2 == 1).collect();
    assert_eq!(dealt, [17, 21, 25, 29, 33, 37, 41, 45]);
    assert_eq!(fed.pair.pieces_asked(1, false), [19, 23, 27, 31], "and, at the end, 4 by `held`");
}

/// ... three times what pieces take, and 40 to 500 ms.
#[test]
fn a_share_that_is_late_is_asked_of_the_stripes_own_parent_again() {
    for (latency_ms, patience_ms) in [(0, 40), (50, 150), (200, 500)] {
        let mut fed = fed_pieces(48, &[1, 2]);
        (1..3).for_each(|host| fed.pair.hosts[host].latency_ms = latency_ms);
        fed.pair.client_mut(fed.client).found = (2..=48).step_by(2).collect();
        let dealt = [1, 5, 9, 13, 17, 21, 25, 29];
        fed.give(2, (1..48).step_by(2).filter(|piece| !dealt.contains(piece)));
        fed.pair.until(|pair| pair.pieces_asked(1, true).contains(&1));
        let dealt_ms = fed.asked_ms(1, 1)[0];
        let again_ms = fed.pair.until(|pair| pair.pieces_asked(2, true).contains(&1));
        assert_eq!(again_ms - dealt_ms, patience_ms, "pieces take {latency_ms} ms");
        fed.give(2, dealt);
        fed.pair.drive_bounded();
        assert_eq!(fed.stored().len(), 24);
    }
}

#[test]
fn for_a_stripe_without_a_parent_for_250_ms_4_pieces_are_asked_through_held() {
    let mut fed = fed_pieces(100, &[1, 2]);
    fed.pair.run_to(10);
    fed.pair.befall(2, Fault::Refuses);
    fed.pair.cut(2);
    fed.pair.run_to(259);
    assert_eq!(fed.pair.pieces_asked(1, false), []);
    fed.pair.run_to(260);
    assert_eq!(fed.pair.pieces_asked(1, false), [1, 3, 5, 7], "beside the 8 of its own");
    assert_eq!(fed.asked(1).len(), 8);
}

/// Whoever drives a machine asks it again what is due after each thing that
/// happens: it has to be due still.
#[test]
fn what_else_happens_at_that_moment_does_not_put_it_off() {
    let mut fed = fed_pieces(100, &[1, 2]);
    fed.pair.run_to(10);
    fed.pair.befall(2, Fault::Refuses);
    fed.pair.cut(2);
    fed.pair.run_to(259);
    fed.pair.hosts[MASTER].latency_ms = 1;
    let wait = MasterMessage::Wait { done_bytes: 1, total_bytes: 1 };
    fed.pair.let_server(MASTER, |server| server.tell(&wait));
    fed.pair.run_to(260);
    assert_eq!(fed.pair.pieces_asked(1, false), [1, 3, 5, 7]);
}

#[test]
fn who_had_nothing_of_a_stripe_is_left_alone_with_it_for_100_ms() {
    let mut fed = fed_pieces(100, &[1, 2]);
    fed.pair.run_to(10);
    fed.pair.befall(2, Fault::Refuses);
    fed.pair.cut(2);
    fed.pair.run_to(465);
    let asked_ms = fed.pair.asked_ms(1, &Asked::Piece { piece: 1, waits: false });
    assert_eq!(asked_ms, [260, 360, 460]);
    fed.give(1, [1, 3]);
    fed.pair.run_to(560);
    assert_eq!(fed.stored(), [1, 3], "what is there comes at once");
}

#[test]
fn what_a_parent_says_is_lost_is_asked_of_the_master_and_when_it_comes_the_parent_is_replaced() {
    let mut fed = fed_pieces(20, &[1]);
    fed.pair.let_server(1, |server| server.faults.refused = [5].into());
    fed.pair.settle();
    assert_eq!((fed.complaints(), fed.asked(MASTER)), (vec![], vec![5]));
    fed.give(MASTER, [5]);
    assert_eq!(fed.complaints(), [(0, 0, parent_addr(1), Complaint::Refused)]);
    fed.name(0, MASTER);
    fed.give(MASTER, 1..=20);
    fed.pair.drive_bounded();
    assert_eq!(fed.pair.client(fed.client).exit, Some((0, Vec::new())));
}

#[test]
fn of_a_parent_that_says_everything_is_lost_4_pieces_at_a_time_are_asked_of_the_master() {
    let mut fed = fed_pieces(40, &[1, 2]);
    fed.pair.let_server(1, |server| server.faults.refused = (1..=40).collect());
    fed.give(2, 1..=40);
    fed.pair.settle();
    assert_eq!(fed.asked(MASTER), [2, 4, 6, 8]);
    assert_eq!(fed.asked(1).len(), 8, "no more before the master has spoken");
    fed.give(MASTER, 1..=40);
    assert_eq!(fed.complaints(), [(0, 0, parent_addr(1), Complaint::Refused)]);
    fed.pair.drive_bounded();
    assert_eq!(fed.pair.client(fed.client).exit.as_ref().map(|(_, f)| f.len()), Some(0));
    assert!(fed.asked(MASTER).len() <= 8, "{:?}", fed.asked(MASTER));
}

#[test]
fn the_masters_word_ends_the_file_at_once_here_and_below_and_nobody_is_blamed() {
    let mut fed = fed(Tree::of(&[("a", 100_000), ("b", 5_000)]), &[1, 1], all());
    let (a, count) = (fed.tree.map.of_entry(&fed.tree.manifest, 1), fed.tree.map.count());
    let lost: BTreeSet<u32> = a.clone().skip(3).collect();
    for host in [MASTER, 1] {
        fed.pair.let_server(host, |server| server.faults.refused = lost.clone());
    }
    let child = fed.pair.add_caller(fed.client);
    let path = format!(".xget/{}/pieces", fed.tree.digest());
    let token = fed.pair.read_file_at(child, &path, u64::from(a.end - 1) * STRIDE);
    fed.give(1, (0..count).filter(|piece| !lost.contains(piece)));
    fed.pair.run_to(400);
    let answer = fed.pair.caller(child).answer(token);
    assert!(
        matches!(answer, Some((_, Answered::Failed(5, _)))),
        "a child that waits is told: {answer:?}"
    );
    assert!(fed.asked(MASTER).len() <= 4, "{:?}", fed.asked(MASTER));
    fed.pair.drive_bounded();
    let host = fed.pair.client(fed.client);
    let (_, failures) = host.exit.as_ref().expect("it is over");
    let [failure] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!((failure.status, failure.what.as_str()), (Status::Changed, "a"));
    assert_eq!(host.file("b"), fed.tree.file("b"));
    assert_eq!(fed.complaints(), []);
    let left = |(_, said): &(u64, ClientMessage)| matches!(said, ClientMessage::Leave);
    let end_ms = host.said.iter().position(left);
    assert!(end_ms.is_none_or(|at| at + 1 == host.said.len()), "it goes on serving");
}

#[test]
fn a_piece_that_somebody_changed_under_a_client_is_refused_from_then_on_and_it_takes_leave() {
    let mut fed = fed_pieces(20, &[1]);
    fed.give(1, 1..=10);
    let path = format!(".xget/{}/pieces", fed.tree.digest());
    let lost = FetchInput::Lost { generation: GenerationId(1), piece: 3 };
    fed.pair.input_client(fed.client, lost);
    let child = fed.pair.add_caller(fed.client);
    let tokens = [3, 4].map(|piece| fed.pair.read_file_at(child, &path, piece * STRIDE));
    fed.pair.run_to(40);
    let refused = fed.pair.caller(child).answer(tokens[0]);
    assert!(matches!(refused, Some((_, Answered::Failed(5, _)))), "{refused:?}");
    let expected = Answered::Read(fed.tree.piece(4));
    assert_eq!(fed.pair.caller(child).answer(tokens[1]).map(|(_, a)| a), Some(&expected));
    fed.give(1, 11..=20);
    fed.pair.drive_bounded();
    let host = fed.pair.client(fed.client);
    assert_eq!(host.exit.as_ref().map(|(_, failures)| failures.len()), Some(0), "it had all");
    assert!(host.said.iter().any(|(_, said)| *said == ClientMessage::Leave));
    assert_eq!(fed.complaints(), []);
}

#[test]
fn what_the_master_has_not_any_more_fails_and_the_others_go_on() {
    let mut fed = fed(Tree::of(&[("a", 5_000), ("b", 5_000)]), &[MASTER], all());
    fed.pair.let_server(MASTER, |server| server.faults.refused = [2].into());
    fed.give(MASTER, 1..5);
    fed.pair.drive_bounded();
    let host = fed.pair.client(fed.client);
    let (_, failures) = host.exit.as_ref().expect("it is over");
    let [failure] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!((failure.status, failure.what.as_str()), (Status::Changed, "a"));
    assert_eq!(host.file("b"), fed.tree.file("b"));
}

/// As the driver says it of each reply that it cannot give.
fn changed(generation: u32, entry: u32) -> MasterInput<'static> {
    MasterInput::Changed { generation: GenerationId(generation), entry, path: "a".into() }
}

#[test]
fn the_master_says_once_that_a_file_changed_and_refuses_it_until_it_is_as_it_was() {
    let (mut pair, tree) = (Pair::default(), Tree::of(&[("a", 5_000), ("b", 5_000)]));
    let master = pair.add_master(&tree, 1);
    pair.master(master).is_looked_at_once = false;
    for _ in 0..3 {
        pair.input_master(master, changed(1, 1));
    }
    let words = "a changed since it was hashed: who fetches it gets the others";
    assert_eq!(pair.master(master).warned, [words]);
    assert_eq!(pair.master(master).rescans.len(), 1);
    let caller = pair.add_caller(master);
    let path = format!(".xget/{}/pieces", tree.digest());
    let failed = |pair: &mut Pair, path: &str, offset: u64| {
        let token = pair.read_file_at(caller, path, offset);
        match pair.caller(caller).answer(token) {
            Some((_, Answered::Failed(errno, _))) => Some(*errno),
            Some(_) => None,
            None => panic!("it waits"),
        }
    };
    assert_eq!(failed(&mut pair, &path, STRIDE), Some(5));
    assert_eq!(failed(&mut pair, "a/data", 0), Some(116));
    assert_eq!(failed(&mut pair, &path, 3 * STRIDE), None, "b");
    assert_eq!(failed(&mut pair, "b/data", 0), None);
    pair.input_master(master, MasterInput::Unchanged);
    assert_eq!(failed(&mut pair, &path, STRIDE), None, "it is as it was");
    pair.input_master(master, changed(9, 1));
    assert_eq!(pair.master(master).warned.len(), 1, "there is no such generation");
}

#[test]
fn a_file_that_was_only_touched_is_a_reason_to_look_once_a_second() {
    let (mut pair, tree) = (Pair::default(), Tree::of(&[("a", 5_000)]));
    let master = pair.add_master(&tree, 1);
    for _ in 0..20 {
        for _ in 0..10 {
            pair.input_master(master, MasterInput::Touched);
        }
        pair.run_for(150);
    }
    let looks = pair.master(master).rescans.clone();
    assert!(looks.windows(2).all(|two| two[1] - two[0] >= 1_000), "{looks:?}");
    assert!((2..=3).contains(&looks.len()), "{looks:?}");
}

#[test]
fn of_a_pack_that_the_master_has_not_whole_any_more_the_rest_is_asked_once() {
    let tree = Tree::of(&[("a", 1_000), ("b", 1_000), ("c", 1_000), ("large", 9_000)]);
    let pack = tree.map.manifest_pieces().count();
    for (has_rest, lost) in [(true, &["b"][..]), (false, &["a", "b", "c"])] {
        let mut fed = fed(tree.clone(), &[MASTER], all());
        fed.pair.let_server(MASTER, |server| {
            server.faults.refused = [pack].into();
            server.faults.changed = has_rest.then_some(1_000..2_000);
        });
        let count = fed.tree.map.count();
        fed.give(MASTER, 1..count);
        fed.pair.drive_bounded();
        let host = fed.pair.client(fed.client);
        let (_, failures) = host.exit.as_ref().expect("it is over");
        let names: Vec<&str> = failures.iter().map(|failure| failure.what.as_str()).collect();
        assert_eq!(names, lost);
        assert!(failures.iter().all(|failure| failure.status == Status::Changed));
        for path in ["a", "b", "c", "large"].into_iter().filter(|path| !lost.contains(path)) {
            assert_eq!(host.file(path), fed.tree.file(path));
        }
        assert_eq!(fed.asked_ms(MASTER, pack).len(), 1);
        assert_eq!(fed.pair.asked_ms(MASTER, &Asked::Rest { piece: pack }).len(), 1);
    }
}

/// Gone by the connection, it may be named again: the master itself is asked.
#[test]
fn a_parent_that_failed_in_a_stripe_is_not_gone_back_to() {
    let mut fed = fed_pieces(20, &[1]);
    fed.pair.settle();
    fed.pair.cut(1);
    fed.name(0, 1);
    assert_eq!(fed.pair.called_ms(fed.client, 1), [0]);
    assert_eq!(fed.pair.called_ms(fed.client, MASTER), [0, 0]);
    assert_eq!(fed.asked(MASTER).len(), 8);
}

#[test]
fn but_one_that_was_silent_is() {
    let mut fed = fed_pieces(20, &[1]);
    fed.pair.settle();
    fed.pair.befall(1, Fault::Frozen);
    fed.pair.run_to(400);
    assert_eq!(fed.complaints().len(), 1);
    fed.pair.befall(1, Fault::None);
    fed.name(0, 1);
    assert_eq!(fed.pair.called_ms(fed.client, 1), [0, 400]);
}

#[test]
fn when_five_have_failed_in_a_stripe_the_master_itself_is_asked() {
    let mut fed = fed_pieces(20, &[1]);
    let others = [0; 4].map(|_| fed.pair.add_server(&fed.tree, 1));
    for host in [1].into_iter().chain(others) {
        assert!(fed.asked(MASTER).is_empty(), "before {host}");
        fed.name(0, host);
        fed.pair.cut(host);
    }
    assert_eq!(fed.complaints().len(), 5);
    assert_eq!(fed.asked(MASTER).len(), 8, "whatever it answers");
}

#[test]
fn whole_fetches_of_many_end_with_all_bytes_in_place() {
    let tree = Tree::of(&[("a", 3), ("d/x", 50_000), ("d/y", 77), ("z", 400_000)]);
    let mut pair = Pair::default();
    let master = pair.add_master(&tree, 4);
    let linger = Linger::Millis(1_000);
    let clients = [0; 5].map(|_| pair.add_client(master, FetchRequest { linger, ..all() }));
    for client in clients.into_iter().chain([master]) {
        pair.hosts[client].latency_ms = 1;
        pair.hosts[client].piece_ms = 2;
    }
    pair.drive_bounded();
    let mut from_peers = 0;
    for client in clients {
        let host = pair.client(client);
        assert_eq!(host.exit.as_ref().map(|(_, failures)| failures.len()), Some(0));
        for path in ["a", "d/x", "d/y", "z"] {
            assert_eq!(host.file(path), tree.file(path), "{path}");
        }
        from_peers += host.fetcher.progress().stats.from_peers_bytes;
    }
    assert!(from_peers >= 3 * 450_000, "the master gave about one copy: {from_peers}");
}
