//! From paths to entries and back.
//!
//! No path leads out of the tree: `..` of the root is the root, and a symlink to
//! an absolute path is read from the root of what is served, as after chroot(2).

use super::values::{EntryKind, Manifest};
use alloc::vec::Vec;
use core::ops::Range;

/// Most symlinks followed in one look-up, as Linux has it (path_resolution(7)).
const FOLLOW_MAX: u32 = 40;

impl Manifest {
    /// The numbers of the children of a directory; empty for what is none.
    pub fn children(&self, dir: u32) -> Range<u32> {
        // The root is its own parent and must not be its own child.
        let below = &self.entries[1..];
        let from = below.partition_point(|e| e.parent < dir);
        let to = from + below[from..].partition_point(|e| e.parent == dir);
        from as u32 + 1..to as u32 + 1
    }

    /// The child of this name.
    pub fn child(&self, dir: u32, name: &[u8]) -> Option<u32> {
        let range = self.children(dir);
        let slice = &self.entries[range.start as usize..range.end as usize];
        let found = slice.binary_search_by(|e| (*e.name).cmp(name)).ok()?;
        Some(range.start + found as u32)
    }

    /// The path below the root, without a leading slash; empty for the root.
    pub fn path(&self, entry: u32) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = entry;
        while at != 0 {
            names.push(&self.entries[at as usize].name);
            at = self.entries[at as usize].parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Finds a path, following symlinks that stay in the tree in all but the
    /// last place, and there too when `follow` is set.
    pub fn find(&self, path: &[u8], follow: bool) -> Option<u32> {
        let mut budget = FOLLOW_MAX;
        self.find_from(0, path, follow, &mut budget)
    }

    /// Recursion is as deep as symlinks lead to symlinks: at most `budget`.
    fn find_from(&self, dir: u32, path: &[u8], follow: bool, budget: &mut u32) -> Option<u32> {
        let mut at = if path.first() == Some(&b'/') { 0 } else { dir };
        let mut names =
            path.split(|&b| b == b'/').filter(|n| !n.is_empty() && n != b".").peekable();
        while let Some(name) = names.next() {
            if name == b".." {
                at = self.entries[at as usize].parent;
                continue;
            }
            let found = self.child(at, name)?;
            let last = names.peek().is_none();
            at = match self.entries[found as usize].kind {
                EntryKind::Symlink if !last || follow => {
                    *budget = budget.checked_sub(1)?;
                    let link = &self.entries[found as usize].link;
                    self.find_from(at, link, true, budget)?
                }
                _ => found,
            };
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{entry, small};

    #[test]
    fn paths_are_found_through_symlinks_but_never_outside() {
        let manifest = small();
        assert_eq!(manifest.find(b"a/x", false), Some(5));
        assert_eq!(manifest.find(b"current/x", false), Some(5));
        assert_eq!(manifest.find(b"current", false), Some(3));
        assert_eq!(manifest.find(b"current", true), Some(1));
        assert_eq!(manifest.find(b"../../a//./x", false), Some(5));
        assert_eq!(manifest.find(b"a/nothing", false), None);
        assert_eq!(manifest.path(5), b"a/x");
    }

    #[test]
    fn forty_symlinks_are_followed_and_no_more() {
        let mut manifest = small();
        manifest.entries.truncate(1);
        // 00 is a file, and each further one a link to the one before.
        manifest.entries.push(entry(0, "00", EntryKind::Special));
        for number in 1..=41 {
            let mut link = entry(0, &format!("{number:02}"), EntryKind::Symlink);
            link.link = format!("{:02}", number - 1).into_bytes().into();
            manifest.entries.push(link);
        }
        assert_eq!(manifest.find(b"40", true), Some(1));
        assert_eq!(manifest.find(b"41", true), None);
        manifest.entries[2].link = (*b"01").into();
        assert_eq!(manifest.find(b"01", true), None, "a link to itself");
    }
}
