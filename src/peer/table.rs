//! A table in order of its keys: a sorted vector.
//!
//! For keys that grow, as the numbers of connections and generations do, or
//! for few entries: an entry in the middle costs moving those above it. The
//! standard library's `BTreeMap` has no such cost, but 5 KB of program for
//! each pair of types. Walking it is the same each time, as a simulation
//! needs it; a `HashMap` is not. Where a peer chooses the keys, use that one.

use alloc::vec::Vec;

#[derive(Clone, Debug)]
pub struct Table<K, V> {
    rows: Vec<(K, V)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        Table { rows: Vec::new() }
    }
}

impl<K: Ord + Copy, V> Table<K, V> {
    pub fn new() -> Table<K, V> {
        Table::default()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where the key is, or where it would be.
    fn find(&self, key: K) -> Result<usize, usize> {
        self.rows.binary_search_by(|(k, _)| k.cmp(&key))
    }

    pub fn contains_key(&self, key: &K) -> bool {
        self.find(*key).is_ok()
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(*key).ok().map(|at| &self.rows[at].1)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(*key).ok().map(|at| &mut self.rows[at].1)
    }

    /// Puts the value in the place of one that was there.
    pub fn insert(&mut self, key: K, value: V) {
        match self.find(key) {
            Ok(at) => self.rows[at].1 = value,
            Err(at) => self.rows.insert(at, (key, value)),
        }
    }

    pub fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let at = self.find(key).unwrap_or_else(|at| {
            self.rows.insert(at, (key, value()));
            at
        });
        &mut self.rows[at].1
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.find(*key).ok().map(|at| self.rows.remove(at).1)
    }

    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (!self.rows.is_empty()).then(|| self.rows.remove(0))
    }

    /// The first row of this key or a greater one.
    pub fn at_or_after(&self, key: K) -> Option<(K, &V)> {
        let at = self.find(key).unwrap_or_else(|at| at);
        self.rows.get(at).map(|(k, v)| (*k, v))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        self.rows.iter().map(|(k, v)| (*k, v))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.rows.iter_mut().map(|(k, v)| (*k, v))
    }

    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.rows.iter().map(|(k, _)| *k)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.rows.iter().map(|(_, v)| v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_of_their_keys() {
        let mut table = Table::new();
        for key in [5, 1, 9, 5] {
            table.insert(key, key * 10);
        }
        table.insert(9, 7);
        assert_eq!(table.iter().collect::<Vec<_>>(), [(1, &10), (5, &50), (9, &7)]);
        assert_eq!((table.get(&5), table.get(&6)), (Some(&50), None));
        assert_eq!(table.at_or_after(6), Some((9, &7)));
        assert_eq!(table.at_or_after(10), None);
        assert_eq!((table.remove(&5), table.remove(&5)), (Some(50), None));
        *table.get_or_insert_with(4, || 0) += 1;
        *table.get_or_insert_with(4, || 0) += 1;
        assert_eq!(table.pop_first(), Some((1, 10)));
        assert_eq!(table.pop_first(), Some((4, 2)));
        assert!(table.contains_key(&9) && table.len() == 1);
    }
}
