//! A source of which one file is wanted, by a destination that has room for no more.
//!
//! Says what a source is instead, and what to name. Refuses to know where it goes.

use super::error::DestError;
use peer::content::manifest::{EntryKind, Manifest};
use peer::control::printable;
use peer::failure::Status;

/// The entry of the source's one file, for `dest`.
///
/// # Errors
/// There is not exactly one, with nothing beside it but directories.
pub fn one_file(manifest: &Manifest, dest: &str) -> Result<u32, DestError> {
    let is_other = |at: &u32| manifest.entries[*at as usize].kind != EntryKind::Dir;
    let found: Vec<u32> = (0..manifest.entries.len() as u32).filter(is_other).collect();
    let text = match found[..] {
        [at] => {
            let name = printable(manifest.path(at));
            match manifest.entries[at as usize].kind {
                EntryKind::File => return Ok(at),
                EntryKind::Symlink => {
                    format!("{dest} takes a file, and {name} is a symlink: name what it leads to")
                }
                _ => format!("{dest} takes a file, and {name} is none"),
            }
        }
        _ => {
            let count = found.len();
            format!("{dest} takes one file, and the source has {count} entries: name the file")
        }
    };
    Err(DestError::Other { status: Status::Source, text })
}
