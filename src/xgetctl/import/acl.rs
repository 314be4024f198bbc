//! POSIX ACLs: from the text that tar archives have to the attribute that Linux keeps.
//!
//! `user::rw-,user:lp:r--:7,mask::r--` (SCHILY.acl.access) to the bytes of
//! `system.posix_acl_access` (linux/posix_acl_xattr.h). A name without its number, as GNU tar
//! writes it, is looked up in the image's own passwd and group: the head has others.

use std::collections::HashMap;

/// posix_acl_xattr_header: version 2.
const VERSION: u32 = 2;
/// ACL_UNDEFINED_ID, of entries without one.
const NO_ID: u32 = u32::MAX;

/// The names of a root and their numbers.
#[derive(Default)]
pub struct Names {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
}

impl Names {
    /// From the texts of passwd(5) and group(5).
    pub fn of(passwd: &str, group: &str) -> Names {
        let ids = |text: &str| {
            let line = |line: &str| {
                let mut parts = line.split(':');
                Some((parts.next()?.to_owned(), parts.nth(1)?.parse().ok()?))
            };
            text.lines().filter_map(line).collect()
        };
        Names { users: ids(passwd), groups: ids(group) }
    }
}

/// The attribute, or why the text is none.
pub fn attribute(text: &str, names: &Names) -> Result<Vec<u8>, String> {
    let words = text.split([',', '\n']).map(|word| word.split('#').next().unwrap_or("").trim());
    let mut entries = words
        .filter(|word| !word.is_empty())
        .map(|word| entry(word, names))
        .collect::<Result<Vec<_>, _>>()?;
    // The kernel wants them in this order: by tag, then by id.
    entries.sort();
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, id, rights) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    Ok(bytes)
}

/// Tag, id and rights of one word: `user:NAME:rwx:ID`, where NAME may be the number.
fn entry(word: &str, names: &Names) -> Result<(u16, u32, u16), String> {
    let wrong = || format!("{word:?} is no entry of an ACL");
    let mut parts = word.split(':');
    let (kind, name) = (parts.next().ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
    let (rights, number) = (parts.next().ok_or_else(wrong)?, parts.next());
    let tag = match (kind, name.is_empty()) {
        ("user" | "u", true) => 0x01,
        ("user" | "u", false) => 0x02,
        ("group" | "g", true) => 0x04,
        ("group" | "g", false) => 0x08,
        ("mask" | "m", true) => 0x10,
        ("other" | "o", true) => 0x20,
        _ => return Err(wrong()),
    };
    let id = match (name.is_empty(), number) {
        (true, _) => NO_ID,
        (false, Some(number)) => number.parse().map_err(|_| wrong())?,
        (false, None) => {
            let known = if tag == 0x02 { &names.users } else { &names.groups };
            let id = name.parse().ok().or_else(|| known.get(name).copied());
            id.ok_or_else(|| format!("{word:?} names nobody in the image's passwd and group"))?
        }
    };
    let mut bits = 0;
    for letter in rights.chars() {
        bits |= match letter {
            'r' => 4,
            'w' => 2,
            'x' => 1,
            '-' => 0,
            _ => return Err(wrong()),
        };
    }
    Ok((tag, id, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_what_linux_keeps() {
        let text = "user::rw-,user:lp:r--:7,group::r--,mask::r--,other::---";
        let bytes = attribute(text, &Names::default()).unwrap();
        let entries: [(u16, u16, u32); 5] =
            [(1, 6, NO_ID), (2, 4, 7), (4, 4, NO_ID), (0x10, 4, NO_ID), (0x20, 0, NO_ID)];
        let mut expected = vec![2, 0, 0, 0];
        for (tag, rights, id) in entries {
            expected.extend(tag.to_le_bytes());
            expected.extend(rights.to_le_bytes());
            expected.extend(id.to_le_bytes());
        }
        assert_eq!(bytes, expected);
        let names = Names::of("root:x:0:0::/:/bin/sh\nlp:x:7:7::/:\n", "");
        for text in [
            "other::---\nuser:7:r--\nuser::rw-\ngroup::r--\nmask::r--",
            "user::rw-,user:lp:r--,group::r--,mask::r--,other::---",
        ] {
            assert_eq!(attribute(text, &names).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn what_is_no_acl_is_refused() {
        for text in
            ["user", "user::", "x::rwx", "user::rwq", "user:lp:r--", "mask:7:r--", "user:lp:r:x"]
        {
            let refused = attribute(text, &Names::default());
            // An entry without rights is one with none.
            assert!(refused.is_err() || text == "user::", "{text}");
        }
    }
}
