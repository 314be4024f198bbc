//! A client's command: a fetch, or a worker's rounds.

use super::destinations;
use crate::cli::{Fetch, NO_HEAD};
use crate::console::{self, FetchConsole, answer, report, summary};
use crate::driver::{self, FetchTask};
use crate::failed::{Failed, USAGE, exit_code};
use crate::key_file;
use crate::os::signal;
use crate::store::destination::Destination;
use crate::store::writer::Purpose;
use peer::content::patterns::Patterns;
use peer::failure::{Failure, Status};
use peer::signature::PublicKey;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two rounds of a worker.
const ROUND_GAP: Duration = Duration::from_secs(10);

/// What a key, or the patterns of one file, are together at the most.
const NAMED_LEN_MAX: u64 = 1 << 20;

/// What is in a file of the command line; of a device that never ends, no more than anybody means.
fn read_named(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(NAMED_LEN_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > NAMED_LEN_MAX {
        true => Err(ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}

fn add_patterns(patterns: &mut Patterns, path: &Path) -> Result<(), Failed> {
    let usage = |why: String| Failed::new(format!("--keep {}: {why}", path.display()), USAGE);
    let text = read_named(path).map_err(|error| usage(error.to_string()))?;
    patterns.add(&text).map_err(|line| {
        usage(format!("line {line} is no pattern as in a .gitignore (`!` is not for this)"))
    })
}

/// Of what was typed: it, or a file with it.
fn public_key(typed: &OsStr) -> Result<PublicKey, Failed> {
    if let Some(key) = typed.to_str().and_then(|text| PublicKey::parse(text).ok()) {
        return Ok(key);
    }
    let usage = |why: &str| Failed::new(format!("--trust {}: {why}", typed.display()), USAGE);
    let text = read_named(typed.as_ref()).map_err(|error| usage(&error.to_string()))?;
    PublicKey::parse(str::from_utf8(&text).unwrap_or_default()).map_err(usage)
}

fn fetch_once(
    task: FetchTask,
    into: Option<Box<dyn Destination>>,
    console: &mut FetchConsole,
) -> Vec<Failure> {
    driver::fetch(task, into, console).unwrap_or_else(|failure| vec![failure])
}

/// A worker of a running system: round after round, until a signal ends it. What will
/// pass is tried again: the master is away, or its tree has just changed.
#[inline(never)]
fn run_worker(mut task: FetchTask, quiet: bool) -> Result<(), Failed> {
    console::open(&[0, 1]);
    let mut console = FetchConsole::of_worker(quiet);
    loop {
        let failures = fetch_once(task.clone(), None, &mut console);
        // It is so for good, and would be so once more.
        task.is_shut_in = false;
        if console.has_ended() {
            return Ok(());
        }
        let passes = |failure: &Failure| {
            let status = failure.status;
            matches!(
                status,
                Status::Interrupted | Status::Connection | Status::Source | Status::Changed
            )
        };
        if !failures.iter().all(passes) {
            return Err(failures.into());
        }
        failures.iter().for_each(|failure| report(&failure.text()));
        let again = Instant::now() + ROUND_GAP;
        while Instant::now() < again {
            std::thread::sleep(Duration::from_millis(200));
            if console.has_ended() {
                return Ok(());
            }
        }
    }
}

/// The 30 of `-s 30`, as it stands in the manual page of xget 1.2.3, is the first SRC here.
fn number_for_s(task: &FetchTask) -> Option<u64> {
    let first = task.request.sources.first().filter(|_| !task.keep_attributes)?;
    str::from_utf8(first).ok()?.parse().ok()
}

/// What to look at where a master was called in vain.
pub fn unreached(failed: &Failed) -> Option<String> {
    let text = "look whether `xget DIR` runs there, with this port (its -p), and no firewall stops it; `xget find SRC` says who else has it";
    failed.reasons.iter().any(|why| why.contains("; gave up after ")).then(|| text.into())
}

/// What to do about it, where what failed does not say so.
fn advice(failed: &Failed, number: Option<u64>, is_answered: bool) -> Option<String> {
    if let Some(text) = unreached(failed).filter(|_| !is_answered) {
        return Some(text);
    }
    let number = number?;
    let missing = format!("{number}: no such");
    failed.reasons.iter().any(|why| why.starts_with(&missing)).then(|| {
        format!("{number} is taken for a SRC; where it was meant for -s: that takes no number")
    })
}

/// Into a directory; of the whole program, also onto what is none.
pub fn fetch<const WHOLE: bool>(mut fetch: Fetch) -> Result<(), Failed> {
    let policy = &mut fetch.task.policy;
    for path in &fetch.keep {
        add_patterns(&mut policy.keep, path)?;
    }
    for key in &fetch.trust {
        fetch.task.request.trust.keys.push(public_key(key)?);
    }
    // Not while a pipe that was named is read, of which nobody may be the writer.
    signal::watch_end();
    let into = if WHOLE { destinations::claim(&fetch)? } else { None };
    let is_stream = fetch.is_stream();
    let mut task = fetch.task;
    if WHOLE {
        destinations::stand_in(&mut task)?;
    }
    // It asks for a file of just that name.
    let is_pattern = !WHOLE && task.request.sources.iter().any(|source| source.contains(&b'*'));
    let number = if WHOLE { number_for_s(&task) } else { None };
    // Else its task has those that were found.
    if !fetch.masters.is_empty() {
        task.masters = driver::resolve_all(&fetch.masters, 0, &mut report)
            .map_err(|why| Failed::new(why, exit_code(Status::Connection)))?;
    }
    task.request.key =
        key_file::read(fetch.key.as_deref()).map_err(|why| Failed::new(why, USAGE))?;
    let is_dry = task.policy.purpose.compares();
    if task.policy.purpose == Purpose::Serve {
        return run_worker(task, fetch.quiet);
    }
    // Not of a worker, which fetches for days.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    task.request.trust.now_s = since.map(|time| time.as_secs());
    // What is read behind a pipe ends where we end it.
    console::open(if is_stream { &[1] } else { &[0, 1] });
    let mut console = FetchConsole::new(fetch.quiet, is_dry);
    let failures = fetch_once(task, into, &mut console);
    let (last, changes) = (console.last, console.take_changes());
    // Takes its line off the terminal, before anything else is said.
    drop(console);
    if !fetch.quiet && !changes.is_empty() {
        console::finish();
        let told = answer(&changes);
        // The files are in place, whoever reads this; of a comparison this is all.
        if is_dry {
            told?;
        }
    }
    if !failures.is_empty() {
        let mut failed = Failed::from(failures);
        if WHOLE {
            failed.reasons.extend(advice(&failed, number, last.is_answered));
        }
        if is_pattern && failed.status == exit_code(Status::Source) {
            failed.reasons.push(NO_HEAD.into());
        }
        return Err(failed);
    }
    if !fetch.quiet && !is_dry {
        // The files are in place, whoever reads this; what went to standard output stands alone.
        match is_stream {
            true => report(&summary(&last)),
            false => console::conclude(&format!("xget: {}\n", summary(&last))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_said_of_what_it_helps_with() {
        let said = |why: &str, number, is_answered| {
            advice(&Failed::new(why.into(), 3), number, is_answered).unwrap_or_default()
        };
        let lost = "the master 10.0.0.1:7: refused; gave up after 2 tries";
        assert!(said(lost, None, false).contains("with this port (its -p)"));
        assert_eq!(said(lost, None, true), "", "it was there");
        assert_eq!(said("the master 10.0.0.1:7: it is too old", None, false), "");
        let refused = "the master 10.0.0.1:7: authentication failed; asked 3 times";
        assert_eq!(said(refused, None, false), "", "it runs there");
        let missing = "30: no such file or directory in what is served";
        assert!(said(missing, Some(30), true).contains("meant for -s"));
        assert_eq!(said(missing, None, true), "");
        assert_eq!(said("x: no such file or directory in what is served", Some(30), true), "");
    }
}
