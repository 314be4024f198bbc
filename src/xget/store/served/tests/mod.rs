//! Trees on disk that are scanned, served and compared.

use super::super::comparison::{Comparison, Verdict};
use super::super::error::{CacheTrouble, Difference, LeftOut, NoteReason, ScanError, Unreadable};
use super::super::scan::{Scan, ScanOptions, ScanStep};
use super::super::testing::{
    NOBODY, as_nobody, bytes, name, on_file_system, set_mode, set_mtime, status,
};
use super::*;
use crate::os::scratch::Dir;
use crate::os::xattr::Xattrs;
use peer::content::digest::{self, Digest};
use peer::content::manifest::{DEPTH_MAX, PIECE_LEN};
use peer::content::pieces::{ManifestPieces, PieceMap};
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

mod changes;
mod digests;
mod listing;

fn scan(path: &Path) -> ServedTree {
    Scan::new(path, ScanOptions::default()).unwrap().finish().unwrap()
}

fn scan_cached(path: &Path, cache: &Path) -> ServedTree {
    let options = ScanOptions { cache: Some(cache.into()), ..ScanOptions::default() };
    Scan::new(path, options).unwrap().finish().unwrap()
}

fn verdict(served: &ServedTree) -> Verdict {
    let mut comparison = Comparison::new(served);
    loop {
        match comparison.step(served, 3) {
            Verdict::Looking => {}
            verdict => return verdict,
        }
    }
}

fn names(served: &ServedTree) -> Vec<Vec<u8>> {
    (0..served.manifest.entries.len() as u32).map(|n| served.manifest.path(n)).collect()
}
