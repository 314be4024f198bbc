//! What holds of the trees after every change, found anew from the edges.

use super::*;
use alloc::collections::{BTreeMap, BTreeSet};

impl Trees {
    /// Panics where levels, loads or indices do not match the edges.
    pub fn check_consistency(&self) {
        let nodes: Vec<NodeIx> = self.roster.iter().collect();
        self.check_edges(&nodes);
        for stripe in self.stripes() {
            let mut index = StripeIndex::default();
            nodes.iter().for_each(|&ix| index.insert(self.listing_by_definition(ix, stripe)));
            assert_eq!(*self.index(stripe), index, "index of stripe {stripe}");
            self.check_master(&nodes, stripe);
        }
        self.check_counts(&nodes);
    }

    fn check_edges(&self, nodes: &[NodeIx]) {
        let mut edges = 0;
        let mut loads: BTreeMap<NodeIx, u16> = BTreeMap::new();
        for (&ix, stripe) in nodes.iter().flat_map(|ix| self.stripes().map(move |s| (ix, s))) {
            let link = *self.link(ix, stripe);
            let Some(Upstream::Node(parent)) = link.parent else { continue };
            let (id, above) = (self.node(ix).id, self.node(parent));
            edges += 1;
            *loads.entry(parent).or_default() += u16::from(!self.node(ix).standing.suspect);
            assert!(above.children.contains(&Edge { child: ix, stripe }), "{id:?} is listed");
            assert!(!self.node(ix).has_rejected(above.id), "{id:?} has a parent it rejected");
            let standing = Standing { retired: false, ..above.standing };
            assert!(standing.serves(), "{:?} feeds {id:?}", above.id);
            // Levels rise by one each, so there is no cycle either.
            let level = self.link(parent, stripe).level;
            assert_eq!(link.level, if level == 0 { 0 } else { level + 1 }, "level of {id:?}");
        }
        let listed: usize = nodes.iter().map(|&ix| self.node(ix).children.len()).sum();
        assert_eq!(listed, edges, "each edge is listed once");
        for &ix in nodes {
            let load = loads.get(&ix).copied().unwrap_or(0);
            assert_eq!(self.node(ix).slots_used, load, "load of {:?}", self.node(ix).id);
        }
    }

    fn check_master(&self, nodes: &[NodeIx], stripe: u8) {
        let below = |ix: &&NodeIx| self.link(**ix, stripe).parent == Some(Upstream::Master);
        let expected: BTreeSet<NodeIx> = nodes.iter().filter(below).copied().collect();
        let children = self.master_children(stripe);
        assert_eq!(children.iter().copied().collect::<BTreeSet<_>>(), expected);
        assert_eq!(children.len(), expected.len(), "each is listed once");
        assert!(children.iter().all(|&ix| self.link(ix, stripe).level == 1));
        let load = children.iter().filter(|&&ix| !self.node(ix).standing.suspect).count();
        assert_eq!(usize::from(self.master_load(stripe)), load, "load of the master");
    }

    /// Not by `listing`, which is used to keep the index.
    fn listing_by_definition(&self, ix: NodeIx, stripe: u8) -> Listing {
        let (node, link) = (self.node(ix), self.link(ix, stripe));
        let (Some(parent), level @ 1..) = (link.parent, link.level) else {
            return Listing::default();
        };
        let parent_rack = self.rack(parent);
        let feeds = node.children.iter().any(|e| e.stripe == stripe);
        let has_spare = node.standing.serves() && node.slots_used < self.limits.slots;
        let is_borrowed = node.primary != stripe;
        let is_outer = (is_borrowed || !node.standing.serves()) && !node.standing.suspect;
        let foreign = parent_rack.filter(|_| is_outer && !feeds && parent_rack != node.rack);
        Listing {
            free_slot: has_spare.then_some(FreeSlot {
                is_borrowed,
                level,
                rack: node.rack,
                node: ix,
            }),
            outer: is_outer.then_some(Outer { level, parent_rack, node: ix }),
            lender: (is_outer && feeds).then_some(Lender { level, node: ix }),
            foreign: foreign.map(|parent_rack| ForeignLeaf { parent_rack, level, node: ix }),
        }
    }

    fn check_counts(&self, nodes: &[NodeIx]) {
        let mut full = BTreeSet::new();
        let mut rack_primaries: BTreeMap<_, [u32; STRIPES_MAX as usize]> = BTreeMap::new();
        for &ix in nodes {
            let node = self.node(ix);
            if node.standing.serves() {
                rack_primaries.entry(node.rack).or_default()[usize::from(node.primary)] += 1;
                let key = FullNode { slots_used: node.slots_used.into(), node: ix };
                full.extend((node.slots_used >= self.limits.slots).then_some(key));
            }
        }
        assert!(self.full.iter().eq(&full), "full nodes");
        for stripe in self.stripes() {
            let primaries = rack_primaries.values().map(|counts| counts[usize::from(stripe)]);
            assert_eq!(self.primaries(stripe), primaries.sum(), "primaries of {stripe}");
        }
        let rack_primaries: Vec<_> = rack_primaries.into_iter().collect();
        assert_eq!(self.rack_primaries, rack_primaries, "primaries by rack");
        let slow = nodes.iter().filter(|&&ix| self.node(ix).standing.slow_uplink).count();
        assert_eq!(self.slow_uplink_count, slow, "slow uplinks");
    }
}
