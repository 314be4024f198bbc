//! The forest: what the master asks of the overlay, and the order in which
//! its parts answer.
//!
//! It knows no address, no connection and no clock, and the same calls give
//! the same answers.

use super::blame::{Charge, Ledger};
use super::complaints::{self, Verdict};
use super::limits::{Limits, NODES_MAX};
use super::node::{Change, Newcomer, NodeId, NodeIx, Parent, Rack, Upstream, Voice};
use super::placement::{attach_aside, detach_leaf, dissolve, part, place};
use super::relief::{lift, relieve};
use super::roster::Node;
use super::trees::Trees;
use crate::control::Complaint;
use alloc::vec::Vec;

/// Who fetches which stripe from whom, for the nodes that fetch the same.
pub struct Forest {
    trees: Trees,
    ledger: Ledger,
}

impl Forest {
    /// A forest of the master alone. Limits out of range are moved into it.
    pub fn new(limits: Limits) -> Forest {
        Forest { trees: Trees::new(limits.clamped()), ledger: Ledger::default() }
    }

    /// Takes a node in and gives it a parent for each stripe. `now_ms` is the
    /// time by the master's clock, in milliseconds: a node that joins much
    /// later than another is not put above it. False when the node is in
    /// already or the forest has [`NODES_MAX`] nodes.
    pub fn join(&mut self, newcomer: Newcomer, now_ms: u64) -> bool {
        if self.trees.roster().len() >= NODES_MAX || self.contains(newcomer.node) {
            return false;
        }
        let primary = self.primary_for(newcomer.rack);
        let trees = &mut self.trees;
        let ix = trees.enter(Node::new(newcomer, primary, now_ms));
        if !newcomer.is_reached {
            // It has nothing to give, so nobody is moved for it.
            trees.stripes().for_each(|stripe| attach_aside(trees, ix, stripe));
            return true;
        }
        // The primary stripe first: the slots of the new node are then there for
        // the leaf that it displaces, and the others need one each of the rest.
        place(trees, ix, primary);
        for stripe in trees.stripes().filter(|&s| s != primary) {
            place(trees, ix, stripe);
        }
        relieve(trees);
        true
    }

    /// The stripe with the fewest inner nodes, and of several such the one
    /// that has the fewest in this rack.
    fn primary_for(&self, rack: Option<Rack>) -> u8 {
        let trees = &self.trees;
        let load = |&s: &u8| (trees.primaries(s), trees.rack_primaries(rack, s));
        trees.stripes().min_by_key(load).unwrap_or(0)
    }

    /// The node's connection ended: its children get other parents.
    pub fn leave(&mut self, node: NodeId) {
        let Some(ix) = self.find(node) else { return };
        let trees = &mut self.trees;
        trees.set_standing(ix, |s| s.gone = true);
        detach_leaf(trees, ix);
        dissolve(trees, ix);
        trees.vacate(ix);
        self.ledger.forget(ix);
        relieve(trees);
    }

    /// The node has everything and lingers: it needs no parents any more, and
    /// keeps its children but gets no more of them.
    pub fn retire(&mut self, node: NodeId) {
        let Some(ix) = self.find(node) else { return };
        let trees = &mut self.trees;
        if trees.node(ix).standing.retired {
            return;
        }
        trees.set_standing(ix, |s| s.retired = true);
        for stripe in trees.stripes() {
            trees.sever(ix, stripe);
        }
        relieve(trees);
    }

    /// The node leaves soon: its children get other parents while it lives.
    pub fn withdraw(&mut self, node: NodeId) {
        let Some(ix) = self.find(node) else { return };
        self.trees.set_standing(ix, |s| s.withdrawn = true);
        dissolve(&mut self.trees, ix);
        relieve(&mut self.trees);
    }

    /// Whoever reads what the node fetches is slower than it comes, or is so no more. Nobody
    /// is moved yet: see [`Forest::part`].
    pub fn set_full(&mut self, node: NodeId, is_full: bool) {
        if let Some(ix) = self.find(node) {
            self.trees.set_standing(ix, |s| s.full = is_full);
        }
    }

    /// Parts the node from children, and from parents, of which one is full and would hold
    /// up the other.
    pub fn part(&mut self, node: NodeId) {
        if let Some(ix) = self.find(node) {
            part(&mut self.trees, ix);
            relieve(&mut self.trees);
        }
    }

    /// Puts right what is overloaded, as far as there is room by now.
    pub fn relieve(&mut self) {
        relieve(&mut self.trees);
    }

    /// A node complains of its parent `bad` in a stripe, at a time by the
    /// master's clock that never goes back. Unless it is to wait it gets
    /// another parent, and is not given that one again.
    pub fn replace(
        &mut self,
        child: NodeId,
        stripe: u8,
        bad: Parent,
        why: Complaint,
        now_ms: u64,
    ) -> Verdict {
        self.trees.set_now(now_ms);
        let accused = match bad {
            Parent::Master => Some(Upstream::Master),
            Parent::Node(node) => self.find(node).map(Upstream::Node),
        };
        let (Some(accuser), Some(accused)) = (self.find(child), accused) else {
            return Verdict::Dismissed;
        };
        let Forest { trees, ledger } = self;
        if !trees.stripes().contains(&stripe) || !trees.knows_as_parent(accuser, accused) {
            return Verdict::Dismissed;
        }
        let Upstream::Node(accused) = accused else {
            return complaints::hear_of_master(trees, ledger, (accuser, stripe), why);
        };
        let (accuser_id, voice) = (child, trees.node(accuser).voice);
        let charge = Charge { accuser, accuser_id, voice, accused, stripe, why, at_ms: now_ms };
        complaints::hear(trees, ledger, &charge)
    }

    /// The master could not reach the node: it serves nobody until it can.
    pub fn find_silent(&mut self, node: NodeId, now_ms: u64) {
        self.trees.set_now(now_ms);
        if let Some(ix) = self.find(node) {
            complaints::find_silent(&mut self.trees, &mut self.ledger, ix);
        }
    }

    /// The master has not reached the node yet, which is accused: it is as if it
    /// could not, unless one of the children is content.
    pub fn find_late(&mut self, node: NodeId, now_ms: u64) {
        self.trees.set_now(now_ms);
        if let Some(ix) = self.find(node) {
            complaints::find_late(&mut self.trees, &mut self.ledger, ix);
        }
    }

    /// The master was sent a corrupt piece: the node serves nobody.
    pub fn find_corrupt(&mut self, node: NodeId, now_ms: u64) {
        self.trees.set_now(now_ms);
        if let Some(ix) = self.find(node) {
            complaints::find_corrupt(&mut self.trees, &mut self.ledger, ix);
        }
    }

    /// The master found the node well: a suspect may serve again, some times. If
    /// a complaint is `refuted` by it, who made it accused it falsely; gives the
    /// voices that are not believed any more from now on.
    pub fn find_well(
        &mut self,
        node: NodeId,
        refuted: Option<Complaint>,
        now_ms: u64,
    ) -> Vec<Voice> {
        let Some(ix) = self.find(node) else { return Vec::new() };
        self.trees.set_now(now_ms);
        let liars = match refuted {
            Some(why) => self.ledger.refute(ix, node, why, now_ms),
            None => Vec::new(),
        };
        let primary = self.primary_for(self.trees.node(ix).rack);
        complaints::find_well(&mut self.trees, &mut self.ledger, ix, primary);
        liars
    }

    /// Whether what the node says is worth looking into.
    pub fn believes(&self, node: NodeId, now_ms: u64) -> bool {
        let voice = self.find(node).map(|ix| self.trees.node(ix).voice);
        voice.is_some_and(|voice| self.ledger.is_believed(voice, now_ms))
    }

    /// The node's ban is over.
    pub fn forgive(&mut self, node: NodeId) {
        if let Some(ix) = self.find(node).filter(|&ix| self.trees.node(ix).standing.banned) {
            self.trees.set_standing(ix, |s| s.banned = false);
            lift(&mut self.trees, ix);
            relieve(&mut self.trees);
        }
    }

    /// What the node is to be told, the oldest first. Only the latest parent
    /// is told of several given in between.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.trees.poll_change()
    }

    /// Whether the node has joined and not left.
    pub fn contains(&self, node: NodeId) -> bool {
        self.find(node).is_some()
    }

    /// None when the node is unknown, or retired and in need of none.
    pub fn parent(&self, node: NodeId, stripe: u8) -> Option<Parent> {
        self.trees.parent(self.find_in(node, stripe)?, stripe)
    }

    /// The parents in the order of the stripes.
    pub fn parents(&self, node: NodeId) -> impl Iterator<Item = Parent> + '_ {
        self.trees.stripes().filter_map(move |s| self.parent(node, s))
    }

    fn find(&self, node: NodeId) -> Option<NodeIx> {
        self.trees.roster().find(node)
    }

    fn find_in(&self, node: NodeId, stripe: u8) -> Option<NodeIx> {
        self.find(node).filter(|_| self.trees.stripes().contains(&stripe))
    }

    /// For the tests, which look behind the questions.
    #[cfg(test)]
    pub(super) fn trees(&self) -> &Trees {
        &self.trees
    }
}
