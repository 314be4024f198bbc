//! A manifest that arrived: whether it is what was announced and what was wanted.
//!
//! Knows limits, pins and what cannot be fetched. Refuses to know how its pieces
//! came; they are verified already.

use crate::content::digest::Digest;
use crate::content::manifest::{EntryKind, Manifest, NO_MEMORY, PIECE_LEN_MAX, PIECE_LEN_MIN};
use crate::control::printable;
use crate::failure::{Failure, Status};
use crate::namespace::{Content, Generation};
use crate::request::Pin;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Largest manifest that is fetched, in bytes: 16 million entries and their lists.
pub const MANIFEST_LEN_MAX: u64 = 4 << 30;
/// What a manifest takes in memory, as a multiple of its length: its bytes, its
/// entries, and what is known of each piece.
pub const MEMORY_FACTOR: u64 = 3;
/// Most stripes.
const STRIPES_MAX: u8 = 16;

/// Whether an announced generation is within all limits.
pub(super) fn is_sound(manifest_len: u64, piece_len: u32, stripes: u8) -> bool {
    (1..=MANIFEST_LEN_MAX).contains(&manifest_len)
        && piece_len.is_power_of_two()
        && (PIECE_LEN_MIN..=PIECE_LEN_MAX).contains(&piece_len)
        && (1..=STRIPES_MAX).contains(&stripes)
}

/// Whether a manifest of this length fits into so many bytes of memory.
pub(super) fn check_memory(manifest_len: u64, memory_bytes: u64) -> Result<(), Failure> {
    let needed_bytes = manifest_len.saturating_mul(MEMORY_FACTOR);
    if needed_bytes <= memory_bytes {
        return Ok(());
    }
    let free = format!("{} MiB are free", memory_bytes >> 20);
    Err(too_large(manifest_len, &free))
}

/// An allocation failed, though there was said to be memory enough.
pub(super) fn no_memory(generation: Option<&Generation>) -> Failure {
    let manifest_len = generation.map_or(0, |known| known.manifest_pieces.manifest_len);
    too_large(manifest_len, "it could not be had")
}

fn too_large(manifest_len: u64, why: &str) -> Failure {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let (len, needed) = (mib(manifest_len), mib(manifest_len.saturating_mul(MEMORY_FACTOR)));
    let why = format!(
        "one of {len} MiB takes {needed} MiB of memory, and {why}; fetch less of the tree at a time"
    );
    Failure::fatal(Status::LocalIo, "the manifest", why)
}

/// Reads the manifest of a generation, whose pieces are so long.
pub(super) fn decode(bytes: &[u8], piece_len: u32) -> Result<Manifest, Failure> {
    let wrong = |why: String| Failure::fatal(Status::Verification, "the manifest", why);
    match Manifest::decode(bytes) {
        Ok(manifest) if manifest.piece_len == piece_len => Ok(manifest),
        Ok(_) => Err(wrong("its pieces have not the length that was announced".into())),
        Err(NO_MEMORY) => Err(too_large(bytes.len() as u64, "it could not be had")),
        Err(bad) => Err(wrong(format!("the master published a malformed one: {}", bad.0))),
    }
}

/// Whether it is what `--digest` says.
pub(super) fn check_pin(
    pin: Option<Pin>,
    generation: Digest,
    manifest: &Manifest,
) -> Result<(), Failure> {
    let wrong = |why: String| Err(Failure::fatal(Status::Verification, "--digest", why));
    let only_file = match &manifest.entries[1..] {
        [only] if only.kind == EntryKind::File => Some(only.digest),
        _ => None,
    };
    match pin {
        None => Ok(()),
        Some(Pin::Blake3(pin)) if pin == generation || Some(pin) == only_file => Ok(()),
        Some(Pin::Blake3(pin)) => wrong(format!(
            "the master serves blake3:{generation}, not blake3:{pin}; nothing was written"
        )),
        Some(Pin::Sha256(_)) if only_file.is_some() => Ok(()),
        Some(Pin::Sha256(_)) => wrong("sha256: pins a single file; use blake3: for a tree".into()),
    }
}

/// What was asked for and cannot come.
#[derive(Debug, Default)]
pub(super) struct Unavailable {
    /// A line for each, for the operator.
    pub warnings: Vec<String>,
    pub failures: Vec<Failure>,
}

/// What the master could not read is a failure; fifos, sockets and devices are
/// not where they are not made, unless they were asked for by name.
pub(super) fn unavailable(manifest: &Manifest, makes_specials: bool) -> Unavailable {
    let (mut found, mut unread) = (Unavailable::default(), 0u64);
    for (number, entry) in manifest.entries.iter().enumerate() {
        let why = match entry.kind {
            _ if makes_specials && entry.is_special() => continue,
            EntryKind::Special | EntryKind::Device(_) => {
                "left out: neither file, directory nor symlink"
            }
            EntryKind::Unreadable => "the master cannot read it",
            _ => continue,
        };
        let path = printable(manifest.path(number as u32));
        let was_named = entry.parent == 0 && !manifest.root_described;
        unread += u64::from(entry.kind == EntryKind::Unreadable);
        if entry.kind != EntryKind::Unreadable && was_named {
            found.failures.push(Failure::single(Status::Source, path, why));
        } else {
            found.warnings.push(format!("{path}: {why}"));
        }
    }
    if unread > 0 {
        let why = format!("{unread} of what was asked for cannot be read by the master");
        found.failures.push(Failure::single(Status::Source, "", why));
    }
    found
}

/// Words for a piece's first file, for messages.
pub(super) fn piece_name(content: Option<&Content>, piece: u32) -> String {
    let extent = content.and_then(|c| c.map.extents(&c.manifest, piece).next());
    match (content, extent) {
        (Some(content), Some(extent)) => printable(content.manifest.path(extent.entry)),
        _ => "the manifest".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::manifest::Entry;
    use crate::testing::{entry, file, small};

    #[test]
    fn generations_out_of_all_bounds_are_not_believed() {
        assert!(is_sound(1, PIECE_LEN_MIN, 1) && is_sound(4 << 30, PIECE_LEN_MAX, 16));
        for (manifest_len, piece_len, stripes) in [
            (0, PIECE_LEN_MIN, 4),
            ((4 << 30) + 1, PIECE_LEN_MIN, 4),
            (100, PIECE_LEN_MIN / 2, 4),
            (100, PIECE_LEN_MAX * 2, 4),
            (100, PIECE_LEN_MIN + 1, 4),
            (100, PIECE_LEN_MIN, 0),
            (100, PIECE_LEN_MIN, 17),
        ] {
            assert!(!is_sound(manifest_len, piece_len, stripes), "{manifest_len} {piece_len}");
        }
    }

    #[test]
    fn a_manifest_that_does_not_fit_into_memory_is_refused_with_figures() {
        let mib = 1 << 20;
        assert_eq!(check_memory(10 * mib, MEMORY_FACTOR * 10 * mib), Ok(()));
        let failure = check_memory(10 * mib + 1, 31 * mib).err();
        assert_eq!(failure, None);
        let failure = check_memory(4096 * mib, 512 * mib).unwrap_err();
        assert_eq!((failure.status, failure.fatal), (Status::LocalIo, true));
        let text = failure.text();
        assert!(text.contains("4096 MiB takes 12288 MiB") && text.contains("512 MiB"), "{text}");
    }

    #[test]
    fn a_manifest_is_what_was_announced_or_a_failure() {
        let bytes = small().encode();
        assert_eq!(decode(&bytes, 4096), Ok(small()));
        assert_eq!(decode(&bytes, 8192).unwrap_err().status, Status::Verification);
        assert_eq!(decode(&bytes[1..], 4096).unwrap_err().status, Status::Verification);
    }

    #[test]
    fn a_pin_holds_the_tree_or_the_only_file() {
        let tree = Digest::of(b"tree");
        let mut one = small();
        one.entries.truncate(1);
        one.entries.push(file(0, "b", b"bee"));
        let pinned = |pin, manifest: &Manifest| check_pin(Some(pin), tree, manifest).is_ok();
        assert!(check_pin(None, tree, &small()).is_ok());
        assert!(pinned(Pin::Blake3(tree), &small()) && pinned(Pin::Blake3(tree), &one));
        assert!(pinned(Pin::Blake3(Digest::of(b"bee")), &one));
        assert!(!pinned(Pin::Blake3(Digest::of(b"bee")), &small()), "one file of several");
        assert!(pinned(Pin::Sha256([0; 32]), &one), "checked where it is stored");
        assert!(!pinned(Pin::Sha256([0; 32]), &small()));
    }

    #[test]
    fn what_cannot_come_is_said_and_fails_where_it_was_wanted() {
        let mut manifest = small();
        manifest.entries.push(Entry { ..entry(1, "zz", EntryKind::Special) });
        manifest.entries.push(Entry { ..entry(1, "zzz", EntryKind::Unreadable) });
        let found = unavailable(&manifest, false);
        assert_eq!(found.warnings.len(), 2);
        assert_eq!(found.failures.len(), 1, "one line for all that cannot be read");
        let mut named = small();
        named.root_described = false;
        named.entries.truncate(1);
        named.entries.push(entry(0, "fifo", EntryKind::Special));
        let found = unavailable(&named, false);
        assert!(found.warnings.is_empty() && found.failures[0].what == "fifo");
    }
}
