//! What can fail in a fetch or a master, and what it means for the exit status.
//!
//! Knows the classes of failures, in the order of their exit statuses. Refuses to
//! know the numbers, which are the command line's.

use alloc::format;
use alloc::string::String;

/// Why the fetch, or one file of it, failed: gives the exit status. Of several,
/// the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Ended by a signal.
    Interrupted,
    /// What was asked for makes no sense with what the master has.
    Usage,
    /// The master cannot be reached, or does not answer.
    Connection,
    /// The master does not have what was asked for, or cannot read it.
    Source,
    /// The master had it, and has something else now: worth another fetch.
    Changed,
    /// Bytes are not what their digest says.
    Verification,
    /// There is no room on the disk.
    NoSpace,
    /// The disk, or another local resource.
    LocalIo,
}

/// One thing that failed and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Gives the exit status.
    pub status: Status,
    /// The file, peer or option; may be empty.
    pub what: String,
    /// The reason, and what to do where that is known.
    pub why: String,
    /// The whole fetch fails, not this file alone.
    pub fatal: bool,
}

impl Failure {
    /// One that ends the fetch.
    pub fn fatal(status: Status, what: impl Into<String>, why: impl Into<String>) -> Failure {
        Failure { status, what: what.into(), why: why.into(), fatal: true }
    }

    /// One of a single file: the others go on.
    pub(crate) fn single(
        status: Status,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Failure {
        Failure { status, what: what.into(), why: why.into(), fatal: false }
    }

    /// What and why, for people.
    pub fn text(&self) -> String {
        match self.what.as_str() {
            "" => self.why.clone(),
            what => format!("{what}: {}", self.why),
        }
    }
}
