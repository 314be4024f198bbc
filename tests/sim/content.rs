//! The tree that the simulated master serves: a manifest that holds, of files
//! that do not exist.
//!
//! Piece digests are made up, the digest of each file follows from them: so
//! the manifest passes every check of the nodes, which verify it themselves,
//! while contents only ever travel as lengths.

use peer::content::digest::{self, Digest};
use peer::content::manifest::{Entry, EntryKind, Manifest, piece_len_of};
use std::rc::Rc;

/// Files of these sizes, each of more than one piece, in the root.
pub fn manifest(sizes: &[u64], piece_len: u32) -> Rc<Manifest> {
    let mut manifest = Manifest::of_entries(piece_len, vec![Entry::bare_root()]);
    for (number, &size) in sizes.iter().enumerate() {
        assert!(size > u64::from(piece_len), "a pack would need the bytes of its files");
        let name = format!("file{number:04}").into_bytes().into_boxed_slice();
        let piece_len = piece_len_of(size, piece_len);
        let count = size.div_ceil(u64::from(piece_len));
        let piece = |at: u64| Digest::of(format!("{number} {at}").as_bytes());
        let list: Vec<Digest> = (0..count).map(piece).collect();
        let digest = digest::of_list(&list, size, piece_len).expect("the list is as long as that");
        let entry = Entry { name, kind: EntryKind::File, size, digest, ..Entry::bare_root() };
        manifest.entries.push(entry);
        manifest.lists.extend(list);
    }
    Rc::new(manifest)
}
