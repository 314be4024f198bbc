//! What to do when the boot cannot go on.
//!
//! Pure policy: what a fetch ended with to retries, settings to an ending. Never
//! silent, never for ever without a word, never a shell that was not asked
//! for, and never on with something that could not be verified.

use peer::content::manifest::{Entry, EntryKind, Manifest};
use peer::control::printable;
use peer::failure::Status;

/// Why nothing came. The text names the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchError {
    /// What can be done about it.
    pub status: Status,
    pub text: String,
}

impl FetchError {
    /// The fault is here, or in what came: more tries make it no better.
    pub fn local(text: String) -> FetchError {
        FetchError { status: Status::LocalIo, text }
    }

    /// Nobody answers, and the network may heal.
    pub fn unreachable(text: String) -> FetchError {
        FetchError { status: Status::Connection, text }
    }

    /// It was ended from here: the lease is lost, or the time over.
    pub fn interrupted(text: String) -> FetchError {
        FetchError { status: Status::Interrupted, text }
    }

    /// Somebody has to do something about what is served.
    pub fn source(text: String) -> FetchError {
        FetchError { status: Status::Source, text }
    }

    /// It is not what is pinned, or no pin covers it.
    pub fn unverified(text: String) -> FetchError {
        FetchError { status: Status::Verification, text }
    }

    /// It is more than this machine has room for.
    pub fn no_space(text: String) -> FetchError {
        FetchError { status: Status::NoSpace, text }
    }
}

/// What a failed boot ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndAction {
    Reboot,
    PowerOff,
    Halt,
}

impl EndAction {
    pub fn verb(self) -> &'static str {
        match self {
            EndAction::Reboot => "rebooting",
            EndAction::PowerOff => "powering off",
            EndAction::Halt => "halting",
        }
    }
}

/// How a failed boot ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndSettings {
    /// A shell for an operator before everything else.
    pub shell: bool,
    /// `panic=`
    pub panic_s: Option<i64>,
    pub action: EndAction,
}

/// How long to go on saying why, before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Countdown {
    Seconds(u32),
    /// `panic=0`: until somebody comes, saying so every minute.
    Forever,
}

const COUNTDOWN_S: u32 = 30;
/// Nodes that failed together do not come back together.
const SPREAD_S: u32 = 10;

/// `panic=` as the kernel has it (kernel-parameters.txt): above 0 seconds,
/// 0 for ever, below 0 at once. Without it, half a minute and a bit that
/// differs from node to node.
pub fn countdown(panic_s: Option<i64>, seed: u64) -> Countdown {
    match panic_s {
        Some(0) => Countdown::Forever,
        Some(seconds) if seconds < 0 => Countdown::Seconds(0),
        Some(seconds) => Countdown::Seconds(u32::try_from(seconds).unwrap_or(u32::MAX)),
        None => Countdown::Seconds(COUNTDOWN_S + (seed % u64::from(SPREAD_S)) as u32),
    }
}

/// The seconds before the end at which a line is due: the first, each tenth,
/// and the last five.
pub fn says(left_s: u32, first: bool) -> bool {
    first || left_s.is_multiple_of(10) || left_s <= 5
}

/// What a failed fetch deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The network may heal: soon, and then less often.
    Backoff,
    /// The operator has to do something: every now and then, spread out.
    Poll,
    /// The address is gone: the network has to be set up again.
    Network,
    /// More tries make it no better.
    Never,
}

/// By what the fetch ended with. It is interrupted by nobody but the hook of
/// this boot, when the lease is lost or the time is over.
pub fn retry(status: Status) -> Retry {
    match status {
        Status::Connection | Status::Changed => Retry::Backoff,
        Status::Source => Retry::Poll,
        Status::Interrupted => Retry::Network,
        Status::Usage | Status::Verification | Status::NoSpace | Status::LocalIo => Retry::Never,
    }
}

/// So many rounds that a change came between are followed by another one at once.
const HASTY_ROUNDS: u32 = 2;

/// Whether round number `round` of a boot (the first is 1), if it failed so, is followed by
/// another one, with what came, and when. Only who has a line of nodes.tab asks again what
/// it is.
pub fn another_round(status: Status, round: u32) -> Option<Retry> {
    match status {
        // What is served is another now: it is there.
        Status::Changed if round <= HASTY_ROUNDS => Some(Retry::Backoff),
        // It goes on changing, and each round fetches all of it: the operator is to know.
        Status::Changed => Some(Retry::Poll),
        Status::Source => Some(Retry::Poll),
        _ => None,
    }
}

/// Whether what an earlier round or try has left may be why a root could not be put in
/// place: a directory where a file goes, or its room.
pub fn is_for_what_was_there(status: Status) -> bool {
    matches!(status, Status::LocalIo | Status::NoSpace)
}

/// Why nothing of this is begun: the master cannot read all of it, and the rest is of
/// no use to a boot.
pub fn unreadable(name: &str, manifest: &Manifest) -> Option<FetchError> {
    let is_unreadable = |entry: &&Entry| entry.kind == EntryKind::Unreadable;
    let first = manifest.entries.iter().position(|entry| is_unreadable(&entry))?;
    let others = manifest.entries.iter().filter(is_unreadable).count() - 1;
    let path = printable(manifest.path(first as u32));
    let also = if others > 0 { format!(" and {others} more") } else { String::new() };
    Some(FetchError::source(format!(
        "the master cannot read {path}{also} of {name} (its log says why): nothing of it is fetched before it can"
    )))
}

const BACKOFF_FIRST_MS: u64 = 500;
const BACKOFF_MAX_MS: u64 = 30_000;
/// An image that is added, or a node that is taken in, is seen so soon.
const POLL_FIRST_MS: u64 = 10_000;
const POLL_SPREAD_MS: u64 = 10_000;

/// The pause before try number `tries` (the first failed try is 1; 0: of another master, at
/// once). `random` spreads it, so that a thousand nodes do not knock together.
pub fn pause_ms(retry: Retry, tries: u32, random: u64) -> u64 {
    match retry {
        Retry::Backoff if tries == 0 => 0,
        Retry::Backoff => {
            let doubled = BACKOFF_FIRST_MS << (tries - 1).min(10);
            let full = doubled.min(BACKOFF_MAX_MS);
            full / 2 + random % (full / 2)
        }
        Retry::Poll => POLL_FIRST_MS + random % POLL_SPREAD_MS,
        Retry::Network | Retry::Never => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer::content::manifest::PIECE_LEN;
    use peer::testing::{entry, file};

    #[test]
    fn panic_parameter_rules_the_countdown() {
        assert_eq!(countdown(Some(0), 7), Countdown::Forever);
        assert_eq!(countdown(Some(-1), 7), Countdown::Seconds(0));
        assert_eq!(countdown(Some(10), 7), Countdown::Seconds(10));
        assert_eq!(countdown(Some(i64::MAX), 7), Countdown::Seconds(u32::MAX));
        assert_eq!(countdown(None, 7), Countdown::Seconds(37));
        for seed in 0..100 {
            let Countdown::Seconds(seconds) = countdown(None, seed) else { panic!("{seed}") };
            assert!((30..40).contains(&seconds));
        }
    }

    #[test]
    fn a_countdown_speaks_often_enough() {
        let said: Vec<u32> = (0..=33).rev().filter(|left| says(*left, *left == 33)).collect();
        assert_eq!(said, [33, 30, 20, 10, 5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn only_trouble_that_can_pass_is_retried() {
        assert_eq!(retry(Status::Connection), Retry::Backoff);
        assert_eq!(retry(Status::Changed), Retry::Backoff);
        assert_eq!(retry(Status::Source), Retry::Poll);
        assert_eq!(retry(Status::Interrupted), Retry::Network);
        assert_eq!(retry(Status::Verification), Retry::Never);
        assert_eq!(retry(Status::NoSpace), Retry::Never);
    }

    #[test]
    fn what_came_stays_for_faults_that_are_not_its_own() {
        for (status, round, may_be_what_was_there) in [
            (Status::Changed, Some(Retry::Backoff), false),
            (Status::Source, Some(Retry::Poll), false),
            (Status::Connection, None, false),
            (Status::Interrupted, None, false),
            (Status::Verification, None, false),
            (Status::NoSpace, None, true),
            (Status::LocalIo, None, true),
        ] {
            assert_eq!(another_round(status, 1), round, "{status:?}");
            assert_eq!(is_for_what_was_there(status), may_be_what_was_there, "{status:?}");
        }
    }

    #[test]
    fn what_keeps_changing_is_for_the_operator_from_the_third_round_on() {
        let rounds = [1, 2, 3, 4, u32::MAX];
        let (soon, later) = (Some(Retry::Backoff), Some(Retry::Poll));
        let changed = rounds.map(|round| another_round(Status::Changed, round));
        assert_eq!(changed, [soon, soon, later, later, later]);
        assert_eq!(rounds.map(|round| another_round(Status::Source, round)), [later; 5]);
        assert_eq!(rounds.map(|round| another_round(Status::NoSpace, round)), [None; 5]);
    }

    #[test]
    fn what_the_master_cannot_read_is_named_before_anything_comes() {
        let dir = || entry(0, "etc", EntryKind::Dir);
        let of = |entries: Vec<Entry>| Manifest::of_entries(PIECE_LEN, entries);
        let good = of(vec![entry(0, "", EntryKind::Dir), dir(), file(1, "motd", b"x")]);
        assert_eq!(unreadable("images/a/root", &good), None);
        let shadow = entry(1, "shadow", EntryKind::Unreadable);
        let mut bad = vec![entry(0, "", EntryKind::Dir), dir(), shadow];
        let one = unreadable("images/a/root", &of(bad.clone())).unwrap();
        assert_eq!(one.status, Status::Source);
        assert!(one.text.contains("cannot read etc/shadow of images/a/root ("), "{}", one.text);
        bad.push(entry(1, "shadow-", EntryKind::Unreadable));
        let two = unreadable("images/a/root", &of(bad)).unwrap();
        assert!(two.text.contains("etc/shadow and 1 more of"), "{}", two.text);
    }

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        for random in [0, 1, 999, u64::MAX] {
            assert_eq!(pause_ms(Retry::Backoff, 0, random), 0);
            let first = pause_ms(Retry::Backoff, 1, random);
            assert!((250..500).contains(&first), "{first}");
            let late = pause_ms(Retry::Backoff, 1000, random);
            assert!((15_000..30_000).contains(&late), "{late}");
            let poll = pause_ms(Retry::Poll, 1, random);
            assert!((10_000..20_000).contains(&poll), "{poll}");
        }
        assert_ne!(pause_ms(Retry::Backoff, 5, 3), pause_ms(Retry::Backoff, 5, 4));
    }
}
