//! Arguments to options to exit status.

use crate::actions::destinations::Claim;
use crate::cli::{self, Command, HeadCommand};
use crate::console::{self, answer, report};
use crate::failed::{Failed, USAGE};
use crate::os::signal;
use crate::{actions, boot, logger, verbs};
use std::path::Path;
use std::process::ExitCode;

const NO_HEAD: &str = "this is the xget of an initramfs, which fetches and boots: serving a directory, \
     --print-digest, verbs, block devices and standard output take the whole program, which `make install` puts on the head";

/// What does what only the whole program does, where the program has that.
type Head = fn(HeadCommand) -> Result<(), Failed>;

/// What the whole program has more than that of an initramfs.
struct Whole {
    head: Head,
    /// Destinations that are no directories.
    claim: Claim,
}

/// The whole program: reads its arguments, does what they say.
pub fn main() -> ExitCode {
    run_as(Some(Whole { head: run_head, claim: actions::destinations::claim }))
}

/// The same for an initramfs: a node serves what it fetches, and no directory of its own. What
/// is not reached from here the linker leaves out (docs/architecture.md, Size).
pub fn init_main() -> ExitCode {
    run_as(None)
}

fn run_as(whole: Option<Whole>) -> ExitCode {
    // A container's first process is PID 1 as well, but is not called init.
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    if std::process::id() == 1 && name == "init" {
        boot::run();
    }
    if name == "modprobe" {
        return boot::modprobe(std::env::args_os());
    }
    let status = match run(whole) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            failed.reasons.iter().for_each(|why| report(why));
            ExitCode::from(failed.status)
        }
    };
    console::finish();
    status
}

fn run(whole: Option<Whole>) -> Result<(), Failed> {
    let options = cli::parse(std::env::args_os().skip(1)).map_err(|why| Failed::new(why, USAGE))?;
    logger::init(options.debug);
    signal::ignore_file_size();
    match options.command {
        Command::Help => answer(cli::HELP),
        Command::Version => answer(concat!("xget ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Fetch(fetch)
            if whole.is_none() && (fetch.device.typed().is_some() || fetch.is_stream()) =>
        {
            Err(Failed::new(NO_HEAD.into(), USAGE))
        }
        Command::Fetch(fetch) => actions::fetch::fetch(*fetch, whole.map(|whole| whole.claim)),
        Command::Up(masters) => actions::up::up(masters),
        Command::Head(command) => match whole {
            Some(whole) => (whole.head)(command),
            None => Err(Failed::new(NO_HEAD.into(), USAGE)),
        },
    }
}

fn run_head(command: HeadCommand) -> Result<(), Failed> {
    match command {
        HeadCommand::Serve(serve) => actions::serve::serve(serve),
        HeadCommand::PrintDigest { path, selector, one_file_system } => {
            actions::serve::print_digest(&path, &selector, one_file_system)
        }
        HeadCommand::Verb(name, args) => verbs::run(name, args),
        HeadCommand::Remove => Err(actions::serve::remove()),
    }
}
