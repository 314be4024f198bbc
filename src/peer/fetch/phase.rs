//! The phases of a fetch, one after the other.
//!
//! ```text
//! Joining ─ generation ─> Manifest ─ whole ─> Checking ─ done ─> Fetching
//!                                                                   │ all pieces
//! Over <─ Leaving <─ Lingering <─ told ─ Reporting <─ done ─ Finishing
//! ```
//!
//! Any of them may end in `Over`. Knows what is allowed in each; refuses to know
//! what brings one about.

/// Where a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchPhase {
    /// The master has not said yet what there is.
    Joining,
    /// The pieces of the manifest move.
    Manifest,
    /// The destination is looked at.
    Checking,
    /// The other pieces move.
    Fetching,
    /// All pieces are here: everything is put in place.
    Finishing,
    /// All is in place; the master is told.
    Reporting {
        until_ms: u64,
    },
    /// Others are served.
    Lingering {
        until_ms: u64,
    },
    /// Children are given to others.
    Leaving {
        until_ms: u64,
    },
    Over,
}

impl FetchPhase {
    /// In a word or two, for people.
    pub fn words(self) -> &'static str {
        match self {
            FetchPhase::Joining => "joining",
            FetchPhase::Manifest => "fetching the manifest",
            FetchPhase::Checking => "checking what is there",
            FetchPhase::Fetching => "fetching",
            FetchPhase::Finishing => "finishing",
            FetchPhase::Reporting { .. }
            | FetchPhase::Lingering { .. }
            | FetchPhase::Leaving { .. } => "serving",
            FetchPhase::Over => "done",
        }
    }

    /// Nothing is asked of anybody any more.
    pub fn is_settled(self) -> bool {
        !matches!(
            self,
            FetchPhase::Joining
                | FetchPhase::Manifest
                | FetchPhase::Checking
                | FetchPhase::Fetching
        )
    }

    /// Everything is in place, and the master has been told.
    pub fn is_told(self) -> bool {
        matches!(self, FetchPhase::Lingering { .. } | FetchPhase::Leaving { .. })
    }
}
