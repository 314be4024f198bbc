//! What parents keep no more of a stream.
//!
//! Knows who may do so: any peer, of anything but the manifest, which all keep. From all others,
//! and of that, what is empty is wrong.

use super::super::common::Common;
use super::super::window::Pace;
use super::Transfer;
use crate::control::{Complaint, ParentAddr};
use ninep::server::ConnId;

impl Transfer {
    /// Whether it is no lie that a parent keeps this piece no more.
    pub(super) fn may_pass(&self, common: &Common, conn: ConnId, piece: u32) -> bool {
        let is_kept = common
            .generation(self.generation)
            .is_none_or(|known| piece < known.manifest_pieces.count());
        self.pace != Pace::Any && !is_kept && self.parents.addr(conn) != Some(ParentAddr::Master)
    }

    /// A parent keeps a piece no more: it is ahead of us by more than its window, and so of
    /// no use in that stripe.
    pub(super) fn passed(&mut self, common: &mut Common, conn: ConnId, piece: u32) {
        self.scheduler.absent(conn, piece, common.now_ms);
        let stripe = piece as usize % self.parents.by_stripe().len();
        let Some(parent) = self.parents.addr(conn) else { return };
        if self.parents.by_stripe()[stripe] == Some(conn) {
            self.replace(common, stripe, parent, Complaint::Passed);
        }
        self.fill_all(common);
    }
}
