//! Who leaves, retires or withdraws: the others keep their levels and budgets.

use super::world::World;
use super::{cases, check_budgets, forest, log_ceil};
use crate::overlay::{NodeId, Parent};
use alloc::collections::VecDeque;
use alloc::format;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

proptest! {
    #![proptest_config(cases(3))]

    #[test]
    fn one_stripe_is_a_chain_that_closes_over_who_leaves(leaving in vec(any::<Index>(), 300)) {
        let mut world = World::with(forest(1, 1), 1000, "chain");
        prop_assert_eq!(world.forest.stats().levels, 1000);
        for (round, at) in leaving.iter().enumerate() {
            world.leave(*at.get(&world.alive));
            if round % 10 == 0 {
                world.check();
            }
            check_budgets(&world.forest, "chain");
        }
        prop_assert_eq!(world.forest.stats().levels, 700);
        let changes = world.follow();
        prop_assert!(changes < 2 * 300, "{} changes", changes);
    }

    #[test]
    fn arrivals_retirements_and_leavings_mix(
        steps in vec((any::<bool>(), any::<Index>()), 600),
    ) {
        let mut world = World::new(forest(4, 1), "mixed");
        let (mut old, mut changes) = (VecDeque::new(), 0);
        for (retires, at) in steps {
            world.join(None);
            old.push_back(world.next - 1);
            if old.len() > 150 && retires {
                world.retire(old.pop_front().unwrap());
            }
            let retired = world.those(|id| world.forest.parent(id, 0).is_none());
            if retired.len() > 20 {
                world.leave(*at.get(&retired));
            }
            changes += world.follow();
            world.check();
            check_budgets(&world.forest, "mixed");
        }
        prop_assert!(changes < 600 * 4 * 4, "{} changes", changes);
        prop_assert!(world.forest.stats().levels <= 12, "{:?}", world.forest.stats());
    }

    #[test]
    fn leavings_keep_levels_and_budgets(
        leaving in prop_oneof![
            vec(any::<Index>(), 50),
            vec(any::<Index>(), 200),
            vec(any::<Index>(), 600),
        ],
    ) {
        let note = format!("{} of 1000", leaving.len());
        let mut world = World::with(forest(4, 1), 1000, note.clone());
        let mut changes = 0;
        for (round, at) in leaving.iter().enumerate() {
            world.leave(*at.get(&world.alive));
            changes += world.follow();
            if round % 10 == 0 {
                world.check();
            }
            check_budgets(&world.forest, &note);
        }
        let stats = world.forest.stats();
        prop_assert!(stats.levels <= log_ceil(4, 1000) + 4, "{}: {:?}", note, stats);
        prop_assert!(changes <= 12 * leaving.len(), "{}: {} changes", note, changes);
    }
}

#[test]
fn when_nobody_serves_the_master_must() {
    let mut world = World::with(forest(4, 1), 30, "nobody");
    for id in 0..30 {
        world.forest.withdraw(NodeId(id));
        world.follow();
        world.check();
        // Until the nodes have three times their slots the master has two.
        if id < 19 {
            assert!(world.forest.stats().master_children <= 8, "{id} {:?}", world.forest.stats());
        }
    }
    assert_eq!(world.forest.stats().master_children, 120);
    (0..40).for_each(|_| world.join(None));
    world.follow();
    world.check();
    let stats = world.forest.stats();
    assert!(stats.master_children <= 8 && stats.levels <= 10, "{stats:?}");
}

#[test]
fn who_has_everything_needs_no_parent_and_gets_no_child() {
    let mut world = World::with(forest(4, 1), 200, "retired");
    for id in 0..200 {
        let before = world.children(id);
        world.retire(id);
        assert_eq!(world.children(id), before, "children stay");
        assert_eq!(world.forest.parents(NodeId(id)).count(), 0);
        world.follow();
        world.check();
    }
    assert_eq!(world.forest.stats().master_children, 0);
    (0..100).for_each(|_| world.join(None));
    world.follow();
    world.check();
    check_budgets(&world.forest, "late");
    for id in 200..300 {
        assert!(world.forest.parents(NodeId(id)).all(|p| match p {
            Parent::Master => true,
            Parent::Node(parent) => parent.0 >= 200,
        }));
    }
    (0..200).for_each(|id| world.leave(id));
    assert_eq!(world.follow(), 0, "nobody depended on them");
}

#[test]
fn who_withdraws_loses_its_children_at_once_and_keeps_its_parents() {
    let mut world = World::with(forest(4, 1), 64, "withdrawn");
    for id in [0, 17, 33] {
        world.forest.withdraw(NodeId(id));
        assert!(world.children(id).is_empty());
        assert_eq!(world.forest.parents(NodeId(id)).count(), 4);
        world.follow();
        world.check();
    }
}
