//! The master that a verb asks: how it is named, how it is reached, what it serves.
//!
//! What it says is believed as far as it is verified: the manifest, and within limits.

use super::network;
use crate::boot;
use crate::console::report;
use crate::driver::{Host, MASTER_PORT, Reading, parse_host, resolve};
use crate::failed::{Failed, USAGE, exit_code};
use crate::os::memory;
use lexopt::{Parser, ValueExt};
use peer::content::digest::Digest;
use peer::content::manifest::{Manifest, Selector};
use peer::control::printable;
use peer::discovery::{Choice, Patience};
use peer::failure::Status;
use peer::fetch::{MANIFEST_LEN_MAX, MEMORY_FACTOR};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// What names the master where `-n` does not.
const VARIABLE: &str = "XGET_MASTER";
/// For each answer. A master that looks at its tree anew answers within it.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a file, and of one whose length is known for each so many bytes a second more.
const FILE_WITHIN: Duration = Duration::from_secs(60);
const BYTES_PER_S_MIN: u64 = 64 << 10;
/// Bytes of `/.xget/info`, and of what it composes: 65,536 clients and as many nodes.
const INFO_LEN_MAX: u64 = 64 << 10;
const REPORT_LEN_MAX: u64 = 128 << 20;
/// How long masters of the network are waited for: two questions.
const ON_NETWORK: Patience = Patience { first_ms: 2_500, others_ms: 500 };
/// Masters that are listed where one has to be chosen.
const LISTED_MAX: usize = 16;
/// A manifest that is another one when it is read than when it was announced.
const MANIFEST_TRIES: u32 = 3;

/// `-n` and `-p` of a verb.
#[derive(Clone, Debug, Default)]
pub struct Named {
    masters: Option<String>,
    port: Option<u16>,
}

impl Named {
    /// Whether it is one of these.
    pub fn take(&mut self, letter: char, parser: &mut Parser) -> Result<bool, String> {
        let mut text = || {
            let value = parser.value().map_err(|error| error.to_string())?;
            value.string().map_err(|error| error.to_string())
        };
        match letter {
            'n' => self.masters = Some(text()?),
            'p' => {
                let port = text()?;
                let number = port.parse().ok().filter(|port| *port > 0);
                self.port = Some(number.ok_or_else(|| format!("-p {port:?} is no port"))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Those that may be asked, the first first: named here, in the environment, those that
    /// this system came from, or this machine.
    pub fn hosts(&self) -> Result<Vec<Host>, Failed> {
        let port = self.port.unwrap_or(MASTER_PORT);
        let variable = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
        if let Some(text) = self.masters.as_ref().or(variable.as_ref()) {
            let hosts = text.split(',').map(|host| parse_host(host, port));
            return hosts.collect::<Result<_, _>>().map_err(|why| Failed::new(why, USAGE));
        }
        let booted = boot::booted().masters;
        if self.port.is_none() && !booted.is_empty() {
            return Ok(booted);
        }
        Ok(vec![Host::Addr(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))])
    }

    /// A session with the first that answers the call.
    pub fn reach(&self) -> Result<Master, Failed> {
        self.reach_tree(b"", PATIENCE)
    }

    /// The same; where none is named and this machine has none, whoever the network has.
    pub fn reach_any(&self) -> Result<Master, Failed> {
        self.reach().or_else(|failed| match self.is_open() {
            true => discover(&failed),
            false => Err(failed),
        })
    }

    /// Nothing says which master is meant.
    fn is_open(&self) -> bool {
        let has_variable = std::env::var_os(VARIABLE).is_some_and(|text| !text.is_empty());
        let is_named = self.masters.is_some() || self.port.is_some() || has_variable;
        !is_named && boot::booted().masters.is_empty()
    }

    /// The same in the tree of this name, and how long each answer is waited for.
    pub fn reach_tree(&self, aname: &[u8], patience: Duration) -> Result<Master, Failed> {
        let mut why = String::new();
        for host in self.hosts()? {
            let addrs = match resolve(&host) {
                Ok(addrs) => addrs,
                Err(error) => {
                    why = error;
                    continue;
                }
            };
            match Reading::connect(&addrs, aname, patience) {
                Ok((reading, addr)) => return Ok(Master { addr, reading }),
                Err(error) => {
                    let addr = addrs.first().map(SocketAddr::to_string).unwrap_or_default();
                    why = format!("no master answers at {addr}: {}", reason(&error));
                }
            }
        }
        let advice = "start one there (`xget DIR`), or name another with -n";
        Err(Failed::new(format!("{why}; {advice}"), exit_code(Status::Connection)))
    }
}

/// The master of this network, if there is one, or all serve the same.
fn discover(failed: &Failed) -> Result<Master, Failed> {
    let found = network::ask(&Selector::of_paths(&[b"."]), None, ON_NETWORK, false)?;
    let lines = found.masters.iter().take(LISTED_MAX).map(|heard| heard.addr.to_string());
    match found.choice(None) {
        Choice::Same(masters) => {
            let addrs: Vec<SocketAddr> = masters.addrs().collect();
            let (reading, addr) = Reading::connect(&addrs, b"", PATIENCE).map_err(|error| {
                let text = format!("{} was heard of, and does not answer", addrs[0]);
                Failed::new(format!("{text}: {}", reason(&error)), exit_code(Status::Connection))
            })?;
            report(&format!("the master is {addr}"));
            Ok(Master { addr, reading })
        }
        Choice::Different => {
            let addrs: Vec<String> = lines.collect();
            let text = "several masters are on this network; say which is meant by -n";
            Err(Failed::new(format!("{text}: {}", addrs.join(", ")), exit_code(Status::Source)))
        }
        Choice::Nobody => {
            let why = failed.reasons.join("; ");
            let text = format!("{why}; and nobody on this network says that it serves anything");
            Err(Failed::new(text, exit_code(Status::Connection)))
        }
    }
}

/// A session with a master.
pub struct Master {
    pub addr: SocketAddr,
    reading: Reading,
}

/// What `/.xget/info` says of what is served.
struct Info {
    generation: Digest,
    manifest_len: u64,
}

impl Master {
    /// A text of `/.xget`.
    pub fn report(&mut self, file: &str) -> Result<String, Failed> {
        let end = Instant::now() + FILE_WITHIN;
        let path = [&b".xget"[..], file.as_bytes()];
        let bytes = self.reading.file(&path, REPORT_LEN_MAX, end);
        let bytes = bytes.map_err(|error| self.unread(&format!("/.xget/{file}"), &error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What a directory holds, as records of 9P2000.u.
    pub fn directory(&mut self, path: &[&[u8]], end: Instant) -> io::Result<Vec<u8>> {
        self.reading.file(path, REPORT_LEN_MAX, end)
    }

    /// All that is served, verified against what the master says of it.
    pub fn manifest(&mut self) -> Result<Manifest, Failed> {
        let mut why = "";
        for _ in 0..MANIFEST_TRIES {
            let info = self.info()?;
            check_memory(info.manifest_len)?;
            let seconds = info.manifest_len / BYTES_PER_S_MIN;
            let end = Instant::now() + FILE_WITHIN + Duration::from_secs(seconds);
            let read = self.reading.file(&[b".xget", b"manifest"], info.manifest_len, end);
            let bytes = match read {
                Err(error) if error.kind() == ErrorKind::FileTooLarge => Vec::new(),
                read => read.map_err(|error| self.unread("/.xget/manifest", &error))?,
            };
            if bytes.len() as u64 == info.manifest_len && Digest::of(&bytes) == info.generation {
                match Manifest::decode(&bytes) {
                    Ok(manifest) => return Ok(manifest),
                    Err(bad) => why = bad.0,
                }
            }
        }
        let why = if why.is_empty() { "its digest is not the one announced" } else { why };
        let text = format!("the manifest of {}: {why}", self.addr);
        Err(Failed::new(text, exit_code(Status::Verification)))
    }

    fn info(&mut self) -> Result<Info, Failed> {
        let end = Instant::now() + FILE_WITHIN;
        let read = self.reading.file(&[b".xget", b"info"], INFO_LEN_MAX, end);
        let bytes = read.map_err(|error| match error.kind() {
            ErrorKind::TimedOut => {
                let text = format!(
                    "{} shows nothing for {} s: it may hash what it serves yet; try later",
                    self.addr,
                    PATIENCE.as_secs()
                );
                Failed::new(text, exit_code(Status::Connection))
            }
            _ => self.unread("/.xget/info", &error),
        })?;
        parse_info(&String::from_utf8_lossy(&bytes)).ok_or_else(|| {
            let text = format!("{} is no master: its /.xget/info says no generation", self.addr);
            Failed::new(text, exit_code(Status::Connection))
        })
    }

    /// Why a file could not be read.
    fn unread(&self, file: &str, error: &io::Error) -> Failed {
        let (status, why) = match error.kind() {
            ErrorKind::NotFound => (
                Status::Source,
                "it has none: it is a client, or a master older than this program".into(),
            ),
            ErrorKind::FileTooLarge => (Status::LocalIo, "it is too long".into()),
            ErrorKind::OutOfMemory => (Status::LocalIo, reason(error)),
            _ => (Status::Connection, reason(error)),
        };
        let text = format!("cannot read {file} of the master {}: {why}", self.addr);
        Failed::new(text, exit_code(status))
    }
}

/// What is free has to hold it three times, as with a fetch.
fn check_memory(manifest_len: u64) -> Result<(), Failed> {
    let free = memory::available();
    let needed = manifest_len.saturating_mul(MEMORY_FACTOR);
    if manifest_len <= MANIFEST_LEN_MAX && needed <= free {
        return Ok(());
    }
    let (needed, free) = (needed.div_ceil(1 << 20), free >> 20);
    let text = format!(
        "the manifest of what is served takes {needed} MiB of memory, and {free} MiB are free"
    );
    Err(Failed::new(text, exit_code(Status::LocalIo)))
}

fn parse_info(text: &str) -> Option<Info> {
    let value = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().map(str::trim)
    };
    Some(Info {
        generation: Digest::parse(value("generation")?.strip_prefix("blake3:")?)?,
        manifest_len: value("index_bytes")?.parse().ok()?,
    })
}

/// In words of our own where the system's say little.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut => "no answer".into(),
        ErrorKind::UnexpectedEof => "it closed the connection".into(),
        ErrorKind::InvalidData => "what it says is no 9P".into(),
        _ => printable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_is_said_in_lines() {
        let digest = Digest::of(b"x");
        let info = format!("protocol 3\ngeneration blake3:{digest}\nindex_bytes 77\nmore 1\n");
        let info = parse_info(&info).unwrap();
        assert_eq!((info.generation, info.manifest_len), (digest, 77));
        let no_bytes = format!("generation blake3:{digest}\n");
        for text in ["", "generation x\nindex_bytes 7\n", &no_bytes] {
            assert!(parse_info(text).is_none(), "{text}");
        }
    }

    #[test]
    fn masters_are_named_one_after_the_other() {
        let named = |text: &str, port| Named { masters: Some(text.into()), port };
        let hosts = named("a,10.0.0.1:7", Some(9)).hosts().unwrap_or_default();
        assert_eq!(hosts, [parse_host("a", 9).unwrap(), parse_host("10.0.0.1", 7).unwrap()]);
        assert!(named("a,,b", None).hosts().is_err());
    }
}
