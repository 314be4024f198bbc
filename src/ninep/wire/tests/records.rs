//! Attributes, byte by byte, and what Twstat and Tsetattr ask for.

use super::*;
use crate::Dialect::{Linux, Plan9, Unix};
use crate::wire::reader::{SHORT, TRAILING};
use crate::wire::record::{put_dir_entry, put_stat_record, stat_mode};
use crate::wire::{reply, request};
use crate::{
    Attr, AttrChange, Dialect, Error, MessageType, QTDIR, QTFILE, QTSYMLINK, Qid, Reply, Request,
};

pub fn link() -> Attr {
    Attr {
        qid: Qid { file_type: QTSYMLINK, version: 1, path: 2 },
        mode: 0o120_777,
        uid: 10,
        gid: 2,
        nlink: 0,
        size: 4,
        mtime_s: 0x0102_0304,
        mtime_ns: 7,
        name: b"ln".to_vec(),
        link: b"dest".to_vec(),
    }
}

fn stat_record(dialect: Dialect, attr: &Attr) -> Vec<u8> {
    let mut out = Vec::new();
    put_stat_record(&mut out, dialect, attr);
    out
}

#[test]
fn a_stat_record_of_9p2000() {
    #[rustfmt::skip]
    let expected = [
        54, 0, 0, 0, 0, 0, 0, 0,
        0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, // no link in the qid
        0xff, 0x01, 0, 0,
        4, 3, 2, 1, 4, 3, 2, 1,
        4, 0, 0, 0, 0, 0, 0, 0,
        2, 0, b'l', b'n', 2, 0, b'1', b'0', 1, 0, b'2', 2, 0, b'1', b'0',
    ];
    assert_eq!(stat_record(Plan9, &link()), expected);
    let mut frame = Vec::new();
    reply::encode(Plan9, 0x0102, &Reply::Stat { attr: link() }, &mut frame);
    assert_eq!(frame[..9], [65, 0, 0, 0, 125, 2, 1, 56, 0]);
    assert_eq!(frame[9..], expected);
}

#[test]
fn a_stat_record_of_9p2000_u() {
    #[rustfmt::skip]
    let expected = [
        72, 0, 0, 0, 0, 0, 0, 0,
        2, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0x01, 0, 0x02,
        4, 3, 2, 1, 4, 3, 2, 1,
        4, 0, 0, 0, 0, 0, 0, 0,
        2, 0, b'l', b'n', 2, 0, b'1', b'0', 1, 0, b'2', 2, 0, b'1', b'0',
        4, 0, b'd', b'e', b's', b't', 10, 0, 0, 0, 2, 0, 0, 0, 10, 0, 0, 0,
    ];
    assert_eq!(stat_record(Unix, &link()), expected);
}

#[test]
fn mode_bits_agree_with_the_dialect() {
    assert_eq!(stat_mode(Plan9, 0o041_777), 0x8000_01ff);
    assert_eq!(stat_mode(Unix, 0o041_777), 0x8001_01ff);
    assert_eq!(stat_mode(Unix, 0o106_755), 0x000c_01ed);
    assert_eq!(stat_mode(Plan9, 0o106_755), 0o755);
    let dir = Attr { mode: 0o040_755, size: 4096, mtime_s: -1, ..link() };
    let record = stat_record(Unix, &dir);
    assert_eq!(record[25..41], [0; 16], "times before 1970 and directory lengths are 0");
}

#[test]
fn getattr_is_complete_for_linux() {
    let mut frame = Vec::new();
    reply::encode(Linux, 0x0102, &Reply::Getattr { attr: link() }, &mut frame);
    #[rustfmt::skip]
    let expected = [
        0xff, 0x07, 0, 0, 0, 0, 0, 0,
        2, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xa1, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0,
        1, 0, 0, 0, 0, 0, 0, 0, // nlink: at least 1
        0, 0, 0, 0, 0, 0, 0, 0,
        4, 0, 0, 0, 0, 0, 0, 0,
        0, 16, 0, 0, 0, 0, 0, 0, // blksize
        1, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(frame[..7], [160, 0, 0, 0, 25, 2, 1]);
    assert_eq!(frame[7..7 + expected.len()], expected);
    let time = [4, 3, 2, 1, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(frame[7 + expected.len()..128], time.repeat(3));
    assert_eq!(frame[128..], [0; 32]);
}

#[test]
fn directory_entries_have_the_types_of_readdir() {
    for (file_type, dtype) in [(QTDIR, 4), (QTFILE, 8), (QTSYMLINK, 10)] {
        let mut out = Vec::new();
        put_dir_entry(&mut out, &Qid { file_type, version: 3, path: 0x0504 }, 0x0706, b"a");
        let qid = [file_type, 3, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0];
        assert_eq!(out, [&qid[..], &[6, 7, 0, 0, 0, 0, 0, 0, dtype, 1, 0, b'a']].concat());
    }
}

fn change(dialect: Dialect, frame: &[u8]) -> Result<AttrChange, Error> {
    match request::decode(Some(dialect), frame).unwrap().1? {
        Request::Wstat { fid: 7, change } | Request::Setattr { fid: 7, change } => Ok(change),
        other => panic!("{other:?}"),
    }
}

/// stat[n] of Twstat with nothing but `length`, `mtime` and `name` touched.
fn stat(dialect: Dialect, length: u64, mtime: u32, name: &str) -> Vec<u8> {
    let (length, mtime) = (length.to_le_bytes(), mtime.to_le_bytes());
    let name = [&(name.len() as u16).to_le_bytes(), name.as_bytes()].concat();
    let mut stat = [&[0xff; 27][..], &mtime, &length, &name, &[0; 6]].concat();
    if dialect == Unix {
        stat.extend([&[0; 2][..], &[0xff; 12]].concat());
    }
    let size = (stat.len() as u16).to_le_bytes();
    let nstat = (stat.len() as u16 + 2).to_le_bytes();
    [&[7, 0, 0, 0], &nstat[..], &size, &stat].concat()
}

#[test]
fn what_a_wstat_touches() {
    let cases = [
        (u64::MAX, u32::MAX, "", None, false),
        (0, u32::MAX, "", Some(0), false),
        (5, 9, "", Some(5), false), // a truncating open brings the times along
        (u64::MAX, 9, "", None, true),
        (0, u32::MAX, "name", Some(0), true),
    ];
    for dialect in [Plan9, Unix] {
        for (length, mtime, name, size, other) in cases {
            let frame = frame(MessageType::TWSTAT, 1, &stat(dialect, length, mtime, name));
            assert_eq!(change(dialect, &frame), Ok(AttrChange { size, other }));
        }
    }
}

#[test]
fn what_a_setattr_touches() {
    let cases = [
        (0x08, Some(5), false),
        (0x68, Some(5), false), // O_TRUNC: size, mtime, ctime
        (0x60, None, true),
        (0x09, Some(5), true),
        (0, None, false),
    ];
    for (valid, size, other) in cases {
        let body = [&[7, 0, 0, 0, valid, 0, 0, 0][..], &[0; 12], &[5], &[0; 39]].concat();
        let frame = frame(MessageType::TSETATTR, 1, &body);
        assert_eq!(change(Linux, &frame), Ok(AttrChange { size, other }));
    }
}

#[test]
fn a_stat_record_may_not_leave_its_count() {
    let wstat = |stat: &[u8]| frame(MessageType::TWSTAT, 1, stat);
    let mut body = stat(Plan9, 0, 9, "ab");
    body[4] += 1; // nstat above what is there
    assert_eq!(change(Plan9, &wstat(&body)), Err(SHORT));
    body[4] -= 1;
    body[6] -= 1; // size below nstat - 2
    assert_eq!(change(Plan9, &wstat(&body)), Err(TRAILING));
    assert!(change(Unix, &wstat(&stat(Plan9, 0, 9, "ab"))).is_err());
}

#[test]
fn an_rstat_reads_back_as_a_wstat() {
    for dialect in [Plan9, Unix] {
        let mut rstat = Vec::new();
        reply::encode(dialect, 1, &Reply::Stat { attr: link() }, &mut rstat);
        let body = [&[7, 0, 0, 0], &rstat[7..]].concat();
        let expected = AttrChange { size: Some(4), other: true };
        assert_eq!(change(dialect, &frame(MessageType::TWSTAT, 1, &body)), Ok(expected));
    }
}
