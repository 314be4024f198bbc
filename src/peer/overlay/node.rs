//! What a node, its rack and its parent are called, towards the master and
//! within the overlay.
//!
//! The master numbers its nodes ([`NodeId`]); within the overlay a node is
//! where it stands in the [`Roster`](super::roster::Roster) (`NodeIx`), which
//! finds it without a search and is used again after it has left. So what is
//! remembered of a node that may leave meanwhile is remembered by its number.
//! Nothing here knows an address.

use core::num::NonZeroU32;

/// A node, as the master numbers it. A number is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// A label of nodes that are near each other: below one switch. A node of no
/// known rack has none; `Option<Rack>` takes no more room than a rack does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rack(NonZeroU32);

/// Nobody says yet which rack a node stands in: only the tests do.
#[cfg(test)]
impl Rack {
    /// The rack of this number, counted from 1; `None` for 0.
    pub fn new(number: u32) -> Option<Rack> {
        NonZeroU32::new(number).map(Rack)
    }
}

/// Nodes of one voice are believed as if they were one: those of one address,
/// which the master writes as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice(pub u128);

/// A node that comes into the forest.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer {
    /// Its number, a new one.
    pub node: NodeId,
    /// Where it stands.
    pub rack: Option<Rack>,
    /// With whom it speaks.
    pub voice: Voice,
    /// It keeps a part of what it fetched, which is enough for those alone who do the same.
    pub is_partial: bool,
    /// Others can reach it. Who is not reached begins as a suspect.
    pub is_reached: bool,
}

/// Whom a node fetches a stripe from, as the master says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// The master itself: the root of every tree.
    Master,
    /// Another node of the forest.
    Node(NodeId),
}

/// A parent that a node has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who is to be told.
    pub node: NodeId,
    /// The stripe that it is to fetch from there, from 0.
    pub stripe: u8,
    /// Its parent from now on.
    pub parent: Parent,
}

/// Where a node stands in the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeIx(u32);

impl NodeIx {
    pub const MIN: NodeIx = NodeIx(0);
    pub const MAX: NodeIx = NodeIx(u32::MAX);

    /// A forest is bounded to far less than `u32::MAX` nodes: [`super::NODES_MAX`].
    pub fn new(at: usize) -> NodeIx {
        NodeIx(at as u32)
    }

    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// Whom a node hangs below in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    Master,
    Node(NodeIx),
}
