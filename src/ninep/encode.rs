//! Values to frames: replies of the server, requests of our client.
//!
//! Knows how each dialect lays out what `message.rs` carries; refuses to know
//! msize: whoever asks for a frame keeps it small enough (only names, link
//! targets and error texts are cut here, to limits no honest one reaches).
//! Everything is appended to a buffer that the caller owns.

use super::message::kind::*;
use super::message::*;
use alloc::string::ToString;
use alloc::vec::Vec;

/// NAME_MAX and PATH_MAX - 1 (linux/limits.h). They keep Rstat and Rreadlink
/// below the 8 KiB that Linux gives them (net/9p/client.c).
const NAME_LEN_MAX: usize = 255;
const LINK_LEN_MAX: usize = 4095;

/// Appends the reply's whole frame.
pub fn reply(dialect: Dialect, tag: u16, reply: &Reply<'_>, out: &mut Vec<u8>) {
    frame(reply_kind(dialect, reply), tag, out, |out| reply_body(dialect, reply, out));
}

/// The header of an Rread whose `len` bytes of data follow from elsewhere.
pub fn rread_header(tag: u16, len: u32) -> [u8; RREAD_HEADER_LEN] {
    let size = (RREAD_HEADER_LEN as u32 + len).to_le_bytes();
    let (tag, count) = (tag.to_le_bytes(), len.to_le_bytes());
    let mut header = [0; RREAD_HEADER_LEN];
    header[..4].copy_from_slice(&size);
    header[4] = RREAD;
    header[5..7].copy_from_slice(&tag);
    header[7..].copy_from_slice(&count);
    header
}

/// Appends what a 9P2000 or 9P2000.u directory holds for one entry, which is
/// also what Rstat carries (stat(5)).
pub fn stat_record(dialect: Dialect, attr: &Attr, out: &mut Vec<u8>) {
    counted(out, |out| {
        out.extend([0; 2 + 4]); // type, dev: for kernel use
        put_qid(dialect, &attr.qid, out);
        put_u32(out, stat_mode(dialect, attr.mode));
        let mtime_s = attr.mtime_s.clamp(0, i64::from(u32::MAX)) as u32;
        put_u32(out, mtime_s); // atime: not kept
        put_u32(out, mtime_s);
        // Directories have length 0 by convention (stat(5)).
        put_u64(out, if is_dir(attr.mode) { 0 } else { attr.size });
        put_string(out, &attr.name, NAME_LEN_MAX);
        let (uid, gid) = (attr.uid.to_string(), attr.gid.to_string());
        for name in [&uid, &gid, &uid] {
            put_string(out, name.as_bytes(), NAME_LEN_MAX);
        }
        if dialect == Dialect::Unix {
            put_string(out, &attr.link, LINK_LEN_MAX);
            for id in [attr.uid, attr.gid, attr.uid] {
                put_u32(out, id);
            }
        }
    });
}

/// Appends one entry of an Rreaddir. `next_offset` is what a client sends back
/// to go on after it; `dtype` is a DT_* of readdir(3), not a qid type.
pub fn readdir_record(qid: &Qid, next_offset: u64, dtype: u8, name: &[u8], out: &mut Vec<u8>) {
    put_qid(Dialect::Linux, qid, out);
    put_u64(out, next_offset);
    out.push(dtype);
    put_string(out, name, NAME_LEN_MAX);
}

fn reply_kind(dialect: Dialect, reply: &Reply<'_>) -> u8 {
    let linux = dialect == Dialect::Linux;
    match reply {
        Reply::Version { .. } => RVERSION,
        Reply::Attach { .. } => RATTACH,
        Reply::Flush => RFLUSH,
        Reply::Walk { .. } => RWALK,
        Reply::Open { .. } if linux => TLOPEN + 1,
        Reply::Open { .. } => ROPEN,
        Reply::Write { .. } => RWRITE,
        Reply::Clunk => RCLUNK,
        Reply::Remove => TREMOVE + 1,
        Reply::Stat { .. } => TSTAT + 1,
        Reply::Wstat => TWSTAT + 1,
        Reply::Statfs { .. } => TSTATFS + 1,
        Reply::Getattr { .. } => TGETATTR + 1,
        Reply::Setattr => TSETATTR + 1,
        Reply::Readlink { .. } => TREADLINK + 1,
        Reply::Fsync => TFSYNC + 1,
        Reply::Lock { .. } => TLOCK + 1,
        Reply::Getlock => TGETLOCK + 1,
        Reply::Data { readdir: true, .. } => TREADDIR + 1,
        Reply::Data { readdir: false, .. } => RREAD,
        Reply::Error(_) if linux => RLERROR,
        Reply::Error(_) => RERROR,
    }
}

fn reply_body(dialect: Dialect, reply: &Reply<'_>, out: &mut Vec<u8>) {
    match reply {
        Reply::Version { msize, version } => {
            put_u32(out, *msize);
            put_string(out, version, NAME_LEN_MAX);
        }
        Reply::Attach { qid } => put_qid(dialect, qid, out),
        Reply::Walk { qids } => {
            put_u16(out, qids.len() as u16);
            qids.iter().for_each(|qid| put_qid(dialect, qid, out));
        }
        Reply::Open { qid, iounit } => {
            put_qid(dialect, qid, out);
            put_u32(out, *iounit);
        }
        Reply::Write { count } => put_u32(out, *count),
        Reply::Stat { attr } => counted(out, |out| stat_record(dialect, attr, out)),
        Reply::Statfs { files, blocks, block_len } => statfs(*files, *blocks, *block_len, out),
        Reply::Getattr { attr } => getattr(attr, out),
        Reply::Readlink { target } => put_string(out, target, LINK_LEN_MAX),
        Reply::Lock { status } => out.push(*status),
        Reply::Getlock => getlock(out),
        Reply::Data { data, .. } => {
            put_u32(out, data.len() as u32);
            out.extend_from_slice(data);
        }
        Reply::Error(error) => put_error(dialect, error, out),
        Reply::Flush
        | Reply::Clunk
        | Reply::Remove
        | Reply::Wstat
        | Reply::Setattr
        | Reply::Fsync => {}
    }
}

fn put_error(dialect: Dialect, error: &Error, out: &mut Vec<u8>) {
    // Linux takes 0 for "no error" and from 4096 on for no errno at all.
    let errno = if (1..4096).contains(&error.errno) { error.errno } else { EIO.errno };
    if dialect != Dialect::Linux {
        // Too long a string is cut rather than refused (intro(5)).
        let mut len = error.text.len().min(ERROR_TEXT_MAX);
        while !error.text.is_char_boundary(len) {
            len -= 1;
        }
        put_string(out, &error.text.as_bytes()[..len], ERROR_TEXT_MAX);
    }
    if dialect != Dialect::Plan9 {
        put_u32(out, u32::from(errno));
    }
}

/// V9FS_MAGIC (linux/magic.h): statfs(2) tells that it is 9P.
const STATFS_TYPE: u32 = 0x0102_1997;

fn statfs(files: u64, blocks: u64, block_len: u32, out: &mut Vec<u8>) {
    put_u32(out, STATFS_TYPE);
    put_u32(out, block_len);
    // blocks bfree bavail files ffree fsid: nothing is free on a full, read-only tree.
    for field in [blocks, 0, 0, files, 0, 0] {
        put_u64(out, field);
    }
    put_u32(out, NAME_LEN_MAX as u32);
}

/// P9_STATS_BASIC: what stat(2) shows. Linux wants all of it or distrusts all.
const GETATTR_BASIC: u64 = 0x7ff;
/// st_blksize: a hint, but never 0.
const BLOCK_LEN: u64 = 4096;
/// The unit of st_blocks (stat(3type)).
const SECTOR_LEN: u64 = 512;

fn getattr(attr: &Attr, out: &mut Vec<u8>) {
    put_u64(out, GETATTR_BASIC);
    put_qid(Dialect::Linux, &attr.qid, out);
    for field in [attr.mode, attr.uid, attr.gid] {
        put_u32(out, field);
    }
    let rdev = 0;
    let blocks = attr.size.div_ceil(SECTOR_LEN);
    for field in [attr.nlink.max(1), rdev, attr.size, BLOCK_LEN, blocks] {
        put_u64(out, field);
    }
    // atime and ctime are not kept.
    for _atime_mtime_ctime in 0..3 {
        put_u64(out, attr.mtime_s as u64);
        put_u64(out, u64::from(attr.mtime_ns));
    }
    // btime[16] gen[8] data_version[8]: outside the valid mask.
    out.extend([0; 32]);
}

/// P9_LOCK_TYPE_UNLCK: nobody holds the lock.
const LOCK_TYPE_UNLOCKED: u8 = 2;

fn getlock(out: &mut Vec<u8>) {
    out.push(LOCK_TYPE_UNLOCKED);
    out.extend([0; 8 + 8 + 4]); // start, length, proc_id
    put_string(out, b"", 0); // client_id
}

const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFLNK: u32 = 0o120_000;

fn is_dir(mode: u32) -> bool {
    mode & S_IFMT == S_IFDIR
}

/// stat(5)'s mode of a st_mode. Devices, pipes and sockets are not served.
fn stat_mode(dialect: Dialect, mode: u32) -> u32 {
    const DMDIR: u32 = 0x8000_0000;
    // 9P2000.u: DMSYMLINK, DMSETUID, DMSETGID, DMSETVTX (net/9p/9p.h).
    const UNIX_BITS: [(u32, u32); 3] =
        [(0o4000, 0x0008_0000), (0o2000, 0x0004_0000), (0o1000, 0x0001_0000)];
    const DMSYMLINK: u32 = 0x0200_0000;
    let mut bits = mode & 0o777;
    if is_dir(mode) {
        bits |= DMDIR;
    }
    if dialect == Dialect::Unix {
        if mode & S_IFMT == S_IFLNK {
            bits |= DMSYMLINK;
        }
        for (posix, bit) in UNIX_BITS {
            if mode & posix != 0 {
                bits |= bit;
            }
        }
    }
    bits
}

// Requests, in 9P2000.u, which is what our client speaks.

pub fn tversion(msize: u32, version: &[u8], out: &mut Vec<u8>) {
    frame(TVERSION, NOTAG, out, |out| {
        put_u32(out, msize);
        put_string(out, version, NAME_LEN_MAX);
    });
}

/// Attaches `fid` to the tree `aname`, without authentication.
pub fn tattach(tag: u16, fid: u32, uname: &[u8], aname: &[u8], out: &mut Vec<u8>) {
    frame(TATTACH, tag, out, |out| {
        put_u32(out, fid);
        put_u32(out, NOFID);
        put_string(out, uname, NAME_LEN_MAX);
        put_string(out, aname, LINK_LEN_MAX);
        put_u32(out, NONUNAME);
    });
}

/// At most WALK_NAMES_MAX names.
pub fn twalk(tag: u16, fid: u32, newfid: u32, names: &[&[u8]], out: &mut Vec<u8>) {
    debug_assert!(names.len() <= WALK_NAMES_MAX);
    frame(TWALK, tag, out, |out| {
        put_u32(out, fid);
        put_u32(out, newfid);
        put_u16(out, names.len() as u16);
        names.iter().for_each(|name| put_string(out, name, WALK_NAME_LEN_MAX));
    });
}

/// A longer name cannot exist on the file systems that are served. It is cut
/// to one byte above what can, so that the server refuses it as well.
pub const WALK_NAME_LEN_MAX: usize = NAME_LEN_MAX + 1;

pub fn topen(tag: u16, fid: u32, mode: u8, out: &mut Vec<u8>) {
    frame(TOPEN, tag, out, |out| {
        put_u32(out, fid);
        out.push(mode);
    });
}

pub fn tread(tag: u16, fid: u32, offset: u64, count: u32, out: &mut Vec<u8>) {
    frame(TREAD, tag, out, |out| {
        put_u32(out, fid);
        put_u64(out, offset);
        put_u32(out, count);
    });
}

pub fn twrite(tag: u16, fid: u32, offset: u64, data: &[u8], out: &mut Vec<u8>) {
    frame(TWRITE, tag, out, |out| {
        put_u32(out, fid);
        put_u64(out, offset);
        put_u32(out, data.len() as u32);
        out.extend_from_slice(data);
    });
}

pub fn tclunk(tag: u16, fid: u32, out: &mut Vec<u8>) {
    frame(TCLUNK, tag, out, |out| put_u32(out, fid));
}

pub fn tflush(tag: u16, oldtag: u16, out: &mut Vec<u8>) {
    frame(TFLUSH, tag, out, |out| put_u16(out, oldtag));
}

/// size[4] kind[1] tag[2], and what `body` appends.
fn frame(kind: u8, tag: u16, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 4]);
    out.push(kind);
    put_u16(out, tag);
    body(out);
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_le_bytes());
}

/// len[2], and what `body` appends: at most three names, one link target and
/// fixed fields, so the length always fits.
fn counted(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 2]);
    body(out);
    let len = (out.len() - start - 2) as u16;
    out[start..start + 2].copy_from_slice(&len.to_le_bytes());
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A string of at most `len_max` bytes, which is below 64 KiB.
fn put_string(out: &mut Vec<u8>, string: &[u8], len_max: usize) {
    let string = &string[..string.len().min(len_max)];
    put_u16(out, string.len() as u16);
    out.extend_from_slice(string);
}

/// A qid's type is the high byte of stat(5)'s mode, in which plain 9P2000 has
/// no symbolic links.
fn put_qid(dialect: Dialect, qid: &Qid, out: &mut Vec<u8>) {
    out.push(if dialect == Dialect::Plan9 { qid.kind & !QTSYMLINK } else { qid.kind });
    put_u32(out, qid.version);
    put_u64(out, qid.path);
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use Dialect::{Linux, Plan9, Unix};

    fn bytes(dialect: Dialect, value: &Reply<'_>) -> Vec<u8> {
        let mut out = vec![0xee]; // encoding appends
        reply(dialect, 0x0102, value, &mut out);
        assert_eq!(out.remove(0), 0xee);
        assert_eq!(decode::frame_len(&out), Some(out.len() as u32));
        assert_eq!(out[5..7], [2, 1]);
        out
    }

    fn in_all(value: &Reply<'_>, expected: &[u8]) {
        for dialect in [Plan9, Unix, Linux] {
            assert_eq!(bytes(dialect, value), expected, "{dialect:?} {value:?}");
        }
    }

    const QID: Qid = Qid { kind: QTDIR, version: 3, path: 0x0504 };
    const QID_BYTES: &[u8] = &[0x80, 3, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0];

    #[test]
    fn replies_that_are_the_same_in_every_dialect() {
        in_all(
            &Reply::Version { msize: 0x2_0000, version: b"9P2000" },
            b"\x13\0\0\0\x65\x02\x01\0\0\x02\0\x06\09P2000",
        );
        in_all(&Reply::Attach { qid: QID }, &[&[20, 0, 0, 0, 105, 2, 1], QID_BYTES].concat());
        in_all(&Reply::Flush, &[7, 0, 0, 0, 109, 2, 1]);
        in_all(&Reply::Walk { qids: &[] }, &[9, 0, 0, 0, 111, 2, 1, 0, 0]);
        in_all(
            &Reply::Walk { qids: &[QID, QID] },
            &[&[35, 0, 0, 0, 111, 2, 1, 2, 0], QID_BYTES, QID_BYTES].concat(),
        );
        in_all(&Reply::Write { count: 9 }, &[11, 0, 0, 0, 119, 2, 1, 9, 0, 0, 0]);
        in_all(&Reply::Clunk, &[7, 0, 0, 0, 121, 2, 1]);
        in_all(&Reply::Remove, &[7, 0, 0, 0, 123, 2, 1]);
        in_all(&Reply::Wstat, &[7, 0, 0, 0, 127, 2, 1]);
        in_all(&Reply::Setattr, &[7, 0, 0, 0, 27, 2, 1]);
        in_all(&Reply::Fsync, &[7, 0, 0, 0, 51, 2, 1]);
        in_all(&Reply::Lock { status: 0 }, &[8, 0, 0, 0, 53, 2, 1, 0]);
        in_all(&Reply::Readlink { target: b"to" }, &[11, 0, 0, 0, 23, 2, 1, 2, 0, b't', b'o']);
        in_all(
            &Reply::Data { readdir: false, data: b"xy" },
            &[13, 0, 0, 0, 117, 2, 1, 2, 0, 0, 0, b'x', b'y'],
        );
        in_all(&Reply::Data { readdir: true, data: &[] }, &[11, 0, 0, 0, 41, 2, 1, 0, 0, 0, 0]);
        let mut getlock = vec![30, 0, 0, 0, 55, 2, 1, 2];
        getlock.extend([0; 22]);
        in_all(&Reply::Getlock, &getlock);
    }

    #[test]
    fn open_has_two_types() {
        let open = Reply::Open { qid: QID, iounit: 9 };
        let body = [QID_BYTES, &[9, 0, 0, 0]].concat();
        for (dialect, kind) in [(Plan9, 113), (Unix, 113), (Linux, 13)] {
            let expected = [&[24, 0, 0, 0, kind, 2, 1][..], &body].concat();
            assert_eq!(bytes(dialect, &open), expected);
        }
    }

    #[test]
    fn an_error_has_three_forms() {
        let error = Reply::Error(ENOTDIR);
        assert_eq!(bytes(Plan9, &error), b"\x18\0\0\0\x6b\x02\x01\x0f\0Not a directory");
        assert_eq!(bytes(Unix, &error), b"\x1c\0\0\0\x6b\x02\x01\x0f\0Not a directory\x14\0\0\0");
        assert_eq!(bytes(Linux, &error), [11, 0, 0, 0, 7, 2, 1, 20, 0, 0, 0]);
        // An errno that Linux would misread becomes EIO.
        for errno in [0, 4096, u16::MAX] {
            let odd = Reply::Error(Error::new(errno, ""));
            assert_eq!(bytes(Linux, &odd)[7..], [5, 0, 0, 0]);
        }
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let text = format!("{}é{}", "x".repeat(99), "y".repeat(50));
        let frame = bytes(Plan9, &Reply::Error(Error::with(5, text)));
        assert_eq!(frame[7..9], [99, 0]);
        assert_eq!(frame[9..], [b'x'; 99]);
        let frame = bytes(Unix, &Reply::Error(Error::with(5, "z".repeat(200))));
        assert_eq!(frame.len(), HEADER_LEN + 2 + ERROR_TEXT_MAX + 4);
    }

    fn link() -> Attr {
        Attr {
            qid: Qid { kind: QTSYMLINK, version: 1, path: 2 },
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

    #[test]
    fn a_stat_record_of_9p2000() {
        let mut out = Vec::new();
        stat_record(Plan9, &link(), &mut out);
        #[rustfmt::skip]
        let expected = [
            54, 0, 0, 0, 0, 0, 0, 0,
            0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, // no link in the qid
            0xff, 0x01, 0, 0,
            4, 3, 2, 1, 4, 3, 2, 1,
            4, 0, 0, 0, 0, 0, 0, 0,
            2, 0, b'l', b'n', 2, 0, b'1', b'0', 1, 0, b'2', 2, 0, b'1', b'0',
        ];
        assert_eq!(out, expected);
        let frame = bytes(Plan9, &Reply::Stat { attr: &link() });
        assert_eq!(frame[..9], [65, 0, 0, 0, 125, 2, 1, 56, 0]);
        assert_eq!(frame[9..], expected);
    }

    #[test]
    fn a_stat_record_of_9p2000_u() {
        let mut out = Vec::new();
        stat_record(Unix, &link(), &mut out);
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
        assert_eq!(out, expected);
    }

    #[test]
    fn mode_bits_agree_with_the_dialect() {
        assert_eq!(stat_mode(Plan9, 0o041_777), 0x8000_01ff);
        assert_eq!(stat_mode(Unix, 0o041_777), 0x8001_01ff);
        assert_eq!(stat_mode(Unix, 0o106_755), 0x000c_01ed);
        assert_eq!(stat_mode(Plan9, 0o106_755), 0o755);
        let dir = Attr { mode: 0o040_755, size: 4096, mtime_s: -1, ..link() };
        let mut out = Vec::new();
        stat_record(Plan9, &dir, &mut out);
        assert_eq!(out[25..41], [0; 16], "times before 1970 and directory lengths are 0");
    }

    #[test]
    fn a_stat_record_reads_back_as_a_change() {
        // Twstat carries the same record, so the decoder checks its layout.
        for dialect in [Plan9, Unix] {
            let mut stat = Vec::new();
            counted(&mut stat, |out| stat_record(dialect, &link(), out));
            let mut out = Vec::new();
            frame(TWSTAT, 1, &mut out, |out| {
                put_u32(out, 7);
                out.extend_from_slice(&stat);
            });
            let change = Change { size: Some(4), other: true };
            let expected = Ok((1, Ok(Request::Wstat { fid: 7, change })));
            assert_eq!(decode::request(Some(dialect), &out), expected);
        }
    }

    #[test]
    fn getattr_is_complete_for_linux() {
        let frame = bytes(Linux, &Reply::Getattr { attr: &link() });
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
    fn statfs_shows_a_full_file_system() {
        let frame = bytes(Linux, &Reply::Statfs { files: 5, blocks: 9, block_len: 4096 });
        let fields = [9u64, 0, 0, 5, 0, 0].map(u64::to_le_bytes).concat();
        let expected = [
            &[67, 0, 0, 0, 9, 2, 1, 0x97, 0x19, 0x02, 0x01, 0, 16, 0, 0][..],
            &fields,
            &[255, 0, 0, 0],
        ];
        assert_eq!(frame, expected.concat());
    }

    #[test]
    fn readdir_records_and_rread_headers() {
        let mut out = Vec::new();
        readdir_record(&QID, 0x0706, 4, b"a", &mut out);
        assert_eq!(out, [QID_BYTES, &[6, 7, 0, 0, 0, 0, 0, 0, 4, 1, 0, b'a']].concat());
        assert_eq!(rread_header(0x0102, 0x1_0000), [11, 0, 1, 0, 117, 2, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn the_largest_small_replies_fit_the_buffers_of_linux() {
        let (name, link_target) = (vec![b'n'; 70_000], vec![b'l'; 70_000]);
        let attr = Attr { name, link: link_target.clone(), uid: u32::MAX, ..link() };
        assert!(bytes(Unix, &Reply::Stat { attr: &attr }).len() <= 8192);
        assert!(bytes(Linux, &Reply::Readlink { target: &link_target }).len() <= 8192);
        assert!(bytes(Unix, &Reply::Walk { qids: &[QID; 16] }).len() <= 4096);
    }

    #[test]
    fn our_requests_decode_to_what_was_meant() {
        let unix = |frame: &[u8]| match decode::request(Some(Unix), frame).unwrap() {
            (tag, Ok(request)) => format!("{tag} {request:?}"),
            other => panic!("{other:?}"),
        };
        let check = |encode: &dyn Fn(&mut Vec<u8>), tag: u16, expected: Request<'_>| {
            let mut out = Vec::new();
            encode(&mut out);
            assert_eq!(unix(&out), format!("{tag} {expected:?}"));
        };
        let (fid, newfid, offset, count) = (3, 4, 1 << 40, 8168);
        check(
            &|out| tversion(8192, b"9P2000.u", out),
            NOTAG,
            Request::Version { msize: 8192, version: b"9P2000.u" },
        );
        check(
            &|out| tattach(1, fid, b"u", b"files", out),
            1,
            Request::Attach { fid, afid: NOFID, uname: b"u", aname: b"files", n_uname: NONUNAME },
        );
        let list: Vec<&[u8]> = vec![b"a", b"\xff"];
        let names = Names { list: list.clone() };
        check(&|out| twalk(2, fid, newfid, &list, out), 2, Request::Walk { fid, newfid, names });
        check(&|out| topen(3, fid, 2, out), 3, Request::Open { fid, mode: 2 });
        check(&|out| tread(4, fid, offset, count, out), 4, Request::Read { fid, offset, count });
        check(
            &|out| twrite(5, fid, offset, b"hi", out),
            5,
            Request::Write { fid, offset, data: b"hi" },
        );
        check(&|out| tclunk(6, fid, out), 6, Request::Clunk { fid });
        check(&|out| tflush(7, 6, out), 7, Request::Flush { oldtag: 6 });
    }

    #[test]
    fn a_request_byte_for_byte() {
        let mut out = Vec::new();
        tversion(8192, b"9P2000.u", &mut out);
        tread(4, 3, 1, 2, &mut out);
        let version = b"\x15\0\0\0\x64\xff\xff\0\x20\0\0\x08\09P2000.u";
        let read = [23, 0, 0, 0, 116, 4, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
        assert_eq!(out, [&version[..], &read].concat());
    }
}
