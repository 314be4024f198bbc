//! What is in a directory, by its path, for who wants no more than names.
//!
//! Refuses to know why one cannot be read: then there are none.

use std::path::Path;

/// Those that are text, as many as `most`.
pub fn of(dir: &Path, most: usize) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).take(most).collect()
}
