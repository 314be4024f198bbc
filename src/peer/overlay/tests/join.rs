//! Who joins: shallow trees within everybody's budget, whatever the order.

use super::world::World;
use super::{check, check_budgets, drain, forest, joined, log_ceil};
use crate::control::Complaint;
use crate::overlay::choice::COHORT_MS;
use crate::overlay::limits::NODES_MAX;
use crate::overlay::{Change, Forest, Limits, NodeId, Parent, Verdict};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

/// Slots in use of nodes whose primary stripe is another.
fn borrowed_count(forest: &Forest) -> usize {
    let trees = forest.trees();
    let of = |s: u8| trees.index(s).lenders().map(move |key| trees.children_count(key.node, s));
    trees.stripes().flat_map(of).sum()
}

#[test]
fn any_number_of_nodes_joins_into_shallow_trees_within_budget() {
    println!("  k head      n levels log copies borrowed changes/join coalesced");
    for (stripes, head) in [(4, 1), (2, 1), (10, 1), (16, 1), (4, 4), (4, 10)] {
        for n in [1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 31, 32, 64, 91, 100, 1000, 10_000] {
            if n < 10_000 || (stripes, head) == (4, 1) {
                check_joined(stripes, head, n);
            }
        }
    }
}

fn check_joined(stripes: u8, head: u16, n: u32) {
    let note = format!("k {stripes} head {head} n {n}");
    let mut burst = joined(stripes, head, n);
    let mut slow = forest(stripes, head);
    let mut changes = 0;
    for id in 0..n {
        slow.join_one(NodeId(id), None, 0);
        changes += drain(&mut slow);
    }
    let coalesced = drain(&mut burst);
    let (levels, log) = (burst.stats().levels, log_ceil(stripes.into(), n.into()));
    let copies = burst.stats().master_children as f64 / f64::from(stripes);
    let per_join = changes as f64 / f64::from(n);
    println!(
        "{stripes:3} {head:4} {n:6} {levels:6} {log:3} {copies:6.2} {:8} {per_join:12.2} {coalesced:9}",
        borrowed_count(&burst)
    );
    check(&burst);
    check_budgets(&burst, &note);
    assert_eq!(coalesced, n as usize * stripes as usize, "{note}");
    // With fewer nodes than stripes some stripes have no inner node
    // and are chains of borrowed slots.
    let bound = if n < u32::from(stripes) { n } else { log + 2 };
    assert!(levels <= bound, "{note}: {levels} levels");
    assert!(head > 1 || copies <= 1.0, "{note}: {copies} copies");
    assert!(per_join <= 2.0 * f64::from(stripes), "{note}: {per_join} changes per join");
}

#[test]
fn a_new_inner_node_takes_the_place_of_the_highest_leaf_which_moves_below() {
    let mut forest = forest(2, 1);
    for id in 0..2 {
        forest.join_one(NodeId(id), None, 0);
    }
    drain(&mut forest);
    // Node 0 is inner in stripe 0, node 1 in stripe 1; each feeds the other.
    assert_eq!(forest.parent(NodeId(1), 0), Some(Parent::Node(NodeId(0))));
    assert_eq!(forest.parent(NodeId(0), 1), Some(Parent::Node(NodeId(1))));
    forest.join_one(NodeId(2), None, 0);
    forest.join_one(NodeId(3), None, 0);
    forest.join_one(NodeId(4), None, 0);
    let level = |id| forest.level(NodeId(id), 0);
    let (inner, leaf) = ([0, 2, 4].map(level), [1, 3].map(level));
    assert_eq!(inner.iter().max(), Some(&2), "{inner:?}");
    assert_eq!(leaf.iter().min(), Some(&3), "{leaf:?}");
    let announced: Vec<Change> = core::iter::from_fn(|| forest.poll_change()).collect();
    let moved = announced.iter().find(|c| c.node == NodeId(1) && c.stripe == 0).unwrap();
    assert!(matches!(moved.parent, Parent::Node(NodeId(2 | 4))), "{moved:?}");
}

#[test]
fn a_change_that_is_overtaken_is_told_once_and_in_order() {
    let mut forest = joined(4, 1, 50);
    let mut seen = BTreeSet::new();
    while let Some(change) = forest.poll_change() {
        assert!(seen.insert((change.node.0, change.stripe)));
        assert_eq!(forest.parent(change.node, change.stripe), Some(change.parent));
    }
    assert_eq!(seen.len(), 200);
    assert!(forest.poll_change().is_none());
}

#[test]
fn unknown_nodes_and_stripes_are_answered_and_not_believed() {
    let mut forest = joined(4, 1, 10);
    let stranger = NodeId(77);
    assert!(!forest.join_one(NodeId(3), None, 0), "in already");
    forest.leave(stranger);
    forest.retire(stranger);
    forest.withdraw(stranger);
    assert_eq!(forest.find_well(stranger, Some(Complaint::Lost), 1), []);
    forest.find_silent(stranger, 1);
    forest.find_corrupt(stranger, 1);
    forest.forgive(stranger);
    assert_eq!(forest.parents(stranger).count(), 0);
    assert_eq!((forest.level(stranger, 0), forest.level(NodeId(1), 4)), (0, 0));
    let wrong = Complaint::Corrupt;
    let says = |f: &mut Forest, child, stripe, bad| f.replace(child, stripe, bad, wrong, 1);
    let (one, two) = (Parent::Node(NodeId(1)), Parent::Node(stranger));
    assert_eq!(says(&mut forest, stranger, 0, one), Verdict::Dismissed);
    assert_eq!(says(&mut forest, NodeId(1), 0, two), Verdict::Dismissed);
    assert_eq!(says(&mut forest, NodeId(1), 9, Parent::Master), Verdict::Dismissed);
    assert_eq!(says(&mut forest, NodeId(1), 0, one), Verdict::Dismissed, "of itself");
    check(&forest);
}

#[test]
fn who_comes_late_is_put_below_those_who_have_more() {
    for (late_ms, is_above) in [(COHORT_MS, true), (COHORT_MS + 1, false)] {
        let mut forest = forest(4, 1);
        (0..20).for_each(|id| assert!(forest.join_one(NodeId(id), None, 5)));
        for id in 20..32 {
            assert!(forest.join_one(NodeId(id), None, 5 + late_ms));
        }
        let above = (0..20).flat_map(|id| forest.parents(NodeId(id)).collect::<Vec<_>>());
        let late = above.filter(|parent| matches!(parent, Parent::Node(NodeId(20..))));
        assert_eq!(late.count() > 0, is_above, "{late_ms} ms later");
        check_budgets(&forest, "late");
    }
}

#[test]
fn who_come_one_by_one_make_no_chain() {
    for (stripes, head) in [(4, 1), (2, 1), (8, 1), (4, 4)] {
        for n in [31, 100, 300, 1000] {
            let note = format!("k {stripes} head {head} n {n}");
            let mut forest = forest(stripes, head);
            for id in 0..n {
                assert!(forest.join_one(NodeId(id), None, u64::from(id) * (COHORT_MS + 1)));
            }
            check(&forest);
            check_budgets(&forest, &note);
            let balanced = joined(stripes, head, n).stats().levels;
            let levels = forest.stats().levels;
            assert!(
                levels <= (2 * balanced).max(10),
                "{note}: {levels} levels, balanced {balanced}"
            );
        }
    }
}

#[test]
fn any_number_is_a_name() {
    let mut world = World::new(forest(2, 1), "numbers");
    for id in [u32::MAX, u32::MAX - 1, 0] {
        assert!(world.forest.join_one(NodeId(id), None, 0));
        check(&world.forest);
    }
    world.alive = [u32::MAX, u32::MAX - 1, 0].into();
    world.follow();
}

#[test]
fn a_full_forest_takes_nobody_in() {
    // Of several slots each, or it would be one chain of all.
    let mut forest = Forest::new(Limits { stripes: 1, slots: 16, head_copies: 1 });
    let nodes_max = NODES_MAX as u32;
    assert!((0..nodes_max).all(|id| forest.join_one(NodeId(id), None, 0)));
    assert!(!forest.join_one(NodeId(nodes_max), None, 0));
    forest.leave(NodeId(7));
    assert!(forest.join_one(NodeId(nodes_max), None, 0));
}

/// In a crowd the master may reach everybody later than it places them.
#[test]
fn who_is_reached_late_stands_no_deeper_for_it() {
    let mut world = World::with(forest(4, 1), 10, "reached late");
    for _ in 0..290 {
        world.join_unreached(None);
    }
    for id in 10..300 {
        world.find_well(id);
    }
    world.follow();
    world.check();
    check_budgets(&world.forest, "reached late");
    let stats = world.forest.stats();
    assert!(stats.suspects == 0 && stats.levels <= log_ceil(4, 300) + 3, "{stats:?}");
}
