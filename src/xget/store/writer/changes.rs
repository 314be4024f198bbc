//! What a fetch changes in its destination, as lines for people and programs:
//! a word, the size in bytes, the path.

use peer::control::printable;
use std::cell::RefCell;
use std::fmt::Write;

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    New,
    /// Something else was there.
    Changed,
    /// Owner, mode or time alone.
    Attributes,
    Deleted,
}

/// The lines so far, where somebody wants them.
pub struct Changes {
    lines: Option<RefCell<String>>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

impl Changes {
    pub fn new(are_wanted: bool) -> Changes {
        Changes { lines: are_wanted.then(RefCell::default), notes: Vec::new() }
    }

    pub fn are_wanted(&self) -> bool {
        self.lines.is_some()
    }

    /// Notes a change of what is at this path below the destination.
    pub fn note(&self, change: Change, size: u64, mut path: Vec<u8>, is_dir: bool) {
        let Some(lines) = &self.lines else { return };
        let word = match change {
            Change::New => "new",
            Change::Changed => "changed",
            Change::Attributes => "attributes",
            Change::Deleted => "deleted",
        };
        if path.is_empty() {
            path.push(b'.');
        }
        if is_dir {
            path.push(b'/');
        }
        // Into a string that cannot fail.
        let _ = writeln!(lines.borrow_mut(), "{word} {size} {}", printable(path));
    }

    pub fn take(&self) -> String {
        self.lines.as_ref().map(RefCell::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_word_a_size_and_a_path() {
        let changes = Changes::new(true);
        changes.note(Change::New, 12, b"a b".into(), false);
        changes.note(Change::Deleted, 0, b"d".into(), true);
        changes.note(Change::Attributes, 0, b"".into(), true);
        let lines = "new 12 a b\ndeleted 0 d/\nattributes 0 ./\n";
        assert_eq!((changes.take().as_str(), changes.take().as_str()), (lines, ""));
        let unwanted = Changes::new(false);
        unwanted.note(Change::Changed, 1, b"x".into(), false);
        assert_eq!(unwanted.take(), "");
    }
}
