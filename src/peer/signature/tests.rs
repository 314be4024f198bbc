//! Keys and signatures as signify(1) made them, and each way in which they can be wrong.

use super::*;

// signify-openbsd 31: `-G -n`, then `-S -e`.
const PUBLIC: &str = "\
untrusted comment: test public key
RWRlzykCgUxEr38V5gp0WKquFGkrV+KKH3Jn++B1uDLnC1BM2BSWMrmb
";
const SECRET: &str = "\
untrusted comment: test secret key
RWRCSwAAAADvhnuZ9gTF1n0A3O7vl9aPBTW2uehzY01lzykCgUxEr6Zi5dKJH+bFKZyvI1aOwozm3111d6E1F2mvBqyaPXC9fxXmCnRYqq4UaStX4oofcmf74HW4MucLUEzYFJYyuZs=
";
const SIGNED: &str = "\
untrusted comment: verify with k.pub
RWRlzykCgUxErwqZlcAWg1d+yQ6NRoxV7gcwrec3H0lycHiGt5brvIiMRBKQxOPAqL+1TnMuD13kGohClSWLJxMPklHL2++Q4wU=
xget generation 1
source tiny
generation blake3:abababababababababababababababababababababababababababababababab
date 1795000000
";

fn statement() -> Statement {
    Statement {
        selector: Selector::of_paths(&["tiny"]),
        generation: Digest([0xab; 32]),
        beside: None,
        date_s: 1_795_000_000,
    }
}

fn trusted() -> [PublicKey; 1] {
    [PublicKey::parse(PUBLIC).unwrap()]
}

#[test]
fn what_signify_signed_is_taken_and_ours_is_the_same() {
    let (found, number) = open(SIGNED.as_bytes(), &trusted()).unwrap();
    assert_eq!((found, number), (statement(), trusted()[0].number()));
    assert_eq!(number.to_string(), "af444c810229cf65");
    let key = SecretKey::parse(SECRET).unwrap();
    assert_eq!(key.public(), trusted()[0]);
    let ours = key.sign(&statement());
    // Ed25519 has one signature for each text: all but the comment is the same.
    let body = |signed: &str| signed.split_once('\n').unwrap().1.to_string();
    assert_eq!(body(&ours), body(SIGNED));
    assert!(open(ours.as_bytes(), &trusted()).is_ok());
}

#[test]
fn a_key_is_its_file_or_the_line_of_it() {
    let line = PUBLIC.lines().nth(1).unwrap();
    assert_eq!(PublicKey::parse(line), PublicKey::parse(PUBLIC));
    let cut = &line[..52];
    let longer = format!("{line}AAAA");
    let other = line.replacen("RW", "RX", 1);
    for text in ["", "\n", cut, &longer, &other, "comment\nRWRl", &format!("x\n{line}\n")] {
        assert!(PublicKey::parse(text).is_err(), "{text:?}");
    }
    assert!(PublicKey::parse(SECRET).is_err() && SecretKey::parse(PUBLIC).is_err());
}

#[test]
fn a_secret_key_that_cannot_sign_says_why() {
    // The number of rounds, as of a passphrase.
    let locked = SECRET.replacen("RWRCSwAAAAD", "RWRCSwAAACr", 1);
    assert!(SecretKey::parse(&locked).unwrap_err().contains("passphrase"));
    let damaged = SECRET.replacen("pmLl", "pmLm", 1).replacen("r6Zi", "r6Zj", 1);
    assert_ne!(damaged, SECRET);
    assert!(SecretKey::parse(&damaged).unwrap_err().contains("damaged"));
    // One digit of its checksum.
    let damaged = SECRET.replacen("aPBTW2", "aPBTX2", 1);
    assert_ne!(damaged, SECRET);
    assert!(SecretKey::parse(&damaged).unwrap_err().contains("checksum"));
}

#[test]
fn no_bit_of_what_is_signed_can_be_another() {
    let begin = SIGNED.find('\n').unwrap() + 1;
    let number_end = begin + 14;
    for at in begin..SIGNED.len() {
        for bit in 0..7 {
            let mut bytes = SIGNED.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let refusal = open(&bytes, &trusted()).unwrap_err();
            let is_number = matches!(refusal, Refusal::Stranger(_));
            assert!(!is_number || at < number_end, "{at} {bit}: {refusal}");
        }
    }
    for end in 0..SIGNED.len() {
        assert!(open(&SIGNED.as_bytes()[..end], &trusted()).is_err(), "cut at {end}");
    }
}

#[test]
fn a_stranger_and_a_forger_are_told_apart() {
    let key = |number| SecretKey::of(number, [7; 32]);
    let stranger = key([1; 8]);
    let signed = stranger.sign(&statement());
    let why = open(signed.as_bytes(), &trusted()).unwrap_err();
    assert_eq!(why, Refusal::Stranger(KeyNumber([1; 8])));
    // Who says that it is another's.
    let forger = key(trusted()[0].number().0);
    let signed = forger.sign(&statement());
    let why = open(signed.as_bytes(), &trusted()).unwrap_err();
    assert_eq!(why, Refusal::Forged(trusted()[0].number()));
    // Two keys of one number: either will do.
    let both = [trusted()[0].clone(), forger.public()];
    assert!(open(signed.as_bytes(), &both).is_ok() && open(SIGNED.as_bytes(), &both).is_ok());
    assert!(matches!(open(SIGNED.as_bytes(), &[]), Err(Refusal::Stranger(_))));
}

#[test]
fn a_text_of_a_trusted_key_that_says_something_else_is_none() {
    let key = SecretKey::parse(SECRET).unwrap();
    let signed = key.sign_text("a letter\n");
    let why = open(signed.as_bytes(), &trusted()).unwrap_err();
    assert!(why.to_string().contains("no statement"), "{why}");
}

#[test]
fn a_statement_is_of_what_was_asked_for_and_not_before() {
    let (wanted, announced) = (Selector::of_paths(&["./tiny/"]), Digest([0xab; 32]));
    let date_s = statement().date_s;
    assert_eq!(statement().check(&wanted, announced, date_s), Ok(()));
    let other = Selector::of_paths(&["rescue"]);
    let why = statement().check(&other, announced, 0).unwrap_err();
    assert!(why.contains("tiny, which was not asked for"), "{why}");
    let contents = Selector::of_paths(&["tiny/."]);
    assert!(statement().check(&contents, announced, 0).is_err());
    let pattern = Selector { are_patterns: true, ..Selector::of_paths(&["tin*"]) };
    assert!(statement().check(&pattern, announced, 0).is_err());
    let why = statement().check(&wanted, Digest([1; 32]), 0).unwrap_err();
    assert!(why.contains("changed since"), "{why}");
    let why = statement().check(&wanted, announced, date_s + 7).unwrap_err();
    assert!(why.contains("7 s before"), "{why}");
}
