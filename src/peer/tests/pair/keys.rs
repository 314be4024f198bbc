//! docs/protocol.md, "Keys": who has the key of the cluster fetches and serves, and nobody else.

use crate::content::Tree;
use crate::host::Fault;
use crate::pair::*;
use ninep::Dialect;
use ninep::server::ConnId;
use ninep::wire::request;
use peer::auth::{Hello, Key, MESSAGE_LEN, Random};
use peer::failure::{Failure, Status};
use peer::request::{FetchRequest, Linger};
use peer::server::MSIZE;
use std::rc::Rc;

fn key(seed: u8) -> Key {
    Key::root([seed; 32]).cluster().expect("a root has one")
}

fn request() -> FetchRequest {
    FetchRequest { linger: Linger::Millis(0), retries: 1, ..all() }
}

/// A master with this key and a client with that one.
fn pair_of(master: Option<u8>, client: Option<u8>) -> (Pair, usize, Rc<Tree>) {
    let (mut pair, tree) = (Pair::default(), Tree::of(&[("a", 90_000), ("b", 200)]));
    let host = pair.add_master(&tree, 1);
    if let Some(seed) = master {
        pair.lock(host, &key(seed), false);
    }
    // It calls only when it has its key.
    pair.befall(host, Fault::Unreachable);
    let client_host = pair.add_client(host, request());
    if let Some(seed) = client {
        pair.lock(client_host, &key(seed), false);
    }
    pair.befall(host, Fault::None);
    (pair, client_host, tree)
}

fn ended(pair: &mut Pair, client: usize) -> Vec<Failure> {
    pair.until(|pair| pair.client(client).exit.is_some());
    pair.client(client).exit.clone().map(|(_, failures)| failures).expect("it has ended")
}

#[test]
fn who_has_the_key_fetches() {
    let (mut pair, client, tree) = pair_of(Some(7), Some(7));
    assert_eq!(ended(&mut pair, client), []);
    assert_eq!(pair.client(client).file("a"), tree.file("a"));
}

#[test]
fn nobody_else_does_and_each_side_says_what_it_lacks() {
    for (master, client, why) in [
        (Some(7), None, "only who has the key of this cluster is let in"),
        (Some(7), Some(8), "authentication failed"),
        (None, Some(7), "authentication not required"),
    ] {
        let (mut pair, host, _) = pair_of(master, client);
        let failures = ended(&mut pair, host);
        assert_eq!(failures[0].status, Status::Connection);
        assert!(failures[0].text().contains(why), "{}", failures[0].text());
        assert!(pair.client(host).stored.is_empty());
    }
}

#[test]
fn who_is_refused_by_its_key_is_so_after_three_tries() {
    for (master, client) in [(Some(7), None), (Some(7), Some(8)), (None, Some(7))] {
        let (mut pair, tree) = (Pair::default(), Tree::of(&[("a", 90_000)]));
        let host = pair.add_master(&tree, 1);
        pair.befall(host, Fault::Unreachable);
        let called = pair.add_client(host, FetchRequest { retries: 20, ..request() });
        pair.befall(host, Fault::None);
        if let Some(seed) = master {
            pair.lock(host, &key(seed), false);
        }
        if let Some(seed) = client {
            pair.lock(called, &key(seed), false);
        }
        let failures = ended(&mut pair, called);
        let text = failures[0].text();
        // One call came before there were keys, and nobody answered it.
        assert!(text.ends_with("; asked 4 times") || text.ends_with("; asked 3 times"), "{text}");
        assert_eq!(failures[0].status, Status::Connection);
    }
}

#[test]
fn those_of_the_cluster_feed_each_other() {
    let (mut pair, tree) = (Pair::default(), Tree::of_pieces(40));
    let master = pair.add_master(&tree, 1);
    pair.lock(master, &key(7), false);
    pair.hosts[master].piece_ms = 20;
    let stay = FetchRequest { linger: Linger::Millis(60_000), ..all() };
    let clients: Vec<usize> = (0..3)
        .map(|_| {
            pair.befall(master, Fault::Unreachable);
            let client = pair.add_client(master, stay.clone());
            pair.lock(client, &key(7), false);
            pair.befall(master, Fault::None);
            client
        })
        .collect();
    for client in &clients {
        pair.until(|pair| pair.client(*client).stored.len() == 40);
    }
    let fed = |pair: &Pair| {
        clients
            .iter()
            .flat_map(|from| clients.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from != to && !pair.called_ms(*from, *to).is_empty())
            .count()
    };
    assert!(fed(&pair) > 0, "they call each other");
    for client in clients {
        assert!(pair.client(client).warned.is_empty(), "{:?}", pair.client(client).warned);
    }
}

/// Until this was stored of a file of one piece, fetched from the master alone.
fn took_ms(seed: Option<u8>, latency_ms: u64) -> u64 {
    let (mut pair, client, _) = pair_of(seed, seed);
    pair.hosts.iter_mut().for_each(|host| host.latency_ms = latency_ms);
    assert_eq!(ended(&mut pair, client), []);
    pair.client(client).stored[0].0
}

#[test]
fn a_connection_takes_one_round_trip_more() {
    let round_trip_ms = 2 * 20;
    let connections = 2;
    // The conversation, and the one that the pieces come by, which is made when it is known.
    let more_ms = took_ms(Some(7), 20) - took_ms(None, 20);
    assert_eq!(more_ms, connections * round_trip_ms);
}

/// Reads a file of the master as who has its key does, byte for byte.
fn read_by_key(pair: &mut Pair, path: &[&[u8]]) -> String {
    let caller = pair.add_raw_caller(0);
    let (hello, message) = Hello::new(&key(7), &mut Random::new([9; 32]));
    let mut frames = Vec::new();
    request::tversion(8192, Dialect::Unix, &mut frames);
    request::tauth(1, 1, b"", b"cluster", &mut frames);
    request::twrite(2, 1, 0, &message, &mut frames);
    request::tread(3, 1, 0, MESSAGE_LEN as u32, &mut frames);
    pair.send_raw(caller, frames);
    let data_of = |pair: &Pair| {
        let frame = pair.caller(caller).frames.last().cloned().expect("it is answered");
        frame[11..].to_vec()
    };
    let (_, proof) = hello.finish(&data_of(pair)).expect("it has the key");
    let mut frames = Vec::new();
    request::twrite(4, 1, 0, &proof, &mut frames);
    request::tattach_by(5, 2, 1, b"", b"", &mut frames);
    request::twalk(6, 2, 3, path, &mut frames);
    request::topen(7, 3, 0, &mut frames);
    request::tread(8, 3, 0, 8000, &mut frames);
    pair.send_raw(caller, frames);
    String::from_utf8(data_of(pair)).expect("it is text")
}

fn locked_master() -> (Pair, usize) {
    let mut pair = Pair::default();
    let master = pair.add_master(&Tree::of_pieces(30), 1);
    pair.lock(master, &key(7), false);
    (pair, master)
}

#[test]
fn who_proves_nothing_is_not_waited_for() {
    for host in 0..2 {
        let (mut pair, [master, client]) = busy();
        let to = [master, client][host];
        let (silent, begins) = (pair.add_raw_caller(to), pair.add_raw_caller(to));
        let mut frames = Vec::new();
        request::tversion(8192, Dialect::Unix, &mut frames);
        request::tauth(1, 1, b"", b"cluster", &mut frames);
        pair.send_raw(begins, frames);
        pair.run_to(15_999);
        assert_eq!(pair.caller(begins).frames.len(), 2, "Rversion, Rauth");
        assert!([silent, begins].iter().all(|caller| pair.caller(*caller).closed_ms.is_none()));
        pair.run_to(16_001);
        for caller in [silent, begins] {
            assert_eq!(pair.caller(caller).closed_ms, Some(16_000), "{host}");
        }
        assert!(
            pair.client(client).exit.is_none(),
            "who was let in stays: {:?}",
            pair.client(client).exit
        );
        assert!(!pair.called_ms(client, master).is_empty());
    }
}

/// A master and a client that is at it for longer, both with the key.
fn busy() -> (Pair, [usize; 2]) {
    let (mut pair, master) = locked_master();
    pair.hosts[master].piece_ms = 1_000;
    pair.befall(master, Fault::Unreachable);
    let client = pair.add_client(master, all());
    pair.lock(client, &key(7), false);
    pair.befall(master, Fault::None);
    pair.run_to(1_000);
    (pair, [master, client])
}

#[test]
fn so_does_that_of_a_worker() {
    let (mut pair, [_, client]) = busy();
    let bare = pair.add_raw_caller(client);
    let mut frames = Vec::new();
    request::tversion(8192, Dialect::Unix, &mut frames);
    request::tattach(1, 1, b"", b"", &mut frames);
    pair.send_raw(bare, frames);
    let warned = &pair.client(client).warned;
    let why = format!("{} is not let in: it shows no key", addr(bare).ip());
    assert!(warned.iter().any(|(_, line)| line.starts_with(&why)), "{warned:?}");
}

#[test]
fn a_connection_has_one_handshake_and_short_frames_until_it_is_let_in() {
    let (mut pair, master) = locked_master();
    let caller = pair.add_raw_caller(master);
    let mut frames = Vec::new();
    request::tversion(MSIZE, Dialect::Unix, &mut frames);
    for afid in 1..100 {
        request::tauth(2, afid, b"", b"cluster", &mut frames);
        request::twrite(3, afid, 0, &[7; 48], &mut frames);
        request::twrite(4, afid, 0, &[7; 48], &mut frames);
    }
    pair.send_raw(caller, frames);
    let kinds: Vec<u8> = pair.caller(caller).frames.iter().map(|frame| frame[4]).collect();
    let (rauth, rerror) = (103, 107);
    assert_eq!(kinds.iter().filter(|kind| **kind == rauth).count(), 1);
    assert_eq!(kinds.iter().filter(|kind| **kind == rerror).count(), 3 * 99 - 1);
    let machine = &pair.master(master).master;
    let served: Vec<ConnId> =
        (0..9).map(ConnId).filter(|conn| machine.frame_len_max(*conn) < MSIZE).collect();
    assert_eq!(served.len(), 1);
    assert_eq!(machine.frame_len_max(served[0]), 8 << 10);
    let (held, standing) = machine.held(served[0]);
    assert_eq!(standing, peer::server::Standing::Stranger);
    assert!((1..2_000).contains(&held), "{held} bytes");
}

#[test]
fn the_operator_hears_who_is_not_let_in_and_how_many() {
    let (mut pair, client, _) = pair_of(Some(7), Some(8));
    ended(&mut pair, client);
    let bare = pair.add_raw_caller(0);
    let mut frames = Vec::new();
    request::tversion(8192, Dialect::Unix, &mut frames);
    request::tattach(1, 1, b"", b"", &mut frames);
    pair.send_raw(bare, frames);
    let warned = pair.master(0).warned.join("\n");
    assert!(warned.contains("10.0.0.2 is not let in: it has another key"), "{warned}");
    assert!(warned.contains("10.0.0.3 is not let in: it shows no key"), "{warned}");
    // Who is let in reads how many it were.
    let text = read_by_key(&mut pair, &[b".xget", b"nodes"]);
    assert!(text.starts_with("table=none denied=3\n"), "{text}");
}
