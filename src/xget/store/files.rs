//! The files that are held open, a bounded number of them.

use std::collections::VecDeque;
use std::fs::File;
use std::rc::Rc;

/// Most files held open at a time; with the directories, and one file for each
/// reply on its way, far from the 1024 descriptors that a process usually may
/// have, which the peers need.
pub const OPEN_MAX: usize = 64;

#[derive(Default)]
pub struct Files {
    /// The most recently used ones first.
    open: VecDeque<(u32, Rc<File>)>,
}

impl Files {
    pub fn get(&mut self, entry: u32) -> Option<Rc<File>> {
        let place = self.open.iter().position(|(number, _)| *number == entry)?;
        let used = self.open.remove(place)?;
        let file = used.1.clone();
        self.open.push_front(used);
        Some(file)
    }

    pub fn put(&mut self, entry: u32, file: Rc<File>) {
        self.forget(entry);
        self.open.truncate(OPEN_MAX - 1);
        self.open.push_front((entry, file));
    }

    pub fn forget(&mut self, entry: u32) {
        self.open.retain(|(number, _)| *number != entry);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.open.len()
    }
}
