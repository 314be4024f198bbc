//! Who is slow: found among all that complain, and not for one's own sake.

use super::world::World;
use super::{cases, check_budgets, forest, joined};
use crate::control::Complaint;
use crate::overlay::blame::{ACCUSATION_MS, HEARING_MS};
use crate::overlay::{NodeId, Parent, Verdict};
use alloc::vec;
use alloc::vec::Vec;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

proptest! {
    #![proptest_config(cases(2))]

    #[test]
    fn slow_parents_are_replaced_only_within_budget(slow in vec(any::<Index>(), 300)) {
        let mut world = World::with(forest(4, 1), 100, "slow");
        for at in &slow {
            let bad = *at.get(&world.alive);
            for (child, stripe) in world.children(bad) {
                world.complain(child, stripe, bad, Complaint::Slow);
                check_budgets(&world.forest, "slow");
            }
            world.follow();
        }
        world.check();
        let stats = world.forest.stats();
        prop_assert_eq!((stats.suspects, stats.banned), (0, 0));
    }
}

#[test]
fn the_uplink_that_most_children_find_slow_serves_no_more() {
    let mut world = World::with(forest(4, 1), 100, "most");
    let slow = world.an_inner_node(1);
    let kids = world.children(slow);
    let mut verdicts = Vec::new();
    for &(child, stripe) in &kids {
        world.now_ms += 1;
        verdicts.push(world.complain(child, stripe, slow, Complaint::SlowUplink));
        world.check();
    }
    // Three in four are enough, and there is no need to wait for the others.
    let enough = (3 * kids.len()).div_ceil(4);
    assert!(verdicts[..enough - 1].iter().all(|&v| v == Verdict::Waits), "{verdicts:?}");
    assert_eq!(verdicts[enough - 1], Verdict::SlowUplink, "{verdicts:?}");
    assert_eq!(world.children(slow), []);
    assert_eq!(world.forest.parents(NodeId(slow)).count(), 4, "it goes on fetching");
    world.follow();
}

#[test]
fn one_child_alone_makes_no_slow_uplink() {
    let mut forest = joined(4, 1, 2);
    let feeds = |stripe: &u8| forest.parent(NodeId(1), *stripe) == Some(Parent::Node(NodeId(0)));
    let stripes: Vec<u8> = (0..4).filter(feeds).collect();
    assert!(stripes.len() > 1, "it has several of its stripes from one parent");
    for (at_ms, stripe) in (0..).step_by(100).zip(stripes) {
        let bad = Parent::Node(NodeId(0));
        let verdict = forest.replace(NodeId(1), stripe, bad, Complaint::SlowUplink, at_ms);
        assert_eq!(verdict, Verdict::Waits);
    }
    assert_eq!(forest.stats().slow_uplink, 0);
}

#[test]
fn of_all_that_complain_of_slowness_the_slow_one_is_found() {
    let mut world = World::with(forest(4, 1), 300, "slow above");
    world.now_ms += 10_000;
    let stripe = 2;
    let slow = world.an_inner_node(stripe);
    let mut below: Vec<(u32, u32)> = Vec::new();
    let mut level = vec![slow];
    while let Some(parent) = level.pop() {
        let kids = world.children(parent).into_iter().filter(|kid| kid.1 == stripe);
        for (kid, _) in kids.collect::<Vec<_>>() {
            below.push((kid, parent));
            level.push(kid);
        }
    }
    assert!(below.len() >= 20, "{}", below.len());
    // The lowest notice first, and all again a while later.
    below.reverse();
    for &(child, parent) in &below {
        world.now_ms += 5;
        assert_eq!(world.complain(child, stripe, parent, Complaint::Slow), Verdict::Waits);
    }
    world.now_ms += HEARING_MS;
    let mut verdicts = Vec::new();
    for &(child, parent) in &below {
        let verdict = world.complain(child, stripe, parent, Complaint::Slow);
        if verdict == Verdict::SlowUplink {
            assert_eq!(parent, slow);
        }
        verdicts.push(verdict);
    }
    assert_eq!(verdicts.iter().filter(|&&v| v == Verdict::SlowUplink).count(), 1);
    assert_eq!(world.children(slow), []);
    assert!(world.forest.parents(NodeId(slow)).count() == 4, "it goes on fetching");
    world.follow();
    world.check();
    assert_eq!(world.forest.stats().slow_uplink, 1);
}

#[test]
fn no_more_than_a_part_of_all_has_too_slow_an_uplink_to_serve() {
    let mut world = World::with(forest(4, 1), 40, "slow uplinks");
    world.now_ms += 10_000;
    for bad in 0..40 {
        for _ in 0..2 {
            world.all_complain(bad, Complaint::Slow);
            world.now_ms += HEARING_MS;
        }
        world.now_ms += ACCUSATION_MS;
        world.follow();
        world.check();
    }
    assert_eq!(world.forest.stats().slow_uplink, 10);
    let trees = world.forest.trees();
    let standing = |id| trees.node(trees.roster().find(id).unwrap()).standing;
    let gone = world.those(|id| standing(id).slow_uplink);
    gone.into_iter().for_each(|id| world.leave(id));
    world.check();
    assert_eq!(world.forest.stats().slow_uplink, 0);
}
