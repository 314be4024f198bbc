//! One real client, fed by scripted parents that a scripted master names.

use crate::content::Tree;
use crate::pair::*;
use crate::scripted_server::Asked;
use peer::control::{ClientMessage, Complaint, MasterMessage, ParentAddr};
use peer::request::FetchRequest;
use std::rc::Rc;

/// The scripted master.
pub const MASTER: usize = 0;

pub struct Fed {
    pub pair: Pair,
    pub tree: Rc<Tree>,
    pub client: usize,
}

/// As the conversation names a host.
pub fn parent_addr(host: usize) -> ParentAddr {
    if host == MASTER { ParentAddr::Master } else { ParentAddr::Peer(addr(host)) }
}

/// A client that is about to join, with a parent for each stripe: the master,
/// or one of the hosts from 1 on. All of them have the manifest, and nothing
/// else; whatever a test changes before it lets time pass is so from the start.
pub fn fed(tree: Rc<Tree>, parents: &[usize], request: FetchRequest) -> Fed {
    let mut pair = Pair::default();
    let stripes = parents.len() as u8;
    for _ in MASTER..=*parents.iter().max().expect("there is a stripe") {
        let host = pair.add_server(&tree, stripes);
        let manifest = tree.map.manifest_pieces().count();
        pair.let_server(host, |server| server.give(0..manifest));
    }
    let named = parents.iter().map(|parent| parent_addr(*parent)).collect();
    pair.let_server(MASTER, |server| server.parents = named);
    let client = pair.add_client(MASTER, request);
    Fed { pair, tree, client }
}

/// The same of one file of so many pieces, with nothing else to be said.
pub fn fed_pieces(count: u32, parents: &[usize]) -> Fed {
    fed(Tree::of_pieces(count), parents, all())
}

impl Fed {
    pub fn give(&mut self, host: usize, pieces: impl IntoIterator<Item = u32>) {
        self.pair.let_server(host, |server| server.give(pieces));
    }

    pub fn name(&mut self, stripe: u8, host: usize) {
        let message = MasterMessage::Parent { stripe, parent: parent_addr(host) };
        self.pair.let_server(MASTER, |server| server.tell(&message));
    }

    /// What the client complained of, and when.
    pub fn complaints(&self) -> Vec<(u64, u8, ParentAddr, Complaint)> {
        let complaint = |(at_ms, said): &(u64, ClientMessage)| match *said {
            ClientMessage::Replace { stripe, parent, complaint, .. } => {
                Some((*at_ms, stripe, parent, complaint))
            }
            _ => None,
        };
        self.pair.client(self.client).said.iter().filter_map(complaint).collect()
    }

    /// When the client probed a host.
    pub fn probed_ms(&self, host: usize) -> Vec<u64> {
        let probed = self.pair.client(self.client).probed.iter();
        probed.filter(|(_, to)| *to == host).map(|(at_ms, _)| *at_ms).collect()
    }

    /// When a piece was asked of a host, through `pieces`.
    pub fn asked_ms(&self, host: usize, piece: u32) -> Vec<u64> {
        self.pair.asked_ms(host, &Asked::Piece { piece, waits: true })
    }

    /// Pieces of the content that were asked of a host through `pieces`, in order.
    pub fn asked(&self, host: usize) -> Vec<u32> {
        self.pair.pieces_asked(host, true).into_iter().filter(|&piece| piece > 0).collect()
    }

    pub fn stored(&self) -> Vec<u32> {
        self.pair.client(self.client).stored_pieces().collect()
    }
}
