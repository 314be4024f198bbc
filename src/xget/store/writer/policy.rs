//! What a destination is for, and what in it is left alone.
//!
//! Wishes of who began the fetch; has touched no disk.

use peer::content::patterns::Patterns;
use std::path::PathBuf;

/// What is done with what differs in the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// It is fetched, and put in place file by file.
    #[default]
    Fill,
    /// All is fetched and verified before the first is put in place. What the source
    /// does not have is removed after all else.
    Mirror,
    /// As `Fill`, and what the source does not have is removed, whatever failed before: for
    /// a cache, and for a root that nobody runs on yet.
    Copy,
    /// It is told, and nothing is written; with or without what `Mirror` would remove.
    Compare { removes: bool },
    /// It stays as it is, and is fetched aside, for those who are served.
    Serve,
}

impl Purpose {
    pub fn removes(self) -> bool {
        matches!(self, Purpose::Mirror | Purpose::Copy | Purpose::Compare { removes: true })
    }
    pub fn writes(self) -> bool {
        self == Purpose::Mirror || self.is_gradual()
    }
    /// Each file is put in place when it is whole.
    pub fn is_gradual(self) -> bool {
        matches!(self, Purpose::Fill | Purpose::Copy)
    }
    pub fn compares(self) -> bool {
        matches!(self, Purpose::Compare { .. })
    }
}

/// How a destination is treated.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub purpose: Purpose,
    /// What is neither changed nor removed, with all that is below it.
    pub keep: Patterns,
    /// A directory whose files have pieces of use at the same paths.
    pub copies: Option<PathBuf>,
    /// Nobody may write to its files: many use them.
    pub read_only: bool,
}
