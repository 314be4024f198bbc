//! Extended attributes of entries (xattr(7)), by sets: many entries have the same ones.
//!
//! Knows what a set may be and that there are no two alike. Refuses to know what an
//! attribute means, and which of them a node keeps.
//!
//! A set is kept as it is written, so that it is compared and copied as bytes: of each
//! attribute, in the order of names, name_len\[1] name value_len\[4] value.

use super::limits::{XATTR_NAME_LEN_MAX, XATTR_VALUE_LEN_MAX, XATTRS_LEN_MAX};
use crate::content::bytes::ByteReader;
use alloc::vec;
use alloc::vec::Vec;
use sorted::SortedMap;

/// The extended attributes of one entry or of many, at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct XattrSet(Vec<u8>);

impl XattrSet {
    /// Adds an attribute behind those that are there. False, and nothing is added, where
    /// its name does not follow theirs or a limit is passed.
    #[must_use]
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> bool {
        let in_order = self.iter().last().is_none_or(|(last, _)| last < name);
        let is_name = (1..=XATTR_NAME_LEN_MAX).contains(&name.len()) && !name.contains(&0);
        let len = self.0.len() + 1 + name.len() + 4 + value.len();
        let fits = value.len() <= XATTR_VALUE_LEN_MAX && len <= XATTRS_LEN_MAX;
        let is_sound = in_order && is_name && fits;
        if is_sound {
            self.0.push(name.len() as u8);
            self.0.extend_from_slice(name);
            self.0.extend_from_slice(&(value.len() as u32).to_le_bytes());
            self.0.extend_from_slice(value);
        }
        is_sound
    }

    /// Names and values, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = ByteReader::new(&self.0);
        core::iter::from_fn(move || next(&mut rest))
    }

    /// Whether there is no attribute.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that it is written as.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads what [`XattrSet::bytes`] gives; `None` of anything else.
    pub(super) fn read(bytes: &[u8]) -> Option<XattrSet> {
        let (mut set, mut rest) = (XattrSet::default(), ByteReader::new(bytes));
        let mut last: &[u8] = b"";
        while !rest.is_empty() {
            let (name, value) = next(&mut rest)?;
            // An empty name is before all others, and none may be before an empty one.
            let is_sound = last < name && !name.contains(&0);
            if !is_sound || value.len() > XATTR_VALUE_LEN_MAX {
                return None;
            }
            last = name;
        }
        set.0.extend_from_slice(bytes);
        (!bytes.is_empty() && bytes.len() <= XATTRS_LEN_MAX).then_some(set)
    }
}

/// The next attribute of what is left of a set.
fn next<'a>(rest: &mut ByteReader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let name_len = rest.u8().ok()?;
    let name = rest.take(name_len.into()).ok()?;
    let value_len = rest.u32().ok()?;
    Some((name, rest.take(value_len as usize).ok()?))
}

/// Sets while they are collected: which there are, each once.
#[derive(Debug, Default)]
pub struct XattrTable {
    numbers: SortedMap<XattrSet, u32>,
}

impl XattrTable {
    /// The number of a set: from 1 on, in the order in which they came. 0 of an empty one.
    pub fn number(&mut self, set: XattrSet) -> u32 {
        if set.is_empty() {
            return 0;
        }
        let next = self.numbers.len() as u32 + 1;
        *self.numbers.get_or_insert_with(set, || next)
    }

    /// The sets, number 1 first.
    pub fn sets(&self) -> Vec<XattrSet> {
        let mut sets = vec![XattrSet::default(); self.numbers.len()];
        for (set, number) in self.numbers.iter() {
            sets[*number as usize - 1] = set.clone();
        }
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(attributes: &[(&[u8], &[u8])]) -> XattrSet {
        let mut set = XattrSet::default();
        assert!(attributes.iter().all(|(name, value)| set.push(name, value)));
        set
    }

    #[test]
    fn a_set_is_its_attributes_in_the_order_of_their_names() {
        let set = set(&[(b"security.selinux", b"label\0"), (b"user.a", b""), (b"user.b", b"b")]);
        let names: Vec<&[u8]> = set.iter().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"security.selinux"[..], b"user.a", b"user.b"]);
        assert_eq!(set.iter().last(), Some((&b"user.b"[..], &b"b"[..])));
        assert_eq!(XattrSet::read(set.bytes()), Some(set));
        assert_eq!(XattrSet::read(b""), None);
    }

    #[test]
    fn what_is_out_of_order_or_beyond_a_limit_is_not_taken() {
        let mut full = set(&[(b"user.b", b"b")]);
        let was = full.clone();
        for name in [&b"user.b"[..], b"user.a", b"", b"user.z\0", &[b'z'; 256]] {
            assert!(!full.push(name, b""), "{name:?}");
        }
        assert!(!full.push(b"user.c", &[0; XATTR_VALUE_LEN_MAX + 1]));
        assert_eq!(full, was);
        assert!(full.push(b"user.c", &[0; XATTR_VALUE_LEN_MAX]), "64 KiB are no more than enough");
        assert!(full.push(&[b'z'; XATTR_NAME_LEN_MAX], b"the longest name"));
        let left = XATTRS_LEN_MAX - full.bytes().len() - 1 - 255 - 4;
        let name = [&[b'z'; 254][..], b"{"].concat();
        assert!(!full.push(&name, &vec![0; left + 1]));
        assert!(full.push(&name, &vec![0; left]), "the largest set");
        assert_eq!(XattrSet::read(full.bytes()), Some(full));
    }

    #[test]
    fn bytes_of_another_order_or_with_half_an_attribute_are_no_set() {
        let a: &[u8] = b"\x06user.a\x01\0\0\0x";
        let b: &[u8] = b"\x06user.b\0\0\0\0";
        assert!(XattrSet::read(&[a, b].concat()).is_some());
        for wrong in [
            &[b, a].concat()[..],
            &[a, a].concat(),
            &a[..a.len() - 1],
            b"\0\0\0\0\0",
            b"\x02u\0\0\0\0\0",
            b"\x01u\x01\0\x01\0",
        ] {
            assert_eq!(XattrSet::read(wrong), None, "{wrong:?}");
        }
        let long = [&b"\x01u\x01\0\x01\0"[..], &[0; 65_537]].concat();
        assert_eq!(XattrSet::read(&long), None, "a value of more than 64 KiB");
    }

    #[test]
    fn sets_are_numbered_as_they_come_each_once() {
        let (a, b) = (set(&[(b"user.a", b"")]), set(&[(b"user.b", b"")]));
        let mut table = XattrTable::default();
        let numbers = [&b, &a, &XattrSet::default(), &b].map(|set| table.number(set.clone()));
        assert_eq!(numbers, [1, 2, 0, 1]);
        assert_eq!(table.sets(), [b, a]);
    }
}
