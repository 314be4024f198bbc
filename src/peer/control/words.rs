//! A line as words: numbers, and anything as one word.

use crate::content::hex;
use alloc::string::String;
use alloc::vec::Vec;
use core::str::{FromStr, Split};

/// Bytes of the longest line either side accepts, with its end. Who collects
/// lines refuses longer ones before they are parsed; who joins sees that its
/// sources fit; and the text of an error is cut to it.
pub const LINE_LEN_MAX: usize = 60_000;

/// What is left of a line. Every step is `None` when the word is missing or no
/// such thing.
pub(super) struct Words<'a>(Split<'a, char>);

impl<'a> Words<'a> {
    /// Of a line, with its end or without.
    pub(super) fn of(line: &'a [u8]) -> Option<Words<'a>> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Some(Words(core::str::from_utf8(line).ok()?.split(' ')))
    }

    /// The next word, as it stands.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    /// The next word as a decimal number that fits.
    pub(super) fn number<T: FromStr>(&mut self) -> Option<T> {
        self.word()?.parse().ok()
    }

    /// The next word as such a number, if there is one.
    pub(super) fn optional_number<T: FromStr>(&mut self) -> Option<Option<T>> {
        self.word().map_or(Some(None), |word| word.parse().ok().map(Some))
    }

    /// The value, if no word is left.
    pub(super) fn end<T>(mut self, value: T) -> Option<T> {
        self.word().is_none().then_some(value)
    }
}

/// Appends bytes as one word: what is not plain in a path is percent encoded
/// (RFC 3986, section 2.1, but for `/`, and with lower case digits). At most
/// `len_max` bytes are appended; what does not fit is left out.
pub(super) fn escape(bytes: &[u8], len_max: usize, line: &mut String) {
    escape_but(b"./_-+,:@~=", bytes, len_max, line);
}

/// The same, where these and letters and digits alone are plain.
pub(super) fn escape_but(plain: &[u8], bytes: &[u8], len_max: usize, line: &mut String) {
    let end = line.len() + len_max;
    for &byte in bytes {
        let is_plain = byte.is_ascii_alphanumeric() || plain.contains(&byte);
        if line.len() + if is_plain { 1 } else { 3 } > end {
            return;
        }
        if is_plain {
            line.push(char::from(byte));
        } else {
            line.push('%');
            line.extend(hex::digits(byte));
        }
    }
}

/// Bytes as one word, as sources stand in the conversation.
pub fn escaped(bytes: &[u8]) -> String {
    let mut word = String::new();
    escape(bytes, 3 * bytes.len(), &mut word);
    word
}

/// The bytes that a word stands for. `None` on a bad escape, and of no word:
/// nothing between two spaces is not a path.
pub fn unescape(word: &str) -> Option<Vec<u8>> {
    if word.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (pair, after) = rest.split_first_chunk::<2>()?;
        rest = after;
        bytes.push(hex::byte(pair[0], pair[1])?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn cut(bytes: &[u8], len_max: usize) -> String {
        let mut line = String::from("x ");
        escape(bytes, len_max, &mut line);
        line.split_off(2)
    }

    #[test]
    fn anything_is_one_word_and_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let word = escaped(&all);
        assert!(word.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(unescape(&word), Some(all));
        assert_eq!(escaped(b"a b/%"), "a%20b/%25");
        assert_eq!(unescape("%C3%a9\u{e9}"), Some(b"\xc3\xa9\xc3\xa9".to_vec()));
        for word in ["", "%", "%4", "%4g", "a%", "%+1"] {
            assert_eq!(unescape(word), None, "{word}");
        }
    }

    proptest! {
        #[test]
        fn any_word_is_refused_or_read(bytes in vec(any::<u8>(), 1..20), word in "[%0-9a-f ]{0,9}") {
            prop_assert_eq!(unescape(&escaped(&bytes)), Some(bytes));
            if let Some(bytes) = unescape(&word) {
                prop_assert_eq!(unescape(&escaped(&bytes)), Some(bytes));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        assert_eq!(cut(b"a b", 5), "a%20b");
        assert_eq!(cut(b"a b", 4), "a%20");
        assert_eq!(cut(b"a b", 3), "a");
        assert_eq!(cut(b"a b", 0), "");
    }
}
