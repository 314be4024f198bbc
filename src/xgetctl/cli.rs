//! The command line: commands, what all share, and the exit status.
//!
//! Each command's options are beside its code. A new command is a variant of
//! [`Command`] and an arm of [`run`].

use crate::failure::{Outcome, Status};
use crate::head::Head;
use crate::{image, interrupt, key, layers, netboot, node, out, pages, status};
use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
exit status: 0 all of it is done; 1 interrupted, or something unexpected; 2 usage;
3 no master answers; 4 something is missing or unreadable; 5 something is not
what it has to be; 6 a place that cannot be written to, a program that is missing
or failed, or another limit of this machine; 7 not all are up in time; 10 only root
may; 11 an interface without a usable address; 12 a port that another program has;
13 a program that was to run on has ended

Every command can be interrupted and run again: what is in place is whole.";

/// Behind the options of each command, before --help.
const ROOT_AT: usize = 900;

/// The head's command: images, layers, nodes, and what they boot from
#[derive(Debug, Parser)]
#[command(name = "xgetctl", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    /// The directory that the master serves
    #[arg(
        long,
        global = true,
        env = "XGET_ROOT",
        default_value = "/srv/xget",
        value_name = "DIR",
        display_order = ROOT_AT
    )]
    root: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make, change, look at and remove images
    Image(image::Args),
    /// List, show and render what goes over an image's root on each node
    Layers(layers::Args),
    /// List nodes, change nodes.tab, take in who waits
    Nodes(Box<node::Args>),
    /// Show how far every node is
    Status(status::Args),
    /// Make, and serve, what machines boot from over the network
    Netboot(netboot::Args),
    /// Make the key of a cluster, and print what follows from it
    Key(key::Args),
    /// Print what makes a shell complete these commands
    Completion(pages::Completion),
    /// Print the man page, or write all of them
    Man(pages::Man),
}

fn run(cli: &Cli) -> Outcome {
    let head = Head { dir: cli.root.clone() };
    match &cli.command {
        Command::Image(args) => args.run(&head),
        Command::Layers(args) => args.run(&head),
        Command::Nodes(args) => args.run(&head),
        Command::Status(args) => args.run(&head),
        Command::Netboot(args) => args.run(&head),
        Command::Key(args) => args.run(),
        Command::Completion(args) => args.run(Cli::command()),
        Command::Man(args) => args.run(Cli::command()),
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => {
            // clap knows which of its texts are errors; nobody may read either.
            let _ = refused.print();
            return ExitCode::from(if refused.use_stderr() { Status::Usage as u8 } else { 0 });
        }
    };
    interrupt::listen();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out::note(&failure.text);
            ExitCode::from(failure.status as u8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
