//! A server session over a small tree, with whatever frames a peer may send.
//!
//! Whatever comes: a request has one reply or is a read that waits; a reply
//! fits the msize; what the session holds and what the tree holds agree; an
//! opening ends once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ninep::MessageType;
use ninep::server::{ConnId, Output, Session, Ticket};
use std::collections::BTreeSet;
use xget_fuzz::steps::{Step, steps};
use xget_fuzz::tree::SmallTree;

const CONN: ConnId = ConnId(1);
const MSIZE_MAX: u32 = 64 * 1024;

struct Peer {
    session: Session<SmallTree>,
    tree: SmallTree,
    /// The msize agreed on; what replies have to fit.
    msize: u32,
    /// Tags of reads that have no reply yet.
    waiting: BTreeSet<u16>,
}

/// Type and tag of a reply.
#[derive(Debug)]
struct Got {
    kind: MessageType,
    tag: u16,
}

fuzz_target!(|input: &[u8]| {
    let session = Session::new(CONN, MSIZE_MAX);
    let tree = SmallTree::default();
    let mut peer = Peer { session, tree, msize: MSIZE_MAX, waiting: BTreeSet::new() };
    for step in steps(input) {
        match step {
            Step::Frame(frame) => {
                if !peer.send(&frame) {
                    break;
                }
            }
            Step::Event { kind, bytes } => peer.happen(kind, bytes),
        }
        peer.check();
    }
    peer.session.close(&mut peer.tree);
    assert!(peer.tree.open.is_empty() && peer.tree.waiting.is_empty());
});

impl Peer {
    /// `false` when the connection has to be closed.
    fn send(&mut self, frame: &[u8]) -> bool {
        if self.session.handle_frame(&mut self.tree, frame).is_err() {
            return false;
        }
        let tag = u16::from_le_bytes([frame[5], frame[6]]);
        let mut replies = self.replies();
        let own = replies.pop_if(|last| last.tag == tag);
        self.awaited(&replies);
        match own {
            None => {
                assert_eq!(MessageType(frame[4]), MessageType::TREAD, "a request without a reply");
                assert!(self.waiting.insert(tag), "a tag in use was taken again");
            }
            Some(Got { kind: MessageType::RVERSION, .. }) => self.waiting.clear(),
            Some(Got { kind: MessageType::RFLUSH, .. }) => {
                self.waiting.remove(&u16::from_le_bytes([frame[7], frame[8]]));
            }
            Some(_) => {}
        }
        true
    }

    /// What happens beside the peer's frames: bytes arrive, or do not, and
    /// tickets are tried that are stale or somebody else's.
    fn happen(&mut self, kind: u8, bytes: &[u8]) {
        let number = bytes.first().copied().unwrap_or(0);
        match kind {
            0 => self.tree.has_arrived = number & 1 == 1,
            1 => {
                for ticket in self.tree.waiting.clone() {
                    self.session.resume(&mut self.tree, ticket);
                }
            }
            _ => {
                let ticket = Ticket { conn: ConnId(u32::from(kind & 1)), serial: number.into() };
                self.session.resume(&mut self.tree, ticket);
            }
        }
        let replies = self.replies();
        self.awaited(&replies);
    }

    fn awaited(&mut self, replies: &[Got]) {
        for reply in replies {
            assert!(self.waiting.remove(&reply.tag), "unasked: {reply:?}");
        }
    }

    fn replies(&mut self) -> Vec<Got> {
        let mut list = Vec::new();
        while let Some(output) = self.session.poll_output() {
            let (bytes, len) = match output {
                Output::Frame(bytes) => {
                    let len = bytes.len();
                    (bytes, len)
                }
                Output::Bulk { header, len, failure, .. } => {
                    assert!(failure.frame().len() <= self.msize as usize);
                    (header.to_vec(), header.len() + len as usize)
                }
            };
            let size = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            assert_eq!(size as usize, len);
            let kind = MessageType(bytes[4]);
            if kind == MessageType::RVERSION {
                self.msize = self.session.frame_len_max();
            }
            assert!(size <= self.msize, "a reply beyond msize");
            list.push(Got { kind, tag: u16::from_le_bytes([bytes[5], bytes[6]]) });
        }
        list
    }

    fn check(&self) {
        assert_eq!(self.waiting.len(), self.tree.waiting.len());
        assert!(!self.session.is_backlogged());
    }
}
