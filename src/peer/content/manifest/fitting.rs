//! From patterns to entries: what is found by `*`, `?`, `[...]` and `**` in a tree.
//!
//! Knows names and the order of entries. What a stranger's pattern may cost is the caller's
//! to say: in steps, and when none is left what was found means nothing.

use super::values::{EntryKind, Manifest};
use crate::content::patterns::{has_wildcard, name_fits_within, spend, unquote};
use alloc::vec;
use alloc::vec::Vec;
use core::mem::take;

/// Steps that it takes to find one name, or the children of a directory, and to follow a
/// symlink: about as long as to compare so many bytes.
const LOOK_UP_STEPS: usize = 16;
const FOLLOW_STEPS: usize = 256;
/// Steps that it takes to sort, for each of many that are found.
const SORT_STEPS: usize = 16;

impl Manifest {
    /// The entries whose paths fit a pattern, in order. As in a look-up symlinks are followed
    /// in all but the last place, but not by `**`, and no way leads out of the tree.
    pub fn fitting(&self, glob: &[u8]) -> Vec<u32> {
        self.fitting_within(glob, &mut { u64::MAX })
    }

    /// The same in so many steps.
    pub(super) fn fitting_within(&self, glob: &[u8], steps: &mut u64) -> Vec<u32> {
        let mut found = vec![0];
        let mut names = glob.split(|&byte| byte == b'/').peekable();
        while let Some(name) = names.next() {
            let is_last = names.peek().is_none();
            found = match name {
                b".." => found.iter().map(|&dir| self.entries[dir as usize].parent).collect(),
                b"**" => self.below(&found, is_last, steps),
                _ => self.children_that_fit(&found, name, steps),
            };
            if !is_last {
                found = self.dirs_of(take(&mut found), steps);
            }
            let is_sorted = found.is_sorted();
            let effort = if is_sorted { found.len() } else { SORT_STEPS * found.len() };
            if found.is_empty() || !spend(steps, 1 + effort) {
                return Vec::new();
            }
            if !is_sorted {
                sorted::sort(&mut found);
            }
            found.dedup();
        }
        found
    }

    fn children_that_fit(&self, dirs: &[u32], name: &[u8], steps: &mut u64) -> Vec<u32> {
        let mut found = Vec::new();
        let path = (!has_wildcard(name)).then(|| unquote(name));
        for &dir in dirs {
            if !spend(steps, LOOK_UP_STEPS) {
                break;
            }
            match &path {
                Some(path) => found.extend(self.child(dir, path)),
                None => found.extend(self.children(dir).filter(|&child| {
                    spend(steps, 1)
                        && name_fits_within(name, &self.entries[child as usize].name, steps)
                })),
            }
        }
        found
    }

    /// The directories and those below them; or, `with_all`, what is below them.
    fn below(&self, dirs: &[u32], with_all: bool, steps: &mut u64) -> Vec<u32> {
        if !spend(steps, self.entries.len()) {
            return Vec::new();
        }
        let mut is_below = vec![false; self.entries.len()];
        dirs.iter().for_each(|&dir| is_below[dir as usize] = true);
        let mut found = if with_all { Vec::new() } else { dirs.to_vec() };
        // The root is its own parent.
        for (number, entry) in (0..).zip(&self.entries).skip(1) {
            let is_dir = entry.kind == EntryKind::Dir;
            if is_below[entry.parent as usize] {
                is_below[number as usize] |= is_dir;
                found.extend((with_all || is_dir).then_some(number));
            }
        }
        found
    }

    /// The directories that these are or lead to.
    pub(super) fn dirs_of(&self, found: Vec<u32>, steps: &mut u64) -> Vec<u32> {
        let dir_of = |number: u32| match self.entries[number as usize].kind {
            EntryKind::Symlink if !spend(steps, FOLLOW_STEPS) => None,
            EntryKind::Symlink => self.find(&self.path(number), true),
            _ => Some(number),
        };
        let is_dir = |number: &u32| self.entries[*number as usize].kind == EntryKind::Dir;
        found.into_iter().filter_map(dir_of).filter(is_dir).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::manifest::Selector;
    use crate::content::patterns::path_fits;
    use crate::content::samples::trees;
    use crate::testing::small;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn paths(manifest: &Manifest, glob: &str) -> Vec<String> {
        let found = manifest.fitting(glob.as_bytes());
        found.iter().map(|&number| String::from_utf8(manifest.path(number)).unwrap()).collect()
    }

    #[test]
    fn patterns_find_what_paths_would() {
        let manifest = small();
        for (glob, found) in [
            ("a", &["a"][..]),
            ("?", &["a", "b"]),
            ("a/*", &["a/x", "a/y", "a/z"]),
            ("*/x", &["a/x"]),
            ("cur*/[xz]", &["a/x", "a/z"]),
            ("current/*", &["a/x", "a/y", "a/z"]),
            ("**/x", &["a/x"]),
            ("**/b", &["b"]),
            ("a/**", &["a/x", "a/y", "a/z"]),
            ("a/../?", &["a", "b"]),
            ("../../a/z", &["a/z"]),
            ("b/*", &[]),
            ("nothing*", &[]),
            ("a/\\x", &["a/x"]),
            ("a/[", &[]),
        ] {
            assert_eq!(paths(&manifest, glob), found, "{glob}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_all_whose_paths_fit(
            sample in trees(30),
            names in vec(select(vec!["*", "**", "?", "a", "b*", "[!a]", "*a*", ".."]), 1..5),
        ) {
            let (manifest, glob) = (&sample.manifest, names.join("/"));
            let wanted =
                Selector { sources: vec![glob.clone().into()], are_patterns: true, ..Selector::default() };
            if let Ok(part) = manifest.select_by(&wanted) {
                let bytes = part.manifest.encode();
                let decoded = Manifest::decode(&bytes);
                prop_assert_eq!(decoded.as_ref(), Ok(&part.manifest));
            }
            if names.contains(&"..") {
                return Ok(());
            }
            let fits = |number: &u32| path_fits(glob.as_bytes(), &manifest.path(*number));
            let expected: Vec<u32> =
                (1..manifest.entries.len() as u32).filter(fits).collect();
            let found = manifest.fitting(glob.as_bytes());
            // Through symlinks there is more to be found.
            let has_symlinks = manifest.entries.iter().any(|e| e.kind == EntryKind::Symlink);
            if has_symlinks {
                prop_assert!(expected.iter().all(|number| found.contains(number)));
            } else {
                prop_assert_eq!(&found, &expected);
            }
            let mut steps = u64::MAX;
            manifest.fitting_within(glob.as_bytes(), &mut steps);
            let mut few = (u64::MAX - steps) / 2;
            manifest.fitting_within(glob.as_bytes(), &mut few);
            prop_assert_eq!(few, 0, "it ends");
        }
    }
}
