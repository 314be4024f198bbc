//! What the tests see of a forest besides what the master asks of it.

use super::forest::Forest;
use super::limits::Limits;
use super::node::{Newcomer, NodeId, NodeIx, Rack, Voice};

/// The forest in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Nodes that have joined and not left.
    pub nodes: usize,
    /// Nodes that may be given children.
    pub serving: usize,
    /// Nodes that have everything and need no parents.
    pub retired: usize,
    /// Nodes that serve nobody until they make progress again.
    pub suspects: usize,
    /// Nodes that serve nobody for corrupt pieces.
    pub banned: usize,
    /// Nodes whose uplink is too slow to serve.
    pub slow_uplink: usize,
    /// Children of the master, over all stripes; `stripes` of them are one copy.
    pub master_children: usize,
    /// Nodes with more children than slots.
    pub overcommitted: usize,
    /// The deepest level of any stripe; a child of the master is on level 1.
    pub levels: u32,
}

impl Forest {
    /// A node joins that can be reached and has a voice of its own.
    pub fn join_one(&mut self, node: NodeId, rack: Option<Rack>, now_ms: u64) -> bool {
        let voice = Voice(node.0.into());
        self.join(Newcomer { node, rack, voice, is_partial: false, is_reached: true }, now_ms)
    }

    /// The limits in use.
    pub fn limits(&self) -> Limits {
        self.trees().limits()
    }

    /// Whether the node serves nobody until it makes progress.
    pub fn is_suspect(&self, node: NodeId) -> bool {
        find(self, node).is_some_and(|ix| self.trees().node(ix).standing.suspect)
    }

    /// Whether the node serves nobody for corrupt pieces.
    pub fn is_banned(&self, node: NodeId) -> bool {
        find(self, node).is_some_and(|ix| self.trees().node(ix).standing.banned)
    }

    /// The children with the stripe that each fetches from this node.
    pub fn children(&self, node: NodeId) -> impl Iterator<Item = (NodeId, u8)> + '_ {
        let edges = find(self, node).map_or(&[][..], |ix| &self.trees().node(ix).children);
        edges.iter().map(|edge| (self.trees().node(edge.child).id, edge.stripe))
    }

    /// Levels below the master, whose children are on level 1; 0 for an
    /// unknown node. A retired node counts as standing where it last stood.
    pub fn level(&self, node: NodeId, stripe: u8) -> u32 {
        known(self, node, stripe).map_or(0, |ix| self.trees().link(ix, stripe).level)
    }

    /// Children that use the node's uplink. A suspect child uses none of it.
    pub fn slots_used(&self, node: NodeId) -> u16 {
        find(self, node).map_or(0, |ix| self.trees().node(ix).slots_used)
    }

    /// Children of the master in this stripe, suspects included.
    pub fn master_children(&self, stripe: u8) -> usize {
        let is_known = self.trees().stripes().contains(&stripe);
        if is_known { self.trees().master_children(stripe).len() } else { 0 }
    }

    /// Counted anew: in time linear in the nodes.
    pub fn stats(&self) -> Stats {
        let trees = self.trees();
        let mut stats = Stats {
            nodes: trees.roster().len(),
            master_children: trees.stripes().map(|s| trees.master_children(s).len()).sum(),
            ..Stats::default()
        };
        for ix in trees.roster().iter() {
            let node = trees.node(ix);
            stats.serving += usize::from(node.standing.serves());
            stats.retired += usize::from(node.standing.retired);
            stats.suspects += usize::from(node.standing.suspect);
            stats.banned += usize::from(node.standing.banned);
            stats.slow_uplink += usize::from(node.standing.slow_uplink);
            stats.overcommitted += usize::from(node.slots_used > trees.limits().slots);
            let deepest = trees.stripes().map(|s| trees.link(ix, s).level).max();
            stats.levels = stats.levels.max(deepest.unwrap_or(0));
        }
        stats
    }
}

fn find(forest: &Forest, node: NodeId) -> Option<NodeIx> {
    forest.trees().roster().find(node)
}

fn known(forest: &Forest, node: NodeId, stripe: u8) -> Option<NodeIx> {
    find(forest, node).filter(|_| forest.trees().stripes().contains(&stripe))
}
