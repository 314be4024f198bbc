//! Reads that cannot be answered yet, by what they wait for.
//!
//! Knows who waits for what, and in which order they came. Refuses to know what
//! a read is (a ticket) and what it waits for (a key): both are values with an
//! order and no more. A peer decides how many reads it parks and in which order
//! it gives them up, so each step costs the logarithm of what is parked.

use alloc::vec::Vec;
use sorted::SortedMap;

/// Emptied lists of tickets whose memory is kept: as many as are woken between
/// two calls of [`ParkedReads::recycle`], and then some.
const SPARE_MAX: usize = 16;

/// Parked reads: tickets of type `T`, each waiting for one `W`.
#[derive(Debug)]
pub(super) struct ParkedReads<W, T> {
    /// By what is waited for, then by arrival.
    tickets: SortedMap<(W, u64), T>,
    /// The other way round, so that a read that is given up leaves no trace.
    waits: SortedMap<T, (W, u64)>,
    /// Numbers arrivals.
    arrivals: u64,
    spare: Vec<Vec<T>>,
}

impl<W: Ord + Copy, T: Ord + Copy> ParkedReads<W, T> {
    pub fn new() -> ParkedReads<W, T> {
        let (tickets, waits) = (SortedMap::new(), SortedMap::new());
        ParkedReads { tickets, waits, arrivals: 0, spare: Vec::new() }
    }

    /// Parks a read. One that waits for this already keeps its turn; one that
    /// waits for something else waits for this from now on.
    pub fn park(&mut self, wait: W, ticket: T) {
        match self.waits.get(&ticket) {
            Some((known, _)) if *known == wait => return,
            Some(_) => self.forget(ticket),
            None => {}
        }
        self.arrivals += 1;
        self.waits.insert(ticket, (wait, self.arrivals));
        self.tickets.insert((wait, self.arrivals), ticket);
    }

    /// Takes out all that wait for this, first come first.
    pub fn wake(&mut self, wait: W) -> Vec<T> {
        if !self.is_awaited(wait) {
            return Vec::new();
        }
        let mut woken = self.spare.pop().unwrap_or_default();
        while let Some((turn, ticket)) = self.first(wait) {
            self.tickets.remove(&turn);
            self.waits.remove(&ticket);
            woken.push(ticket);
        }
        woken
    }

    /// Takes out the first that waits for this.
    pub fn wake_first(&mut self, wait: W) -> Option<T> {
        let (turn, ticket) = self.first(wait)?;
        self.tickets.remove(&turn);
        self.waits.remove(&ticket);
        Some(ticket)
    }

    /// Takes out one read that is not to be answered any more.
    pub fn forget(&mut self, ticket: T) {
        if let Some(turn) = self.waits.remove(&ticket) {
            self.tickets.remove(&turn);
        }
    }

    /// Whether anybody waits for this.
    pub fn is_awaited(&self, wait: W) -> bool {
        self.first(wait).is_some()
    }

    fn first(&self, wait: W) -> Option<((W, u64), T)> {
        let mut turns = self.tickets.range((wait, 0)..=(wait, u64::MAX));
        turns.next().map(|(turn, ticket)| (*turn, *ticket))
    }

    /// Takes the memory of a woken list back, for the next one.
    pub fn recycle(&mut self, mut woken: Vec<T>) {
        if woken.capacity() > 0 && self.spare.len() < SPARE_MAX {
            woken.clear();
            self.spare.push(woken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use core::cmp::Ordering;

    fn is_empty(parked: &ParkedReads<u32, u32>) -> bool {
        parked.tickets.is_empty() && parked.waits.is_empty()
    }

    #[test]
    fn those_who_wait_for_one_thing_wake_in_the_order_in_which_they_came() {
        let mut parked = ParkedReads::new();
        for (wait, ticket) in [(7, 30), (8, 20), (7, 10), (7, 20), (7, 30)] {
            parked.park(wait, ticket);
        }
        assert!(parked.is_awaited(7) && !parked.is_awaited(8), "20 waits for something else now");
        assert_eq!(parked.wake(7), [30, 10, 20]);
        assert_eq!(parked.wake(7), [], "each wakes once");
        assert!(is_empty(&parked));
    }

    #[test]
    fn a_read_that_is_forgotten_does_not_wake_and_leaves_no_trace() {
        let mut parked = ParkedReads::new();
        (0..4).for_each(|ticket| parked.park(1, ticket));
        parked.forget(2);
        parked.forget(2);
        parked.forget(9);
        assert_eq!(parked.wake(1), [0, 1, 3]);
        parked.park(1, 5);
        parked.forget(5);
        assert!(!parked.is_awaited(1) && is_empty(&parked));
    }

    #[test]
    fn memory_of_woken_lists_is_used_again_and_bounded() {
        let mut parked = ParkedReads::new();
        parked.park(1, 1);
        parked.recycle(Vec::with_capacity(100));
        assert!(parked.wake(1).capacity() >= 100);
        parked.recycle(Vec::new());
        assert!(parked.spare.is_empty(), "there is no memory in it");
        (0..99).for_each(|_| parked.recycle(Vec::with_capacity(1)));
        assert_eq!(parked.spare.len(), SPARE_MAX);
    }

    std::thread_local! {
        static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts how often it is compared: what a search costs.
    #[derive(Clone, Copy, Debug)]
    struct Counted(u32);

    impl Ord for Counted {
        fn cmp(&self, other: &Counted) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Counted) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Counted) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counted {}

    #[test]
    fn giving_up_one_of_many_that_wait_for_the_same_costs_a_logarithm() {
        const READS: u32 = 50_000;
        // A node of a SortedMap has 5 to 11 keys, so that 50,000 lie at most seven
        // levels deep; a key is searched for in each of two maps.
        const STEPS_MAX: u64 = 2 * 7 * 11;
        let mut parked = ParkedReads::new();
        let wait = Counted(1);
        (0..READS).for_each(|ticket| parked.park(wait, Counted(ticket)));
        // Neither from the first on nor from the last: 7 and 50,000 are coprime.
        for nth in 0..READS {
            COMPARED.set(0);
            parked.forget(Counted(nth * 7 % READS));
            assert!(COMPARED.get() <= STEPS_MAX, "{} steps for one of them", COMPARED.get());
        }
        assert!(parked.tickets.is_empty() && parked.waits.is_empty());
    }
}
