//! The trees: edges, levels and loads of all stripes, and the indices of
//! places that match them.
//!
//! Every change of an edge, a load or a standing goes through here, and after
//! each the levels, the loads, the indices and the queue of changes agree with
//! the edges (`check` says so in tests). It knows no policy: who hangs below
//! whom is the caller's to choose, within what [`Trees::may_feed`] allows.

#[cfg(test)]
mod check;
#[cfg(test)]
mod tests;

use super::changes::Changes;
use super::index::{ForeignLeaf, FreeSlot, FullNode, Lender, Listing, Outer, StripeIndex};
use super::limits::{Limits, STRIPES_MAX};
use super::node::{Change, NodeId, NodeIx, Parent, Rack, Upstream};
use super::roster::{Edge, Node, Roster, Standing};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use sorted::SortedSet;

/// A node's place in one stripe.
///
/// It is *attached* with a parent and a level, *detached* with neither. Of a
/// detached subtree those below its root have a parent and no level. A retired
/// node has no parent and the level where it last stood, since its children
/// stay below it.
#[derive(Clone, Copy, Default)]
pub(super) struct Link {
    pub parent: Option<Upstream>,
    /// Levels below the master, whose children are on level 1; 0 while detached.
    pub level: u32,
    /// [`Trees::now_ms`] when the parent was changed.
    pub moved_ms: u64,
}

impl Link {
    fn is_attached(&self) -> bool {
        self.level > 0 && self.parent.is_some()
    }
}

/// One stripe.
#[derive(Default)]
struct Tree {
    /// Children of the master.
    master_children: Vec<NodeIx>,
    /// Those of them that use its uplink.
    master_load: u16,
    /// Serving nodes of this primary stripe.
    primaries: u32,
    index: StripeIndex,
}

/// A node on the way from another up to the master.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ancestor {
    pub node: NodeIx,
    /// When it got the parent that it has, in milliseconds.
    pub moved_ms: u64,
    pub is_suspect: bool,
}

/// All trees of a forest and the nodes in them.
pub(super) struct Trees {
    limits: Limits,
    /// The time of the last complaint: what is moved is stamped with it, so
    /// that a move excuses whoever was moved because of a complaint.
    now_ms: u64,
    roster: Roster,
    /// For each node, one for each stripe.
    links: Vec<Link>,
    trees: Vec<Tree>,
    full: SortedSet<FullNode>,
    /// Serving nodes of each rack by primary stripe: rows in the order of the
    /// racks, none all zero.
    rack_primaries: Vec<(Option<Rack>, [u32; STRIPES_MAX as usize])>,
    /// Nodes in the roster of that standing.
    slow_uplink_count: usize,
    changes: Changes,
}

impl Trees {
    /// The limits must be clamped.
    pub fn new(limits: Limits) -> Trees {
        Trees {
            limits,
            now_ms: 0,
            roster: Roster::default(),
            links: Vec::new(),
            trees: limits.stripes().map(|_| Tree::default()).collect(),
            full: SortedSet::new(),
            rack_primaries: Vec::new(),
            slow_uplink_count: 0,
            changes: Changes::new(limits.stripes),
        }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub fn stripes(&self) -> Range<u8> {
        self.limits.stripes()
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    pub fn node(&self, ix: NodeIx) -> &Node {
        &self.roster[ix]
    }

    pub fn link(&self, ix: NodeIx, stripe: u8) -> &Link {
        &self.links[self.link_at(ix, stripe)]
    }

    fn link_mut(&mut self, ix: NodeIx, stripe: u8) -> &mut Link {
        let at = self.link_at(ix, stripe);
        &mut self.links[at]
    }

    fn link_at(&self, ix: NodeIx, stripe: u8) -> usize {
        ix.at() * usize::from(self.limits.stripes) + usize::from(stripe)
    }

    pub fn index(&self, stripe: u8) -> &StripeIndex {
        &self.trees[usize::from(stripe)].index
    }

    /// Serving nodes without a spare slot, those with the fewest children first.
    pub fn full(&self) -> impl DoubleEndedIterator<Item = FullNode> + '_ {
        self.full.iter().copied()
    }

    pub fn slow_uplink_count(&self) -> usize {
        self.slow_uplink_count
    }

    /// Children of the master, suspects included.
    pub fn master_children(&self, stripe: u8) -> &[NodeIx] {
        &self.trees[usize::from(stripe)].master_children
    }

    /// Children of the master that use its uplink.
    pub fn master_load(&self, stripe: u8) -> u16 {
        self.trees[usize::from(stripe)].master_load
    }

    /// Whether the master has a spare slot.
    pub fn has_head_room(&self, stripe: u8) -> bool {
        self.master_load(stripe) < self.limits.head_copies
    }

    /// Serving nodes whose primary stripe this is.
    pub fn primaries(&self, stripe: u8) -> u32 {
        self.trees[usize::from(stripe)].primaries
    }

    /// Of those, the ones in this rack.
    pub fn rack_primaries(&self, rack: Option<Rack>, stripe: u8) -> u32 {
        let found = self.rack_primaries.binary_search_by_key(&rack, |row| row.0);
        found.map_or(0, |at| self.rack_primaries[at].1[usize::from(stripe)])
    }

    pub fn is_attached(&self, ix: NodeIx, stripe: u8) -> bool {
        self.link(ix, stripe).is_attached()
    }

    pub fn children(&self, ix: NodeIx, stripe: u8) -> Vec<NodeIx> {
        self.node(ix).children_in(stripe).collect()
    }

    pub fn has_children(&self, ix: NodeIx, stripe: u8) -> bool {
        self.node(ix).children_in(stripe).next().is_some()
    }

    pub fn children_count(&self, ix: NodeIx, stripe: u8) -> usize {
        self.node(ix).children_in(stripe).count()
    }

    /// Children that the node can be given within its slots.
    pub fn spare_slots(&self, ix: NodeIx) -> usize {
        let node = self.node(ix);
        match node.standing.serves() {
            true => self.limits.slots.saturating_sub(node.slots_used).into(),
            false => 0,
        }
    }

    /// None for the master.
    pub fn rack(&self, at: Upstream) -> Option<Rack> {
        match at {
            Upstream::Master => None,
            Upstream::Node(ix) => self.node(ix).rack,
        }
    }

    /// 0 for the master.
    pub fn level(&self, at: Upstream, stripe: u8) -> u32 {
        match at {
            Upstream::Master => 0,
            Upstream::Node(ix) => self.link(ix, stripe).level,
        }
    }

    /// As the master and the nodes call it.
    pub fn as_parent(&self, at: Upstream) -> Parent {
        match at {
            Upstream::Master => Parent::Master,
            Upstream::Node(ix) => Parent::Node(self.node(ix).id),
        }
    }

    pub fn parent(&self, ix: NodeIx, stripe: u8) -> Option<Parent> {
        self.link(ix, stripe).parent.map(|at| self.as_parent(at))
    }

    /// Whether an edge between these two may be made at all.
    pub fn may_feed(&self, parent: Upstream, child: NodeIx) -> bool {
        let Upstream::Node(parent) = parent else { return true };
        let (above, below) = (self.node(parent), self.node(child));
        child != parent
            && above.standing.serves()
            && above.suits(below)
            && !below.has_rejected(above.id)
    }

    /// Whether the node has this parent in some stripe, or was told so last.
    pub fn knows_as_parent(&self, ix: NodeIx, parent: Upstream) -> bool {
        let announced = Some(self.as_parent(parent));
        let has = |s| {
            self.link(ix, s).parent == Some(parent) || self.changes.announced(ix, s) == announced
        };
        self.stripes().any(has)
    }

    /// A node and those above it, the lowest first.
    pub fn lineage(&self, ix: NodeIx, stripe: u8) -> impl Iterator<Item = Ancestor> + '_ {
        core::iter::successors(Some(ix), move |&at| match self.link(at, stripe).parent {
            Some(Upstream::Node(above)) => Some(above),
            Some(Upstream::Master) | None => None,
        })
        .map(move |node| Ancestor {
            node,
            moved_ms: self.link(node, stripe).moved_ms,
            is_suspect: self.node(node).standing.suspect,
        })
    }

    /// Whether a node is `root` or hangs below it.
    pub fn is_below(&self, ix: NodeIx, root: NodeIx, stripe: u8) -> bool {
        self.lineage(ix, stripe).any(|ancestor| ancestor.node == root)
    }

    /// The parent of which a node has not been told, the oldest move first.
    pub fn poll_change(&mut self) -> Option<Change> {
        // Out of the way for the moment, since it asks for what is beside it.
        let mut changes = core::mem::take(&mut self.changes);
        let found = changes.poll(|ix, stripe| self.parent(ix, stripe));
        self.changes = changes;
        let (ix, stripe, parent) = found?;
        Some(Change { node: self.node(ix).id, stripe, parent })
    }

    /// Takes a node in without any edge yet.
    pub fn enter(&mut self, node: Node) -> NodeIx {
        let ix = self.roster.enter(node);
        let (begin, end) = (self.link_at(ix, 0), self.link_at(ix, self.limits.stripes));
        if self.links.len() < end {
            self.links.resize(end, Link::default());
        }
        self.links[begin..end].fill(Link::default());
        self.changes.enter(ix);
        if self.node(ix).standing.serves() {
            self.count_primary(ix, true);
        }
        ix
    }

    /// Makes a node that does not serve, and has no edge, an inner node of this
    /// stripe once it does.
    pub fn set_primary(&mut self, ix: NodeIx, stripe: u8) {
        debug_assert!(!self.node(ix).standing.serves());
        self.roster[ix].primary = stripe;
    }

    /// Forgets a node that is gone and has no edge any more.
    pub fn vacate(&mut self, ix: NodeIx) {
        self.roster.vacate(ix);
    }

    /// The node is not given this parent again.
    pub fn reject(&mut self, ix: NodeIx, parent: NodeId) {
        self.roster[ix].rejected.push(parent, |&known| known == parent);
    }

    /// Takes the last rejection back.
    pub fn unreject(&mut self, ix: NodeIx) {
        self.roster[ix].rejected.pop();
    }

    /// Hangs a node with its subtree under a parent that is attached.
    pub fn attach(&mut self, ix: NodeIx, parent: Upstream, stripe: u8) {
        debug_assert!(self.link(ix, stripe).parent.is_none());
        self.add_edge(ix, parent, stripe);
        let mut rest = vec![ix];
        while let Some(at) = rest.pop() {
            // Already there: adopted at this level by `take_place`.
            if self.link(at, stripe).level > 0 {
                continue;
            }
            let above = self.link(at, stripe).parent.map_or(0, |above| self.level(above, stripe));
            self.link_mut(at, stripe).level = above + 1;
            self.list(at, stripe);
            rest.extend(self.node(at).children_in(stripe));
        }
        self.mark(ix, stripe);
    }

    /// Takes a node with its subtree off its parent and out of the index.
    pub fn detach(&mut self, ix: NodeIx, stripe: u8) {
        let mut rest = vec![ix];
        while let Some(at) = rest.pop() {
            self.unlist(at, stripe);
            self.link_mut(at, stripe).level = 0;
            rest.extend(self.node(at).children_in(stripe));
        }
        self.remove_edge(ix, stripe);
    }

    /// Takes a node off its parent while its children stay where they are.
    pub fn sever(&mut self, ix: NodeIx, stripe: u8) {
        if self.is_attached(ix, stripe) {
            self.unlist(ix, stripe);
            self.remove_edge(ix, stripe);
        }
    }

    /// Puts a detached node in the place of another, which becomes detached
    /// itself, and gives it the other's children as far as it has slots.
    /// Returns the children that are left over, detached.
    pub fn take_place(&mut self, ix: NodeIx, old: NodeIx, stripe: u8) -> Vec<NodeIx> {
        let parent = self.link(old, stripe).parent;
        let mut orphans = Vec::new();
        for child in self.children(old, stripe) {
            if self.spare_slots(ix) > 0 && self.may_feed(Upstream::Node(ix), child) {
                // Its level stays: it need not be detached with all below it.
                self.unlist(child, stripe);
                self.remove_edge(child, stripe);
                self.add_edge(child, Upstream::Node(ix), stripe);
                self.list(child, stripe);
                self.mark(child, stripe);
            } else {
                self.detach(child, stripe);
                orphans.push(child);
            }
        }
        self.detach(old, stripe);
        if let Some(parent) = parent {
            self.attach(ix, parent, stripe);
        }
        orphans
    }

    /// Changes what a node may do; `change` does so.
    pub fn set_standing(&mut self, ix: NodeIx, change: impl FnOnce(&mut Standing)) {
        let before = self.node(ix).standing;
        let mut after = before;
        change(&mut after);
        let full = self.full_key(ix);
        for stripe in self.stripes() {
            self.unlist(ix, stripe);
        }
        self.roster[ix].standing = after;
        for stripe in self.stripes() {
            self.list(ix, stripe);
            // A suspect takes nothing, so it costs its parents nothing.
            if before.suspect != after.suspect
                && let Some(parent) = self.link(ix, stripe).parent
            {
                self.charge(parent, stripe, before.suspect);
            }
        }
        self.relist_full(ix, full);
        if before.serves() != after.serves() {
            self.count_primary(ix, after.serves());
        }
        self.slow_uplink_count += usize::from(after.slow_uplink && !after.gone);
        self.slow_uplink_count -= usize::from(before.slow_uplink && !before.gone);
    }

    fn add_edge(&mut self, ix: NodeIx, parent: Upstream, stripe: u8) {
        match parent {
            Upstream::Master => self.trees[usize::from(stripe)].master_children.push(ix),
            Upstream::Node(above) => {
                let edge = Edge { child: ix, stripe };
                self.change_children(above, stripe, 0, |children| children.push(edge));
            }
        }
        self.link_mut(ix, stripe).parent = Some(parent);
        if !self.node(ix).standing.suspect {
            self.charge(parent, stripe, true);
        }
    }

    fn remove_edge(&mut self, ix: NodeIx, stripe: u8) {
        let Some(parent) = self.link_mut(ix, stripe).parent.take() else { return };
        match parent {
            Upstream::Master => {
                self.trees[usize::from(stripe)].master_children.retain(|&child| child != ix);
            }
            Upstream::Node(above) => {
                let edge = Edge { child: ix, stripe };
                self.change_children(above, stripe, 1, |children| children.retain(|&e| e != edge));
            }
        }
        if !self.node(ix).standing.suspect {
            self.charge(parent, stripe, false);
        }
    }

    /// Changes the children of a node in a stripe where it has `count` of them.
    /// With none before a leaf becomes a lender, with one a lender a leaf: it
    /// is listed otherwise then.
    fn change_children(
        &mut self,
        ix: NodeIx,
        stripe: u8,
        turning_count: usize,
        change: impl FnOnce(&mut Vec<Edge>),
    ) {
        let turns =
            !self.node(ix).is_inner(stripe) && self.children_count(ix, stripe) == turning_count;
        if turns {
            self.unlist(ix, stripe);
        }
        change(&mut self.roster[ix].children);
        if turns {
            self.list(ix, stripe);
        }
    }

    /// Counts a child that uses its parent's uplink, or one that does no more.
    fn charge(&mut self, parent: Upstream, stripe: u8, is_more: bool) {
        let step = |load: &mut u16| *load = if is_more { *load + 1 } else { *load - 1 };
        let ix = match parent {
            Upstream::Master => return step(&mut self.trees[usize::from(stripe)].master_load),
            Upstream::Node(ix) => ix,
        };
        let (full, was_spare) = (self.full_key(ix), self.spare_slots(ix) > 0);
        step(&mut self.roster[ix].slots_used);
        self.relist_full(ix, full);
        let is_spare = self.spare_slots(ix) > 0;
        if was_spare == is_spare {
            return;
        }
        for stripe in self.stripes().filter(|&s| self.is_attached(ix, s)).collect::<Vec<_>>() {
            let free_slot = Some(self.slot_key(ix, stripe));
            let listing = Listing { free_slot, ..Listing::default() };
            let index = &mut self.trees[usize::from(stripe)].index;
            if is_spare { index.insert(listing) } else { index.remove(listing) }
        }
    }

    fn count_primary(&mut self, ix: NodeIx, is_more: bool) {
        let &Node { rack, primary, .. } = self.node(ix);
        let stripe = usize::from(primary);
        let step = |count: &mut u32| *count = if is_more { *count + 1 } else { *count - 1 };
        step(&mut self.trees[stripe].primaries);
        let found = self.rack_primaries.binary_search_by_key(&rack, |row| row.0);
        let at = found.unwrap_or_else(|at| {
            self.rack_primaries.insert(at, (rack, Default::default()));
            at
        });
        let counts = &mut self.rack_primaries[at].1;
        step(&mut counts[stripe]);
        if counts.iter().all(|&count| count == 0) {
            self.rack_primaries.remove(at);
        }
    }

    fn list(&mut self, ix: NodeIx, stripe: u8) {
        let listing = self.listing(ix, stripe);
        self.trees[usize::from(stripe)].index.insert(listing);
    }

    fn unlist(&mut self, ix: NodeIx, stripe: u8) {
        let listing = self.listing(ix, stripe);
        self.trees[usize::from(stripe)].index.remove(listing);
    }

    /// Under what a node is to be found in a stripe, as it stands now.
    fn listing(&self, ix: NodeIx, stripe: u8) -> Listing {
        let mut listing = Listing::default();
        let &Link { parent, level, .. } = self.link(ix, stripe);
        let Some(parent) = parent.filter(|_| level > 0) else { return listing };
        let node = self.node(ix);
        if self.spare_slots(ix) > 0 {
            listing.free_slot = Some(self.slot_key(ix, stripe));
        }
        // The place of a suspect is no place: it uses no slot.
        if node.is_inner(stripe) || node.standing.suspect {
            return listing;
        }
        let above = self.rack(parent);
        listing.outer = Some(Outer { level, parent_rack: above, node: ix });
        if self.has_children(ix, stripe) {
            listing.lender = Some(Lender { level, node: ix });
        } else if let Some(parent_rack) = above
            && above != node.rack
        {
            listing.foreign = Some(ForeignLeaf { parent_rack, level, node: ix });
        }
        listing
    }

    fn slot_key(&self, ix: NodeIx, stripe: u8) -> FreeSlot {
        let node = self.node(ix);
        let is_borrowed = node.primary != stripe;
        FreeSlot { is_borrowed, level: self.link(ix, stripe).level, rack: node.rack, node: ix }
    }

    fn full_key(&self, ix: NodeIx) -> Option<FullNode> {
        let &Node { standing, slots_used, .. } = self.node(ix);
        let is_full = standing.serves() && slots_used >= self.limits.slots;
        is_full.then_some(FullNode { slots_used: slots_used.into(), node: ix })
    }

    /// Brings the set of full nodes up to date with one that was in it as `before`.
    fn relist_full(&mut self, ix: NodeIx, before: Option<FullNode>) {
        let after = self.full_key(ix);
        if before != after {
            before.map(|key| self.full.remove(&key));
            after.map(|key| self.full.insert(key));
        }
    }

    /// The node is to be told its parent.
    fn mark(&mut self, ix: NodeIx, stripe: u8) {
        self.link_mut(ix, stripe).moved_ms = self.now_ms;
        self.changes.mark(ix, stripe);
    }
}
