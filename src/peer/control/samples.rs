//! Parents and lines for tests, at random.

use super::addr::ParentAddr;
use core::net::{IpAddr, SocketAddr};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Any parent that can be written: IPv4 as such, IPv6 without a scope.
pub fn parents() -> impl Strategy<Value = ParentAddr> {
    let peer =
        |(ip, port): (IpAddr, u16)| ParentAddr::Peer(SocketAddr::new(ip.to_canonical(), port));
    prop_oneof![Just(ParentAddr::Master), any::<(IpAddr, u16)>().prop_map(peer)]
}

/// Lines of words that some line has, of numbers, and of what is neither.
pub fn lines() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        "join",
        "replace",
        "progress",
        "done",
        "leave",
        "wait",
        "generation",
        "parent",
        "error",
        "me",
        "lost",
        "narrow",
        "10.0.0.1!5",
        "::1!5",
        "!",
        "tcp!",
        ".",
        "%",
        "%4",
        "%20",
        "4",
        "exclude=%2a",
        "window=9",
        "",
        "0",
        "1",
        "255",
        "256",
        "65535",
        "65536",
        "4294967295",
        "18446744073709551615",
        "-1",
        "18446744073709551616",
        "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
    ];
    let word = select(words).prop_map(|word| word.as_bytes().to_vec());
    let any_word = prop_oneof![20 => word, 1 => vec(any::<u8>(), 0..9)];
    vec(any_word, 0..9).prop_map(|words| words.join(&b' '))
}
