//! Maps and sets in the order of their keys.
//!
//! What `BTreeMap` is, in a fifth of its code: a program holds a copy of the code
//! for each type of key and value, and every byte of it is in every node's
//! initramfs (docs/architecture.md, Size). Knows an order. Refuses to know what is
//! kept: entries are moved in memory, so large ones are to be boxed.
//!
//! Entries stand in chunks of at most 128, so that one that comes or
//! goes moves those of its chunk alone, and the list of chunks now and then. Keys
//! that only grow fill chunk after chunk.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod order;

pub use order::sort;

use alloc::vec;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::ops::RangeInclusive;

/// Most entries that one step moves: 128 of 32 bytes take a tenth of a microsecond.
const CHUNK_LEN_MAX: usize = 128;

/// A map in the order of its keys.
#[derive(Clone, Debug)]
pub struct SortedMap<K, V> {
    /// None is empty, but for the first of an empty map, whose memory is kept.
    chunks: Vec<Vec<(K, V)>>,
    len: usize,
}

/// A set in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortedSet<K>(SortedMap<K, ()>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> SortedMap<K, V> {
        SortedMap::new()
    }
}

/// Where chunks begin does not matter.
impl<K: PartialEq, V: PartialEq> PartialEq for SortedMap<K, V> {
    fn eq(&self, other: &SortedMap<K, V>) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for SortedMap<K, V> {}

impl<K, V> SortedMap<K, V> {
    /// An empty one, which takes no memory.
    pub const fn new() -> SortedMap<K, V> {
        SortedMap { chunks: Vec::new(), len: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All, in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        let end = self.chunks.last().map_or(0, Vec::len);
        Iter { chunks: &self.chunks, begin: 0, end }
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All with values that can be changed, in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.chunks.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// The values of all, in the order of their keys.
    pub fn into_values(self) -> impl Iterator<Item = V> {
        self.chunks.into_iter().flatten().map(|(_, value)| value)
    }

    /// The values of all, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// Where a key is: its chunk, and its place there, or that where it belongs.
    fn locate<Q: Ord + ?Sized>(&self, key: &Q) -> (usize, Result<usize, usize>)
    where
        K: Borrow<Q>,
    {
        // Half the code of std's two searches, in each of some twenty copies.
        let (mut chunk, mut end) = (0, self.chunks.len());
        while end > chunk + 1 {
            let middle = (chunk + end) / 2;
            match self.chunks[middle].first() {
                Some((first, _)) if first.borrow() <= key => chunk = middle,
                _ => end = middle,
            }
        }
        let entries = self.chunks.get(chunk).map_or(&[][..], |entries| &entries[..]);
        let (mut begin, mut end) = (0, entries.len());
        while begin < end {
            let middle = (begin + end) / 2;
            match entries[middle].0.borrow().cmp(key) {
                Ordering::Less => begin = middle + 1,
                Ordering::Equal => return (chunk, Ok(middle)),
                Ordering::Greater => end = middle,
            }
        }
        (chunk, Err(begin))
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (chunk, place) = self.locate(key);
        let place = place.ok()?;
        Some(&self.chunks[chunk][place].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (chunk, place) = self.locate(key);
        let place = place.ok()?;
        Some(&mut self.chunks[chunk][place].1)
    }

    /// Whether a key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.locate(key).1.is_ok()
    }

    /// Sets the value of a key; gives the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.locate(&key) {
            (chunk, Ok(place)) => Some(core::mem::replace(&mut self.chunks[chunk][place].1, value)),
            (chunk, Err(place)) => {
                self.insert_at(chunk, place, (key, value));
                None
            }
        }
    }

    /// The value of a key, made now where it had none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (chunk, place) = match self.locate(&key) {
            (chunk, Ok(place)) => (chunk, place),
            (chunk, Err(place)) => self.insert_at(chunk, place, (key, make())),
        };
        &mut self.chunks[chunk][place].1
    }

    /// Gives where the entry came to stand.
    fn insert_at(&mut self, chunk: usize, place: usize, entry: (K, V)) -> (usize, usize) {
        self.len += 1;
        let Some(entries) = self.chunks.get_mut(chunk) else {
            self.chunks.push(vec![entry]);
            return (chunk, 0);
        };
        if entries.len() < CHUNK_LEN_MAX {
            entries.insert(place, entry);
            return (chunk, place);
        }
        // At the end of a full chunk another begins; else it is halved.
        let split = if place == CHUNK_LEN_MAX { CHUNK_LEN_MAX } else { CHUNK_LEN_MAX / 2 };
        let mut upper = Vec::with_capacity(CHUNK_LEN_MAX);
        upper.extend(entries.drain(split..));
        let is_upper = place >= split && split > 0;
        let (chunk_of, place_of) =
            if is_upper { (chunk + 1, place - split) } else { (chunk, place) };
        self.chunks.insert(chunk + 1, upper);
        self.chunks[chunk_of].insert(place_of, entry);
        (chunk_of, place_of)
    }

    /// Takes a key out, with its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (chunk, place) = self.locate(key);
        let (_, value) = self.chunks.get_mut(chunk)?.remove(place.ok()?);
        self.len -= 1;
        if self.chunks[chunk].is_empty() && self.chunks.len() > 1 {
            self.chunks.remove(chunk);
        }
        Some(value)
    }

    /// The entries from one key to another, both included.
    pub fn range(&self, keys: RangeInclusive<K>) -> impl Iterator<Item = (&K, &V)> {
        let (first, last) = keys.into_inner();
        let (chunk, place) = self.locate(&first);
        let begin = place.unwrap_or_else(|place| place);
        let entries = Iter { chunks: &self.chunks[chunk..], begin, ..self.iter() };
        entries.take_while(move |(key, _)| **key <= last)
    }
}

/// The entries of a map, in order: a `Flatten` over the chunks, which would be larger.
#[derive(Debug)]
pub struct Iter<'a, K, V> {
    chunks: &'a [Vec<(K, V)>],
    /// Where what is left begins in the first of them, and where it ends in the last.
    begin: usize,
    end: usize,
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Iter { ..*self }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        loop {
            let (first, others) = self.chunks.split_first()?;
            let end = if others.is_empty() { self.end } else { first.len() };
            if self.begin < end {
                let (key, value) = &first[self.begin];
                self.begin += 1;
                return Some((key, value));
            }
            // What is left of the last chunk is none of it.
            if others.is_empty() {
                return None;
            }
            (self.chunks, self.begin) = (others, 0);
        }
    }
}

impl<'a, K, V> DoubleEndedIterator for Iter<'a, K, V> {
    fn next_back(&mut self) -> Option<(&'a K, &'a V)> {
        loop {
            let (last, others) = self.chunks.split_last()?;
            let begin = if others.is_empty() { self.begin } else { 0 };
            if begin < self.end {
                self.end -= 1;
                let (key, value) = &last[self.end];
                return Some((key, value));
            }
            if others.is_empty() {
                return None;
            }
            (self.chunks, self.end) = (others, others.last().map_or(0, Vec::len));
        }
    }
}

impl<K: Ord> FromIterator<K> for SortedSet<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> SortedSet<K> {
        let mut set = SortedSet::new();
        set.extend(keys);
        set
    }
}

impl<K: Ord> Extend<K> for SortedSet<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        for key in keys {
            self.insert(key);
        }
    }
}

impl<K> Default for SortedSet<K> {
    fn default() -> SortedSet<K> {
        SortedSet::new()
    }
}

impl<K> SortedSet<K> {
    /// An empty one, which takes no memory.
    pub const fn new() -> SortedSet<K> {
        SortedSet(SortedMap::new())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.0.iter().map(|(key, ())| key)
    }

    /// The last in order.
    pub fn last(&self) -> Option<&K> {
        self.0.chunks.last()?.last().map(|(key, ())| key)
    }
}

impl<K: Ord> SortedSet<K> {
    /// Whether it is there.
    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Whether it was not there.
    pub fn insert(&mut self, key: K) -> bool {
        self.0.insert(key, ()).is_none()
    }

    /// Whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.remove(key).is_some()
    }

    /// From one key to another, both included.
    pub fn range(&self, keys: RangeInclusive<K>) -> impl Iterator<Item = &K> {
        self.0.range(keys).map(|(key, ())| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, u8),
        Make(u16),
        Remove(u16),
        Look(u16, u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = || 0..600u16;
        let step = prop_oneof![
            4 => (key(), any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
            1 => key().prop_map(Step::Make),
            3 => key().prop_map(Step::Remove),
            1 => (key(), key()).prop_map(|(low, high)| Step::Look(low, high)),
        ];
        proptest::collection::vec(step, 0..2000)
    }

    fn check(map: &SortedMap<u16, u8>, model: &BTreeMap<u16, u8>) {
        assert!(map.iter().eq(model.iter()) && map.iter().rev().eq(model.iter().rev()));
        assert!(map.values().eq(model.values()));
        assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
        let is_sound = |chunk: &Vec<_>| (1..=CHUNK_LEN_MAX).contains(&chunk.len());
        assert!(map.is_empty() || map.chunks.iter().all(is_sound));
        assert!(!map.is_empty() || map.chunks.len() <= 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn it_does_what_a_btree_does(steps in steps()) {
            let (mut map, mut model) = (SortedMap::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                    }
                    Step::Make(key) => {
                        let (made, known) =
                            (map.get_or_insert_with(key, || 7), model.entry(key).or_insert(7));
                        prop_assert_eq!(&*made, &*known);
                        *made = made.wrapping_add(1);
                        *known = known.wrapping_add(1);
                    }
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    Step::Look(low, high) => {
                        prop_assert_eq!(map.get(&low), model.get(&low));
                        prop_assert_eq!(map.get_mut(&low), model.get_mut(&low));
                        prop_assert_eq!(map.contains_key(&high), model.contains_key(&high));
                        let high = high.max(low);
                        prop_assert!(map.range(low..=high).eq(model.range(low..=high)));
                    }
                }
            }
            check(&map, &model);
        }
    }

    #[test]
    fn keys_that_only_grow_fill_their_chunks() {
        let mut map = SortedMap::new();
        (0..10 * CHUNK_LEN_MAX as u32).for_each(|key| {
            map.insert(key, ());
        });
        assert_eq!(map.chunks.len(), 10);
    }

    #[test]
    fn a_map_that_was_emptied_keeps_its_memory_and_no_more() {
        let mut map = SortedMap::new();
        (0..1000).for_each(|key| {
            map.insert(key, ());
        });
        (0..1000).for_each(|key| assert_eq!(map.remove(&key), Some(())));
        assert!(map.is_empty() && map.chunks.len() == 1);
        assert!(map.iter().next().is_none() && map.range(0..=9).next().is_none());
        assert_eq!((map.remove(&1), map.get(&1)), (None, None));
    }

    #[test]
    fn an_iterator_that_is_taken_from_at_both_ends_ends_in_the_middle() {
        let mut set = SortedSet::new();
        let count = 3 * CHUNK_LEN_MAX as u32;
        (0..count).for_each(|key| assert!(set.insert(key)));
        let mut left = set.iter();
        for nth in 0..count / 2 {
            assert_eq!((left.next(), left.next_back()), (Some(&nth), Some(&(count - 1 - nth))));
        }
        assert_eq!((left.next(), left.next_back(), left.next()), (None, None, None));
    }

    #[test]
    fn a_set_has_each_once_and_knows_its_last() {
        let mut set = SortedSet::new();
        assert!(!set.remove(&1) && set.last().is_none());
        assert_eq!(set.len(), 0);
        assert!(set.insert(3) && set.insert(1) && !set.insert(3) && !set.is_empty());
        assert!(set.contains(&1) && !set.contains(&2));
        assert_eq!((set.last(), set.len()), (Some(&3), 2));
        assert!(set.iter().eq(&[1, 3]) && set.range(2..=9).eq(&[3]));
        assert!(set.remove(&3) && set.last() == Some(&1));
    }
}
