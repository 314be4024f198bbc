//! The attributes of files on the wire: stat records (Rstat, Twstat, directories
//! of 9P2000 and .u), directory entries (.L), Rgetattr, Tsetattr, Rstatfs.

use super::reader::{Reader, Skip};
use super::writer::{put_counted, put_qid, put_string, put_u32, put_u64};
use crate::error::Error;
use crate::message::{Attr, AttrChange, Dialect, QTDIR, Qid};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// NAME_MAX and PATH_MAX - 1 (linux/limits.h). They keep Rstat and Rreadlink
/// below the 8 KiB that Linux gives them (net/9p/client.c).
pub(super) const NAME_LEN_MAX: usize = 255;
pub(super) const LINK_LEN_MAX: usize = 4095;

/// Appends what a 9P2000 or 9P2000.u directory holds for one entry, which is
/// also what Rstat carries (stat(5)).
pub(crate) fn put_stat_record(out: &mut Vec<u8>, dialect: Dialect, attr: &Attr) {
    put_counted(out, |out| {
        out.extend([0; 2 + 4]); // type, dev: for kernel use
        put_qid(out, dialect, &attr.qid);
        put_u32(out, stat_mode(dialect, attr.mode));
        let mtime_s = attr.mtime_s.clamp(0, i64::from(u32::MAX)) as u32;
        put_u32(out, mtime_s); // atime: not kept
        put_u32(out, mtime_s);
        // Directories have length 0 by convention (stat(5)).
        put_u64(out, if is_dir(attr.mode) { 0 } else { attr.size });
        put_string(out, &attr.name, NAME_LEN_MAX);
        let (uid, gid) = (attr.uid.to_string(), attr.gid.to_string());
        for uid_gid_muid in [&uid, &gid, &uid] {
            put_string(out, uid_gid_muid.as_bytes(), NAME_LEN_MAX);
        }
        if dialect == Dialect::Unix {
            put_extension(out, attr);
            for uid_gid_muid in [attr.uid, attr.gid, attr.uid] {
                put_u32(out, uid_gid_muid);
            }
        }
    });
}

/// Name and kind of the first of the records that a directory of 9P2000.u holds, and what
/// stands behind it.
pub(crate) fn read_listed(bytes: &[u8]) -> Result<(&[u8], bool, &[u8]), Error> {
    let mut body = Reader::new(bytes);
    let mut stat = Reader::new(body.counted()?);
    stat.take(2 + 4)?; // type, dev
    let is_dir = stat.qid()?.file_type & QTDIR != 0;
    stat.take(4 + 4 + 4 + 8)?; // mode, times, length
    let name = stat.string()?;
    for _uid_gid_muid_extension in 0..4 {
        stat.string()?;
    }
    stat.take(3 * 4)?;
    stat.end()?;
    Ok((name, is_dir, body.rest()))
}

/// What .u says beside 9P2000's stat: the target of a link, or how many names a
/// file has, in the words that QEMU sends and Linux reads (fs/9p/vfs_inode.c).
fn put_extension(out: &mut Vec<u8>, attr: &Attr) {
    let is_file = attr.mode & S_IFMT == S_IFREG;
    if is_file && attr.nlink > 1 {
        let count = format!("HARDLINKCOUNT {}", attr.nlink);
        return put_string(out, count.as_bytes(), LINK_LEN_MAX);
    }
    put_string(out, &attr.link, LINK_LEN_MAX);
}

/// The stat record of a Twstat, and what it asks for. All ones, or an empty
/// string, is "don't touch" (stat(5)). A Twstat that touches nothing is fsync
/// to Linux.
pub(super) fn read_wstat(dialect: Dialect, body: &mut Reader<'_>) -> Result<AttrChange, Error> {
    let mut record = Reader::new(body.counted()?);
    let mut stat = Reader::new(record.counted()?);
    record.end()?;
    let mut other = !all_ones(stat.take(2 + 4 + 13 + 4)?); // type dev qid mode
    let times = !all_ones(stat.take(4 + 4)?);
    let size = Some(stat.u64()?).filter(|size| *size != u64::MAX);
    for _name_uid_gid_muid in 0..4 {
        other |= !stat.string()?.is_empty();
    }
    if dialect == Dialect::Unix {
        other |= !stat.string()?.is_empty();
        other |= !all_ones(stat.take(3 * 4)?);
    }
    stat.end()?;
    // A truncating open brings the times along, and they are no news to a
    // server that sets them itself.
    Ok(AttrChange { size, other: other || (times && size.is_none()) })
}

fn all_ones(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xff)
}

const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

fn is_dir(mode: u32) -> bool {
    mode & S_IFMT == S_IFDIR
}

/// stat(5)'s mode of a st_mode. Devices, pipes and sockets are not served.
pub(super) fn stat_mode(dialect: Dialect, mode: u32) -> u32 {
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

/// `d_type` of Linux' readdir(3), which Rreaddir carries beside the qid.
const DT_DIR: u8 = 4;
const DT_REG: u8 = 8;
const DT_LNK: u8 = 10;

/// Appends one entry of an Rreaddir. `next_offset` is what a client sends back
/// to go on after it.
pub(crate) fn put_dir_entry(out: &mut Vec<u8>, qid: &Qid, next_offset: u64, name: &[u8]) {
    put_qid(out, Dialect::Linux, qid);
    put_u64(out, next_offset);
    out.push(match qid {
        qid if qid.is_dir() => DT_DIR,
        qid if qid.is_symlink() => DT_LNK,
        _ => DT_REG,
    });
    put_string(out, name, NAME_LEN_MAX);
}

/// P9_STATS_BASIC: what stat(2) shows. Linux wants all of it or distrusts all.
const GETATTR_BASIC: u64 = 0x7ff;
/// st_blksize: a hint, but never 0.
const BLOCK_LEN: u64 = 4096;
/// The unit of st_blocks (stat(3type)).
const SECTOR_LEN: u64 = 512;

pub(super) fn put_getattr(out: &mut Vec<u8>, attr: &Attr) {
    put_u64(out, GETATTR_BASIC);
    put_qid(out, Dialect::Linux, &attr.qid);
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

/// P9_ATTR_SIZE; _ATIME, _MTIME, _CTIME, _ATIME_SET, _MTIME_SET (net/9p/9p.h).
const SETATTR_SIZE: u32 = 0x008;
const SETATTR_TIMES: u32 = 0x1f0;

/// Tsetattr behind its fid.
pub(super) fn read_setattr(body: &mut Reader<'_>) -> Result<AttrChange, Error> {
    let valid = body.u32()?;
    body.skip(&[Skip::Bytes(4 + 4 + 4)])?; // mode uid gid
    let size = Some(body.u64()?).filter(|_| valid & SETATTR_SIZE != 0);
    body.skip(&[Skip::Bytes(2 * (8 + 8))])?; // atime mtime
    let beside = if size.is_some() { SETATTR_SIZE | SETATTR_TIMES } else { 0 };
    Ok(AttrChange { size, other: valid & !beside != 0 })
}

/// V9FS_MAGIC (linux/magic.h): statfs(2) tells that it is 9P.
const STATFS_TYPE: u32 = 0x0102_1997;

pub(super) fn put_statfs(out: &mut Vec<u8>, files: u64, blocks: u64, block_len: u32) {
    put_u32(out, STATFS_TYPE);
    put_u32(out, block_len);
    // blocks bfree bavail files ffree fsid: nothing is free on a full, read-only tree.
    for field in [blocks, 0, 0, files, 0, 0] {
        put_u64(out, field);
    }
    put_u32(out, NAME_LEN_MAX as u32);
}

/// P9_LOCK_TYPE_UNLCK: nobody holds the lock.
const LOCK_TYPE_UNLOCKED: u8 = 2;

pub(super) fn put_getlock(out: &mut Vec<u8>) {
    out.push(LOCK_TYPE_UNLOCKED);
    out.extend([0; 8 + 8 + 4]); // start, length, proc_id
    put_string(out, b"", 0); // client_id
}
