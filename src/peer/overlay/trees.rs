//! The trees of a forest: edges, levels, loads, and the shelves that find a
//! place without a search.
//!
//! It keeps them consistent and knows no policy: who goes where is `place`'s.

use super::Forest;
use super::blame::Record;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

/// Where a node is in `Forest::nodes`.
pub(super) type Ix = u32;
pub(super) const MASTER: Ix = u32::MAX;
pub(super) const NOBODY: Ix = u32::MAX - 1;

/// Ordered by what is looked for first; the last member is the node.
pub(super) type Shelf = BTreeSet<(u32, u32, Ix)>;

/// Added to the level on `Tree::free` for nodes at primary in another stripe.
pub(super) const BORROWED: u32 = 1 << 30;

/// A node's place in one stripe.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub parent: Ix,
    /// Levels below the master; 0 while not attached.
    pub depth: u32,
    /// The number of the parent that was told last.
    pub told: u32,
    /// When the parent was changed, in the low bits of the time: it is
    /// compared with times seconds away.
    pub moved_ms: u32,
    /// It is in `Forest::changes`.
    pub pending: bool,
}

pub(super) const UNLINKED: Link =
    Link { parent: NOBODY, depth: 0, told: NOBODY, moved_ms: 0, pending: false };

#[derive(Clone, Copy)]
pub(super) struct Edge {
    pub child: Ix,
    pub stripe: u8,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Standing {
    pub retired: bool,
    pub withdrawn: bool,
    pub suspect: bool,
    pub banned: bool,
    /// Its link is too slow to feed others; it fetches like all.
    pub slow_uplink: bool,
    pub gone: bool,
}

impl Standing {
    /// May be given children.
    pub fn serves(self) -> bool {
        !(self.retired
            || self.withdrawn
            || self.suspect
            || self.banned
            || self.slow_uplink
            || self.gone)
    }
}

pub(super) struct Node {
    pub id: u32,
    pub rack: u32,
    pub joined_ms: u64,
    /// The stripe in which it is an inner node.
    pub primary: u8,
    pub standing: Standing,
    /// Children that use its link.
    pub used: u16,
    /// It is on the shelves of free slots.
    on_free: bool,
    /// `used` as it is on the shelf of full nodes, or 0.
    on_full: u16,
    pub children: Vec<Edge>,
    /// What was complained of, by it and against it.
    pub record: Option<Box<Record>>,
}

impl Forest {
    /// A node without any edge yet.
    pub(super) fn enter(&mut self, id: u32, rack: u32, primary: u8, joined_ms: u64) -> Ix {
        let node = Node {
            id,
            rack,
            joined_ms,
            primary,
            // Gone until it is counted in below.
            standing: Standing { gone: true, ..Standing::default() },
            used: 0,
            on_free: false,
            on_full: 0,
            children: Vec::new(),
            record: None,
        };
        let ix = match self.vacant.pop() {
            Some(ix) => {
                self.nodes[ix as usize] = node;
                ix
            }
            None => {
                self.nodes.push(node);
                let stripes = self.stripes().len();
                self.links.extend(core::iter::repeat_n(UNLINKED, stripes));
                self.nodes.len() as Ix - 1
            }
        };
        for stripe in self.stripes() {
            // An entry in the queue of changes outlives the node before.
            let pending = self.link(ix, stripe).pending;
            *self.link_mut(ix, stripe) = Link { pending, ..UNLINKED };
        }
        self.ids.insert(id, ix);
        self.set_standing(ix, |s| s.gone = false);
        ix
    }

    pub(super) fn link(&self, ix: Ix, stripe: u8) -> &Link {
        &self.links[ix as usize * self.limits.stripes as usize + stripe as usize]
    }

    pub(super) fn link_mut(&mut self, ix: Ix, stripe: u8) -> &mut Link {
        &mut self.links[ix as usize * self.limits.stripes as usize + stripe as usize]
    }

    pub(super) fn attached(&self, ix: Ix, stripe: u8) -> bool {
        let link = self.link(ix, stripe);
        link.depth > 0 && link.parent != NOBODY
    }

    /// An inner node of this stripe.
    pub(super) fn is_inner(&self, ix: Ix, stripe: u8) -> bool {
        let node = &self.nodes[ix as usize];
        node.primary == stripe && node.standing.serves()
    }

    pub(super) fn kids(&self, ix: Ix, stripe: u8) -> Vec<Ix> {
        let edges = &self.nodes[ix as usize].children;
        edges.iter().filter(|e| e.stripe == stripe).map(|e| e.child).collect()
    }

    pub(super) fn kids_count(&self, ix: Ix, stripe: u8) -> usize {
        self.nodes[ix as usize].children.iter().filter(|e| e.stripe == stripe).count()
    }

    pub(super) fn spare(&self, ix: Ix) -> usize {
        let node = &self.nodes[ix as usize];
        match node.standing.serves() {
            true => self.limits.slots.saturating_sub(node.used) as usize,
            false => 0,
        }
    }

    pub(super) fn rack(&self, ix: Ix) -> u32 {
        if ix == MASTER || ix == NOBODY { 0 } else { self.nodes[ix as usize].rack }
    }

    /// Whether `ix` is `root` or hangs below it.
    pub(super) fn is_below(&self, ix: Ix, root: Ix, stripe: u8) -> bool {
        let mut at = ix;
        while at != root {
            if at == MASTER || at == NOBODY {
                return false;
            }
            at = self.link(at, stripe).parent;
        }
        true
    }

    /// Hangs a node with its subtree under a parent that is attached.
    pub(super) fn attach(&mut self, ix: Ix, parent: Ix, stripe: u8) {
        debug_assert!(self.link(ix, stripe).parent == NOBODY);
        self.add_edge(ix, parent, stripe);
        let mut rest = vec![ix];
        while let Some(at) = rest.pop() {
            // Already there: adopted at this level by `take_place`.
            if self.link(at, stripe).depth > 0 {
                continue;
            }
            let above = self.link(at, stripe).parent;
            let level = if above == MASTER { 0 } else { self.link(above, stripe).depth };
            self.link_mut(at, stripe).depth = level + 1;
            self.shelve(at, stripe);
            let edges = &self.nodes[at as usize].children;
            rest.extend(edges.iter().filter(|e| e.stripe == stripe).map(|e| e.child));
        }
        self.mark(ix, stripe);
    }

    /// Takes a node with its subtree off its parent and off the shelves.
    pub(super) fn detach(&mut self, ix: Ix, stripe: u8) {
        let mut rest = vec![ix];
        while let Some(at) = rest.pop() {
            self.unshelve(at, stripe);
            self.link_mut(at, stripe).depth = 0;
            let edges = &self.nodes[at as usize].children;
            rest.extend(edges.iter().filter(|e| e.stripe == stripe).map(|e| e.child));
        }
        self.remove_edge(ix, stripe);
    }

    /// Takes a node off its parent while its children stay where they are.
    pub(super) fn sever(&mut self, ix: Ix, stripe: u8) {
        if self.attached(ix, stripe) {
            self.unshelve(ix, stripe);
            self.remove_edge(ix, stripe);
        }
    }

    /// Puts a detached node in the place of another, which becomes detached
    /// itself, and gives it the other's children as far as it has slots.
    /// Returns the children that are left over, detached.
    pub(super) fn take_place(&mut self, ix: Ix, old: Ix, stripe: u8) -> Vec<Ix> {
        let parent = self.link(old, stripe).parent;
        let mut orphans = Vec::new();
        for kid in self.kids(old, stripe) {
            if self.spare(ix) > 0 && self.allowed(kid, ix) {
                // Its level stays: it need not be detached with all below it.
                self.unshelve(kid, stripe);
                self.remove_edge(kid, stripe);
                self.add_edge(kid, ix, stripe);
                self.shelve(kid, stripe);
                self.mark(kid, stripe);
            } else {
                self.detach(kid, stripe);
                orphans.push(kid);
            }
        }
        self.detach(old, stripe);
        self.attach(ix, parent, stripe);
        orphans
    }

    fn add_edge(&mut self, ix: Ix, parent: Ix, stripe: u8) {
        if parent == MASTER {
            self.trees[stripe as usize].master.push(ix);
        } else {
            let edge = Edge { child: ix, stripe };
            self.set_edges(parent, stripe, 0, |edges| edges.push(edge));
        }
        self.link_mut(ix, stripe).parent = parent;
        if !self.nodes[ix as usize].standing.suspect {
            self.charge(parent, stripe, true);
        }
    }

    fn remove_edge(&mut self, ix: Ix, stripe: u8) {
        let parent = self.link(ix, stripe).parent;
        if parent == NOBODY {
            return;
        }
        if parent == MASTER {
            self.trees[stripe as usize].master.retain(|&child| child != ix);
        } else {
            let other = |e: &Edge| (e.child, e.stripe) != (ix, stripe);
            self.set_edges(parent, stripe, 1, |edges| edges.retain(other));
        }
        self.link_mut(ix, stripe).parent = NOBODY;
        if !self.nodes[ix as usize].standing.suspect {
            self.charge(parent, stripe, false);
        }
    }

    /// Changes the children of a node. With `turning` of them in this stripe
    /// a leaf becomes a lender, or a lender a leaf: other shelves.
    fn set_edges(
        &mut self,
        ix: Ix,
        stripe: u8,
        turning: usize,
        change: impl FnOnce(&mut Vec<Edge>),
    ) {
        let turns = !self.is_inner(ix, stripe) && self.kids_count(ix, stripe) == turning;
        if turns {
            self.unshelve(ix, stripe);
        }
        change(&mut self.nodes[ix as usize].children);
        if turns {
            self.shelve(ix, stripe);
        }
    }

    /// Counts a child that uses its parent's link.
    fn charge(&mut self, parent: Ix, stripe: u8, more: bool) {
        let load = match parent {
            MASTER => &mut self.trees[stripe as usize].master_load,
            parent => &mut self.nodes[parent as usize].used,
        };
        *load = if more { *load + 1 } else { *load - 1 };
        if parent != MASTER {
            self.shelve_slots(parent);
        }
    }

    /// Changes what a node may do; `change` does so.
    pub(super) fn set_standing(&mut self, ix: Ix, change: impl FnOnce(&mut Standing)) {
        let before = self.nodes[ix as usize].standing;
        let mut after = before;
        change(&mut after);
        for stripe in self.stripes() {
            self.unshelve(ix, stripe);
        }
        self.nodes[ix as usize].standing = after;
        for stripe in self.stripes() {
            self.shelve(ix, stripe);
            // A suspect takes nothing, so it costs its parents nothing.
            let parent = self.link(ix, stripe).parent;
            if before.suspect != after.suspect && parent != NOBODY {
                self.charge(parent, stripe, before.suspect);
            }
        }
        self.shelve_slots(ix);
        if before.serves() != after.serves() {
            self.count_home(ix, after.serves());
        }
    }

    fn count_home(&mut self, ix: Ix, more: bool) {
        let Node { rack, primary, .. } = self.nodes[ix as usize];
        let step = |count: &mut u32| *count = if more { *count + 1 } else { *count - 1 };
        step(&mut self.trees[primary as usize].primaries);
        let found = self.rack_primaries.binary_search_by_key(&rack, |r| r.0);
        let at = found.unwrap_or_else(|at| {
            self.rack_primaries.insert(at, (rack, [0; super::STRIPES_MAX as usize]));
            at
        });
        step(&mut self.rack_primaries[at].1[primary as usize]);
        if self.rack_primaries[at].1.iter().all(|&count| count == 0) {
            self.rack_primaries.remove(at);
        }
    }

    /// Puts a node on the shelves where it belongs, for all but its slots.
    fn shelve(&mut self, ix: Ix, stripe: u8) {
        self.for_shelves(ix, stripe, |shelf, key| {
            shelf.insert(key);
        });
    }

    fn unshelve(&mut self, ix: Ix, stripe: u8) {
        self.for_shelves(ix, stripe, |shelf, key| {
            shelf.remove(&key);
        });
    }

    fn for_shelves(&mut self, ix: Ix, stripe: u8, put: fn(&mut Shelf, (u32, u32, Ix))) {
        if !self.attached(ix, stripe) {
            return;
        }
        let Link { parent, depth, .. } = *self.link(ix, stripe);
        let above = self.rack(parent);
        let inner = self.is_inner(ix, stripe);
        let leaf = inner || self.kids_count(ix, stripe) == 0;
        let node = &self.nodes[ix as usize];
        let tree = &mut self.trees[stripe as usize];
        if node.on_free {
            put(&mut tree.free, (free_level(node, stripe, depth), node.rack, ix));
        }
        if inner {
            return;
        }
        put(&mut tree.low, (depth, above, ix));
        if !leaf {
            put(&mut tree.lenders, (depth, 0, ix));
        } else if above != 0 && above != node.rack {
            put(&mut tree.foreign, (above, depth, ix));
        }
    }

    /// Brings the shelves up to date with a node's spare slots.
    fn shelve_slots(&mut self, ix: Ix) {
        let slots = self.limits.slots;
        let node = &mut self.nodes[ix as usize];
        let serves = node.standing.serves();
        let full = if serves && node.used >= slots { node.used } else { 0 };
        if node.on_full != full {
            self.full.remove(&(u32::from(node.on_full), 0, ix));
            if full > 0 {
                self.full.insert((u32::from(full), 0, ix));
            }
            node.on_full = full;
        }
        let free = serves && node.used < slots;
        if node.on_free == free {
            return;
        }
        node.on_free = free;
        for stripe in self.stripes().filter(|&s| self.attached(ix, s)).collect::<Vec<_>>() {
            let node = &self.nodes[ix as usize];
            let key = (free_level(node, stripe, self.link(ix, stripe).depth), node.rack, ix);
            let shelf = &mut self.trees[stripe as usize].free;
            if free {
                shelf.insert(key)
            } else {
                shelf.remove(&key)
            };
        }
    }

    /// The node is to be told its parent.
    fn mark(&mut self, ix: Ix, stripe: u8) {
        let now_ms = self.now_ms as u32;
        let link = self.link_mut(ix, stripe);
        link.moved_ms = now_ms;
        if !link.pending {
            link.pending = true;
            self.changes.push_back((ix, stripe));
        }
    }
}

fn free_level(node: &Node, stripe: u8, depth: u32) -> u32 {
    if node.primary == stripe { depth } else { depth | BORROWED }
}
