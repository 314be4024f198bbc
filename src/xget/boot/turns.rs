//! Whose turn it is, where several interfaces could lead to the master.
//!
//! Pure: interfaces are numbers, and what became of a try is told. A round is
//! one turn of each. Refuses to know how an interface gets its address.

/// Fruitless tries behind an interface by which a master answered once, before
/// another gets its turn; where none ever did, it is one.
const TRIES_MAX: u32 = 6;

#[derive(Default)]
pub struct Turns {
    /// The interface by which a master answered last.
    answered_by: Option<u32>,
    /// Those that had their turn in this round.
    had: Vec<u32>,
    /// Rounds without a new byte: pauses grow with them.
    rounds: u32,
    /// Of the present turn.
    fruitless: u32,
}

impl Turns {
    pub fn answered(&mut self, link: u32) {
        self.answered_by = Some(link);
    }

    /// New bytes came: all is well here.
    pub fn moved(&mut self) {
        (self.rounds, self.fruitless) = (0, 0);
    }

    /// Interfaces that had their turn.
    pub fn had(&self) -> &[u32] {
        &self.had
    }

    /// Whether a try is to be short: no master ever answered by this interface,
    /// and others wait.
    pub fn is_short(&self, link: u32, usable: &[u32]) -> bool {
        self.answered_by != Some(link) && self.others_wait(link, usable)
    }

    fn others_wait(&self, link: u32, usable: &[u32]) -> bool {
        usable.iter().any(|other| *other != link && !self.had.contains(other))
    }

    /// After a fruitless try: `None` when another interface is next, else the
    /// number of the round that is over, for the pause.
    pub fn failed(&mut self, link: u32, usable: &[u32]) -> Option<u32> {
        self.fruitless += 1;
        let is_known = self.answered_by == Some(link) && self.fruitless < TRIES_MAX;
        if !is_known {
            self.fruitless = 0;
            if self.others_wait(link, usable) {
                self.had.push(link);
                return None;
            }
            self.had.clear();
        }
        self.rounds += 1;
        Some(self.rounds)
    }

    /// None of the others got an address in time: whoever does now is the last
    /// of this round.
    pub fn nobody_else(&mut self, usable: &[u32]) {
        self.had = usable.to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_alone_is_tried_again_and_again() {
        let mut turns = Turns::default();
        assert!(!turns.is_short(2, &[2]));
        for round in 1..20 {
            assert_eq!(turns.failed(2, &[2]), Some(round));
        }
        turns.moved();
        assert_eq!(turns.failed(2, &[2]), Some(1));
    }

    #[test]
    fn each_has_one_turn_a_round() {
        let mut turns = Turns::default();
        let usable = [2, 3, 4];
        for round in 1..4 {
            assert!(turns.is_short(2, &usable));
            assert_eq!(turns.failed(2, &usable), None);
            assert_eq!(turns.had(), [2]);
            assert_eq!(turns.failed(4, &usable), None);
            assert!(!turns.is_short(3, &usable), "nobody waits");
            assert_eq!(turns.failed(3, &usable), Some(round));
            assert!(turns.had().is_empty());
        }
    }

    #[test]
    fn where_a_master_answered_others_wait_longer() {
        let mut turns = Turns::default();
        turns.answered(2);
        assert!(!turns.is_short(2, &[2, 3]));
        for round in 1..TRIES_MAX {
            assert_eq!(turns.failed(2, &[2, 3]), Some(round));
        }
        assert_eq!(turns.failed(2, &[2, 3]), None);
        assert!(!turns.is_short(3, &[2, 3]), "the other has had its turn");
        // A new round: the one that is known has its tries again.
        assert_eq!(turns.failed(3, &[2, 3]), Some(TRIES_MAX));
        assert_eq!(turns.failed(2, &[2, 3]), Some(TRIES_MAX + 1));
    }

    #[test]
    fn without_another_address_the_round_is_over() {
        let mut turns = Turns::default();
        assert_eq!(turns.failed(2, &[2, 3]), None);
        turns.nobody_else(&[2, 3]);
        assert_eq!(turns.failed(2, &[2, 3]), Some(1), "a pause, and no third network");
        assert!(turns.is_short(2, &[2, 3]), "then both are tried again");
    }

    #[test]
    fn one_that_comes_late_has_its_turn() {
        let mut turns = Turns::default();
        assert_eq!(turns.failed(2, &[2]), Some(1));
        assert_eq!(turns.failed(2, &[2, 9]), None);
    }
}
