//! `xget get`: a fetch from whoever on the network has it.
//!
//! Knows whom to ask when several have it. The fetch is that of `xget -n`.

use super::network;
use crate::actions::fetch::fetch;
use crate::cli;
use crate::failed::{Failed, USAGE};
use crate::logger;
use crate::os::signal;
use crate::store::writer::Purpose;
use peer::content::manifest::Selector;
use peer::request::Pin;
use std::ffi::OsString;

pub const HELP: &str = "\
usage: xget get [OPTION...] SRC... DEST

Asks the network who has SRC, and fetches it from there as `xget -n MASTER` does,
with the options of that (xget --help). Whoever serves a directory (`xget DIR`) on
one of this machine's links and has all of SRC answers with size and digest. Where
they have the same, the first to answer is asked and the others are spare masters;
where they have not, all are listed and nothing is fetched: say which by -n or
--digest. What comes is what was announced, or is refused.

After the first answer the others have 1.5 s for theirs, in which they are asked
twice: who has something else is to be noticed. It is 0.5 s where --digest says what
has to come; who hashes yet is waited for, until 10 s are over. -n HEAD waits for nobody.

With -n it is the same as without `get`. Whom to trust: anybody on these links can
answer. --digest pins what has to come, whoever says that it has it; with --trust
those who have not the same are asked one after the other, until one has it signed.

exit status: as of a fetch; 3 nobody answers within 10 s; 4 they have not the same;
5 what comes is not what was announced
";

pub fn run(args: Vec<OsString>) -> Result<(), Failed> {
    let (mut asked, debug) = cli::parse_get(args).map_err(|why| Failed::new(why, USAGE))?;
    logger::init(debug);
    if !asked.masters.is_empty() {
        return fetch::<true>(asked);
    }
    signal::watch_end();
    let request = &asked.task.request;
    let wanted = Selector {
        sources: request.sources.clone(),
        are_patterns: request.are_patterns,
        excludes: request.excludes.clone(),
    };
    let pin = match request.pin {
        Some(Pin::Blake3(digest)) => Some(digest),
        Some(Pin::Sha256(_)) | None => None,
    };
    let mut masters = network::masters(&wanted, pin, !asked.trust.is_empty(), asked.quiet)?;
    // A worker goes with what is served, round after round.
    if asked.task.policy.purpose == Purpose::Serve {
        masters.generation = None;
    }
    asked.task.masters = masters;
    fetch::<true>(asked)
}
