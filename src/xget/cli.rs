//! What was typed, as options. Checks what can be checked without looking at
//! anything; acts on nothing.
//!
//! Reads what masters and clients share, and which of them was asked for; the options of
//! either are `serve` and `fetch`. A verb's own arguments are its own (`crate::verbs`).
//! Of the program that is not `WHOLE`, the one of an initramfs, it knows only what that has.

mod fetch;
mod help;
mod serve;
pub mod sources;
#[cfg(test)]
mod tests;
mod values;

use crate::driver::{Host, Limits, MASTER_PORT, parse_hosts};
use fetch::ClientOptions;
pub use fetch::Fetch;
pub use help::{HELP, HELP_OF_INIT};
use lexopt::{Arg, Parser};
use peer::content::manifest::Selector;
use serve::MasterOptions;
pub use serve::{Cache, Serve};
use std::ffi::OsString;
use std::path::PathBuf;
use values::{first_typed, number, text};

/// What the program of an initramfs says of all else.
pub const NO_HEAD: &str = "this is the xget of an initramfs, which fetches and boots: serving a \
     directory, --print-digest, verbs, patterns, block devices and standard output take the whole \
     program, which `make install` puts on the head";

/// First words that are no paths. A directory of such a name is `./ls`.
pub const VERBS: &[&str] = &["ls", "status", "add", "run", "get", "find"];

#[derive(Clone, Debug)]
pub enum Command {
    Help,
    Version,
    Fetch(Box<Fetch>),
    /// To the masters that were typed, else to those which the system came from.
    Up(Vec<Host>),
    Head(HeadCommand),
}

/// What only the whole program is asked for: by a head, and by people.
#[derive(Clone, Debug)]
pub enum HeadCommand {
    Serve(Serve),
    PrintDigest {
        path: PathBuf,
        selector: Selector,
        one_file_system: bool,
    },
    /// One of [`VERBS`], and what stands after it.
    Verb(&'static str, Vec<OsString>),
    /// `xget rm NAME`
    Remove,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub command: Command,
    /// The bits of `-D`.
    pub debug: u32,
}

/// What was typed, before it is known what it means together.
#[derive(Default)]
struct Typed<const WHOLE: bool> {
    master: Option<String>,
    port: Option<u16>,
    of_masters: MasterOptions,
    of_clients: ClientOptions,
    /// `--max-clients` and `--max-memory`, of both.
    clients_max: Option<usize>,
    memory_mib: Option<usize>,
    one_file_system: bool,
    print_digest: bool,
    up: bool,
    debug: u32,
    paths: Vec<OsString>,
}

/// Reads the arguments; the error is for the user.
pub fn parse<const WHOLE: bool>(
    args: impl IntoIterator<Item = OsString>,
) -> Result<Options, String> {
    // A list: 1 KB less than an iterator of iterators.
    let mut args: Vec<OsString> = args.into_iter().collect();
    let is_first = |verb: &&&str| args.first().is_some_and(|word| word == **verb);
    if let Some(verb) = VERBS.iter().find(is_first) {
        if !WHOLE {
            return Err(NO_HEAD.into());
        }
        args.remove(0);
        let command = Command::Head(HeadCommand::Verb(verb, args));
        return Ok(Options { command, debug: 0 });
    }
    let mut typed = Typed::<WHOLE>::default();
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        let command = match arg {
            Arg::Short('h') | Arg::Long("help") => Command::Help,
            Arg::Short('V') | Arg::Long("version") => Command::Version,
            arg => {
                typed.take(arg.into(), &mut parser)?;
                continue;
            }
        };
        return Ok(Options { command, debug: 0 });
    }
    let debug = typed.debug;
    Ok(Options { command: typed.command()?, debug })
}

/// The arguments of `xget get`: those of a fetch, of which `-n` may be missing. With the bits
/// of `-D`.
pub fn parse_get(args: Vec<OsString>) -> Result<(Fetch, u32), String> {
    let mut typed = Typed::<true>::default();
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        typed.take(arg.into(), &mut parser)?;
    }
    if typed.up || typed.print_digest {
        return Err("--up and --print-digest are not for `get`".into());
    }
    if typed.port.is_some() && typed.master.is_none() {
        return Err("-p is the port of the master that -n names".into());
    }
    let debug = typed.debug;
    Ok((typed.fetch()?, debug))
}

/// `lexopt::Arg` without its borrow of the parser.
enum Owned {
    Short(char),
    Long(String),
    Value(OsString),
}

impl From<Arg<'_>> for Owned {
    fn from(arg: Arg<'_>) -> Owned {
        match arg {
            Arg::Short(letter) => Owned::Short(letter),
            Arg::Long(name) => Owned::Long(name.into()),
            Arg::Value(value) => Owned::Value(value),
        }
    }
}

fn unknown<const WHOLE: bool>(option: &str) -> String {
    match WHOLE {
        true => match help::in_place_of(option) {
            Some(instead) => format!("unknown option {option}: {instead}"),
            None => format!("unknown option {option}; see xget --help"),
        },
        false => format!("unknown option {option}; {NO_HEAD}"),
    }
}

impl<const WHOLE: bool> Typed<WHOLE> {
    fn take(&mut self, arg: Owned, parser: &mut Parser) -> Result<(), String> {
        match arg {
            Owned::Value(path) => self.paths.push(path),
            Owned::Short(letter) => self.take_short(letter, parser)?,
            Owned::Long(name) => self.take_long(&name, parser)?,
        }
        Ok(())
    }

    fn take_short(&mut self, letter: char, parser: &mut Parser) -> Result<(), String> {
        match letter {
            'n' => self.master = Some(text(parser)?),
            'p' => self.port = Some(number(parser, "-p", 1..=65535)?),
            'D' => self.debug = number(parser, "-D", 0..=31)?,
            'x' => self.one_file_system = true,
            letter if self.of_clients.take_short(letter, parser)? => {}
            letter if WHOLE && self.of_masters.take_short(letter, parser)? => {}
            letter => return Err(unknown::<WHOLE>(&format!("-{letter}"))),
        }
        Ok(())
    }

    fn take_long(&mut self, name: &str, parser: &mut Parser) -> Result<(), String> {
        match name {
            "max-clients" => {
                self.clients_max = Some(number(parser, "--max-clients", 1..=1_000_000)?);
            }
            "max-memory" => {
                self.memory_mib = Some(number(parser, "--max-memory", 8..=1_000_000)?);
            }
            "up" => self.up = true,
            name if self.of_clients.take_long(name, parser)? => {}
            name if WHOLE && self.take_long_of_whole(name, parser)? => {}
            name => return Err(unknown::<WHOLE>(&format!("--{name}"))),
        }
        Ok(())
    }

    /// Whether it is one of these.
    fn take_long_of_whole(&mut self, name: &str, parser: &mut Parser) -> Result<bool, String> {
        self.print_digest |= name == "print-digest";
        Ok(name == "print-digest"
            || self.of_masters.take_long(name, parser)?
            || self.of_clients.take_long_of_whole(name, parser)?)
    }

    fn command(self) -> Result<Command, String> {
        if self.up {
            self.up_command()
        } else if WHOLE && self.print_digest {
            self.print_digest_command()
        } else if self.master.is_some() {
            Ok(Command::Fetch(Box::new(self.fetch()?)))
        } else if WHOLE {
            self.serve_command()
        } else {
            Err(NO_HEAD.into())
        }
    }

    /// The name of an option that was typed and is of who serves or fetches.
    fn of_who_serves(&self) -> Option<&'static str> {
        let of_both = [
            (self.clients_max.is_some(), "--max-clients"),
            (self.memory_mib.is_some(), "--max-memory"),
        ];
        self.of_masters.typed().or(self.of_clients.typed()).or(first_typed(&of_both))
    }

    fn print_digest_command(mut self) -> Result<Command, String> {
        let excludes = self.of_clients.take_excludes();
        let others = [(self.master.is_some(), "-n"), (self.port.is_some(), "-p")];
        if let Some(name) = self.of_who_serves().or(first_typed(&others)) {
            return Err(format!("{name} does nothing for --print-digest"));
        }
        let mut paths = self.paths.into_iter();
        let path = paths.next().ok_or("--print-digest wants a path")?.into();
        let (selector, _) = sources::selector(paths.collect(), excludes)?;
        let one_file_system = self.one_file_system;
        Ok(Command::Head(HeadCommand::PrintDigest { path, selector, one_file_system }))
    }

    fn up_command(self) -> Result<Command, String> {
        let is_other = self.one_file_system || self.print_digest || !self.paths.is_empty();
        if is_other || self.of_who_serves().is_some() {
            return Err("--up takes -n and -p, and nothing else".into());
        }
        let port = self.port.unwrap_or(MASTER_PORT);
        let masters = self.master.map(|masters| parse_hosts(&masters, port)).transpose()?;
        Ok(Command::Up(masters.unwrap_or_default()))
    }

    /// Without `-n` it has no masters.
    fn fetch(mut self) -> Result<Fetch, String> {
        let others = [(self.one_file_system, "-x")];
        if let Some(name) = self.of_masters.typed().or(first_typed(&others)).filter(|_| WHOLE) {
            return Err(format!("{name} is for a master; with -n this is a client"));
        }
        let port = self.port.unwrap_or(MASTER_PORT);
        let masters = self.master.take().map(|masters| parse_hosts(&masters, port)).transpose()?;
        let limits = Limits::of_client(self.clients_max, self.memory_mib);
        self.of_clients.fetch::<WHOLE>(masters.unwrap_or_default(), self.paths, limits)
    }

    fn serve_command(self) -> Result<Command, String> {
        if let Some(name) = self.of_clients.typed() {
            return Err(format!("{name} is for a client: name the master with -n"));
        }
        if self.paths.len() > 1 && self.paths[0] == "rm" {
            return Ok(Command::Head(HeadCommand::Remove));
        }
        let (port, one_file_system) = (self.port.unwrap_or(MASTER_PORT), self.one_file_system);
        let limits = Limits::of_master(self.clients_max, self.memory_mib);
        let serve = self.of_masters.serve(self.paths, port, one_file_system, limits)?;
        Ok(Command::Head(HeadCommand::Serve(serve)))
    }
}
