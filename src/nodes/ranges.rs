//! Host ranges as pdsh and clush write them: `n[001-040,050]-ib,head`.
//!
//! Knows lists, brackets and zero padding. Refuses to know what the names are.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes of the longest name that comes of it.
const NAME_LEN_MAX: usize = 255;
/// Digits of a number within brackets: it fits a `u32`.
const DIGITS_MAX: usize = 9;

const TOO_MANY: &str = "more names than there may be nodes (65536)";
const NO_NUMBER: &str = "within brackets a number or FROM-TO is expected";

/// What commas part, but for those in brackets.
pub(crate) fn terms(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// All names of a list, `most` of them at most, in the order in which they are written:
/// of several brackets the last counts up first.
///
/// # Errors
/// What was expected.
pub fn expand(text: &str, most: usize) -> Result<Vec<String>, &'static str> {
    let mut all = Vec::new();
    for term in terms(text) {
        let room = most.saturating_sub(all.len());
        all.append(&mut expand_term(term, room)?);
    }
    Ok(all)
}

fn expand_term(term: &str, most: usize) -> Result<Vec<String>, &'static str> {
    let (mut names, mut rest) = (vec![String::new()], term);
    if term.is_empty() {
        return Err("a name is expected beside the comma");
    }
    while let Some((before, behind)) = rest.split_once('[') {
        let (inside, behind) = behind.split_once(']').ok_or("] is expected")?;
        let numbers = numbers(inside, most / names.len())?;
        let with = |name: &String, number: &String| format!("{name}{before}{number}");
        if names[0].len() + before.len() > NAME_LEN_MAX {
            break;
        }
        names = names.iter().flat_map(|name| numbers.iter().map(move |n| with(name, n))).collect();
        rest = behind;
    }
    if names.len() > most {
        return Err(TOO_MANY);
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    if names.iter().any(|name| name.len() > NAME_LEN_MAX) {
        return Err("this name is longer than 255 bytes");
    }
    Ok(names)
}

/// The numbers within brackets, each as wide as the first of its range is written.
fn numbers(text: &str, most: usize) -> Result<Vec<String>, &'static str> {
    let number = |digits: &str| {
        let is_one = digits.len() <= DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| is_one).ok_or(NO_NUMBER)
    };
    let mut all = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (from, to, width) = (number(first)?, number(last)?, first.len());
        if to < from {
            return Err("the range runs backwards");
        }
        if (to - from) as usize >= most.saturating_sub(all.len()) {
            return Err(TOO_MANY);
        }
        all.extend((from..=to).map(|number| format!("{number:0width$}")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(text: &str) -> Vec<String> {
        expand(text, 65_536).unwrap()
    }

    #[test]
    fn ranges_are_written_as_pdsh_and_clush_write_them() {
        assert_eq!(names("n[008-011,020]"), ["n008", "n009", "n010", "n011", "n020"]);
        assert_eq!(names("n[8-11]-ib"), ["n8-ib", "n9-ib", "n10-ib", "n11-ib"]);
        assert_eq!(names("a,b[1-2],c"), ["a", "b1", "b2", "c"]);
        assert_eq!(names("r[1-2]n[1-2]"), ["r1n1", "r1n2", "r2n1", "r2n2"]);
        assert_eq!(names("n[09-10]"), ["n09", "n10"]);
        assert_eq!(names("[0-1]"), ["0", "1"]);
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_was_expected() {
        for (text, what) in [
            ("n[1-2", "] is expected"),
            ("n[]", NO_NUMBER),
            ("n[a]", NO_NUMBER),
            ("n[1-]", NO_NUMBER),
            ("n[-1]", NO_NUMBER),
            ("n[+1]", NO_NUMBER),
            ("n[1-9/2]", NO_NUMBER),
            ("n[1,,2]", NO_NUMBER),
            ("n[1-1000000000]", NO_NUMBER),
            ("n[[1]]", NO_NUMBER),
            ("n[2-1]", "the range runs backwards"),
            ("n1,", "a name is expected beside the comma"),
            ("", "a name is expected beside the comma"),
        ] {
            assert_eq!(expand(text, 65_536), Err(what), "{text}");
        }
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        assert_eq!(names("n[00001-65536]").len(), 65_536);
        for text in ["n[0-65536]", "n[1-300][1-300]", "n[1-65536],m", "n[1-999999999]"] {
            assert_eq!(expand(text, 65_536), Err(TOO_MANY), "{text}");
        }
        assert_eq!(expand("n[1-3],m", 4).unwrap().len(), 4);
        assert_eq!(expand("n[1-3],m", 3), Err(TOO_MANY));
        let long = "x".repeat(300) + "[1-2]";
        assert!(expand(&long, 9).is_err() && expand(&"[1]".repeat(300), 9).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_names_within_the_limit(text in "[n0-9,\\[\\]-]{0,24}") {
            if let Ok(names) = expand(&text, 100) {
                prop_assert!(names.len() <= 100);
                prop_assert!(names.iter().all(|name| !name.contains('[') && name.len() <= 255));
            }
        }
    }
}
