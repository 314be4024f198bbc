//! The clients of one generation, in their forests.
//!
//! Those who keep pace with the first make one forest. Who streams, and has fallen out of
//! the windows of those who stream ahead of it, is in another: what it wants nobody of the
//! first has, but the master. Refuses to know who that is.

use crate::overlay::{Change, Forest, Limits, NodeId};
use core::net::SocketAddr;
use ninep::server::OpenId;
use sorted::SortedMap;

pub(super) struct Group {
    forest: Forest,
    behind: Forest,
    pub by_node: SortedMap<NodeId, OpenId>,
    /// The last to join of each address: one that lost its connection may
    /// join again before the loss is seen here.
    pub by_addr: SortedMap<SocketAddr, NodeId>,
}

impl Group {
    pub fn new(limits: Limits) -> Group {
        let (by_node, by_addr) = (SortedMap::new(), SortedMap::new());
        Group { forest: Forest::new(limits), behind: Forest::new(limits), by_node, by_addr }
    }

    pub fn forget(&mut self, node: NodeId, addr: SocketAddr) {
        self.by_node.remove(&node);
        if self.by_addr.get(&addr) == Some(&node) {
            self.by_addr.remove(&addr);
        }
        self.forest_of(node).leave(node);
    }

    /// That which the node is in, or would be first.
    pub fn forest_of(&mut self, node: NodeId) -> &mut Forest {
        if self.is_behind(node) { &mut self.behind } else { &mut self.forest }
    }

    /// The same, to look at.
    pub fn forest(&self, node: NodeId) -> &Forest {
        if self.is_behind(node) { &self.behind } else { &self.forest }
    }

    /// That of those who have fallen behind.
    pub fn behind(&mut self) -> &mut Forest {
        &mut self.behind
    }

    pub fn is_behind(&self, node: NodeId) -> bool {
        self.behind.contains(node)
    }

    pub fn poll_change(&mut self) -> Option<Change> {
        self.forest.poll_change().or_else(|| self.behind.poll_change())
    }
}
