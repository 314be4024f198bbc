//! Which node fetches which stripe from whom: the master's routing policy.
//!
//! One tree per stripe, all rooted at the master. A node is an inner node in
//! its primary stripe and a leaf in the others, so that its one uplink carries
//! one copy of the data: `slots` children over all stripes, each costing one
//! stripe. A spare slot may be borrowed by another stripe. The rules:
//!
//! - Inner nodes stand above leaves: a new one takes the place of the highest
//!   leaf, and the leaf moves below it. Otherwise arrival order makes a chain.
//!   A leaf that came much earlier is left where it is until there is a chain.
//! - Any node's spare slot is better than another copy out of the master.
//! - Who stops serving is succeeded by an inner node from the bottom of its
//!   own subtree: the levels of all others stay as they were.
//! - A subtree moves with its root, and never below itself.
//!
//! The sums work out exactly: n nodes have n * slots slots and need that many
//! parents less those that the master gives. So when all serve, every leaf
//! finds a spare slot; where they do not, `choice` says who is overloaded.
//!
//! From the bottom: `node` and `limits` are names and bounds, `roster` says who
//! is in, `trees` keeps edges, levels, loads and the `index` of free places
//! consistent and tells `changes`, `choice` finds a place, `placement` and
//! `relief` move nodes, `blame` remembers complaints and rules on them,
//! `complaints` carries the ruling out. [`Forest`] is what the master sees.

mod blame;
mod changes;
mod choice;
mod complaints;
mod forest;
mod index;
#[cfg(test)]
mod inspect;
mod limits;
mod node;
mod placement;
mod relief;
mod roster;
#[cfg(test)]
mod tests;
mod trees;

pub use complaints::Verdict;
pub use forest::Forest;
pub use limits::{Limits, NODES_MAX};
pub use node::{Change, Newcomer, NodeId, Parent, Voice};
