//! What is typed between `xget run` and the command.
//!
//! The options of a fetch that make sense here are read as a fetch reads them; the others are
//! refused. Acts on nothing.

use crate::cli::{self, Fetch};
use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::path::PathBuf;

const MIB: u64 = 1 << 20;

pub struct Options {
    /// A fetch of nothing yet; from no master where none was named.
    pub fetch: Box<Fetch>,
    /// `-p`, where it is said.
    pub port: Option<u16>,
    pub debug: u32,
    pub cache_dir: Option<PathBuf>,
    /// What the cache may take when the command begins.
    pub cache_bytes_max: Option<u64>,
    pub command: Vec<OsString>,
}

/// Takes what stands behind the verb; the error is for the user.
pub fn parse(mut args: Vec<OsString>) -> Result<Options, String> {
    let Some(end) = args.iter().position(|arg| arg == "--") else {
        return Err("a command stands behind `--`: xget run -n HEAD -- COMMAND ARG...".into());
    };
    let command = args.split_off(end).split_off(1);
    if command.is_empty() {
        return Err("there is no command behind `--`".into());
    }
    let (mut cache_dir, mut cache_bytes_max, mut port) = (None, None, None);
    // As a fetch has them.
    let mut passed: Vec<OsString> = Vec::new();
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        let name = match arg {
            Arg::Short('q') => {
                passed.push("-q".into());
                continue;
            }
            Arg::Short(letter @ ('n' | 'p' | 'r' | 'D')) => format!("-{letter}"),
            Arg::Long(name @ ("linger" | "max-clients" | "max-memory")) => format!("--{name}"),
            Arg::Long("cache-dir") => {
                cache_dir = Some(value(&mut parser)?.into());
                continue;
            }
            Arg::Long("cache-max") => {
                cache_bytes_max = Some(mebibytes(&value(&mut parser)?)?);
                continue;
            }
            other => return Err(refusal(&other)),
        };
        let value = value(&mut parser)?;
        if name == "-p" {
            port = value.to_str().and_then(|port| port.parse().ok());
        }
        passed.extend([name.into(), value]);
    }
    passed.extend([".", "cache"].map(OsString::from));
    let (fetch, debug) = cli::parse_get(passed)?;
    let fetch = Box::new(fetch);
    Ok(Options { fetch, port, debug, cache_dir, cache_bytes_max, command })
}

fn value(parser: &mut Parser) -> Result<OsString, String> {
    parser.value().map_err(|error| error.to_string())
}

fn mebibytes(value: &OsString) -> Result<u64, String> {
    let parsed = value.to_str().and_then(|text| text.parse::<u64>().ok());
    parsed.and_then(|mib| mib.checked_mul(MIB)).ok_or_else(|| {
        format!("--cache-max wants a number of MiB, not {:?}", value.to_string_lossy())
    })
}

fn refusal(arg: &Arg) -> String {
    match arg {
        Arg::Value(word) => {
            format!("the command stands behind `--`: -- {} ...", word.to_string_lossy())
        }
        Arg::Short(letter) => format!("-{letter} is no option of xget run; see xget run --help"),
        Arg::Long(name) => format!("--{name} is no option of xget run; see xget run --help"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer::request::Linger;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn options_are_those_of_a_fetch_and_the_rest_is_the_commands() {
        let options = parsed(
            "-n head:99 -r 3 -q --linger 7 --cache-dir /c --cache-max 2 -D 2 -- ls -n x -- y",
        );
        let options = options.unwrap();
        assert_eq!(options.command, ["ls", "-n", "x", "--", "y"]);
        assert_eq!(options.cache_dir, Some("/c".into()));
        assert_eq!((options.cache_bytes_max, options.debug), (Some(2 << 20), 2));
        let fetch = options.fetch;
        assert!(fetch.quiet);
        let request = fetch.task.request;
        assert_eq!((request.retries, request.linger), (3, Linger::Millis(7000)));
        assert!(parsed("-- true").unwrap().fetch.masters.is_empty());
        assert_eq!(fetch.masters.len(), 1);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, why) in [
            ("", "behind `--`"),
            ("-n head true", "behind `--`"),
            ("-n head true -- x", "-- true"),
            ("-n head --", "no command"),
            ("-n head --delete -- true", "--delete is no option"),
            ("-n head -s -- true", "-s is no option"),
            ("-n head --digest x -- true", "--digest is no option"),
            ("-n he:ad:1 -- true", "no host"),
            ("-n head -p 0 -- true", "-p"),
            ("-n head --cache-max x -- true", "--cache-max"),
            ("-n -- true", "-n"),
        ] {
            let why_not = parsed(line).err().unwrap_or_default();
            assert!(why_not.contains(why), "{line:?}: {why_not:?}");
        }
    }
}
