//! The files and directories that are held open: the last ones used, and a
//! bounded number of them.
//!
//! Knows open descriptors by whatever names them. Refuses to know how one is
//! opened, and whether it still is what it was: that is its user's.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Most files held open at a time; with the directories, and one file for each
/// reply on its way, far from the 1024 descriptors that a process usually may
/// have, which the peers need.
pub const OPEN_FILES_MAX: usize = 64;
/// Most directories held open at a time, the root not counted.
pub const OPEN_DIRS_MAX: usize = 32;

/// The last files that were used.
pub type OpenFiles<K> = LastUsed<K, File, OPEN_FILES_MAX>;
/// The last directories that were used.
pub type OpenDirs<K> = LastUsed<K, OwnedFd, OPEN_DIRS_MAX>;

/// The last `MAX` things that were used, by key. They are few, and looked
/// through one by one.
pub struct LastUsed<K, T, const MAX: usize> {
    /// The most recently used ones last.
    list: Vec<(K, Rc<T>)>,
}

impl<K, T, const MAX: usize> Default for LastUsed<K, T, MAX> {
    fn default() -> Self {
        LastUsed { list: Vec::with_capacity(MAX) }
    }
}

impl<K: PartialEq, T, const MAX: usize> LastUsed<K, T, MAX> {
    pub fn get(&mut self, key: &K) -> Option<Rc<T>> {
        let place = self.list.iter().rposition(|(k, _)| k == key)?;
        let used = self.list.remove(place);
        let found = used.1.clone();
        self.list.push(used);
        Some(found)
    }

    /// Keeps one, in place of what had its key; the one that was not used for
    /// longest makes way.
    pub fn put(&mut self, key: K, value: Rc<T>) {
        self.forget(&key);
        if self.list.len() == MAX {
            self.list.remove(0);
        }
        self.list.push((key, value));
    }

    pub fn forget(&mut self, key: &K) {
        self.list.retain(|(k, _)| k != key);
    }

    /// Keeps those of these keys alone.
    pub fn retain(&mut self, is_wanted: impl Fn(&K) -> bool) {
        self.list.retain(|(key, _)| is_wanted(key));
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Three = LastUsed<u32, u32, 3>;

    fn keys(kept: &Three) -> Vec<u32> {
        kept.list.iter().rev().map(|(key, _)| *key).collect()
    }

    #[test]
    fn the_one_not_used_for_longest_makes_way() {
        let mut kept = Three::default();
        (1..=3).for_each(|key| kept.put(key, Rc::new(key * 10)));
        assert_eq!(kept.get(&1).as_deref(), Some(&10));
        kept.put(4, Rc::new(40));
        assert_eq!(keys(&kept), [4, 1, 3]);
        assert_eq!(kept.get(&2), None);
    }

    #[test]
    fn one_key_has_one_value_until_it_is_forgotten() {
        let mut kept = Three::default();
        let first = Rc::new(1);
        kept.put(7, first.clone());
        kept.put(7, Rc::new(2));
        assert_eq!((kept.len(), Rc::strong_count(&first)), (1, 1), "the old one is let go");
        assert_eq!(kept.get(&7).as_deref(), Some(&2));
        kept.forget(&7);
        assert_eq!((kept.len(), kept.get(&7)), (0, None));
    }
}
