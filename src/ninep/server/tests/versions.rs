//! Tversion, Tauth, Tattach, and in which words each dialect errs.

use super::*;
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

fn offer(msize: u32, version: &str) -> (u32, String) {
    let got = Peer::new().ask(tversion(0xffff, msize, version));
    assert_eq!(got.message_type, M::RVERSION, "{got:?}");
    (u32_at(&got.body, 0), String::from_utf8(got.body[6..].to_vec()).unwrap())
}

#[test]
fn each_offer_gets_its_version_and_never_an_error() {
    let cases = [
        ("9P2000", "9P2000"),
        ("9P2000.u", "9P2000.u"),
        ("9P2000.L", "9P2000.L"),
        ("9P2000.L.Google.7", "9P2000.L"),
        ("9P2000.x", "9P2000"),
        ("9P2000.", "9P2000"),
        ("9P2000.Lx", "9P2000"),
        ("9P2000L", "unknown"),
        ("9P1999", "unknown"),
        ("unknown", "unknown"),
        ("", "unknown"),
    ];
    for (asked, answered) in cases {
        assert_eq!(offer(8192, asked), (8192, answered.to_owned()), "{asked}");
    }
}

#[test]
fn msize_is_the_lesser_of_both() {
    assert_eq!(offer(u32::MAX, "9P2000.L").0, MSIZE_MAX);
    assert_eq!(offer(MSIZE_MAX, "9P2000.L").0, MSIZE_MAX);
    assert_eq!(offer(4096, "9P2000").0, 4096);
    assert_eq!(offer(512, "9P2000").0, 512);
    for tiny in [0, 1, 24, 511] {
        let mut peer = Peer::new();
        assert!(peer.ask(tversion(0xffff, tiny, "9P2000.L")).is_error());
        assert_eq!(peer.session.dialect(), None);
    }
}

#[test]
fn the_frame_limit_follows_the_msize() {
    let mut peer = Peer::new();
    assert_eq!(peer.session.frame_len_max(), 8192);
    peer.ask(tversion(0xffff, 4096, "9P2000"));
    assert_eq!(peer.session.frame_len_max(), 4096);
    peer.ask(tversion(0xffff, 1 << 20, "9P2000"));
    assert_eq!(peer.session.frame_len_max(), MSIZE_MAX);
    peer.ask(tversion(0xffff, 1 << 20, "8P"));
    assert_eq!(peer.session.frame_len_max(), 8192);
}

#[test]
fn tversion_comes_on_any_tag() {
    for tag in [0, 1, 0xfffe, 0xffff] {
        assert_eq!(Peer::new().ask(tversion(tag, 8192, "9P2000.L")).message_type, M::RVERSION);
    }
}

#[test]
fn nothing_but_tversion_is_valid_before_one() {
    let mut peer = Peer::new();
    assert_eq!(peer.attach(0, b"").message_type, M::RERROR);
    assert!(peer.ask(tfid(M::TCLUNK, 1, 0)).is_error());
    assert_eq!(peer.ask(tversion(0xffff, 8192, "nonsense")).message_type, M::RVERSION);
    assert_eq!(peer.attach(0, b"").message_type, M::RERROR);
    assert_eq!(peer.ask(tversion(0xffff, 8192, "9P2000")).message_type, M::RVERSION);
    assert_eq!(peer.attach(0, b"").message_type, M::RATTACH);
}

#[test]
fn a_later_tversion_resets_everything() {
    let mut peer = Peer::attached("9P2000.L");
    peer.opened(1, "parked", 0);
    peer.opened(2, "ctl", 1);
    assert!(peer.tell(tread(9, 1, 0, 10)).is_empty());
    let ticket = peer.tree.the_ticket();

    let got = peer.tell(tversion(0xffff, 4096, "9P2000"));
    assert_eq!(got.iter().map(|got| got.message_type).collect::<Vec<_>>(), [M::RVERSION]);
    assert!(peer.tree.open.is_empty());
    assert_eq!(peer.tree.closed.len(), 2);
    assert_eq!(peer.tree.forgotten, [ticket]);
    assert_eq!(peer.session.parked_count(), 0);
    peer.tree.arrived = true;
    assert!(peer.resume(ticket).is_empty(), "the read died with its session");

    // Fids, tags and dialect are new, serials are not.
    assert_eq!(peer.clunk(0).ename(), "fid unknown or out of range");
    assert_eq!(peer.attach(0, b"").message_type, M::RATTACH);
    peer.opened(1, "file", 0);
    assert!(peer.tree.open.first() > peer.tree.closed.last());
    peer.close();
}

#[test]
fn a_refused_tversion_changes_nothing() {
    let mut peer = Peer::attached("9P2000.L");
    peer.opened(1, "file", 0);
    assert!(peer.ask(tversion(0xffff, 10, "9P2000")).is_error());
    assert_eq!(peer.read(1, 0, 4).data(), [0, 1, 2, 3]);
}

#[test]
fn errors_speak_the_dialect() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        let got = peer.walk(0, 1, "absent");
        match dialect {
            "9P2000.L" => assert_eq!((got.message_type, got.body), (M::RLERROR, vec![2, 0, 0, 0])),
            _ => {
                assert_eq!(got.ename(), "No such file or directory");
                let errno: &[u8] = if dialect == "9P2000.u" { &[2, 0, 0, 0] } else { &[] };
                assert_eq!(got.body[2 + 25..], *errno);
            }
        }
    }
}

#[test]
fn no_authentication_is_asked_for() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        let tauth = Frame::new(M::TAUTH, 3).u32(5).string(b"glenda").string(b"");
        let tauth = if dialect == "9P2000" { tauth } else { tauth.u32(NONUNAME) };
        let got = peer.ask(tauth);
        assert!(got.is_error());
        if dialect == "9P2000.L" {
            assert_eq!(got.errno(), 2, "diodls takes only ENOENT as `not required`");
        }
        let tattach = Frame::new(M::TATTACH, 3).u32(6).u32(5).string(b"glenda").string(b"");
        let tattach = if dialect == "9P2000" { tattach } else { tattach.u32(0) };
        assert!(peer.ask(tattach).is_error(), "afid without Tauth");
        assert_eq!(peer.path_of(6), None);
    }
}

/// attach(5): "The afid argument specifies a fid previously established by an auth message".
#[test]
fn who_is_to_prove_himself_does_so_by_an_open_file_and_is_attached_by_it_alone() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        let numbered = |frame: Frame| {
            if dialect == "9P2000" { frame } else { frame.u32(NONUNAME) }
        };
        let tauth = |afid: u32| {
            numbered(Frame::new(M::TAUTH, 3).u32(afid).string(b"glenda").string(b"keyed"))
        };
        let tattach = |fid: u32, afid: u32| {
            let frame = Frame::new(M::TATTACH, 3).u32(fid).u32(afid);
            numbered(frame.string(b"glenda").string(b"keyed"))
        };
        assert_eq!(peer.ask(tauth(5)).message_type, M::RAUTH);
        assert!(peer.ask(tauth(5)).is_error() && peer.ask(tauth(NOFID)).is_error());
        // It is open as it is.
        assert_eq!(peer.ask(twrite(1, 5, 0, b"a word")).message_type, M::RWRITE);
        assert_eq!(peer.read(5, 0, 100).data(), b"a word");
        assert!(peer.open(5, 0).is_error());
        // Neither nothing nor any other file proves anything.
        peer.opened(7, "file", 0);
        for afid in [NOFID, 0, 7, 9] {
            assert!(peer.ask(tattach(6, afid)).is_error(), "{dialect} {afid}");
        }
        assert_eq!(peer.ask(tattach(6, 5)).message_type, M::RATTACH);
        assert!(peer.path_of(6).is_some());
        // It may go then, and what it has proved stays.
        assert_eq!(peer.ask(Frame::new(M::TCLUNK, 1).u32(5)).message_type, M::RCLUNK);
        assert!(peer.ask(tattach(8, 5)).is_error());
        assert!(peer.path_of(6).is_some());
    }
}

#[test]
fn attach_many_times_but_to_new_fids_and_known_names() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        assert!(peer.attach(0, b"").is_error(), "fid in use");
        assert!(peer.attach(NOFID, b"").is_error());
        assert!(peer.attach(1, b"nowhere").is_error());
        assert_eq!(peer.path_of(1), None);
        assert_eq!(peer.attach(1, b"/").message_type, M::RATTACH);
        assert_eq!(peer.attach(2, b"dir").message_type, M::RATTACH);
        assert_eq!(peer.path_of(1), Some(100));
        assert_eq!(peer.path_of(2), Some(102));
    }
}
