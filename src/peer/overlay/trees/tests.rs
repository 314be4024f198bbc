//! The structure alone, moved about without a policy.

use super::*;
use crate::overlay::{Newcomer, Voice};
use proptest::prelude::*;
use proptest::sample::Index;

const MASTER: Upstream = Upstream::Master;

/// Two stripes, three slots a node; node `i` at place `i`, primary in `i % 2`.
fn trees(count: u32) -> Trees {
    let mut trees = Trees::new(Limits { stripes: 2, slots: 3, head_copies: 1 });
    for id in 0..count {
        let (node, voice) = (NodeId(id), Voice(id.into()));
        let newcomer = Newcomer { node, rack: None, voice, is_partial: false, is_reached: true };
        trees.enter(Node::new(newcomer, (id % 2) as u8, 0));
    }
    trees
}

fn node(at: usize) -> Upstream {
    Upstream::Node(NodeIx::new(at))
}

fn ix(at: usize) -> NodeIx {
    NodeIx::new(at)
}

/// 0 below the master, 1 and 2 below 0, 3 below 1, in stripe 0.
fn small() -> Trees {
    let mut trees = trees(5);
    for (at, parent) in [(0, MASTER), (1, node(0)), (2, node(0)), (3, node(1))] {
        trees.attach(ix(at), parent, 0);
    }
    trees.check_consistency();
    trees
}

#[test]
fn a_subtree_moves_with_its_root_and_is_not_found_meanwhile() {
    let mut trees = small();
    assert_eq!(trees.index(0).free_slots().count(), 4);
    trees.detach(ix(1), 0);
    assert_eq!(trees.index(0).free_slots().count(), 2, "neither 1 nor 3, which hangs below it");
    assert!(trees.is_below(ix(3), ix(1), 0));
    trees.attach(ix(1), node(2), 0);
    assert_eq!([1, 2, 3].map(|at| trees.link(ix(at), 0).level), [3, 2, 4]);
    trees.check_consistency();
}

#[test]
fn who_takes_a_place_takes_the_children_at_their_level() {
    let mut trees = small();
    assert_eq!(trees.take_place(ix(4), ix(0), 0), []);
    assert_eq!(trees.link(ix(4), 0).parent, Some(MASTER));
    assert_eq!([1, 2, 3].map(|at| trees.link(ix(at), 0).level), [2, 2, 3]);
    assert!(trees.link(ix(0), 0).parent.is_none());
    trees.check_consistency();
}

#[test]
fn children_that_may_not_have_the_new_parent_are_left_over() {
    let mut trees = small();
    trees.reject(ix(2), NodeId(4));
    assert_eq!(trees.take_place(ix(4), ix(0), 0), [ix(2)]);
    assert!(!trees.is_attached(ix(2), 0));
    trees.check_consistency();
}

#[test]
fn who_is_severed_keeps_its_children_and_gives_its_slot_back() {
    let mut trees = small();
    trees.set_standing(ix(1), |s| s.retired = true);
    trees.sever(ix(1), 0);
    assert_eq!(trees.link(ix(3), 0).parent, Some(node(1)));
    assert_eq!((trees.link(ix(1), 0).parent, trees.link(ix(1), 0).level), (None, 2));
    assert_eq!(trees.spare_slots(ix(0)), 2);
    trees.check_consistency();
}

#[test]
fn a_suspect_uses_no_slot_of_its_parent() {
    let mut trees = small();
    trees.set_standing(ix(2), |s| s.suspect = true);
    assert_eq!(trees.node(ix(0)).slots_used, 1);
    trees.check_consistency();
    trees.set_standing(ix(2), |s| s.suspect = false);
    assert_eq!(trees.node(ix(0)).slots_used, 2);
    trees.check_consistency();
}

#[test]
fn a_leaf_that_gets_a_child_becomes_a_lender_and_back() {
    let mut trees = small();
    let lenders = |trees: &Trees| trees.index(0).lenders().map(|key| key.node).collect::<Vec<_>>();
    assert_eq!(lenders(&trees), [ix(1)], "primary in stripe 1");
    trees.detach(ix(3), 0);
    assert_eq!(lenders(&trees), []);
    trees.attach(ix(3), node(0), 0);
    trees.attach(ix(4), node(3), 0);
    assert_eq!(lenders(&trees), [ix(3)]);
    assert_eq!(trees.full().map(|key| key.node).collect::<Vec<_>>(), [ix(0)]);
    trees.check_consistency();
}

#[test]
fn the_lineage_ends_below_the_master() {
    let trees = small();
    let lineage: Vec<NodeIx> = trees.lineage(ix(3), 0).map(|at| at.node).collect();
    assert_eq!(lineage, [ix(3), ix(1), ix(0)]);
    assert!(trees.is_below(ix(3), ix(3), 0) && !trees.is_below(ix(0), ix(3), 0));
}

#[test]
fn a_parent_is_known_until_another_one_is_told() {
    let mut trees = small();
    while trees.poll_change().is_some() {}
    trees.detach(ix(3), 0);
    trees.attach(ix(3), node(2), 0);
    assert!([node(1), node(2)].iter().all(|&at| trees.knows_as_parent(ix(3), at)));
    let announced = Change { node: NodeId(3), stripe: 0, parent: Parent::Node(NodeId(2)) };
    assert_eq!(trees.poll_change(), Some(announced));
    assert!(!trees.knows_as_parent(ix(3), node(1)));
}

/// Any move that the structure allows, whether wise or not.
fn move_about(trees: &mut Trees, kind: u8, stripe: u8, at: &Index, to: &Index) {
    let nodes: Vec<NodeIx> = trees.roster().iter().collect();
    let (moved, other) = (nodes[at.index(nodes.len())], nodes[to.index(nodes.len())]);
    let (node, link) = (trees.node(moved), *trees.link(moved, stripe));
    let is_target = trees.is_attached(other, stripe) && !trees.is_below(other, moved, stripe);
    let above = trees.link(other, stripe).parent;
    match kind {
        0 => trees.sever_and_retire(moved),
        1 if node.children.is_empty() => trees.set_standing(moved, |s| s.suspect = !s.suspect),
        2 | 3 if link.level > 0 && link.parent.is_some() => trees.detach(moved, stripe),
        // Only the root of a detached subtree can be put somewhere.
        _ if node.standing.retired || link.parent.is_some() => {}
        4 => trees.attach(moved, MASTER, stripe),
        5 | 6 if is_target && above.is_some_and(|above| trees.may_feed(above, moved)) => {
            trees.take_place(moved, other, stripe);
        }
        _ if is_target && trees.may_feed(Upstream::Node(other), moved) => {
            trees.attach(moved, Upstream::Node(other), stripe);
        }
        _ => {}
    }
}

impl Trees {
    fn sever_and_retire(&mut self, ix: NodeIx) {
        if self.stripes().all(|s| self.is_attached(ix, s)) {
            self.set_standing(ix, |s| s.retired = true);
            self.stripes().for_each(|s| self.sever(ix, s));
        }
    }
}

proptest! {
    #![proptest_config(super::super::tests::cases(64))]

    #[test]
    fn whatever_is_moved_levels_loads_and_indices_match_the_edges(
        moves in prop::collection::vec((0u8..12, 0u8..2, any::<Index>(), any::<Index>()), 0..120),
    ) {
        let mut trees = trees(16);
        for (kind, stripe, at, to) in &moves {
            move_about(&mut trees, *kind, *stripe, at, to);
            trees.check_consistency();
        }
    }
}
