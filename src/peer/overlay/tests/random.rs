//! Whatever happens, in any order: what must hold of the forest always.

use super::world::World;
use super::{cases, check};
use crate::control::Complaint;
use crate::overlay::node::Rack;
use crate::overlay::{Forest, Limits, NodeId, Parent, Verdict};
use alloc::vec::Vec;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// One thing that happens; which node it happens to is drawn from those alive.
#[derive(Clone, Debug)]
enum Event {
    Join(Option<Rack>),
    Leave(Index),
    Retire(Index),
    Withdraw(Index),
    /// The master finds out how a node is.
    FindWell(Index, Complaint),
    FindSilent(Index),
    FindCorrupt(Index),
    Forgive(Index),
    /// A node that nobody reaches.
    JoinUnreached(Option<Rack>),
    /// One child complains of its parent in a stripe.
    Complain(Index, Index, Complaint),
    /// All children of a node complain of it.
    AllComplain(Index, Complaint),
    /// Somebody complains of anybody.
    Slander(Index, Index, Complaint),
    /// A number of changes is told.
    Tell(usize),
    Pass {
        ms: u64,
    },
}

pub(super) fn complaint() -> impl Strategy<Value = Complaint> {
    select(Complaint::all().to_vec())
}

fn rack() -> impl Strategy<Value = Option<Rack>> {
    (0u32..5).prop_map(Rack::new)
}

/// What ends well or is asked for: no complaint.
fn quiet_event() -> impl Strategy<Value = Event> {
    let at = any::<Index>;
    prop_oneof![
        10 => rack().prop_map(Event::Join),
        4 => at().prop_map(Event::Leave),
        2 => at().prop_map(Event::Retire),
        1 => at().prop_map(Event::Withdraw),
        3 => (0usize..40).prop_map(Event::Tell),
    ]
}

/// Complaints as well, but of no kind that makes a suspect.
fn event_without_suspects() -> impl Strategy<Value = Event> {
    let at = any::<Index>;
    let why = || select(&[Complaint::Slow, Complaint::SlowUplink, Complaint::Corrupt]);
    prop_oneof![
        20 => quiet_event(),
        5 => (at(), at(), why()).prop_map(|(a, s, c)| Event::Complain(a, s, c)),
        5 => (at(), why()).prop_map(|(a, c)| Event::AllComplain(a, c)),
        3 => (0u64..8_000).prop_map(|ms| Event::Pass { ms }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let at = any::<Index>;
    prop_oneof![
        20 => quiet_event(),
        4 => (at(), complaint()).prop_map(|(a, c)| Event::FindWell(a, c)),
        2 => at().prop_map(Event::FindSilent),
        1 => at().prop_map(Event::FindCorrupt),
        1 => at().prop_map(Event::Forgive),
        2 => rack().prop_map(Event::JoinUnreached),
        8 => (at(), at(), complaint()).prop_map(|(a, s, c)| Event::Complain(a, s, c)),
        6 => (at(), complaint()).prop_map(|(a, c)| Event::AllComplain(a, c)),
        1 => (at(), at(), complaint()).prop_map(|(a, b, c)| Event::Slander(a, b, c)),
        4 => (0u64..8_000).prop_map(|ms| Event::Pass { ms }),
    ]
}

/// A forest as `-m` and `--head` make it, and some with other slots.
fn limits() -> impl Strategy<Value = Limits> {
    const SHAPES: [(u8, u16, u16); 7] =
        [(1, 1, 1), (2, 2, 1), (3, 3, 2), (4, 4, 1), (4, 4, 4), (10, 10, 1), (4, 2, 1)];
    select(&SHAPES).prop_map(|(stripes, slots, head_copies)| Limits { stripes, slots, head_copies })
}

fn world(limits: Limits, count: usize) -> World {
    World::with(Forest::new(limits), count as u32, "random")
}

fn happen(world: &mut World, event: &Event) {
    if world.alive.is_empty() && !matches!(event, Event::Join(_) | Event::JoinUnreached(_)) {
        return;
    }
    let pick = |at: &Index| *at.get(&world.alive);
    match event {
        Event::Join(rack) => world.join(*rack),
        Event::Leave(at) => world.leave(pick(at)),
        Event::Retire(at) => world.retire(pick(at)),
        Event::Withdraw(at) => world.forest.withdraw(NodeId(pick(at))),
        Event::FindWell(at, why) => {
            world.forest.find_well(NodeId(pick(at)), Some(*why), world.now_ms);
        }
        Event::FindSilent(at) => world.forest.find_silent(NodeId(pick(at)), world.now_ms),
        Event::FindCorrupt(at) => world.forest.find_corrupt(NodeId(pick(at)), world.now_ms),
        Event::Forgive(at) => world.forest.forgive(NodeId(pick(at))),
        Event::JoinUnreached(rack) => world.join_unreached(*rack),
        Event::Complain(at, stripe, why) => complain(world, pick(at), stripe, *why),
        Event::AllComplain(at, why) => world.all_complain(pick(at), *why),
        Event::Slander(at, bad, why) => {
            world.complain(pick(at), 0, pick(bad), *why);
        }
        Event::Tell(count) => tell(world, *count),
        Event::Pass { ms } => world.now_ms += ms,
    }
}

fn complain(world: &mut World, child: u32, stripe: &Index, why: Complaint) {
    let stripe = stripe.index(world.forest.limits().stripes.into()) as u8;
    if let Some(parent) = world.forest.parent(NodeId(child), stripe) {
        world.complain_of(child, stripe, parent, why);
    }
}

fn tell(world: &mut World, count: usize) {
    for change in (0..count).map_while(|_| world.forest.poll_change()) {
        world.announced.insert((change.node.0, change.stripe), change.parent);
    }
}

/// Nobody is given more than the overcommit rule allows. That is a rule for
/// those who never were suspects: a suspect uses nothing and may hang below
/// anybody, and what it uses once it is trusted again comes on top.
fn check_overcommit(forest: &Forest) {
    let (trees, most) = (forest.trees(), forest.limits().overcommit_max());
    for node in trees.roster().iter().map(|ix| trees.node(ix)) {
        assert!(node.slots_used <= most, "{:?} feeds {}", node.id, node.slots_used);
    }
}

/// Nor is the master while a node could be given more. (With complaints there
/// may be such a node that the one to be placed has rejected.)
fn check_master_overcommit(forest: &Forest) {
    let (trees, limits) = (forest.trees(), forest.limits());
    let can_take = trees
        .roster()
        .iter()
        .map(|ix| trees.node(ix))
        .any(|node| node.standing.serves() && node.slots_used < limits.overcommit_max());
    for stripe in trees.stripes().filter(|_| can_take) {
        let load = trees.master_load(stripe);
        assert!(load <= limits.head_overcommit_max(), "the master feeds {load}");
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn whatever_happens_every_node_is_served_and_nobody_twice(
        limits in limits(),
        count in 0usize..80,
        events in vec(event(), 0..160),
    ) {
        let mut world = world(limits, count);
        for event in &events {
            happen(&mut world, event);
            check(&world.forest);
        }
        // Everybody is told the parent that it has, and then nothing.
        world.follow();
        prop_assert!(world.forest.poll_change().is_none());
    }

    #[test]
    fn while_nobody_is_a_suspect_load_keeps_to_the_overcommit_rule(
        limits in limits(),
        count in 0usize..80,
        events in vec(event_without_suspects(), 0..160),
    ) {
        let mut world = world(limits, count);
        for event in &events {
            happen(&mut world, event);
            check(&world.forest);
            check_overcommit(&world.forest);
        }
        world.follow();
    }

    #[test]
    fn while_nobody_complains_the_master_keeps_to_it_as_well(
        limits in limits(),
        count in 0usize..80,
        events in vec(quiet_event(), 0..160),
    ) {
        let mut world = world(limits, count);
        for event in &events {
            happen(&mut world, event);
            check(&world.forest);
            check_overcommit(&world.forest);
            check_master_overcommit(&world.forest);
        }
        world.follow();
    }

    #[test]
    fn the_same_calls_give_the_same_forest(
        limits in limits(),
        events in vec(event(), 0..160),
    ) {
        let run = || {
            let mut world = world(limits, 40);
            events.iter().for_each(|event| happen(&mut world, event));
            world.follow();
            world.announced
        };
        prop_assert_eq!(run(), run());
    }
}

/// Else the others would show less than they say.
#[test]
fn random_events_come_to_every_verdict() {
    let mut runner = TestRunner::new(cases(1));
    let mut verdicts = Vec::new();
    for _ in 0..32 {
        let sequence = (limits(), 0usize..80, vec(event(), 160)).new_tree(&mut runner).unwrap();
        let (limits, count, events) = sequence.current();
        let mut world = world(limits, count);
        events.iter().for_each(|event| happen(&mut world, event));
        verdicts.extend(world.verdicts);
    }
    for verdict in [
        Verdict::Dismissed,
        Verdict::Waits,
        Verdict::Moved,
        Verdict::Suspect,
        Verdict::SlowUplink,
        Verdict::Banned,
    ] {
        assert!(verdicts.contains(&verdict), "{verdict:?} never came up");
    }
}

/// Complaints of parents that are not there change nothing.
#[test]
fn who_is_alone_has_nobody_to_blame() {
    for why in Complaint::all() {
        let mut world = world(Limits { stripes: 4, slots: 4, head_copies: 1 }, 1);
        for stripe in 0..4 {
            world.forest.replace(NodeId(0), stripe, Parent::Master, why, world.now_ms);
            check(&world.forest);
            assert_eq!(world.forest.parent(NodeId(0), stripe), Some(Parent::Master));
        }
        assert_eq!(world.follow(), 0);
    }
}
