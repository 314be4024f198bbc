//! Arguments to options to exit status.

use crate::cli::{self, Command, HeadCommand, NO_HEAD};
use crate::console::{self, answer, report};
use crate::failed::{Failed, USAGE};
use crate::os::signal;
use crate::{actions, boot, logger, verbs};
use std::path::Path;
use std::process::ExitCode;

/// The whole program: reads its arguments, does what they say.
pub fn main() -> ExitCode {
    run_as::<true>()
}

/// The same for an initramfs: a node serves what it fetches, and no directory of its own. What
/// is not reached from here the linker leaves out (docs/architecture.md, Size).
pub fn init_main() -> ExitCode {
    run_as::<false>()
}

fn run_as<const WHOLE: bool>() -> ExitCode {
    // A container's first process is PID 1 as well, but is not called init.
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    if std::process::id() == 1 && name == "init" {
        boot::run();
    }
    if name == "modprobe" {
        return boot::modprobe(std::env::args_os());
    }
    let status = match run::<WHOLE>() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            failed.reasons.iter().for_each(|why| report(why));
            ExitCode::from(failed.status)
        }
    };
    console::finish();
    status
}

fn run<const WHOLE: bool>() -> Result<(), Failed> {
    let options =
        cli::parse::<WHOLE>(std::env::args_os().skip(1)).map_err(|why| Failed::new(why, USAGE))?;
    logger::init(options.debug);
    signal::ignore_file_size();
    match options.command {
        Command::Help => answer(if WHOLE { cli::HELP } else { cli::HELP_OF_INIT }),
        Command::Version => answer(concat!("xget ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Fetch(fetch) if WHOLE || !fetch.is_stream() => {
            actions::fetch::fetch::<WHOLE>(*fetch)
        }
        Command::Up(masters, key) => actions::up::up(masters, key.as_deref()),
        Command::Head(command) if WHOLE => run_head(command),
        _ => Err(Failed::new(NO_HEAD.into(), USAGE)),
    }
}

fn run_head(command: HeadCommand) -> Result<(), Failed> {
    match command {
        HeadCommand::Serve(serve) => actions::serve::serve(serve),
        HeadCommand::PrintDigest { path, selector, one_file_system } => {
            actions::serve::print_digest(&path, &selector, one_file_system)
        }
        HeadCommand::Sign(sign) => actions::sign::sign(sign),
        HeadCommand::Verb(name, args) => verbs::run(name, args),
        HeadCommand::Remove => Err(actions::serve::remove()),
    }
}
