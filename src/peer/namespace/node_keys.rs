//! The keys of nodes, for a master: they follow from a root, where it has one.
//!
//! Refuses to know which nodes there are.

use super::guard::NodeKeys;
use crate::auth::{Key, KeyKind, NAME_LEN_MAX};
use crate::caller::NODE;
use alloc::string::String;

/// What the operator is told of a node that shows its own key.
pub(super) const NO_ROOT: &str = "it wants what is for one node alone, by that node's key, which follows from the root key: this side has the cluster's (--key)";
/// The same of a name that no node can have.
const NO_NODE: &str = "it says that it is a node of a name that none can have";

/// Of this key: a root, or one that nothing follows from.
pub(super) struct OfRoot {
    key: Key,
}

impl OfRoot {
    pub fn new(key: &Key) -> OfRoot {
        OfRoot { key: key.clone() }
    }
}

impl NodeKeys for OfRoot {
    fn name(&self, aname: &[u8]) -> Option<String> {
        let name = core::str::from_utf8(aname.strip_prefix(NODE)?).ok()?;
        (name.len() <= NAME_LEN_MAX).then(|| name.into())
    }

    fn key(&self, node: &str) -> Result<Key, &'static str> {
        let is_root = *self.key.kind() == KeyKind::Root;
        self.key.node(node).ok_or(if is_root { NO_NODE } else { NO_ROOT })
    }
}
