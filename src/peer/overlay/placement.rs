//! Who goes where: the choice of a parent, who succeeds a parent that stops
//! serving, and what is put right when a slot becomes spare.
//!
//! The order of choice for a leaf: a spare slot of an inner node, the master
//! within `head`, a slot borrowed by a node at primary elsewhere, the place of a leaf
//! that may have a slot which this one may not. For an inner node: whatever is
//! highest, the place of a leaf included. When there is none of these: the
//! master up to a bound, then the nodes evenly up to theirs, and the master
//! without bound as the last resort, since somebody must.

use super::trees::{BORROWED, Ix, Link, MASTER, NOBODY};
use super::{COHORT_MS, Forest, HEAD_FACTOR, LOOK_MAX, MOVES_MAX, OVERCOMMIT_FACTOR, RELIEF_MAX};
use crate::table::Table;
use alloc::vec::Vec;

/// So many inner nodes of a stripe may stand one below the other while there
/// are no more: that costs less than making those wait who have more.
const CHAIN_MAX: u32 = 8;
/// Levels more than a balanced tree's that are no chain yet, for the same reason.
const SLACK_LEVELS: u32 = 3;
/// The level of no place at all.
const NOWHERE: u32 = u32::MAX;

/// A place within everybody's budget.
enum Spot {
    Under(Ix),
    /// A leaf or lender, which moves below or to another spare slot.
    InPlaceOf(Ix),
}

impl Forest {
    /// Gives a detached node a parent.
    pub(super) fn place(&mut self, ix: Ix, stripe: u8) {
        self.place_within(ix, stripe, MOVES_MAX);
    }

    /// Others may be moved for it, and others for those, `moves` deep.
    fn place_within(&mut self, ix: Ix, stripe: u8, moves: u8) {
        let spot = match self.has_height(ix, stripe) {
            true => self.choose_high(ix, stripe, moves),
            false => self.choose_leaf(ix, stripe, moves),
        };
        match spot {
            Some(Spot::Under(parent)) => {
                self.raise(parent, stripe);
                self.attach(ix, parent, stripe);
            }
            Some(Spot::InPlaceOf(old)) => {
                let orphans = self.take_place(ix, old, stripe);
                self.place_within(old, stripe, moves - 1);
                for orphan in orphans {
                    self.place_within(orphan, stripe, moves - 1);
                }
            }
            None => {
                let parent = self.overload(ix, stripe);
                self.raise(parent, stripe);
                self.attach(ix, parent, stripe);
            }
        }
    }

    /// It has children to feed, or will have.
    fn has_height(&self, ix: Ix, stripe: u8) -> bool {
        self.is_inner(ix, stripe) || self.kids_count(ix, stripe) > 0
    }

    fn choose_high(&self, ix: Ix, stripe: u8, moves: u8) -> Option<Spot> {
        if self.head_room(stripe) {
            return Some(Spot::Under(MASTER));
        }
        let spare = self.spare_parent(ix, stripe);
        // Only who is placed first displaces, or they would do so in turn.
        let displaces = moves == MOVES_MAX;
        let low = if displaces { self.displaceable(ix, stripe) } else { None };
        let level =
            |at: Option<Ix>, below| at.map_or(NOWHERE, |at| self.link(at, stripe).depth + below);
        let (under, instead) = (level(spare, 1), level(low, 0));
        if displaces
            && self.is_deep(under.min(instead), stripe)
            && let Some(ahead) = self.last_of_the_high(ix, stripe)
        {
            return Some(Spot::InPlaceOf(ahead));
        }
        let low = low.filter(|_| instead < under);
        low.map(Spot::InPlaceOf).or(spare.map(Spot::Under))
    }

    fn choose_leaf(&self, ix: Ix, stripe: u8, moves: u8) -> Option<Spot> {
        let head_room = self.head_room(stripe);
        let at_home = |p: Ix| self.nodes[p as usize].primary == stripe;
        match self.spare_parent(ix, stripe) {
            Some(p) if at_home(p) || !head_room => {
                let swap = if moves > 0 { self.swap(ix, stripe, p) } else { None };
                Some(swap.unwrap_or(Spot::Under(p)))
            }
            _ if head_room => Some(Spot::Under(MASTER)),
            // There may be spare slots that others can have and it can not.
            _ if moves > 0 => self.displaceable(ix, stripe).map(Spot::InPlaceOf),
            _ => None,
        }
    }

    pub(super) fn head_room(&self, stripe: u8) -> bool {
        self.trees[stripe as usize].master_load < self.limits.head
    }

    /// The highest spare slot, borrowed ones last.
    fn spare_parent(&self, ix: Ix, stripe: u8) -> Option<Ix> {
        self.spare_of(ix, stripe, 0).or_else(|| self.spare_of(ix, stripe, BORROWED))
    }

    /// The highest spare slot at primary or borrowed, of the same rack if there is
    /// one at most a level lower.
    fn spare_of(&self, ix: Ix, stripe: u8, kind: u32) -> Option<Ix> {
        let shelf = &self.trees[stripe as usize].free;
        let fits = |key: &&(u32, u32, Ix)| self.allowed(ix, key.2);
        let first = shelf.range((kind, 0, 0)..(kind + BORROWED, 0, 0)).find(fits)?;
        let rack = self.rack(ix);
        let near = |level: u32| shelf.range((level, rack, 0)..=(level, rack, Ix::MAX)).find(fits);
        let found = if rack == 0 { None } else { near(first.0).or_else(|| near(first.0 + 1)) };
        Some(found.unwrap_or(first).2)
    }

    /// The highest node that is not inner here and can be put elsewhere; of
    /// several such the one with the fewest edges between racks afterwards.
    fn displaceable(&self, ix: Ix, stripe: u8) -> Option<Ix> {
        let shelf = &self.trees[stripe as usize].low;
        let fits =
            |key: &&(u32, u32, Ix)| !self.is_ahead(key.2, ix) && self.gives_way(key.2, ix, stripe);
        let first = shelf.iter().take(LOOK_MAX).find(fits)?;
        let rack = self.rack(ix);
        if rack == 0 {
            return Some(first.2);
        }
        let cross = |key: &&(u32, u32, Ix)| {
            let (above, old) = (key.1, self.rack(key.2));
            u8::from(above != rack) + u8::from(old != rack) - u8::from(above != old)
        };
        let near = |level: u32| shelf.range((level, rack, 0)..=(level, rack, Ix::MAX));
        let level = shelf.range((first.0, 0, 0)..(first.0 + 1, 0, 0)).take(LOOK_MAX);
        let near = near(first.0).chain(near(first.0 + 1)).take(LOOK_MAX);
        level.chain(near).filter(fits).min_by_key(cross).map(|key| key.2)
    }

    /// Of those first on the shelf, however far ahead, the one that joined last:
    /// it waits for the least. Else those who come one by one make a chain.
    fn last_of_the_high(&self, ix: Ix, stripe: u8) -> Option<Ix> {
        let shelf = self.trees[stripe as usize].low.iter().take(LOOK_MAX);
        let high = shelf.map_while(|key| (!self.is_deep(key.0, stripe)).then_some(key.2));
        let fits = |&old: &Ix| self.gives_way(old, ix, stripe);
        high.filter(fits).max_by_key(|&old| self.nodes[old as usize].joined_ms)
    }

    fn gives_way(&self, old: Ix, ix: Ix, stripe: u8) -> bool {
        let (room, kids) = (self.spare(ix), self.kids_count(old, stripe));
        self.allowed(ix, self.link(old, stripe).parent)
            && (kids == 0 || kids < room)
            && (room > 0 || self.spare_parent(old, stripe).is_some())
    }

    /// Whether a balanced tree of as many inner nodes, with some slack, has no
    /// such level, nor a short chain of them.
    fn is_deep(&self, level: u32, stripe: u8) -> bool {
        let (mut row, mut levels) = (u32::from(self.limits.head), 1 + SLACK_LEVELS);
        let mut rest = self.trees[stripe as usize].primaries;
        if rest <= CHAIN_MAX {
            return level > CHAIN_MAX;
        }
        while rest > row && levels < level {
            rest -= row;
            row = row.saturating_mul(u32::from(self.limits.slots));
            levels += 1;
        }
        level > levels
    }

    /// Whether a node joined so long before another that it has more.
    fn is_ahead(&self, ix: Ix, other: Ix) -> bool {
        let joined_ms = |ix: Ix| self.nodes[ix as usize].joined_ms;
        joined_ms(ix) + COHORT_MS < joined_ms(other)
    }

    /// A leaf in its own rack that comes from another, when its best parent
    /// would be in another rack too.
    fn swap(&self, ix: Ix, stripe: u8, under: Ix) -> Option<Spot> {
        let rack = self.rack(ix);
        if rack == 0 || rack == self.rack(under) {
            return None;
        }
        let level_max = self.link(under, stripe).depth + 2;
        let shelf = &self.trees[stripe as usize].foreign;
        let fits = |key: &&(u32, u32, Ix)| {
            let leaf = key.2;
            self.allowed(ix, self.link(leaf, stripe).parent) && self.allowed(leaf, under)
        };
        let mut near = shelf.range((rack, 0, 0)..=(rack, level_max, Ix::MAX)).take(LOOK_MAX);
        near.find(fits).map(|key| Spot::InPlaceOf(key.2))
    }

    /// Before a slot is borrowed: the lender changes places with a higher leaf that
    /// has nothing to lend. Else the last to come lend to each other, and make
    /// a chain.
    fn raise(&mut self, lender: Ix, stripe: u8) {
        if lender == MASTER || self.nodes[lender as usize].primary == stripe {
            return;
        }
        let Link { parent, depth, .. } = *self.link(lender, stripe);
        let is_deep = self.is_deep(depth, stripe);
        let shelf = &self.trees[stripe as usize].low;
        let fits = |key: &&(u32, u32, Ix)| {
            self.kids_count(key.2, stripe) == 0
                && (is_deep || !self.is_ahead(key.2, lender))
                && self.allowed(key.2, parent)
                && self.allowed(lender, self.link(key.2, stripe).parent)
        };
        let mut higher = shelf.range(..(depth - 1, 0, 0)).take(LOOK_MAX);
        let Some(&(_, _, leaf)) = higher.find(fits) else { return };
        self.detach(lender, stripe);
        self.take_place(lender, leaf, stripe);
        self.attach(leaf, parent, stripe);
    }

    /// Nobody has a spare slot: who is given more than its budget.
    fn overload(&self, ix: Ix, stripe: u8) -> Ix {
        let most = self.limits.slots * OVERCOMMIT_FACTOR;
        let fits = |key: &&(u32, u32, Ix)| {
            key.0 < u32::from(most) && self.attached(key.2, stripe) && self.allowed(ix, key.2)
        };
        // A suspect takes nothing: it may hang anywhere but at the master.
        let silent = self.nodes[ix as usize].standing.suspect;
        let bound = self.limits.head * HEAD_FACTOR;
        if !silent && self.trees[stripe as usize].master_load < bound {
            return MASTER;
        }
        let least = self.full.iter().filter(fits).take(LOOK_MAX);
        let even = |key: &&(u32, u32, Ix)| (key.0, self.link(key.2, stripe).depth);
        least.min_by_key(even).map_or(MASTER, |key| key.2)
    }

    /// Takes a node without children off its parents.
    pub(super) fn detach_leaf(&mut self, ix: Ix) {
        for stripe in self.stripes() {
            if self.kids_count(ix, stripe) == 0 && self.attached(ix, stripe) {
                self.detach(ix, stripe);
            }
        }
    }

    /// Gives all children of a node other parents; it must not serve any more.
    pub(super) fn dissolve(&mut self, ix: Ix) {
        let gone = self.nodes[ix as usize].standing.gone;
        let mut waiting = Vec::new();
        for stripe in self.stripes() {
            self.orphan(ix, stripe, &mut waiting);
            if gone && self.attached(ix, stripe) {
                self.detach(ix, stripe);
            }
        }
        // Those with subtrees first: the slots in them serve the leaves.
        let (inner, leaves): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|&(at, stripe)| {
            self.is_inner(at, stripe) || self.kids_count(at, stripe) > 0
        });
        for (at, stripe) in inner.into_iter().chain(leaves) {
            self.place(at, stripe);
        }
    }

    /// Takes the children of a node off it in one stripe: to its successor as far
    /// as there is one, and else to those that wait for a place.
    fn orphan(&mut self, ix: Ix, stripe: u8, waiting: &mut Vec<(Ix, u8)>) {
        let kids = self.kids(ix, stripe);
        let Some(successor) = self.successor(ix, stripe, &kids) else {
            for kid in kids {
                self.detach(kid, stripe);
                waiting.push((kid, stripe));
            }
            return;
        };
        let wanted = kids.len() - usize::from(kids.contains(&successor));
        for kid in self.kids(successor, stripe) {
            if self.spare(successor) >= wanted {
                break;
            }
            self.detach(kid, stripe);
            waiting.push((kid, stripe));
        }
        self.detach(successor, stripe);
        let left = self.take_place(successor, ix, stripe);
        waiting.extend(left.into_iter().map(|orphan| (orphan, stripe)));
        if !self.nodes[ix as usize].standing.gone {
            waiting.push((ix, stripe));
        }
    }

    /// Who takes the place of a node that has a subtree of more than leaves:
    /// an inner node from the bottom of it, so that it leaves no such hole.
    fn successor(&self, ix: Ix, stripe: u8, kids: &[Ix]) -> Option<Ix> {
        let parent = self.link(ix, stripe).parent;
        if parent == NOBODY || kids.iter().all(|&kid| self.kids_count(kid, stripe) == 0) {
            return None;
        }
        let mut found = None;
        let mut at = ix;
        loop {
            let mut kids = self.kids(at, stripe);
            kids.retain(|&kid| self.is_inner(kid, stripe));
            let childless = kids.iter().find(|&&kid| self.kids_count(kid, stripe) == 0);
            let Some(&next) = childless.or(kids.last()) else { break };
            found = Some(next);
            at = next;
        }
        found.filter(|&successor| self.allowed(successor, parent))
    }

    /// Puts right what is overloaded or out of place, as far as there are
    /// spare slots for it.
    pub(super) fn relieve(&mut self) {
        let mut left = RELIEF_MAX;
        for stripe in self.stripes() {
            while left > 0 && self.relieve_master(stripe) {
                left -= 1;
            }
        }
        while left > 0 && self.relieve_node() {
            left -= 1;
        }
        for stripe in self.stripes() {
            while left > 0 && self.reclaim(stripe) {
                left -= 1;
            }
        }
    }

    /// Moves one child off the master if it has more than `head` of them.
    fn relieve_master(&mut self, stripe: u8) -> bool {
        let tree = &self.trees[stripe as usize];
        let stampede = tree.master_load > self.limits.head * HEAD_FACTOR && self.can_overcommit();
        if tree.master_load <= self.limits.head || tree.free.is_empty() && !stampede {
            return false;
        }
        let draws = |kid: &&Ix| !self.nodes[**kid as usize].standing.suspect;
        let kids = tree.master.iter().filter(draws).take(LOOK_MAX).enumerate();
        let mut order = Table::new();
        for (nth, &kid) in kids {
            order.insert((self.kids_count(kid, stripe), nth), (kid, stripe));
        }
        let least = order.values().next().map(|&(kid, _)| kid);
        if self.move_one(order.values().copied().collect()) {
            return true;
        }
        let Some(least) = least.filter(|_| stampede) else { return false };
        let before = self.trees[stripe as usize].master_load;
        self.detach(least, stripe);
        self.place(least, stripe);
        self.trees[stripe as usize].master_load < before
    }

    /// Moves one child off a node that has more of them than slots.
    fn relieve_node(&mut self) -> bool {
        let slots = u32::from(self.limits.slots);
        let loaded = self.full.iter().rev().take_while(|key| key.0 > slots).take(LOOK_MAX);
        let loaded: Vec<Ix> = loaded.map(|key| key.2).collect();
        if loaded.is_empty() || self.stripes().all(|s| !self.has_room(s)) {
            return false;
        }
        let edges = |ix: Ix| self.nodes[ix as usize].children.iter().map(|e| (e.child, e.stripe));
        self.move_one(loaded.into_iter().flat_map(edges).collect())
    }

    fn can_overcommit(&self) -> bool {
        let most = u32::from(self.limits.slots * OVERCOMMIT_FACTOR);
        self.full.first().is_some_and(|key| key.0 < most)
    }

    fn has_room(&self, stripe: u8) -> bool {
        self.head_room(stripe) || !self.trees[stripe as usize].free.is_empty()
    }

    /// Moves the first of these that draws on its parent and has a better place.
    fn move_one(&mut self, edges: Vec<(Ix, u8)>) -> bool {
        let fits = |&(ix, stripe): &(Ix, u8)| {
            !self.nodes[ix as usize].standing.suspect && self.has_spare_outside(ix, stripe)
        };
        let Some((ix, stripe)) = edges.into_iter().find(fits) else { return false };
        self.detach(ix, stripe);
        self.place(ix, stripe);
        true
    }

    /// Whether there is a place within budget that is not in its own subtree.
    pub(super) fn has_spare_outside(&self, ix: Ix, stripe: u8) -> bool {
        let shelf = &self.trees[stripe as usize].free;
        let fits =
            |key: &(u32, u32, Ix)| self.allowed(ix, key.2) && !self.is_below(key.2, ix, stripe);
        self.head_room(stripe) || shelf.iter().take(LOOK_MAX).any(fits)
    }

    /// Moves one child off the lowest lender to a spare slot at primary here, so
    /// that the lender has its slots for its own stripe.
    fn reclaim(&mut self, stripe: u8) -> bool {
        let tree = &self.trees[stripe as usize];
        let Some(&(level, _, lender)) = tree.lenders.last() else { return false };
        for kid in self.kids(lender, stripe) {
            let fits = |key: &&(u32, u32, Ix)| {
                key.0 <= level && self.allowed(kid, key.2) && !self.is_below(key.2, kid, stripe)
            };
            let primary = self.trees[stripe as usize].free.range(..(BORROWED, 0, 0));
            if let Some(&(_, _, parent)) = primary.take(LOOK_MAX).find(fits) {
                self.detach(kid, stripe);
                self.attach(kid, parent, stripe);
                return true;
            }
        }
        false
    }

    /// An inner node goes up to where it is of more use, if there is such a
    /// place: it may serve again, or a place became vacant.
    pub(super) fn lift(&mut self, ix: Ix) {
        let stripe = self.nodes[ix as usize].primary;
        let tree = &self.trees[stripe as usize];
        let low = tree.low.first().map_or(u32::MAX, |key| key.0);
        let free = tree.free.first().map_or(u32::MAX, |key| key.0 + 1);
        if self.attached(ix, stripe) && low.min(free) < self.link(ix, stripe).depth {
            self.detach(ix, stripe);
            self.place(ix, stripe);
        }
    }
}
