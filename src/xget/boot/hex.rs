//! Hexadecimal digits as hardware addresses and UUIDs have them: in pairs.

use peer::content::hex;

/// The byte that two digits stand for.
pub fn byte(pair: &str) -> Option<u8> {
    let [high, low] = <[u8; 2]>::try_from(pair.as_bytes()).ok()?;
    hex::byte(high, low)
}

/// Pairs with one of `separators` between them.
pub fn separated(text: &str, separators: &[char]) -> Option<Vec<u8>> {
    text.split(separators).map(byte).collect()
}

/// Pairs with nothing between them.
pub fn joined(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| byte(text.get(at..at + 2)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_with_and_without_separators() {
        assert_eq!(separated("52:54-00:aF", &[':', '-']), Some(vec![0x52, 0x54, 0, 0xaf]));
        assert_eq!(joined("0011fF"), Some(vec![0, 0x11, 0xff]));
    }

    #[test]
    fn what_is_no_pair_is_nothing() {
        for text in ["", "5", "52:", ":52", "52::54", "+5", "5g", "525", "é"] {
            assert_eq!(separated(text, &[':']), None, "{text}");
        }
        for text in ["5", "525", "+5", "zz", "1é2"] {
            assert_eq!(joined(text), None, "{text}");
        }
    }
}
