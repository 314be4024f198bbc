//! `xget find`: who on the network has something.

use super::json::Object;
use super::network::{self, PATIENCE};
use crate::cli::sources::selector;
use crate::console::{answer, report};
use crate::failed::{Failed, USAGE};
use crate::os::signal;
use lexopt::{Arg, Parser};
use peer::content::manifest::Selector;
use peer::discovery::Heard;
use std::ffi::OsString;
use std::fmt::Write;

pub const HELP: &str = "\
usage: xget find [--json] SRC...

Lists the masters on the links of this machine that have all of SRC, a line for each,
the first to answer first: address, bytes of all files, digest of what a fetch of SRC
gives (--digest takes it). SRC is as of a fetch, and may be a pattern. It ends 1.5 s
after the first answer (who hashes yet is waited for), or after 10 s.

  --json             one list of objects: address, bytes, digest

exit status: 0 somebody has it; 2 usage; 3 nobody says so within 10 s
";

pub fn run(args: Vec<OsString>) -> Result<(), Failed> {
    let (wanted, is_json) = parse(args).map_err(|why| Failed::new(why, USAGE))?;
    signal::watch_end();
    let found = network::ask(&wanted, None, PATIENCE, false)?;
    if found.masters.is_empty() {
        return Err(network::nobody(&found, &wanted));
    }
    if let Some(who) = network::who_hashes(&found) {
        report(&format!("still hashing, and may have it: {who}"));
    }
    let masters = found.listed();
    answer(&if is_json { json(&masters) } else { lines(&masters) })
}

fn parse(args: Vec<OsString>) -> Result<(Selector, bool), String> {
    let (mut sources, mut is_json) = (Vec::new(), false);
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        match arg {
            Arg::Long("json") => is_json = true,
            Arg::Value(source) => sources.push(source),
            other => return Err(other.unexpected().to_string() + "; see xget find --help"),
        }
    }
    if sources.is_empty() {
        return Err("what is to be found? xget find SRC...".into());
    }
    let (wanted, _) = selector(sources, Vec::new())?;
    Ok((wanted, is_json))
}

fn lines(found: &[Heard]) -> String {
    let rows = found.iter().map(|heard| (heard.addr.to_string(), heard));
    let rows: Vec<_> = rows.collect();
    let width = rows.iter().map(|(addr, _)| addr.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (addr, heard)| {
        let _ = writeln!(text, "{addr:width$}  {:>14}  blake3:{}", heard.bytes, heard.digest);
        text
    })
}

fn json(found: &[Heard]) -> String {
    let object = |heard: &Heard| {
        let object = Object::new().text("address", &heard.addr.to_string());
        let digest = format!("blake3:{}", heard.digest);
        object.number("bytes", heard.bytes).text("digest", &digest).end()
    };
    let objects: Vec<String> = found.iter().map(object).collect();
    format!("[{}]\n", objects.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer::content::digest::Digest;

    fn parsed(line: &str) -> Result<(Selector, bool), String> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn names_are_patterns_and_none_is_no_question() {
        let (wanted, is_json) = parsed("--json a b*").unwrap();
        assert!(
            is_json && wanted.are_patterns && wanted.sources == [b"a".to_vec(), b"b*".to_vec()]
        );
        let (wanted, _) = parsed("a\\x2d.mount").unwrap();
        assert!(!wanted.are_patterns && wanted.sources == [b"a\\x2d.mount".to_vec()]);
        for line in ["", "--json", "-n x a", "../a", "--nonsense a"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn masters_are_lines_or_one_list() {
        let heard = |addr: &str| Heard {
            addr: addr.parse().unwrap(),
            master: 1,
            bytes: 1_234,
            digest: Digest([0xab; 32]),
        };
        let found = [heard("10.0.0.1:7"), heard("[fe80::1%3]:7")];
        let digest = "ab".repeat(32);
        let first = format!("10.0.0.1:7               1234  blake3:{digest}\n");
        assert!(lines(&found).starts_with(&first), "{}", lines(&found));
        let list: serde_json::Value = serde_json::from_str(&json(&found)).unwrap();
        assert_eq!(list[1]["address"], "[fe80::1%3]:7");
        assert_eq!(list[0]["digest"], format!("blake3:{digest}"));
        assert!(list[0]["bytes"] == 1_234 && list.as_array().unwrap().len() == 2);
    }
}
