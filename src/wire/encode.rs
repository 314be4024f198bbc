//! Values to frames: replies of the server, requests of our client.
//!
//! Knows how each dialect lays out what `message.rs` carries; refuses to know
//! msize: whoever asks for a frame keeps it small enough (only names, link
//! targets and error texts are cut here, to limits no honest one reaches).
//! Everything is appended to a buffer that the caller owns.

use super::message::kind::*;
use super::message::*;

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
        // "The length of a directory is 0 by convention" (stat(5)).
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
        // "If the error string is too long, it is truncated" (intro(5)).
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
