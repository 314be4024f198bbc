//! Who on the network has something: asked, waited for, and told to a person.
//!
//! What `get`, `find` and `run` share. Refuses to know what is done with it.

use crate::console::report;
use crate::driver::{self, SearchEnd, Sought};
use crate::failed::{Failed, USAGE, exit_code};
use crate::os::link_socket::links;
use crate::os::{random, signal};
use peer::content::digest::Digest;
use peer::content::manifest::Selector;
use peer::control::{Question, Wanted, printable};
use peer::discovery::{Choice, Found, Heard, PORT, Patience};
use peer::failure::Status;
use peer::request::Masters;
use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::ops::ControlFlow;

/// Until somebody has answered: four questions.
pub const FIRST_MS: u64 = 10_000;
/// Others may have it as well, and are spare then, or have something else: they are asked twice.
pub const PATIENCE: Patience =
    Patience { first_ms: FIRST_MS, others_ms: 1_500, awaits_hashing: true };
/// Masters that are listed where they have different things.
const LISTED_MAX: usize = 16;

/// Asks all links; on a terminal it says so with each question but the first.
pub fn ask(
    wanted: &Selector,
    pin: Option<Digest>,
    patience: Patience,
    quiet: bool,
) -> Result<Found, Failed> {
    let names = names(wanted);
    let says = !quiet && stderr().is_terminal();
    let question = Question { id: random::quick(), wanted: Wanted::Part(wanted.clone()) };
    let id = question.id;
    let question = question.bytes().ok_or_else(|| {
        let why = "the names are too long for one datagram: name the master by -n";
        Failed::new(why.into(), USAGE)
    })?;
    let sought = Sought { id, question, pin, patience, links: links() };
    let found = driver::search(sought, &mut |question| {
        if let Some(nth) = question.filter(|nth| *nth > 1 && says) {
            report(&format!("nobody has said yet that it has {names}; asking again ({nth})"));
        }
        match signal::take() {
            true => ControlFlow::Break("interrupted".into()),
            false => ControlFlow::Continue(()),
        }
    });
    found.map(Found::in_order).map_err(|end| match end {
        SearchEnd::Interrupted(why) => Failed::unexpected(why),
        SearchEnd::Unable(why) => {
            Failed::new(format!("{why}; name the master by -n"), exit_code(Status::Connection))
        }
    })
}

/// Who has the same of it, and that is what comes; where it has to be signed, whoever has any.
///
/// # Errors
/// Nobody has it, or they have not the same; for the user.
pub fn masters(
    wanted: &Selector,
    pin: Option<Digest>,
    is_signed: bool,
    quiet: bool,
) -> Result<Masters, Failed> {
    let found = ask(wanted, pin, PATIENCE, quiet)?;
    let masters = match found.choice(pin) {
        Choice::Nobody => return Err(nobody(&found, wanted)),
        // A stranger's is not signed: each is asked until one gives what is.
        Choice::Different if is_signed => found.all(),
        Choice::Different => return Err(different(&found, wanted)),
        Choice::Same(masters) => masters,
    };
    if let Some(who) = who_hashes(&found).filter(|_| masters.generation != pin) {
        let names = names(wanted);
        report(&format!("{who} still hashes and may have another {names}: it was not waited for"));
    }
    if !quiet {
        let addrs: Vec<String> = masters.addrs().map(|addr| addr.to_string()).collect();
        report(&format!("{} is at {}", names(wanted), addrs.join(", ")));
    }
    Ok(masters)
}

/// For people.
pub fn names(wanted: &Selector) -> String {
    let names: Vec<String> = wanted.sources.iter().map(printable).collect();
    names.join(" ")
}

/// Nobody has it: what to look at.
pub fn nobody(found: &Found, wanted: &Selector) -> Failed {
    let mut why = format!(
        "nobody on this network said within {} s that it has {}. Look whether a master runs that serves it (xget DIR), on the same link as this machine, not with --no-discovery, and not of an xget that is older than `xget get`; and whether a firewall stops UDP port {PORT}; or name the master by -n",
        FIRST_MS / 1_000,
        names(wanted)
    );
    if let Some(who) = who_hashes(found) {
        let _ = write!(why, ". Still hashing, and may have it: {who}");
    }
    Failed::new(why, exit_code(Status::Connection))
}

/// Who cannot say yet what it has.
pub fn who_hashes(found: &Found) -> Option<String> {
    let addrs: Vec<String> = found.hashing.iter().map(ToString::to_string).collect();
    (!addrs.is_empty()).then(|| addrs.join(", "))
}

/// Several have it, and not the same: which, and how to say which of them is meant.
pub fn different(found: &Found, wanted: &Selector) -> Failed {
    let mut reasons = vec![format!(
        "those who have {} do not have the same; nothing was fetched. Say which is meant, by -n ADDRESS or --digest blake3:...",
        names(wanted)
    )];
    let line = |Heard { addr, bytes, digest, .. }: &Heard| {
        format!("{addr}  {bytes} bytes  blake3:{digest}")
    };
    let listed = found.listed();
    reasons.extend(listed.iter().take(LISTED_MAX).map(line));
    let more = listed.len().saturating_sub(LISTED_MAX) as u64 + found.unheard;
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    Failed { reasons, status: exit_code(Status::Source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(count: u8) -> Found {
        let heard = |last| Heard {
            addr: ([10, 0, 0, last], 7).into(),
            master: 1,
            bytes: 9,
            digest: Digest([last; 32]),
        };
        Found { masters: (1..=count).map(heard).collect(), unheard: 5, ..Found::default() }
    }

    #[test]
    fn what_differs_is_listed_and_how_to_choose() {
        let failed = different(&heard(20), &Selector::of_paths(&["a", "b\x1b"]));
        let [why, first, ..] = &failed.reasons[..] else { panic!() };
        assert!(
            why.starts_with("those who have a b? do not") && why.contains("-n ADDRESS"),
            "{why}"
        );
        assert!(first.starts_with("10.0.0.1:7  9 bytes  blake3:0101"), "{first}");
        assert_eq!((failed.reasons.len(), failed.status), (1 + LISTED_MAX + 1, 4));
        assert_eq!(failed.reasons.last().map(String::as_str), Some("and 9 more"));
    }

    #[test]
    fn who_hashes_is_named_where_nobody_has_it() {
        let wanted = Selector::of_paths(&["a"]);
        let hashing = vec!["10.0.0.9:7".parse().unwrap()];
        let failed = nobody(&Found { hashing, ..Found::default() }, &wanted);
        assert!(failed.reasons[0].ends_with("may have it: 10.0.0.9:7"), "{:?}", failed.reasons);
        assert_eq!(failed.status, 3);
        assert!(!nobody(&Found::default(), &wanted).reasons[0].contains("hashing"));
    }
}
