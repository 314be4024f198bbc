//! What is signed: which generation some sources are, and since when (docs/security.md).
//!
//! Knows the text, of which there is one for each meaning. Refuses to know who signed it.

use crate::content::digest::Digest;
use crate::content::manifest::Selector;
use crate::control::{escaped, unescape};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// Bytes of the longest one: with its signature it is one line of the conversation.
pub const STATEMENT_LEN_MAX: usize = 16 << 10;

const HEADER: &str = "xget generation 1";
const GENERATION: &str = "generation";
const BESIDE: &str = "beside";
const DIGEST: &str = "blake3:";

/// That a selection is this generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// In its one spelling ([`Selector::plain`]).
    pub selector: Selector,
    /// What it is.
    pub generation: Digest,
    /// Of the root of an image with a kernel: the generation of all that is started before it.
    pub beside: Option<Digest>,
    /// When that was said, in seconds since 1970.
    pub date_s: u64,
}

impl Statement {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let Statement { selector, generation, beside, date_s } = self;
        let mut text = selection_text(selector);
        for (name, digest) in [(GENERATION, Some(generation)), (BESIDE, beside.as_ref())] {
            if let Some(digest) = digest {
                // A String takes all.
                let _ = writeln!(text, "{name} {DIGEST}{digest}");
            }
        }
        let _ = writeln!(text, "date {date_s}");
        text
    }

    /// Names the statements of a selection, whatever it is and since when: of several the last
    /// one counts.
    pub fn place(selector: &Selector) -> Digest {
        Digest::of(selection_text(&selector.plain()).as_bytes())
    }

    /// Whether it is one that is read.
    pub fn is_short(&self) -> bool {
        self.text().len() <= STATEMENT_LEN_MAX
    }

    /// What such a text says: exactly what [`text`](Statement::text) would write of it.
    #[inline(never)]
    pub fn parse(text: &str) -> Option<Statement> {
        if text.len() > STATEMENT_LEN_MAX {
            return None;
        }
        let mut selector = Selector::default();
        let (mut generation, mut beside, mut date_s) = (None, None, None);
        for line in text.strip_prefix(HEADER)?.strip_prefix('\n')?.lines() {
            let (name, word) = line.split_once(' ')?;
            match name {
                "source" => selector.sources.push(unescape(word)?),
                "pattern" => {
                    selector.are_patterns = true;
                    selector.sources.push(unescape(word)?);
                }
                "exclude" => selector.excludes.push(unescape(word)?),
                GENERATION => generation = Some(digest(word)?),
                BESIDE => beside = Some(digest(word)?),
                "date" => date_s = Some(word.parse().ok()?),
                _ => return None,
            }
        }
        let (selector, generation, date_s) = (selector.plain(), generation?, date_s?);
        let found = Statement { selector, generation, beside, date_s };
        // Whatever else could be read so would be a second text for the same.
        (found.text() == text).then_some(found)
    }

    /// Its selection, for people.
    pub fn names(&self) -> String {
        names(&self.selector)
    }
}

fn digest(word: &str) -> Option<Digest> {
    Digest::parse(word.strip_prefix(DIGEST)?)
}

/// The lines of a selection, for people: `tiny`, or `a, b without *.o`.
pub fn names(selector: &Selector) -> String {
    let list =
        |words: &[Vec<u8>]| words.iter().map(|word| escaped(word)).collect::<Vec<_>>().join(", ");
    let mut names = list(&selector.sources);
    if !selector.excludes.is_empty() {
        names.extend([" without ", &list(&selector.excludes)]);
    }
    names
}

/// Of a plain one.
fn selection_text(selector: &Selector) -> String {
    let mut text = String::from(HEADER);
    text.push('\n');
    let source = if selector.are_patterns { "pattern" } else { "source" };
    for (name, words) in [(source, &selector.sources), ("exclude", &selector.excludes)] {
        for word in words {
            text.extend([name, " ", &escaped(word), "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn of(sources: &[&str], are_patterns: bool, excludes: &[&str]) -> Statement {
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let selector =
            Selector { sources: words(sources), are_patterns, excludes: words(excludes) };
        Statement {
            selector: selector.plain(),
            generation: Digest([0xab; 32]),
            beside: None,
            date_s: 1_795_000_000,
        }
    }

    #[test]
    fn the_text_is_as_it_is_documented() {
        let digest = "ab".repeat(32);
        let text = format!(
            "xget generation 1\nsource a%20b\nsource tiny\ngeneration blake3:{digest}\ndate 1795000000\n"
        );
        let statement = of(&["tiny", "a b"], false, &[]);
        assert_eq!(statement.text(), text);
        assert_eq!(Statement::parse(&text), Some(statement));
        let text = format!(
            "xget generation 1\npattern a*\nexclude *.o\ngeneration blake3:{digest}\ndate 1795000000\n"
        )
        .replace('*', "%2a");
        let statement = of(&["a*"], true, &["*.o"]);
        assert_eq!(
            (statement.text(), statement.names()),
            (text.clone(), "a%2a without %2a.o".into())
        );
        assert_eq!(Statement::parse(&text), Some(statement));
        let text = format!(
            "xget generation 1\nsource tiny/root/.\ngeneration blake3:{digest}\n\
             beside blake3:{}\ndate 1795000000\n",
            "cd".repeat(32)
        );
        let beside = Some(Digest([0xcd; 32]));
        let statement = Statement { beside, ..of(&["tiny/root/."], false, &[]) };
        assert_eq!(statement.text(), text);
        assert_eq!(Statement::parse(&text), Some(statement));
    }

    #[test]
    fn a_selection_has_one_place_whatever_it_is() {
        let paths = |sources: &[&str]| Statement::place(&Selector::of_paths(sources));
        assert_eq!(paths(&["./b/", "a"]), paths(&["a", "b"]));
        assert_ne!(paths(&["a", "b"]), paths(&["a"]));
        assert_ne!(paths(&["a"]), paths(&["a/."]));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        let beside = Some(Digest([0xcd; 32]));
        let text = Statement { beside, ..of(&["a", "b"], false, &["x"]) }.text();
        assert!(Statement::parse(&text).is_some());
        let lines: Vec<&str> = text.lines().collect();
        for missing in 0..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(missing);
            let is_one = Statement::parse(&(fewer.join("\n") + "\n")).is_some();
            // A source, an exclusion or what is beside it may be absent: then it is another.
            assert_eq!(is_one, [1, 2, 3, 5].contains(&missing), "{missing}");
        }
        for (from, to) in [
            ("source a\nsource b\n", "source b\nsource a\n"),
            ("exclude x\n", &format!("exclude x\nbeside blake3:{}\n", "cd".repeat(32))),
            ("source a\n", "source a\nsource a\n"),
            ("source a\n", "source ./a\n"),
            ("source a\n", "source %61\n"),
            ("source a\n", "source \n"),
            ("source a\n", "pattern a\n"),
            ("exclude x\n", "exclude x\nexclude x\n"),
            ("blake3:ab", "blake3:AB"),
            ("blake3:", "sha256:"),
            ("beside blake3:cd", "beside blake3:CD"),
            ("beside ", "beside  "),
            ("date 1", &format!("beside blake3:{}\ndate 1", "cd".repeat(32))),
            ("date 1", "date +1"),
            ("date 1", "date 01"),
            ("date", "dates"),
            ("1795000000\n", "1795000000"),
            ("1795000000\n", "1795000000\r\n"),
            ("1795000000\n", "1795000000\n\n"),
            ("1795000000\n", "1795000000\ndate 1795000000\n"),
            ("1795000000", "18446744073709551616"),
            ("xget generation 1", "xget generation 2"),
        ] {
            let other = text.replace(from, to);
            assert_ne!(other, text, "{from:?}");
            assert_eq!(Statement::parse(&other), None, "{from:?} {to:?}");
        }
        let most = STATEMENT_LEN_MAX - of(&["a"], false, &[]).text().len() + 1;
        for (len, is_short) in [(most, true), (most + 1, false)] {
            let long = of(&[&"a".repeat(len)], false, &[]);
            assert_eq!(Statement::parse(&long.text()).is_some(), is_short);
            assert_eq!(long.is_short(), is_short);
        }
    }

    proptest! {
        #[test]
        fn any_statement_comes_back(
            sources in vec(vec(1u8..=255, 1..9), 1..4),
            are_patterns: bool,
            excludes in vec(vec(1u8..=255, 1..9), 0..3),
            beside: Option<[u8; 32]>,
            date_s: u64,
        ) {
            let selector = Selector { sources, are_patterns, excludes }.plain();
            let (generation, beside) = (Digest([7; 32]), beside.map(Digest));
            let statement = Statement { selector, generation, beside, date_s };
            prop_assert_eq!(Statement::parse(&statement.text()), Some(statement));
        }
    }
}
