//! Host ranges as pdsh and clush write them: `n[001-040,050]-ib,head`.
//!
//! Knows lists, brackets and zero padding. Refuses to know what the names are.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Bytes of the longest name that comes of it.
const NAME_LEN_MAX: usize = 255;
/// Digits of a number within brackets: it fits a `u32`.
const DIGITS_MAX: usize = 9;

const TOO_MANY: &str = "more names than there may be nodes (65536)";
const NO_NUMBER: &str = "within brackets a number or FROM-TO is expected";

/// Where the term ends that begins at `at`: at a comma that is not in brackets, or the end.
pub(crate) fn term_end(text: &[u8], at: usize) -> usize {
    let mut is_within = false;
    let is_end = |byte: &u8| {
        is_within = *byte == b'[' || is_within && *byte != b']';
        *byte == b',' && !is_within
    };
    text[at..].iter().position(is_end).map_or(text.len(), |len| at + len)
}

/// All names of a list, `most` of them at most, in the order in which they are written:
/// of several brackets the last counts up first.
///
/// # Errors
/// What was expected.
pub fn expand(text: &str, most: usize) -> Result<Vec<String>, &'static str> {
    let (mut names, mut at) = (Vec::new(), 0);
    loop {
        let end = term_end(text.as_bytes(), at);
        let term = text.get(at..end).unwrap_or_default();
        if term.is_empty() {
            return Err("a name is expected beside the comma");
        }
        expand_term(&mut String::new(), term, most, &mut names)?;
        at = end + 1;
        if end == text.len() {
            return Ok(names);
        }
    }
}

/// Adds the names that begin with what is in `name` already. It goes as deep as there are
/// brackets: each adds to the name, whose length has a limit.
fn expand_term(
    name: &mut String,
    rest: &str,
    most: usize,
    names: &mut Vec<String>,
) -> Result<(), &'static str> {
    let (before, brackets) = rest.split_at(rest.find('[').unwrap_or(rest.len()));
    name.push_str(before);
    if name.len() > NAME_LEN_MAX {
        return Err("this name is longer than 255 bytes");
    }
    if brackets.is_empty() {
        if names.len() >= most {
            return Err(TOO_MANY);
        }
        names.push(name.clone());
        return Ok(());
    }
    let close = brackets.find(']').ok_or("] is expected")?;
    let len = name.len();
    for range in brackets[1..close].split(',') {
        let dash = range.find('-').unwrap_or(range.len());
        let (from, to) = (number(&range[..dash])?, number(range.get(dash + 1..).unwrap_or(range))?);
        if to < from {
            return Err("the range runs backwards");
        }
        for number in from..=to {
            let digits = number.to_string();
            // As wide as the first number is written.
            (digits.len()..dash).for_each(|_| name.push('0'));
            name.push_str(&digits);
            expand_term(name, &brackets[close + 1..], most, names)?;
            name.truncate(len);
        }
    }
    Ok(())
}

fn number(digits: &str) -> Result<u32, &'static str> {
    let is_one = digits.len() <= DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_one).ok_or(NO_NUMBER)
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
