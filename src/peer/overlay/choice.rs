//! The choice of a place for a node in one stripe, in trees as they stand.
//!
//! The order of choice for a leaf: a spare slot of an inner node, the master
//! within `head_copies`, a borrowed slot, the place of a leaf that may have a
//! slot which this one may not. For a node with children, or with children to
//! come: whatever is highest, the place of a leaf included. When there is none
//! of these: the master and the nodes evenly, each up to a bound, and the master
//! without bound as the last resort, since somebody must.
//!
//! Nothing is changed here: that is `placement`'s.

use super::index::{ForeignLeaf, FreeSlot, FullNode, Outer};
use super::node::{NodeIx, Upstream};
use super::trees::Trees;

/// Candidates looked at for one place before the next best kind is taken.
pub(super) const LOOK_MAX: usize = 32;
/// A node is not put above one that joined so much earlier: that one has more
/// than the other could give it; unless the tree would become too deep.
pub(super) const COHORT_MS: u64 = 1_000;
/// So many inner nodes of a stripe may stand one below the other while there
/// are no more: that costs less than making those wait who have more.
const CHAIN_MAX: u32 = 8;
/// Levels more than a balanced tree's that are not too deep yet, for the same
/// reason.
const SLACK_LEVELS: u32 = 3;
/// The level of no place at all.
const NOWHERE: u32 = u32::MAX;

/// A place within everybody's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// A spare slot.
    Under(Upstream),
    /// That of a leaf or lender, which moves below or to another spare slot.
    InPlaceOf(NodeIx),
}

/// How much may be moved to make the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// The node is the one that all is for.
    First,
    /// It was moved for another: it may take a leaf's place if it has none,
    /// but a node with children displaces nobody, or they would do so in turn.
    Displaced,
    /// Enough were moved already.
    Last,
}

/// A node in search of a parent in one stripe.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub trees: &'a Trees,
    pub node: NodeIx,
    pub stripe: u8,
}

impl Search<'_> {
    /// None when there is no place within budget.
    pub fn choose(&self, effort: Effort) -> Option<Placement> {
        if self.trees.node(self.node).standing.suspect {
            return Some(Placement::Under(self.aside()));
        }
        if self.trees.node(self.node).standing.full
            && let Some(at) = self.full_parent()
        {
            return Some(Placement::Under(Upstream::Node(at)));
        }
        match feeds(self.trees, self.node, self.stripe) {
            true => self.choose_high(effort),
            false => self.choose_leaf(effort),
        }
    }

    /// Where a suspect hangs, which uses no slots: below one who has no more of
    /// such than it has slots, so that it does not keep anybody in his place.
    fn aside(&self) -> Upstream {
        let slots = usize::from(self.trees.limits().slots);
        let fits = |key: &FreeSlot| {
            self.trees.node(key.node).children.len() < slots
                && self.may_have(Upstream::Node(key.node))
        };
        let mut spare = self.trees.index(self.stripe).free_slots().take(LOOK_MAX);
        spare.find(fits).map_or(Upstream::Master, |key| Upstream::Node(key.node))
    }

    /// Below whom a full node keeps no place from one that is not: the highest spare slot
    /// of those that are full.
    fn full_parent(&self) -> Option<NodeIx> {
        let fits =
            |key: &FreeSlot| self.trees.node(key.node).standing.full && self.is_outside(*key);
        self.trees.index(self.stripe).free_slots().find(fits).map(|key| key.node)
    }

    fn choose_high(&self, effort: Effort) -> Option<Placement> {
        if self.trees.has_head_room(self.stripe) {
            return Some(Placement::Under(Upstream::Master));
        }
        let spare = self.spare_parent();
        let displaces = effort == Effort::First;
        let outer = if displaces { self.displaceable() } else { None };
        let level_of = |at: Option<NodeIx>, below| at.map_or(NOWHERE, |at| self.level(at) + below);
        let (under, instead) = (level_of(spare, 1), level_of(outer, 0));
        if displaces
            && is_too_deep(self.trees, under.min(instead), self.stripe)
            && let Some(ahead) = self.last_of_the_high()
        {
            return Some(Placement::InPlaceOf(ahead));
        }
        let outer = outer.filter(|_| instead < under).map(Placement::InPlaceOf);
        outer.or(spare.map(|at| Placement::Under(Upstream::Node(at))))
    }

    fn choose_leaf(&self, effort: Effort) -> Option<Placement> {
        let has_head_room = self.trees.has_head_room(self.stripe);
        let may_displace = effort != Effort::Last;
        let is_primary = |at: NodeIx| self.trees.node(at).primary == self.stripe;
        match self.spare_parent() {
            Some(at) if is_primary(at) || !has_head_room => {
                let swap = if may_displace { self.swap(at) } else { None };
                Some(swap.unwrap_or(Placement::Under(Upstream::Node(at))))
            }
            _ if has_head_room => Some(Placement::Under(Upstream::Master)),
            // There may be spare slots that others can have and it can not.
            _ if may_displace => self.displaceable().map(Placement::InPlaceOf),
            _ => None,
        }
    }

    /// The highest spare slot, borrowed ones last.
    fn spare_parent(&self) -> Option<NodeIx> {
        self.spare_of(false).or_else(|| self.spare_of(true))
    }

    /// The highest spare slot of inner nodes, or to be borrowed; of the same
    /// rack if there is one at most a level lower.
    fn spare_of(&self, is_borrowed: bool) -> Option<NodeIx> {
        let index = self.trees.index(self.stripe);
        let fits = |key: &FreeSlot| self.may_have(Upstream::Node(key.node));
        let first = index.free_slots_of(is_borrowed).find(fits)?;
        let near = self.trees.node(self.node).rack.and_then(|rack| {
            let near = |level| index.free_slots_near(is_borrowed, level, rack).find(fits);
            near(first.level).or_else(|| near(first.level + 1))
        });
        Some(near.unwrap_or(first).node)
    }

    /// The highest node that is not inner here and can be put elsewhere; of
    /// several such the one with the fewest edges between racks afterwards.
    fn displaceable(&self) -> Option<NodeIx> {
        let index = self.trees.index(self.stripe);
        let fits =
            |key: &Outer| !is_ahead(self.trees, key.node, self.node) && self.gives_way(key.node);
        let first = index.outer().take(LOOK_MAX).find(fits)?;
        let Some(rack) = self.trees.node(self.node).rack else { return Some(first.node) };
        let rack_crossings = |key: &Outer| {
            let (mine, above, old) = (Some(rack), key.parent_rack, self.trees.node(key.node).rack);
            i8::from(above != mine) + i8::from(old != mine) - i8::from(above != old)
        };
        let near = |level| index.outer_near(level, rack);
        let near = near(first.level).chain(near(first.level + 1)).take(LOOK_MAX);
        let candidates = index.outer_at(first.level).take(LOOK_MAX).chain(near);
        candidates.filter(fits).min_by_key(rack_crossings).map(|key| key.node)
    }

    /// Of the highest leaves, however far ahead, the one that joined last: it
    /// waits for the least. Else those who come one by one make a chain.
    fn last_of_the_high(&self) -> Option<NodeIx> {
        let outer = self.trees.index(self.stripe).outer().take(LOOK_MAX);
        let high = outer.take_while(|key| !is_too_deep(self.trees, key.level, self.stripe));
        let fits = |&old: &NodeIx| self.gives_way(old);
        high.map(|key| key.node).filter(fits).max_by_key(|&old| self.trees.node(old).joined_ms)
    }

    /// Whether the searching node can stand where `old` does, and `old` with
    /// its children elsewhere.
    fn gives_way(&self, old: NodeIx) -> bool {
        let (slots, children) =
            (self.trees.spare_slots(self.node), self.trees.children_count(old, self.stripe));
        let above = self.trees.link(old, self.stripe).parent;
        above.is_some_and(|above| self.may_have(above))
            && (children == 0 || children < slots)
            && (slots > 0 || Search { node: old, ..*self }.spare_parent().is_some())
    }

    /// When the best parent would be in another rack: the place of a leaf from
    /// another rack below a parent in this one, for which that parent will do.
    fn swap(&self, best: NodeIx) -> Option<Placement> {
        let rack = self.trees.node(self.node).rack?;
        if self.trees.node(best).rack == Some(rack) {
            return None;
        }
        let fits = |key: &ForeignLeaf| {
            let above = self.trees.link(key.node, self.stripe).parent;
            above.is_some_and(|above| self.may_have(above))
                && self.trees.may_feed(Upstream::Node(best), key.node)
        };
        let level_max = self.level(best) + 2;
        let mut leaves = self.trees.index(self.stripe).foreign(rack, level_max).take(LOOK_MAX);
        leaves.find(fits).map(|key| Placement::InPlaceOf(key.node))
    }

    /// Who has the fewest children of those that have no slot to spare, and not too many.
    fn least_overloaded(&self) -> Option<FullNode> {
        let fits = |key: &FullNode| {
            key.slots_used < u32::from(self.trees.limits().overcommit_max())
                && self.trees.is_attached(key.node, self.stripe)
                && self.may_have(Upstream::Node(key.node))
        };
        let evenly = |key: &FullNode| (key.slots_used, self.level(key.node));
        self.trees.full().filter(fits).take(LOOK_MAX).min_by_key(evenly)
    }

    /// Any node that is not below this one, and the master where there is none.
    pub fn choose_node(&self) -> Upstream {
        if self.trees.node(self.node).standing.suspect {
            return self.aside();
        }
        let outside = |key: &FreeSlot| self.is_outside(*key);
        let spare = self.trees.index(self.stripe).free_slots().take(LOOK_MAX).find(outside);
        let node = spare.map(|key| key.node);
        let node = node.or_else(|| self.least_overloaded().map(|key| key.node));
        node.map_or(Upstream::Master, Upstream::Node)
    }

    /// Nobody has a spare slot: who is given more than its budget.
    pub fn choose_overloaded(&self) -> Upstream {
        let limits = self.trees.limits();
        let least = self.least_overloaded();
        let Some(least) = least else { return Upstream::Master };
        // All wait for the master: it is loaded no more than nodes are, as a share of
        // what each is to carry. A suspect takes nothing: it need not hang there.
        let is_suspect = self.trees.node(self.node).standing.suspect;
        let loads = self.trees.stripes().map(|stripe| u32::from(self.trees.master_load(stripe)));
        let budget = u32::from(limits.head_copies) * u32::from(limits.stripes);
        let is_master_less =
            loads.sum::<u32>() * u32::from(limits.slots) <= budget * least.slots_used;
        let has_room = self.trees.master_load(self.stripe) < limits.head_overcommit_max();
        match !is_suspect && has_room && is_master_less {
            true => Upstream::Master,
            false => Upstream::Node(least.node),
        }
    }

    /// Whether there is a place within budget that is not in its own subtree.
    pub fn has_spare_outside(&self) -> bool {
        let fits = |key: FreeSlot| self.is_outside(key);
        let index = self.trees.index(self.stripe);
        self.trees.has_head_room(self.stripe) || index.free_slots().take(LOOK_MAX).any(fits)
    }

    /// An inner node's spare slot that is not in the own subtree, down to a level.
    pub fn primary_slot_outside(&self, level_max: u32) -> Option<NodeIx> {
        let fits = |key: &FreeSlot| key.level <= level_max && self.is_outside(*key);
        let mut slots = self.trees.index(self.stripe).free_slots_of(false).take(LOOK_MAX);
        slots.find(fits).map(|key| key.node)
    }

    fn is_outside(&self, key: FreeSlot) -> bool {
        self.may_have(Upstream::Node(key.node))
            && !self.trees.is_below(key.node, self.node, self.stripe)
    }

    /// A higher leaf that can change places with this node, which is below
    /// `parent` and about to lend a slot. Else the last to come lend to each
    /// other, and make a chain.
    pub fn higher_leaf(&self, parent: Upstream) -> Option<NodeIx> {
        let trees = self.trees;
        let level = self.level(self.node);
        let is_too_deep = is_too_deep(trees, level, self.stripe);
        let fits = |key: &Outer| {
            let above = trees.link(key.node, self.stripe).parent;
            !trees.has_children(key.node, self.stripe)
                && (is_too_deep || !is_ahead(trees, key.node, self.node))
                && trees.may_feed(parent, key.node)
                && above.is_some_and(|above| self.may_have(above))
        };
        let mut higher = trees.index(self.stripe).outer_above(level - 1).take(LOOK_MAX);
        higher.find(fits).map(|key| key.node)
    }

    fn may_have(&self, parent: Upstream) -> bool {
        self.trees.may_feed(parent, self.node)
    }

    fn level(&self, ix: NodeIx) -> u32 {
        self.trees.link(ix, self.stripe).level
    }
}

/// Whether a node has children to feed in a stripe, or will have.
pub(super) fn feeds(trees: &Trees, ix: NodeIx, stripe: u8) -> bool {
    trees.node(ix).is_inner(stripe) || trees.has_children(ix, stripe)
}

/// Whether a node joined so long before another that it has more.
fn is_ahead(trees: &Trees, ix: NodeIx, other: NodeIx) -> bool {
    trees.node(ix).joined_ms + COHORT_MS < trees.node(other).joined_ms
}

/// Whether a balanced tree of as many inner nodes, with some slack, has no
/// such level, nor a short chain of them.
fn is_too_deep(trees: &Trees, level: u32, stripe: u8) -> bool {
    let limits = trees.limits();
    let mut rest = trees.primaries(stripe);
    if rest <= CHAIN_MAX {
        return level > CHAIN_MAX;
    }
    let (mut row, mut levels) = (u32::from(limits.head_copies), 1 + SLACK_LEVELS);
    while rest > row && levels < level {
        rest -= row;
        row = row.saturating_mul(u32::from(limits.slots));
        levels += 1;
    }
    level > levels
}
