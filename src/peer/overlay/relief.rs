//! What is put right when a slot becomes spare: whoever is overloaded, or out
//! of place, is moved as far as there is a better place.
//!
//! Each event moves a bounded number of nodes, so that one arrival does not
//! change the parents of half a cluster; the rest waits for the next event.

use super::choice::{LOOK_MAX, Search};
use super::node::{NodeIx, Upstream};
use super::placement::place_anew;
use super::trees::Trees;
use alloc::vec::Vec;

/// Edges put into a better place after one event: bounds the changes it makes.
const RELIEF_MAX: usize = 32;

/// Puts right what is overloaded or out of place, as far as there are spare
/// slots for it.
pub(super) fn relieve(trees: &mut Trees) {
    let mut left = RELIEF_MAX;
    for stripe in trees.stripes() {
        while left > 0 && relieve_master(trees, stripe) {
            left -= 1;
        }
    }
    while left > 0 && relieve_node(trees) {
        left -= 1;
    }
    for stripe in trees.stripes() {
        while left > 0 && reclaim(trees, stripe) {
            left -= 1;
        }
    }
}

/// Moves one child off the master if it has more than `head_copies` of them.
fn relieve_master(trees: &mut Trees, stripe: u8) -> bool {
    let (load, limits) = (trees.master_load(stripe), trees.limits());
    let is_stampede = load > limits.head_overcommit_max() && can_overcommit(trees);
    let has_spare = trees.index(stripe).has_free_slot();
    if load <= limits.head_copies || !has_spare && !is_stampede {
        return false;
    }
    let draws = |child: &NodeIx| !trees.node(*child).standing.suspect;
    let drawn = trees.master_children(stripe).iter().copied().filter(draws);
    let count = |child: NodeIx| trees.children_count(child, stripe);
    // Few: put where they belong one by one, since a sort is 4 KB of code.
    let mut children: Vec<NodeIx> = Vec::new();
    for child in drawn.take(LOOK_MAX) {
        let at = children.partition_point(|&known| count(known) <= count(child));
        children.insert(at, child);
    }
    let least = children.first().copied();
    if move_one(trees, children.into_iter().map(|child| (child, stripe)).collect()) {
        return true;
    }
    let Some(least) = least.filter(|_| is_stampede) else { return false };
    place_anew(trees, least, stripe);
    trees.master_load(stripe) < load
}

/// Moves one child off a node that has more of them than slots.
fn relieve_node(trees: &mut Trees) -> bool {
    let slots = trees.limits().slots;
    let overloaded =
        trees.full().rev().take_while(|key| key.slots_used > u32::from(slots)).take(LOOK_MAX);
    let overloaded: Vec<NodeIx> = overloaded.map(|key| key.node).collect();
    if overloaded.is_empty() || trees.stripes().all(|stripe| !has_room(trees, stripe)) {
        return false;
    }
    let edges = |ix: NodeIx| trees.node(ix).children.iter().map(|e| (e.child, e.stripe));
    let edges = overloaded.into_iter().flat_map(edges).collect();
    move_one(trees, edges)
}

fn can_overcommit(trees: &Trees) -> bool {
    trees
        .full()
        .next()
        .is_some_and(|key| key.slots_used < u32::from(trees.limits().overcommit_max()))
}

fn has_room(trees: &Trees, stripe: u8) -> bool {
    trees.has_head_room(stripe) || trees.index(stripe).has_free_slot()
}

/// Moves the first of these that draws on its parent and has a better place.
fn move_one(trees: &mut Trees, edges: Vec<(NodeIx, u8)>) -> bool {
    let fits = |&(node, stripe): &(NodeIx, u8)| {
        !trees.node(node).standing.suspect && Search { trees, node, stripe }.has_spare_outside()
    };
    let Some((ix, stripe)) = edges.into_iter().find(fits) else { return false };
    place_anew(trees, ix, stripe);
    true
}

/// Moves one child off the lowest lender to a spare slot of an inner node, so
/// that the lender has its slots for its own stripe.
fn reclaim(trees: &mut Trees, stripe: u8) -> bool {
    let Some(lender) = trees.index(stripe).lowest_lender() else { return false };
    for node in trees.children(lender.node, stripe) {
        let search = Search { trees, node, stripe };
        if let Some(parent) = search.primary_slot_outside(lender.level) {
            trees.detach(node, stripe);
            trees.attach(node, Upstream::Node(parent), stripe);
            return true;
        }
    }
    false
}

/// An inner node goes up to where it is of more use, if there is such a place:
/// it may serve again, or a place became vacant.
pub(super) fn lift(trees: &mut Trees, ix: NodeIx) {
    let stripe = trees.node(ix).primary;
    let index = trees.index(stripe);
    let outer = index.outer().next().map(|key| key.level);
    let free = index.free_slots_of(false).next().map(|key| key.level + 1);
    let highest = outer.into_iter().chain(free).min();
    let level = trees.link(ix, stripe).level;
    if trees.is_attached(ix, stripe) && highest.is_some_and(|highest| highest < level) {
        place_anew(trees, ix, stripe);
    }
}
