//! Puts nodes where [`super::choice`] says, with all that has to move for it:
//! displaced leaves, the children of a node that stops serving, its successor.

use super::choice::{Effort, Placement, Search, feeds};
use super::node::{NodeIx, Upstream};
use super::trees::Trees;
use alloc::vec::Vec;

/// Nodes moved in turn to make one place.
const MOVES_MAX: u8 = 3;

/// Gives a detached node a parent.
pub(super) fn place(trees: &mut Trees, ix: NodeIx, stripe: u8) {
    place_within(trees, ix, stripe, MOVES_MAX);
}

/// Takes an attached node off its parent and gives it the best one there is.
pub(super) fn place_anew(trees: &mut Trees, ix: NodeIx, stripe: u8) {
    trees.detach(ix, stripe);
    place(trees, ix, stripe);
}

/// The same, and nobody else is moved for it.
pub(super) fn place_aside(trees: &mut Trees, ix: NodeIx, stripe: u8) {
    trees.detach(ix, stripe);
    attach_aside(trees, ix, stripe);
}

/// Gives a detached node a parent that has room, or the least loaded.
pub(super) fn attach_aside(trees: &mut Trees, ix: NodeIx, stripe: u8) {
    let search = Search { trees, node: ix, stripe };
    let parent = match search.choose(Effort::Last) {
        Some(Placement::Under(parent)) => parent,
        Some(Placement::InPlaceOf(_)) | None => search.choose_overloaded(),
    };
    trees.attach(ix, parent, stripe);
}

/// Others may be moved for it, and others for those, `moves` deep.
fn place_within(trees: &mut Trees, ix: NodeIx, stripe: u8, moves: u8) {
    let effort = match moves {
        MOVES_MAX => Effort::First,
        0 => Effort::Last,
        _ => Effort::Displaced,
    };
    let search = Search { trees, node: ix, stripe };
    match search.choose(effort) {
        Some(Placement::Under(parent)) => attach_raised(trees, ix, parent, stripe),
        Some(Placement::InPlaceOf(old)) => {
            let orphans = trees.take_place(ix, old, stripe);
            place_within(trees, old, stripe, moves - 1);
            for orphan in orphans {
                place_within(trees, orphan, stripe, moves - 1);
            }
        }
        None => {
            let parent = search.choose_overloaded();
            attach_raised(trees, ix, parent, stripe);
        }
    }
}

fn attach_raised(trees: &mut Trees, ix: NodeIx, parent: Upstream, stripe: u8) {
    if let Upstream::Node(lender) = parent
        && trees.node(lender).primary != stripe
        && !trees.node(ix).standing.suspect
    {
        raise(trees, lender, stripe);
    }
    trees.attach(ix, parent, stripe);
}

/// Before a slot is borrowed: the lender changes places with a higher leaf that
/// has nothing to lend, if there is one.
fn raise(trees: &mut Trees, lender: NodeIx, stripe: u8) {
    let Some(parent) = trees.link(lender, stripe).parent else { return };
    let search = Search { trees, node: lender, stripe };
    let Some(leaf) = search.higher_leaf(parent) else { return };
    trees.detach(lender, stripe);
    trees.take_place(lender, leaf, stripe);
    trees.attach(leaf, parent, stripe);
}

/// Takes a node off its parents where it has no children.
pub(super) fn detach_leaf(trees: &mut Trees, ix: NodeIx) {
    for stripe in trees.stripes() {
        if !trees.has_children(ix, stripe) && trees.is_attached(ix, stripe) {
            trees.detach(ix, stripe);
        }
    }
}

/// Gives all children of a node other parents; it must not serve any more.
pub(super) fn dissolve(trees: &mut Trees, ix: NodeIx) {
    let is_gone = trees.node(ix).standing.gone;
    let mut waiting = Vec::new();
    for stripe in trees.stripes() {
        orphan(trees, ix, stripe, &mut waiting);
        if is_gone && trees.is_attached(ix, stripe) {
            trees.detach(ix, stripe);
        }
    }
    // Those with subtrees first: the slots in them serve the leaves.
    let (feeding, leaves): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|&(at, stripe)| feeds(trees, at, stripe));
    for (at, stripe) in feeding.into_iter().chain(leaves) {
        place(trees, at, stripe);
    }
}

/// Gives other parents to a node's children, and to the node, where one does not suit
/// the other any more; and to a full one, if it can, those that are full, too.
pub(super) fn part(trees: &mut Trees, ix: NodeIx) {
    let is_full = trees.node(ix).standing.full;
    for stripe in trees.stripes() {
        let own = trees.link(ix, stripe).parent;
        if own.is_some_and(|above| is_full || !suits(trees, above, ix)) {
            place_anew(trees, ix, stripe);
        }
        for child in trees.children(ix, stripe) {
            if !suits(trees, Upstream::Node(ix), child)
                && trees.link(child, stripe).parent == Some(Upstream::Node(ix))
            {
                place_anew(trees, child, stripe);
            }
        }
    }
}

fn suits(trees: &Trees, above: Upstream, child: NodeIx) -> bool {
    match above {
        Upstream::Master => true,
        Upstream::Node(above) => trees.node(above).suits(trees.node(child)),
    }
}

/// Takes the children of a node off it in one stripe: to its successor as far
/// as there is one, and else to those that wait for a place.
fn orphan(trees: &mut Trees, ix: NodeIx, stripe: u8, waiting: &mut Vec<(NodeIx, u8)>) {
    let children = trees.children(ix, stripe);
    let Some(successor) = successor(trees, ix, stripe, &children) else {
        for child in children {
            trees.detach(child, stripe);
            waiting.push((child, stripe));
        }
        return;
    };
    let wanted = children.len() - usize::from(children.contains(&successor));
    for child in trees.children(successor, stripe) {
        if trees.spare_slots(successor) >= wanted {
            break;
        }
        trees.detach(child, stripe);
        waiting.push((child, stripe));
    }
    trees.detach(successor, stripe);
    let left = trees.take_place(successor, ix, stripe);
    waiting.extend(left.into_iter().map(|orphan| (orphan, stripe)));
    if !trees.node(ix).standing.gone {
        waiting.push((ix, stripe));
    }
}

/// Who takes the place of a node that has a subtree of more than leaves: an
/// inner node from the bottom of it, so that it leaves no such hole.
fn successor(trees: &Trees, ix: NodeIx, stripe: u8, children: &[NodeIx]) -> Option<NodeIx> {
    let parent = trees.link(ix, stripe).parent?;
    if children.iter().all(|&child| !trees.has_children(child, stripe)) {
        return None;
    }
    let mut found = None;
    let mut at = ix;
    loop {
        let mut inner = trees.children(at, stripe);
        inner.retain(|&child| trees.node(child).is_inner(stripe));
        let childless = inner.iter().find(|&&child| !trees.has_children(child, stripe));
        let Some(&next) = childless.or(inner.last()) else { break };
        found = Some(next);
        at = next;
    }
    found.filter(|&successor| trees.may_feed(parent, successor))
}
