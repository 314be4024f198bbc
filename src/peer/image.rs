//! What of a directory of the served tree is an image: what is started, and the root.
//!
//! The one rule for who tells a node and who signs what nodes fetch. Refuses to know which
//! directory is whose, and what becomes of it.

use crate::content::digest::Digest;
use crate::content::manifest::{EntryKind, Manifest, Selector};
use crate::control::{ROOTS, RootKind};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What is started, as the agent knows it too: one kernel, one file of words, and
/// initrds of names that begin so. More than that is no image.
const KERNEL: &str = "kernel";
const CMDLINE: &[u8] = b"cmdline";
const INITRD: &[u8] = b"initrd";
const PARTS_MAX: usize = 66;

/// An image.
#[derive(Debug)]
pub struct Image {
    /// The kernel's.
    pub kernel: Option<Digest>,
    /// Kernel, command line and initrds, as far as they are there.
    pub parts: Vec<String>,
    /// The name of its root, and its kind.
    pub(crate) root: Option<&'static (&'static str, &'static str, RootKind)>,
}

impl Image {
    /// What is in this directory.
    pub fn of(tree: &Manifest, dir: &str) -> Image {
        let kernel = match find(tree, dir, KERNEL) {
            Some((false, kernel)) => Some(tree.entries[kernel as usize].digest),
            _ => None,
        };
        let entry = tree.find(dir.as_bytes(), true).unwrap_or_default();
        let names = tree.children(entry).map(|entry| &*tree.entries[entry as usize].name);
        let is_part =
            |name: &&[u8]| name.starts_with(INITRD) || [KERNEL.as_bytes(), CMDLINE].contains(name);
        let parts = names.filter(is_part).take(PARTS_MAX);
        let parts = parts.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let root = ROOTS.iter().find(|(name, _, kind)| {
            find(tree, dir, name).is_some_and(|(is_dir, _)| is_dir == (*kind == RootKind::Dir))
        });
        Image { kernel, parts, root }
    }

    /// Whether it is any.
    pub fn is_bootable(&self) -> bool {
        self.kernel.is_some() || self.root.is_some()
    }

    /// What nodes fetch of it, each by itself.
    pub fn selections(&self, dir: &str) -> Vec<Selector> {
        let below = |name: &str| format!("{dir}/{name}");
        let Some((name, _, kind)) = self.root else {
            return Vec::from([Selector::of_paths(&[below(".")])]);
        };
        let contents = if *kind == RootKind::Dir { "/." } else { "" };
        let parts: Vec<String> = self.parts.iter().map(|part| below(part)).collect();
        let all = [parts, Vec::from([below(name) + contents])];
        all.iter().filter(|sources| !sources.is_empty()).map(|s| Selector::of_paths(s)).collect()
    }
}

/// Whether a tree as it is fetched is an image with a root. A link may lead to one, in what the
/// master serves.
pub fn has_root(image: &Manifest) -> bool {
    ROOTS.iter().any(|(name, _, kind)| {
        let entry = image.child(0, name.as_bytes()).map(|entry| &image.entries[entry as usize]);
        entry.is_some_and(|entry| match entry.kind {
            EntryKind::Symlink => true,
            found => (found == EntryKind::Dir) == (*kind == RootKind::Dir),
        })
    })
}

/// Whether what is there is a directory, and the entry that has its bytes.
fn find(tree: &Manifest, dir: &str, name: &str) -> Option<(bool, u32)> {
    let entry = tree.find(format!("{dir}/{name}").trim_start_matches('/').as_bytes(), true)?;
    match tree.entries[entry as usize].kind {
        EntryKind::Dir => Some((true, entry)),
        EntryKind::File => Some((false, entry)),
        EntryKind::Hardlink(entry) => Some((false, entry)),
        _ => None,
    }
}

/// Whether a directory is there.
pub fn is_dir(tree: &Manifest, path: &str) -> bool {
    matches!(find(tree, path, ""), Some((true, _)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::entry;

    #[test]
    fn a_root_is_one_by_its_name_and_kind() {
        let (dir, file) = (EntryKind::Dir, EntryKind::File);
        let tree = |named: &[(&str, EntryKind)]| {
            let named = named.iter().map(|(name, kind)| entry(0, name, *kind));
            let root = entry(0, "", EntryKind::Dir);
            Manifest::of_entries(1 << 20, core::iter::once(root).chain(named).collect())
        };
        for named in [
            &[("kernel", file), ("root", dir)][..],
            &[("root.squashfs", file)],
            &[("initrd", file), ("root.erofs", EntryKind::Hardlink(1))],
            &[("root", EntryKind::Symlink)],
            &[("root.erofs", EntryKind::Symlink)],
        ] {
            assert!(has_root(&tree(named)), "{named:?}");
        }
        for named in [
            &[][..],
            &[("kernel", file), ("root", file)],
            &[("kernel", file), ("root", EntryKind::Hardlink(1))],
            &[("root.erofs", dir), ("rooted", dir)],
        ] {
            assert!(!has_root(&tree(named)), "{named:?}");
        }
    }
}
