//! Both sides, and whoever is between them.

use super::*;

fn random(seed: u8) -> Random {
    Random::new([seed; 32])
}

fn cluster(seed: u8) -> Key {
    Key::root([seed; 32]).cluster().unwrap()
}

fn answer(
    key: &Key,
    random: &mut Random,
    message: &[u8],
) -> Result<(Session, [u8; MESSAGE_LEN]), Denied> {
    Greeting::open(key, random, message)?.answer()
}

fn agreed(key: &Key) -> (Session, Session) {
    let (hello, message) = Hello::new(key, &mut random(1));
    let (mut server, answer) = answer(key, &mut random(2), &message).unwrap();
    let (client, proof) = hello.finish(&answer).unwrap();
    assert_eq!(proof.len(), PROOF_LEN);
    assert!(server.is_proved_by(&proof));
    (client, server)
}

#[test]
fn who_has_the_same_key_agrees_and_what_is_sealed_is_opened_in_its_order() {
    let (mut client, mut server) = agreed(&cluster(7));
    for text in [&b"join 3 1"[..], b"", &[9; 70_000]] {
        let sealed = client.seal(text);
        assert_eq!(sealed.len(), text.len() + TAG_LEN);
        assert_eq!(server.open(&sealed).as_deref(), Ok(text));
        let back = server.seal(text);
        assert_ne!(back, sealed, "either way has its own key");
        assert_eq!(client.open(&back).as_deref(), Ok(text));
    }
    // Not twice, not out of order, not one's own.
    let (first, second) = (server.seal(b"1"), server.seal(b"2"));
    assert_eq!(client.open(&second), Err(Denied));
    assert_eq!(client.open(&first).as_deref(), Ok(&b"1"[..]));
    assert_eq!(client.open(&first), Err(Denied));
    assert_eq!(client.open(&[0; 15]), Err(Denied));
    let own = client.seal(b"mine");
    assert_eq!(client.open(&own), Err(Denied));
}

#[test]
fn who_has_another_key_is_denied_by_the_first_message() {
    let root = Key::root([7; 32]);
    let (node, other) = (root.node("n1").unwrap(), root.node("n2").unwrap());
    let keys = [root.cluster().unwrap(), cluster(8), node, other];
    for (number, one) in keys.iter().enumerate() {
        let (_, message) = Hello::new(one, &mut random(1));
        for other in keys.iter().skip(number + 1) {
            assert_eq!(answer(other, &mut random(2), &message).err(), Some(Denied));
        }
    }
}

#[test]
fn no_bit_of_the_handshake_can_be_another() {
    let key = cluster(7);
    let (_, message) = Hello::new(&key, &mut random(1));
    let (_, reply) = answer(&key, &mut random(2), &message).unwrap();
    for at in 0..8 * MESSAGE_LEN {
        let mut changed = message;
        changed[at / 8] ^= 1 << (at % 8);
        // The highest bit of a point is not looked at (RFC 7748, section 5), and is hashed.
        assert_eq!(answer(&key, &mut random(2), &changed).err(), Some(Denied), "{at}");
        let mut changed = reply;
        changed[at / 8] ^= 1 << (at % 8);
        let (hello, _) = Hello::new(&key, &mut random(1));
        assert_eq!(hello.finish(&changed).err(), Some(Denied), "{at}");
    }
    for len in [0, 1, MESSAGE_LEN - 1] {
        assert_eq!(answer(&key, &mut random(2), &message[..len]).err(), Some(Denied));
        let (hello, _) = Hello::new(&key, &mut random(1));
        assert_eq!(hello.finish(&reply[..len]).err(), Some(Denied));
    }
    assert_eq!(answer(&key, &mut random(2), &[&message[..], b"x"].concat()).err(), Some(Denied));
}

#[test]
fn a_copy_of_an_older_handshake_and_a_reflected_one_prove_nothing() {
    let key = cluster(7);
    let (hello, message) = Hello::new(&key, &mut random(1));
    let (_, reply) = answer(&key, &mut random(2), &message).unwrap();
    let (_, proof) = hello.finish(&reply).unwrap();
    // It is answered, since nobody can tell yet; the old proof is not of this answer.
    let (mut again, _) = answer(&key, &mut random(3), &message).unwrap();
    assert!(!again.is_proved_by(&proof));
    // Who sends back what he got.
    let (hello, message) = Hello::new(&key, &mut random(4));
    assert_eq!(hello.finish(&message).err(), Some(Denied));
    let (hello, _) = Hello::new(&key, &mut random(5));
    assert_eq!(hello.finish(&reply).err(), Some(Denied), "an old answer is to another");
}

#[test]
fn a_point_that_gives_what_everybody_knows_is_refused() {
    for low in [[0; 32], core::array::from_fn(|at| u8::from(at == 0))] {
        assert_eq!(<X25519 as noise_protocol::DH>::dh(&[9; 32], &low), Err(()));
    }
}

/// A man in the middle, who has no key: whatever he hands on, drops, doubles or makes up, the
/// two agree on what they said, or one of them says no.
#[test]
fn who_is_between_them_learns_and_changes_nothing() {
    let key = cluster(7);
    let stranger = cluster(9);
    let (hello, message) = Hello::new(&key, &mut random(1));
    // His own, to either side.
    let (_, his) = Hello::new(&stranger, &mut random(6));
    assert_eq!(answer(&key, &mut random(2), &his).err(), Some(Denied));
    assert_eq!(answer(&stranger, &mut random(6), &message).err(), Some(Denied));
    // The half of another handshake.
    let (_, other) = Hello::new(&key, &mut random(8));
    let (_, reply_to_other) = answer(&key, &mut random(2), &other).unwrap();
    assert_eq!(hello.finish(&reply_to_other).err(), Some(Denied));
    // Handed on unchanged he is a wire, and what is sealed is as it was.
    let (mut client, mut server) = agreed(&key);
    let sealed = server.seal(b"generation 00 1 2 3");
    assert!(!sealed.windows(10).any(|part| part == b"generation"));
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let (mut client, mut server) = agreed(&key);
        let _ = server.seal(b"generation 00 1 2 3");
        assert_eq!(client.open(&changed), Err(Denied), "{at}");
    }
    assert_eq!(client.open(&sealed).as_deref(), Ok(&b"generation 00 1 2 3"[..]));
}

/// Another implementation of the same framework, with primitives of its own.
#[test]
fn it_is_the_handshake_that_others_know_by_its_name() {
    let key = cluster(7);
    let of_snow = || {
        let params = "Noise_NNpsk0_25519_ChaChaPoly_SHA256".parse().unwrap();
        let builder = snow::Builder::new(params);
        builder.psk(0, key.secret()).unwrap().prologue(b"xget 1 cluster").unwrap()
    };
    let mut buffer = [0; 200];
    // It answers us.
    let (hello, message) = Hello::new(&key, &mut random(1));
    let mut theirs = of_snow().build_responder().unwrap();
    assert_eq!(theirs.read_message(&message, &mut buffer).unwrap(), 0);
    let len = theirs.write_message(&[], &mut buffer).unwrap();
    let (mut client, proof) = hello.finish(&buffer[..len]).unwrap();
    let mut theirs = theirs.into_transport_mode().unwrap();
    let len = theirs.read_message(&proof, &mut buffer).unwrap();
    assert_eq!(&buffer[..len], PROOF);
    let len = theirs.write_message(b"generation", &mut buffer).unwrap();
    assert_eq!(client.open(&buffer[..len]).as_deref(), Ok(&b"generation"[..]));
    // We answer it.
    let mut theirs = of_snow().build_initiator().unwrap();
    let len = theirs.write_message(&[], &mut buffer).unwrap();
    let (mut server, reply) = answer(&key, &mut random(2), &buffer[..len]).unwrap();
    theirs.read_message(&reply, &mut buffer).unwrap();
    let mut theirs = theirs.into_transport_mode().unwrap();
    let len = theirs.write_message(PROOF, &mut buffer).unwrap();
    assert!(server.is_proved_by(&buffer[..len]));
    let sealed = server.seal(b"wait 1 2");
    let len = theirs.read_message(&sealed, &mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"wait 1 2");
}

#[test]
fn the_bytes_of_a_handshake_are_the_same_for_ever() {
    let key = cluster(7);
    let (hello, message) = Hello::new(&key, &mut random(1));
    let (_, reply) = answer(&key, &mut random(2), &message).unwrap();
    let (mut client, proof) = hello.finish(&reply).unwrap();
    let all = [&message[..], &reply, &proof, &client.seal(b"x")].concat();
    assert_eq!(crate::content::digest::Digest::of(&all).to_string(), GOLDEN);
}

const GOLDEN: &str = "997402840d97b42039f8c835dab98162a35f7bf6205f9f89d8495fc548b44102";
