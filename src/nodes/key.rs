//! What a node is known by: kinds of keys, and the one form of each.
//!
//! Knows which words say one, and that `AA-BB-…` is `aa:bb:…`. Refuses to know who has it.

use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of the longest value of a key.
pub const VALUE_LEN_MAX: usize = 255;

/// What a key is. The first five are what a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The address of one of its interfaces, `aa:bb:cc:dd:ee:ff`.
    Mac,
    /// The firmware's UUID.
    Uuid,
    /// The firmware's serial number.
    Serial,
    /// The chassis' asset tag.
    Asset,
    /// The host name that DHCP gave it.
    Host,
    /// An IP address: of the table, and never said by a node.
    Address,
    /// A name of `nodes.tab`.
    Name,
    /// A group of `nodes.tab`.
    Group,
    /// `*`
    Any,
}

/// The words of the kinds that a node says.
const WORDS: [(&str, Kind); 5] = [
    ("mac", Kind::Mac),
    ("uuid", Kind::Uuid),
    ("serial", Kind::Serial),
    ("asset", Kind::Asset),
    ("host", Kind::Host),
];

/// One thing that a node is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// The value in its one form: two keys are the same when these are.
    pub text: String,
}

impl Key {
    /// The key of this kind. `None` for what is no value of it.
    pub fn new(kind: Kind, value: &str) -> Option<Key> {
        if value.is_empty() || value.len() > VALUE_LEN_MAX {
            return None;
        }
        let is_sound = match kind {
            Kind::Mac => is_hex(value, 17, |at| at % 3 == 2),
            Kind::Uuid => is_hex(value, 36, |at| matches!(at, 8 | 13 | 18 | 23)),
            Kind::Serial | Kind::Asset => !value.bytes().any(|byte| byte.is_ascii_control()),
            // A name is a name of a directory, too: never `..`.
            _ => {
                let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                !value.starts_with('.') && value.bytes().all(is_one)
            }
        };
        let mut bytes = Vec::from(value);
        for byte in &mut bytes {
            match (kind, *byte) {
                (Kind::Mac, b'-') => *byte = b':',
                // As the agent shows it: one word.
                (_, b' ') => *byte = b'_',
                (Kind::Serial | Kind::Asset | Kind::Name | Kind::Group, _) => {}
                _ => byte.make_ascii_lowercase(),
            }
        }
        let text = String::from_utf8(bytes).ok().filter(|_| is_sound)?;
        Some(Key { kind, text })
    }

    /// `*`
    pub(crate) fn any() -> Key {
        Key { kind: Kind::Any, text: String::new() }
    }

    /// The kind that this word stands for in `word=value`.
    pub fn kind_of(word: &str) -> Option<Kind> {
        WORDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind)
    }

    /// The word of its kind, if a node says it.
    pub fn word(&self) -> Option<&'static str> {
        WORDS.iter().find(|(_, kind)| *kind == self.kind).map(|(word, _)| *word)
    }
}

/// Whether a text of so many bytes is hex digits, parted by `:` or `-` at these places.
fn is_hex(text: &str, len: usize, is_parted: fn(usize) -> bool) -> bool {
    let is_one = |(at, byte): (usize, u8)| match is_parted(at) {
        true => matches!(byte, b':' | b'-'),
        false => byte.is_ascii_hexdigit(),
    };
    text.len() == len && text.bytes().enumerate().all(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Kind, value: &str) -> Option<String> {
        Key::new(kind, value).map(|key| key.text)
    }

    #[test]
    fn each_kind_has_one_form() {
        let mac = Some("52:54:00:12:34:ab".into());
        for value in ["52:54:00:12:34:AB", "52-54-00-12-34-ab", "52:54-00:12-34:aB"] {
            assert_eq!(text(Kind::Mac, value), mac);
        }
        for value in ["", "52:54:00:12:34", "52:54:00:12:34:a", "52:54:00:12:34:ag", "525400123456"]
        {
            assert_eq!(text(Kind::Mac, value), None, "{value}");
        }
        let uuid = "4C4C4544-0050-3610-8058-B4C04F4E4B31";
        assert_eq!(text(Kind::Uuid, uuid), Some(uuid.to_ascii_lowercase()));
        assert_eq!(text(Kind::Uuid, &uuid[1..]), None);
        assert_eq!(text(Kind::Serial, "A 1b"), Some("A_1b".into()));
        assert_eq!(text(Kind::Serial, "A\n"), None);
        assert_eq!(text(Kind::Host, "N001.Cluster"), Some("n001.cluster".into()));
        assert_eq!(text(Kind::Host, "n[1]"), None);
        assert_eq!([".", "..", ".n"].map(|value| text(Kind::Name, value)), [None, None, None]);
        assert_eq!(text(Kind::Host, &"n".repeat(VALUE_LEN_MAX + 1)), None);
    }

    #[test]
    fn words_stand_for_kinds_and_back() {
        for (word, kind) in WORDS {
            assert_eq!(Key::kind_of(word), Some(kind));
            assert_eq!(Key { kind, text: String::new() }.word(), Some(word));
        }
        assert_eq!((Key::kind_of("image"), Key::kind_of("")), (None, None));
    }
}
