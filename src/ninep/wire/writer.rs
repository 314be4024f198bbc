//! Fields appended to a buffer that the caller owns.

use crate::message::{Dialect, QTSYMLINK, Qid};
use alloc::vec::Vec;

pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A string of at most `len_max` bytes, which is below 64 KiB; the rest is cut.
pub(super) fn put_string(out: &mut Vec<u8>, string: &[u8], len_max: usize) {
    let string = &string[..string.len().min(len_max)];
    put_u16(out, string.len() as u16);
    out.extend_from_slice(string);
}

/// A qid's type is the high byte of stat(5)'s mode, in which plain 9P2000 has
/// no symbolic links.
pub(super) fn put_qid(out: &mut Vec<u8>, dialect: Dialect, qid: &Qid) {
    let plain = dialect == Dialect::Plan9;
    out.push(if plain { qid.file_type & !QTSYMLINK } else { qid.file_type });
    put_u32(out, qid.version);
    put_u64(out, qid.path);
}

/// `len[2]`, and what `body` appends: at most a few names, one link target and
/// fixed fields, so that the length always fits.
pub(super) fn put_counted(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 2]);
    body(out);
    let len = (out.len() - start - 2) as u16;
    out[start..start + 2].copy_from_slice(&len.to_le_bytes());
}
