//! docs/protocol.md, "Signs of life": every line of the table, with its time.

use crate::content::{PIECE_LEN, Tree};
use crate::fixture::*;
use crate::host::{Fault, Node};
use crate::pair::*;
use crate::scripted_server::{Answers, Asked};
use ninep::server::ConnId;
use peer::conn::{ConnEffect, ConnEvent};
use peer::control::{Complaint, MasterMessage, ParentAddr};
use peer::failure::Status;
use peer::fetch::{FetchEffect, FetchInput};
use peer::request::{FetchRequest, Linger};

/// A client of one stripe whose parent this is, and all that is before the
/// manifest is over.
fn waiting_for(parent: usize) -> Fed {
    let mut fed = fed_pieces(20, &[parent]);
    fed.pair.settle();
    assert_eq!(fed.asked(parent).len(), 8);
    fed
}

/// A client that was only told of a parent; nothing of it was called yet.
fn told_of(parent: usize, befall: impl FnOnce(&mut Pair)) -> Fed {
    let mut fed = fed_pieces(20, &[parent]);
    befall(&mut fed.pair);
    fed
}

#[test]
fn a_parent_that_does_not_answer_the_call_is_called_once_more_after_250_ms() {
    let mut fed = told_of(1, |pair| pair.hosts[1].syns_lost = 1);
    fed.pair.run_to(1_000);
    assert_eq!(fed.pair.called_ms(fed.client, 1), [0, 250]);
    assert_eq!(fed.asked(1).len(), 8, "it was only a SYN");
    assert_eq!(fed.complaints(), []);
}

#[test]
fn and_is_given_up_within_500_ms_more() {
    let mut fed = told_of(1, |pair| pair.befall(1, Fault::Unreachable));
    fed.pair.run_to(749);
    assert_eq!(fed.complaints(), []);
    fed.pair.run_to(5_000);
    assert_eq!(fed.pair.called_ms(fed.client, 1), [0, 250]);
    assert_eq!(fed.complaints(), [(750, 0, parent_addr(1), Complaint::Frozen)]);
}

#[test]
fn a_parent_that_refuses_or_breaks_off_is_lost_at_once() {
    let mut fed = told_of(1, |pair| pair.befall(1, Fault::Refuses));
    fed.pair.settle();
    assert_eq!(fed.complaints(), [(0, 0, parent_addr(1), Complaint::Lost)]);
    let mut fed = waiting_for(1);
    fed.pair.run_to(33);
    fed.pair.cut(1);
    assert_eq!(fed.complaints()[0], (33, 0, parent_addr(1), Complaint::Lost));
}

#[test]
fn a_parent_that_does_not_know_the_generation_yet_is_asked_again() {
    let mut fed = fed_pieces(20, &[1]);
    fed.pair.let_server(1, |server| server.faults.opens_refused = 7);
    fed.pair.run_to(1_000);
    let opened_ms = fed.pair.asked_ms(1, &Asked::Open("pieces".into()));
    assert_eq!(opened_ms, [0, 10, 30, 70, 150, 310, 470, 630]);
    assert_eq!((fed.asked(1).len(), fed.complaints()), (8, vec![]));
}

#[test]
fn and_24_times_in_all() {
    let mut fed = fed_pieces(20, &[1]);
    fed.pair.let_server(1, |server| server.faults.opens_refused = 24);
    fed.pair.run_to(10_000);
    let opened_ms = fed.pair.asked_ms(1, &Asked::Open("pieces".into()));
    assert_eq!(opened_ms.len(), 24);
    assert_eq!(fed.complaints()[0], (opened_ms[23], 0, parent_addr(1), Complaint::Refused));
    let asked = fed.pair.asked_ms(MASTER, &Asked::Open("pieces".into()));
    assert_eq!(asked, [1_000, 4_200], "for the manifest, and a second after it is gone");
}

#[test]
fn a_silent_parent_that_owes_a_piece_is_probed_after_150_ms() {
    let mut fed = waiting_for(1);
    fed.pair.run_to(460);
    // Each answer is a sign of life.
    assert_eq!(fed.probed_ms(1), [150, 300, 450]);
    assert_eq!(fed.pair.asked_ms(1, &Asked::Probe), [150, 300, 450], "of an unused tag");
    fed.give(1, [1]);
    fed.pair.run_to(610);
    assert_eq!(fed.probed_ms(1)[3..], [610], "so is a piece");
    assert_eq!(fed.complaints(), []);
}

#[test]
fn a_parent_that_owes_nothing_is_not_probed() {
    let mut fed = fed_pieces(20, &[1]);
    fed.pair.client_mut(fed.client).is_slow_to_prepare = true;
    fed.pair.run_to(3_000);
    assert!(fed.pair.client(fed.client).content.is_some());
    assert_eq!(fed.probed_ms(1), []);
}

#[test]
fn and_given_up_as_frozen_when_it_does_not_answer_within_250_ms() {
    let mut fed = waiting_for(1);
    fed.pair.befall(1, Fault::Frozen);
    fed.pair.run_to(1_000);
    assert_eq!(fed.probed_ms(1), [150]);
    assert_eq!(fed.complaints(), [(400, 0, parent_addr(1), Complaint::Frozen)]);
    let (at_ms, warned) = fed.pair.client(fed.client).warned[0].clone();
    let why = "frozen: silent for 400 ms, and does not answer a probe";
    assert_eq!((at_ms, warned), (400, format!("peer {}: {why}", addr(1))));
}

#[test]
fn an_answer_in_time_is_enough() {
    let mut fed = waiting_for(1);
    fed.pair.befall(1, Fault::Frozen);
    fed.pair.run_to(399);
    fed.pair.befall(1, Fault::None);
    fed.pair.run_to(2_000);
    assert_eq!(fed.complaints(), []);
}

/// A stall of our own loses a 64th of its weight every 100 ms.
fn faded_ms(stall_ms: u64, looks: u32) -> u64 {
    (0..looks).fold(stall_ms, |ms, _| ms - ms / 64)
}

#[test]
fn who_stalled_himself_is_patient_for_twice_as_long_again() {
    let mut fed = waiting_for(1);
    fed.pair.run_to(100);
    // The next look is due at 200, and is 640 ms late.
    fed.pair.befall(fed.client, Fault::Frozen);
    fed.pair.run_to(840);
    fed.pair.befall(fed.client, Fault::None);
    fed.pair.settle();
    // Probed then, because it was silent; it answers, and freezes.
    fed.pair.befall(1, Fault::Frozen);
    let given_up_ms = fed.pair.until(|pair| pair.client(2).warned.len() == 1);
    let probed_ms = *fed.probed_ms(1).last().expect("it was probed");
    // Looks at 940, 1040 and so on to the end.
    let looks = ((given_up_ms - 840) / 100) as u32;
    assert_eq!(given_up_ms, probed_ms + 250 + 2 * faded_ms(640, looks));
}

#[test]
fn so_is_who_found_an_answer_late() {
    let mut fed = waiting_for(1);
    fed.pair.befall(1, Fault::Frozen);
    fed.pair.run_to(350);
    fed.pair.befall(1, Fault::None);
    fed.pair.run_to(360);
    fed.pair.befall(1, Fault::Frozen);
    // The answer took 200 ms, which is seen at 400. Probed again at 500.
    let given_up_ms = fed.pair.until(|pair| pair.client(2).warned.len() == 1);
    assert_eq!(fed.probed_ms(1), [150, 500]);
    let looks = ((given_up_ms - 400) / 100) as u32;
    assert_eq!(given_up_ms, 500 + 250 + 2 * faded_ms(200, looks));
}

#[test]
fn the_first_call_is_longer_by_the_stall_itself_and_the_second_by_twice() {
    let mut fed = waiting_for(1);
    let other = fed.pair.add_server(&fed.tree, 1);
    fed.pair.befall(other, Fault::Unreachable);
    fed.pair.run_to(100);
    fed.pair.befall(fed.client, Fault::Frozen);
    fed.pair.run_to(840);
    fed.pair.befall(fed.client, Fault::None);
    fed.pair.settle();
    fed.name(0, other);
    let given_up_ms = fed.pair.until(|pair| !pair.client(2).warned.is_empty());
    let [840, again_ms] = fed.pair.called_ms(fed.client, other)[..] else { panic!("two calls") };
    let stall_ms = |at_ms: u64| faded_ms(640, ((at_ms - 840) / 100) as u32);
    assert_eq!(again_ms, 840 + 250 + stall_ms(again_ms));
    assert_eq!(given_up_ms, again_ms + 500 + 2 * stall_ms(given_up_ms));
}

#[test]
fn the_master_as_a_parent_is_given_six_times_as_long() {
    let mut fed = waiting_for(MASTER);
    fed.pair.befall(MASTER, Fault::Frozen);
    fed.pair.run_to(2_000);
    assert_eq!(fed.probed_ms(MASTER), [150], "after the usual time");
    assert_eq!(fed.complaints(), [(150 + 1_500, 0, ParentAddr::Master, Complaint::Frozen)]);
}

#[test]
fn and_so_is_a_call_of_it() {
    let mut fed = fed_pieces(20, &[MASTER]);
    fed.pair.let_server(MASTER, |server| server.faults.is_mute = true);
    fed.pair.hosts[MASTER].syns_lost = 2;
    fed.pair.let_server(MASTER, |server| server.announce());
    fed.pair.run_to(4_600);
    assert_eq!(fed.pair.called_ms(fed.client, MASTER)[..3], [0, 0, 1_500]);
    assert_eq!(fed.complaints(), [(4_500, 0, ParentAddr::Master, Complaint::Frozen)]);
}

/// Who answers the probe is only waiting itself.
#[test]
fn the_blame_falls_on_the_node_that_is_dead() {
    let mut fed = fed_pieces(20, &[1]);
    let upper = fed.client;
    let second_master = fed.pair.add_server(&fed.tree, 1);
    fed.pair.let_server(second_master, |server| server.parents = vec![parent_addr(upper)]);
    let lower = fed.pair.add_client(second_master, all());
    fed.pair.settle();
    fed.pair.befall(1, Fault::Frozen);
    fed.pair.run_to(2_000);
    assert_eq!(fed.complaints(), [(400, 0, parent_addr(1), Complaint::Frozen)]);
    assert_eq!(fed.pair.client(lower).probed.len(), 13, "every 150 ms");
    assert_eq!(fed.pair.client(lower).warned, []);
}

#[test]
fn a_master_that_is_silent_for_3_s_is_probed_and_given_up_5_s_later() {
    let mut fed = waiting_for(1);
    fed.pair.befall(MASTER, Fault::Frozen);
    fed.pair.run_to(8_499);
    assert_eq!(fed.probed_ms(MASTER), [3_000]);
    let warned = &fed.pair.client(fed.client).warned;
    let why = "silent for 8 s, and does not answer a probe";
    let text = format!("the master {}: {why}; going on with the peers", addr(MASTER));
    assert_eq!(*warned, [(8_000, text)]);
    assert_eq!(fed.pair.called_ms(fed.client, MASTER), [0]);
    fed.pair.run_to(8_500);
    assert_eq!(fed.pair.called_ms(fed.client, MASTER), [0, 8_500]);
}

/// A client whose master is this from the start.
fn whose_master(befalls: Fault, retries: u32) -> (Pair, usize) {
    let mut pair = Pair::default();
    pair.add_server(&Tree::of_pieces(2), 1);
    pair.befall(MASTER, befalls);
    let client = pair.add_client(MASTER, FetchRequest { retries, ..all() });
    pair.drive_bounded();
    let (at_ms, failures) = pair.client(client).exit.clone().expect("it gave up");
    assert_eq!((at_ms, failures[0].status), (pair.now_ms, Status::Connection));
    (pair, client)
}

#[test]
fn between_two_tries_to_reach_the_master_are_half_a_second_and_then_one() {
    let (pair, client) = whose_master(Fault::Refuses, 3);
    assert_eq!(pair.called_ms(client, MASTER), [0, 500, 1_500, 2_500]);
    assert_eq!(pair.now_ms, 2_500);
}

#[test]
fn there_are_20_such_tries_unless_it_is_said_otherwise() {
    let (pair, client) = whose_master(Fault::Refuses, all().retries);
    assert_eq!(pair.called_ms(client, MASTER).len(), 1 + 20);
}

#[test]
fn a_call_of_the_master_that_is_not_answered_is_given_up_after_3_s() {
    let (pair, client) = whose_master(Fault::Unreachable, 2);
    assert_eq!(pair.called_ms(client, MASTER), [0, 3_500, 7_500]);
    assert_eq!(pair.now_ms, 10_500);
}

#[test]
fn a_join_without_an_answer_or_a_wait_for_15_s_is_given_up() {
    let mut pair = Pair::default();
    pair.add_server(&Tree::of_pieces(2), 1);
    pair.let_server(MASTER, |server| server.faults.is_mute = true);
    let client = pair.add_client(MASTER, all());
    pair.run_to(14_000);
    let wait = MasterMessage::Wait { done_bytes: 1, total_bytes: 2 };
    pair.let_server(MASTER, |server| server.tell(&wait));
    let given_up_ms = pair.until(|pair| !pair.client(client).warned.is_empty());
    assert_eq!(given_up_ms, 29_000);
}

#[test]
fn while_pieces_come_the_master_is_tried_without_an_end() {
    let mut fed = waiting_for(1);
    fed.pair.befall(MASTER, Fault::Refuses);
    fed.pair.cut(MASTER);
    for piece in 1..=20 {
        fed.pair.run_to(u64::from(piece) * 4_000);
        fed.give(1, [piece]);
    }
    assert_eq!(fed.stored().len(), 20);
    assert!(fed.pair.called_ms(fed.client, MASTER).len() > 70, "more than the 20");
    fed.pair.drive_bounded();
    let (_, failures) = fed.pair.client(fed.client).exit.clone().expect("it is over");
    assert_eq!(failures, [], "all is in place");
}

/// Four stripes of 120 pieces: three come at a piece in 10 ms, of one a parent
/// gives a piece every 100 ms.
fn lagging(is_busy: bool) -> Fed {
    let mut fed = fed(Tree::of(&[("file", 480 * 4096)]), &[1, 2, 3, 4], all());
    let count = fed.tree.map.count();
    for host in 2..=4 {
        fed.pair.hosts[host].piece_ms = 10;
        fed.give(host, 0..count);
    }
    if is_busy {
        fed.pair.hosts[1].piece_ms = 100;
        fed.give(1, 0..count);
    } else {
        for piece in (0..count).step_by(4).take(12) {
            fed.pair.run_for(100);
            fed.give(1, [piece]);
        }
    }
    fed.pair.run_to(1_250);
    fed
}

#[test]
fn a_slow_uplink_is_complained_of_every_300_ms() {
    let complaints = lagging(true).complaints();
    let narrow = |at_ms| (at_ms, 0, parent_addr(1), Complaint::SlowUplink);
    let first_ms = complaints[0].0;
    assert!((300..=600).contains(&first_ms), "it lags for 300 ms: {complaints:?}");
    assert_eq!(complaints[..3], [0, 300, 600].map(|after_ms| narrow(first_ms + after_ms)));
}

#[test]
fn who_gives_as_little_and_is_not_busy_waits_itself() {
    assert_eq!(lagging(false).complaints(), []);
}

#[test]
fn a_parent_that_answers_and_gives_nothing_is_slow_after_5_s() {
    let mut fed = waiting_for(1);
    fed.pair.run_to(6_000);
    let slow = |at_ms| (at_ms, 0, parent_addr(1), Complaint::Slow);
    // It is looked at every 300 ms from when it owes for 1 s.
    assert_eq!(fed.complaints(), [slow(5_200), slow(5_500), slow(5_800)]);
}

#[test]
fn and_after_1_s_where_another_stripe_flows_and_is_left_after_3_s() {
    let mut fed = fed(Tree::of(&[("file", 400 * 4096)]), &[1, 2], all());
    fed.pair.settle();
    for turn in 0..90 {
        fed.pair.run_for(50);
        // It has what others have of the other stripe, and so waits itself.
        (1..=2).for_each(|host| fed.give(host, [4 * turn + 1, 4 * turn + 3]));
    }
    let said = |why| {
        let complaints = fed.complaints().into_iter();
        complaints.filter(|(.., it)| *it == why).map(|(at_ms, ..)| at_ms).collect::<Vec<u64>>()
    };
    let (slow, left) = (said(Complaint::Slow), said(Complaint::Refused));
    assert!((1_000..=1_400).contains(&slow[0]) && slow.len() >= 5, "{slow:?}");
    assert!(left.len() == 1 && (3_000..=3_400).contains(&left[0]), "{left:?}");
    assert!(slow.iter().all(|slow_ms| *slow_ms < left[0]));
    assert!(fed.complaints().iter().all(|(_, stripe, ..)| *stripe == 0));
}

#[test]
fn one_that_has_not_even_the_manifest_is_left_after_half_a_second() {
    let mut fed = waiting_for(1);
    fed.pair.let_server(1, |server| server.faults.denies = true);
    fed.pair.run_to(499);
    assert_eq!(fed.complaints(), []);
    // Probed three times until then, and looked at every 100 ms.
    fed.pair.run_to(1_000);
    assert_eq!(fed.complaints(), [(500, 0, parent_addr(1), Complaint::Refused)]);
}

#[test]
fn and_one_that_has_not_what_others_have_after_1_s_where_another_stripe_flows() {
    let mut fed = fed(Tree::of(&[("file", 400 * 4096)]), &[1, 2], all());
    fed.pair.settle();
    let left_ms = |fed: &Fed| {
        let complaints = fed.complaints().into_iter();
        complaints.filter(|(.., why)| *why == Complaint::Refused).map(|(at_ms, ..)| at_ms).next()
    };
    for turn in 0..40 {
        fed.pair.run_for(50);
        // It gives nothing; the manifest it has, as all do.
        fed.give(2, [4 * turn + 1, 4 * turn + 3]);
    }
    let left_ms = left_ms(&fed).expect("it is left");
    assert!((1_000..=1_700).contains(&left_ms), "{left_ms}");
}

#[test]
fn who_is_of_no_use_in_one_stripe_is_asked_in_no_other_for_30_s() {
    let mut fed = fed_pieces(20, &[1, 2]);
    fed.pair.let_server(1, |server| server.faults.answers = Answers::NoRead);
    fed.give(2, 0..=20);
    fed.pair.run_to(500);
    assert_eq!(fed.complaints(), [(400, 0, parent_addr(1), Complaint::Refused)]);
    let refused = |fed: &Fed| fed.complaints().len();
    fed.name(0, 1);
    fed.pair.settle();
    assert_eq!(refused(&fed), 2, "it is not called again");
    assert_eq!(fed.pair.called_ms(fed.client, 1), [0]);
}

/// A client of a parent that answers that much, of a manifest of so many pieces.
fn answered(answers: Answers, files: u64) -> Fed {
    let names: Vec<&'static str> = vec!["a", "b", "c", "d", "e", "f", "g", "h"];
    let of = |name: &&'static str| (*name, files * u64::from(PIECE_LEN));
    let tree = Tree::of(&names.iter().map(of).collect::<Vec<_>>());
    let mut fed = fed(tree, &[1], all());
    fed.pair.let_server(1, |server| server.faults.answers = answers);
    fed.pair.run_to(999);
    fed
}

#[test]
fn a_parent_that_answers_all_but_reads_is_left_as_soon_as_one_that_is_frozen() {
    for files in [2, 100] {
        let fed = answered(Answers::NoRead, files);
        assert_eq!(fed.complaints(), [(400, 0, parent_addr(1), Complaint::Refused)]);
        let said = &fed.pair.client(fed.client).warned[0].1;
        assert!(said.contains("answers, and not what is read of it, for 400 ms"), "{said}");
    }
}

#[test]
fn a_parent_that_does_not_answer_an_open_is_left_after_half_a_second() {
    let fed = answered(Answers::NoOpen, 2);
    assert_eq!(fed.complaints(), [(500, 0, parent_addr(1), Complaint::Refused)]);
}

#[test]
fn a_manifest_that_nobody_gives_is_asked_of_the_master_after_1_s() {
    for files in [2, 100] {
        let mut fed = answered(Answers::NothingParked, files);
        assert!(fed.tree.map.manifest_pieces().count() > u32::from(files > 2));
        assert_eq!(fed.pair.asked_ms(MASTER, &Asked::Open("pieces".into())), []);
        let whole_ms = fed.pair.until(|pair| pair.client(fed.client).content.is_some());
        assert!((1_000..=1_600).contains(&whole_ms), "{whole_ms}");
        assert_eq!(fed.complaints(), [], "it may wait itself");
    }
}

#[test]
fn a_stripe_for_which_nobody_is_named_is_asked_of_the_master_after_1_s() {
    let mut fed = waiting_for(1);
    fed.give(MASTER, 1..=20);
    fed.pair.cut(1);
    fed.pair.befall(1, Fault::Refuses);
    fed.pair.drive_bounded();
    let (at_ms, failures) = fed.pair.client(fed.client).exit.clone().expect("it is through");
    assert!((1_000..=1_200).contains(&at_ms) && failures.is_empty(), "{at_ms}");
}

#[test]
fn a_frame_that_comes_at_less_than_4_kib_a_second_is_not_waited_for() {
    for (piece_ms, is_left) in [(990, false), (8_000, true)] {
        let mut fed = fed_pieces(20, &[1]);
        fed.pair.settle();
        fed.pair.hosts[1].piece_ms = piece_ms;
        fed.give(1, [1]);
        fed.pair.run_to(1_200);
        let left = [(1_000, 0, parent_addr(1), Complaint::Refused)];
        assert_eq!(fed.complaints(), left[..usize::from(is_left)]);
        assert_eq!(fed.stored().is_empty(), is_left);
    }
}

#[test]
fn what_it_owes_for_15_s_is_asked_of_the_master() {
    let mut fed = waiting_for(1);
    let open = Asked::Open("pieces".into());
    fed.pair.run_to(14_999);
    assert_eq!(fed.pair.asked_ms(MASTER, &open), []);
    fed.pair.run_to(15_000);
    assert_eq!(fed.pair.asked_ms(MASTER, &open), [15_000]);
    fed.give(MASTER, 1..=20);
    fed.pair.drive_bounded();
    assert_eq!(fed.pair.client(fed.client).exit, Some((15_000, Vec::new())));
}

#[test]
fn a_fetch_to_which_nothing_comes_for_60_s_fails() {
    let mut fed = waiting_for(1);
    fed.pair.run_to(7_000);
    fed.give(1, [1]);
    fed.pair.run_to(67_000);
    assert_eq!(fed.pair.client(fed.client).exit, None);
    fed.pair.drive_bounded();
    let (at_ms, failures) = fed.pair.client(fed.client).exit.clone().expect("it gave up");
    assert!((67_001..=67_100).contains(&at_ms), "{at_ms}");
    assert_eq!(failures[0].status, Status::Connection);
    let owed = format!("the master {} owes piece 2 for 46 s", addr(MASTER));
    assert_eq!(failures[0].why, format!("no data from anybody for 60 s; {owed}"));
}

#[test]
fn a_fetch_that_is_over_has_nothing_to_say_of_its_parents_and_ends_once() {
    let mut fed = waiting_for(1);
    let Node::Client(client) = &mut fed.pair.hosts[fed.client].node else { panic!("a client") };
    let fetcher = &mut client.fetcher;
    fetcher.handle(1, FetchInput::Interrupted);
    assert!(matches!(fetcher.poll_effect(), Some(FetchEffect::Exit { .. })));
    while fetcher.poll_conn_effect().is_some() {}
    // The driver may have these in hand already: the parent's connection, which
    // was made after the one to the master, breaks; slices of work are through.
    let (conn, reason) = (ConnId(2), "reset".into());
    fetcher.handle(2, FetchInput::Conn(ConnEvent::Closed { conn, reason }));
    fetcher.handle(2, FetchInput::Timeout);
    fetcher.handle(2, FetchInput::Prepared { found: (1..=20).collect() });
    fetcher.handle(2, FetchInput::Finished { failures: Vec::new() });
    fetcher.handle(9_000, FetchInput::Timeout);
    assert!(fetcher.poll_effect().is_none());
    let sent = std::iter::from_fn(|| fetcher.poll_conn_effect());
    assert_eq!(sent.filter(|e| matches!(e, ConnEffect::Send { .. })).count(), 0);
    assert_eq!(fetcher.poll_timeout(), None);
}

#[test]
fn who_is_through_waits_2_s_for_the_master_to_hear_of_it() {
    let request = FetchRequest { linger: Linger::Millis(0), ..all() };
    let mut fed = fed(Tree::of_pieces(20), &[1], request);
    fed.pair.settle();
    fed.pair.befall(MASTER, Fault::Frozen);
    fed.pair.run_to(33);
    fed.give(1, 0..fed.tree.map.count());
    fed.pair.run_to(5_000);
    assert_eq!(fed.pair.client(fed.client).exit, Some((2_033, vec![])));
}

#[test]
fn who_stays_is_there_for_its_time_though_nobody_is_connected() {
    let request = FetchRequest { linger: Linger::Stay(60_000), ..all() };
    let mut fed = fed(Tree::of_pieces(20), &[1], request);
    fed.pair.settle();
    fed.give(1, 0..fed.tree.map.count());
    fed.pair.run_to(50_000);
    assert_eq!(fed.pair.client(fed.client).exit, None);
    fed.pair.run_to(63_000);
    assert!(matches!(fed.pair.client(fed.client).exit, Some((57_000..=61_000, _))));
}

#[test]
fn who_stays_ends_when_the_master_is_lost() {
    let request = FetchRequest { linger: Linger::Stay(600_000), ..all() };
    let mut fed = fed(Tree::of_pieces(20), &[1], request);
    fed.pair.settle();
    fed.give(1, 0..fed.tree.map.count());
    fed.pair.run_to(20_000);
    fed.pair.befall(MASTER, Fault::Frozen);
    fed.pair.run_to(40_000);
    let exit = fed.pair.client(fed.client).exit.clone();
    assert!(matches!(exit, Some((20_000..=32_000, _))), "{exit:?}");
}
