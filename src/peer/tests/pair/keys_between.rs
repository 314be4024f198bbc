//! docs/protocol.md, "Keys": what somebody between two who have the key can make of what they
//! say. At most that it fails.

use crate::between::{Between, Passed};
use crate::content::Tree;
use crate::host::Fault;
use crate::pair::*;
use ninep::{NOFID, Reply, Request};
use peer::auth::Key;
use peer::content::digest::Digest;
use peer::control::MasterMessage;
use peer::failure::{Failure, Status};
use peer::request::{FetchRequest, Linger};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

const MASTER: usize = 0;
const CLIENT: usize = 1;
const RAUTH: u8 = 103;
const RATTACH: u8 = 105;
const RREAD: u8 = 117;

fn key() -> Key {
    Key::root([7; 32]).cluster().expect("a root has one")
}

fn tree() -> Rc<Tree> {
    Tree::of(&[("a", 9_000), ("b", 200)])
}

/// A master and a client that have the key, with somebody between them.
fn pair_with(will: impl FnMut(&[Passed], Passed) -> Vec<Passed> + 'static) -> Pair {
    pair_of(0, will)
}

/// The same with other random bytes.
fn pair_of(lot: u8, will: impl FnMut(&[Passed], Passed) -> Vec<Passed> + 'static) -> Pair {
    let mut pair = Pair::default();
    pair.lot = lot;
    pair.add_master(&tree(), 1);
    pair.lock(MASTER, &key(), false);
    pair.between = Some(Between::new(will));
    add_client(&mut pair);
    pair
}

/// It calls only when it has its key.
fn add_client(pair: &mut Pair) -> usize {
    pair.befall(MASTER, Fault::Unreachable);
    let request = FetchRequest { linger: Linger::Millis(0), retries: 1, ..all() };
    let client = pair.add_client(MASTER, request);
    pair.lock(client, &key(), false);
    pair.befall(MASTER, Fault::None);
    client
}

/// Lets it end: with what the master serves, whole and from nobody else, or not at all.
fn end(pair: &mut Pair) -> Vec<Failure> {
    pair.until(|pair| pair.client(CLIENT).exit.is_some());
    let client = pair.client(CLIENT);
    let failures = client.exit.clone().map(|(_, failures)| failures).expect("it has ended");
    let digest = client.content.as_ref().map(|content| content.map.manifest_pieces().generation);
    assert!(digest.is_none_or(|digest| digest == tree().digest()), "{digest:?}");
    if failures.is_empty() {
        assert!(client.file("a") == tree().file("a") && client.file("b") == tree().file("b"));
    }
    let called = pair.calls.iter().filter(|(_, from, _)| *from == CLIENT);
    called.for_each(|(_, _, to)| assert_eq!(*to, MASTER, "somebody whom the master did not name"));
    failures
}

#[test]
fn who_hands_all_on_is_a_wire() {
    let mut pair = pair_with(|_, passed| vec![passed]);
    assert_eq!(end(&mut pair), []);
}

#[test]
fn nothing_said_can_be_changed_left_out_doubled_or_moved() {
    let mut pair = pair_with(|_, passed| vec![passed]);
    end(&mut pair);
    let frames = pair.between.as_ref().map_or(0, |between| between.seen.len());
    let mut failed = 0;
    for at in 0..frames {
        for what in 0..5 {
            for is_for_ever in [false, true] {
                let held = RefCell::new(None);
                let mut pair = pair_with(move |seen, passed| {
                    let is_it = seen.len() == at || is_for_ever && seen.len() > at;
                    match what {
                        0 if is_it => vec![passed.damaged()],
                        1 if is_it => vec![],
                        2 if is_it => vec![passed.clone(), passed],
                        // Behind the next one.
                        3 if seen.len() == at => {
                            held.replace(Some(passed));
                            vec![]
                        }
                        3 => [passed].into_iter().chain(held.take()).collect(),
                        // To where it came from.
                        4 if seen.len() == at || is_it && passed.to == 1 => {
                            vec![Passed { to: 1 - passed.to, ..passed }]
                        }
                        _ => vec![passed],
                    }
                });
                failed += usize::from(!end(&mut pair).is_empty());
            }
        }
    }
    assert!(failed > frames, "it did something: {failed} of {frames}");
}

#[test]
fn a_refusal_of_anything_is_a_failure_or_tried_again() {
    let mut pair = pair_with(|_, passed| vec![passed]);
    end(&mut pair);
    let frames = pair.between.map_or(0, |between| between.seen.len());
    for at in 0..frames {
        for errno in [2, 13, 93] {
            for is_for_ever in [false, true] {
                let mut pair = pair_with(move |seen, passed| {
                    let is_it = seen.len() == at || is_for_ever && seen.len() > at;
                    if is_it && passed.to == 0 {
                        return vec![passed.refused(errno)];
                    }
                    vec![passed]
                });
                end(&mut pair);
                never_in_the_clear(&pair);
            }
        }
    }
}

/// Nobody who has a key attaches without it, nor says a word of a conversation.
fn never_in_the_clear(pair: &Pair) {
    for passed in &pair.between.as_ref().expect("he is there").seen {
        match passed.request() {
            Some(Request::Attach { afid, .. }) => assert_ne!(afid, NOFID),
            Some(Request::Write { data, .. }) => {
                let text = [&b"join"[..], b"done", b"progress", b"leave", b"replace"];
                assert!(!text.iter().any(|word| data.starts_with(word)), "{data:?}");
            }
            _ => {}
        }
    }
}

#[test]
fn whoever_says_that_no_key_is_wanted_is_not_believed() {
    for errno in [2, 13, 22, 38, 93, 95] {
        let mut pair = pair_with(move |_, passed| match passed.kind() {
            RAUTH => vec![passed.refused(errno)],
            _ => vec![passed],
        });
        let failures = end(&mut pair);
        assert_eq!(failures[0].status, Status::Connection);
        let text = failures[0].text();
        assert!(text.contains("takes no proof") && text.contains("--key"), "{text}");
        assert!(pair.client(CLIENT).stored.is_empty());
        never_in_the_clear(&pair);
    }
}

/// The tags of reads on the conversation, which have no offset and never end.
fn is_of_route(seen: &[Passed], passed: &Passed) -> bool {
    let asked = seen
        .iter()
        .rev()
        .find(|asked| (asked.conn, asked.to, asked.tag()) == (passed.conn, 1, passed.tag()));
    let is_read = asked
        .is_some_and(|asked| matches!(asked.request(), Some(Request::Read { count: 8192, .. })));
    passed.kind() == RREAD && passed.to == 0 && is_read
}

#[test]
fn lines_of_his_own_are_not_the_masters() {
    let other = Digest([9; 32]);
    let generation = MasterMessage::Generation {
        digest: other,
        manifest_len: 99,
        piece_len: 32_768,
        stripes: 1,
    };
    let parent =
        MasterMessage::Parent { stripe: 0, parent: peer::control::ParentAddr::Peer(addr(5)) };
    let error = MasterMessage::Error { errno: 93, text: "an older one".into() };
    for line in [generation.line(), parent.line(), error.line(), "wait 1 2\n".into()] {
        for is_framed in [false, true] {
            let mut data = line.clone().into_bytes();
            if is_framed {
                data.splice(0..0, (line.len() as u16).to_le_bytes());
            }
            for is_instead in [false, true] {
                let data = data.clone();
                let mut pair = pair_with(move |seen, passed| {
                    if !is_of_route(seen, &passed) {
                        return vec![passed];
                    }
                    let mut bytes = passed.bytes[11..].to_vec();
                    let own = if is_instead { data.clone() } else { [&data[..], &bytes].concat() };
                    bytes.clear();
                    vec![passed.answered(&Reply::Read { data: own })]
                });
                let failures = end(&mut pair);
                assert_eq!(failures[0].status, Status::Connection);
                let text = failures[0].text();
                assert!(text.contains("not sealed") || text.contains("answer"), "{text}");
            }
        }
    }
}

/// What is sealed on one connection says nothing on another.
#[test]
fn what_was_said_in_another_conversation_is_of_no_use() {
    // Of an older session of the same two, and of one that goes on at the same time.
    let mut older = pair_with(|_, passed| vec![passed]);
    assert_eq!(end(&mut older), []);
    let seen = older.between.take().map(|between| between.seen).expect("he was there");
    let said: Vec<Vec<u8>> = (0..seen.len())
        .filter(|at| is_of_route(&seen[..*at], &seen[*at]))
        .map(|at| seen[at].bytes[11..].to_vec())
        .collect();
    assert!(!said.is_empty(), "a generation and a parent");
    let turn = Cell::new(0);
    let mut pair = pair_of(1, move |seen, passed| {
        if !is_of_route(seen, &passed) {
            return vec![passed];
        }
        let at = turn.replace(turn.get() + 1);
        vec![passed.answered(&Reply::Read { data: said[at % said.len()].clone() })]
    });
    let failures = end(&mut pair);
    assert!(failures[0].text().contains("not sealed"), "{}", failures[0].text());
}

/// All of two connections is crossed: each hears what is meant for the other.
#[test]
fn two_conversations_that_are_spliced_end() {
    let (mut pair, conns) = (pair_with(|_, passed| vec![passed]), [0, 1]);
    add_client(&mut pair);
    pair.between = Some(Between::new(move |seen, passed| {
        let [one, other] = conns;
        // The first flight goes where it belongs.
        let is_late = seen.iter().any(|seen| seen.conn == passed.conn && seen.kind() == RREAD);
        let conn = match passed.conn {
            conn if conn == one && is_late => other,
            conn if conn == other && is_late => one,
            conn => conn,
        };
        vec![Passed { conn, ..passed }]
    }));
    end(&mut pair);
}

#[test]
fn who_repeats_a_whole_session_is_not_let_in() {
    let mut pair = pair_with(|_, passed| vec![passed]);
    assert_eq!(end(&mut pair), []);
    let seen = pair.between.take().map(|between| between.seen).expect("he was there");
    let caller = pair.add_raw_caller(MASTER);
    let said = seen.iter().filter(|passed| (passed.conn, passed.to) == (0, 1));
    for passed in said {
        pair.send_raw(caller, passed.bytes.clone());
    }
    pair.settle();
    let frames = pair.caller(caller).frames.clone();
    let kinds: Vec<u8> = frames.iter().map(|frame| frame[4]).collect();
    // Rversion and Rauth, for they say nothing of whom they are; then nothing but errors.
    assert_eq!(kinds[..4], [101, 103, 107, 107], "{kinds:?}");
    let rclunk = 121;
    assert!(kinds[4..].iter().all(|kind| [107, 109, rclunk].contains(kind)), "{kinds:?}");
    assert!(!kinds.contains(&RATTACH), "it is attached to nothing");
    let warned = &pair.master(MASTER).warned;
    assert!(warned.iter().any(|line| line.contains("repeats what another has said")), "{warned:?}");
}

/// He is let in with whom he relays, and can read what that one can; he can say nothing.
#[test]
fn who_relays_says_nothing_in_the_name_of_another() {
    use ninep::wire::request::{topen, twalk, twrite};
    const TAG: u16 = 40_000;
    let is_done = Rc::new(Cell::new(false));
    let answers = Rc::new(RefCell::new(Vec::new()));
    let (done, heard) = (is_done.clone(), answers.clone());
    let mut pair = pair_with(move |seen, passed| {
        if passed.to == 0 && (TAG..TAG + 99).contains(&passed.tag()) {
            heard.borrow_mut().push((passed.tag() - TAG, passed.kind()));
            return vec![];
        }
        // Once somebody is attached there, and all fids below are his.
        let is_in = seen.iter().any(|seen| seen.kind() == RATTACH && seen.conn == passed.conn);
        if passed.to == 0 || !is_in || done.replace(true) {
            return vec![passed];
        }
        let files: [(&[&[u8]], &[u8]); 4] = [
            (&[b"log"], b"a lie\n"),
            (&[b"a", b"avail"], b"4000 me"),
            (&[b".xget", b"route"], b"leave\n"),
            (&[b".xget", b"node"], b"host=n1\nstate up a lie\n"),
        ];
        let mut all = Vec::new();
        for (at, (path, text)) in files.into_iter().enumerate() {
            let (tag, fid) = (TAG + 10 * at as u16, 40_000 + at as u32);
            for step in 0..3 {
                let mut bytes = Vec::new();
                match step {
                    0 => twalk(tag, 0, fid, path, &mut bytes),
                    1 => topen(tag + 1, fid, 2, &mut bytes),
                    _ => twrite(tag + 2, fid, 0, text, &mut bytes),
                }
                all.push(Passed { bytes, ..passed });
            }
        }
        all.push(passed);
        all
    });
    assert_eq!(end(&mut pair), [], "who is relayed does not mind");
    let answers = answers.borrow();
    let (rerror, rwalk) = (107, 111);
    for at in 0..4 {
        assert!(answers.contains(&(10 * at, rwalk)), "{answers:?}");
        assert!(answers.contains(&(10 * at + 2, rerror)), "{answers:?}");
    }
    let master = pair.master(MASTER);
    assert!(master.said.iter().all(|line| !line.contains("lie")), "{:?}", master.said);
    let probe = add_client(&mut pair);
    pair.until(|pair| pair.client(probe).exit.is_some());
}
