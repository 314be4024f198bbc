//! Part of a tree as a manifest of its own: what a client gets that asks for
//! some paths and not for all.
//!
//! Both the master and `--print-digest` select, and must come to the same
//! bytes: what comes out depends on the tree and the sources only.

use super::limits::ENTRIES_MAX;
use super::values::{Entry, EntryKind, Manifest};
use crate::content::digest::Digest;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// Entries of a part beyond twice those of the whole: sources may lie in each other,
/// and a line of them must not name a large tree a thousand times.
const OVERLAP_SPARE: usize = 1_000;

/// Part of a manifest as a manifest of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The part.
    pub manifest: Manifest,
    /// For each entry of `manifest`, the entry it was in the whole.
    /// The root of several sources maps to entry 0.
    pub origin: Vec<u32>,
}

/// Why sources select nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectError {
    /// There is no such path, or it ends in `.` and is no directory.
    Missing(Vec<u8>),
    /// Two sources would land under this name.
    Collision(Vec<u8>),
    /// Sources that lie in each other name far more than there is, or more than
    /// [`ENTRIES_MAX`] entries, and nobody would take such a manifest.
    TooMany,
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        match self {
            SelectError::Missing(path) => {
                write!(f, "{}: no such file or directory in what is served", shown(path))
            }
            SelectError::Collision(name) => {
                write!(f, "{}: two sources would land under this name", shown(name))
            }
            SelectError::TooMany => {
                f.write_str("the sources lie in each other: they name the same too often")
            }
        }
    }
}

/// One spelling for each list of sources, so that clients that ask for the same
/// get the same generation: `./a//b/` is `a/b`, and `a` twice is `a`. What `..`
/// means depends on symlinks: it stays.
pub(crate) fn plain_sources(sources: &[impl AsRef<[u8]>]) -> Vec<Vec<u8>> {
    let mut plain: Vec<Vec<u8>> = sources.iter().map(|s| plain_source(s.as_ref())).collect();
    sorted::sort(&mut plain);
    plain.dedup();
    plain
}

fn plain_source(source: &[u8]) -> Vec<u8> {
    let names = source.split(|&b| b == b'/').filter(|n| !n.is_empty() && *n != b".");
    let mut path = names.collect::<Vec<_>>().join(&b'/');
    if path.is_empty() {
        return b".".to_vec();
    }
    if names_contents(source) {
        path.extend_from_slice(b"/.");
    }
    path
}

/// Whether a source means what is in a directory, and not the directory.
fn names_contents(source: &[u8]) -> bool {
    source.is_empty() || source == b"." || source.ends_with(b"/.")
}

/// What lands in the destination: names and entries of the whole.
type Tops<'a> = Vec<(&'a [u8], u32)>;

impl Manifest {
    /// The part of the tree that these sources name, laid out as it will land
    /// in a destination: a source under its base name, and the contents of a
    /// source that ends in `.` directly.
    ///
    /// # Errors
    /// See [`SelectError`].
    pub fn select(&self, sources: &[&[u8]]) -> Result<Selection, SelectError> {
        let sources = plain_sources(sources);
        let mut tops = Tops::new();
        let mut root = None;
        // `a/.` and `a/../a/.` are one, however many there are.
        let mut opened = vec![false; self.entries.len()];
        for source in &sources {
            let contents = self.add_tops(source, &mut tops, &mut opened)?;
            root = contents.filter(|_| sources.len() == 1);
        }
        sorted::sort(&mut tops);
        // The same entry named twice is one; two entries of one name collide.
        tops.dedup();
        if let Some(pair) = tops.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(SelectError::Collision(pair[0].0.to_vec()));
        }
        SelectionBuilder::new(self, root).run(tops)
    }

    /// Adds what a source names; gives the directory whose contents it means.
    fn add_tops<'a>(
        &'a self,
        source: &[u8],
        tops: &mut Tops<'a>,
        opened: &mut [bool],
    ) -> Result<Option<u32>, SelectError> {
        let missing = || SelectError::Missing(source.to_vec());
        let contents = names_contents(source);
        let found = self.find(source, contents).ok_or_else(missing)?;
        let named = |number: u32| (&*self.entries[number as usize].name, number);
        if !contents && found != 0 {
            tops.push(named(found));
            return Ok(None);
        }
        if self.entries[found as usize].kind != EntryKind::Dir {
            return Err(missing());
        }
        if !core::mem::replace(&mut opened[found as usize], true) {
            tops.extend(self.children(found).map(named));
        }
        Ok(Some(found))
    }
}

/// A selection while it is made.
struct SelectionBuilder<'a> {
    whole: &'a Manifest,
    /// Where in the whole the piece list of a file is that has one.
    /// By entry, in order.
    lists: Vec<(u32, Range<usize>)>,
    /// For each file of the whole, the first entry of the copy that is it: its
    /// other names become links to that one.
    firsts: Vec<Option<u32>>,
    /// Entries of the whole that were copied. What is selected twice, as in
    /// `a a/b`, becomes two files, not a link.
    taken: Vec<bool>,
    made: Selection,
}

impl<'a> SelectionBuilder<'a> {
    /// With the root alone: the attributes of a directory, or nobody's.
    fn new(whole: &'a Manifest, root: Option<u32>) -> SelectionBuilder<'a> {
        let described = root.map(|found| whole.entries[found as usize].clone());
        let root_entry =
            Entry { parent: 0, name: Box::default(), ..described.unwrap_or_else(Entry::bare_root) };
        let manifest = Manifest {
            // The root of the whole may be nobody's directory as well.
            root_described: root.is_some_and(|found| found != 0 || whole.root_described),
            ..Manifest::of_entries(whole.piece_len, vec![root_entry])
        };
        SelectionBuilder {
            whole,
            lists: whole.files_with_lists().collect(),
            firsts: vec![None; whole.entries.len()],
            taken: vec![false; whole.entries.len()],
            made: Selection { manifest, origin: vec![root.unwrap_or(0)] },
        }
    }

    /// Breadth first: each directory's children after all that stands before.
    fn run(mut self, tops: Tops) -> Result<Selection, SelectError> {
        for (_, from) in tops {
            self.add(0, from)?;
        }
        let mut dir = 1;
        while dir < self.made.origin.len() {
            if self.made.manifest.entries[dir].kind == EntryKind::Dir {
                for from in self.whole.children(self.made.origin[dir]) {
                    self.add(dir as u32, from)?;
                }
            }
            dir += 1;
        }
        self.made.manifest.take_xattrs(&self.whole.xattrs);
        Ok(self.made)
    }

    /// Copies an entry of the whole into a directory of the copy.
    fn add(&mut self, parent: u32, from: u32) -> Result<(), SelectError> {
        let entries_max = 2 * self.whole.entries.len() + OVERLAP_SPARE;
        if self.made.origin.len() >= entries_max.min(ENTRIES_MAX) {
            return Err(SelectError::TooMany);
        }
        let entry = &self.whole.entries[from as usize];
        let copied = match entry.kind {
            EntryKind::File => self.file(from, from),
            EntryKind::Hardlink(target) => self.file(from, target),
            _ => entry.clone(),
        };
        let name = entry.name.clone();
        self.made.manifest.entries.push(Entry { parent, name, ..copied });
        self.made.origin.push(from);
        Ok(())
    }

    /// A name of a file: the file itself where it is the first, else a link.
    fn file(&mut self, from: u32, file: u32) -> Entry {
        let number = self.made.origin.len() as u32;
        let again = core::mem::replace(&mut self.taken[from as usize], true);
        let first = *self.firsts[file as usize].get_or_insert(number);
        if first == number || again {
            if let Ok(at) = self.lists.binary_search_by_key(&file, |(entry, _)| *entry) {
                let (_, list) = &self.lists[at];
                self.made.manifest.lists.extend_from_slice(&self.whole.lists[list.clone()]);
            }
            return self.whole.entries[file as usize].clone();
        }
        Entry {
            kind: EntryKind::Hardlink(first),
            size: 0,
            digest: Digest::default(),
            sparse: false,
            xattrs: 0,
            ..self.whole.entries[from as usize].clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::digest;
    use crate::content::samples::trees;
    use crate::testing::{entry, file, small};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use std::collections::BTreeSet;

    /// Paths of some entries, of directories perhaps their contents. None of
    /// them leads through a symlink.
    fn sources(manifest: &Manifest, picks: &[(Index, bool)]) -> Vec<Vec<u8>> {
        let path = |(pick, contents): &(Index, bool)| {
            let number = pick.index(manifest.entries.len());
            let is_dir = manifest.entries[number].kind == EntryKind::Dir;
            let mut path = manifest.path(number as u32);
            path.extend_from_slice(if is_dir && *contents { b"/." } else { b"" });
            path
        };
        picks.iter().map(path).collect()
    }

    /// What lands at the top, by what the sources say.
    fn expected_tops(manifest: &Manifest, sources: &[Vec<u8>]) -> BTreeSet<(Vec<u8>, u32)> {
        let parent_of = |path: &[u8]| match path.iter().rposition(|&b| b == b'/') {
            Some(at) => path[..at].to_vec(),
            None => Vec::new(),
        };
        let mut tops = BTreeSet::new();
        for number in 1..manifest.entries.len() as u32 {
            let path = manifest.path(number);
            let lands = |s: &Vec<u8>| match s.strip_suffix(b"/.") {
                Some(dir) => parent_of(&path) == dir,
                None if s.is_empty() => parent_of(&path).is_empty(),
                None => path == *s,
            };
            if sources.iter().any(lands) {
                tops.insert((manifest.entries[number as usize].name.to_vec(), number));
            }
        }
        tops
    }

    /// The file that an entry is a name of, or the entry.
    fn named(manifest: &Manifest, entry: u32) -> &Entry {
        match manifest.entries[entry as usize].kind {
            EntryKind::Hardlink(file) => &manifest.entries[file as usize],
            _ => &manifest.entries[entry as usize],
        }
    }

    fn assert_same_thing(copy: &Entry, was: &Entry) {
        let what = |e: &Entry| (e.kind, e.size, e.digest, e.sparse, e.link.clone());
        assert_eq!(what(copy), what(was));
    }

    proptest! {
        #[test]
        fn sources_of_a_tree_give_a_valid_part_of_it(
            sample in trees(30),
            picks in vec((any::<Index>(), any::<bool>()), 1..5),
        ) {
            let whole = &sample.manifest;
            let sources = sources(whole, &picks);
            let refs: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
            let tops = expected_tops(whole, &sources);
            let names: BTreeSet<&[u8]> = tops.iter().map(|(name, _)| &**name).collect();
            let part = match whole.select(&refs) {
                Err(SelectError::Collision(name)) => {
                    prop_assert!(tops.iter().filter(|top| top.0 == name).count() > 1);
                    return Ok(());
                }
                made => made.unwrap(),
            };
            prop_assert_eq!(names.len(), tops.len(), "what collides is refused");
            let copy = &part.manifest;
            prop_assert_eq!(Manifest::decode(&copy.encode()), Ok(copy.clone()));
            let landed = copy.children(0).map(|e| part.origin[e as usize]);
            prop_assert_eq!(landed.collect::<Vec<_>>(), tops.iter().map(|t| t.1).collect::<Vec<_>>());
            for (number, &from) in (0..).zip(&part.origin).skip(1) {
                let (made, was) = (&copy.entries[number as usize], &whole.entries[from as usize]);
                prop_assert_eq!(&made.name, &was.name);
                assert_same_thing(named(copy, number), named(whole, from));
                let xattrs_of_both = (copy.xattrs_of(made), whole.xattrs_of(was));
                if made.kind == was.kind && made.kind != EntryKind::File {
                    prop_assert_eq!(xattrs_of_both.0, xattrs_of_both.1);
                }
                let files = (named(copy, number), named(whole, from));
                prop_assert_eq!(copy.xattrs_of(files.0), whole.xattrs_of(files.1));
                let children = |m: &Manifest, of: u32| m.children(of).len();
                prop_assert_eq!(children(copy, number), children(whole, from));
            }
        }

        #[test]
        fn everything_is_the_tree_itself(sample in trees(30)) {
            let all = sample.manifest.select(&[b"."]).unwrap();
            prop_assert_eq!(all.manifest, sample.manifest);
        }

        #[test]
        fn any_path_is_an_entry_or_an_error(
            sample in trees(20),
            paths in vec(crate::content::samples::paths(), 1..4),
        ) {
            let refs: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
            if let Ok(part) = sample.manifest.select(&refs) {
                prop_assert_eq!(Manifest::decode(&part.manifest.encode()), Ok(part.manifest));
            }
        }
    }

    #[test]
    fn selecting_everything_gives_the_same_manifest() {
        let manifest = small();
        let all = manifest.select(&[b"."]).unwrap();
        assert_eq!(all.manifest, manifest);
        assert_eq!(all.origin, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn a_sub_path_lands_under_its_base_name_and_its_contents_directly() {
        let manifest = small();
        let part = manifest.select(&[b"a/z", b"b"]).unwrap();
        let names: Vec<&[u8]> = part.manifest.entries.iter().map(|e| &*e.name).collect();
        assert_eq!(names, [&b""[..], b"b", b"z"]);
        assert_eq!(part.manifest.entries[2].kind, EntryKind::File, "a link alone becomes the file");
        assert_eq!(part.manifest.entries[2].size, 2);
        assert_eq!(part.origin, [0, 2, 7]);
        assert!(!part.manifest.root_described);
        let inside = manifest.select(&[b"current/."]).unwrap();
        assert_eq!(inside.manifest.entries.len(), 4);
        assert!(inside.manifest.root_described);
        assert_eq!(Manifest::decode(&inside.manifest.encode()), Ok(inside.manifest));
    }

    #[test]
    fn what_is_selected_twice_is_two_files_and_only_other_names_are_links() {
        let mut manifest = small();
        manifest.entries[5] = Entry { name: (*b"x").into(), ..file(1, "x", &[7; 9000]) };
        manifest.lists = digest::list_of(&[7; 9000], manifest.piece_len);
        let twice = manifest.select(&[b"a", b"a/x"]).unwrap();
        let kinds: Vec<(&[u8], EntryKind)> =
            twice.manifest.entries.iter().map(|e| (&*e.name, e.kind)).collect();
        let expected = [
            (&b""[..], EntryKind::Dir),
            (b"a", EntryKind::Dir),
            (b"x", EntryKind::File),
            (b"x", EntryKind::File),
            (b"y", EntryKind::Symlink),
            (b"z", EntryKind::Hardlink(2)),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(twice.manifest.lists.len(), 2 * 3);
        assert_eq!(Manifest::decode(&twice.manifest.encode()), Ok(twice.manifest));
    }

    #[test]
    fn missing_and_colliding_sources_are_named() {
        let mut manifest = small();
        manifest.entries.push(file(1, "zz", b"another"));
        manifest.entries.insert(5, entry(0, "zz", EntryKind::Dir));
        manifest.entries[8].kind = EntryKind::Hardlink(6);
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));

        let missing = manifest.select(&[b"nope"]).unwrap_err();
        assert_eq!(missing, SelectError::Missing(b"nope".to_vec()));
        let words = "nope: no such file or directory in what is served";
        assert_eq!(missing.to_string(), words);
        let no_directory = manifest.select(&[b"b/."]).unwrap_err();
        assert_eq!(no_directory, SelectError::Missing(b"b/.".to_vec()));

        let collision = SelectError::Collision(b"zz".to_vec());
        assert_eq!(collision.to_string(), "zz: two sources would land under this name");
        assert_eq!(manifest.select(&[b"zz", b"b", b"a/zz"]).unwrap_err(), collision);
        assert_eq!(manifest.select(&[b"zz", b"a/."]).unwrap_err(), collision);
    }

    #[test]
    fn the_same_entry_named_twice_is_one() {
        let manifest = small();
        let once = manifest.select(&[b"a/x", b"b"]).unwrap();
        let twice = manifest.select(&[b"b", b"a/x", b"a/../b", b"current/x"]).unwrap();
        assert_eq!(twice, once);
        let contents = manifest.select(&[b"a/.", b"a/x"]).unwrap();
        assert_eq!(contents.manifest.entries.len(), 4);
    }

    #[test]
    fn a_directory_is_looked_at_once_and_a_tree_is_not_named_again_and_again() {
        let mut manifest = small();
        manifest.entries.truncate(1);
        manifest.entries.push(entry(0, "0", EntryKind::Dir));
        manifest.entries.push(entry(1, "1", EntryKind::Dir));
        let files = (0..2_000).map(|number| file(2, &format!("{number:04}"), b""));
        manifest.entries.extend(files);
        let spelled: Vec<String> =
            (0..2_000).map(|n| format!("0/1/{}.", "../1/".repeat(n))).collect();
        let sources: Vec<&[u8]> = spelled.iter().map(String::as_bytes).collect();
        let all = manifest.select(&sources).unwrap();
        assert_eq!(all.manifest.entries.len(), 1 + 2_000);
        assert!(manifest.select(&[b"0", b"0/1"]).is_ok());
        assert_eq!(manifest.select(&[b"0", b"0/1", b"0/1/."]), Err(SelectError::TooMany));
    }

    #[test]
    fn another_spelling_selects_the_same() {
        let manifest = small();
        assert_eq!(manifest.select(&[b"a/.", b"a//./."]), manifest.select(&[b"/a/."]));
        let mut single = manifest.clone();
        single.root_described = false;
        let all = single.select(&[b"./"]).unwrap().manifest;
        assert!(!all.root_described, "a root that no source describes stays one");
        assert_eq!(all, single);
    }

    #[test]
    fn sources_have_one_spelling() {
        let plain = |sources: &[&str]| {
            let sources: Vec<Vec<u8>> = sources.iter().map(|s| s.as_bytes().to_vec()).collect();
            let plain = plain_sources(&sources);
            plain.into_iter().map(|s| String::from_utf8(s).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(plain(&["./a//b/", "a/b", "c"]), ["a/b", "c"]);
        assert_eq!(plain(&["c", "a", "b"]), ["a", "b", "c"]);
        assert_eq!(plain(&["/a/./."]), ["a/."]);
        assert_eq!(plain(&["./."]), ["."]);
        assert_eq!(plain(&["/"]), ["."]);
        assert_eq!(plain(&["a/../b"]), ["a/../b"], "symlinks make this one matter");
    }
}
