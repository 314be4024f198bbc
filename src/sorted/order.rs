//! Sorting, with one copy of its code for all types.
//!
//! Knows how to bring what can be compared and exchanged by its place into order.
//! Refuses to know what it is: std's sorts are 2 KB of code for each type, and
//! twice as fast, which no list here is long enough to notice.

/// What can be sorted without its type being known.
trait Places {
    /// Whether what stands at the one place goes before what stands at the other.
    fn is_less(&self, a: usize, b: usize) -> bool;
    fn exchange(&mut self, a: usize, b: usize);
}

struct Items<'a, T>(&'a mut [T]);

impl<T: Ord> Places for Items<'_, T> {
    fn is_less(&self, a: usize, b: usize) -> bool {
        self.0[a] < self.0[b]
    }
    fn exchange(&mut self, a: usize, b: usize) {
        self.0.swap(a, b);
    }
}

/// Sorts in place. The order of equals is not kept.
pub fn sort<T: Ord>(items: &mut [T]) {
    let len = items.len();
    heapsort(&mut Items(items), len);
}

/// Williams' heapsort: n log n steps for whatever order a stranger chose.
fn heapsort(places: &mut dyn Places, len: usize) {
    for root in (0..len / 2).rev() {
        sift_down(places, root, len);
    }
    for end in (1..len).rev() {
        places.exchange(0, end);
        sift_down(places, 0, end);
    }
}

/// Of the heap that ends before `end`, only what stands at `root` may be less than a
/// child of it.
fn sift_down(places: &mut dyn Places, mut root: usize, end: usize) {
    loop {
        let mut child = 2 * root + 1;
        if child >= end {
            return;
        }
        if child + 1 < end && places.is_less(child, child + 1) {
            child += 1;
        }
        if !places.is_less(root, child) {
            return;
        }
        places.exchange(root, child);
        root = child;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_sorts_as_the_standard_library_does(mut items: Vec<u8>) {
            let mut expected = items.clone();
            expected.sort_unstable();
            sort(&mut items);
            prop_assert_eq!(items, expected);
        }
    }

    #[test]
    fn what_is_in_order_or_all_the_same_stays_so() {
        for mut names in [vec![], vec!["a"], vec!["b", "a"], vec!["a"; 9], vec!["a", "b", "c"]] {
            let mut expected = names.clone();
            expected.sort_unstable();
            sort(&mut names);
            assert_eq!(names, expected);
        }
    }
}
