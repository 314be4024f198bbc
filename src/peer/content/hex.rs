//! Bytes as hexadecimal digits, two for each, and back.
//!
//! Written in lower case, read in either. Refuses to know what the bytes are;
//! prefixes such as `blake3:` belong to who writes them.

use core::fmt::{self, Write};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Shows bytes as hexadecimal digits: `Hex(&[0x0f, 0xa0])` is `0fa0`.
#[derive(Clone, Copy)]
pub struct Hex<'a>(
    /// What is shown.
    pub &'a [u8],
);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().flat_map(|&byte| digits(byte)).try_for_each(|digit| f.write_char(digit))
    }
}

/// The two digits of a byte, the higher one first.
pub(crate) fn digits(byte: u8) -> [char; 2] {
    [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]))
}

/// The byte that two digits make; `None` if one of them is none.
pub fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    // Less than 16 each.
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

/// The `N` bytes that a text of exactly `2 * N` digits is, else `None`.
pub fn parse<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (to, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *to = byte(pair[0], pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_goes_both_ways_and_reads_in_upper_case() {
        for byte in 0..=255 {
            let text = Hex(&[byte]).to_string();
            assert_eq!(text, format!("{byte:02x}"));
            assert_eq!(parse(&text), Some([byte]));
            assert_eq!(parse(&text.to_uppercase()), Some([byte]));
        }
    }

    #[test]
    fn what_is_not_all_digits_or_of_another_length_is_refused() {
        for text in ["", "0", "000", "0g", "+1", " 1", "0x", "\u{e9}"] {
            assert_eq!(parse::<1>(text), None, "{text:?}");
        }
        assert_eq!(parse("00ff"), Some([0, 255]));
    }
}
