//! The masters that a client may ask, in the order in which they are tried, and what was
//! found of each.
//!
//! Knows who is of no use for this fetch, and who is the last resort. Refuses to know how
//! they are reached (`MasterLink`) and what is wrong with them.

use crate::failure::Failure;
use crate::request::Masters;
use alloc::format;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// What a master is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// Some of it cannot be had there: asked where no other has all.
    LastResort,
    /// It has nothing that this fetch can use.
    Refused,
}

/// One address of a master.
struct Candidate {
    addr: SocketAddr,
    /// The number of the master.
    master: usize,
    standing: Standing,
    is_called: bool,
    /// It was left when it said that it hashes: it lives.
    is_hashing: bool,
}

pub(super) struct Candidates {
    /// In the order in which they are tried, and from the start again.
    list: Vec<Candidate>,
    /// The present one.
    at: usize,
    /// Of what was wrong with those that were refused, what weighs most.
    refusal: Option<Failure>,
}

impl Candidates {
    pub fn new(masters: Masters) -> Candidates {
        let candidate = |(master, addr)| Candidate {
            addr,
            master,
            standing: Standing::Good,
            is_called: false,
            is_hashing: false,
        };
        let list = masters.into_list().into_iter().map(candidate).collect();
        Candidates { list, at: 0, refusal: None }
    }

    /// The present address.
    pub fn addr(&self) -> SocketAddr {
        self.list[self.at].addr
    }

    /// The present address, which is called now.
    pub fn call(&mut self) -> SocketAddr {
        let present = &mut self.list[self.at];
        (present.is_called, present.is_hashing) = (true, false);
        present.addr
    }

    /// Goes on to the next address of a master that may be of use; to the same where there is
    /// no other.
    pub fn turn(&mut self) {
        let count = self.list.len();
        let mut next = (1..=count).map(|step| (self.at + step) % count);
        let is_of_use = |at: &usize| self.list[*at].standing != Standing::Refused;
        self.at = next.find(is_of_use).unwrap_or(self.at);
    }

    /// The number of the master with this address; of the present one where nobody has it.
    fn master_at(&self, addr: SocketAddr) -> usize {
        let known = self.list.iter().find(|known| known.addr == addr);
        known.unwrap_or(&self.list[self.at]).master
    }

    /// The present master is the one with this address.
    pub fn is_present(&self, addr: SocketAddr) -> bool {
        self.master_at(addr) == self.list[self.at].master
    }

    /// There is a master beside the present one that may be of use.
    pub fn has_other(&self) -> bool {
        let is_it = |known: &Candidate| {
            known.master != self.list[self.at].master && known.standing != Standing::Refused
        };
        self.list.iter().any(is_it)
    }

    /// There is an address that may be of use and was not called yet, or lives.
    pub fn has_hope(&self) -> bool {
        let is_it = |known: &Candidate| {
            (!known.is_called || known.is_hashing) && known.standing != Standing::Refused
        };
        self.list.iter().any(is_it)
    }

    /// The present master hashes: the next turn is to a master that was not called yet. False
    /// where there is none.
    pub fn leave_hashing(&mut self) -> bool {
        let was_called = |master| self.list.iter().any(|k| k.master == master && k.is_called);
        let is_it =
            |known: &Candidate| known.standing != Standing::Refused && !was_called(known.master);
        let Some(next) = self.list.iter().position(is_it) else { return false };
        self.list[self.at].is_hashing = true;
        let count = self.list.len();
        self.at = (next + count - 1) % count;
        true
    }

    fn set_standing(&mut self, master: usize, standing: Standing) {
        let its = self.list.iter_mut().filter(|known| known.master == master);
        its.for_each(|known| known.standing = standing);
    }

    /// The master with this address is not asked any more.
    ///
    /// # Errors
    /// There is no other: what weighs most of what was wrong with all of them.
    pub fn refuse(&mut self, addr: SocketAddr, failure: Failure) -> Result<(), Failure> {
        self.set_standing(self.master_at(addr), Standing::Refused);
        let kept = self.refusal.take();
        let kept = kept.filter(|kept| kept.status > failure.status).unwrap_or(failure);
        if self.list.iter().all(|known| known.standing == Standing::Refused) {
            return Err(kept);
        }
        self.refusal = Some(kept);
        Ok(())
    }

    /// The master with this address is asked only after all others have been, from now on.
    /// False where it is so already, or where there is nobody better.
    #[inline(never)]
    pub fn put_last(&mut self, addr: SocketAddr) -> bool {
        let (master, present) = (self.master_at(addr), self.addr());
        let is_good = |known: &Candidate| known.standing == Standing::Good;
        let its = |known: &Candidate| known.master == master;
        let has_better = self.list.iter().any(|known| is_good(known) && !its(known));
        if !has_better || !self.list.iter().any(|known| is_good(known) && its(known)) {
            return false;
        }
        self.set_standing(master, Standing::LastResort);
        let (last, mut list): (Vec<_>, Vec<_>) = self.list.drain(..).partition(its);
        list.extend(last);
        let is_its = list.iter().any(|known| known.addr == present && its(known));
        let at = list.iter().position(|known| known.addr == present);
        // From its last address it goes on to the first of the others.
        self.at = if is_its { list.len() - 1 } else { at.unwrap_or(0) };
        self.list = list;
        true
    }

    /// Why a fetch fails for which nobody is reached any more: what one said that lives is
    /// why, where there is that, and nobody is asked again.
    pub fn give_up(&mut self, unreached: Failure) -> Failure {
        self.list.iter_mut().for_each(|known| known.standing = Standing::Refused);
        match self.refusal.take() {
            Some(said) => Failure { why: format!("{}; {}", said.why, unreached.text()), ..said },
            None => unreached,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 5))
    }

    /// The first at 1 and 2, the second at 3, the third at 4.
    fn three() -> Candidates {
        let mut masters = Masters::from(vec![addr(1), addr(2)]);
        masters.add([addr(3)]);
        masters.add([addr(4)]);
        Candidates::new(masters)
    }

    fn turns(candidates: &mut Candidates, count: usize) -> Vec<SocketAddr> {
        let next = |_| {
            candidates.turn();
            candidates.addr()
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn a_master_is_refused_at_all_its_addresses_and_the_heaviest_reason_kept() {
        let mut candidates = three();
        let of = |status| Failure::fatal(status, "", "no");
        assert_eq!(candidates.refuse(addr(2), of(Status::Verification)), Ok(()));
        assert_eq!(turns(&mut candidates, 3), [addr(3), addr(4), addr(3)]);
        assert_eq!(candidates.refuse(addr(4), of(Status::Source)), Ok(()));
        assert!(!candidates.has_other());
        let all = candidates.refuse(addr(3), of(Status::Source));
        assert_eq!(all, Err(of(Status::Verification)));
    }

    #[test]
    fn who_is_the_last_resort_comes_after_all_others_and_becomes_that_once() {
        let mut candidates = three();
        assert!(candidates.put_last(addr(1)) && candidates.is_present(addr(2)));
        assert_eq!(turns(&mut candidates, 5), [3, 4, 1, 2, 3].map(addr));
        assert!(!candidates.put_last(addr(2)), "it is that already");
        // Another, which is not the present one.
        assert!(candidates.put_last(addr(4)) && candidates.is_present(addr(3)));
        assert_eq!(turns(&mut candidates, 4), [1, 2, 4, 3].map(addr));
        assert!(!candidates.put_last(addr(3)), "nobody is better");
    }

    #[test]
    fn who_hashes_is_left_for_who_was_not_called_yet_and_hoped_for() {
        let mut candidates = three();
        candidates.call();
        assert!(candidates.leave_hashing());
        assert_eq!(turns(&mut candidates, 1), [addr(3)]);
        candidates.call();
        assert!(candidates.leave_hashing());
        assert_eq!(turns(&mut candidates, 1), [addr(4)]);
        candidates.call();
        assert!(!candidates.leave_hashing(), "the first was called");
        assert!(candidates.has_hope());
        for _ in 0..4 {
            candidates.turn();
            candidates.call();
        }
        assert!(!candidates.has_hope());
    }

    #[test]
    fn when_nobody_is_reached_what_was_said_is_why() {
        let unreached = || Failure::fatal(Status::Connection, "B", "refused");
        assert_eq!(three().give_up(unreached()), unreached());
        let mut candidates = three();
        let missing = Failure::fatal(Status::Source, "x", "no such file");
        assert_eq!(candidates.refuse(addr(1), missing), Ok(()));
        let why = Failure::fatal(Status::Source, "x", "no such file; B: refused");
        assert_eq!(candidates.give_up(unreached()), why);
        assert!(!candidates.has_other() && !candidates.has_hope());
    }
}
