//! Datagrams from anybody on the link: to a master, and to who searches.
//!
//! What is understood comes out as itself; a master never says more than it was sent, and who
//! searches keeps no more than it may.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peer::content::digest::Digest;
use peer::content::manifest::{Entry, EntryKind, Manifest, Selector};
use peer::control::{Answer, Question, Wanted};
use peer::discovery::{Choice, Patience, Search};
use peer::master::{Master, MasterEffect, MasterInput, MasterOptions};
use std::net::SocketAddr;
use std::rc::Rc;

const ID: u64 = 0x0123_4567_89ab_cdef;

fuzz_target!(|datagram: &[u8]| {
    if let Some(question) = Question::parse(datagram) {
        // Its plain form may be longer, and then be no question.
        if let Some(bytes) = question.bytes() {
            assert_eq!(Question::parse(&bytes), Some(question));
        }
    }
    if let Some((answer, speaker)) = Answer::parse(datagram, ID) {
        assert_eq!(Answer::parse(&answer.datagram(ID, speaker), ID), Some((answer, speaker)));
    }
    asked(datagram);
    heard(datagram);
});

fn asked(datagram: &[u8]) {
    let options = MasterOptions { fan_out: 4, head_copies: 1, selection_bytes: 1 << 20 };
    let mut master = Master::new(options, "fuzzed".into());
    let file = Entry { name: b"a".as_slice().into(), kind: EntryKind::File, ..Entry::bare_root() };
    let manifest = Rc::new(Manifest::of_entries(4096, vec![Entry::bare_root(), file]));
    master.handle(0, MasterInput::Scanned { manifest, scan: 1 });
    let from = SocketAddr::from(([10, 0, 0, 1], 5));
    master.handle(1, MasterInput::Question { from, datagram });
    while let Some(effect) = master.poll_effect() {
        if let MasterEffect::Answer { to, id, answer } = effect {
            let speaker = peer::control::Speaker { master: u64::MAX, port: u16::MAX };
            assert!(to == from && answer.datagram(id, speaker).len() <= datagram.len());
        }
    }
}

fn heard(datagram: &[u8]) {
    let wanted = Wanted::Part(Selector::of_paths(&["a"]));
    let Some(question) = (Question { id: ID, wanted }).bytes() else { return };
    let patience = Patience { first_ms: 10_000, others_ms: 500, awaits_hashing: true };
    let pin = Some(Digest([7; 32]));
    let mut search = Search::new(0, ID, question, pin, patience);
    for last in 0..=255 {
        search.heard(1, SocketAddr::from(([10, 0, 0, last], 5)), datagram);
    }
    let found = search.end().in_order();
    assert!(found.masters.len() <= 64 && found.hashing.len() <= 64);
    if let Choice::Same(masters) = found.choice(pin) {
        assert!((1..=16).contains(&masters.addrs_count()));
    }
}
