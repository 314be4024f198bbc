//! What a client holds against a parent.

/// What went wrong with a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// Refused, unreachable, or the connection broke.
    Lost,
    /// Connected, and does not answer a probe.
    Frozen,
    /// Answers, and gives nothing.
    Slow,
    /// Sends all the time, and less than a quarter of what is usual.
    SlowUplink,
    /// Sent bytes that are not what the digest says.
    Corrupt,
    /// Does not hold what it should, or errs; the `overlay` takes
    /// it for lost.
    Refused,
    /// Keeps a part of a stream, and no more what we want of it. From version 4 on.
    Passed,
}

/// Each complaint and its word in the conversation.
const COMPLAINTS: [(Complaint, &str); 7] = [
    (Complaint::Lost, "lost"),
    (Complaint::Frozen, "frozen"),
    (Complaint::Slow, "slow"),
    (Complaint::SlowUplink, "narrow"),
    (Complaint::Corrupt, "wrong"),
    (Complaint::Refused, "refused"),
    (Complaint::Passed, "passed"),
];

impl Complaint {
    /// The parent is there and gives too little, which others have to confirm.
    pub(crate) fn is_about_speed(self) -> bool {
        matches!(self, Complaint::Slow | Complaint::SlowUplink)
    }

    /// Nothing is wrong with the parent.
    pub(crate) fn is_blame(self) -> bool {
        self != Complaint::Passed
    }

    /// The word for it in the conversation.
    pub(crate) fn word(self) -> &'static str {
        COMPLAINTS.iter().find(|(c, _)| *c == self).map_or("lost", |(_, word)| word)
    }

    /// All of them.
    #[cfg(test)]
    pub(crate) fn all() -> [Complaint; COMPLAINTS.len()] {
        COMPLAINTS.map(|(complaint, _)| complaint)
    }

    /// The complaint that a word is; `None` if there is no such one.
    pub(super) fn parse(word: &str) -> Option<Complaint> {
        COMPLAINTS.iter().find(|(_, w)| *w == word).map(|(c, _)| *c)
    }
}
