//! What each node was told of its parents, and whom to tell next.
//!
//! A node may be moved several times before the master asks whom to tell: it
//! is told the latest parent only, and nothing when that is the one it knows.
//! Where nodes stand is not known here; it is handed in.

use super::node::{NodeIx, Parent};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The queue of nodes that were moved, one entry at most for each node and stripe.
#[derive(Default)]
pub(super) struct Changes {
    queue: VecDeque<(NodeIx, u8)>,
    /// For each node, one for each stripe.
    announced: Vec<Announced>,
    stripes: usize,
}

#[derive(Clone, Copy, Default)]
struct Announced {
    parent: Option<Parent>,
    /// It is in the queue.
    is_pending: bool,
}

impl Changes {
    pub fn new(stripes: u8) -> Changes {
        Changes { stripes: stripes.into(), ..Changes::default() }
    }

    /// A new node stands here, which was told nothing. A queue entry of the one
    /// before it stays, and serves the new one.
    pub fn enter(&mut self, ix: NodeIx) {
        let end = (ix.at() + 1) * self.stripes;
        if self.announced.len() < end {
            self.announced.resize(end, Announced::default());
        }
        for announced in &mut self.announced[end - self.stripes..end] {
            announced.parent = None;
        }
    }

    /// The node was moved in this stripe.
    pub fn mark(&mut self, ix: NodeIx, stripe: u8) {
        let announced = self.announced_mut(ix, stripe);
        if !announced.is_pending {
            announced.is_pending = true;
            self.queue.push_back((ix, stripe));
        }
    }

    /// The parent that the node was told last.
    pub fn announced(&self, ix: NodeIx, stripe: u8) -> Option<Parent> {
        self.announced[ix.at() * self.stripes + usize::from(stripe)].parent
    }

    /// Who is to be told another parent than it knows, the oldest move first.
    /// `current` says which one a node has, if any.
    pub fn poll(
        &mut self,
        current: impl Fn(NodeIx, u8) -> Option<Parent>,
    ) -> Option<(NodeIx, u8, Parent)> {
        while let Some((ix, stripe)) = self.queue.pop_front() {
            let current = current(ix, stripe);
            let announced = self.announced_mut(ix, stripe);
            announced.is_pending = false;
            if let Some(parent) = current
                && announced.parent != current
            {
                announced.parent = current;
                return Some((ix, stripe, parent));
            }
        }
        None
    }

    fn announced_mut(&mut self, ix: NodeIx, stripe: u8) -> &mut Announced {
        &mut self.announced[ix.at() * self.stripes + usize::from(stripe)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::node::NodeId;

    const FIRST: NodeIx = NodeIx::MIN;
    const OTHER: Option<Parent> = Some(Parent::Node(NodeId(7)));

    fn changes() -> Changes {
        let mut changes = Changes::new(2);
        changes.enter(FIRST);
        changes.mark(FIRST, 1);
        changes
    }

    #[test]
    fn only_the_latest_parent_is_told_and_only_once() {
        let mut changes = changes();
        changes.mark(FIRST, 1);
        assert_eq!(changes.poll(|_, _| OTHER), Some((FIRST, 1, Parent::Node(NodeId(7)))));
        assert_eq!(changes.poll(|_, _| OTHER), None);
        changes.mark(FIRST, 1);
        assert_eq!(changes.poll(|_, _| OTHER), None, "it was moved there and back");
        assert_eq!((changes.announced(FIRST, 1), changes.announced(FIRST, 0)), (OTHER, None));
    }

    #[test]
    fn who_has_no_parent_is_told_none() {
        assert_eq!(changes().poll(|_, _| None), None);
    }

    #[test]
    fn a_new_node_in_an_old_place_is_told_its_parent() {
        let mut changes = changes();
        assert!(changes.poll(|_, _| OTHER).is_some());
        changes.mark(FIRST, 1);
        changes.enter(FIRST);
        changes.mark(FIRST, 1);
        assert!(changes.poll(|_, _| OTHER).is_some());
        assert!(changes.poll(|_, _| OTHER).is_none(), "one entry serves both");
    }
}
