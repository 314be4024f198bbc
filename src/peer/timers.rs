//! Deadlines by name: which are set, which is next, which have passed.
//!
//! Knows times as milliseconds on the caller's clock and never reads one. A
//! state machine has an enum of its timers; a timer that has passed fires once.

/// Names of timers: an enum whose values count up from 0.
pub(crate) trait Timer: Copy + 'static {
    /// All of them, in the order in which they fire when several have passed.
    const ALL: &'static [Self];

    fn index(self) -> usize;
}

/// A deadline, or none, for each name.
#[derive(Clone, Debug)]
pub(crate) struct Timers<const COUNT: usize> {
    at_ms: [Option<u64>; COUNT],
}

impl<const COUNT: usize> Timers<COUNT> {
    pub fn new() -> Timers<COUNT> {
        Timers { at_ms: [None; COUNT] }
    }

    pub fn set(&mut self, timer: impl Timer, at_ms: u64) {
        self.at_ms[timer.index()] = Some(at_ms);
    }

    pub fn stop(&mut self, timer: impl Timer) {
        self.at_ms[timer.index()] = None;
    }

    pub fn get(&self, timer: impl Timer) -> Option<u64> {
        self.at_ms[timer.index()]
    }

    /// The earliest deadline of all.
    pub fn next_ms(&self) -> Option<u64> {
        self.at_ms.iter().flatten().min().copied()
    }

    /// Takes a timer that has passed; to be called until there is none.
    pub fn take_passed<T: Timer>(&mut self, now_ms: u64) -> Option<T> {
        let passed = |timer: &&T| self.get(**timer).is_some_and(|at_ms| at_ms <= now_ms);
        let timer = *T::ALL.iter().find(passed)?;
        self.stop(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Name {
        First,
        Second,
    }

    impl Timer for Name {
        const ALL: &'static [Name] = &[Name::First, Name::Second];
        fn index(self) -> usize {
            self as usize
        }
    }

    #[test]
    fn timers_fire_once_and_not_before_their_time() {
        let mut timers = Timers::<2>::new();
        assert_eq!(timers.next_ms(), None);
        timers.set(Name::Second, 20);
        timers.set(Name::First, 30);
        assert_eq!(timers.next_ms(), Some(20));
        assert_eq!(timers.take_passed::<Name>(19), None);
        assert_eq!(timers.take_passed(30), Some(Name::First));
        assert_eq!(timers.take_passed(30), Some(Name::Second));
        assert_eq!(timers.take_passed::<Name>(99), None);
        timers.set(Name::First, 40);
        timers.stop(Name::First);
        assert_eq!((timers.next_ms(), timers.get(Name::First)), (None, None));
    }
}
