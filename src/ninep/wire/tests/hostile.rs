//! Untrusted bytes: no panic, and nothing is kept that is larger than the frame.

use super::requests::sample;
use super::*;
use crate::wire::reply::{self, Rmessage};
use crate::wire::request;
use crate::{Dialect, HEADER_LEN, RREAD_HEADER_LEN, Request, WALK_NAMES_MAX};
use proptest::collection::vec;
use proptest::sample::Index;

#[derive(Clone, Debug)]
enum Damage {
    Flip { at: Index, bit: u8 },
    Set { at: Index, to: u8 },
    Cut { at: Index },
    Insert { at: Index, byte: u8 },
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        (any::<Index>(), prop_oneof![Just(0), Just(1), Just(0x7f), Just(0xff)])
            .prop_map(|(at, to)| Damage::Set { at, to }),
        any::<Index>().prop_map(|at| Damage::Cut { at }),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert { at, byte }),
    ]
}

/// `bytes` with all of the damage done; its size field true if `framed`.
fn damaged(mut bytes: Vec<u8>, damage: &[Damage], framed: bool) -> Vec<u8> {
    for damage in damage {
        let len = bytes.len().max(1);
        match damage {
            _ if bytes.is_empty() => break,
            Damage::Flip { at, bit } => bytes[at.index(len)] ^= 1 << bit,
            Damage::Set { at, to } => bytes[at.index(len)] = *to,
            Damage::Cut { at } => bytes.truncate(at.index(len)),
            Damage::Insert { at, byte } => bytes.insert(at.index(len), *byte),
        }
    }
    if framed {
        let size = (bytes.len() as u32).to_le_bytes();
        bytes.iter_mut().zip(size).for_each(|(byte, size)| *byte = size);
    }
    bytes
}

/// Bytes that a request borrows, and a few for each name: what it may keep.
fn kept_len(request: &Request<'_>) -> usize {
    match request {
        Request::Version { version, .. } => version.len(),
        Request::Auth { uname, aname, .. } | Request::Attach { uname, aname, .. } => {
            uname.len() + aname.len()
        }
        Request::Walk { names, .. } => {
            assert!(names.len() <= WALK_NAMES_MAX);
            names.iter().map(|name| name.len() + 2).sum()
        }
        Request::Write { data, .. } => data.len(),
        _ => 0,
    }
}

fn check_request(bytes: &[u8]) {
    for dialect in [None, Some(Dialect::Plan9), Some(Dialect::Unix), Some(Dialect::Linux)] {
        if let Ok((_, Ok(request))) = request::decode(dialect, bytes) {
            assert!(kept_len(&request) <= bytes.len() - HEADER_LEN);
        }
    }
}

fn check_reply(bytes: &[u8]) {
    let len = bytes.len() as u32;
    match reply::decode(bytes, len) {
        Ok((_, Rmessage::Read { count, data })) => {
            assert_eq!(count as usize + RREAD_HEADER_LEN, bytes.len());
            assert_eq!(data.map(<[u8]>::len), Some(count as usize));
        }
        Ok((_, Rmessage::Walk { names })) => assert!(names <= WALK_NAMES_MAX),
        // A byte that is not UTF-8 is shown as three.
        Ok((_, Rmessage::Error(error))) => assert!(error.text.len() <= 3 * bytes.len()),
        _ => {}
    }
    let prefix = &bytes[..bytes.len().min(RREAD_HEADER_LEN)];
    if let Ok((_, Rmessage::Read { count, .. })) = reply::decode(prefix, len) {
        assert_eq!(count + RREAD_HEADER_LEN as u32, len);
    }
}

/// A reply of each type that a client decodes.
const REPLIES: &[&[u8]] = &[
    b"\x15\0\0\0\x65\xff\xff\0\x20\0\0\x08\09P2000.u",
    b"\x14\0\0\0\x69\0\0\x80\x01\0\0\0\x07\0\0\0\0\0\0\0",
    b"\x07\0\0\0\x6d\0\0",
    b"\x23\0\0\0\x6f\x01\0\x02\0\x80\x01\0\0\0\x08\0\0\0\0\0\0\0\0\x01\0\0\0\x09\0\0\0\0\0\0\0",
    b"\x18\0\0\0\x71\x02\0\0\x01\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0",
    b"\x10\0\0\0\x75\x03\0\x05\0\0\0hello",
    b"\x0b\0\0\0\x77\x03\0\x05\0\0\0",
    b"\x07\0\0\0\x79\x03\0",
    b"\x0f\0\0\0\x6b\x03\0\x02\0no\x02\0\0\0",
    b"\x0b\0\0\0\x07\x03\0\x02\0\0\0",
];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..80), framed in any::<bool>()) {
        let bytes = damaged(bytes, &[], framed);
        check_request(&bytes);
        check_reply(&bytes);
    }

    #[test]
    fn damaged_requests(
        sample in sample(),
        damage in vec(damage(), 1..5),
        framed in prop::bool::weighted(0.7),
    ) {
        check_request(&damaged(sample.frame(), &damage, framed));
    }

    #[test]
    fn damaged_replies(
        reply in prop::sample::select(REPLIES),
        damage in vec(damage(), 1..5),
        framed in prop::bool::weighted(0.7),
    ) {
        check_reply(&damaged(reply.to_vec(), &damage, framed));
    }
}
