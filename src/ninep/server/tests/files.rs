//! Open, read, write, and what concerns one file: attributes, changes, locks.

use super::tree::{FILE_LEN, file_bytes};
use super::*;
use crate::IO_HEADER_LEN;
use crate::server::MSIZE_MIN;

#[test]
fn open_is_once_and_within_permission() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "file", 0);
        assert!(peer.open(1, 0).is_error(), "twice");
        assert_eq!(peer.tree.open.len(), 1);

        peer.walk(0, 2, "file");
        for mode in [1, 2, 0x11, 0x10] {
            let got = peer.open(2, mode);
            assert!(got.errno() == 30 || got.ename() == "Read-only file system", "{got:?}");
        }
        assert!(peer.read(2, 0, 1).is_error(), "a refused open opens nothing");
        assert!(!peer.open(2, 0).is_error(), "and leaves the fid fit to open");

        peer.walk(0, 3, "secret");
        let got = peer.open(3, 0);
        assert!(got.errno() == 13 || got.ename() == "Permission denied", "{got:?}");
        assert!(peer.open(99, 0).is_error());
        peer.close();
        assert_eq!(peer.tree.closed.len(), 2);
    }
}

#[test]
fn open_answers_the_qid_and_leaves_the_unit_to_msize() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.walk(0, 1, "file");
        let got = peer.open(1, 0);
        assert_eq!(got.message_type, if dialect == "9P2000.L" { M::RLOPEN } else { M::ROPEN });
        assert_eq!((u64_at(&got.body, 5), u32_at(&got.body, 13)), (101, 0));
    }
}

#[test]
fn directories_are_only_read() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.walk(0, 1, "dir");
        for mode in [1, 2, 0x10] {
            let got = peer.open(1, mode);
            assert!(got.errno() == 21 || got.ename() == "Is a directory", "{got:?}");
        }
        assert!(!peer.open(1, 0).is_error());
    }
}

#[test]
fn modes_that_only_one_dialect_has() {
    let mut peer = Peer::attached("9P2000");
    peer.walk(0, 1, "file");
    let got = peer.ask(Frame::new(M::TOPEN, 1).u32(1).u8(0x40));
    assert_eq!(got.ename(), "Read-only file system", "ORCLOSE would remove");
    assert_eq!(
        peer.ask(Frame::new(M::TOPEN, 1).u32(1).u8(0x23)).message_type,
        M::ROPEN,
        "OEXEC|OCEXEC"
    );
    assert_eq!(peer.read(1, 0, 2).data(), [0, 1]);

    let mut peer = Peer::attached("9P2000.L");
    peer.walk(0, 1, "file");
    assert_eq!(peer.ask(Frame::new(M::TLOPEN, 1).u32(1).u32(3)).errno(), 22);
    // O_NONBLOCK | O_LARGEFILE | O_NOFOLLOW | O_CLOEXEC and bits nobody knows
    let got = peer.ask(Frame::new(M::TLOPEN, 1).u32(1).u32(0xfff4_8800 | 0o100_000));
    assert_eq!(got.message_type, M::RLOPEN);
}

#[test]
fn read_gives_what_there_is_and_then_the_end() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "file", 0);
        assert_eq!(peer.read(1, 0, 100).data(), file_bytes(0, 100));
        assert_eq!(peer.read(1, 9_990, 100).data(), file_bytes(9_990, 10));
        assert_eq!(peer.read(1, FILE_LEN as u64, 100).data(), []);
        assert_eq!(peer.read(1, 1 << 63, 100).data(), []);
        assert_eq!(peer.read(1, 5, 0).data(), []);
        assert_eq!(peer.read(1, 0, u32::MAX).data(), file_bytes(0, FILE_LEN));
    }
}

#[test]
fn reads_fit_msize_with_room_for_headers() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached_with(dialect, MSIZE_MIN);
        let room = (MSIZE_MIN - IO_HEADER_LEN) as usize;
        peer.opened(1, "file", 0);
        peer.opened(2, "bulk", 0);
        for count in [488, 489, 512, u32::MAX] {
            assert_eq!(peer.read(1, 0, count).data().len(), room);
            assert_eq!(peer.read(2, 0, count).data().len(), room);
        }
    }
}

#[test]
fn offset_and_count_do_not_overflow() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "file", 0);
        peer.opened(2, "ctl", 1);
        let got = peer.read(1, u64::MAX, u32::MAX);
        assert!(got.errno() == 22 || got.ename() == "Invalid argument", "{got:?}");
        assert_eq!(peer.read(1, u64::MAX - 10, 10).data(), []);
        assert!(peer.ask(twrite(1, 2, u64::MAX, b"x")).is_error());
    }
}

#[test]
fn reading_and_writing_need_a_fitting_open() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.walk(0, 1, "ctl");
        let unfit = |got: Got| assert!(got.errno() == 9 || got.ename() == "bad use of fid");
        unfit(peer.read(1, 0, 10));
        unfit(peer.ask(twrite(1, 1, 0, b"x")));
        peer.open(1, 1);
        unfit(peer.read(1, 0, 10));
        peer.opened(2, "ctl", 0);
        unfit(peer.ask(twrite(1, 2, 0, b"x")));
        assert!(peer.tree.written.is_empty());
        assert!(peer.read(99, 0, 10).is_error());
        assert!(peer.ask(twrite(1, 99, 0, b"x")).is_error());
    }
}

#[test]
fn a_control_file_takes_writes() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "ctl", 0x12);
        assert!(peer.tree.truncated);
        let got = peer.ask(twrite(1, 1, 0, b"hello"));
        assert_eq!((got.message_type, u32_at(&got.body, 0)), (M::RWRITE, 5));
        assert_eq!(peer.read(1, 0, 100).data(), b"hello");
        assert_eq!(peer.read(1, 0, 2).data(), b"he", "never more than asked");
        assert_eq!(u32_at(&peer.ask(twrite(1, 1, 0, b"")).body, 0), 0);
        assert!(peer.ask(twrite(1, 1, 7, b"x")).is_error());
    }
}

#[test]
fn stored_bytes_are_named_with_a_failure_at_hand() {
    for (dialect, failure_type) in
        [("9P2000", M::RERROR), ("9P2000.u", M::RERROR), ("9P2000.L", M::RLERROR)]
    {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "bulk", 0);
        peer.session.handle_frame(&mut peer.tree, &tread(3, 1, 40, 100).done()).unwrap();
        let Some(Output::Bulk { header, what: 40, len: 100, failure }) = peer.session.poll_output()
        else {
            panic!("expected stored bytes");
        };
        assert_eq!(header, [111, 0, 0, 0, M::RREAD.0, 3, 0, 100, 0, 0, 0]);
        let failure = Got::parse(&failure.frame());
        assert_eq!((failure.message_type, failure.tag), (failure_type, 3));
        let ename = match dialect {
            "9P2000" => "Input/output error",
            "9P2000.u" => "file changed or cannot be read on this server",
            _ => "",
        };
        assert_eq!(failure.ename(), ename);
        assert!(dialect != "9P2000.L" || failure.errno() == 5);
        assert_eq!(peer.read(1, FILE_LEN as u64, 100).data(), [], "the end is a plain reply");
    }
}

#[test]
fn a_failed_read_keeps_the_connection() {
    let mut peer = Peer::attached("9P2000");
    peer.opened(1, "broken", 0);
    assert_eq!(peer.read(1, 0, 10).ename(), "Input/output error");
    assert_eq!(peer.clunk(1).message_type, M::RCLUNK);
}

#[test]
fn stat_agrees_with_the_qid() {
    for dialect in TWO_DIALECTS {
        let mut peer = Peer::attached(dialect);
        let root = peer.ask(tfid(M::TSTAT, 1, 0));
        assert_eq!(root.message_type, M::RSTAT);
        // n[2] size[2] type[2] dev[4] qid[13] mode[4] atime[4] mtime[4] length[8] name[s]
        let record = &root.body[2..];
        assert_eq!(record[8], 0x80);
        assert_eq!(u32_at(record, 21) >> 31, 1);
        assert_eq!(record[41..44], [1, 0, b'/']);
    }
    let mut peer = Peer::attached("9P2000.L");
    let root = peer.ask(tfid(M::TGETATTR, 1, 0).u64(0x3fff));
    assert_eq!(root.message_type, M::RGETATTR);
    assert_eq!(u64_at(&root.body, 0) & 0x7ff, 0x7ff);
    assert_eq!((root.body[8], u32_at(&root.body, 21)), (0x80, 0o040_555));
}

#[test]
fn of_what_is_gone_there_is_no_stat_and_no_listing() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "dir", 0);
        peer.tree.gone.insert(2);
        let linux = dialect == "9P2000.L";
        let stat = match linux {
            true => peer.ask(tfid(M::TGETATTR, 1, 1).u64(0x3fff)),
            false => peer.ask(tfid(M::TSTAT, 1, 1)),
        };
        assert!(stat.errno() == 2 || stat.ename() == "No such file or directory", "{stat:?}");
        let list = match linux {
            true => peer.ask(tfid(M::TREADDIR, 1, 1).u64(0).u32(8192)),
            false => peer.read(1, 0, 8192),
        };
        assert!(list.is_error(), "{list:?}");
        assert!(!peer.clunk(1).is_error());
    }
}

/// Twstat's record with every field at "don't touch" but length and mode.
fn twstat(dialect: &str, fid: u32, length: u64, mode: u32) -> Frame {
    let unix = dialect == "9P2000.u";
    let size = 47 + if unix { 14 } else { 0 };
    let frame = Frame::new(M::TWSTAT, 1).u32(fid).u16(size + 2).u16(size);
    let frame = frame.bytes(&[0xff; 19]).u32(mode).bytes(&[0xff; 8]).u64(length).bytes(&[0; 8]);
    if unix { frame.bytes(&[0; 2]).bytes(&[0xff; 12]) } else { frame }
}

#[test]
fn wstat_that_touches_nothing_is_fsync() {
    for dialect in TWO_DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.walk(0, 1, "file");
        peer.walk(0, 2, "ctl");
        let same = (u64::MAX, u32::MAX);
        assert_eq!(peer.ask(twstat(dialect, 1, same.0, same.1)).message_type, M::RWSTAT);
        assert_eq!(peer.ask(twstat(dialect, 2, 0, same.1)).message_type, M::RWSTAT, "truncation");
        let refused = [(1, 0, same.1), (2, 1, same.1), (2, same.0, 0o666), (0, 0, same.1)];
        for (fid, length, mode) in refused {
            let got = peer.ask(twstat(dialect, fid, length, mode));
            assert_eq!(got.ename(), "Read-only file system");
        }
        assert!(peer.ask(twstat(dialect, 9, same.0, same.1)).is_error());
    }
}

#[test]
fn setattr_grants_the_truncation_of_control_files_only() {
    let mut peer = Peer::attached("9P2000.L");
    peer.walk(0, 1, "file");
    peer.walk(0, 2, "ctl");
    let tsetattr = |fid: u32, valid: u32, size: u64| {
        Frame::new(M::TSETATTR, 1).u32(fid).u32(valid).bytes(&[0; 12]).u64(size).bytes(&[0; 32])
    };
    assert_eq!(peer.ask(tsetattr(1, 0, 0)).message_type, M::RSETATTR);
    assert_eq!(peer.ask(tsetattr(2, 0x8, 0)).message_type, M::RSETATTR);
    assert_eq!(peer.ask(tsetattr(2, 0x8, 5)).errno(), 30);
    assert_eq!(peer.ask(tsetattr(1, 0x8, 0)).errno(), 30);
    assert_eq!(peer.ask(tsetattr(2, 0x1, 0)).errno(), 30, "chmod");
    assert_eq!(peer.ask(tsetattr(9, 0, 0)).errno(), 9);
}

#[test]
fn what_changes_the_tree_is_refused() {
    let mut peer = Peer::attached("9P2000.L");
    let changes = [
        Frame::new(M::TLCREATE, 1).u32(0).string(b"new").u32(1).u32(0o644).u32(0),
        Frame::new(M::TSYMLINK, 1).u32(0).string(b"new").string(b"old").u32(0),
        Frame::new(M::TMKNOD, 1).u32(0).string(b"new").u32(0).u32(0).u32(0).u32(0),
        Frame::new(M::TRENAME, 1).u32(0).u32(0).string(b"new"),
        Frame::new(M::TXATTRCREATE, 1).u32(0).string(b"user.x").u64(1).u32(0),
        Frame::new(M::TLINK, 1).u32(0).u32(0).string(b"new"),
        Frame::new(M::TMKDIR, 1).u32(0).string(b"new").u32(0o755).u32(0),
        Frame::new(M::TRENAMEAT, 1).u32(0).string(b"file").u32(0).string(b"new"),
        Frame::new(M::TUNLINKAT, 1).u32(0).string(b"file").u32(0),
    ];
    for change in changes {
        let message_type = M(change.0[4]);
        let mut unknown = change.clone();
        assert_eq!(peer.ask(change).errno(), 30, "{message_type}");
        unknown.0[7] = 99;
        assert_eq!(peer.ask(unknown).errno(), 9, "{message_type}");
    }
    for dialect in TWO_DIALECTS {
        let mut peer = Peer::attached(dialect);
        let tcreate = Frame::new(M::TCREATE, 1).u32(0).string(b"new").u32(0o644).u8(0);
        let tcreate = if dialect == "9P2000.u" { tcreate.string(b"") } else { tcreate };
        assert_eq!(peer.ask(tcreate).ename(), "Read-only file system");
    }
}

#[test]
fn the_small_ones_of_linux() {
    let mut peer = Peer::attached("9P2000.L");
    peer.walk(0, 1, "link");
    peer.walk(0, 2, "file");
    let statfs = peer.ask(tfid(M::TSTATFS, 1, 0));
    assert_eq!(statfs.message_type, M::RSTATFS);
    assert_eq!((u32_at(&statfs.body, 0), u32_at(&statfs.body, 4)), (0x0102_1997, 4096));
    assert_eq!(u64_at(&statfs.body, 8), 3, "blocks of 10000 bytes");
    assert_eq!(peer.ask(tfid(M::TREADLINK, 1, 1)).body, b"\x04\0file");
    assert_eq!(peer.ask(tfid(M::TREADLINK, 1, 2)).errno(), 22);
    assert_eq!(peer.ask(tfid(M::TFSYNC, 1, 2)).message_type, M::RFSYNC);
    assert_eq!(peer.ask(tfid(M::TFSYNC, 1, 2).u32(1)).message_type, M::RFSYNC);
    let xattrwalk = Frame::new(M::TXATTRWALK, 1).u32(2).u32(3).string(b"system.posix_acl_access");
    assert_eq!(peer.ask(xattrwalk).errno(), 95);
    assert_eq!(peer.path_of(3), None);
    let tlock = tfid(M::TLOCK, 1, 2).u8(0).u32(0).u64(0).u64(0).u32(1).string(b"host");
    assert_eq!(peer.ask(tlock).body, [0]);
    let tgetlock = tfid(M::TGETLOCK, 1, 2).u8(0).u64(0).u64(0).u32(1).string(b"host");
    assert_eq!(peer.ask(tgetlock).body[0], 2, "nobody holds it");
    for message_type in [M::TSTATFS, M::TREADLINK, M::TFSYNC] {
        assert_eq!(peer.ask(tfid(message_type, 1, 77)).errno(), 9);
    }
}
