//! Who fails, and what the others say of it: the convicted serve nobody, and
//! nobody is convicted for what another did.

use super::random::complaint;
use super::world::World;
use super::{cases, check_budgets, forest, log_ceil};
use crate::control::Complaint;
use crate::overlay::{NodeId, Parent, Verdict, Voice};
use alloc::format;
use alloc::vec::Vec;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

proptest! {
    #![proptest_config(cases(2))]

    #[test]
    fn frozen_nodes_lose_their_children_and_nothing_is_overloaded(
        frozen in prop_oneof![vec(any::<Index>(), 50), vec(any::<Index>(), 200)],
    ) {
        let mut world = World::with(forest(4, 1), 1000, "frozen");
        for at in &frozen {
            // Past the time in which a fault is looked for above.
            world.now_ms += 20_000;
            let id = *at.get(&world.alive);
            world.all_complain(id, Complaint::Frozen);
            // Those that were told to wait, because it was moved itself.
            world.now_ms += 2_000;
            world.all_complain(id, Complaint::Frozen);
            prop_assert!(world.children(id).is_empty(), "{}", id);
            world.follow();
            world.check();
            check_budgets(&world.forest, "frozen");
        }
        let stats = world.forest.stats();
        prop_assert!(stats.suspects > 0 && stats.levels <= log_ceil(4, 1000) + 7, "{:?}", stats);
        for id in world.alive.clone() {
            world.find_well(id);
            if id % 50 == 0 {
                world.follow();
                world.check();
            }
        }
        prop_assert_eq!(world.forest.stats().suspects, 0);
        check_budgets(&world.forest, "trusted again");
    }

    #[test]
    fn proof_of_corruption_bans_at_once_and_overload_is_bounded_and_even(
        corrupt in vec(any::<Index>(), 150),
    ) {
        let mut world = World::with(forest(4, 1), 500, "corrupt pieces");
        for at in &corrupt {
            let feeding = world.those(|id| world.forest.children(id).next().is_some());
            let bad = *at.get(&feeding);
            let (child, stripe) = world.children(bad)[0];
            world.complain(child, stripe, bad, Complaint::Corrupt);
            world.forest.find_corrupt(NodeId(bad), world.now_ms);
            prop_assert!(world.children(bad).is_empty() && world.forest.is_banned(NodeId(bad)));
            world.follow();
            world.check();
            for stripe in 0..4 {
                prop_assert!(world.forest.master_children(stripe) <= 2, "a stampede");
            }
            // The banned go on drawing, so the others carry more, and evenly.
            let most = world.alive.iter().map(|&id| world.forest.slots_used(NodeId(id))).max();
            prop_assert!(most <= Some(6), "{:?}", most);
        }
        let stats = world.forest.stats();
        prop_assert!(stats.overcommitted > 0, "{:?}", stats);
        (0..400).for_each(|_| world.join(None));
        world.check();
        // New slots are used first for what was overloaded, but 400 joins bring
        // 1600 slots and need as many: the banned leave before all is well.
        let banned = world.those(|id| world.forest.is_banned(id));
        banned.into_iter().for_each(|id| world.leave(id));
        world.check();
        check_budgets(&world.forest, "after the banned have left");
    }

    /// However often and of whomever: only the edges of those who complain are
    /// moved, unless the master finds out something itself.
    #[test]
    fn what_one_address_says_moves_its_own_edges_alone(
        joins in 1usize..20,
        said in vec((any::<Index>(), 0u8..4, complaint(), 0u64..4_000), 1..200),
    ) {
        let mut world = World::with(forest(4, 1), 40, "one address");
        let honest = world.alive.clone();
        let first = world.next;
        (0..joins).for_each(|at| world.join_as(None, Voice(u128::MAX), at % 2 == 0));
        world.follow();
        let parents = |world: &World| -> Vec<Vec<Parent>> {
            honest.iter().map(|&id| world.forest.parents(NodeId(id)).collect()).collect()
        };
        let before = parents(&world);
        for (at, stripe, why, ms) in said {
            world.now_ms += ms;
            let accuser = first + at.index(joins) as u32;
            if let Some(parent) = world.forest.parent(NodeId(accuser), stripe) {
                let verdict = world.complain_of(accuser, stripe, parent, why);
                prop_assert!(matches!(verdict, Verdict::Moved | Verdict::Waits), "{:?}", verdict);
            }
            world.follow();
            world.check();
            prop_assert_eq!(&parents(&world), &before);
        }
    }

    /// All below a frozen node starve within the same second and complain in
    /// any order, and again while it lasts. The trees must not be torn apart
    /// for it.
    #[test]
    fn a_frozen_node_at_the_top_does_not_condemn_all_below_it(
        order in Just((0..1000).map(NodeId).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut world = World::with(forest(4, 1), 1000, "frozen at the top");
        let trees = world.forest.trees();
        let frozen = trees.node(trees.master_children(1)[0]).id;
        let (mut rounds, mut changes) = (0, 0);
        while !world.children(frozen.0).is_empty() {
            rounds += 1;
            world.now_ms += 3_000;
            changes += all_below_complain(&mut world, frozen, &order);
        }
        let stats = world.forest.stats();
        prop_assert!(world.forest.is_suspect(frozen));
        prop_assert!(rounds <= 2 && stats.suspects <= 25, "{} rounds, {:?}", rounds, stats);
        // Of 4,000 parents.
        prop_assert!(changes < 1_000, "{} changes", changes);
        world.check();
        check_budgets(&world.forest, "frozen at the top");
    }
}

/// Those below a node in stripe 1 say that their parents are frozen. Returns
/// how many changes that made.
fn all_below_complain(world: &mut World, frozen: NodeId, order: &[NodeId]) -> usize {
    let mut changes = 0;
    for &id in order.iter().filter(|&&id| id != frozen) {
        world.now_ms += 1;
        let trees = world.forest.trees();
        let ix = |id| trees.roster().find(id).unwrap();
        if trees.is_below(ix(id), ix(frozen), 1) {
            let parent = world.forest.parent(id, 1).unwrap();
            world.forest.replace(id, 1, parent, Complaint::Frozen, world.now_ms);
            changes += world.follow();
        }
    }
    changes
}

#[test]
fn more_than_are_content_make_a_suspect() {
    let mut world = World::with(forest(4, 1), 100, "suspects");
    let bad = world.an_inner_node(0);
    let kids = world.children(bad);
    assert_eq!(kids.len(), 4);
    assert_eq!(world.complain(kids[0].0, kids[0].1, bad, Complaint::Lost), Verdict::Moved);
    let again = world.complain(kids[0].0, kids[0].1, bad, Complaint::Lost);
    assert_eq!(again, Verdict::Moved, "stale, but not told yet");
    assert_eq!(world.complain(kids[1].0, kids[1].1, bad, Complaint::Lost), Verdict::Moved);
    assert!(!world.forest.is_suspect(NodeId(bad)), "two are content");
    assert_eq!(world.complain(kids[2].0, kids[2].1, bad, Complaint::Lost), Verdict::Suspect);
    assert!(world.children(bad).is_empty());
    world.check();
    world.follow();
    let stale = world.complain(kids[3].0, kids[3].1, bad, Complaint::Lost);
    assert_eq!(stale, Verdict::Dismissed, "it knows its new parent");
    world.find_well(bad);
    assert!(!world.forest.is_suspect(NodeId(bad)));
    world.check();
}

#[test]
fn of_an_only_child_the_master_convinces_itself() {
    let mut pair = World::with(forest(1, 1), 2, "one of one");
    assert_eq!(pair.complain(1, 0, 0, Complaint::Lost), Verdict::Moved);
    assert_eq!(pair.forest.parent(NodeId(1), 0), Some(Parent::Master));
    assert!(!pair.forest.is_suspect(NodeId(0)));
    pair.forest.find_silent(NodeId(0), pair.now_ms);
    assert!(pair.forest.is_suspect(NodeId(0)));
    pair.check();
}

#[test]
fn accusations_far_apart_do_not_add_up() {
    let mut world = World::with(forest(4, 1), 100, "far apart");
    let bad = world.an_inner_node(1);
    for (child, stripe) in world.children(bad).into_iter().take(3) {
        assert_eq!(world.complain(child, stripe, bad, Complaint::Lost), Verdict::Moved);
        world.now_ms += 11_000;
    }
}

#[test]
fn a_starved_parent_is_not_taken_for_a_frozen_one() {
    let mut world = World::with(forest(4, 1), 300, "starved");
    let stripe = 2;
    let frozen = world.an_inner_node(stripe);
    let deep = |id: &u32| world.children(*id).iter().any(|k| k.1 == stripe);
    let kids: Vec<u32> = world.children(frozen).into_iter().map(|k| k.0).filter(deep).collect();
    let (first, second) = (kids[0], kids[1]);
    let grandchild = world.children(second).iter().find(|k| k.1 == stripe).unwrap().0;
    assert_eq!(world.complain(first, stripe, frozen, Complaint::Frozen), Verdict::Moved);
    // The fault above is known now: those below it are not torn apart.
    let below = world.complain(grandchild, stripe, second, Complaint::Frozen);
    assert_eq!(below, Verdict::Waits);
    assert_eq!(world.complain(second, stripe, frozen, Complaint::Frozen), Verdict::Moved);
    world.forest.find_silent(NodeId(frozen), world.now_ms);
    let below = world.complain(grandchild, stripe, second, Complaint::Frozen);
    assert_eq!(below, Verdict::Waits, "its parent has a new parent since a moment");
    world.now_ms += 20_000;
    let below = world.complain(grandchild, stripe, second, Complaint::Frozen);
    assert_ne!(below, Verdict::Waits, "it had its time");
    world.find_well(frozen);
    assert!(!world.forest.is_suspect(NodeId(frozen)));
    world.check();
}

#[test]
fn who_freezes_again_and_again_is_not_trusted_for_ever() {
    let mut world = World::with(forest(2, 1), 40, "again");
    let mut rounds = 0;
    let bad = NodeId(world.an_inner_node(0));
    while !world.forest.is_suspect(bad) {
        world.now_ms += 20_000;
        // Who rejected it once is not given it again: new children come.
        (0..8).for_each(|_| world.join(None));
        world.follow();
        world.all_complain(bad.0, Complaint::Lost);
        world.check();
        world.find_well(bad.0);
        world.check();
        rounds += 1;
        assert!(rounds < 20);
    }
    assert!(rounds > 1);
}

#[test]
fn a_child_is_not_given_a_parent_it_rejected() {
    let mut world = World::with(forest(4, 1), 60, "rejected");
    let (child, stripe) = (59, 0);
    let mut rejected = Vec::new();
    for _ in 0..7 {
        world.now_ms += 60_000;
        let Some(Parent::Node(parent)) = world.forest.parent(NodeId(child), stripe) else { break };
        assert!(!rejected.contains(&parent), "{parent:?} again, after {rejected:?}");
        world.complain(child, stripe, parent.0, Complaint::Lost);
        rejected.push(parent);
        world.follow();
        world.check();
    }
    assert!(rejected.len() >= 3, "{rejected:?}: then there is no room but at the master");
    assert!(world.forest.parents(NodeId(child)).all(|p| match p {
        Parent::Node(parent) => !rejected.contains(&parent),
        Parent::Master => true,
    }));
}

#[test]
fn complaints_of_the_master_do_not_leave_a_stripe_without_a_root() {
    for head in [1, 4] {
        let mut world = World::with(forest(4, head), 40, format!("head {head}"));
        for id in 0..40 {
            for stripe in 0..4 {
                let why = Complaint::Frozen;
                let id = NodeId(id);
                world.forest.replace(id, stripe, Parent::Master, why, world.now_ms);
            }
            world.follow();
            world.check();
        }
        for stripe in 0..4 {
            assert!(world.forest.master_children(stripe) >= 1);
        }
    }
}

#[test]
fn corruption_that_cannot_be_proved_is_weighed() {
    let mut world = World::with(forest(4, 1), 100, "unproved");
    let bad = world.an_inner_node(0);
    let kids = world.children(bad);
    for (at, expected) in [(0, Verdict::Moved), (1, Verdict::Moved), (2, Verdict::Banned)] {
        let (child, stripe) = kids[at];
        assert_eq!(world.complain(child, stripe, bad, Complaint::Corrupt), expected, "{at}");
    }
    assert!(world.children(bad).is_empty() && world.forest.is_banned(NodeId(bad)));
    world.forest.forgive(NodeId(bad));
    assert!(!world.forest.is_banned(NodeId(bad)), "bans end");
    world.check();
}

#[test]
fn who_accused_three_falsely_is_not_believed_any_more() {
    let mut world = World::with(forest(4, 1), 100, "liar");
    let liar = world.an_inner_node(3);
    let mut named = Vec::new();
    for stripe in [0, 1, 2] {
        let Some(Parent::Node(parent)) = world.forest.parent(NodeId(liar), stripe) else {
            panic!("it is a leaf there")
        };
        let verdict = world.complain(liar, stripe, parent.0, Complaint::Corrupt);
        assert_eq!(verdict, Verdict::Moved);
        named.extend(world.forest.find_well(parent, Some(Complaint::Corrupt), world.now_ms));
        world.check();
    }
    assert_eq!(named, [Voice(liar.into())], "once");
    let bad = world.an_inner_node(0);
    let kids: Vec<(u32, u8)> = world.children(bad);
    // Its word does not count any more, and that of others does.
    let is_kid = kids.iter().any(|kid| kid.0 == liar);
    assert!(!is_kid);
    assert!(!world.forest.is_banned(NodeId(liar)), "it serves as before");
    world.check();
    check_budgets(&world.forest, "liar");
}

#[test]
fn who_does_not_serve_as_it_should_is_treated_as_lost() {
    let mut world = World::with(forest(4, 1), 100, "refused");
    let bad = world.an_inner_node(0);
    let kids = world.children(bad);
    assert_eq!(world.complain(kids[0].0, kids[0].1, bad, Complaint::Refused), Verdict::Moved);
    assert_eq!(world.complain(kids[1].0, kids[1].1, bad, Complaint::Frozen), Verdict::Moved);
    assert_eq!(world.complain(kids[2].0, kids[2].1, bad, Complaint::Lost), Verdict::Suspect);
    world.check();
}
