//! Those who keep a part of what they fetch, and those among them whose readers are slow.

use super::check;
use crate::control::Complaint;
use crate::overlay::node::NodeIx;
use crate::overlay::{Forest, Limits, Newcomer, NodeId, Parent, Verdict, Voice};
use alloc::vec::Vec;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const LIMITS: Limits = Limits { stripes: 4, slots: 4, head_copies: 1 };

#[derive(Clone, Debug)]
enum Event {
    Join(bool),
    Leave(Index),
    Full(Index, bool),
    Passed(Index, u8),
}

fn event() -> impl Strategy<Value = Event> {
    let at = any::<Index>;
    prop_oneof![
        6 => any::<bool>().prop_map(Event::Join),
        2 => at().prop_map(Event::Leave),
        6 => (at(), any::<bool>()).prop_map(|(at, is_full)| Event::Full(at, is_full)),
        3 => (at(), 0..4u8).prop_map(|(at, stripe)| Event::Passed(at, stripe)),
    ]
}

fn join(forest: &mut Forest, number: u32, is_partial: bool) {
    let (node, voice) = (NodeId(number), Voice(number.into()));
    let newcomer = Newcomer { node, rack: None, voice, is_partial, is_reached: true };
    assert!(forest.join(newcomer, 0));
}

/// Edges whose ends do not suit: children that keep all below parents that do not, and
/// such that are not full below those that are.
fn unsuited(forest: &Forest) -> [usize; 2] {
    let trees = forest.trees();
    let mut count = [0; 2];
    for ix in trees.roster().iter() {
        let above = trees.node(ix);
        for edge in &above.children {
            let child = trees.node(edge.child);
            count[0] += usize::from(above.is_partial && !child.is_partial);
            count[1] += usize::from(above.standing.full && !child.standing.full);
        }
    }
    count
}

fn full(forest: &mut Forest, node: NodeId, is_full: bool) {
    forest.set_full(node, is_full);
    forest.part(node);
}

proptest! {
    #[test]
    fn nobody_waits_for_who_keeps_less_or_is_slower(events in vec(event(), 1..120)) {
        let mut forest = Forest::new(LIMITS);
        let (mut alive, mut next): (Vec<u32>, u32) = (Vec::new(), 0);
        for event in events {
            let pick = |at: &Index| NodeId(*at.get(&alive));
            match event {
                Event::Join(is_partial) => {
                    join(&mut forest, next, is_partial);
                    alive.push(next);
                    next += 1;
                }
                _ if alive.is_empty() => {}
                Event::Leave(at) => {
                    let node = pick(&at);
                    forest.leave(node);
                    alive.retain(|known| *known != node.0);
                }
                Event::Full(at, is_full) => {
                    let node = pick(&at);
                    let ix: NodeIx = forest.trees().roster().find(node).unwrap();
                    if forest.trees().node(ix).is_partial {
                        full(&mut forest, node, is_full);
                    }
                }
                Event::Passed(at, stripe) => {
                    let node = pick(&at);
                    let parent = forest.parent(node, stripe).unwrap();
                    forest.replace(node, stripe, parent, Complaint::Passed, 0);
                }
            }
            check(&forest);
            prop_assert_eq!(unsuited(&forest), [0, 0]);
        }
    }
}

#[test]
fn those_who_are_full_feed_each_other_and_keep_few_places_from_the_rest() {
    let mut forest = Forest::new(LIMITS);
    (0..31).for_each(|number| join(&mut forest, number, true));
    let slow: Vec<NodeId> = (0..31).step_by(3).map(NodeId).collect();
    slow.iter().for_each(|&node| forest.set_full(node, true));
    slow.iter().for_each(|&node| forest.part(node));
    // As who streams says how far it is.
    for _ in 0..3 {
        slow.iter().for_each(|&node| forest.part(node));
        forest.relieve();
    }
    assert_eq!(unsuited(&forest), [0, 0]);
    let parents = slow.iter().flat_map(|&node| forest.parents(node).collect::<Vec<_>>());
    let from_others =
        parents.filter(|p| !matches!(p, Parent::Node(node) if slow.contains(node))).count();
    assert!(from_others <= 8, "{from_others} of {} edges", 4 * slow.len());
}

#[test]
fn a_parent_that_has_passed_is_no_parent_of_that_child_any_more_and_of_others_still() {
    let mut forest = Forest::new(LIMITS);
    (0..12).for_each(|number| join(&mut forest, number, true));
    let edge = |forest: &Forest| {
        (0..12).map(NodeId).find_map(|node| match forest.parent(node, 0) {
            Some(Parent::Node(parent)) => Some((node, parent)),
            _ => None,
        })
    };
    let (child, parent) = edge(&forest).unwrap();
    let before = forest.children(parent).count();
    let verdict = forest.replace(child, 0, Parent::Node(parent), Complaint::Passed, 0);
    assert_eq!(verdict, Verdict::Moved);
    assert_ne!(forest.parent(child, 0), Some(Parent::Node(parent)));
    assert!(forest.children(parent).count() + 4 >= before && !forest.is_suspect(parent));
}

#[test]
fn who_was_passed_hears_of_another_before_it_is_the_masters_child() {
    let mut forest = Forest::new(LIMITS);
    (0..31).for_each(|number| join(&mut forest, number, true));
    let child = NodeId(30);
    // All slots are taken: of any it would be one child too many.
    for _ in 0..4 {
        let Some(parent @ Parent::Node(_)) = forest.parent(child, 0) else { panic!("the master") };
        let verdict = forest.replace(child, 0, parent, Complaint::Passed, 0);
        assert_eq!(verdict, Verdict::Moved);
        assert_ne!(forest.parent(child, 0), Some(parent));
        check(&forest);
    }
}

#[test]
fn those_who_are_not_reached_do_not_gather_below_one_by_saying_that_they_were_passed() {
    let mut forest = Forest::new(LIMITS);
    (0..40).for_each(|number| join(&mut forest, number, true));
    // Their own parents serve still.
    (28..40).rev().for_each(|number| forest.find_silent(NodeId(number), 0));
    for node in (28..40).map(NodeId) {
        for stripe in (0..4).cycle().take(12) {
            let parent = forest.parent(node, stripe).unwrap();
            forest.replace(node, stripe, parent, Complaint::Passed, 0);
            check(&forest);
        }
    }
    for node in (0..28).map(NodeId) {
        let count = forest.children(node).count();
        assert!(count <= 2 * usize::from(LIMITS.slots), "{count} below {node:?}");
    }
}
