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
use values::{file, key_file, number, text};
pub use values::{first_typed, parse_date, text_typed};

/// What the program of an initramfs says of all else.
pub const NO_HEAD: &str = "this is the xget of an initramfs: serving a directory, --print-digest, \
     verbs, patterns, block devices and standard output take the whole program (`make install`)";

/// First words that are no paths. A directory of such a name is `./ls`.
pub const VERBS: &[&str] = &["ls", "status", "add", "run", "get", "find"];

#[derive(Clone, Debug)]
pub enum Command {
    Help,
    Version,
    Fetch(Box<Fetch>),
    /// To the masters that were typed, else to those which the system came from.
    Up(Vec<Host>, Option<PathBuf>),
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
    Sign(Sign),
    /// One of [`VERBS`], and what stands after it.
    Verb(&'static str, Vec<OsString>),
    /// `xget rm NAME`
    Remove,
}

/// What is to be signed, and by which key: by none, it is printed.
#[derive(Clone, Debug)]
pub struct Sign {
    pub key: Option<PathBuf>,
    pub path: PathBuf,
    /// All of it, and each thing in its root.
    pub selector: Option<Selector>,
    pub one_file_system: bool,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub command: Command,
    /// The bits of `-D`.
    pub debug: u32,
}

/// What was typed, before it is known what it means together.
// fields: one for each option
#[derive(Default)]
struct Typed<const WHOLE: bool> {
    master: Option<String>,
    /// Of both, and of `--up`.
    key: Option<PathBuf>,
    port: Option<u16>,
    of_masters: MasterOptions,
    of_clients: ClientOptions,
    /// `--max-clients` and `--max-memory`, of both.
    clients_max: Option<usize>,
    memory_mib: Option<usize>,
    no_sandbox: bool,
    one_file_system: bool,
    looks: LookOptions,
    up: bool,
    debug: u32,
    paths: Vec<OsString>,
}

/// By which a directory is looked at, and neither served nor fetched into.
#[derive(Default)]
struct LookOptions {
    print_digest: bool,
    print_statement: bool,
    /// By this key.
    sign: Option<PathBuf>,
}

impl LookOptions {
    /// The name of one that was typed.
    fn typed(&self) -> Option<&'static str> {
        let digest = self.print_digest.then_some("--print-digest");
        let statement = self.print_statement.then_some("--print-statement");
        digest.or(text_typed(&self.sign, "--sign")).or(statement)
    }
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
    if let Some(name) = typed.looks.typed().or(typed.up.then_some("--up")) {
        return Err(format!("{name} is not for `get`"));
    }
    if typed.port.is_some() && typed.master.is_none() {
        return Err("-p is the port of the master that -n names".into());
    }
    if typed.paths.len() == 1 {
        return Err("one path is not enough: SRC... DEST".into());
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

    #[inline(never)]
    fn take_short(&mut self, letter: char, parser: &mut Parser) -> Result<(), String> {
        match letter {
            'n' => self.master = Some(text(parser)?),
            'p' => self.port = Some(number(parser, "-p", 1..=65535)?),
            'D' => self.debug = number(parser, "-D", 0..=31)?,
            'x' if WHOLE => self.one_file_system = true,
            letter if self.of_clients.take_short(letter, parser)? => {}
            letter if WHOLE && self.of_masters.take_short(letter, parser)? => {}
            letter => return Err(unknown::<WHOLE>(&format!("-{letter}"))),
        }
        Ok(())
    }

    #[inline(never)]
    fn take_long(&mut self, name: &str, parser: &mut Parser) -> Result<(), String> {
        match name {
            "max-clients" => {
                self.clients_max = Some(number(parser, "--max-clients", 1..=1_000_000)?);
            }
            "max-memory" => {
                self.memory_mib = Some(number(parser, "--max-memory", 8..=1_000_000)?);
            }
            "no-sandbox" => self.no_sandbox = true,
            "up" => self.up = true,
            "key" => self.key = Some(key_file(parser)?),
            name if self.of_clients.take_long(name, parser)? => {}
            name if WHOLE && self.take_long_of_whole(name, parser)? => {}
            name => return Err(unknown::<WHOLE>(&format!("--{name}"))),
        }
        Ok(())
    }

    /// Whether it is one of these.
    fn take_long_of_whole(&mut self, name: &str, parser: &mut Parser) -> Result<bool, String> {
        match name {
            "print-digest" => self.looks.print_digest = true,
            "print-statement" => self.looks.print_statement = true,
            "sign" => self.looks.sign = Some(file(parser)?),
            // An empty name is what stands for none.
            "no-key" => self.key = Some(PathBuf::new()),
            _ => return self.take_long_of_either(name, parser),
        }
        Ok(true)
    }

    fn take_long_of_either(&mut self, name: &str, parser: &mut Parser) -> Result<bool, String> {
        Ok(self.of_masters.take_long(name, parser)?
            || self.of_clients.take_long_of_whole(name, parser)?)
    }

    #[inline(never)]
    fn command(self) -> Result<Command, String> {
        if self.up {
            self.up_command()
        } else if WHOLE && self.looks.typed().is_some() {
            self.look_command()
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
            (self.no_sandbox, "--no-sandbox"),
        ];
        self.of_masters.typed().or(self.of_clients.typed()).or(first_typed(&of_both))
    }

    fn look_command(mut self) -> Result<Command, String> {
        let name = self.looks.typed().unwrap_or_default();
        let excludes = self.of_clients.take_excludes();
        let others = [
            (self.port.is_some(), "-p"),
            (self.looks.print_statement && name != "--print-statement", "--print-statement"),
        ];
        let sign = text_typed(&self.looks.sign, "--sign").filter(|_| self.looks.print_digest);
        let text = text_typed(&self.master, "-n").or(text_typed(&self.key, "--key")).or(sign);
        if let Some(other) = self.of_who_serves().or(text).or(first_typed(&others)) {
            return Err(format!("{other} does nothing for {name}"));
        }
        let mut paths = self.paths.into_iter();
        let path = paths.next().ok_or_else(|| format!("{name} wants a path"))?.into();
        let sources: Vec<_> = paths.collect();
        let names_nothing = sources.is_empty() && excludes.is_empty();
        let (mut selector, _) = sources::selector(sources, excludes)?;
        let one_file_system = self.one_file_system;
        Ok(Command::Head(match self.looks.print_digest {
            true => HeadCommand::PrintDigest { path, selector, one_file_system },
            false => {
                // All of it, as who fetches all says it.
                if selector.sources.is_empty() {
                    selector.sources.push(b".".into());
                }
                let selector = (!names_nothing).then_some(selector);
                HeadCommand::Sign(Sign { key: self.looks.sign, path, selector, one_file_system })
            }
        }))
    }

    fn up_command(self) -> Result<Command, String> {
        let is_other =
            self.one_file_system || self.looks.typed().is_some() || !self.paths.is_empty();
        if is_other || self.of_who_serves().is_some() {
            return Err("--up takes -n and -p, and nothing else".into());
        }
        let port = self.port.unwrap_or(MASTER_PORT);
        let masters = self.master.map(|masters| parse_hosts(&masters, port)).transpose()?;
        Ok(Command::Up(masters.unwrap_or_default(), self.key))
    }

    /// Without `-n` it has no masters.
    #[inline(never)]
    fn fetch(mut self) -> Result<Fetch, String> {
        let others = [(self.one_file_system, "-x")];
        if let Some(name) = self.of_masters.typed().or(first_typed(&others)).filter(|_| WHOLE) {
            return Err(format!("{name} is for a master; with -n this is a client"));
        }
        let port = self.port.unwrap_or(MASTER_PORT);
        let masters = self.master.take().map(|masters| parse_hosts(&masters, port)).transpose()?;
        let limits = Limits::of_client(self.clients_max, self.memory_mib);
        let is_shut_in = !self.no_sandbox;
        let masters = masters.unwrap_or_default();
        let mut fetch = self.of_clients.fetch::<WHOLE>(masters, self.paths, limits)?;
        fetch.task.is_shut_in = is_shut_in;
        Ok(Fetch { key: self.key, ..fetch })
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
        let is_shut_in = !self.no_sandbox;
        let serve = self.of_masters.serve(self.paths, port, one_file_system, limits)?;
        let serve = Serve { key: self.key, is_shut_in, ..serve };
        Ok(Command::Head(HeadCommand::Serve(serve)))
    }
}
