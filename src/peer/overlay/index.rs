//! The indices that find a place in a tree without a search.
//!
//! Each is a set whose keys are ordered by what is looked for first. They hold
//! attached nodes only, so a subtree that is being moved can not be found as
//! its own parent. What belongs in them is decided by [`super::trees::Trees`];
//! which of the places found is taken, by [`super::choice`].
//!
//! A slot is borrowed where it carries another stripe than the primary one of
//! the node that lends it.

use super::node::{NodeIx, Rack};
use sorted::SortedSet;

/// A node with a spare slot: those that need not lend it first, then by level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FreeSlot {
    /// The node's primary stripe is another.
    pub is_borrowed: bool,
    /// The node's.
    pub level: u32,
    /// The node's.
    pub rack: Option<Rack>,
    pub node: NodeIx,
}

/// A node that is not inner in this stripe: a leaf, or a lender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Outer {
    pub level: u32,
    /// That of its parent, and so of whoever takes its place.
    pub parent_rack: Option<Rack>,
    pub node: NodeIx,
}

/// A node that feeds others here though its primary stripe is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lender {
    pub level: u32,
    pub node: NodeIx,
}

/// A leaf below a parent of another rack than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ForeignLeaf {
    pub parent_rack: Rack,
    pub level: u32,
    pub node: NodeIx,
}

/// A serving node without a spare slot, whatever the stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FullNode {
    pub slots_used: u32,
    pub node: NodeIx,
}

/// The keys of one node in the index of one stripe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub free_slot: Option<FreeSlot>,
    pub outer: Option<Outer>,
    pub lender: Option<Lender>,
    pub foreign: Option<ForeignLeaf>,
}

/// Where there is a place in one stripe.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StripeIndex {
    free_slots: SortedSet<FreeSlot>,
    outer: SortedSet<Outer>,
    lenders: SortedSet<Lender>,
    foreign: SortedSet<ForeignLeaf>,
}

impl StripeIndex {
    pub fn insert(&mut self, listing: Listing) {
        listing.free_slot.map(|key| self.free_slots.insert(key));
        listing.outer.map(|key| self.outer.insert(key));
        listing.lender.map(|key| self.lenders.insert(key));
        listing.foreign.map(|key| self.foreign.insert(key));
    }

    pub fn remove(&mut self, listing: Listing) {
        listing.free_slot.map(|key| self.free_slots.remove(&key));
        listing.outer.map(|key| self.outer.remove(&key));
        listing.lender.map(|key| self.lenders.remove(&key));
        listing.foreign.map(|key| self.foreign.remove(&key));
    }

    pub fn has_free_slot(&self) -> bool {
        !self.free_slots.is_empty()
    }

    /// All spare slots, those of inner nodes first, each kind the highest first.
    pub fn free_slots(&self) -> impl Iterator<Item = FreeSlot> + '_ {
        self.free_slots.iter().copied()
    }

    /// The spare slots of inner nodes, or those to be borrowed; the highest first.
    pub fn free_slots_of(&self, is_borrowed: bool) -> impl Iterator<Item = FreeSlot> + '_ {
        let key = |level, node| FreeSlot { is_borrowed, level, rack: None, node };
        // No level comes near the last one: a tree has 65,536 at most.
        self.free_slots.range(key(0, NodeIx::MIN)..=key(u32::MAX, NodeIx::MAX)).copied()
    }

    /// Of one kind, level and rack.
    pub fn free_slots_near(
        &self,
        is_borrowed: bool,
        level: u32,
        rack: Rack,
    ) -> impl Iterator<Item = FreeSlot> + '_ {
        let key = |node| FreeSlot { is_borrowed, level, rack: Some(rack), node };
        self.free_slots.range(key(NodeIx::MIN)..=key(NodeIx::MAX)).copied()
    }

    /// Leaves and lenders, the highest first.
    pub fn outer(&self) -> impl Iterator<Item = Outer> + '_ {
        self.outer.iter().copied()
    }

    /// Those of one level.
    pub fn outer_at(&self, level: u32) -> impl Iterator<Item = Outer> + '_ {
        let first_of = |level| Outer { level, parent_rack: None, node: NodeIx::MIN };
        let outer = self.outer.range(first_of(level)..=first_of(level + 1)).copied();
        outer.take_while(move |key| key.level == level)
    }

    /// Those of one level below parents of one rack.
    pub fn outer_near(&self, level: u32, rack: Rack) -> impl Iterator<Item = Outer> + '_ {
        let key = |node| Outer { level, parent_rack: Some(rack), node };
        self.outer.range(key(NodeIx::MIN)..=key(NodeIx::MAX)).copied()
    }

    /// Those higher than a level, the highest first.
    pub fn outer_above(&self, level: u32) -> impl Iterator<Item = Outer> + '_ {
        self.outer.iter().copied().take_while(move |key| key.level < level)
    }

    pub fn lowest_lender(&self) -> Option<Lender> {
        self.lenders.last().copied()
    }

    /// Leaves from other racks below parents of this rack, down to a level.
    pub fn foreign(&self, rack: Rack, level_max: u32) -> impl Iterator<Item = ForeignLeaf> + '_ {
        let key = |level, node| ForeignLeaf { parent_rack: rack, level, node };
        self.foreign.range(key(0, NodeIx::MIN)..=key(level_max, NodeIx::MAX)).copied()
    }

    /// All lenders, for the tests: there is no other question about them.
    #[cfg(test)]
    pub fn lenders(&self) -> impl Iterator<Item = Lender> + '_ {
        self.lenders.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn rack(number: u32) -> Rack {
        Rack::new(number).unwrap()
    }

    fn free(is_borrowed: bool, level: u32, rack: u32, node: usize) -> Listing {
        let rack = Rack::new(rack);
        let key = FreeSlot { is_borrowed, level, rack, node: NodeIx::new(node) };
        Listing { free_slot: Some(key), ..Listing::default() }
    }

    fn index(listings: &[Listing]) -> StripeIndex {
        let mut index = StripeIndex::default();
        listings.iter().for_each(|&listing| index.insert(listing));
        index
    }

    #[test]
    fn a_deep_slot_of_its_own_stripe_is_found_before_a_high_one_to_borrow() {
        let index = index(&[free(true, 1, 0, 1), free(false, 9, 0, 2), free(false, 8, 3, 3)]);
        let nodes = |slots: &mut dyn Iterator<Item = FreeSlot>| -> Vec<usize> {
            slots.map(|key| key.node.at()).collect()
        };
        assert_eq!(nodes(&mut index.free_slots()), [3, 2, 1]);
        assert_eq!(nodes(&mut index.free_slots_of(false)), [3, 2]);
        assert_eq!(nodes(&mut index.free_slots_of(true)), [1]);
        assert_eq!(nodes(&mut index.free_slots_near(false, 8, rack(3))), [3]);
        assert_eq!(nodes(&mut index.free_slots_near(false, 9, rack(3))), []);
    }

    #[test]
    fn outer_nodes_are_found_by_level_and_by_the_rack_above() {
        let outer = |level, rack: u32, node| {
            let parent_rack = Rack::new(rack);
            let outer = Outer { level, parent_rack, node: NodeIx::new(node) };
            Listing { outer: Some(outer), ..Listing::default() }
        };
        let index = index(&[outer(2, 0, 1), outer(2, 7, 2), outer(3, 7, 3), outer(1, 7, 4)]);
        let nodes = |outer: &mut dyn Iterator<Item = Outer>| -> Vec<usize> {
            outer.map(|key| key.node.at()).collect()
        };
        assert_eq!(nodes(&mut index.outer()), [4, 1, 2, 3]);
        assert_eq!(nodes(&mut index.outer_at(2)), [1, 2]);
        assert_eq!(nodes(&mut index.outer_near(2, rack(7))), [2]);
        assert_eq!(nodes(&mut index.outer_above(2)), [4]);
    }

    #[test]
    fn what_was_put_in_can_be_taken_out() {
        let listing = Listing {
            lender: Some(Lender { level: 4, node: NodeIx::new(1) }),
            foreign: Some(ForeignLeaf { parent_rack: rack(2), level: 4, node: NodeIx::new(1) }),
            ..free(true, 4, 0, 1)
        };
        let mut index = index(&[listing]);
        assert_eq!(index.lowest_lender().map(|key| key.level), Some(4));
        assert_eq!(index.foreign(rack(2), 3).count(), 0);
        assert_eq!(index.foreign(rack(2), 4).count(), 1);
        index.remove(listing);
        assert_eq!(index, StripeIndex::default());
    }
}
