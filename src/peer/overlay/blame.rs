//! Who is to blame: what nodes said of each other, and what follows from it.
//!
//! Nobody is believed on his own word. All nodes of one address speak with one
//! voice, so what many joins of one stranger say counts once; and who is content
//! with a parent speaks for it by saying nothing. So an accused node is convicted
//! when two voices say the same and more do than are content, or when the master
//! finds it out itself, which is proof. Whom the master finds well was accused
//! falsely: whoever does that to several is not believed any more.
//!
//! A frozen parent may only be starved by its own, so the fault is looked for
//! above it first. All below a slow node complain of slowness at much the same
//! time; to blame is the one accused that does not complain itself.
//!
//! The ledger remembers complaints and no trees: who stands above or below whom
//! is handed in, and carrying a ruling out is [`super::complaints`]'.

use super::limits::{OVERCOMMIT_FACTOR, STRIPES_MAX};
use super::node::{NodeId, NodeIx, Voice};
use super::trees::Ancestor;
use crate::control::Complaint;
use crate::recent::Recent;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Accusers that are remembered of one node; the oldest is forgotten.
const ACCUSERS_MAX: usize = 8;
/// Children that are remembered to have found one node slow: all it can have.
const CHILDREN_HEARD_MAX: usize = OVERCOMMIT_FACTOR as usize * STRIPES_MAX as usize;
/// Voices that have to say the same before it is believed.
const ACCUSERS_ENOUGH: usize = 2;
/// An accusation counts this long.
pub(super) const ACCUSATION_MS: u64 = 10_000;
/// An accusation of corruption, and a false one, are remembered this long.
const GRUDGE_MS: u64 = 600_000;
/// Voices whose false accusations are remembered; the oldest is forgotten.
const VOICES_MAX: usize = 256;
/// A new parent is given this long to make a difference to all below.
const RECOVERY_MS: u64 = 1_000;
/// Complaints of slowness are judged this long after the first: all have had
/// their say by then.
pub(super) const HEARING_MS: u64 = 1_000;
/// Nodes that one voice can accuse falsely before it is not believed any more.
const FALSELY_ACCUSED_MAX: usize = 3;
/// Nodes that one voice can find slow at a time before it is not counted against them.
const SLOW_TO_MAX: usize = 4;
/// Times that a suspect may serve again.
const PARDONS_MAX: u8 = 3;

/// A complaint about a parent that is a node, of somebody that has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    pub accuser: NodeIx,
    pub accuser_id: NodeId,
    /// The accuser's.
    pub voice: Voice,
    pub accused: NodeIx,
    pub stripe: u8,
    pub why: Complaint,
    pub at_ms: u64,
}

/// What is to be done about a charge of failure or corruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The accuser gets another parent; nobody is convicted.
    Move,
    /// It is believed. These were first to say so.
    Convict { accusers: Vec<NodeId> },
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
    /// Who accused falsely, the last to do so at the end.
    voices: Recent<Testimony, VOICES_MAX>,
}

/// What a node complained of, and what others did of it.
#[derive(Default)]
struct Record {
    /// Who could not reach it.
    accusers: Recent<Accusation, ACCUSERS_MAX>,
    /// To whom it sent corrupt pieces.
    corrupt_to: Recent<Accusation, ACCUSERS_MAX>,
    /// It was convicted for what others said, and how often it was trusted again.
    is_convicted: bool,
    pardons: u8,
    /// Who found it slow, the last to do so at the end, and when that began.
    slow_to: Recent<Accusation, CHILDREN_HEARD_MAX>,
    slow_since_ms: u64,
    /// When it complained of slowness itself, by stripe.
    starved: Recent<Starved, { STRIPES_MAX as usize }>,
}

/// Whom a voice accused falsely.
struct Testimony {
    voice: Voice,
    accused: Recent<NodeId, FALSELY_ACCUSED_MAX>,
    at_ms: u64,
}

#[derive(Clone, Copy)]
struct Starved {
    stripe: u8,
    at_ms: u64,
}

struct Accusation {
    voice: Voice,
    accuser: NodeId,
    why: Complaint,
    at_ms: u64,
    /// The master found the accused well since.
    is_refuted: bool,
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
        let Charge { voice, accuser_id: accuser, why, at_ms, .. } = *self;
        Accusation { voice, accuser, why, at_ms, is_refuted: false }
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

    /// The accused gives nothing, or corrupt pieces. `children` are the voices of
    /// all that it has.
    pub fn hear(&mut self, charge: &Charge, children: impl Iterator<Item = Voice>) -> Ruling {
        if !self.is_believed(charge.voice, charge.at_ms) {
            return Ruling::Move;
        }
        let is_corrupt = charge.why == Complaint::Corrupt;
        let record = self.record(charge.accused);
        let (accusers, lasts_ms) = match is_corrupt {
            true => (&mut record.corrupt_to, GRUDGE_MS),
            false => (&mut record.accusers, ACCUSATION_MS),
        };
        accusers.retain(|a| charge.at_ms.saturating_sub(a.at_ms) < lasts_ms);
        accusers.push(charge.accusation(), |known| known.voice == charge.voice);
        let said: Vec<Voice> = accusers.iter().map(|a| a.voice).collect();
        if said.len() < ACCUSERS_ENOUGH || said.len() <= count_content(&said, children) {
            return Ruling::Move;
        }
        let accusers = accusers.iter().map(|a| a.accuser).collect();
        record.is_convicted |= !is_corrupt;
        Ruling::Convict { accusers }
    }

    /// Whether a voice did not accuse too many falsely.
    pub fn is_believed(&self, voice: Voice, now_ms: u64) -> bool {
        let mut voices = self.voices.iter();
        !voices.any(|t| t.voice == voice && t.accused.is_full() && t.counts(now_ms))
    }

    /// The master found this node well: who accused it did so falsely. Gives the
    /// voices that are not believed any more from now on.
    pub fn refute(&mut self, node: NodeIx, id: NodeId, why: Complaint, now_ms: u64) -> Vec<Voice> {
        let mut liars = Vec::new();
        let Some(record) = self.records.get_mut(node.at()).and_then(Option::as_mut) else {
            return liars;
        };
        let is_corrupt = why == Complaint::Corrupt;
        let accusers = if is_corrupt { &mut record.corrupt_to } else { &mut record.accusers };
        // Who answers may refuse all the same.
        let is_news = |a: &&mut Accusation| !a.is_refuted && a.why != Complaint::Refused;
        for accusation in accusers.iter_mut().filter(is_news) {
            accusation.is_refuted = true;
            let voice = accusation.voice;
            let known = self.voices.iter().position(|t| t.voice == voice);
            let known = known.map(|at| self.voices.remove(at)).filter(|t| t.counts(now_ms));
            let mut accused = known.map_or_else(Recent::default, |t| t.accused);
            if !accused.is_full() {
                accused.push(id, |&known| known == id);
                liars.extend(accused.is_full().then_some(voice));
            }
            self.voices.push(Testimony { voice, accused, at_ms: now_ms }, |_| false);
        }
        liars
    }

    /// The master found out that it is as was said: nobody accused it falsely.
    pub fn confirm(&mut self, id: NodeId) {
        self.voices.iter_mut().for_each(|t| t.accused.retain(|&known| known != id));
    }

    /// Whether none of the node's children is content.
    pub fn is_accused_by_all(&self, node: NodeIx, children: impl Iterator<Item = Voice>) -> bool {
        let said: Vec<Voice> = match self.find(node) {
            Some(record) => record.accusers.iter().map(|a| a.voice).collect(),
            None => Vec::new(),
        };
        count_content(&said, children) == 0
    }

    /// Who said that they cannot reach the node.
    pub fn accusers(&self, node: NodeIx) -> Vec<NodeId> {
        let accusers = self.find(node).map(|record| record.accusers.iter());
        accusers.into_iter().flatten().map(|a| a.accuser).collect()
    }

    /// Whether somebody above is accused, or got another parent just now: then
    /// a parent without progress is starved and not at fault. The lineage
    /// begins with that parent.
    pub fn is_fault_above(&self, lineage: impl Iterator<Item = Ancestor>, now_ms: u64) -> bool {
        let is_accused = |node| {
            let record = self.find(node);
            record.is_some_and(|r| r.accusers.iter().any(|a| a.counts(now_ms) && !a.is_refuted))
        };
        lineage.enumerate().any(|(above, at)| {
            let may_be_at_fault = above > 0 && (at.is_suspect || is_accused(at.node));
            may_be_at_fault || is_recovering(&at, now_ms)
        })
    }

    /// The node does not get this stripe fast enough, whoever is at fault.
    pub fn note_starved(&mut self, node: NodeIx, stripe: u8, now_ms: u64) {
        let starved = Starved { stripe, at_ms: now_ms };
        self.record(node).starved.push(starved, |known| known.stripe == stripe);
    }

    /// The accused gives too little. `children` are the voices of all that it
    /// has; the lineage begins with it.
    pub fn hear_of_slowness(
        &mut self,
        charge: &Charge,
        children: impl Iterator<Item = Voice>,
        lineage: impl Iterator<Item = Ancestor>,
    ) -> SlownessRuling {
        let record = self.record(charge.accused);
        record.slow_to.retain(|a| a.counts(charge.at_ms));
        if record.slow_to.is_empty() {
            record.slow_since_ms = charge.at_ms;
        }
        record.slow_to.push(charge.accusation(), |a| a.voice == charge.voice);
        let children: Vec<Voice> = children.collect();
        if record.is_slow_uplink_to_most(&children) {
            return SlownessRuling::SlowUplink;
        }
        let is_early = charge.at_ms.saturating_sub(record.slow_since_ms) < HEARING_MS;
        let slow = record.slow_to.iter().filter(|a| a.why == Complaint::Slow);
        let slow: Vec<Voice> = slow.map(|a| a.voice).collect();
        // Who waits itself is not busy: of a slow uplink there is nothing to
        // hear from those below it.
        let is_slow = charge.why == Complaint::Slow;
        if is_early || is_slow && self.is_starved(charge.stripe, lineage, charge.at_ms) {
            return SlownessRuling::Wait;
        }
        // Who was moved says no more, and who finds many slow may be so itself.
        let slow = slow.into_iter().filter(|voice| {
            children.contains(voice) && self.count_slow_to(*voice, charge.at_ms) <= SLOW_TO_MAX
        });
        let slow: Vec<Voice> = slow.collect();
        let content_count = count_content(&slow, children.into_iter());
        if is_slow && slow.len() >= ACCUSERS_ENOUGH && slow.len() > content_count {
            SlownessRuling::SlowUplink
        } else {
            SlownessRuling::Move
        }
    }

    /// How many nodes a voice found slow lately.
    fn count_slow_to(&self, voice: Voice, now_ms: u64) -> usize {
        let says = |a: &Accusation| a.voice == voice && a.counts(now_ms);
        let records = self.records.iter().flatten();
        records.filter(|record| record.slow_to.iter().any(says)).count()
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

    /// The master reached a suspect. True when it may serve now: who was convicted
    /// for what others say may some times only.
    pub fn pardon(&mut self, node: NodeIx) -> bool {
        let record = self.records.get_mut(node.at()).and_then(Option::as_mut);
        let Some(record) = record else { return true };
        if record.is_convicted && record.pardons >= PARDONS_MAX {
            return false;
        }
        record.accusers.clear();
        record.pardons += u8::from(core::mem::take(&mut record.is_convicted));
        true
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

impl Testimony {
    fn counts(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) < GRUDGE_MS
    }
}

impl Record {
    /// Whether three in four of the children say so. Where fewer do, the uplink
    /// is well used, and they have the smaller share of it.
    fn is_slow_uplink_to_most(&self, children: &[Voice]) -> bool {
        let says = |a: &&Accusation| a.why == Complaint::SlowUplink;
        let said = self.slow_to.iter().filter(says).map(|a| a.voice);
        let said: Vec<Voice> = said.filter(|voice| children.contains(voice)).collect();
        let content_count = count_content(&said, children.iter().copied());
        said.len() >= ACCUSERS_ENOUGH && said.len() >= 3 * content_count
    }
}

/// How many voices there are among the children that say nothing.
fn count_content(said: &[Voice], children: impl Iterator<Item = Voice>) -> usize {
    let mut content: Vec<Voice> = Vec::new();
    for voice in children {
        if !said.contains(&voice) && !content.contains(&voice) {
            content.push(voice);
        }
    }
    content.len()
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

    /// Node `n` stands at place `n` and speaks for itself.
    fn charge(accuser: u32, accused: u32, why: Complaint, at_ms: u64) -> Charge {
        let ix = |id| NodeIx::new(id as usize);
        Charge {
            accuser: ix(accuser),
            accuser_id: NodeId(accuser),
            voice: Voice(accuser.into()),
            accused: ix(accused),
            stripe: 0,
            why,
            at_ms,
        }
    }

    fn children(ids: core::ops::Range<u32>) -> impl Iterator<Item = Voice> {
        ids.map(|id| Voice(id.into()))
    }

    fn ancestor(id: u32, moved_ms: u64) -> Ancestor {
        Ancestor { node: NodeIx::new(id as usize), moved_ms, is_suspect: false }
    }

    /// Of the children 10 to 12 one complains.
    fn fail(ledger: &mut Ledger, accuser: u32, why: Complaint, at_ms: u64) -> Ruling {
        ledger.hear(&charge(accuser, ACCUSED, why, at_ms), children(10..13))
    }

    fn slow(ledger: &mut Ledger, accuser: u32, why: Complaint, at_ms: u64) -> SlownessRuling {
        let charge = charge(accuser, ACCUSED, why, at_ms);
        ledger.note_starved(charge.accuser, 0, at_ms);
        ledger.hear_of_slowness(&charge, children(10..14), [ancestor(ACCUSED, 0)].into_iter())
    }

    /// The master finds them well: who is not believed any more.
    fn refute(ledger: &mut Ledger, accused: u32, why: Complaint, now_ms: u64) -> Vec<Voice> {
        ledger.refute(NodeIx::new(accused as usize), NodeId(accused), why, now_ms)
    }

    #[test]
    fn two_voices_within_ten_seconds_convict_who_are_more_than_the_content() {
        let mut ledger = Ledger::default();
        assert_eq!(fail(&mut ledger, 10, Complaint::Lost, 0), Ruling::Move);
        assert_eq!(fail(&mut ledger, 10, Complaint::Lost, 1), Ruling::Move, "one is one");
        let late_ms = 1 + ACCUSATION_MS;
        assert_eq!(fail(&mut ledger, 11, Complaint::Frozen, late_ms), Ruling::Move, "alone again");
        let accusers = vec![NodeId(11), NodeId(10)];
        let ruling = fail(&mut ledger, 10, Complaint::Refused, late_ms + 1);
        assert_eq!(ruling, Ruling::Convict { accusers });
    }

    #[test]
    fn the_only_child_is_not_enough_nor_are_many_of_one_address() {
        let charge = charge(10, ACCUSED, Complaint::Lost, 0);
        let mut ledger = Ledger::default();
        assert_eq!(ledger.hear(&charge, children(10..11)), Ruling::Move);
        for accuser in 20..40 {
            let again = Charge { accuser_id: NodeId(accuser), ..charge };
            assert_eq!(ledger.hear(&again, children(10..11)), Ruling::Move);
        }
    }

    #[test]
    fn two_of_four_children_do_not_outweigh_the_content() {
        let mut ledger = Ledger::default();
        for accuser in [10, 11] {
            let charge = charge(accuser, ACCUSED, Complaint::Corrupt, 0);
            assert_eq!(ledger.hear(&charge, children(10..14)), Ruling::Move);
        }
        let charge = charge(12, ACCUSED, Complaint::Corrupt, ACCUSATION_MS + 1);
        let accusers = vec![NodeId(10), NodeId(11), NodeId(12)];
        assert_eq!(ledger.hear(&charge, children(10..14)), Ruling::Convict { accusers });
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
        ledger.hear(&above, children(1..3));
        assert!(ledger.is_fault_above(lineage(0), now_ms));
        assert!(!ledger.is_fault_above(lineage(0), now_ms + ACCUSATION_MS));
        refute(&mut ledger, 2, Complaint::Frozen, now_ms);
        assert!(!ledger.is_fault_above(lineage(0), now_ms), "the master knows better");
    }

    #[test]
    fn who_accused_three_falsely_is_not_believed_for_ten_minutes() {
        let why = Complaint::Corrupt;
        let mut ledger = Ledger::default();
        let accuse = |ledger: &mut Ledger, accused, at_ms| {
            ledger.hear(&charge(9, accused, why, at_ms), children(9..11))
        };
        for accused in [1, 2] {
            accuse(&mut ledger, accused, 0);
            assert_eq!(refute(&mut ledger, accused, why, 0), []);
            assert_eq!(refute(&mut ledger, accused, why, 0), [], "once for each word");
        }
        accuse(&mut ledger, 3, 0);
        assert_eq!(refute(&mut ledger, 3, why, 0), [Voice(9)]);
        let other = |at_ms| charge(10, 4, why, at_ms);
        ledger.hear(&other(1), children(9..11));
        assert_eq!(accuse(&mut ledger, 4, 1), Ruling::Move, "it is not believed");
        ledger.confirm(NodeId(3));
        assert_ne!(accuse(&mut ledger, 4, 2), Ruling::Move, "one of them was true");
        accuse(&mut ledger, 5, 3);
        assert_eq!(refute(&mut ledger, 5, why, 3), [Voice(9)]);
        ledger.hear(&other(GRUDGE_MS), children(9..11));
        let late = accuse(&mut ledger, 4, 3 + GRUDGE_MS);
        assert_ne!(late, Ruling::Move, "it is long ago");
    }

    #[test]
    fn slowness_is_judged_when_all_have_had_their_say() {
        let mut ledger = Ledger::default();
        let why = Complaint::Slow;
        assert_eq!(slow(&mut ledger, 10, why, 5_000), SlownessRuling::Wait);
        assert_eq!(slow(&mut ledger, 11, why, 5_999), SlownessRuling::Wait);
        let ruling = slow(&mut ledger, 10, why, 5_000 + HEARING_MS);
        assert_eq!(ruling, SlownessRuling::Move, "two are content");
        let ruling = slow(&mut ledger, 12, why, 5_000 + HEARING_MS);
        assert_eq!(ruling, SlownessRuling::SlowUplink);
    }

    #[test]
    fn one_that_finds_a_parent_slow_is_moved() {
        let mut ledger = Ledger::default();
        assert_eq!(slow(&mut ledger, 10, Complaint::Slow, 5_000), SlownessRuling::Wait);
        assert_eq!(slow(&mut ledger, 10, Complaint::Slow, 6_000), SlownessRuling::Move);
    }

    #[test]
    fn who_was_moved_or_finds_many_slow_is_not_counted() {
        let mut ledger = Ledger::default();
        let slow = |ledger: &mut Ledger, accuser: u32, accused: u32, at_ms: u64| {
            let charge = charge(accuser, accused, Complaint::Slow, at_ms);
            let lineage = [ancestor(accused, 0)].into_iter();
            ledger.hear_of_slowness(&charge, children(10..13), lineage)
        };
        for accuser in [20, 21, 22, 10] {
            assert_eq!(slow(&mut ledger, accuser, 2, 5_000), SlownessRuling::Wait);
        }
        let late_ms = 5_000 + HEARING_MS;
        assert_eq!(slow(&mut ledger, 10, 2, late_ms), SlownessRuling::Move, "the rest left");
        for accused in 3..8 {
            slow(&mut ledger, 11, accused, late_ms);
        }
        assert_eq!(slow(&mut ledger, 11, 2, late_ms), SlownessRuling::Move, "it blames six");
        assert_eq!(slow(&mut ledger, 12, 2, late_ms), SlownessRuling::SlowUplink);
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
    fn a_suspect_is_pardoned_some_times() {
        let mut ledger = Ledger::default();
        let accused = NodeIx::new(ACCUSED as usize);
        assert!((0..10).all(|_| ledger.pardon(accused)), "nobody else complained of it");
        fail(&mut ledger, 10, Complaint::Frozen, 0);
        assert!((0..10).all(|_| ledger.pardon(accused)), "the master alone did not reach it");
        let mut convicted_and_pardoned = || {
            fail(&mut ledger, 10, Complaint::Frozen, 0);
            assert_ne!(fail(&mut ledger, 11, Complaint::Frozen, 0), Ruling::Move);
            ledger.pardon(accused)
        };
        let pardons = (0..10).filter(|_| convicted_and_pardoned()).count();
        assert_eq!(pardons, usize::from(PARDONS_MAX));
        ledger.forget(accused);
        assert!(ledger.pardon(accused), "another stands there");
    }
}
