//! Tags, parked reads, flush, and how much may wait.

use super::tree::file_bytes;
use super::*;
use crate::NOTAG;
use crate::server::{OUTPUT_BYTES_MAX, OUTPUTS_MAX, PARKED_MAX};
use alloc::borrow::ToOwned;
use alloc::vec::Vec;

/// A session with fid 1 open on the file that has not arrived, and reads of it
/// parked on `tags`.
fn parked(dialect: &str, tags: &[u16]) -> Peer {
    let mut peer = Peer::attached(dialect);
    peer.opened(1, "parked", 0);
    for tag in tags {
        assert!(peer.tell(tread(*tag, 1, u64::from(*tag), 10)).is_empty());
    }
    assert_eq!(peer.session.parked_count(), tags.len());
    peer
}

fn types_and_tags(replies: &[Got]) -> Vec<(M, u16)> {
    replies.iter().map(|got| (got.message_type, got.tag)).collect()
}

#[test]
fn a_parked_read_is_answered_once_when_its_bytes_arrive() {
    for dialect in DIALECTS {
        let mut peer = parked(dialect, &[5]);
        let ticket = peer.tree.the_ticket();
        assert!(peer.resume(ticket).is_empty(), "not yet");
        assert_eq!(peer.walk(0, 2, "file").tag, 1, "others do not wait for it");
        peer.tree.arrived = true;
        let got = peer.resume(ticket);
        assert_eq!(types_and_tags(&got), [(M::RREAD, 5)]);
        assert_eq!(got[0].data(), file_bytes(5, 10));
        assert!(peer.resume(ticket).is_empty(), "answered");
        assert_eq!(peer.session.parked_count(), 0);
        peer.close();
    }
}

#[test]
fn tickets_of_others_are_ignored() {
    let mut peer = parked("9P2000", &[5]);
    let ticket = peer.tree.the_ticket();
    peer.tree.arrived = true;
    assert!(peer.resume(Ticket { conn: ConnId(8), ..ticket }).is_empty());
    assert!(peer.resume(Ticket { serial: ticket.serial + 1, ..ticket }).is_empty());
    assert_eq!(peer.resume(ticket).len(), 1);
}

#[test]
fn flush_discards_a_parked_read_for_good() {
    for dialect in DIALECTS {
        let mut peer = parked(dialect, &[5, 6]);
        let ticket = *peer.tree.waiting.first().unwrap();
        assert_eq!(types_and_tags(&peer.tell(tflush(2, 5))), [(M::RFLUSH, 2)]);
        assert_eq!(peer.tree.forgotten, [ticket]);
        peer.tree.arrived = true;
        assert!(peer.resume(ticket).is_empty(), "nothing for the old tag after Rflush");
        // The tag is free, and the other read still stands.
        assert_eq!(peer.ask(tread(5, 1, 0, 4)).data(), file_bytes(0, 4));
        let other = peer.tree.the_ticket();
        assert_eq!(types_and_tags(&peer.resume(other)), [(M::RREAD, 6)]);
    }
}

#[test]
fn flush_is_never_an_error() {
    for dialect in DIALECTS {
        let mut peer = parked(dialect, &[5]);
        assert_eq!(peer.ask(tflush(2, 1234)).message_type, M::RFLUSH, "of nothing");
        assert_eq!(peer.ask(tflush(2, 2)).message_type, M::RFLUSH, "of itself");
        assert_eq!(peer.ask(tflush(2, NOTAG)).message_type, M::RFLUSH, "of no tag");
        for _ in 0..3 {
            assert_eq!(peer.ask(tflush(3, 5)).message_type, M::RFLUSH, "several of one");
        }
        assert_eq!(peer.ask(tflush(4, 3)).message_type, M::RFLUSH, "of a flush");
        assert_eq!(peer.ask(tflush(4, 1)).message_type, M::RFLUSH, "of what is finished");
        assert_eq!(peer.session.parked_count(), 0);
    }
}

#[test]
fn a_finished_request_is_answered_before_its_flush() {
    let mut peer = Peer::attached("9P2000.L");
    for frame in [twalk(5, 0, 1, &[b"file"]), tflush(6, 5)] {
        peer.session.handle_frame(&mut peer.tree, &frame.done()).unwrap();
    }
    assert_eq!(types_and_tags(&peer.hear()), [(M::RWALK, 5), (M::RFLUSH, 6)]);
    assert_eq!(peer.path_of(1), Some(101));
}

#[test]
fn a_flush_on_the_tag_that_it_flushes_takes_it_over() {
    let mut peer = parked("9P2000", &[5]);
    assert_eq!(types_and_tags(&peer.tell(tflush(5, 5))), [(M::RFLUSH, 5)]);
    assert_eq!(peer.session.parked_count(), 0);
}

#[test]
fn a_tag_in_use_is_refused_and_its_read_lives() {
    for dialect in DIALECTS {
        let mut peer = parked(dialect, &[5, 6]);
        for frame in [tread(5, 1, 0, 1), tfid(M::TCLUNK, 5, 1), tflush(5, 6)] {
            let got = peer.ask(frame);
            assert!(
                got.errno() == 22 || ["duplicate tag", "Invalid argument"].contains(&&*got.ename()),
                "{got:?}"
            );
        }
        assert_eq!(peer.session.parked_count(), 2);
        peer.tree.arrived = true;
        let first = *peer.tree.waiting.first().unwrap();
        assert_eq!(types_and_tags(&peer.resume(first)), [(M::RREAD, 5)]);
        assert_eq!(peer.ask(tread(5, 1, 0, 4)).message_type, M::RREAD, "free with the reply");
    }
}

#[test]
fn notag_is_for_tversion_and_tag_0_is_like_any() {
    let mut peer = parked("9P2000", &[0]);
    assert!(peer.ask(tfid(M::TCLUNK, NOTAG, 1)).is_error());
    assert!(peer.ask(tread(NOTAG, 1, 0, 1)).is_error());
    assert_eq!(peer.session.parked_count(), 1);
    assert_eq!(types_and_tags(&peer.tell(tflush(1, 0))), [(M::RFLUSH, 1)]);
}

#[test]
fn a_clunk_answers_what_is_parked_on_its_fid_first() {
    for message_type in [M::TCLUNK, M::TREMOVE] {
        let mut peer = parked("9P2000", &[5, 4]);
        peer.opened(2, "parked", 0);
        assert!(peer.tell(tread(8, 2, 0, 1)).is_empty());
        let got = peer.tell(tfid(message_type, 9, 1));
        let last = if message_type == M::TCLUNK { M::RCLUNK } else { M::RERROR };
        assert_eq!(types_and_tags(&got), [(M::RERROR, 5), (M::RERROR, 4), (last, 9)]);
        assert_eq!(peer.tree.forgotten.len(), 2);
        assert_eq!(peer.tree.closed.len(), 1);
        assert_eq!(peer.session.parked_count(), 1);
        peer.close();
    }
}

#[test]
fn a_resumed_read_may_fail_or_be_stored_bytes() {
    let mut peer = parked("9P2000", &[5]);
    peer.tree.turn("parked", "broken");
    let ticket = peer.tree.the_ticket();
    let got = peer.resume(ticket);
    assert_eq!((got[0].tag, got[0].ename()), (5, "Input/output error".to_owned()));
    peer.close();

    let mut peer = parked("9P2000", &[5]);
    peer.tree.turn("parked", "bulk");
    let ticket = peer.tree.the_ticket();
    assert_eq!(types_and_tags(&peer.resume(ticket)), [(M::RREAD, 5)]);
    peer.close();
}

#[test]
fn the_number_of_parked_reads_is_bounded() {
    let tags: Vec<u16> = (100..100 + PARKED_MAX as u16).collect();
    let mut peer = parked("9P2000.L", &tags);
    assert_eq!(peer.ask(tread(60_000, 1, 0, 1)).errno(), 11);
    assert_eq!(peer.tree.waiting.len(), PARKED_MAX, "the tree forgot the one too many");
    peer.opened(2, "file", 0);
    assert_eq!(peer.read(2, 0, 1).data(), [0], "what need not wait is still answered");
    peer.close();
}

#[test]
fn a_peer_that_never_listens_is_known() {
    let mut peer = Peer::attached("9P2000.L");
    peer.opened(1, "file", 0);
    let send = |peer: &mut Peer, frame: Frame| {
        peer.session.handle_frame(&mut peer.tree, &frame.done()).unwrap();
    };
    for _ in 0..OUTPUTS_MAX {
        assert!(!peer.session.is_backlogged());
        send(&mut peer, tflush(1, 2));
    }
    assert!(peer.session.is_backlogged());
    assert_eq!(peer.hear().len(), OUTPUTS_MAX);
    assert!(!peer.session.is_backlogged());
    for _ in 0..OUTPUT_BYTES_MAX.div_ceil(10_011) {
        assert!(!peer.session.is_backlogged());
        send(&mut peer, tread(1, 1, 0, u32::MAX));
    }
    assert!(peer.session.is_backlogged());
    peer.hear();
    assert!(!peer.session.is_backlogged());
}
