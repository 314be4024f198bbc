//! The manifest of a generation, from a master or peer that means harm.
//!
//! What passes has one encoding, and its pieces hold each file's bytes once:
//! nothing that is computed from it may go beyond it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peer::content::manifest::{EntryKind, Manifest, Selector};
use peer::content::pieces::{ManifestPieces, PieceMap};

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    assert_eq!(manifest.encode(), bytes, "a second encoding");
    check_paths(&manifest);
    check_pieces(&manifest, bytes);
    let by = |source: &[u8], exclude: &[u8]| Selector {
        sources: vec![source.to_vec()],
        are_patterns: true,
        excludes: vec![exclude.to_vec()],
    };
    let patterns = [by(b"**/*[a-m]*", b"/*/?"), by(b"*/.", b"*.?"), by(b"?*/../*", b"**/a/")];
    for selector in [Selector::default()].iter().chain(&patterns) {
        let Ok(selection) = manifest.select_by(selector) else { continue };
        let encoded = selection.manifest.encode();
        assert_eq!(Manifest::decode(&encoded).as_ref(), Ok(&selection.manifest));
    }
});

/// Each entry is found by its path, and no link leads out or round for ever.
fn check_paths(manifest: &Manifest) {
    for (number, entry) in manifest.entries.iter().enumerate().take(100) {
        let path = manifest.path(number as u32);
        assert_eq!(manifest.find(&path, false), Some(number as u32));
        if entry.kind == EntryKind::Symlink {
            manifest.find(&path, true);
        }
    }
}

fn check_pieces(manifest: &Manifest, bytes: &[u8]) {
    let pieces = PieceMap::new(ManifestPieces::of(bytes, manifest.piece_len), manifest);
    let total: u64 = (0..pieces.count())
        .flat_map(|piece| pieces.extents(manifest, piece))
        .map(|extent| {
            let size = manifest.entries[extent.entry as usize].size;
            assert!(extent.offset + u64::from(extent.len) <= size);
            u64::from(extent.len)
        })
        .sum();
    assert_eq!(total, manifest.bytes_total());
}
