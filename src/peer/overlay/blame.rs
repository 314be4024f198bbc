//! Complaints: what a node says of its parents, and who is believed.
//!
//! A wrong byte is proved by its digest, so it bans its sender at once; but a
//! node with bad memory sees wrong bytes everywhere, so who accuses several
//! is not believed, and its accusations are undone. A frozen parent may only
//! be starved by its own, so the fault is looked for above it first. All below
//! a slow node complain of slowness at much the same time; to blame is the one
//! accused that does not complain itself.

use super::trees::{Ix, MASTER, NOBODY};
use super::{Forest, NodeId, OVERCOMMIT_FACTOR, Parent, STRIPES_MAX};
use crate::table::Table;
use alloc::vec::Vec;

/// Parents that a node is not given again; the oldest is forgotten.
const FORBIDDEN_MAX: usize = 8;
/// Accusers that are remembered of one node; the oldest is forgotten.
const ACCUSERS_MAX: usize = 8;
/// Children that are remembered to have found one node slow: all it can have.
const CHILDREN_HEARD_MAX: usize = OVERCOMMIT_FACTOR as usize * STRIPES_MAX as usize;
/// Distinct accusers that make a suspect, or the only child there is.
const ACCUSERS_ENOUGH: usize = 2;
/// An accusation counts this long.
pub(super) const ACCUSATION_MS: u64 = 10_000;
/// A new parent is given this long to make a difference to all below.
const MENDING_MS: u32 = 1_000;
/// Complaints of slowness are judged this long after the first: all have had
/// their say by then.
pub(super) const HEARING_MS: u64 = 1_000;
/// One node in so many can be too slow_uplink to serve; more of them carry the rest.
const SLOW_UPLINK_ONE_IN: usize = 4;
/// Parents that one node can accuse of wrong bytes before it is itself taken
/// for the one that garbles them.
const CRIES_MAX: usize = 3;
/// Times that a suspect may serve again.
const PARDONS_MAX: u8 = 3;

/// Why a node wants another parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The connection was refused or lost.
    Lost,
    /// No progress for some time, while other parents made some.
    Frozen,
    /// Nothing for some time, but it answers.
    Slow,
    /// Much less than others, while its link is busy all the time.
    SlowUplink,
    /// What it sent has not the digest that it should have.
    Corrupt,
}

/// What came of a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not about a parent that this node has or was told of.
    Dismissed,
    /// No other parent now: the fault lies further up and is being mended, or
    /// there is no better place. To be repeated if it lasts.
    Waits,
    /// The node has another parent, nothing more.
    Moved,
    /// The accused serves nobody until `trust`.
    Suspect,
    /// The accused is too slow to serve, and fetches only.
    SlowUplink,
    /// The accused serves nobody any more.
    Banned,
    /// The accuser is not believed any more, and serves nobody itself.
    Discredited,
}

/// What a node complained of, and what others did of it.
#[derive(Default)]
pub(super) struct Record {
    /// The numbers of parents that it is not given again.
    forbidden: Vec<u32>,
    accusers: Vec<Accusation>,
    /// The numbers of those that it accused of wrong bytes.
    cried: Vec<u32>,
    /// The only node that accused it of wrong bytes.
    banned_by: Option<u32>,
    pardons: u8,
    /// Who found it slow, since when, and who did so last.
    slow_to: Vec<Accusation>,
    slow_since_ms: u64,
    /// When it complained of slowness itself, by stripe.
    starved_ms: Vec<(u8, u64)>,
}

struct Accusation {
    accuser: u32,
    why: Complaint,
    at_ms: u64,
}

impl Forest {
    /// A node asks for another parent than `bad` and is not given it again.
    pub fn replace(
        &mut self,
        child: NodeId,
        stripe: u8,
        bad: Parent,
        why: Complaint,
        now_ms: u64,
    ) -> Verdict {
        self.now_ms = now_ms;
        let accused = match bad {
            Parent::Master => Some(MASTER),
            Parent::Node(node) => self.find(node),
        };
        let (Some(ix), Some(accused)) = (self.find(child), accused) else {
            return Verdict::Dismissed;
        };
        if stripe >= self.limits.stripes || !self.is_parent(ix, accused) {
            return Verdict::Dismissed;
        }
        self.acquit_speaker(ix);
        if matches!(why, Complaint::Slow | Complaint::SlowUplink) {
            return self.hear_of_slowness(ix, stripe, accused, why);
        }
        if accused == MASTER {
            return self.move_off(ix, stripe, MASTER, Complaint::Slow);
        }
        if why == Complaint::Frozen && self.fault_lies_above(accused, stripe) {
            return Verdict::Waits;
        }
        // Before the accused is convicted, which moves this child as well.
        self.forbid(ix, accused);
        let verdict = match why {
            Complaint::Lost | Complaint::Frozen => self.accuse(ix, accused, why),
            Complaint::Corrupt => self.accuse_of_wrong_bytes(ix, accused),
            Complaint::Slow | Complaint::SlowUplink => return Verdict::Waits,
        };
        let moved = self.move_off(ix, stripe, accused, why);
        self.relieve();
        if verdict == Verdict::Moved { moved } else { verdict }
    }

    fn hear_of_slowness(&mut self, ix: Ix, stripe: u8, accused: Ix, why: Complaint) -> Verdict {
        let (accuser, at_ms) = (self.name(ix), self.now_ms);
        let starved = &mut self.record(ix).starved_ms;
        starved.retain(|&(s, ms)| s != stripe && at_ms.saturating_sub(ms) < ACCUSATION_MS);
        starved.push((stripe, at_ms));
        if accused == MASTER {
            return Verdict::Waits;
        }
        let record = self.record(accused);
        record.slow_to.retain(|a| at_ms.saturating_sub(a.at_ms) < ACCUSATION_MS);
        if record.slow_to.is_empty() {
            record.slow_since_ms = at_ms;
        }
        let accusation = Accusation { accuser, why, at_ms };
        push_bounded(&mut record.slow_to, accusation, CHILDREN_HEARD_MAX, |a| a.accuser == accuser);
        let is_early = at_ms.saturating_sub(record.slow_since_ms) < HEARING_MS;
        let slow = record.slow_to.iter().filter(|a| a.why == Complaint::Slow).count();
        let is_agreed = slow >= ACCUSERS_ENOUGH;
        // Who waits himself is not busy: of those there is nothing to hear.
        if self.is_narrow_to_most(accused) {
            return self.note_slow_uplink(accused);
        }
        if is_early || why == Complaint::Slow && self.is_starved(accused, stripe) {
            return Verdict::Waits;
        }
        if is_agreed && why == Complaint::Slow {
            return self.note_slow_uplink(accused);
        }
        self.forbid(ix, accused);
        let verdict = self.move_off(ix, stripe, accused, Complaint::Slow);
        if self.stripes().any(|s| self.link(ix, s).parent == accused) {
            // There was nothing better: it may complain again.
            self.record(ix).forbidden.pop();
        }
        self.relieve();
        verdict
    }

    /// Whether three in four that it feeds say so. Where fewer do, its link is
    /// well used, and they have the smaller share of it.
    fn is_narrow_to_most(&self, accused: Ix) -> bool {
        let node = &self.nodes[accused as usize];
        let Some(record) = &node.record else { return false };
        let narrow_to = |id: u32| {
            let says = |a: &Accusation| a.accuser == id && a.why == Complaint::SlowUplink;
            record.slow_to.iter().any(says)
        };
        let mut children: Table<u32, ()> = Table::new();
        for edge in &node.children {
            children.insert(edge.child, ());
        }
        let say_so = children.keys().filter(|&c| narrow_to(self.nodes[c as usize].id)).count();
        say_so >= ACCUSERS_ENOUGH && 4 * say_so >= 3 * children.len()
    }

    /// Whether it, or somebody above, complains of slowness or moved just now.
    fn is_starved(&self, accused: Ix, stripe: u8) -> bool {
        let mut at = accused;
        while at != MASTER && at != NOBODY {
            let moved_ms = self.link(at, stripe).moved_ms;
            let complains = self.nodes[at as usize].record.as_ref().is_some_and(|record| {
                let recent = |ms: u64| self.now_ms.saturating_sub(ms) < ACCUSATION_MS;
                record.starved_ms.iter().any(|&(s, ms)| s == stripe && recent(ms))
            });
            if complains || (self.now_ms as u32).wrapping_sub(moved_ms) < MENDING_MS {
                return true;
            }
            at = self.link(at, stripe).parent;
        }
        false
    }

    fn note_slow_uplink(&mut self, accused: Ix) -> Verdict {
        let standing = self.nodes[accused as usize].standing;
        if standing.slow_uplink
            || (self.slow_uplink_count + 1) * SLOW_UPLINK_ONE_IN > self.ids.len()
        {
            return Verdict::Waits;
        }
        self.slow_uplink_count += 1;
        self.set_standing(accused, |s| s.slow_uplink = true);
        self.dissolve(accused);
        self.relieve();
        Verdict::SlowUplink
    }

    /// A suspect makes progress again: it may serve again, some times.
    pub fn trust(&mut self, node: NodeId) {
        let Some(ix) = self.find(node) else { return };
        let node = &mut self.nodes[ix as usize];
        let suspect = node.standing.suspect;
        let Some(record) = node.record.as_deref_mut() else { return };
        if suspect && record.pardons >= PARDONS_MAX {
            return;
        }
        record.accusers.clear();
        if suspect {
            record.pardons += 1;
            self.set_standing(ix, |s| s.suspect = false);
            self.lift(ix);
            self.relieve();
        }
    }

    pub fn is_suspect(&self, node: NodeId) -> bool {
        self.find(node).is_some_and(|ix| self.nodes[ix as usize].standing.suspect)
    }

    pub fn is_banned(&self, node: NodeId) -> bool {
        self.find(node).is_some_and(|ix| self.nodes[ix as usize].standing.banned)
    }

    /// Whether a node may be given this parent.
    pub(super) fn allowed(&self, ix: Ix, parent: Ix) -> bool {
        if parent == MASTER {
            return true;
        }
        let above = &self.nodes[parent as usize];
        ix != parent && above.standing.serves() && !self.has_refused(ix, above.id)
    }

    pub(super) fn has_refused(&self, ix: Ix, parent: u32) -> bool {
        let record = &self.nodes[ix as usize].record;
        record.as_ref().is_some_and(|r| r.forbidden.contains(&parent))
    }

    /// It is, or the node has not been told yet that it is not any more.
    fn is_parent(&self, ix: Ix, parent: Ix) -> bool {
        let name = self.name(parent);
        let mut links = self.stripes().map(|s| self.link(ix, s));
        links.any(|link| link.parent == parent || link.told == name && name != NOBODY)
    }

    fn record(&mut self, ix: Ix) -> &mut Record {
        self.nodes[ix as usize].record.get_or_insert_default()
    }

    fn forbid(&mut self, ix: Ix, parent: Ix) {
        let name = self.name(parent);
        let forbidden = &mut self.record(ix).forbidden;
        push_bounded(forbidden, name, FORBIDDEN_MAX, |&known| known == name);
    }

    /// Gives a node other parents in the stripes that it has this one in.
    fn move_off(&mut self, ix: Ix, stripe: u8, bad: Ix, why: Complaint) -> Verdict {
        for at in self.stripes() {
            // Slow is no reason to overload anybody.
            let may = why != Complaint::Slow || self.has_spare_outside(ix, at);
            if self.link(ix, at).parent == bad && may {
                self.detach(ix, at);
                self.place(ix, at);
            }
        }
        if self.link(ix, stripe).parent == bad { Verdict::Waits } else { Verdict::Moved }
    }

    /// Whether somebody above is accused, or got another parent just now:
    /// then a parent without progress is starved and not at fault.
    fn fault_lies_above(&self, accused: Ix, stripe: u8) -> bool {
        let mut at = accused;
        loop {
            let link = self.link(at, stripe);
            let since_ms = (self.now_ms as u32).wrapping_sub(link.moved_ms);
            if since_ms < MENDING_MS {
                return true;
            }
            at = link.parent;
            if at == MASTER || at == NOBODY {
                return false;
            }
            let node = &self.nodes[at as usize];
            let recent = |a: &Accusation| self.now_ms.saturating_sub(a.at_ms) < ACCUSATION_MS;
            let accused = node.record.as_ref().is_some_and(|r| r.accusers.iter().any(recent));
            if accused || node.standing.suspect {
                return true;
            }
        }
    }

    fn accuse(&mut self, ix: Ix, accused: Ix, why: Complaint) -> Verdict {
        let (accuser, at_ms) = (self.name(ix), self.now_ms);
        let edges = &self.nodes[accused as usize].children;
        let only_child = edges.iter().all(|edge| edge.child == ix);
        let accusers = &mut self.record(accused).accusers;
        accusers.retain(|a| at_ms.saturating_sub(a.at_ms) < ACCUSATION_MS);
        let accusation = Accusation { accuser, why, at_ms };
        push_bounded(accusers, accusation, ACCUSERS_MAX, |known| known.accuser == accuser);
        if accusers.len() < ACCUSERS_ENOUGH && !only_child {
            return Verdict::Moved;
        }
        self.set_standing(accused, |s| s.suspect = true);
        let accusers = self.record(accused).accusers.iter().map(|a| NodeId(a.accuser));
        let accusers: Vec<NodeId> = accusers.collect();
        self.dissolve(accused);
        // Those who left it first had no choice but to go down.
        for accuser in accusers.into_iter().filter_map(|node| self.find(node)).collect::<Vec<_>>() {
            self.lift(accuser);
        }
        Verdict::Suspect
    }

    fn accuse_of_wrong_bytes(&mut self, ix: Ix, accused: Ix) -> Verdict {
        let (accuser, name) = (self.name(ix), self.name(accused));
        let cried = &mut self.record(ix).cried;
        if cried.len() >= CRIES_MAX {
            return Verdict::Moved;
        }
        push_bounded(cried, name, CRIES_MAX, |&known| known == name);
        if cried.len() >= CRIES_MAX {
            return self.discredit(ix);
        }
        let banned = self.nodes[accused as usize].standing.banned;
        let record = self.record(accused);
        // A second witness: the ban does not depend on the first any more.
        let sole = !banned || record.banned_by == Some(accuser);
        record.banned_by = sole.then_some(accuser);
        self.set_standing(accused, |s| s.banned = true);
        self.dissolve(accused);
        Verdict::Banned
    }

    /// Stops believing a node, and undoes what only it has said.
    fn discredit(&mut self, ix: Ix) -> Verdict {
        let name = self.name(ix);
        for other in 0..self.nodes.len() as Ix {
            let node = &mut self.nodes[other as usize];
            let Some(record) = node.record.as_deref_mut() else { continue };
            if node.standing.banned && record.banned_by == Some(name) {
                record.banned_by = None;
                self.set_standing(other, |s| s.banned = false);
                self.lift(other);
            }
        }
        self.set_standing(ix, |s| s.banned = true);
        self.dissolve(ix);
        Verdict::Discredited
    }

    /// Who complains is not frozen. It may still be out of others' reach.
    fn acquit_speaker(&mut self, ix: Ix) {
        let frozen = |a: &Accusation| a.why == Complaint::Frozen;
        let node = &self.nodes[ix as usize];
        if node.record.as_ref().is_some_and(|r| r.accusers.iter().all(frozen)) {
            self.trust(NodeId(node.id));
        }
    }
}

/// Puts an item at the end in place of the one that is the same, or of the
/// oldest when there are too many.
fn push_bounded<T>(list: &mut Vec<T>, item: T, most: usize, same: impl Fn(&T) -> bool) {
    if let Some(at) = list.iter().position(same) {
        list.remove(at);
    } else if list.len() >= most {
        list.remove(0);
    }
    list.push(item);
}
