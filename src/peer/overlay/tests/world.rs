//! Plays a cluster: who is alive, and what each was told last.

use crate::control::Complaint;
use crate::overlay::node::Rack;
use crate::overlay::tests::check;
use crate::overlay::{Forest, Newcomer, NodeId, Parent, Verdict, Voice};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

pub(super) struct World {
    pub forest: Forest,
    pub announced: BTreeMap<(u32, u8), Parent>,
    /// Their numbers, in no particular order.
    pub alive: Vec<u32>,
    /// Number of the next to join.
    pub next: u32,
    pub now_ms: u64,
    /// What came of the complaints so far.
    pub verdicts: Vec<Verdict>,
    note: String,
}

impl World {
    pub fn new(forest: Forest, note: impl Into<String>) -> World {
        let (announced, alive, note) = (BTreeMap::new(), Vec::new(), note.into());
        World { forest, announced, alive, next: 0, now_ms: 1_000_000, verdicts: Vec::new(), note }
    }

    /// So many nodes have joined and been told.
    pub fn with(forest: Forest, count: u32, note: impl Into<String>) -> World {
        let mut world = World::new(forest, note);
        (0..count).for_each(|_| world.join(None));
        world.follow();
        world
    }

    /// Joins at one and the same time, so that nobody is ahead.
    pub fn join(&mut self, rack: Option<Rack>) {
        self.join_as(rack, Voice(self.next.into()), true);
    }

    /// The same of a node whose port does not answer.
    pub fn join_unreached(&mut self, rack: Option<Rack>) {
        self.join_as(rack, Voice(self.next.into()), false);
    }

    pub fn join_as(&mut self, rack: Option<Rack>, voice: Voice, is_reached: bool) {
        let newcomer =
            Newcomer { node: NodeId(self.next), rack, voice, is_partial: false, is_reached };
        assert!(self.forest.join(newcomer, 0));
        self.alive.push(self.next);
        self.next += 1;
    }

    pub fn leave(&mut self, id: u32) {
        self.forest.leave(NodeId(id));
        self.alive.retain(|&other| other != id);
        self.announced.retain(|key, _| key.0 != id);
    }

    pub fn retire(&mut self, id: u32) {
        self.forest.retire(NodeId(id));
        self.announced.retain(|key, _| key.0 != id);
    }

    /// All changes are told: then everybody has the parent that it should.
    pub fn follow(&mut self) -> usize {
        let mut count = 0;
        while let Some(change) = self.forest.poll_change() {
            let before = self.announced.insert((change.node.0, change.stripe), change.parent);
            assert_ne!(before, Some(change.parent), "{}: told twice", self.note);
            count += 1;
        }
        for &id in &self.alive {
            for stripe in 0..self.forest.limits().stripes {
                let parent = self.forest.parent(NodeId(id), stripe);
                let announced = self.announced.get(&(id, stripe)).copied();
                assert_eq!(announced, parent, "{}: {id} was told another parent", self.note);
            }
        }
        count
    }

    pub fn check(&self) {
        check(&self.forest);
    }

    pub fn children(&self, id: u32) -> Vec<(u32, u8)> {
        self.forest.children(NodeId(id)).map(|(child, stripe)| (child.0, stripe)).collect()
    }

    pub fn complain(&mut self, child: u32, stripe: u8, bad: u32, why: Complaint) -> Verdict {
        self.complain_of(child, stripe, Parent::Node(NodeId(bad)), why)
    }

    pub fn complain_of(&mut self, child: u32, stripe: u8, bad: Parent, why: Complaint) -> Verdict {
        let verdict = self.forest.replace(NodeId(child), stripe, bad, why, self.now_ms);
        self.verdicts.push(verdict);
        verdict
    }

    /// The children of the node find out, at times apart, until it has none.
    pub fn all_complain(&mut self, bad: u32, why: Complaint) {
        for (child, stripe) in self.children(bad) {
            self.now_ms += 100;
            self.complain(child, stripe, bad, why);
        }
    }

    /// The master finds the node well.
    pub fn find_well(&mut self, id: u32) {
        self.forest.find_well(NodeId(id), Some(Complaint::Lost), self.now_ms);
    }

    /// Those of which this holds, by number.
    pub fn those(&self, holds: impl Fn(NodeId) -> bool) -> Vec<u32> {
        let mut those: Vec<u32> = self.alive.clone();
        those.retain(|&id| holds(NodeId(id)));
        those
    }

    /// The busiest node of a stripe's upper half, so that something is below.
    pub fn an_inner_node(&self, stripe: u8) -> u32 {
        let below = |id: &&u32| {
            let kids = self.children(**id);
            let feeds = |id: u32| self.children(id).iter().any(|k| k.1 == stripe);
            let inner = kids.iter().filter(|k| k.1 == stripe && feeds(k.0));
            (inner.count(), self.forest.level(NodeId(**id), stripe))
        };
        *self.alive.iter().max_by_key(below).unwrap()
    }
}
