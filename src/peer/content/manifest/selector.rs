//! What somebody wants of a tree, in one spelling.
//!
//! Knows sources, patterns and what is to be left out as words. Refuses to know what they
//! name.

use crate::content::patterns;
use alloc::vec::Vec;

/// Which part of a tree is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Paths, or patterns of them; all of it if there are none.
    pub sources: Vec<Vec<u8>>,
    /// The sources are patterns ([`patterns`]).
    pub are_patterns: bool,
    /// Patterns of what is left out ([`Patterns::exclude`](patterns::Patterns::exclude)).
    pub excludes: Vec<Vec<u8>>,
}

impl Selector {
    /// These paths, with all that is below them.
    pub fn of_paths(sources: &[impl AsRef<[u8]>]) -> Selector {
        let sources = sources.iter().map(|source| source.as_ref().to_vec()).collect();
        Selector { sources, ..Selector::default() }
    }

    /// One spelling for each list of sources, so that clients that ask for the same
    /// get the same generation: `./a//b/` is `a/b`, and `a` twice is `a`. What `..`
    /// means depends on symlinks: it stays. Patterns without wildcards are paths.
    #[must_use]
    pub fn plain(&self) -> Selector {
        let has_wildcard = |source: &Vec<u8>| patterns::has_wildcard(source);
        let are_patterns = self.are_patterns && self.sources.iter().any(has_wildcard);
        let plain = |source: &Vec<u8>| match (self.are_patterns, are_patterns) {
            (true, false) => plain_source(&patterns::unquote(source)),
            (true, true) if has_wildcard(source) => plain_pattern(source),
            _ => plain_source(source),
        };
        let sources = in_order(self.sources.iter().map(plain).collect());
        Selector { sources, are_patterns, excludes: in_order(self.excludes.clone()) }
    }

    /// It is the whole tree. To be asked of a plain one.
    pub(crate) fn is_all(&self) -> bool {
        let is_all = |source: &Vec<u8>| source == b".";
        self.sources.iter().all(is_all) && self.excludes.is_empty()
    }

    /// Memory that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let words = self.sources.iter().chain(&self.excludes);
        words.map(|word| word.len() + size_of::<Vec<u8>>()).sum()
    }
}

fn in_order(mut words: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    sorted::sort(&mut words);
    words.dedup();
    words
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

/// What ends in `/` fits directories alone.
fn plain_pattern(source: &[u8]) -> Vec<u8> {
    let mut plain = plain_source(source);
    if source.ends_with(b"/") {
        plain.push(b'/');
    }
    plain
}

/// Whether a source means what is in a directory, and not the directory.
pub(super) fn names_contents(source: &[u8]) -> bool {
    source.is_empty() || source == b"." || source.ends_with(b"/.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_one_spelling() {
        let plain = |sources: &[&str]| {
            let plain = Selector::of_paths(sources).plain().sources;
            plain.into_iter().map(|s| String::from_utf8(s).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(plain(&["./a//b/", "a/b", "c"]), ["a/b", "c"]);
        assert_eq!(plain(&["c", "a", "b"]), ["a", "b", "c"]);
        assert_eq!(plain(&["/a/./."]), ["a/."]);
        assert_eq!(plain(&["./."]), ["."]);
        assert_eq!(plain(&["/"]), ["."]);
        assert_eq!(plain(&["a/../b"]), ["a/../b"], "symlinks make this one matter");
    }

    #[test]
    fn patterns_without_wildcards_are_paths_and_the_order_of_all_is_none() {
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let of = |sources: &[&str], excludes: &[&str]| Selector {
            sources: words(sources),
            are_patterns: true,
            excludes: words(excludes),
        };
        let paths = of(&["b/\\*", "./a\\?"], &[]).plain();
        assert_eq!(paths, Selector::of_paths(&["a?", "b/*"]));
        assert_eq!(of(&["a*/", "b?//", "c/"], &[]).plain(), of(&["a*/", "b?/", "c"], &[]));
        let globs = of(&["b\\*", "./a*", "a*"], &["y", "x", "y"]).plain();
        assert_eq!(globs, of(&["a*", "b\\*"], &["x", "y"]));
        assert_eq!(globs.plain(), globs);
        assert!(of(&["."], &[]).plain().is_all() && of(&[], &[]).is_all());
        assert!(!of(&["."], &["x"]).plain().is_all() && !of(&["**"], &[]).plain().is_all());
    }
}
