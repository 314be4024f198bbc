//! docs/protocol.md, "Limits", as far as a session keeps them.

use crate::content::{Tree, named};
use crate::fixture::*;
use crate::pair::*;
use ninep::wire::{reply, request};
use ninep::{Dialect, Reply};
use peer::content::manifest::{Entry, EntryKind};
use peer::control::{Complaint, MasterMessage, ParentAddr};
use peer::server::MSIZE;

/// A frame of this length that means nothing.
fn frame_of(len: u32) -> Vec<u8> {
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.resize(len as usize, 0);
    bytes
}

fn version() -> Vec<u8> {
    let mut frames = Vec::new();
    request::tversion(u32::MAX, Dialect::Unix, &mut frames);
    frames
}

#[test]
fn a_frame_is_at_most_1_mib_and_24_bytes_and_8_kib_before_tversion() {
    assert_eq!(MSIZE, (1 << 20) + 24);
    let mut pair = Pair::default();
    let master = pair.add_master(&Tree::of_pieces(2), 1);
    for (is_agreed, len_max) in [(false, 8 << 10), (true, (1 << 20) + 24)] {
        for len in [len_max, len_max + 1] {
            let caller = pair.add_raw_caller(master);
            if is_agreed {
                pair.send_raw(caller, version());
                let mut rversion = Vec::new();
                let reply = Reply::Version { msize: MSIZE, dialect: Some(Dialect::Unix) };
                reply::encode(Dialect::Unix, 0xffff, &reply, &mut rversion);
                assert_eq!(pair.caller(caller).frames, [rversion], "no more is agreed on");
            }
            pair.send_raw(caller, frame_of(len));
            let is_taken = len == len_max;
            assert_eq!(pair.caller(caller).closed_ms.is_none(), is_taken, "{len}");
            assert_eq!(
                pair.caller(caller).frames.len(),
                usize::from(is_agreed) + usize::from(is_taken)
            );
        }
    }
    let warned = &pair.master(master).warned;
    assert!(warned.iter().all(|text| text.contains("closing the connection")), "{warned:?}");
    assert_eq!(warned.len(), 2);
}

/// A raw caller of a client that has nothing but the manifest.
fn attached(fed: &mut Fed) -> usize {
    let caller = fed.pair.add_raw_caller(fed.client);
    let mut frames = version();
    request::tattach(1, 0, b"anybody", b"", &mut frames);
    fed.pair.send_raw(caller, frames);
    caller
}

fn errno(frame: &[u8]) -> Option<u16> {
    match reply::decode(frame, frame.len() as u32) {
        Ok((_, reply::Rmessage::Error(error))) => Some(error.errno),
        _ => None,
    }
}

#[test]
fn a_connection_has_4096_parked_reads() {
    let mut fed = fed_pieces(2, &[1]);
    let caller = attached(&mut fed);
    let generation = fed.tree.digest().to_string();
    let mut frames = Vec::new();
    request::twalk(1, 0, 1, &[b".xget", generation.as_bytes(), b"pieces"], &mut frames);
    request::topen(1, 1, 0, &mut frames);
    for tag in 0..4_097 {
        request::tread(100 + tag, 1, crate::content::STRIDE, 100, &mut frames);
    }
    fed.pair.send_raw(caller, frames);
    let answered = fed.pair.caller(caller).frames.clone();
    assert_eq!(answered.len(), 2 + 2 + 1);
    assert_eq!(errno(&answered[4]), Some(11));
    assert_eq!(answered[4][5..7], (100 + 4_096_u16).to_le_bytes(), "the last");
    fed.give(1, [1]);
    assert_eq!(fed.pair.caller(caller).frames.len(), 5 + 4_096);
}

#[test]
fn a_connection_has_65536_fids() {
    let mut fed = fed_pieces(2, &[1]);
    let caller = attached(&mut fed);
    let mut frames = Vec::new();
    for fid in 1..=65_536 {
        request::twalk(1, 0, fid, &[], &mut frames);
    }
    fed.pair.send_raw(caller, frames);
    let answered = &fed.pair.caller(caller).frames;
    let refused = answered.iter().filter(|frame| errno(frame) == Some(24)).count();
    assert_eq!((answered.len(), refused), (2 + 65_536, 1), "the root's is the first");
}

#[test]
fn a_conversation_line_has_at_most_60000_bytes() {
    let mut pair = Pair::default();
    let master = pair.add_master(&Tree::of_pieces(2), 1);
    let caller = pair.add_caller(master);
    let path = "x".repeat(60_000 - "join 2 7000 \n".len());
    pair.let_caller(caller, |c| c.say(&format!("join 2 7000 {path}\n")));
    assert!(pair.lines(caller)[0].starts_with("error 2 "));
    let token = pair.let_caller(caller, |c| c.say(&format!("join 2 7000 {path}y\n")));
    let answer = pair.caller(caller).answer(token);
    let refused = crate::scripted_client::Answered::Failed(22, "Invalid argument".into());
    assert_eq!(answer, Some((0, &refused)));
}

/// One that has more unread than that is cut off, and joins again.
#[test]
fn a_conversation_has_1_mib_unread() {
    let mut pair = Pair::default();
    let master = pair.add_master(&Tree::of_pieces(2), 1);
    let caller = pair.add_raw_caller(master);
    let mut frames = version();
    request::tattach(1, 0, b"anybody", b"", &mut frames);
    request::twalk(1, 0, 1, &[b".xget", b"route"], &mut frames);
    request::topen(1, 1, 2, &mut frames);
    // Each is answered by an error of some 40 bytes, and nobody reads it.
    for _ in 0..20_000 {
        request::twrite(1, 1, 0, b"join 1 7000\n", &mut frames);
    }
    request::tread(2, 1, 0, 8_192, &mut frames);
    pair.send_raw(caller, frames);
    let last = pair.caller(caller).frames.last().expect("all are answered");
    assert_eq!(errno(last), Some(22));
}

/// A master at 10.0.0.1 names neighbours of another kind: the pair would not find them.
#[test]
fn addresses_of_another_kind_than_the_masters_are_not_called() {
    let mut fed = fed_pieces(20, &[1]);
    fed.pair.settle();
    let named = ["127.0.0.1:5", "169.254.0.1:5", "224.0.0.1:5", "[::1]:5", "10.0.0.9:0"];
    for (at, addr) in named.iter().enumerate() {
        let parent = ParentAddr::Peer(addr.parse().unwrap());
        let message = MasterMessage::Parent { stripe: 0, parent };
        fed.pair.let_server(MASTER, |server| server.tell(&message));
        fed.pair.settle();
        assert_eq!(fed.complaints()[at], (0, 0, parent, Complaint::Lost));
    }
    assert_eq!(fed.asked(1).len(), 8, "its parent stays");
    let warned = &fed.pair.client(fed.client).warned;
    assert_eq!(warned.len(), 3, "each reason once: {warned:?}");
}

#[test]
fn of_the_parents_that_a_master_names_32_are_called_at_once_and_4_a_second() {
    let mut fed = fed_pieces(20, &[1]);
    let hosts: Vec<usize> = (0..100).map(|_| fed.pair.add_server(&fed.tree, 1)).collect();
    fed.pair.settle();
    let name_all = |fed: &mut Fed| {
        hosts.iter().for_each(|&host| fed.name(0, host));
        fed.pair.settle();
        let client = fed.client;
        fed.pair.calls.iter().filter(|(_, from, to)| *from == client && *to > MASTER).count()
    };
    assert_eq!(name_all(&mut fed), 32, "the first parent is one of them");
    assert!(fed.pair.client(fed.client).warned[0].1.contains("the master is asked itself"));
    assert!(!fed.asked(MASTER).is_empty());
    fed.pair.run_to(5_000);
    assert_eq!(name_all(&mut fed), 32 + 4 * 5);
}

/// Selections of 1,000 entries each: one in a millisecond, for each address in turn.
#[test]
fn parts_that_are_made_leave_time_to_others_and_none_keeps_an_address_waiting() {
    let names: Vec<String> = (0..999).map(|number| format!("{number:03}")).collect();
    let files = |dir| names.iter().map(move |name| named(dir, name, EntryKind::File, 1));
    let mut entries = vec![Entry::bare_root()];
    entries.extend(files(0).chain([named(0, "d", EntryKind::Dir, 0)]).chain(files(1_000)));
    let mut pair = Pair::default();
    let master = pair.add_master(&Tree::from_entries(entries), 1);
    let stranger = pair.add_caller(master);
    let join = |pair: &mut Pair, number: usize, beside: Option<usize>| {
        let caller = match beside {
            Some(machine) => pair.add_caller_beside(master, machine),
            None => pair.add_caller(master),
        };
        let line = format!("join 3 {} d {number:03}\n", 7_000 + number);
        pair.let_caller(caller, |c| c.say(&line));
        caller
    };
    let many: Vec<usize> = (0..60).map(|number| join(&mut pair, number, Some(stranger))).collect();
    let named_ms = |pair: &Pair, caller: usize| {
        let lines = &pair.caller(caller).lines;
        lines.iter().find(|(_, line)| line.starts_with("generation ")).map(|(at_ms, _)| *at_ms)
    };
    assert_eq!(named_ms(&pair, many[0]), Some(0));
    assert_eq!(named_ms(&pair, many[1]), None);
    let known = join(&mut pair, 0, None);
    assert_eq!(named_ms(&pair, known), Some(0), "what is made is had at once");
    pair.run_to(30);
    let had = many.iter().filter(|caller| named_ms(&pair, **caller).is_some()).count();
    assert!((28..=32).contains(&had), "{had} in 30 ms");
    let other = join(&mut pair, 900, None);
    pair.run_to(32);
    assert!(named_ms(&pair, other).is_some(), "it goes before 30 of another address");
    pair.cut(many[59]);
    pair.run_to(900);
    assert!(many[..59].iter().all(|caller| named_ms(&pair, *caller).is_some()));
}

#[test]
fn the_parts_that_are_fetched_from_one_address_leave_room_for_those_of_others() {
    let names: Vec<String> = (0..80).map(|number| format!("{number:02}")).collect();
    let mut entries = vec![Entry::bare_root()];
    entries.extend(names.iter().map(|name| named(0, name, EntryKind::File, 1)));
    let mut pair = Pair::default();
    let master = pair.add_master(&Tree::from_entries(entries), 1);
    let stranger = pair.add_caller(master);
    let joined = |pair: &mut Pair, number: usize, caller: usize| {
        let line = format!("join 3 {} {number:02}\n", 7_000 + number);
        pair.let_caller(caller, |c| c.say(&line));
        pair.caller(caller).lines[0].1.clone()
    };
    for number in 0..70 {
        let caller = pair.add_caller_beside(master, stranger);
        let is_in = joined(&mut pair, number, caller).starts_with("generation ");
        assert_eq!(is_in, number < 64, "{number}");
    }
    let other = pair.add_caller(master);
    assert!(joined(&mut pair, 75, other).starts_with("generation "));
    let known = pair.add_caller_beside(master, stranger);
    assert!(joined(&mut pair, 75, known).starts_with("generation "), "it costs nothing");
}
