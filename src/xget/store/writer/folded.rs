//! Names that a file system takes for the same, as vfat does with `a` and `A`, or
//! with `a` and `a.`: the second has then taken the place of the first.
//!
//! Only names that look alike are asked about on disk; in most trees there are
//! none. Who the two are is found out by what they lead to, and not by rules of
//! names, which differ from one file system to the next.

use super::super::error::DestError;
use super::progress::EntryState;
use super::tree::DestTree;
use crate::os::file;
use sorted::SortedSet;
use std::os::fd::OwnedFd;

/// The same for names that may be one, and mostly for no others: the name
/// without case, and without what letters beyond ASCII are.
fn likeness(name: &[u8]) -> Vec<u8> {
    #[cfg(test)]
    LOOKS.set(LOOKS.get() + 1);
    // vfat leaves these out at the end.
    let end = name.iter().rposition(|byte| !b". ".contains(byte)).map_or(0, |last| last + 1);
    let is_first_byte = |byte: &&u8| **byte & 0xc0 != 0x80;
    let folded = |byte: &u8| if byte.is_ascii() { byte.to_ascii_lowercase() } else { 0x80 };
    name[..end].iter().filter(is_first_byte).map(folded).collect()
}

#[cfg(test)]
thread_local! {
    /// How many names were looked at.
    pub static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Those in a directory whose names are like that of another.
#[inline(never)]
fn alike(tree: &DestTree, dir: u32) -> Vec<u32> {
    let is_placed = |entry: &u32| {
        !matches!(tree.progress.state(*entry), EntryState::Pending | EntryState::Failed)
    };
    let name = |entry: u32| likeness(&tree.target.entry(entry).name);
    let placed = || tree.target.manifest.children(dir).filter(is_placed);
    let (mut seen, mut twice) = (SortedSet::new(), SortedSet::new());
    for name in placed().map(name) {
        if seen.contains(&name) {
            twice.insert(name);
        } else {
            seen.insert(name);
        }
    }
    match twice.is_empty() {
        true => Vec::new(),
        false => placed().filter(|entry| twice.contains(&name(*entry))).collect(),
    }
}

/// Gives up what is in this directory under the name of another.
#[inline(never)]
pub fn fail_folded(tree: &mut DestTree, dir: u32) {
    let alike = alike(tree, dir);
    if alike.is_empty() {
        return;
    }
    // Why it cannot be opened is said by who needs it.
    let Ok(fd) = tree.dir(dir) else { return };
    let led_to = |tree: &DestTree, entry: u32| {
        let status = file::stat_at(&fd, &tree.target.entry(entry).name).ok()?;
        Some([status.dev.to_ne_bytes(), status.ino.to_ne_bytes()].concat())
    };
    // Places on disk; and each with the file of the manifest that is there.
    let mut taken: SortedSet<Vec<u8>> = SortedSet::new();
    for &entry in &alike {
        let Some(there) = led_to(tree, entry) else { continue };
        // Links of one file lead to the same, as they should.
        let by_file = [&*there, &tree.target.file_entry(entry).to_ne_bytes()].concat();
        if taken.contains(&by_file) {
            continue;
        }
        taken.insert(by_file);
        if !taken.contains(&there) {
            taken.insert(there);
            continue;
        }
        let is_other = |other: &u32| {
            tree.target.file_entry(*other) != tree.target.file_entry(entry)
                && led_to(tree, *other).as_ref() == Some(&there)
        };
        if let Some(&other) = alike.iter().take_while(|other| **other < entry).find(|e| is_other(e))
        {
            let (path, other) = (tree.target.path(entry), tree.target.path(other));
            tree.fail(entry, DestError::SameName { path, other });
        }
    }
}

/// The names that the manifest has in a directory, for a look at many others there.
#[derive(Default)]
pub struct Names {
    likenesses: SortedSet<Vec<u8>>,
    /// What they lead to, once that was asked for: mostly nobody does.
    places: Option<SortedSet<Vec<u8>>>,
}

impl Names {
    pub fn of(tree: &DestTree, dir: u32) -> Names {
        let children = tree.target.manifest.children(dir);
        let likenesses = children.map(|entry| likeness(&tree.target.entry(entry).name)).collect();
        Names { likenesses, places: None }
    }

    /// Whether a name that the manifest does not have is that of an entry all the same: a
    /// file system that takes two names for one may list the other.
    #[inline(never)]
    pub fn have(&mut self, tree: &DestTree, dir: u32, fd: &OwnedFd, name: &[u8]) -> bool {
        // Of several names it is one more that it is known by.
        let place = |name: &[u8]| {
            let status = file::stat_at(fd, name).ok()?;
            let is_of_one_name = status.is_dir() || status.nlink == 1;
            is_of_one_name.then(|| [status.dev.to_ne_bytes(), status.ino.to_ne_bytes()].concat())
        };
        if !self.likenesses.contains(&likeness(name)) {
            return false;
        }
        let Some(there) = place(name) else { return false };
        let all = || {
            let children = tree.target.manifest.children(dir);
            children.filter_map(|entry| place(&tree.target.entry(entry).name)).collect()
        };
        self.places.get_or_insert_with(all).contains(&there)
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
}
