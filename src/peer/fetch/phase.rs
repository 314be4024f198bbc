//! The phases of a fetch, one after the other.
//!
//! ```text
//! Joining ─ generation ─> Manifest ─ whole ─> Checking ─ done ─> Fetching
//!                                                                   │ all pieces
//! Over <─ Leaving <─ Lingering <─ reported ─ Reporting <─ done ─ Finishing
//! ```
//!
//! Any of them may end in `Over`. Knows what is allowed in each; refuses to know
//! what brings one about.

/// Where a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchPhase {
    /// The master has not announced a generation yet.
    Joining,
    /// The manifest pieces are fetched.
    Manifest,
    /// What is in the destination is hashed.
    Checking,
    /// The other pieces are fetched.
    Fetching,
    /// All pieces are held: links, empty files, attributes of directories.
    Finishing,
    /// All is in place; the report goes to the master.
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

    /// No parent is asked for anything any more.
    pub fn is_settled(self) -> bool {
        !matches!(
            self,
            FetchPhase::Joining
                | FetchPhase::Manifest
                | FetchPhase::Checking
                | FetchPhase::Fetching
        )
    }

    /// Everything is in place, and the master has the report.
    pub fn is_reported(self) -> bool {
        matches!(self, FetchPhase::Lingering { .. } | FetchPhase::Leaving { .. })
    }
}
