//! What a node is known by: kinds of keys, and the one form of each.
//!
//! Knows which words say one, and that `AA-BB-…` is `aa:bb:…`. Refuses to know who has it.

use alloc::string::String;

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
    /// An IP address; not for [`Key::of_word`].
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
            Kind::Mac => is_hex(value, &[2, 2, 2, 2, 2, 2], b":-"),
            Kind::Uuid => is_hex(value, &[8, 4, 4, 4, 12], b"-"),
            Kind::Serial | Kind::Asset => !value.chars().any(char::is_control),
            _ => value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
        };
        let one_form = |c: char| match (kind, c) {
            (Kind::Mac, '-') => ':',
            // As the agent shows it: one word.
            (_, ' ') => '_',
            (Kind::Serial | Kind::Asset | Kind::Name | Kind::Group, c) => c,
            (_, c) => c.to_ascii_lowercase(),
        };
        is_sound.then(|| Key { kind, text: value.chars().map(one_form).collect() })
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

/// Whether a text is groups of so many hex digits, parted by one of these.
fn is_hex(text: &str, groups: &[usize], parted_by: &[u8]) -> bool {
    let mut left = text.as_bytes();
    for (nth, &len) in groups.iter().enumerate() {
        if nth > 0 {
            let Some((by, rest)) = left.split_first() else { return false };
            if !parted_by.contains(by) {
                return false;
            }
            left = rest;
        }
        let Some((digits, rest)) = left.split_at_checked(len) else { return false };
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        left = rest;
    }
    left.is_empty()
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
