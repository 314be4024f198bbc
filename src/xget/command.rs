//! Arguments to options to exit status.

use crate::boot::{Booted, NODE_FILE};
use crate::cli::{self, Cache, Command, HeadCommand};
use crate::console::{self, FetchConsole, MasterConsole, print, report, summary};
use crate::driver::{self, FetchTask, Host, ServeTask};
use crate::os::output::Output;
use crate::os::{daemon, file, signal};
use crate::store::patterns::Patterns;
use crate::store::writer::Purpose;
use crate::{boot, logger};
use peer::content::digest::Digest;
use peer::failure::{Failure, Status};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Something that is neither of the other statuses.
const UNEXPECTED: u8 = 1;
const USAGE: u8 = 2;
const NO_HEAD: &str = "this is the xget of an initramfs, which fetches and boots: serving a directory \
     and --print-digest take the whole program, which `make install` puts on the head";
/// Between two rounds of a worker.
const ROUND_GAP: Duration = Duration::from_secs(10);
/// How often `--up` tries each master, how long, and what is between two tries.
const UP_TRIES: u32 = 5;
const UP_MOST: Duration = Duration::from_secs(8);
const UP_LEAST: Duration = Duration::from_millis(10);
const UP_PAUSE: Duration = Duration::from_secs(10);
/// And how long all of that takes, however many masters there are.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// Why a command failed: what the user is told, and the exit status.
struct Failed {
    reasons: Vec<String>,
    status: u8,
}

impl Failed {
    fn new(why: String, status: u8) -> Failed {
        Failed { reasons: vec![why], status }
    }

    fn unexpected(why: String) -> Failed {
        Failed::new(why, UNEXPECTED)
    }
}

impl From<Vec<Failure>> for Failed {
    /// The status is that of the worst.
    fn from(failures: Vec<Failure>) -> Failed {
        let worst = failures.iter().map(|failure| failure.status).max();
        Failed {
            reasons: failures.iter().map(Failure::text).collect(),
            status: worst.map_or(UNEXPECTED, exit_code),
        }
    }
}

fn exit_code(status: Status) -> u8 {
    match status {
        Status::Interrupted => UNEXPECTED,
        Status::Connection => 3,
        Status::Source | Status::Changed => 4,
        Status::Verification => 5,
        Status::NoSpace | Status::LocalIo => 6,
    }
}

/// What does a head's commands, where the program has that.
type Head = fn(HeadCommand) -> Result<(), Failed>;

/// The whole program: reads its arguments, does what they say.
pub fn main() -> ExitCode {
    run_as(Some(run_head))
}

/// The same for an initramfs: a node serves what it fetches, and no directory of its own. What
/// is not reached from here the linker leaves out (docs/architecture.md, Size).
pub fn init_main() -> ExitCode {
    run_as(None)
}

fn run_as(head: Option<Head>) -> ExitCode {
    // A container's first process is PID 1 as well, but is not called init.
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    if std::process::id() == 1 && name == "init" {
        boot::run();
    }
    if name == "modprobe" {
        return boot::modprobe(std::env::args_os());
    }
    let status = match run(head) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            failed.reasons.iter().for_each(|why| report(why));
            ExitCode::from(failed.status)
        }
    };
    console::finish();
    status
}

fn run(head: Option<Head>) -> Result<(), Failed> {
    let options = cli::parse(std::env::args_os().skip(1)).map_err(|why| Failed::new(why, USAGE))?;
    logger::init(options.debug);
    signal::ignore_file_size();
    match options.command {
        Command::Help => answer(cli::HELP),
        Command::Version => answer(concat!("xget ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Fetch(fetch) => run_fetch(*fetch),
        Command::Up(master) => run_up(master),
        Command::Head(command) => match head {
            Some(run_head) => run_head(command),
            None => Err(Failed::new(NO_HEAD.into(), USAGE)),
        },
    }
}

fn run_head(command: HeadCommand) -> Result<(), Failed> {
    match command {
        HeadCommand::Serve(serve) => run_master(serve),
        HeadCommand::PrintDigest { path, sources, one_file_system } => {
            run_print_digest(&path, &sources, one_file_system)
        }
    }
}

/// Prints what was asked for: unread, the command was in vain.
fn answer(text: &str) -> Result<(), Failed> {
    print(text)
        .map_err(|error| Failed::unexpected(format!("cannot write to standard output: {error}")))
}

fn run_print_digest(path: &Path, sources: &[Vec<u8>], one_file_system: bool) -> Result<(), Failed> {
    let (digest, notes) = driver::print_digest(path, sources, one_file_system)
        .map_err(|why| Failed::new(why, exit_code(Status::Source)))?;
    notes.iter().for_each(|note| report(note));
    answer(&format!("{digest}\n"))
}

/// Says it until a master has heard it: within a minute, for a unit has a limit, too.
fn run_up(master: Option<Host>) -> Result<(), Failed> {
    let Booted { mut masters, lines } = boot::booted();
    if let Some(master) = master {
        masters = vec![master];
    }
    let end = Instant::now() + UP_WITHIN;
    let mut why = format!("no master is known: neither -n, nor {NODE_FILE}, nor xget.master=");
    for nth in 0..UP_TRIES {
        if masters.is_empty() || Instant::now() + UP_PAUSE >= end {
            break;
        }
        if nth > 0 {
            thread::sleep(UP_PAUSE);
        }
        for host in &masters {
            match tell_up(host, &lines, end) {
                Ok(()) => return Ok(()),
                Err(failed) => why = failed,
            }
        }
    }
    Err(Failed::new(why, if masters.is_empty() { USAGE } else { exit_code(Status::Connection) }))
}

/// Any of the addresses of a master will do.
fn tell_up(host: &Host, lines: &str, end: Instant) -> Result<(), String> {
    let mut why = String::new();
    for addr in driver::resolve(host)? {
        // Not nothing: that would be no limit.
        let left = end.saturating_duration_since(Instant::now()).max(UP_LEAST);
        match driver::ask_node(addr, lines, left.min(UP_MOST)) {
            Ok(_) => return Ok(()),
            Err(error) => {
                why = format!("master {addr} does not hear that this node is up: {error}")
            }
        }
    }
    Err(why)
}

fn run_master(serve: cli::Serve) -> Result<(), Failed> {
    signal::watch_hangup();
    // Before going to the background, which changes the directory.
    let path = absolute(&serve.path)?;
    let cache = match serve.cache {
        Cache::None => None,
        Cache::File(file) => Some(absolute(&file)?),
        Cache::Default => default_cache(&path),
    };
    let log = serve.log.as_deref().map(open_log).transpose()?;
    let mut ready: Option<Box<dyn FnOnce()>> = None;
    if serve.daemon {
        let waiting = daemon::detach().map_err(|error| {
            Failed::unexpected(format!("cannot go into the background: {error}"))
        })?;
        ready = Some(Box::new(move || waiting.tell()));
    }
    let task = ServeTask {
        path,
        port: serve.port,
        fan_out: serve.fan_out,
        head_copies: serve.head_copies,
        one_file_system: serve.one_file_system,
        cache,
        limits: serve.limits,
    };
    driver::serve(task, MasterConsole::new(ready, log)).map_err(Failed::unexpected)
}

fn absolute(path: &Path) -> Result<PathBuf, Failed> {
    std::path::absolute(path)
        .map_err(|error| Failed::unexpected(format!("{}: {error}", path.display())))
}

fn open_log(path: &Path) -> Result<Output, Failed> {
    Output::appended(path).map_err(|error| {
        Failed::unexpected(format!("cannot write the log {}: {error}", path.display()))
    })
}

/// One file for each served path, where the system keeps caches
/// (XDG Base Directory Specification).
fn default_cache(path: &Path) -> Option<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ if file::is_root() => PathBuf::from("/var/cache"),
        _ => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    let dir = base.join("xget");
    file::make_dirs(&dir).ok()?;
    let name = Digest::of(path.as_os_str().as_encoded_bytes()).to_string();
    Some(dir.join(&name[..16]))
}

fn add_patterns(patterns: &mut Patterns, path: &Path) -> Result<(), Failed> {
    let usage = |why: String| Failed::new(format!("--keep {}: {why}", path.display()), USAGE);
    let text = std::fs::read(path).map_err(|error| usage(error.to_string()))?;
    patterns.add(&text).map_err(|line| {
        usage(format!("line {line} is no pattern as in a .gitignore (`!` is not for this)"))
    })
}

fn fetch_once(task: FetchTask, console: &mut FetchConsole) -> Vec<Failure> {
    driver::fetch(task, None, console).unwrap_or_else(|failure| vec![failure])
}

/// A worker of a running system: round after round, until a signal ends it. What will
/// pass is tried again: the master is away, or its tree has just changed.
fn run_worker(task: FetchTask, quiet: bool) -> Result<(), Failed> {
    let mut console = FetchConsole::of_worker(quiet);
    loop {
        let failures = fetch_once(task.clone(), &mut console);
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

fn run_fetch(fetch: cli::Fetch) -> Result<(), Failed> {
    signal::watch_end();
    let mut task = fetch.task;
    task.masters = driver::resolve(&fetch.master)
        .map_err(|why| Failed::new(why, exit_code(Status::Connection)))?;
    for path in &fetch.keep {
        add_patterns(&mut task.policy.keep, path)?;
    }
    let is_dry = task.policy.purpose.compares();
    if task.policy.purpose == Purpose::Serve {
        return run_worker(task, fetch.quiet);
    }
    let mut console = FetchConsole::new(fetch.quiet, is_dry);
    let failures = fetch_once(task, &mut console);
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
        return Err(failures.into());
    }
    if !fetch.quiet && !is_dry {
        // The files are in place, whoever reads this.
        console::conclude(&format!("xget: {}\n", summary(&last)));
    }
    Ok(())
}
