//! Frames that no honest client sends: lost framing closes the connection,
//! everything else is answered and forgiven.

use super::*;
use alloc::vec;

/// Whether the connection outlives these bytes, taken as one frame.
fn survives(peer: &mut Peer, frame: &[u8]) -> bool {
    let outcome = peer.session.handle_frame(&mut peer.tree, frame);
    let replies = peer.hear().len();
    assert_eq!(replies, usize::from(outcome.is_ok()), "a fatal frame has no answer");
    outcome.is_ok()
}

#[test]
fn lost_framing_is_fatal() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached_with(dialect, 4096);
        let clunk = tfid(M::TCLUNK, 1, 0).done();
        for size in [0, 6, 7, 10, 12, 4096, 4097, 1 << 31, u32::MAX] {
            let mut frame = clunk.clone();
            frame[..4].copy_from_slice(&size.to_le_bytes());
            assert!(!survives(&mut peer, &frame), "size {size} of 11");
        }
        for len in 0..7 {
            assert!(!survives(&mut peer, &clunk[..len]));
        }
        let long = twrite(1, 0, 0, &vec![0; 4096]).done();
        assert!(!survives(&mut peer, &long), "longer than msize");
        let full = twrite(1, 0, 0, &vec![0; 4096 - 23]).done();
        assert_eq!(full.len(), 4096);
        assert!(survives(&mut peer, &full), "just msize");
    }
}

#[test]
fn a_bad_body_is_answered_and_forgiven() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        let good = [
            twalk(1, 0, 1, &[b"dir", b"inner"]),
            tread(1, 0, 0, 10),
            twrite(1, 0, 0, b"abc"),
            tflush(1, 9),
            tfid(M::TCLUNK, 1, 0),
            tfid(M::TREMOVE, 1, 0),
        ];
        for frame in good {
            for cut in 7..frame.0.len() {
                let short = Frame(frame.0[..cut].to_vec());
                assert!(peer.ask(short).is_error(), "{cut} of {:?}", frame.0);
            }
            assert!(peer.ask(frame.bytes(b"x")).is_error(), "trailing byte");
        }
        assert_eq!(peer.path_of(0), Some(100), "nothing of it was done");
    }
}

#[test]
fn strings_past_the_end_and_counts_that_lie() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        let attach = Frame::new(M::TATTACH, 1).u32(5).u32(NOFID);
        assert!(peer.ask(attach.clone().u16(0xffff)).is_error());
        assert!(peer.ask(attach.string(b"me").u16(5).bytes(b"dir")).is_error());
        let write = Frame::new(M::TWRITE, 1).u32(0).u64(0).u32(u32::MAX).bytes(b"abc");
        assert!(peer.ask(write).is_error());
        assert!(peer.ask(Frame::new(M::TVERSION, 1).u32(8192).u16(9).bytes(b"9P")).is_error());
        assert_eq!(peer.path_of(0), Some(100));
    }
}

#[test]
fn types_that_are_not_requests_here() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        let foreign: &[M] = match dialect {
            "9P2000.L" => &[M::TOPEN, M::TCREATE, M::TSTAT, M::TWSTAT],
            _ => &[M::TSTATFS, M::TLOPEN, M::TGETATTR, M::TREADDIR, M::TFSYNC, M::TUNLINKAT],
        };
        // Terror, Tlerror, every R-type, Plan 9 port's Topenfd, nonsense.
        let never = [106, 6, 98, 0, 1, 255].into_iter().chain((101..128).step_by(2)).map(M);
        for message_type in foreign.iter().copied().chain(never) {
            for body in [&[][..], &[0; 4], &[0; 64]] {
                let got = peer.ask(Frame::new(message_type, 3).bytes(body));
                assert!(
                    got.errno() == 95 || got.ename() == "Operation not supported",
                    "{message_type}: {got:?}"
                );
            }
        }
        assert_eq!(peer.path_of(0), Some(100));
    }
}

#[test]
fn replies_that_would_not_fit_become_errors() {
    let name = "b".repeat(255);
    for (dialect, message_type) in [("9P2000.u", M::TSTAT), ("9P2000.L", M::TREADLINK)] {
        let mut peer = Peer::attached_with(dialect, 4096);
        peer.walk(0, 1, &format!("worst/{name}"));
        let got = peer.ask(tfid(message_type, 1, 1));
        assert!(got.errno() == 90 || got.ename() == "Message too long", "{got:?}");
        let mut peer = Peer::attached_with(dialect, 8192);
        peer.walk(0, 1, &format!("worst/{name}"));
        assert!(!peer.ask(tfid(message_type, 1, 1)).is_error());
    }
}
