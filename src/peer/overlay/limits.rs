//! The bounds that the whole overlay keeps to.
//!
//! What the master's operator may choose is in [`Limits`]; the rest are
//! constants. Bounds of one part only stand in that part's file.

use core::ops::Range;

/// Most stripes: `-m` of the command line.
pub const STRIPES_MAX: u8 = 16;
/// Most nodes of one forest. A master has a connection to each.
pub const NODES_MAX: usize = 65_536;
/// The master serves at most this many times its `head_copies` when nodes
/// fail, unless all nodes are loaded to `OVERCOMMIT_FACTOR` as well.
const HEAD_FACTOR: u16 = 2;
/// A node is given at most this many times its slots when nodes fail.
pub(super) const OVERCOMMIT_FACTOR: u16 = 3;

/// How many trees there are, and how many children a link carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Trees, and parents of every node: 1 to [`STRIPES_MAX`].
    pub stripes: u8,
    /// Children of one node over all stripes; `stripes` of them are one copy
    /// of the data that goes out of its uplink.
    pub slots: u16,
    /// Children of the master in each stripe: copies of the data that its
    /// uplink carries at once.
    pub head_copies: u16,
}

impl Limits {
    /// Moves what is out of range to the nearest value in range, so that
    /// nothing below can be zero or overflow.
    pub(super) fn clamped(self) -> Limits {
        Limits {
            stripes: self.stripes.clamp(1, STRIPES_MAX),
            slots: self.slots.clamp(1, u16::MAX / OVERCOMMIT_FACTOR),
            head_copies: self.head_copies.clamp(1, u16::MAX / HEAD_FACTOR),
        }
    }

    pub(super) fn stripes(self) -> Range<u8> {
        0..self.stripes
    }

    /// Children of one node at most while others have failed.
    pub(super) fn overcommit_max(self) -> u16 {
        self.slots * OVERCOMMIT_FACTOR
    }

    /// Children of the master in one stripe at most while nodes have failed.
    pub(super) fn head_overcommit_max(self) -> u16 {
        self.head_copies * HEAD_FACTOR
    }
}
