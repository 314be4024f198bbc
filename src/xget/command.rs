//! Arguments to options to exit status.

use crate::cli::{self, Command};
use crate::console::{FetchConsole, MasterConsole, complain, print, summary};
use crate::driver::{self, FetchRequest, ServeRequest};
use crate::os::{daemon, signal};
use crate::{boot, logger};
use peer::node::Status;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: u8 = 2;

pub fn main() -> ExitCode {
    // A container's first process is PID 1 as well, but is not called init.
    let name = std::env::args_os().next().unwrap_or_default();
    if std::process::id() == 1 && name.as_encoded_bytes().ends_with(b"init") {
        boot::run();
    }
    let options = match cli::parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            return failed(&why, USAGE);
        }
    };
    logger::init(options.debug);
    match options.command {
        Command::Help => answer(cli::HELP),
        Command::Version => answer(concat!("xget ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Serve(serve) => run_master(serve),
        Command::Fetch(fetch) => run_fetch(fetch),
        Command::PrintDigest { path, sources, one_file_system } => {
            run_print_digest(path, sources, one_file_system)
        }
    }
}

fn failed(why: &str, status: u8) -> ExitCode {
    complain(why);
    ExitCode::from(status)
}

/// Prints what was asked for: unread, the command was in vain.
fn answer(text: &str) -> ExitCode {
    match print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("cannot write to standard output: {error}"), 1),
    }
}

fn run_print_digest(path: PathBuf, sources: Vec<Vec<u8>>, one_file_system: bool) -> ExitCode {
    match driver::print_digest(&path, &sources, one_file_system) {
        Ok((digest, notes)) => {
            notes.iter().for_each(|note| complain(note));
            answer(&format!("{digest}\n"))
        }
        Err(why) => failed(&why, exit_code(Status::Source)),
    }
}

fn run_master(serve: cli::Serve) -> ExitCode {
    signal::watch_hangup();
    // Before going to the background, which changes the directory.
    let path = match absolute(&serve.path) {
        Ok(path) => path,
        Err(why) => return failed(&why, 1),
    };
    let cache = match serve.cache {
        cli::Cache::None => None,
        cli::Cache::File(file) => match absolute(&file) {
            Ok(file) => Some(file),
            Err(why) => return failed(&why, 1),
        },
        cli::Cache::Default => default_cache(&path),
    };
    let log = match serve.log.as_deref().map(open_log).transpose() {
        Ok(log) => log,
        Err(why) => return failed(&why, 1),
    };
    let mut ready: Option<Box<dyn FnOnce()>> = None;
    if serve.daemon {
        match daemon::detach() {
            Ok(waiting) => ready = Some(Box::new(move || waiting.tell())),
            Err(error) => return failed(&format!("cannot go into the background: {error}"), 1),
        }
    }
    let request = ServeRequest {
        path,
        port: serve.port,
        fan_out: serve.fan_out,
        head: serve.head,
        one_file_system: serve.one_file_system,
        cache,
    };
    match driver::serve(request, MasterConsole::new(ready, log)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why, 1),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn open_log(path: &Path) -> Result<File, String> {
    let opened = File::options().append(true).create(true).open(path);
    opened.map_err(|error| format!("cannot write the log {}: {error}", path.display()))
}

/// One file for each served path, where the system keeps caches.
fn default_cache(path: &Path) -> Option<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ if crate::os::file::is_root() => PathBuf::from("/var/cache"),
        _ => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    let dir = base.join("xget");
    let _ = crate::os::file::make_dirs(&dir, 0o777);
    if !dir.is_dir() {
        return None;
    }
    let name = peer::content::digest::Digest::of(path.as_os_str().as_encoded_bytes()).to_string();
    Some(dir.join(&name[..16]))
}

fn run_fetch(fetch: cli::Fetch) -> ExitCode {
    signal::watch_end();
    let mut console = FetchConsole::new(fetch.quiet);
    let masters = match driver::resolve(&fetch.master) {
        Ok(masters) => masters,
        Err(why) => return failed(&why, exit_code(Status::Connection)),
    };
    let request = FetchRequest {
        masters,
        sources: fetch.sources,
        dest: fetch.dest,
        pin: fetch.pin,
        retries: fetch.retries,
        linger: fetch.linger,
        keep_attributes: fetch.keep_attributes,
        room_bytes: None,
        greeting: None,
    };
    let failures = match driver::fetch(request, &mut console) {
        Ok(failures) => failures,
        Err(failure) => vec![failure],
    };
    let last = console.last;
    drop(console);
    match failures.iter().map(|failure| failure.status).max() {
        None => {
            if !fetch.quiet {
                // The files are in place, whoever reads this.
                let _ = print(&format!("xget: {}\n", summary(&last)));
            }
            ExitCode::SUCCESS
        }
        Some(status) => {
            failures.iter().for_each(|failure| complain(&failure.text()));
            ExitCode::from(exit_code(status))
        }
    }
}

fn exit_code(status: Status) -> u8 {
    match status {
        Status::Interrupted => 1,
        Status::Connection => 3,
        Status::Source | Status::Changed => 4,
        Status::Verification => 5,
        Status::Room | Status::LocalIo => 6,
    }
}
