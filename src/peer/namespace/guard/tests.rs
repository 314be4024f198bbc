//! The guard alone, word by word.

use super::*;
use crate::auth::{Hello, NAME_LEN_MAX};
use crate::namespace::node_keys::{NO_ROOT, OfRoot};

fn key(seed: u8) -> Key {
    Key::root([seed; 32]).cluster().unwrap()
}

fn random(seed: u8) -> Random {
    Random::new([seed; 32])
}

/// Another handshake for each connection.
fn of_conn(open_id: OpenId) -> Random {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&open_id.conn.0.to_le_bytes());
    Random::new(seed)
}

fn opener(conn: u32, serial: u64) -> OpenId {
    OpenId { conn: ConnId(conn), serial }
}

const IP: Option<IpAddr> = Some(IpAddr::V4(core::net::Ipv4Addr::LOCALHOST));

fn locked(is_plain_free: bool) -> Guard {
    let mut guard = Guard::default();
    guard.lock(&key(7), random(1), is_plain_free);
    guard
}

/// The handshake of a connection, up to its proof.
fn proved(guard: &mut Guard, open_id: OpenId, seed: u8) -> Result<Session, Error> {
    guard.ask(open_id, CLUSTER)?;
    let (hello, message) = Hello::new(&key(seed), &mut of_conn(open_id));
    guard.say(open_id, IP, &message)?;
    let answer = guard.answer(open_id)?;
    let (session, proof) = hello.finish(&answer).map_err(|_| EINVAL)?;
    guard.say(open_id, IP, &proof)?;
    Ok(session)
}

#[test]
fn without_a_key_everybody_is_let_in_and_nobody_proves_anything() {
    let mut guard = Guard::default();
    assert_eq!(guard.ask(opener(1, 1), CLUSTER), Err(NO_AUTH));
    assert_eq!(guard.admit(ConnId(1), None, Wanted::All), Ok(()));
    assert_eq!(guard.admit(ConnId(1), Some(opener(1, 1)), Wanted::All), Err(NO_AUTH));
    assert_eq!(guard.open(ConnId(1), b"join").as_deref(), Ok(&b"join"[..]));
    assert_eq!(guard.seal(ConnId(1), b"wait"), b"wait");
}

#[test]
fn who_has_the_key_is_let_in_by_its_own_proof() {
    let mut guard = locked(false);
    let (one, other) = (opener(1, 1), opener(2, 1));
    let mut session = proved(&mut guard, one, 7).ok().unwrap();
    assert_eq!(guard.admit(one.conn, Some(one), Wanted::All), Ok(()));
    assert_eq!(guard.admit(one.conn, None, Wanted::All), Err(WANTS_KEY), "named it has to be");
    assert_eq!(guard.admit(one.conn, Some(opener(1, 2)), Wanted::All), Err(DENIED));
    assert_eq!(guard.admit(other.conn, Some(one), Wanted::All), Err(DENIED), "another connection");
    // What it says is opened, and what it hears is sealed.
    let said = session.seal(b"join 3 1");
    assert_eq!(guard.open(one.conn, &said).as_deref(), Ok(&b"join 3 1"[..]));
    assert_eq!(guard.open(one.conn, &said), Err(DENIED), "once");
    assert_eq!(guard.say(one, IP, b"x"), Err(EINVAL), "a relay adds it, and nothing comes of it");
    assert!(guard.seal(other.conn, b"wait 1 2\n").is_empty(), "plain it is said to nobody");
    let mut heard = guard.seal(one.conn, b"wait 1 2\n");
    heard.extend(guard.seal(one.conn, b"wait 2 2\n"));
    let mut part = heard[..20].to_vec();
    assert_eq!(session.open_record(&mut part), Ok(None));
    part.extend(&heard[20..]);
    assert_eq!(session.open_record(&mut part).unwrap().as_deref(), Some(&b"wait 1 2\n"[..]));
    assert_eq!(session.open_record(&mut part).unwrap().as_deref(), Some(&b"wait 2 2\n"[..]));
    assert!(part.is_empty());
    // It is over with the connection.
    guard.forget(one.conn);
    assert_eq!(guard.admit(one.conn, Some(one), Wanted::All), Err(DENIED));
}

#[test]
fn nobody_else_is() {
    let mut guard = locked(false);
    let one = opener(1, 1);
    for wanted in [Wanted::All, Wanted::Plain, Wanted::Alone] {
        assert_eq!(guard.admit(one.conn, None, wanted), Err(WANTS_KEY));
    }
    assert_eq!(guard.open(one.conn, b"join 3 1"), Err(WANTS_KEY));
    assert_eq!(guard.ask(one, b""), Err(DENIED));
    // Each came to nothing, and is of another connection.
    let mut other = |conn| proved(&mut guard, opener(conn, 1), 8).err();
    assert_eq!((other(3), other(4)), (Some(DENIED), Some(DENIED)), "another key");
    let again = guard.ask(opener(3, 2), CLUSTER);
    assert_eq!((again, guard.denied_count()), (Err(DENIED), 7), "a connection has one");
    // An answer is no proof.
    let (hello, message) = Hello::new(&key(7), &mut random(2));
    guard.ask(one, CLUSTER).unwrap();
    assert_eq!(guard.ask(one, CLUSTER), Err(DENIED), "one at a time");
    assert_eq!(guard.answer(one), Err(EINVAL));
    guard.say(one, IP, &message).unwrap();
    assert_eq!(guard.admit(one.conn, Some(one), Wanted::All), Err(DENIED));
    let (_, proof) = hello.finish(&guard.answer(one).unwrap()).ok().unwrap();
    // By another file of the same connection, or with something else.
    let mut guard_two = locked(false);
    guard_two.ask(one, CLUSTER).unwrap();
    guard_two.say(one, IP, &message).unwrap();
    assert_eq!(guard_two.say(opener(1, 2), IP, &proof), Err(EINVAL));
    assert_eq!(guard.say(one, IP, &message), Err(DENIED));
    assert_eq!(guard.say(one, IP, &proof), Err(EINVAL), "it has no other");
    assert_eq!(guard.admit(one.conn, Some(one), Wanted::All), Err(DENIED));
}

#[test]
fn who_repeats_what_another_said_is_not_answered() {
    let mut guard = locked(false);
    let (one, other) = (opener(1, 1), Some(IpAddr::V4(core::net::Ipv4Addr::BROADCAST)));
    let (hello, message) = Hello::new(&key(7), &mut random(2));
    guard.ask(one, CLUSTER).unwrap();
    guard.say(one, IP, &message).unwrap();
    for conn in 2..9_000 {
        guard.ask(opener(conn, 1), CLUSTER).unwrap();
        assert_eq!(guard.say(opener(conn, 1), other, &message), Err(DENIED));
        assert_eq!(guard.take_denied(), Some(NO_PROOF));
    }
    // Whose it is goes on, and nobody waits for the others.
    let (_, proof) = hello.finish(&guard.answer(one).unwrap()).ok().unwrap();
    assert_eq!(guard.say(one, IP, &proof), Ok(()));
    assert!(proved(&mut guard, opener(9_000, 1), 7).is_ok());
}

#[test]
fn who_says_what_others_said_elsewhere_is_answered_so_often() {
    let mut guard = locked(false);
    let mut random = random(3);
    let mut greet = |conn, ip| {
        let (_, message) = Hello::new(&key(7), &mut random);
        guard.ask(opener(conn, 1), CLUSTER).unwrap();
        guard.say(opener(conn, 1), ip, &message)
    };
    let other = Some(IpAddr::V4(core::net::Ipv4Addr::BROADCAST));
    let said: Vec<_> = (0..300).map(|conn| greet(conn, IP)).collect();
    assert_eq!(said.iter().filter(|said| said.is_ok()).count(), 200);
    assert_eq!(said[299], Err(LATER), "it may have the key");
    assert_eq!(greet(300, other), Ok(()), "nobody else waits for it");
    assert_eq!((guard.denied_count(), guard.take_denied()), (100, None), "said by its number");
    guard.set_now(5_000);
    assert_eq!(guard.poll_unanswered(5_000), Some((IP, 100)));
    // Who proves that it is its own does not count, however often it comes.
    for conn in 301..1_901 {
        assert!(proved(&mut guard, opener(conn, 1), 7).is_ok(), "{conn}");
    }
}

#[test]
fn who_is_not_let_in_in_time_is_named_once() {
    let mut guard = locked(true);
    guard.set_now(100);
    (1..5).for_each(|conn| guard.begin(ConnId(conn)));
    proved(&mut guard, opener(1, 1), 7).ok().unwrap();
    guard.admit(ConnId(2), None, Wanted::Plain).unwrap();
    guard.ask(opener(3, 1), CLUSTER).unwrap();
    assert_eq!((guard.late_ms(), guard.poll_late(15_099)), (Some(15_100), None));
    let late: Vec<u32> =
        core::iter::from_fn(|| guard.poll_late(15_100)).map(|conn| conn.0).collect();
    assert_eq!((late, guard.late_ms()), (alloc::vec![1, 2, 3, 4], None));
    assert_eq!(
        [1, 2, 3, 4].map(|conn| guard.is_admitted(ConnId(conn))),
        [true, true, false, false]
    );
}

fn nodes_of(key: &Key) -> Box<dyn NodeKeys> {
    Box::new(OfRoot::new(key))
}

/// The handshake of a node, by this key under that name.
fn of_node(guard: &mut Guard, open_id: OpenId, key: &Key, aname: &str) -> Result<(), Error> {
    guard.ask(open_id, aname.as_bytes())?;
    let (hello, message) = Hello::new(key, &mut of_conn(open_id));
    guard.say(open_id, IP, &message)?;
    let (_, proof) = hello.finish(&guard.answer(open_id)?).map_err(|_| EINVAL)?;
    guard.say(open_id, IP, &proof)
}

#[test]
fn by_the_key_of_a_node_only_what_is_for_it_is_open() {
    let root = Key::root([7; 32]);
    let (n1, one) = (root.node("n1").unwrap(), opener(1, 1));
    let mut guard = Guard::default();
    guard.lock(&root, random(1), true);
    guard.know_nodes(nodes_of(&root));
    assert_eq!(of_node(&mut guard, one, &n1, "node n1"), Ok(()));
    assert_eq!((guard.node(one.conn), guard.node(ConnId(2))), (Some("n1"), None));
    assert_eq!(guard.admit(one.conn, Some(one), Wanted::Alone), Ok(()));
    for wanted in [Wanted::All, Wanted::Plain] {
        assert_eq!(guard.admit(one.conn, Some(one), wanted), Err(DENIED));
    }
    // That of the cluster opens all else.
    let two = opener(2, 1);
    proved(&mut guard, two, 7).ok().unwrap();
    assert_eq!(guard.admit(two.conn, Some(two), Wanted::Alone), Err(DENIED));
    assert_eq!(guard.admit(two.conn, Some(two), Wanted::All), Ok(()));
    assert_eq!(guard.node(two.conn), None);
}

#[test]
fn no_other_key_stands_for_a_node() {
    let root = Key::root([7; 32]);
    let (n1, cluster) = (root.node("n1").unwrap(), root.cluster().unwrap());
    let other = Key::root([8; 32]).node("n1").unwrap();
    let long = format!("node {}", "x".repeat(NAME_LEN_MAX + 1));
    for (number, (key, aname)) in [
        (&n1, "node n2"),
        (&n1, "node N1"),
        (&n1, "node "),
        (&n1, "node a/b"),
        (&n1, "node .."),
        (&n1, "cluster"),
        (&other, "node n1"),
        (&cluster, "node n1"),
        (&root, "node n1"),
        (&n1, &long),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut guard, one) = (Guard::default(), opener(1, 1));
        guard.lock(&root, random(1), false);
        guard.know_nodes(nodes_of(&root));
        assert_eq!(of_node(&mut guard, one, key, aname), Err(DENIED), "{number}");
        for wanted in [Wanted::All, Wanted::Plain, Wanted::Alone] {
            assert_eq!(guard.admit(one.conn, Some(one), wanted), Err(DENIED));
        }
    }
    // Where the cluster's key is all that is known, the same, and it is noted.
    let (mut guard, one) = (Guard::default(), opener(1, 1));
    guard.lock(&cluster, random(1), false);
    guard.know_nodes(nodes_of(&cluster));
    assert_eq!(of_node(&mut guard, one, &n1, "node n1"), Err(DENIED));
    assert_eq!((guard.take_denied(), guard.take_denied()), (Some(NO_ROOT), None));
}

#[test]
fn who_comes_and_goes_takes_no_more_room_than_there_is() {
    let mut guard = locked(false);
    for conn in 0..AWAITED_MAX as u32 + 9 {
        guard.begin(ConnId(conn));
        guard.forget(ConnId(conn));
    }
    assert_eq!(guard.awaited.len(), AWAITED_MAX);
    assert_eq!(guard.poll_late(15_000), Some(ConnId(9)));
}

#[test]
fn who_failed_and_takes_the_plain_tree_stays() {
    let mut guard = locked(true);
    let one = opener(1, 1);
    assert_eq!(proved(&mut guard, one, 8).err(), Some(DENIED));
    guard.admit(one.conn, None, Wanted::Plain).unwrap();
    assert!(guard.is_admitted(one.conn));
    assert_eq!(guard.admit(one.conn, None, Wanted::All), Err(WANTS_KEY));
}

#[test]
fn the_plain_tree_may_be_free() {
    let mut guard = locked(true);
    // Some ask first whether they have to prove something.
    for aname in PLAIN {
        assert_eq!(guard.ask(opener(1, 1), aname), Err(NO_AUTH));
        assert_eq!(locked(false).ask(opener(1, 1), aname), Err(DENIED));
    }
    assert_eq!(guard.denied_count, 0);
    assert_eq!(guard.admit(ConnId(1), None, Wanted::Plain), Ok(()));
    assert_eq!(guard.admit(ConnId(1), None, Wanted::All), Err(WANTS_KEY));
}

#[test]
fn what_is_shown_for_debugging_has_no_secret() {
    assert_eq!(format!("{:?}", locked(true)), "Guard(true, 0)");
}
