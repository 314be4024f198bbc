//! Part of a tree as a manifest of its own: what a client gets that asks for
//! some paths and not for all.
//!
//! Both the master and `--print-digest` select, and must come to the same
//! bytes: what comes out depends on the tree and the sources only.

use super::limits::ENTRIES_MAX;
use super::selector::{Selector, names_contents};
use super::values::{Entry, EntryKind, Manifest};
use crate::content::digest::Digest;
use crate::content::patterns::{Patterns, has_wildcard, is_sound, spend, typed, unquote};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// Entries of a part beyond twice those of the whole: sources may lie in each other,
/// and a line of them must not name a large tree a thousand times.
const OVERLAP_SPARE: usize = 1_000;

/// What it may take a master to look patterns up: so many bytes that are compared for each
/// entry of the whole, and beside that so many; but never more than takes it about half a second.
const STEPS_OF_ENTRY: u64 = 4_096;
const STEPS_SPARE: u64 = 1 << 20;
const STEPS_MAX: u64 = 1 << 27;

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
    /// Nothing fits this pattern.
    NoneFits(Vec<u8>),
    /// This is no pattern of what is to be left out.
    NoPattern(Vec<u8>),
    /// All that the sources name is to be left out.
    AllExcluded,
    /// Two paths would land under one name.
    Collision(Vec<u8>, Vec<u8>),
    /// Sources that lie in each other name far more than there is, or more than
    /// [`ENTRIES_MAX`] entries, and nobody would take such a manifest.
    TooMany,
    /// To find what fits takes longer than a master has for one client.
    TooLong,
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        match self {
            SelectError::Missing(path) => {
                write!(f, "{}: no such file or directory in what is served", shown(path))
            }
            SelectError::NoneFits(glob) => {
                write!(f, "{}: nothing in what is served fits this pattern", shown(glob))
            }
            SelectError::NoPattern(glob) => {
                write!(f, "{}: this is no pattern of what is to be left out", shown(glob))
            }
            SelectError::AllExcluded => f.write_str("all that the sources name is excluded"),
            SelectError::Collision(one, other) => {
                let name = one.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                let (one, other) = (shown(one), shown(other));
                write!(f, "{}: {one} and {other} would both land under this name", shown(name))
            }
            SelectError::TooMany => {
                f.write_str("the sources lie in each other: they name the same too often")
            }
            SelectError::TooLong => f.write_str(
                "the patterns take too long to be looked up in all that is served: fewer, or with a directory before them",
            ),
        }
    }
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
        self.select_by(&Selector::of_paths(sources))
    }

    /// The same of patterns, and without what is to be left out. Of what fits a pattern and
    /// lies in each other the uppermost lands, and all with it.
    ///
    /// # Errors
    /// See [`SelectError`].
    pub fn select_by(&self, selector: &Selector) -> Result<Selection, SelectError> {
        self.select_within(&selector.plain(), &mut { u64::MAX })
    }

    /// Steps that the patterns of a stranger may take.
    pub(crate) fn steps_max(&self) -> u64 {
        STEPS_MAX.min(STEPS_OF_ENTRY * self.entries.len() as u64 + STEPS_SPARE)
    }

    /// The same in so many steps. To be called with a plain selector, so that its order is
    /// one.
    pub(crate) fn select_within(
        &self,
        selector: &Selector,
        steps: &mut u64,
    ) -> Result<Selection, SelectError> {
        let mut excludes = Patterns::default();
        for pattern in &selector.excludes {
            excludes.exclude(pattern).ok_or_else(|| SelectError::NoPattern(pattern.clone()))?;
        }
        let (mut tops, root) = self.tops(selector, steps)?;
        let has_tops = !tops.is_empty();
        tops.retain(|(name, from)| !excludes.fit_within(name, self.is_dir(*from), steps));
        match tops.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            _ if *steps == 0 => return Err(SelectError::TooLong),
            Some(pair) => {
                return Err(SelectError::Collision(self.path(pair[0].1), self.path(pair[1].1)));
            }
            // In an empty directory there may be nothing.
            None if has_tops && tops.is_empty() && root.is_none() => {
                return Err(SelectError::AllExcluded);
            }
            None => {}
        }
        SelectionBuilder::new(self, root).run(tops, &excludes, steps)
    }

    fn is_dir(&self, number: u32) -> bool {
        self.entries[number as usize].kind == EntryKind::Dir
    }

    /// What the sources name, in order; and the directory whose contents are all of it.
    fn tops(
        &self,
        selector: &Selector,
        steps: &mut u64,
    ) -> Result<(Tops<'_>, Option<u32>), SelectError> {
        let everything = [b".".to_vec()];
        let sources = if selector.sources.is_empty() { &everything[..] } else { &selector.sources };
        let mut tops = Tops::new();
        let mut root = None;
        // `a/.` and `a/../a/.` are one, however many there are; so is what fits two patterns.
        let mut opened = vec![false; self.entries.len()];
        let mut fitted = vec![false; if selector.are_patterns { self.entries.len() } else { 0 }];
        for source in sources {
            let path = selector.are_patterns.then(|| unquote(source));
            let is_there = |path: &Vec<u8>| typed(path) == *source && self.has_source(path);
            if selector.are_patterns && has_wildcard(source) && !path.as_ref().is_some_and(is_there)
            {
                self.add_fitting(source, &mut tops, (&mut opened, &mut fitted), steps)?;
                continue;
            }
            let contents =
                self.add_tops(path.as_ref().unwrap_or(source), &mut tops, &mut opened)?;
            root = contents.filter(|_| sources.len() == 1);
        }
        sorted::sort(&mut tops);
        // The same entry named twice is one; two entries of one name collide.
        tops.dedup();
        Ok((tops, root))
    }

    /// There is just this, a directory where it ends in `/`: it goes before what it would fit
    /// as a pattern.
    fn has_source(&self, path: &[u8]) -> bool {
        let is_of_dirs = names_contents(path) || path.ends_with(b"/");
        self.find(path, is_of_dirs).is_some_and(|found| !is_of_dirs || self.is_dir(found))
    }

    /// Adds what fits a pattern.
    fn add_fitting<'a>(
        &'a self,
        source: &[u8],
        tops: &mut Tops<'a>,
        (opened, fitted): (&mut [bool], &mut [bool]),
        steps: &mut u64,
    ) -> Result<(), SelectError> {
        let contents_of = source.strip_suffix(b"/.");
        let dirs = source.strip_suffix(b"/");
        let glob = contents_of.or(dirs).unwrap_or(source);
        let is_name = |name: &[u8]| name == b".." || is_sound(name);
        let mut found = match glob.split(|&byte| byte == b'/').all(is_name) {
            true => self.fitting_within(glob, steps),
            false => Vec::new(),
        };
        if contents_of.is_some() {
            found = self.dirs_of(found, steps);
        } else if dirs.is_some() {
            found.retain(|&number| !self.dirs_of(vec![number], steps).is_empty());
        }
        if *steps == 0 {
            return Err(SelectError::TooLong);
        }
        if found.is_empty() {
            return Err(SelectError::NoneFits(source.to_vec()));
        }
        let named = |number: u32| (&*self.entries[number as usize].name, number);
        for &number in &found {
            // There is nothing that the root is in, and so it lands nowhere by itself.
            if contents_of.is_some() || number == 0 {
                if !core::mem::replace(&mut opened[number as usize], true) {
                    tops.extend(self.children(number).map(named));
                }
            } else if !self.is_below(number, &found, steps)
                && !core::mem::replace(&mut fitted[number as usize], true)
            {
                tops.push(named(number));
            }
        }
        Ok(())
    }

    /// Whether an entry is below one of these, which are in order.
    fn is_below(&self, number: u32, of: &[u32], steps: &mut u64) -> bool {
        let mut at = self.entries[number as usize].parent;
        while at != 0 && spend(steps, 4) {
            if of.binary_search(&at).is_ok() {
                return true;
            }
            at = self.entries[at as usize].parent;
        }
        false
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
    fn run(
        mut self,
        tops: Tops,
        excludes: &Patterns,
        steps: &mut u64,
    ) -> Result<Selection, SelectError> {
        for (_, from) in tops {
            self.add(0, from)?;
        }
        let mut dir = 1;
        while dir < self.made.origin.len() {
            if self.made.manifest.is_dir(dir as u32) {
                self.add_dir(dir as u32, excludes, steps)?;
            }
            dir += 1;
        }
        self.made.manifest.take_xattrs(&self.whole.xattrs);
        Ok(self.made)
    }

    /// Copies what is in a directory, but for what is left out.
    fn add_dir(
        &mut self,
        dir: u32,
        excludes: &Patterns,
        steps: &mut u64,
    ) -> Result<(), SelectError> {
        let children = self.whole.children(self.made.origin[dir as usize]);
        if excludes.is_empty() {
            return children.into_iter().try_for_each(|from| self.add(dir, from));
        }
        let mut path = self.made.manifest.path(dir);
        path.push(b'/');
        let dir_len = path.len();
        for from in children {
            path.truncate(dir_len);
            path.extend_from_slice(&self.whole.entries[from as usize].name);
            if !excludes.fit_within(&path, self.whole.is_dir(from), steps) {
                self.add(dir, from)?;
            }
            if *steps == 0 {
                return Err(SelectError::TooLong);
            }
        }
        Ok(())
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
mod tests;
