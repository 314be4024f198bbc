//! Who is in the forest, and what is known of each node by itself.
//!
//! A node's children are listed here, since its uplink carries all of them
//! whatever the stripe. The roster knows no tree and keeps nothing consistent
//! but its own numbering: changing children, load or standing is left to
//! [`super::trees::Trees`], which keeps the indices to match.

use super::node::{Newcomer, NodeId, NodeIx, Rack, Voice};
use crate::recent::Recent;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};
use sorted::SortedMap;

/// Parents that a node is not given again; the oldest is forgotten.
const REJECTED_MAX: usize = 8;

/// A child of a node in one stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub child: NodeIx,
    pub stripe: u8,
}

/// What keeps a node from being given children, or some. All false: it serves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// It has everything: it needs no parents and keeps the children it has.
    pub retired: bool,
    /// It has said that it leaves soon.
    pub withdrawn: bool,
    /// Its children could not reach it, or the master: until the master does.
    pub suspect: bool,
    /// It sent corrupt pieces.
    pub banned: bool,
    /// Its uplink is too slow to feed others; it fetches like all.
    pub slow_uplink: bool,
    /// Whoever reads from it is slow: it serves those alone of whom that is true, too.
    pub full: bool,
    /// It has left.
    pub gone: bool,
}

impl Standing {
    /// Whether the node may be given children.
    pub fn serves(self) -> bool {
        !(self.retired
            || self.withdrawn
            || self.suspect
            || self.banned
            || self.slow_uplink
            || self.gone)
    }
}

/// One node.
pub(super) struct Node {
    pub id: NodeId,
    pub rack: Option<Rack>,
    pub voice: Voice,
    pub joined_ms: u64,
    /// It keeps a part of what it fetched: it serves those alone who do, too.
    pub is_partial: bool,
    /// The stripe in which it is an inner node.
    pub primary: u8,
    pub standing: Standing,
    /// Children that use its uplink: all but the suspects among them.
    pub slots_used: u16,
    /// In the order in which they came.
    pub children: Vec<Edge>,
    /// Parents that it complained of.
    pub rejected: Recent<NodeId, REJECTED_MAX>,
}

impl Node {
    pub fn new(newcomer: Newcomer, primary: u8, joined_ms: u64) -> Node {
        let Newcomer { node: id, rack, voice, is_partial, is_reached } = newcomer;
        Node {
            id,
            rack,
            voice,
            joined_ms,
            is_partial,
            primary,
            standing: Standing { suspect: !is_reached, ..Standing::default() },
            slots_used: 0,
            children: Vec::new(),
            rejected: Recent::default(),
        }
    }

    /// Whether it is an inner node of this stripe.
    pub fn is_inner(&self, stripe: u8) -> bool {
        self.primary == stripe && self.standing.serves()
    }

    /// Whether it may be a child of another's.
    pub fn suits(&self, child: &Node) -> bool {
        (child.is_partial || !self.is_partial) && (child.standing.full || !self.standing.full)
    }

    pub fn has_rejected(&self, parent: NodeId) -> bool {
        self.rejected.iter().any(|&rejected| rejected == parent)
    }

    pub fn children_in(&self, stripe: u8) -> impl Iterator<Item = NodeIx> + '_ {
        self.children.iter().filter(move |e| e.stripe == stripe).map(|e| e.child)
    }
}

/// All nodes, by the master's number and by place.
#[derive(Default)]
pub(super) struct Roster {
    ids: SortedMap<NodeId, NodeIx>,
    nodes: Vec<Node>,
    /// Places of nodes that have left, to be used again.
    vacant: Vec<NodeIx>,
}

impl Roster {
    /// Takes a node in, whose number must be new.
    pub fn enter(&mut self, node: Node) -> NodeIx {
        let id = node.id;
        let ix = match self.vacant.pop() {
            Some(ix) => {
                self[ix] = node;
                ix
            }
            None => {
                self.nodes.push(node);
                NodeIx::new(self.nodes.len() - 1)
            }
        };
        self.ids.insert(id, ix);
        ix
    }

    /// Gives the place of a node free, which nothing may refer to any more.
    pub fn vacate(&mut self, ix: NodeIx) {
        let id = self[ix].id;
        self.ids.remove(&id);
        self.vacant.push(ix);
    }

    pub fn find(&self, id: NodeId) -> Option<NodeIx> {
        self.ids.get(&id).copied()
    }

    /// Nodes that are in.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Those that are in, by number.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = NodeIx> + '_ {
        self.ids.values().copied()
    }
}

impl Index<NodeIx> for Roster {
    type Output = Node;

    fn index(&self, ix: NodeIx) -> &Node {
        &self.nodes[ix.at()]
    }
}

impl IndexMut<NodeIx> for Roster {
    fn index_mut(&mut self, ix: NodeIx) -> &mut Node {
        &mut self.nodes[ix.at()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_and_a_number_is_not_found_any_more() {
        let mut roster = Roster::default();
        let node = |id| {
            let (node, voice) = (NodeId(id), Voice(id.into()));
            let (rack, is_partial, is_reached) = (None, false, true);
            Node::new(Newcomer { node, rack, voice, is_partial, is_reached }, 0, 0)
        };
        let (first, second) = (roster.enter(node(10)), roster.enter(node(5)));
        assert_eq!(roster.iter().collect::<Vec<_>>(), [second, first], "by number");
        roster.vacate(first);
        assert_eq!((roster.find(NodeId(10)), roster.find(NodeId(5))), (None, Some(second)));
        assert_eq!(roster.enter(node(11)), first);
        assert_eq!((roster.len(), roster[first].id), (2, NodeId(11)));
    }
}
