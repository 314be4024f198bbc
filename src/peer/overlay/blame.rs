//! Who is to blame: what nodes said of each other, and what follows from it.
//!
//! A corrupt piece is proved by its digest, so it bans its sender at once; but
//! a node with bad memory sees corrupt pieces everywhere, so who accuses
//! several is not believed, and its accusations are undone. A frozen parent may
//! only be starved by its own, so the fault is looked for above it first. All
//! below a slow node complain of slowness at much the same time; to blame is
//! the one accused that does not complain itself.
//!
//! The ledger remembers complaints and no trees: who stands above or below whom
//! is handed in, and carrying a ruling out is [`super::complaints`]'.

use super::limits::{OVERCOMMIT_FACTOR, STRIPES_MAX};
use super::node::{NodeId, NodeIx};
use super::recent::Recent;
use super::trees::Ancestor;
use crate::control::Complaint;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Accusers that are remembered of one node; the oldest is forgotten.
const ACCUSERS_MAX: usize = 8;
/// Children that are remembered to have found one node slow: all it can have.
const CHILDREN_HEARD_MAX: usize = OVERCOMMIT_FACTOR as usize * STRIPES_MAX as usize;
/// Distinct accusers that make a suspect, or the only child there is.
const ACCUSERS_ENOUGH: usize = 2;
/// An accusation counts this long.
pub(super) const ACCUSATION_MS: u64 = 10_000;
/// A new parent is given this long to make a difference to all below.
const RECOVERY_MS: u64 = 1_000;
/// Complaints of slowness are judged this long after the first: all have had
/// their say by then.
pub(super) const HEARING_MS: u64 = 1_000;
/// Parents that one node can accuse of corrupt pieces before it is itself
/// taken for the one that corrupts them.
const CORRUPT_PARENTS_MAX: usize = 3;
/// Times that a suspect may serve again.
const PARDONS_MAX: u8 = 3;

/// A complaint about a parent that is a node, of somebody that has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    pub accuser: NodeIx,
    pub accuser_id: NodeId,
    pub accused: NodeIx,
    pub accused_id: NodeId,
    pub stripe: u8,
    pub why: Complaint,
    pub at_ms: u64,
}

/// What is to be done about a charge of failure or corruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The accuser gets another parent; nobody is convicted.
    Move,
    /// The accused is out of the reach of these.
    Suspect { accusers: Vec<NodeId> },
    /// The accused sent a corrupt piece.
    Ban,
    /// The accuser corrupts pieces itself: it is not believed any more, and
    /// these were banned for its word alone.
    Discredit { acquitted: Vec<NodeIx> },
}

/// What is to be done about a charge of slowness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlownessRuling {
    /// Nothing yet: it is too early to say, or the fault lies further up.
    Wait,
    /// The accuser gets another parent; nobody is convicted.
    Move,
    /// The accused has too slow an uplink to feed others.
    SlowUplink,
}

/// Everything that was said of nodes and by them, as long as they are in.
#[derive(Default)]
pub(super) struct Ledger {
    /// By place in the roster; most have none.
    records: Vec<Option<Box<Record>>>,
}

/// What a node complained of, and what others did of it.
#[derive(Default)]
struct Record {
    /// Who could not reach it.
    accusers: Recent<Accusation, ACCUSERS_MAX>,
    /// Those that it accused of corrupt pieces.
    corrupt_parents: Recent<NodeId, CORRUPT_PARENTS_MAX>,
    /// The only node that accused it of corrupt pieces.
    banned_by: Option<NodeId>,
    /// Times that it was trusted again.
    pardons: u8,
    /// Who found it slow, the last to do so at the end, and when that began.
    slow_to: Recent<Accusation, CHILDREN_HEARD_MAX>,
    slow_since_ms: u64,
    /// When it complained of slowness itself, by stripe.
    starved: Recent<Starved, { STRIPES_MAX as usize }>,
}

#[derive(Clone, Copy)]
struct Starved {
    stripe: u8,
    at_ms: u64,
}

struct Accusation {
    accuser: NodeId,
    why: Complaint,
    at_ms: u64,
}

impl Accusation {
    fn counts(&self, now_ms: u64) -> bool {
        is_recent(self.at_ms, now_ms)
    }
}

fn is_recent(at_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < ACCUSATION_MS
}

impl Charge {
    fn accusation(&self) -> Accusation {
        Accusation { accuser: self.accuser_id, why: self.why, at_ms: self.at_ms }
    }
}

impl Ledger {
    /// The node has left: what was said of it dies with it. What it said of
    /// others stays.
    pub fn forget(&mut self, node: NodeIx) {
        if let Some(record) = self.records.get_mut(node.at()) {
            *record = None;
        }
    }

    /// The accused gives nothing. `children` are all that it has, by stripe.
    pub fn hear_of_failure(
        &mut self,
        charge: &Charge,
        mut children: impl Iterator<Item = NodeId>,
    ) -> Ruling {
        let accusers = &mut self.record(charge.accused).accusers;
        accusers.retain(|a| a.counts(charge.at_ms));
        accusers.push(charge.accusation(), |known| known.accuser == charge.accuser_id);
        let is_only_child = children.all(|child| child == charge.accuser_id);
        if accusers.len() < ACCUSERS_ENOUGH && !is_only_child {
            return Ruling::Move;
        }
        Ruling::Suspect { accusers: accusers.iter().map(|a| a.accuser).collect() }
    }

    /// Whether somebody above is accused, or got another parent just now: then
    /// a parent without progress is starved and not at fault. The lineage
    /// begins with that parent.
    pub fn is_fault_above(&self, lineage: impl Iterator<Item = Ancestor>, now_ms: u64) -> bool {
        let is_accused = |node| {
            let record = self.find(node);
            record.is_some_and(|r| r.accusers.iter().any(|a| a.counts(now_ms)))
        };
        lineage.enumerate().any(|(above, at)| {
            let may_be_at_fault = above > 0 && (at.is_suspect || is_accused(at.node));
            may_be_at_fault || is_recovering(&at, now_ms)
        })
    }

    /// The accused sent a corrupt piece. `is_banned` says whether it did before.
    pub fn hear_of_corruption(&mut self, charge: &Charge, is_banned: bool) -> Ruling {
        let corrupt_parents = &mut self.record(charge.accuser).corrupt_parents;
        if corrupt_parents.is_full() {
            return Ruling::Move;
        }
        corrupt_parents.push(charge.accused_id, |&known| known == charge.accused_id);
        if corrupt_parents.is_full() {
            return Ruling::Discredit { acquitted: self.acquit_of(charge.accuser_id) };
        }
        let accuser = charge.accuser_id;
        let record = self.record(charge.accused);
        // A second witness: the ban does not depend on the first any more.
        let is_sole = !is_banned || record.banned_by == Some(accuser);
        record.banned_by = is_sole.then_some(accuser);
        Ruling::Ban
    }

    /// Those that are banned for the word of this one alone; they are not any more.
    fn acquit_of(&mut self, accuser: NodeId) -> Vec<NodeIx> {
        let mut acquitted = Vec::new();
        for (at, record) in self.records.iter_mut().enumerate() {
            if let Some(record) = record
                && record.banned_by == Some(accuser)
            {
                record.banned_by = None;
                acquitted.push(NodeIx::new(at));
            }
        }
        acquitted
    }

    /// The node does not get this stripe fast enough, whoever is at fault.
    pub fn note_starved(&mut self, node: NodeIx, stripe: u8, now_ms: u64) {
        let starved = Starved { stripe, at_ms: now_ms };
        self.record(node).starved.push(starved, |known| known.stripe == stripe);
    }

    /// The accused gives too little. `children` are all that it has, by stripe;
    /// the lineage begins with it.
    pub fn hear_of_slowness(
        &mut self,
        charge: &Charge,
        children: impl Iterator<Item = NodeId>,
        lineage: impl Iterator<Item = Ancestor>,
    ) -> SlownessRuling {
        let record = self.record(charge.accused);
        record.slow_to.retain(|a| a.counts(charge.at_ms));
        if record.slow_to.is_empty() {
            record.slow_since_ms = charge.at_ms;
        }
        record.slow_to.push(charge.accusation(), |a| a.accuser == charge.accuser_id);
        if record.is_slow_uplink_to_most(children) {
            return SlownessRuling::SlowUplink;
        }
        let is_early = charge.at_ms.saturating_sub(record.slow_since_ms) < HEARING_MS;
        let slow_count = record.slow_to.iter().filter(|a| a.why == Complaint::Slow).count();
        // Who waits itself is not busy: of a slow uplink there is nothing to
        // hear from those below it.
        let is_slow = charge.why == Complaint::Slow;
        if is_early || is_slow && self.is_starved(charge.stripe, lineage, charge.at_ms) {
            return SlownessRuling::Wait;
        }
        if is_slow && slow_count >= ACCUSERS_ENOUGH {
            SlownessRuling::SlowUplink
        } else {
            SlownessRuling::Move
        }
    }

    /// Whether one of these complains of slowness or moved just now.
    fn is_starved(
        &self,
        stripe: u8,
        mut lineage: impl Iterator<Item = Ancestor>,
        now_ms: u64,
    ) -> bool {
        let is_said = |s: &Starved| s.stripe == stripe && is_recent(s.at_ms, now_ms);
        let complains = |node| {
            let record = self.find(node);
            record.is_some_and(|r| r.starved.iter().any(is_said))
        };
        lineage.any(|at| complains(at.node) || is_recovering(&at, now_ms))
    }

    /// The node shows that it is alive. True when it is a suspect that may
    /// serve again, which it may some times only.
    pub fn pardon(&mut self, node: NodeIx, is_suspect: bool) -> bool {
        let record = self.records.get_mut(node.at()).and_then(Option::as_mut);
        let Some(record) = record else { return false };
        if is_suspect && record.pardons >= PARDONS_MAX {
            return false;
        }
        record.accusers.clear();
        record.pardons += u8::from(is_suspect);
        is_suspect
    }

    /// Whether nothing worse than having frozen is said of the node: a word
    /// from it disproves that, but it may still be out of others' reach.
    pub fn is_refuted_by_speaking(&self, node: NodeIx) -> bool {
        let record = self.find(node);
        record.is_some_and(|r| r.accusers.iter().all(|a| a.why == Complaint::Frozen))
    }

    fn record(&mut self, node: NodeIx) -> &mut Record {
        if self.records.len() <= node.at() {
            self.records.resize_with(node.at() + 1, || None);
        }
        self.records[node.at()].get_or_insert_default()
    }

    fn find(&self, node: NodeIx) -> Option<&Record> {
        self.records.get(node.at())?.as_deref()
    }
}

impl Record {
    /// Whether three in four of the children say so. Where fewer do, the uplink
    /// is well used, and they have the smaller share of it.
    fn is_slow_uplink_to_most(&self, children: impl Iterator<Item = NodeId>) -> bool {
        let says = |a: &Accusation| a.why == Complaint::SlowUplink;
        if self.slow_to.iter().filter(|a| says(a)).count() < ACCUSERS_ENOUGH {
            return false;
        }
        let mut children: Vec<NodeId> = children.collect();
        children.sort_unstable();
        children.dedup();
        let accusers = self.slow_to.iter().filter(|a| says(a) && children.contains(&a.accuser));
        let say_so = accusers.count();
        say_so >= ACCUSERS_ENOUGH && 4 * say_so >= 3 * children.len()
    }
}

/// Whether its parent is so new that it can not have made a difference yet.
fn is_recovering(at: &Ancestor, now_ms: u64) -> bool {
    now_ms.saturating_sub(at.moved_ms) < RECOVERY_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const ACCUSED: u32 = 1;

    /// Node `n` stands at place `n`.
    fn charge(accuser: u32, accused: u32, why: Complaint, at_ms: u64) -> Charge {
        let ix = |id| NodeIx::new(id as usize);
        Charge {
            accuser: ix(accuser),
            accuser_id: NodeId(accuser),
            accused: ix(accused),
            accused_id: NodeId(accused),
            stripe: 0,
            why,
            at_ms,
        }
    }

    fn children(ids: core::ops::Range<u32>) -> impl Iterator<Item = NodeId> {
        ids.map(NodeId)
    }

    fn ancestor(id: u32, moved_ms: u64) -> Ancestor {
        Ancestor { node: NodeIx::new(id as usize), moved_ms, is_suspect: false }
    }

    /// Of the children 10 to 13 one complains.
    fn fail(ledger: &mut Ledger, accuser: u32, why: Complaint, at_ms: u64) -> Ruling {
        ledger.hear_of_failure(&charge(accuser, ACCUSED, why, at_ms), children(10..14))
    }

    fn slow(ledger: &mut Ledger, accuser: u32, why: Complaint, at_ms: u64) -> SlownessRuling {
        let charge = charge(accuser, ACCUSED, why, at_ms);
        ledger.note_starved(charge.accuser, 0, at_ms);
        ledger.hear_of_slowness(&charge, children(10..14), [ancestor(ACCUSED, 0)].into_iter())
    }

    #[test]
    fn two_accusers_within_ten_seconds_make_a_suspect() {
        let mut ledger = Ledger::default();
        assert_eq!(fail(&mut ledger, 10, Complaint::Lost, 0), Ruling::Move);
        assert_eq!(fail(&mut ledger, 10, Complaint::Lost, 1), Ruling::Move, "one is one");
        let late_ms = 1 + ACCUSATION_MS;
        assert_eq!(fail(&mut ledger, 11, Complaint::Frozen, late_ms), Ruling::Move, "alone again");
        let accusers = vec![NodeId(11), NodeId(10)];
        let ruling = fail(&mut ledger, 10, Complaint::Refused, late_ms + 1);
        assert_eq!(ruling, Ruling::Suspect { accusers });
    }

    #[test]
    fn the_only_child_is_enough() {
        let charge = charge(10, ACCUSED, Complaint::Lost, 0);
        let ruling = Ledger::default().hear_of_failure(&charge, children(10..11));
        assert_eq!(ruling, Ruling::Suspect { accusers: vec![NodeId(10)] });
    }

    #[test]
    fn the_fault_is_above_who_is_below_an_accused_or_moved_one() {
        let mut ledger = Ledger::default();
        let now_ms = 50_000;
        let lineage = |moved_ms| [ancestor(ACCUSED, moved_ms), ancestor(2, 0)].into_iter();
        assert!(!ledger.is_fault_above(lineage(0), now_ms));
        assert!(ledger.is_fault_above(lineage(now_ms - RECOVERY_MS + 1), now_ms));
        fail(&mut ledger, 10, Complaint::Frozen, now_ms);
        assert!(!ledger.is_fault_above(lineage(0), now_ms), "accused itself");
        let above = charge(ACCUSED, 2, Complaint::Frozen, now_ms);
        ledger.hear_of_failure(&above, children(1..3));
        assert!(ledger.is_fault_above(lineage(0), now_ms));
        assert!(!ledger.is_fault_above(lineage(0), now_ms + ACCUSATION_MS));
    }

    #[test]
    fn the_third_accused_of_corruption_discredits_the_accuser() {
        let mut ledger = Ledger::default();
        let mut hear = |accuser, accused, is_banned| {
            let charge = charge(accuser, accused, Complaint::Corrupt, 0);
            ledger.hear_of_corruption(&charge, is_banned)
        };
        assert_eq!(hear(9, 1, false), Ruling::Ban);
        assert_eq!(hear(9, 1, true), Ruling::Ban, "of the same");
        assert_eq!(hear(9, 2, false), Ruling::Ban);
        assert_eq!(hear(8, 2, true), Ruling::Ban, "a second witness");
        let acquitted = vec![NodeIx::new(1)];
        assert_eq!(hear(9, 3, false), Ruling::Discredit { acquitted });
        assert_eq!(hear(9, 4, false), Ruling::Move, "not believed any more");
    }

    #[test]
    fn slowness_is_judged_when_all_have_had_their_say() {
        let mut ledger = Ledger::default();
        let why = Complaint::Slow;
        assert_eq!(slow(&mut ledger, 10, why, 5_000), SlownessRuling::Wait);
        assert_eq!(slow(&mut ledger, 11, why, 5_999), SlownessRuling::Wait);
        let ruling = slow(&mut ledger, 10, why, 5_000 + HEARING_MS);
        assert_eq!(ruling, SlownessRuling::SlowUplink);
    }

    #[test]
    fn one_that_finds_a_parent_slow_is_moved() {
        let mut ledger = Ledger::default();
        assert_eq!(slow(&mut ledger, 10, Complaint::Slow, 5_000), SlownessRuling::Wait);
        assert_eq!(slow(&mut ledger, 10, Complaint::Slow, 6_000), SlownessRuling::Move);
    }

    #[test]
    fn who_complains_itself_is_not_to_blame_for_slowness() {
        let mut ledger = Ledger::default();
        slow(&mut ledger, 10, Complaint::Slow, 5_000);
        slow(&mut ledger, 11, Complaint::Slow, 5_000);
        ledger.note_starved(NodeIx::new(ACCUSED as usize), 0, 6_000);
        assert_eq!(slow(&mut ledger, 10, Complaint::Slow, 6_500), SlownessRuling::Wait);
    }

    #[test]
    fn three_in_four_children_make_a_slow_uplink_at_once() {
        let mut ledger = Ledger::default();
        let why = Complaint::SlowUplink;
        assert_eq!(slow(&mut ledger, 10, why, 0), SlownessRuling::Wait);
        assert_eq!(slow(&mut ledger, 11, why, 1), SlownessRuling::Wait);
        assert_eq!(slow(&mut ledger, 20, why, 2), SlownessRuling::Wait, "not a child any more");
        assert_eq!(slow(&mut ledger, 12, why, 3), SlownessRuling::SlowUplink);
    }

    #[test]
    fn a_suspect_is_pardoned_some_times_and_a_word_refutes_only_frozen() {
        let mut ledger = Ledger::default();
        let accused = NodeIx::new(ACCUSED as usize);
        fail(&mut ledger, 10, Complaint::Frozen, 0);
        assert!(ledger.is_refuted_by_speaking(accused));
        fail(&mut ledger, 11, Complaint::Lost, 0);
        assert!(!ledger.is_refuted_by_speaking(accused));
        assert!(!ledger.pardon(accused, false), "it serves already");
        assert!(ledger.is_refuted_by_speaking(accused), "nothing is left to refute");
        let pardons = (0..10).filter(|_| ledger.pardon(accused, true)).count();
        assert_eq!(pardons, usize::from(PARDONS_MAX));
        ledger.forget(accused);
        assert!(!ledger.pardon(accused, true), "nothing is known of it");
    }
}
