//! Carries out what the ledger rules about a complaint: who is moved, and who
//! does not serve any more.
//!
//! A complaint that convicts nobody moves its accuser alone: nobody else is put
//! elsewhere to make room, or because there is room now.

use super::blame::{Charge, Ledger, Ruling, SlownessRuling};
use super::choice::Search;
use super::node::{NodeId, NodeIx, Upstream, Voice};
use super::placement::{dissolve, place, place_aside};
use super::relief::{lift, relieve};
use super::trees::Trees;
use crate::control::Complaint;
use alloc::vec::Vec;

/// One node in so many can have too slow an uplink to serve; with more of them
/// the rest could not carry all, and they serve as well as they can.
const SLOW_UPLINK_ONE_IN: usize = 4;

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
    /// The accused serves nobody until [`super::Forest::trust`].
    Suspect,
    /// The accused has too slow an uplink to serve, and fetches only.
    SlowUplink,
    /// The accused serves nobody until [`super::Forest::forgive`].
    Banned,
}

/// A complaint of the master: it is never convicted, and left only for a place
/// within budget.
pub(super) fn hear_of_master(
    trees: &mut Trees,
    ledger: &mut Ledger,
    (accuser, stripe): (NodeIx, u8),
    why: Complaint,
) -> Verdict {
    if why.is_about_speed() {
        ledger.note_starved(accuser, stripe, trees.now_ms());
        return Verdict::Waits;
    }
    move_off(trees, accuser, stripe, Upstream::Master, true)
}

/// A complaint of a node.
pub(super) fn hear(trees: &mut Trees, ledger: &mut Ledger, charge: &Charge) -> Verdict {
    match charge.why {
        Complaint::Slow | Complaint::SlowUplink => hear_of_slowness(trees, ledger, charge),
        Complaint::Passed => {
            trees.reject(charge.accuser, trees.node(charge.accused).id);
            move_on(trees, charge.accuser, charge.accused)
        }
        Complaint::Frozen if is_fault_above(trees, ledger, charge) => Verdict::Waits,
        Complaint::Frozen | Complaint::Lost | Complaint::Refused | Complaint::Corrupt => {
            // Before the accused is convicted, which moves this child as well.
            trees.reject(charge.accuser, trees.node(charge.accused).id);
            let verdict = match ledger.hear(charge, child_voices(trees, charge.accused)) {
                Ruling::Move => Verdict::Moved,
                Ruling::Convict { .. } if charge.why == Complaint::Corrupt => {
                    ban(trees, charge.accused)
                }
                Ruling::Convict { accusers } => suspect(trees, charge.accused, &accusers),
            };
            let accused = Upstream::Node(charge.accused);
            let moved = move_off(trees, charge.accuser, charge.stripe, accused, false);
            if verdict == Verdict::Moved { moved } else { verdict }
        }
    }
}

/// The master cannot reach the node itself.
pub(super) fn find_silent(trees: &mut Trees, ledger: &mut Ledger, ix: NodeIx) {
    ledger.confirm(trees.node(ix).id);
    if !trees.node(ix).standing.suspect {
        let accusers = ledger.accusers(ix);
        suspect(trees, ix, &accusers);
    }
}

/// The master has not reached the node yet.
pub(super) fn find_late(trees: &mut Trees, ledger: &mut Ledger, ix: NodeIx) {
    if ledger.is_accused_by_all(ix, child_voices(trees, ix)) {
        find_silent(trees, ledger, ix);
    }
}

/// The master was sent a corrupt piece itself.
pub(super) fn find_corrupt(trees: &mut Trees, ledger: &mut Ledger, ix: NodeIx) {
    ledger.confirm(trees.node(ix).id);
    if !trees.node(ix).standing.banned {
        ban(trees, ix);
    }
}

/// The master reached the node: a suspect may serve again, some times, as an inner
/// node of that stripe.
pub(super) fn find_well(trees: &mut Trees, ledger: &mut Ledger, ix: NodeIx, primary: u8) {
    if !trees.node(ix).standing.suspect || !ledger.pardon(ix) {
        return;
    }
    // Until now it used no slots and could hang anywhere: it is placed as if it
    // joined now.
    let rest = trees.stripes().filter(|&stripe| stripe != primary);
    let stripes: Vec<u8> =
        [primary].into_iter().chain(rest).filter(|&s| trees.is_attached(ix, s)).collect();
    stripes.iter().for_each(|&stripe| trees.detach(ix, stripe));
    trees.set_primary(ix, primary);
    trees.set_standing(ix, |s| s.suspect = false);
    stripes.into_iter().for_each(|stripe| place(trees, ix, stripe));
    relieve(trees);
}

fn is_fault_above(trees: &Trees, ledger: &Ledger, charge: &Charge) -> bool {
    ledger.is_fault_above(trees.lineage(charge.accused, charge.stripe), charge.at_ms)
}

fn child_voices(trees: &Trees, ix: NodeIx) -> impl Iterator<Item = Voice> + '_ {
    trees.node(ix).children.iter().map(|edge| trees.node(edge.child).voice)
}

fn suspect(trees: &mut Trees, accused: NodeIx, accusers: &[NodeId]) -> Verdict {
    trees.set_standing(accused, |s| s.suspect = true);
    dissolve(trees, accused);
    // Those who left it first had no choice but to go down.
    for &accuser in accusers {
        if let Some(accuser) = trees.roster().find(accuser) {
            lift(trees, accuser);
        }
    }
    relieve(trees);
    Verdict::Suspect
}

fn ban(trees: &mut Trees, ix: NodeIx) -> Verdict {
    trees.set_standing(ix, |s| s.banned = true);
    dissolve(trees, ix);
    relieve(trees);
    Verdict::Banned
}

fn hear_of_slowness(trees: &mut Trees, ledger: &mut Ledger, charge: &Charge) -> Verdict {
    let &Charge { accuser, accused, stripe, .. } = charge;
    ledger.note_starved(accuser, stripe, charge.at_ms);
    let lineage = trees.lineage(accused, stripe);
    match ledger.hear_of_slowness(charge, child_voices(trees, accused), lineage) {
        SlownessRuling::SlowUplink => note_slow_uplink(trees, accused),
        SlownessRuling::Move => {
            trees.reject(accuser, trees.node(accused).id);
            let accused = Upstream::Node(accused);
            let verdict = move_off(trees, accuser, stripe, accused, true);
            if trees.stripes().any(|s| trees.link(accuser, s).parent == Some(accused)) {
                // There was nothing better: it may complain again.
                trees.unreject(accuser);
            }
            verdict
        }
        SlownessRuling::Wait => Verdict::Waits,
    }
}

fn note_slow_uplink(trees: &mut Trees, accused: NodeIx) -> Verdict {
    let is_known = trees.node(accused).standing.slow_uplink;
    let count = trees.slow_uplink_count() + 1;
    if is_known || count * SLOW_UPLINK_ONE_IN > trees.roster().len() {
        return Verdict::Waits;
    }
    trees.set_standing(accused, |s| s.slow_uplink = true);
    dissolve(trees, accused);
    relieve(trees);
    Verdict::SlowUplink
}

/// Gives a node whose parent has passed it others that may have what it wants, if there are
/// any: by what those say it is soon known whether all have passed it.
fn move_on(trees: &mut Trees, node: NodeIx, passed: NodeIx) -> Verdict {
    let mut verdict = Verdict::Waits;
    for stripe in trees.stripes() {
        if trees.link(node, stripe).parent == Some(Upstream::Node(passed)) {
            trees.detach(node, stripe);
            let parent = Search { trees, node, stripe }.choose_node();
            trees.attach(node, parent, stripe);
            verdict = Verdict::Moved;
        }
    }
    verdict
}

/// Gives a node other parents in the stripes that it has this one in; where
/// `needs_room`, only if there is a place within budget, since no one is to be
/// overloaded for it.
fn move_off(trees: &mut Trees, ix: NodeIx, stripe: u8, bad: Upstream, needs_room: bool) -> Verdict {
    for at in trees.stripes() {
        let has_it = trees.link(ix, at).parent == Some(bad);
        let has_room = || Search { trees, node: ix, stripe: at }.has_spare_outside();
        if has_it && (!needs_room || has_room()) {
            place_aside(trees, ix, at);
        }
    }
    let stays = trees.link(ix, stripe).parent == Some(bad);
    if stays { Verdict::Waits } else { Verdict::Moved }
}
