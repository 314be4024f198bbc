//! Names that a file system takes for the same, as vfat does with `a` and `A`, or
//! with `a` and `a.`: the second has then taken the place of the first.
//!
//! Only names that look alike are asked about on disk; in most trees there are
//! none. Who the two are is found out by what they lead to, and not by rules of
//! names, which differ from one file system to the next.

use super::super::error::DestError;
use super::tree::DestTree;
use crate::os::file;
use peer::content::manifest::EntryKind;

/// A number, the same for names that may be one, and mostly for no others:
/// FNV-1a of them without case, and without what is beyond ASCII.
fn likeness(name: &[u8]) -> u64 {
    // vfat leaves these out at the end.
    let end = name.iter().rposition(|byte| !b". ".contains(byte)).map_or(0, |last| last + 1);
    let is_first_byte = |byte: &&u8| **byte & 0xc0 != 0x80;
    name[..end].iter().filter(is_first_byte).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        let byte = if byte.is_ascii() { byte.to_ascii_lowercase() } else { 0x80 };
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Those that have the same number as another.
fn alike(mut numbered: Vec<(u64, u32)>) -> Vec<(u64, u32)> {
    numbered.sort_unstable();
    let same = |at: usize, other: usize| numbered.get(other).is_some_and(|n| n.0 == numbered[at].0);
    let has_twin = |at: &usize| same(*at, at + 1) || same(*at, at.wrapping_sub(1));
    (0..numbered.len()).filter(has_twin).map(|at| numbered[at]).collect()
}

/// Gives up what is in this directory under the name of another.
pub fn fail_folded(tree: &mut DestTree, dir: u32) {
    let is_placed = |entry: &u32| {
        let kind = tree.target.entry(*entry).kind;
        !matches!(kind, EntryKind::Special | EntryKind::Unreadable)
            && !tree.progress.has_failed(*entry)
    };
    let entries = tree.target.manifest.children(dir).filter(is_placed);
    let named = entries.map(|entry| (likeness(&tree.target.entry(entry).name), entry));
    let candidates = alike(named.collect());
    if candidates.is_empty() {
        return;
    }
    // Why it cannot be opened is said by who needs it.
    let Ok(fd) = tree.dir(dir) else { return };
    let found = candidates.into_iter().filter_map(|(_, entry)| {
        let status = file::stat_at(&fd, &tree.target.entry(entry).name).ok()?;
        Some((status.ino ^ status.dev.rotate_left(32), entry))
    });
    let same = alike(found.collect());
    for pair in same.windows(2) {
        let (one, other) = (pair[0].1, pair[1].1);
        // Links of one file lead to the same, as they should.
        let are_links = tree.target.file_entry(one) == tree.target.file_entry(other);
        if pair[0].0 == pair[1].0 && !are_links {
            let (path, other) = (tree.target.path(other), tree.target.path(one));
            tree.fail(pair[1].1, DestError::SameName { path, other });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_file_system_may_fold_look_alike() {
        for (one, other) in
            [("a", "A"), ("x.TXT", "X.txt"), ("a", "a. ."), ("grün", "GRÜN"), ("ß", "ẞ"), (".", "")]
        {
            assert_eq!(likeness(one.as_bytes()), likeness(other.as_bytes()), "{one} {other}");
        }
        assert_ne!(likeness(b"a"), likeness(b"b"));
        assert_ne!(likeness(b".a"), likeness(b"a"));
    }

    #[test]
    fn who_has_no_twin_is_not_asked_about() {
        assert_eq!(alike(vec![(1, 0), (2, 1), (3, 2)]), []);
        assert_eq!(alike(vec![(7, 3), (1, 0), (7, 1), (7, 2)]), [(7, 1), (7, 2), (7, 3)]);
        assert_eq!(alike(Vec::new()), []);
    }
}
