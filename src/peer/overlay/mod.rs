//! Which node fetches which stripe from whom: the master's routing policy.
//!
//! One tree per stripe, all rooted at the master. A node is an inner node in
//! its primary stripe and a leaf in the others, so that its one uplink carries
//! one copy of the data: `slots` children over all stripes, each costing one
//! stripe. A spare slot may be borrowed to another stripe. The rules:
//!
//! - Inner nodes stand above leaves: a new one takes the place of the highest
//!   leaf, and the leaf moves below it. Otherwise arrival order makes a chain.
//!   A leaf that came much earlier is left where it is until there is a chain.
//! - Any node's spare slot is better than another copy out of the master.
//! - Who stops serving is succeeded by an inner node from the bottom of its
//!   own subtree: the levels of all others stay as they were.
//! - A subtree moves with its root, and never below itself.
//!
//! The sums work out exactly: n nodes have n * slots slots and need that many
//! parents less those that the master gives. So when all serve, every leaf
//! finds a spare slot; where they do not, `place` says who is overloaded.
//!
//! This file knows the questions that the master asks. It knows no address, no
//! connection and no clock, and the same calls give the same answers.

mod blame;
mod placement;
#[cfg(test)]
mod tests;
mod trees;

use crate::table::Table;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
pub use blame::{Complaint, Verdict};
use trees::{Ix, Link, MASTER, NOBODY, Node, Shelf};

/// Most stripes: `-m` of the command line.
pub const STRIPES_MAX: u8 = 16;
/// Most nodes of one forest. A master has a connection to each.
pub const NODES_MAX: usize = 65_536;
/// The master serves at most this many times its `head` when nodes fail,
/// unless all nodes are loaded to `OVERCOMMIT_FACTOR` as well.
const HEAD_FACTOR: u16 = 2;
/// A node is given at most this many times its slots when nodes fail.
const OVERCOMMIT_FACTOR: u16 = 3;
/// Edges put into a better place after one event: bounds the changes it makes.
const RELIEF_MAX: usize = 32;
/// A node is not put above one that joined so much earlier: that one has more
/// than the other could give it; unless the tree would become too deep.
const COHORT_MS: u64 = 1_000;
/// Nodes moved in turn to make one place.
const MOVES_MAX: u8 = 3;
/// Candidates looked at for one place before the next best kind is taken.
const LOOK_MAX: usize = 32;

/// A node, as the master numbers it. A number is not used again, and the two
/// highest are not used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    Master,
    Node(NodeId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Trees, and parents of every node: 1 to `STRIPES_MAX`.
    pub stripes: u8,
    /// Children of one node over all stripes; `stripes` of them are one copy.
    pub slots: u16,
    /// Children of the master in each stripe: copies that leave it.
    pub head: u16,
}

/// A parent that a node has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub node: NodeId,
    pub stripe: u8,
    pub parent: Parent,
}

/// What an operator wants to see of the forest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub nodes: usize,
    /// Nodes that may be given children.
    pub serving: usize,
    pub retired: usize,
    pub suspects: usize,
    pub banned: usize,
    pub slow_uplink: usize,
    /// Children of the master, over all stripes; `stripes` of them are one copy.
    pub master_children: usize,
    /// Nodes with more children than slots.
    pub overcommitted: usize,
    /// The deepest level of any stripe; a child of the master is on level 1.
    pub levels: u32,
}

pub struct Forest {
    limits: Limits,
    ids: Table<u32, Ix>,
    nodes: Vec<Node>,
    /// One for each node and stripe.
    links: Vec<Link>,
    /// Entries of `nodes` to be used again.
    vacant: Vec<Ix>,
    trees: Vec<Tree>,
    /// Serving nodes without a spare slot, by children.
    full: Shelf,
    /// Serving inner nodes by rack and stripe, sorted by rack.
    rack_primaries: Vec<(u32, [u32; STRIPES_MAX as usize])>,
    /// Links that were changed. Each is in it once at most.
    changes: VecDeque<(Ix, u8)>,
    /// The time of the last complaint.
    now_ms: u64,
    /// Nodes that were found slow_uplink and have not left.
    slow_uplink_count: usize,
}

/// One stripe. The shelves hold attached nodes only, so a subtree that is
/// being moved can not be found as its own parent.
#[derive(Default)]
struct Tree {
    /// Children of the master.
    master: Vec<Ix>,
    /// Those of them that use its link.
    master_load: u16,
    /// Serving inner nodes of this stripe.
    primaries: u32,
    /// Nodes with a spare slot by level, those at primary in this stripe first.
    free: Shelf,
    /// Nodes that are not inner here, by level and their parent's rack.
    low: Shelf,
    /// Of those, the ones that have children here, by level.
    lenders: Shelf,
    /// Leaves with a parent of another rack, by that rack and level.
    foreign: Shelf,
}

impl Forest {
    /// Limits out of range are moved into it.
    pub fn new(limits: Limits) -> Forest {
        let limits = Limits {
            stripes: limits.stripes.clamp(1, STRIPES_MAX),
            slots: limits.slots.clamp(1, u16::MAX / OVERCOMMIT_FACTOR),
            head: limits.head.clamp(1, u16::MAX / HEAD_FACTOR),
        };
        Forest {
            limits,
            ids: Table::new(),
            nodes: Vec::new(),
            links: Vec::new(),
            vacant: Vec::new(),
            trees: (0..limits.stripes).map(|_| Tree::default()).collect(),
            full: Shelf::new(),
            rack_primaries: Vec::new(),
            changes: VecDeque::new(),
            now_ms: 0,
            slow_uplink_count: 0,
        }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes a node in and gives it a parent for each stripe. Rack 0 is
    /// unknown. False when it is in already or the forest is full.
    pub fn join(&mut self, node: NodeId, rack: u32, now_ms: u64) -> bool {
        let full = self.ids.len() >= NODES_MAX || node.0 >= NOBODY;
        if full || self.ids.contains_key(&node.0) {
            return false;
        }
        let primary = self.primary_for(rack);
        let ix = self.enter(node.0, rack, primary, now_ms);
        // The primary stripe first: the slots of the new node are then there for
        // the leaf that it displaces, and the others need one each of the rest.
        self.place(ix, primary);
        for stripe in self.stripes().filter(|&s| s != primary) {
            self.place(ix, stripe);
        }
        self.relieve();
        true
    }

    /// The stripe with the fewest inner nodes, and of several such the one
    /// that has the fewest in this rack.
    fn primary_for(&self, rack: u32) -> u8 {
        let here = self.rack_primaries.binary_search_by_key(&rack, |r| r.0).ok();
        let in_rack = |s: u8| here.map_or(0, |at| self.rack_primaries[at].1[s as usize]);
        let load = |&s: &u8| (self.trees[s as usize].primaries, in_rack(s));
        self.stripes().min_by_key(load).unwrap_or(0)
    }

    /// The node's connection ended: its children get other parents.
    pub fn leave(&mut self, node: NodeId) {
        let Some(ix) = self.find(node) else { return };
        self.slow_uplink_count -= usize::from(self.nodes[ix as usize].standing.slow_uplink);
        self.set_standing(ix, |s| s.gone = true);
        self.detach_leaf(ix);
        self.dissolve(ix);
        self.ids.remove(&node.0);
        self.vacant.push(ix);
        self.relieve();
    }

    /// The node has everything and lingers: it needs no parents any more, and
    /// keeps its children but gets no more of them.
    pub fn retire(&mut self, node: NodeId) {
        let Some(ix) = self.find(node) else { return };
        if self.nodes[ix as usize].standing.retired {
            return;
        }
        self.set_standing(ix, |s| s.retired = true);
        for stripe in self.stripes() {
            self.sever(ix, stripe);
        }
        self.relieve();
    }

    /// The node leaves soon: its children get other parents while it lives.
    pub fn withdraw(&mut self, node: NodeId) {
        let Some(ix) = self.find(node) else { return };
        self.set_standing(ix, |s| s.withdrawn = true);
        self.dissolve(ix);
        self.relieve();
    }

    /// What the node is to be told, the oldest first. Only the latest parent
    /// is told of several given in between.
    pub fn poll_change(&mut self) -> Option<Change> {
        while let Some((ix, stripe)) = self.changes.pop_front() {
            let parent = self.link(ix, stripe).parent;
            let name = self.name(parent);
            let gone = self.nodes[ix as usize].standing.gone;
            let link = self.link_mut(ix, stripe);
            link.pending = false;
            if gone || parent == NOBODY || link.told == name {
                continue;
            }
            link.told = name;
            let node = NodeId(self.nodes[ix as usize].id);
            return Some(Change { node, stripe, parent: self.as_parent(parent)? });
        }
        None
    }

    pub fn contains(&self, node: NodeId) -> bool {
        self.find(node).is_some()
    }

    /// None when the node is unknown, or retired and in need of none.
    pub fn parent(&self, node: NodeId, stripe: u8) -> Option<Parent> {
        let ix = self.find(node).filter(|_| stripe < self.limits.stripes)?;
        self.as_parent(self.link(ix, stripe).parent)
    }

    /// The parents in the order of the stripes.
    pub fn parents(&self, node: NodeId) -> impl Iterator<Item = Parent> + '_ {
        self.stripes().filter_map(move |s| self.parent(node, s))
    }

    pub fn children(&self, node: NodeId) -> impl Iterator<Item = (NodeId, u8)> + '_ {
        let edges = self.find(node).map_or(&[][..], |ix| &self.nodes[ix as usize].children);
        edges.iter().map(|edge| (NodeId(self.nodes[edge.child as usize].id), edge.stripe))
    }

    /// Levels below the master; 0 for an unknown node. A retired node counts
    /// as standing where it last stood.
    pub fn depth(&self, node: NodeId, stripe: u8) -> u32 {
        match self.find(node) {
            Some(ix) if stripe < self.limits.stripes => self.link(ix, stripe).depth,
            _ => 0,
        }
    }

    /// Children that use the node's link. A suspect child uses none of it.
    pub fn slots_used(&self, node: NodeId) -> u16 {
        self.find(node).map_or(0, |ix| self.nodes[ix as usize].used)
    }

    pub fn master_children(&self, stripe: u8) -> usize {
        self.trees.get(stripe as usize).map_or(0, |tree| tree.master.len())
    }

    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            nodes: self.ids.len(),
            master_children: self.trees.iter().map(|t| t.master.len()).sum(),
            ..Stats::default()
        };
        for &ix in self.ids.values() {
            let node = &self.nodes[ix as usize];
            stats.serving += usize::from(node.standing.serves());
            stats.retired += usize::from(node.standing.retired);
            stats.suspects += usize::from(node.standing.suspect);
            stats.banned += usize::from(node.standing.banned);
            stats.slow_uplink += usize::from(node.standing.slow_uplink);
            stats.overcommitted += usize::from(node.used > self.limits.slots);
            let deepest = self.stripes().map(|s| self.link(ix, s).depth).max();
            stats.levels = stats.levels.max(deepest.unwrap_or(0));
        }
        stats
    }

    fn stripes(&self) -> core::ops::Range<u8> {
        0..self.limits.stripes
    }

    fn find(&self, node: NodeId) -> Option<Ix> {
        self.ids.get(&node.0).copied()
    }

    /// What is told and remembered of a node: its number, which outlives it.
    fn name(&self, ix: Ix) -> u32 {
        if ix == MASTER || ix == NOBODY { ix } else { self.nodes[ix as usize].id }
    }

    fn as_parent(&self, ix: Ix) -> Option<Parent> {
        match ix {
            NOBODY => None,
            MASTER => Some(Parent::Master),
            ix => Some(Parent::Node(NodeId(self.nodes[ix as usize].id))),
        }
    }
}
