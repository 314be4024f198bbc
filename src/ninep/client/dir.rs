//! What a directory of 9P2000.u holds, as it is read: names, and which are directories.
//!
//! Refuses to know all else that a stat record says (stat(5)).

use super::event::Broken;
use crate::wire::record::read_listed;
use alloc::string::ToString;
use alloc::vec::Vec;

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// A name as it can be walked to: no `/` and no NUL, and neither `.` nor `..`.
    pub name: &'a [u8],
    /// What is below it can be asked for.
    pub is_dir: bool,
}

/// The entries in what reads of a directory gave, from its beginning on.
///
/// # Errors
/// [`Broken`] where it is no whole number of records, or one has no such name.
pub fn listed(mut bytes: &[u8]) -> Result<Vec<Listed<'_>>, Broken> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (name, is_dir, rest) =
            read_listed(bytes).map_err(|error| Broken::new(error.to_string()))?;
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(Broken::new("a directory holds what is no name"));
        }
        all.push(Listed { name, is_dir });
        bytes = rest;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Attr, Dialect, QTDIR, Qid};
    use crate::wire::record::put_stat_record;
    use alloc::vec;

    fn record(name: &[u8], mode: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let file_type = if mode & 0o040_000 != 0 { QTDIR } else { 0 };
        let qid = Qid { file_type, version: 1, path: 2 };
        let attr = Attr { qid, name: name.to_vec(), mode, ..Attr::default() };
        put_stat_record(&mut out, Dialect::Unix, &attr);
        out
    }

    #[test]
    fn what_a_server_lists_is_read() {
        let bytes = [record(b"a b", 0o100_644), record(b"\xff", 0o040_755)].concat();
        let a = Listed { name: b"a b", is_dir: false };
        assert_eq!(listed(&bytes).unwrap(), vec![a, Listed { name: b"\xff", is_dir: true }]);
        assert_eq!(listed(b"").unwrap(), []);
    }

    #[test]
    fn what_is_cut_or_no_name_is_none() {
        let whole = record(b"name", 0o100_644);
        for len in 1..whole.len() {
            assert!(listed(&whole[..len]).is_err(), "{len}");
        }
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
            assert!(listed(&record(name, 0o100_644)).is_err(), "{name:?}");
        }
        // A record that says that it is longer or shorter than its fields.
        for change in [1u8, 255] {
            let mut wrong = whole.clone();
            wrong[0] = wrong[0].wrapping_add(change);
            assert!(listed(&wrong).is_err());
        }
    }
}
