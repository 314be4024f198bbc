//! A bounded memory: the last few distinct items, the oldest first.
//!
//! What peers say is remembered in these only, so that no peer can make the
//! master remember more than a constant. It knows nothing of what it holds.

use alloc::vec::Vec;

/// At most `MAX` items; one more, and the oldest is forgotten.
#[derive(Clone, Debug)]
pub(crate) struct Recent<T, const MAX: usize> {
    items: Vec<T>,
}

impl<T, const MAX: usize> Default for Recent<T, MAX> {
    fn default() -> Recent<T, MAX> {
        Recent { items: Vec::new() }
    }
}

impl<T, const MAX: usize> Recent<T, MAX> {
    /// Puts an item at the end, in place of the one that is the `same`.
    pub fn push(&mut self, item: T, same: impl Fn(&T) -> bool) {
        if let Some(at) = self.items.iter().position(same) {
            self.items.remove(at);
        } else if self.items.len() >= MAX {
            self.items.remove(0);
        }
        self.items.push(item);
    }

    /// Forgets the item that was put in last.
    pub fn pop(&mut self) {
        self.items.pop();
    }

    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.items.retain(keep);
    }

    pub fn clear(&mut self) {
        self.items.clear();
    }

    pub fn iter(&self) -> core::slice::Iter<'_, T> {
        self.items.iter()
    }

    pub fn iter_mut(&mut self) -> core::slice::IterMut<'_, T> {
        self.items.iter_mut()
    }

    pub fn remove(&mut self, at: usize) -> T {
        self.items.remove(at)
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.items.len() >= MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(items: &[u32]) -> Vec<u32> {
        let mut recent = Recent::<u32, 3>::default();
        for &item in items {
            recent.push(item, |&known| known == item);
        }
        recent.iter().copied().collect()
    }

    #[test]
    fn the_oldest_is_forgotten() {
        assert_eq!(pushed(&[1, 2, 3, 4, 5]), [3, 4, 5]);
    }

    #[test]
    fn what_is_said_again_is_the_newest_and_counts_once() {
        assert_eq!(pushed(&[1, 2, 1]), [2, 1]);
        assert_eq!(pushed(&[1, 2, 3, 2]), [1, 3, 2], "nothing is forgotten for it");
    }
}
