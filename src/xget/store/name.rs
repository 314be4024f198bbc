//! Names that are xget's own on disk, and how paths are shown.
//!
//! A file that is not whole yet has a temporary name in the directory of its
//! final one. The name follows from the contents it will have and the path it
//! will get, so a later run finds it again without any record of it.

use peer::content::digest::Digest;
use peer::content::manifest::Manifest;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const PREFIX: &[u8] = b".xget-";
const SUFFIX: &[u8] = b".part";
/// Hexadecimal digits between them.
const MARK_LEN: usize = 16;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// The name in the root that the name space keeps for itself, and on disk the directory of what
/// is not served ([`signatures`](super::signatures)).
pub const RESERVED: &[u8] = b".xget";

/// The temporary name of an entry.
pub fn temporary(manifest: &Manifest, entry: u32) -> Vec<u8> {
    let mut seed = manifest.entries[entry as usize].digest.0.to_vec();
    seed.extend_from_slice(&manifest.path(entry));
    temporary_of(&seed)
}

/// The temporary name that follows from these bytes.
pub fn temporary_of(seed: &[u8]) -> Vec<u8> {
    let mark = Digest::of(seed).0;
    let digit = |at: usize| HEX[usize::from(mark[at / 2] >> (4 * (1 - at % 2)) & 0xf)];
    let mut name = PREFIX.to_vec();
    name.extend((0..MARK_LEN).map(digit));
    name.extend_from_slice(SUFFIX);
    name
}

/// One more beside a temporary name.
pub fn beside(temporary: &[u8]) -> Vec<u8> {
    let mut name = temporary.to_vec();
    if let Some(digit) = name.get_mut(PREFIX.len()) {
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
    name
}

/// Whether a name has the form of a temporary one.
pub fn is_temporary(name: &[u8]) -> bool {
    let mark = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    mark.is_some_and(|mark| {
        mark.len() == MARK_LEN && mark.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Stands in a destination that an earlier run made and did not finish: its
/// mode and owner are still to be set. Of the form of temporary names, so that
/// it is never taken for something fetched.
pub const ROOT_MADE: &[u8] = b".xget-0000000000000000.part";

/// A path below a directory that the operator gave.
pub fn full_path(base: &Path, below: &[u8]) -> PathBuf {
    if below.is_empty() { base.into() } else { base.join(OsStr::from_bytes(below)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer::testing::small;

    #[test]
    fn temporary_names_have_their_form_and_differ_by_path_and_contents() {
        let manifest = small();
        let name = temporary(&manifest, 2);
        assert_eq!(name.len(), 27);
        assert!(is_temporary(&name));
        assert_ne!(name, temporary(&manifest, 5));
        let mut changed = small();
        changed.entries[2].digest.0[0] ^= 1;
        assert_ne!(name, temporary(&changed, 2));
        assert_eq!(name, temporary(&small(), 2), "the same in every run");
        assert!(is_temporary(&beside(&name)) && beside(&name) != name);
    }

    #[test]
    fn other_names_are_not_taken_for_temporary_ones() {
        for other in [&b".xget"[..], b".xget-.part", b".xget-0123456789abcde.part", b"x"] {
            assert!(!is_temporary(other), "{other:?}");
        }
        assert!(!is_temporary(b".xget-0123456789ABCDEF.part"));
        assert!(is_temporary(b".xget-0123456789abcdef.part"));
        assert!(is_temporary(ROOT_MADE));
    }
}
