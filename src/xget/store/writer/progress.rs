//! How far each entry is, by counters: what was made, how many pieces of a file
//! are still to come, what failed.
//!
//! Which pieces these are is known elsewhere: to the check while it looks, and
//! to the holdings of the generation afterwards.

use super::super::error::DestError;
use super::target::Target;

/// What has been done for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Nothing yet.
    Pending,
    /// A directory, or a file's temporary one, made in this run.
    Made,
    /// A directory, or a file's temporary one, that was there.
    Found,
    /// Under its final name.
    Whole,
    /// Whatever is there, it is left as it is; contents are kept aside.
    Kept,
    Failed,
}

/// What failed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFailure {
    pub entry: u32,
    pub error: DestError,
}

pub struct Progress {
    states: Vec<EntryState>,
    /// For each file, how many of its pieces are not here.
    left: Vec<u32>,
    /// In order of time.
    failures: Vec<EntryFailure>,
    /// Files with the right contents whose attributes are set when all is here.
    late: Vec<u32>,
    /// Those in whose place a directory is that makes way.
    yielded: Vec<u32>,
}

impl Progress {
    /// Nothing is here but the root, which was made just now or found.
    pub fn new(target: &Target, root: EntryState) -> Progress {
        let count = target.manifest.entries.len();
        let mut states = vec![EntryState::Pending; count];
        states[0] = root;
        let left = (0..count as u32).map(|entry| target.pieces(entry).len() as u32).collect();
        Progress { states, left, failures: Vec::new(), late: Vec::new(), yielded: Vec::new() }
    }

    pub fn state(&self, entry: u32) -> EntryState {
        self.states[entry as usize]
    }

    pub fn set(&mut self, entry: u32, state: EntryState) {
        self.states[entry as usize] = state;
    }

    /// It is there, but not what it is to be.
    pub fn is_in_part(&self, entry: u32) -> bool {
        matches!(self.state(entry), EntryState::Made | EntryState::Found)
    }

    pub fn is_whole(&self, entry: u32) -> bool {
        self.state(entry) == EntryState::Whole
    }

    pub fn has_failed(&self, entry: u32) -> bool {
        self.state(entry) == EntryState::Failed
    }

    /// Nothing of a file is missing. So it is with what has no pieces.
    pub fn has_all(&self, entry: u32) -> bool {
        self.left[entry as usize] == 0
    }

    /// How many pieces of a file are not here.
    pub fn left(&self, entry: u32) -> u32 {
        self.left[entry as usize]
    }

    /// One piece more of a file is here. Each is counted once: whoever says
    /// so knows that it was missing.
    pub fn count_piece(&mut self, entry: u32) {
        self.left[entry as usize] -= 1;
    }

    pub fn count_all(&mut self, entry: u32) {
        self.left[entry as usize] = 0;
    }

    /// Gives an entry up: of its `pieces`, none counts as here any more.
    pub fn fail(&mut self, entry: u32, pieces: u32, error: DestError) {
        self.left[entry as usize] = pieces;
        self.states[entry as usize] = EntryState::Failed;
        self.failures.push(EntryFailure { entry, error });
    }

    /// Notes that something failed that is no entry's.
    pub fn fail_other(&mut self, error: DestError) {
        self.failures.push(EntryFailure { entry: 0, error });
    }

    pub fn set_late(&mut self, entry: u32) {
        self.late.push(entry);
    }

    /// Entries are noted in rising order.
    pub fn is_late(&self, entry: u32) -> bool {
        self.late.binary_search(&entry).is_ok()
    }

    pub fn set_yielded(&mut self, entry: u32) {
        self.yielded.push(entry);
    }

    /// In rising order, as they were noted.
    pub fn yielded(&self) -> &[u32] {
        &self.yielded
    }

    pub fn failures(&self) -> &[EntryFailure] {
        &self.failures
    }

    /// Why one of these entries failed: the latest of their failures. The
    /// entries are in rising order.
    pub fn latest_failure(&self, entries: &[u32]) -> Option<&DestError> {
        let of_these = |failure: &&EntryFailure| entries.binary_search(&failure.entry).is_ok();
        self.failures.iter().rev().find(of_these).map(|failure| &failure.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer::content::manifest::EntryKind;
    use peer::testing::{entry, file};
    use std::path::Path;

    /// A root, an empty file, two small ones, a directory.
    fn target() -> Target {
        let entries = [
            file(0, "a", b""),
            file(0, "b", b"bee"),
            file(0, "c", b"sea"),
            entry(0, "d", EntryKind::Dir),
        ];
        Target::of_entries(Path::new("/dest"), entries, Vec::new())
    }

    #[test]
    fn a_file_has_all_when_its_last_piece_is_counted() {
        let mut progress = Progress::new(&target(), EntryState::Found);
        assert_eq!(progress.state(0), EntryState::Found);
        let has_all: Vec<bool> = (0..5).map(|entry| progress.has_all(entry)).collect();
        assert_eq!(has_all, [true, true, false, false, true], "the rest has no pieces");
        progress.set(2, EntryState::Made);
        assert!(progress.is_in_part(2) && !progress.is_whole(2));
        progress.count_piece(2);
        assert!(progress.has_all(2) && progress.left(3) == 1);
    }

    #[test]
    fn what_failed_has_nothing_and_the_latest_cause_is_found() {
        let target = target();
        let mut progress = Progress::new(&target, EntryState::Made);
        progress.count_all(2);
        let error = |entry| DestError::DirInTheWay(target.path(entry));
        progress.fail(2, 1, error(2));
        progress.fail(3, 1, error(3));
        assert!(progress.has_failed(2) && progress.left(2) == 1);
        let failed: Vec<u32> = progress.failures().iter().map(|failure| failure.entry).collect();
        assert_eq!(failed, [2, 3], "in order of time");
        assert_eq!(progress.latest_failure(&[2, 3]), Some(&error(3)));
        assert_eq!(progress.latest_failure(&[1, 2]), Some(&error(2)));
        assert_eq!(progress.latest_failure(&[1]), None);
    }
}
