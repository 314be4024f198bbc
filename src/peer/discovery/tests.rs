//! Times, answers, liars and crowds.

use super::*;
use crate::content::manifest::Selector;
use crate::control::{Question, Wanted};
use std::net::Ipv4Addr;

const ID: u64 = 1_000;
const AT: Speaker = Speaker { master: 3, port: 7 };
const PATIENCE: Patience = Patience { first_ms: 10_000, others_ms: 500, awaits_hashing: false };

fn search() -> Search {
    search_of(None)
}

fn search_of(pin: Option<Digest>) -> Search {
    let wanted = Wanted::Part(Selector::of_paths(&["image"]));
    let question = Question { id: ID, wanted }.bytes().unwrap();
    Search::new(0, ID, question, pin, PATIENCE)
}

fn from(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 20_004))
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn have(byte: u8) -> Vec<u8> {
    Answer::Have { bytes: 9, digest: digest(byte) }.datagram(ID, AT)
}

fn addrs(choice: Choice) -> Vec<String> {
    match choice {
        Choice::Same(masters) => masters.addrs().map(|addr| addr.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_asked_at_once_then_after_a_second_two_three_and_so_on_until_the_end() {
    let mut search = search();
    let mut asked = Vec::new();
    let mut now_ms = 0;
    while !search.is_over(now_ms) {
        if let Some((bytes, nth)) = search.poll_question(now_ms) {
            assert_eq!(Question::parse(bytes).unwrap().id, ID);
            asked.push((nth, now_ms));
        }
        assert!(search.poll_question(now_ms).is_none(), "once");
        now_ms = search.deadline_ms();
    }
    // By lot: none, here.
    assert_eq!((asked, now_ms), (vec![(1, 0), (2, 1_000), (3, 3_000), (4, 6_000)], 10_000));
    assert_eq!(search.end().choice(None), Choice::Nobody);
}

#[test]
fn those_who_ask_at_once_do_not_ask_again_at_once() {
    let question = Question { id: 249, wanted: Wanted::Node("default".into()) };
    let mut search = Search::new(5, 249, question.bytes().unwrap(), None, PATIENCE);
    assert!(search.poll_question(5).is_some());
    assert_eq!(search.deadline_ms(), 5 + 1_000 + 249);
}

#[test]
fn after_the_first_answer_others_have_half_a_second() {
    let mut search = search();
    search.heard(200, from(2), &have(1));
    search.heard(300, from(1), &have(1));
    search.heard(300, from(2), &have(1));
    assert_eq!(search.deadline_ms(), 0, "it has to ask yet");
    search.poll_question(300);
    assert_eq!(search.deadline_ms(), 700);
    assert!(!search.is_over(699) && search.is_over(700));
    search.heard(700, from(3), &have(2));
    let Choice::Same(masters) = search.end().choice(None) else { panic!() };
    assert_eq!(masters.generation, Some(digest(1)));
    assert_eq!(addrs(Choice::Same(masters)), ["10.0.0.2:7", "10.0.0.1:7"], "in their order");
}

#[test]
fn who_hashes_ends_nothing_and_is_known_at_the_end() {
    let mut search = search();
    let hashing = Answer::Hashing.datagram(ID, AT);
    for _ in 0..9 {
        search.heard(1, from(1), &hashing);
    }
    search.heard(2, from(2), &hashing);
    assert!(!search.is_over(9_999));
    search.heard(3_000, from(2), &have(1));
    let found = search.end().in_order();
    assert_eq!(found.hashing, ["10.0.0.1:7".parse().unwrap()]);
    assert_eq!(addrs(found.choice(None)), ["10.0.0.2:7"]);
}

/// One that waits for who hashes: others have it after 100 ms.
fn waiting_search(pin: Option<Digest>) -> Search {
    let wanted = Wanted::Part(Selector::of_paths(&["image"]));
    let question = Question { id: ID, wanted }.bytes().unwrap();
    let patience = Patience { others_ms: 1_500, awaits_hashing: true, ..PATIENCE };
    let mut search = Search::new(0, ID, question, pin, patience);
    search.poll_question(0);
    search.heard(100, from(1), &have(1));
    search.poll_question(1_000);
    search
}

#[test]
fn who_hashes_is_waited_for_where_another_has_it() {
    let hashing = Answer::Hashing.datagram(ID, AT);
    let mut search = waiting_search(None);
    assert!(!search.is_over(1_599) && search.is_over(1_600));
    search.heard(1_001, from(2), &hashing);
    assert!(!search.is_over(3_499), "it is asked again at 3,000 ms, and has its time");
    search.heard(2_000, from(2), &have(2));
    assert!(search.is_over(2_000), "all have said what they have");
    let found = search.end();
    assert_eq!((found.choice(None), found.hashing), (Choice::Different, vec![]));
}

#[test]
fn who_says_nothing_more_after_it_hashed_has_it_not_and_who_goes_on_is_named_at_the_end() {
    let hashing = Answer::Hashing.datagram(ID, AT);
    let mut search = waiting_search(None);
    search.heard(1_001, from(2), &hashing);
    search.heard(1_001, from(3), &hashing);
    search.poll_question(3_000);
    search.heard(3_001, from(3), &hashing);
    assert!(!search.is_over(6_499));
    search.poll_question(6_000);
    assert!(search.is_over(6_500));
    search.heard(6_001, from(3), &hashing);
    assert!(!search.is_over(9_999) && search.is_over(10_000), "not for ever");
    assert_eq!(search.end().hashing, ["10.0.0.3:7".parse().unwrap()]);
}

#[test]
fn where_somebody_has_what_is_pinned_nobody_is_waited_for() {
    let mut search = waiting_search(Some(digest(2)));
    search.heard(1_001, from(3), &Answer::Hashing.datagram(ID, AT));
    search.heard(1_010, from(2), &have(2));
    assert!(!search.is_over(1_509) && search.is_over(1_510));
}

#[test]
fn different_ones_are_a_choice_for_people_but_where_one_is_pinned() {
    let mut search = search();
    search.heard(0, from(1), &have(1));
    search.heard(0, from(2), &have(2));
    search.heard(0, from(3), &have(2));
    let found = search.end();
    assert_eq!(found.choice(None), Choice::Different);
    assert_eq!(addrs(found.choice(Some(digest(2)))), ["10.0.0.2:7", "10.0.0.3:7"]);
    // It may be the digest of the only file in each.
    assert_eq!(found.choice(Some(digest(3))), Choice::Different);
}

#[test]
fn a_node_takes_the_first_and_those_that_have_the_same() {
    let mut search = search();
    assert_eq!(search.found.of_first(), None);
    for (last, byte) in [(1, 1), (2, 2), (3, 1)] {
        search.heard(0, from(last), &have(byte));
    }
    let masters = search.end().of_first().unwrap();
    assert_eq!(masters.generation, None);
    assert_eq!(addrs(Choice::Same(masters)), ["10.0.0.1:7", "10.0.0.3:7"]);
}

#[test]
fn the_same_digest_of_another_size_is_a_lie_of_one_of_them() {
    let mut search = search();
    search.heard(0, from(1), &have(1));
    let larger = Answer::Have { bytes: 10, digest: digest(1) };
    search.heard(0, from(2), &larger.datagram(ID, AT));
    assert_eq!(search.end().choice(None), Choice::Different);
}

#[test]
fn the_last_word_of_a_master_counts() {
    let mut search = search();
    search.heard(0, from(1), &have(1));
    search.heard(1, from(1), &have(2));
    assert_eq!(
        search.end().masters,
        [Heard { addr: "10.0.0.1:7".parse().unwrap(), master: 3, bytes: 9, digest: digest(2) }]
    );
}

#[test]
fn what_is_no_answer_to_it_or_from_nobody_is_nothing() {
    let mut search = search();
    let other = Answer::Have { bytes: 9, digest: digest(1) };
    search.heard(0, from(1), &other.datagram(ID + 1, AT));
    search.heard(0, from(1), &other.datagram(ID, Speaker { port: 0, ..AT }));
    search.heard(0, from(1), b"xget-have 1");
    search.heard(0, from(1), &[0xff; 2_000]);
    for ip in ["224.0.0.1", "255.255.255.255", "0.0.0.0", "240.0.0.1", "::", "ff12::1"] {
        search.heard(0, SocketAddr::new(ip.parse().unwrap(), 5), &have(1));
    }
    let found = search.end();
    assert!(found.masters.is_empty() && found.hashing.is_empty() && found.unheard == 0);
}

#[test]
fn addresses_of_one_link_and_of_this_machine_are_behind_the_others() {
    let mut search = search();
    let have = Answer::Have { bytes: 9, digest: digest(1) };
    let addrs_in = ["127.0.0.1:5", "[fe80::1%3]:5", "10.0.0.1:5", "[fd00::1]:5"];
    for (master, addr) in (0..).zip(addrs_in) {
        let speaker = Speaker { master, port: 7 };
        search.heard(0, addr.parse().unwrap(), &have.datagram(ID, speaker));
    }
    let expected = ["10.0.0.1:7", "[fd00::1]:7", "127.0.0.1:7", "[fe80::1%3]:7"];
    assert_eq!(addrs(search.end().in_order().choice(None)), expected);
}

#[test]
fn whom_a_node_cannot_use_is_no_more_and_the_next_is_the_first() {
    let mut search = search();
    for (last, byte) in [(1, 1), (2, 2), (3, 1)] {
        search.heard(0, from(last), &have(byte));
    }
    let mut found = search.end();
    let first = |found: &Found| addrs(Choice::Same(found.of_first().unwrap()));
    assert_eq!(first(&found), ["10.0.0.1:7", "10.0.0.3:7"]);
    assert!(found.drop_first());
    assert_eq!(first(&found), ["10.0.0.2:7"]);
    assert!(found.drop_first());
    assert_eq!(first(&found), ["10.0.0.3:7"], "who says the same may speak the truth");
    assert!(!found.drop_first() && !found.drop_first());
}

#[test]
fn who_says_what_a_node_is_is_the_first_and_those_who_are_silent_go_together() {
    let mut search = search();
    for (last, byte) in [(1, 1), (2, 2), (3, 1)] {
        search.heard(0, from(last), &have(byte));
    }
    let mut found = search.end();
    let first = |found: &Found| addrs(Choice::Same(found.of_first().unwrap()));
    found.put_first("10.0.0.3:7".parse().unwrap());
    found.put_first("10.0.0.9:7".parse().unwrap());
    assert_eq!(first(&found), ["10.0.0.3:7", "10.0.0.1:7"]);
    let called = found.of_first().unwrap();
    found.drop_all(&called);
    assert_eq!(first(&found), ["10.0.0.2:7"]);
}

/// What one address says of itself on so many ports.
fn hear_of_ports(search: &mut Search, last: u8, ports: core::ops::Range<u16>, byte: u8) {
    for port in ports {
        let answer = Answer::Have { bytes: 9, digest: digest(byte) };
        let datagram = answer.datagram(ID, Speaker { master: u64::from(port), port });
        search.heard(0, from(last), &datagram);
    }
}

#[test]
fn one_address_with_many_ports_neither_fills_the_list_nor_stands_before_others() {
    for pin in [None, Some(digest(1))] {
        let mut search = search_of(pin);
        hear_of_ports(&mut search, 1, 30_000..30_040, 1);
        for last in 2..=20 {
            search.heard(0, from(last), &have(1));
        }
        hear_of_ports(&mut search, 1, 30_000..30_040, 1);
        let found = search.end();
        assert_eq!(found.masters.len(), 4 + 19);
        let asked = addrs(found.choice(pin));
        assert_eq!(asked.len(), MASTERS_MAX);
        assert_eq!(asked.iter().filter(|addr| addr.starts_with("10.0.0.1:")).count(), 1);
        assert_eq!(asked[..2], ["10.0.0.1:30000", "10.0.0.2:7"]);
    }
}

#[test]
fn of_a_crowd_on_one_address_what_is_new_or_pinned_takes_the_place_of_its_own() {
    let mut search = search_of(Some(digest(9)));
    search.heard(0, from(2), &have(2));
    for byte in 20..80 {
        let port = 30_000 + u16::from(byte);
        hear_of_ports(&mut search, 1, port..port + 1, byte);
    }
    search.heard(0, from(3), &have(3));
    hear_of_ports(&mut search, 1, 7..8, 9);
    let found = search.end();
    let first = ["10.0.0.2:7", "10.0.0.1:30020", "10.0.0.3:7"].map(|addr| addr.parse().unwrap());
    assert_eq!(found.masters.iter().map(|heard| heard.addr).take(3).collect::<Vec<_>>(), first);
    assert_eq!(found.masters.len(), 4 + 2);
    assert_eq!(addrs(found.choice(Some(digest(9)))), ["10.0.0.1:7"]);
}

#[test]
fn and_are_listed_once_where_the_same_master_is_known_by_another_and_asked_all_the_same() {
    let mut search = search();
    for addr in ["127.0.0.1:5", "[fe80::1%3]:5", "10.0.0.1:5"] {
        search.heard(0, addr.parse().unwrap(), &have(1));
    }
    let found = search.end().in_order();
    let listed: Vec<String> = found.listed().iter().map(|heard| heard.addr.to_string()).collect();
    assert_eq!(listed, ["10.0.0.1:7"]);
    let all = ["10.0.0.1:7", "127.0.0.1:7", "[fe80::1%3]:7"];
    assert_eq!(addrs(found.choice(None)), all, "a liar may say that it is this one");
}

#[test]
fn a_crowd_of_answers_is_bounded_and_does_not_keep_the_pinned_out() {
    let pin = digest(9);
    for pinned in [None, Some(pin)] {
        let mut search = search_of(pinned);
        for number in 0..100_000u32 {
            let ip = Ipv4Addr::from_bits(0x0a00_0000 + number);
            search.heard(0, SocketAddr::new(ip.into(), 5), &have(1));
            let hashing = Answer::Hashing.datagram(ID, AT);
            search.heard(0, SocketAddr::new(ip.into(), 5), &hashing);
        }
        assert!(!search.is_over(9_999), "who is not heard in the crowd is asked again");
        search.heard(600, from(250), &have(9));
        let found = search.end();
        assert_eq!((found.masters.len(), found.unheard), (64, 100_000 - 64 + 1));
        assert!(found.hashing.len() <= 64);
        match pinned {
            None => assert_eq!(found.choice(None), Choice::Different),
            Some(_) => assert_eq!(addrs(found.choice(pinned)), ["10.0.0.250:7"]),
        }
    }
}
