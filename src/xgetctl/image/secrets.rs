//! Secrets in what is served: whoever reaches the master's port can read them.
//!
//! Private keys by their first line, passwords by their hashes in shadow files. It cannot
//! know every secret; it says what is found.

use super::finding::Finding;
use crate::failure::{Doing, Failure, Outcome};
use crate::interrupt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use walkdir::{DirEntry, WalkDir};

/// A private key is no longer, and says so within so many bytes.
const KEY_LEN_MAX: u64 = 64 << 10;
const HEAD_LEN: u64 = 4 << 10;
/// In a root: where people and daemons keep theirs. Packages' examples lie elsewhere.
const PLACES: [&str; 4] = ["etc", "root", "home", "var/lib"];
const SHADOWS: [&str; 4] = ["etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-"];

/// Looks below `top`: at the usual places if it is a root, else everywhere.
pub fn look(served: &Path, top: &Path, is_root: bool, found: &mut Vec<Finding>) -> Outcome {
    let shown = |path: &Path| path.strip_prefix(served).unwrap_or(path).to_owned();
    let whole = [""];
    let places: &[&str] = if is_root { &PLACES } else { &whole };
    for place in places.iter().map(|place| top.join(place)).filter(|place| place.is_dir()) {
        for entry in WalkDir::new(&place) {
            interrupt::check()?;
            let entry = entry.map_err(|error| Failure::source(format!("cannot look: {error}")))?;
            if is_private_key(&entry)? {
                let what = "is a private key, and whoever reaches the master can read it";
                found.push(Finding::warning(&shown(entry.path()), what));
            }
        }
    }
    for shadow in SHADOWS.iter().map(|name| top.join(name)).filter(|path| path.is_file()) {
        let mut text = String::new();
        let read = File::open(&shadow).and_then(|mut file| file.read_to_string(&mut text));
        read.doing("read", &shadow)?;
        let hashes = text.lines().filter(|line| has_hash(line)).count();
        if hashes > 0 {
            let what = format!(
                "has {hashes} hashes of passwords, and whoever reaches the master can read them"
            );
            found.push(Finding::warning(&shown(&shadow), what));
        }
    }
    Ok(())
}

fn is_private_key(entry: &DirEntry) -> Outcome<bool> {
    let status = match entry.metadata() {
        Ok(status) if status.is_file() && status.len() <= KEY_LEN_MAX => status,
        _ => return Ok(false),
    };
    if status.len() == 0 {
        return Ok(false);
    }
    let mut head = Vec::new();
    let opened = File::open(entry.path()).doing("open", entry.path())?;
    opened.take(HEAD_LEN).read_to_end(&mut head).doing("read", entry.path())?;
    let text = String::from_utf8_lossy(&head);
    Ok(text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.ends_with("PRIVATE KEY-----")))
}

/// `*`, `!` and nothing are no passwords.
fn has_hash(line: &str) -> bool {
    let field = line.split(':').nth(1).unwrap_or_default();
    field.trim_start_matches('!').len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_told_from_locks() {
        for line in ["root:*:19000", "root::19000", "root:!:1", "root:!!:1", "root:!*:1", "root"] {
            assert!(!has_hash(line), "{line}");
        }
        for line in ["root:$y$j9T$x:19000", "root:!$6$abc:1"] {
            assert!(has_hash(line), "{line}");
        }
    }
}
