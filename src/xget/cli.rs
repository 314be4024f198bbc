//! What was typed, as options. Checks what can be checked without looking at
//! anything; acts on nothing.

mod help;

use crate::driver::{FetchTask, Host, Limits, MASTER_PORT, parse_host};
use crate::store::writer::{Policy, Purpose};
pub use help::HELP;
use lexopt::{Arg, Parser, ValueExt};
use peer::request::{FetchRequest, Linger, Pin, RETRIES, source_is_below};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Fan-out and number of stripes.
const FAN_OUT: u8 = 4;
const FAN_OUT_MAX: u8 = 16;

/// A worker looks again after this.
const ROUND_MS: u64 = 600_000;

/// A master's work.
#[derive(Clone, Debug)]
pub struct Serve {
    pub path: PathBuf,
    pub port: u16,
    pub fan_out: u8,
    /// Copies of the data that the master's uplink carries.
    pub head_copies: u16,
    pub one_file_system: bool,
    pub daemon: bool,
    pub log: Option<PathBuf>,
    pub cache: Cache,
    pub limits: Limits,
}

/// Where digests are kept between starts.
#[derive(Clone, Debug)]
pub enum Cache {
    Default,
    File(PathBuf),
    None,
}

/// A client's work.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// As it was written; its name is not yet looked up.
    pub master: Host,
    /// All the rest; `masters` is empty until `master` is looked up.
    pub task: FetchTask,
    pub quiet: bool,
    /// Files with patterns.
    pub keep: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Help,
    Version,
    Fetch(Box<Fetch>),
    /// To the master that was typed, else to that which the system came from.
    Up(Option<Host>),
    Head(HeadCommand),
}

/// What a head alone is asked for.
#[derive(Clone, Debug)]
pub enum HeadCommand {
    Serve(Serve),
    PrintDigest { path: PathBuf, sources: Vec<Vec<u8>>, one_file_system: bool },
}

#[derive(Clone, Debug)]
pub struct Options {
    pub command: Command,
    /// The bits of `-D`.
    pub debug: u32,
}

/// What only a master is asked for.
#[derive(Default)]
struct MasterOptions {
    fan_out: Option<u8>,
    head_copies: Option<u16>,
    daemon: bool,
    log: Option<PathBuf>,
    cache: Option<Cache>,
}

impl MasterOptions {
    /// The name of one that was typed.
    fn typed(&self) -> Option<&'static str> {
        first_typed(&[
            (self.fan_out.is_some(), "-m"),
            (self.head_copies.is_some(), "--head"),
            (self.daemon, "--daemon"),
            (self.log.is_some(), "--log"),
            (self.cache.is_some(), "--cache and --no-cache"),
        ])
    }
}

/// What only a client is asked for.
#[derive(Default)]
struct ClientOptions {
    retries: Option<u32>,
    linger: Option<Linger>,
    pin: Option<Pin>,
    /// `-s`, `-o`
    plain_attributes: bool,
    keep_dirs: bool,
    quiet: bool,
    sync: bool,
    delete: bool,
    dry_run: bool,
    worker: bool,
    keep: Vec<PathBuf>,
    copies: Option<PathBuf>,
}

impl ClientOptions {
    /// The name of one that was typed.
    fn typed(&self) -> Option<&'static str> {
        first_typed(&[
            (self.retries.is_some(), "-r"),
            (self.linger.is_some(), "--linger"),
            (self.pin.is_some(), "--digest"),
            (self.plain_attributes, "-s and -o"),
            (self.keep_dirs, "--keep-dirs"),
            (self.quiet, "-q"),
            (self.sync, "--fsync"),
            (self.delete, "--delete"),
            (self.dry_run, "--dry-run"),
            (self.worker, "--worker"),
            (!self.keep.is_empty(), "--keep"),
            (self.copies.is_some(), "--copy-dest"),
        ])
    }

    fn purpose(&self) -> Purpose {
        match (self.dry_run, self.delete) {
            _ if self.worker => Purpose::Serve,
            (true, removes) => Purpose::Compare { removes },
            (false, true) => Purpose::Mirror,
            (false, false) => Purpose::Fill,
        }
    }

    fn linger(&self) -> Linger {
        match (self.linger, self.worker) {
            (Some(Linger::Millis(ms)), true) => Linger::Stay(ms),
            (_, true) => Linger::Stay(ROUND_MS),
            (Some(linger), _) => linger,
            // Who has nothing serves nobody.
            (None, _) if self.dry_run => Linger::Millis(0),
            (None, _) => Linger::Twice,
        }
    }
}

fn first_typed(options: &[(bool, &'static str)]) -> Option<&'static str> {
    options.iter().find(|(typed, _)| *typed).map(|(_, name)| *name)
}

/// What was typed, before it is known what it means together.
#[derive(Default)]
struct Typed {
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
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, String> {
    let mut typed = Typed::default();
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

fn number<T: TryFrom<u64>>(
    parser: &mut Parser,
    what: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<T, String> {
    let number = number_within(parser, what, *range.start(), *range.end())?;
    T::try_from(number).map_err(|_| what.into())
}

/// Apart from it, so that it is in the program once.
fn number_within(parser: &mut Parser, what: &str, least: u64, most: u64) -> Result<u64, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    let text = value.to_string_lossy();
    let in_range = text.parse().ok().filter(|number| (least..=most).contains(number));
    in_range.ok_or_else(|| format!("{what} wants a number from {least} to {most}, not {text:?}"))
}

fn text(parser: &mut Parser) -> Result<String, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    value.string().map_err(|error| error.to_string())
}

fn file(parser: &mut Parser) -> Result<PathBuf, String> {
    parser.value().map(PathBuf::from).map_err(|error| error.to_string())
}

impl Typed {
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
            'm' => {
                self.of_masters.fan_out = Some(number(parser, "-m", 1..=u64::from(FAN_OUT_MAX))?)
            }
            'r' => self.of_clients.retries = Some(number(parser, "-r", 0..=1_000_000)?),
            'D' => self.debug = number(parser, "-D", 0..=31)?,
            's' | 'o' => self.of_clients.plain_attributes = true,
            'x' => self.one_file_system = true,
            'q' => self.of_clients.quiet = true,
            letter => return Err(format!("unknown option -{letter}; see xget --help")),
        }
        Ok(())
    }

    fn take_long(&mut self, name: &str, parser: &mut Parser) -> Result<(), String> {
        match name {
            "head" => {
                self.of_masters.head_copies = Some(number(parser, "--head", 1..=1000)?);
            }
            "max-clients" => {
                self.clients_max = Some(number(parser, "--max-clients", 1..=1_000_000)?);
            }
            "max-memory" => {
                self.memory_mib = Some(number(parser, "--max-memory", 8..=1_000_000)?);
            }
            "fsync" => self.of_clients.sync = true,
            "delete" => self.of_clients.delete = true,
            "dry-run" => self.of_clients.dry_run = true,
            "worker" => self.of_clients.worker = true,
            "copy-dest" => self.of_clients.copies = Some(file(parser)?),
            "keep" => self.of_clients.keep.push(file(parser)?),
            "keep-dirs" => self.of_clients.keep_dirs = true,
            "daemon" => self.of_masters.daemon = true,
            "print-digest" => self.print_digest = true,
            "up" => self.up = true,
            "digest" => self.of_clients.pin = Some(parse_pin(&text(parser)?)?),
            "linger" => {
                let seconds: u64 = number(parser, "--linger", 0..=1_000_000)?;
                self.of_clients.linger = Some(Linger::Millis(seconds * 1000));
            }
            "cache" => self.of_masters.cache = Some(Cache::File(file(parser)?)),
            "log" => self.of_masters.log = Some(file(parser)?),
            "no-cache" => self.of_masters.cache = Some(Cache::None),
            name => return Err(format!("unknown option --{name}; see xget --help")),
        }
        Ok(())
    }

    fn command(self) -> Result<Command, String> {
        if self.up {
            self.up_command()
        } else if self.print_digest {
            self.print_digest_command()
        } else if self.master.is_some() {
            self.fetch_command()
        } else {
            self.serve_command()
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

    fn print_digest_command(self) -> Result<Command, String> {
        let others = [(self.master.is_some(), "-n"), (self.port.is_some(), "-p")];
        if let Some(name) = self.of_who_serves().or(first_typed(&others)) {
            return Err(format!("{name} does nothing for --print-digest"));
        }
        let mut paths = self.paths.into_iter();
        let path = paths.next().ok_or("--print-digest wants a path")?.into();
        let mut sources: Vec<Vec<u8>> = paths.map(OsString::into_vec).collect();
        if sources.is_empty() {
            sources.push(b".".to_vec());
        }
        let one_file_system = self.one_file_system;
        Ok(Command::Head(HeadCommand::PrintDigest { path, sources, one_file_system }))
    }

    fn up_command(self) -> Result<Command, String> {
        let is_other = self.one_file_system || self.print_digest || !self.paths.is_empty();
        if is_other || self.of_who_serves().is_some() {
            return Err("--up takes -n and -p, and nothing else".into());
        }
        let port = self.port.unwrap_or(MASTER_PORT);
        Ok(Command::Up(self.master.map(|master| parse_host(&master, port)).transpose()?))
    }

    fn fetch_command(mut self) -> Result<Command, String> {
        let others = [(self.one_file_system, "-x")];
        if let Some(name) = self.of_masters.typed().or(first_typed(&others)) {
            return Err(format!("{name} is for a master; with -n this is a client"));
        }
        let master = self.master.take().unwrap_or_default();
        let master = parse_host(&master, self.port.unwrap_or(MASTER_PORT))?;
        let dest = self.paths.pop().ok_or("what is to be fetched, and where to? SRC... DEST")?;
        if self.paths.is_empty() {
            return Err("one path is not enough: SRC... DEST".into());
        }
        if self.paths.iter().any(|source| !source_is_below(source.as_encoded_bytes())) {
            return Err("a SRC is a path below what the master serves, and `.` is all of it; \
                        it cannot be empty or lead above that by `..`"
                .into());
        }
        let options = self.of_clients;
        let writes = [
            (options.delete, "--delete"),
            (options.dry_run, "--dry-run"),
            (!options.keep.is_empty(), "--keep"),
            (options.copies.is_some(), "--copy-dest"),
            (options.sync, "--fsync"),
            (options.keep_dirs, "--keep-dirs"),
        ];
        if let Some(name) = first_typed(&writes).filter(|_| options.worker) {
            return Err(format!("{name} does nothing for a --worker, which writes nothing"));
        }
        if options.pin.is_some() && self.paths.len() > 1 {
            return Err("--digest pins one SRC; fetch them one by one".into());
        }
        let request = FetchRequest {
            sources: self.paths.into_iter().map(OsString::into_vec).collect(),
            pin: options.pin,
            retries: options.retries.unwrap_or(RETRIES),
            linger: options.linger(),
            greeting: None,
        };
        let task = FetchTask {
            keep_root_attributes: options.delete && !options.keep_dirs,
            keep_attributes: !options.plain_attributes,
            keep_dirs: options.keep_dirs,
            sync: options.sync,
            policy: Policy {
                purpose: options.purpose(),
                copies: options.copies,
                ..Policy::default()
            },
            limits: Limits::of_client(self.clients_max, self.memory_mib),
            // The master is looked up when it begins.
            ..FetchTask::of(Vec::new(), request, dest.into())
        };
        let (quiet, keep) = (options.quiet, options.keep);
        Ok(Command::Fetch(Box::new(Fetch { master, task, quiet, keep })))
    }

    fn serve_command(mut self) -> Result<Command, String> {
        if let Some(name) = self.of_clients.typed() {
            return Err(format!("{name} is for a client: name the master with -n"));
        }
        let path = self.paths.pop().ok_or("what is to be served? See xget --help")?.into();
        if !self.paths.is_empty() {
            return Err("a master serves one path; to fetch, name the master with -n".into());
        }
        let options = self.of_masters;
        Ok(Command::Head(HeadCommand::Serve(Serve {
            path,
            port: self.port.unwrap_or(MASTER_PORT),
            fan_out: options.fan_out.unwrap_or(FAN_OUT),
            head_copies: options.head_copies.unwrap_or(1),
            one_file_system: self.one_file_system,
            daemon: options.daemon,
            log: options.log,
            cache: options.cache.unwrap_or(Cache::Default),
            limits: Limits::of_master(self.clients_max, self.memory_mib),
        })))
    }
}

/// `blake3:HEX` or `sha256:HEX`.
fn parse_pin(text: &str) -> Result<Pin, String> {
    Pin::parse(text).ok_or_else(|| {
        format!("a digest is blake3: or sha256: and 64 hexadecimal digits, not {text:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_path_is_served_with_the_originals_port() {
        let Command::Head(HeadCommand::Serve(serve)) = parsed("-m 2 -x /srv").unwrap().command
        else {
            panic!()
        };
        assert_eq!((serve.port, serve.fan_out, serve.one_file_system), (MASTER_PORT, 2, true));
    }

    #[test]
    fn a_master_makes_it_a_client() {
        let options = parsed("-n head:99 -r 3 -s -q -D 6 a b/c dest").unwrap();
        assert_eq!(options.debug, 6);
        let Command::Fetch(fetch) = options.command else { panic!() };
        assert_eq!(fetch.master, Host::Name("head".into(), 99));
        assert!(fetch.quiet);
        let task = fetch.task;
        assert_eq!(task.request.sources, vec![b"a".to_vec(), b"b/c".to_vec()]);
        assert_eq!((task.request.retries, task.keep_attributes), (3, false));
        assert_eq!(task.request.linger, Linger::Twice);
    }

    #[test]
    fn up_is_said_to_a_master_or_to_the_one_that_is_known() {
        let master = |line| match parsed(line).unwrap().command {
            Command::Up(master) => master,
            other => panic!("{other:?}"),
        };
        assert_eq!(master("--up"), None);
        assert_eq!(master("--up -p 7 -n head"), Some(Host::Name("head".into(), 7)));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for line in [
            "",
            "a b",
            "-n head dest",
            "-n head",
            "-n head -m 3 . dest",
            "-p 0 /srv",
            "-m 17 /srv",
            "--digest x -n head . dest",
            "--digest md5:00 -n head . dest",
            "-r 1 /srv",
            "-q /srv",
            "-s /srv",
            "-o /srv",
            "--fsync /srv",
            "--print-digest -p 1 /srv",
            "--print-digest -q /srv",
            "--print-digest --no-cache /srv",
            "--print-digest -n head /srv",
            "-n head --log f . dest",
            "-w 3 /srv",
            "--nonsense",
            "-n he:ad:1 . dest",
            "-n head:x . dest",
            "-n head .. dest",
            "-n head a/../../b dest",
            "--up /srv",
            "--up -q",
            "--up --print-digest",
            "--up -x",
            "--up --max-clients 9",
            "--up --max-memory 9",
            "--print-digest --max-clients 9 /srv",
            "--print-digest --max-memory 9 /srv",
            "--up -n he:ad:1",
        ] {
            assert!(parsed(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn help_names_every_option() {
        for option in [
            "-p",
            "-m",
            "--head",
            "-x",
            "--daemon",
            "--cache",
            "--no-cache",
            "--log",
            "-n",
            "-r",
            "-s",
            "-o",
            "-q",
            "--digest",
            "--linger",
            "--fsync",
            "--delete",
            "--keep",
            "--keep-dirs",
            "--dry-run",
            "--copy-dest",
            "--worker",
            "--max-clients",
            "--max-memory",
            "-D",
            "--help",
            "--version",
            "--print-digest",
            "--up",
        ] {
            assert!(HELP.contains(option), "{option}");
        }
    }
}
