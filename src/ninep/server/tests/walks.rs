//! Twalk, Tclunk, Tremove: what a fid number stands for.

use super::*;
use crate::server::FIDS_MAX;

#[test]
fn a_walk_names_each_step() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        let got = peer.walk(0, 1, "dir/inner");
        assert_eq!(got.walked(), 2);
        assert_eq!((got.body[2], u64_at(&got.body, 7)), (0x80, 102));
        assert_eq!((got.body[15], u64_at(&got.body, 20)), (0, 103));
        assert_eq!(peer.path_of(1), Some(103));
        assert_eq!(peer.path_of(0), Some(100));
    }
}

#[test]
fn a_walk_of_no_names_clones_also_files() {
    let mut peer = Peer::attached("9P2000.L");
    peer.walk(0, 1, "file");
    assert_eq!(peer.walk(1, 2, "").walked(), 0);
    assert_eq!(peer.path_of(2), Some(101));
    assert_eq!(peer.walk(2, 2, "").walked(), 0, "onto itself");
    assert_eq!(peer.path_of(2), Some(101));
}

#[test]
fn a_walk_that_fails_at_once_is_an_error() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        assert!(peer.walk(0, 1, "absent/inner").is_error());
        assert_eq!(peer.path_of(1), None);
        assert!(peer.walk(44, 1, "dir").is_error(), "unknown fid");
    }
}

#[test]
fn a_walk_that_fails_later_leaves_no_fid() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        assert_eq!(peer.walk(0, 1, "dir/absent/x").walked(), 1);
        assert_eq!(peer.path_of(1), None);
        let message_type = if dialect == "9P2000.L" { M::TGETATTR } else { M::TSTAT };
        let stat = tfid(message_type, 1, 1);
        let stat = if dialect == "9P2000.L" { stat.u64(0x7ff) } else { stat };
        assert!(peer.ask(stat).is_error(), "getattr of a fid that never was");
        assert!(peer.clunk(1).is_error(), "Linux clunks it all the same");
        // In place: the fid stays where it was.
        assert_eq!(peer.walk(0, 0, "dir/absent").walked(), 1);
        assert_eq!(peer.path_of(0), Some(100));
        assert_eq!(peer.walk(0, 0, "dir/inner").walked(), 2);
        assert_eq!(peer.path_of(0), Some(103));
    }
}

#[test]
fn dot_is_self_and_dot_dot_stops_at_the_root() {
    let mut peer = Peer::attached("9P2000.L");
    assert_eq!(peer.walk(0, 1, "../../dir/./../dir/.").walked(), 7);
    assert_eq!(peer.path_of(1), Some(102));
}

#[test]
fn a_file_is_walked_nowhere() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.walk(0, 1, "file");
        for name in ["x", "..", "."] {
            let got = peer.walk(1, 2, name);
            assert!(got.errno() == 20 || got.ename() == "Not a directory", "{got:?}");
        }
        assert_eq!(peer.walk(0, 2, "file/x").walked(), 1);
        assert_eq!(peer.path_of(2), None);
    }
}

#[test]
fn a_new_fid_is_neither_in_use_nor_nofid() {
    let mut peer = Peer::attached("9P2000");
    peer.walk(0, 1, "dir");
    assert_eq!(peer.walk(0, 1, "file").ename(), "fid already in use");
    assert_eq!(peer.path_of(1), Some(102));
    assert!(peer.walk(0, NOFID, "file").is_error());
    assert!(peer.walk(NOFID, 5, "").is_error());
}

#[test]
fn an_open_fid_is_walked_from_but_not_moved() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "dir", 0);
        assert!(peer.walk(1, 1, "inner").is_error());
        assert!(peer.walk(1, 1, "").is_error());
        assert_eq!(peer.walk(1, 2, "inner").walked(), 1);
        assert!(peer.read(2, 0, 1).is_error(), "the new fid is not open");
        assert!(!peer.open(2, 0).is_error());
        peer.close();
    }
}

#[test]
fn sixteen_names_and_no_more() {
    let mut peer = Peer::attached("9P2000");
    let dots = [&b".."[..]; 17];
    assert_eq!(peer.ask(twalk(1, 0, 1, &dots[..16])).walked(), 16);
    assert!(peer.ask(twalk(1, 0, 2, &dots)).is_error());
    let lying = Frame::new(M::TWALK, 1).u32(0).u32(2).u16(65535);
    assert!(peer.ask(lying).is_error());
    assert_eq!(peer.path_of(2), None);
}

#[test]
fn strange_names_are_absent_and_harm_nobody() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        let long = [b'x'; 300];
        let names: [&[u8]; 7] =
            [b"", b"/", b"dir/inner", b"fi\0le", b"\xff\xfe", b"...", &long[..]];
        for name in names {
            assert!(peer.ask(twalk(1, 0, 1, &[name])).is_error(), "{name:?}");
        }
        let past_the_end = Frame::new(M::TWALK, 1).u32(0).u32(1).u16(1).u16(500).bytes(b"file");
        assert!(peer.ask(past_the_end).is_error());
        assert_eq!(peer.path_of(1), None);
    }
}

#[test]
fn clunk_frees_once() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "ctl", 2);
        let open_id = *peer.tree.open.first().unwrap();
        assert_eq!(peer.clunk(1).message_type, M::RCLUNK);
        assert!(peer.tree.closed.contains(&open_id));
        assert!(peer.clunk(1).is_error());
        assert_eq!(peer.walk(0, 1, "file").message_type, M::RWALK, "the number is free again");
        assert!(peer.clunk(NOFID).is_error());
    }
}

#[test]
fn remove_clunks_and_is_refused() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "file", 0);
        let got = peer.ask(tfid(M::TREMOVE, 1, 1));
        assert!(got.errno() == 30 || got.ename() == "Read-only file system", "{got:?}");
        assert_eq!(peer.tree.closed.len(), 1);
        assert_eq!(peer.path_of(1), None);
        let again = peer.ask(tfid(M::TREMOVE, 1, 1));
        assert!(again.errno() == 9 || again.ename() == "fid unknown or out of range");
    }
}

#[test]
fn a_flood_of_fids_ends_at_the_limit() {
    let mut peer = Peer::attached("9P2000.L");
    for fid in 1..FIDS_MAX as u32 {
        assert_eq!(peer.ask(twalk(1, 0, fid, &[])).walked(), 0);
    }
    assert_eq!(peer.ask(twalk(1, 0, FIDS_MAX as u32, &[])).errno(), 24);
    assert_eq!(peer.attach(FIDS_MAX as u32, b"").errno(), 24);
    assert_eq!(peer.ask(twalk(1, 1, 1, &[b"file"])).walked(), 1, "in place needs no room");
    assert_eq!(peer.clunk(2).message_type, M::RCLUNK);
    assert_eq!(peer.attach(FIDS_MAX as u32, b"").message_type, M::RATTACH);
    peer.close();
}
