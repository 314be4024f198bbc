//! The master that a verb asks: how it is named, how it is reached, what it serves.
//!
//! What it says is believed as far as it is verified: the manifest, and within limits.

use super::network;
use crate::boot;
use crate::console::report;
use crate::driver::{Host, MASTER_PORT, Reading, parse_host, resolve};
use crate::failed::{Failed, USAGE, exit_code};
use crate::key_file;
use crate::os::memory;
use lexopt::{Parser, ValueExt};
use peer::auth::Key;
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
/// For what is asked for, and a second more for each so many bytes of it that came: who
/// announces much and brings nothing is given up soon. And for all of it.
const FILE_WITHIN: Duration = Duration::from_secs(60);
const BYTES_PER_S_MIN: u64 = 64 << 10;
const FILE_WITHIN_MAX: Duration = Duration::from_secs(3600);
/// Where others may be asked, who says nothing is left after this part of the patience.
const GREETING_PART: u32 = 3;
/// Bytes of `/.xget/info`, and of what it composes: 65,536 clients and as many nodes.
const INFO_LEN_MAX: u64 = 64 << 10;
const REPORT_LEN_MAX: u64 = 128 << 20;
/// How long masters of the network are waited for: two questions.
const ON_NETWORK: Patience = Patience { first_ms: 2_500, others_ms: 500, awaits_hashing: false };
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

    /// Where only a port is said, or nothing.
    pub fn on_port(port: Option<u16>) -> Named {
        Named { masters: None, port }
    }

    /// Those that may be asked, the first first: named here, in the environment, those that
    /// this system came from, or this machine.
    pub fn hosts(&self) -> Result<Vec<Host>, Failed> {
        let told = self.told()?;
        if !told.is_empty() {
            return Ok(told);
        }
        let port = self.port.unwrap_or(MASTER_PORT);
        Ok(vec![Host::Addr(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))])
    }

    /// The same without this machine: none where nothing says which.
    pub fn told(&self) -> Result<Vec<Host>, Failed> {
        let port = self.port.unwrap_or(MASTER_PORT);
        let variable = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
        if let Some(text) = self.masters.as_ref().or(variable.as_ref()) {
            let hosts = text.split(',').map(|host| parse_host(host, port));
            return hosts.collect::<Result<_, _>>().map_err(|why| Failed::new(why, USAGE));
        }
        match self.port {
            None => Ok(boot::booted().masters),
            Some(_) => Ok(Vec::new()),
        }
    }

    /// What the first says that answers, and a session with it.
    pub fn ask<T>(
        &self,
        question: impl FnMut(&mut Master) -> Result<T, Failed>,
    ) -> Result<(T, Master), Failed> {
        self.ask_in(b"", PATIENCE, question)
    }

    /// The same; where none is named and this machine has none, whoever the network has.
    pub fn ask_any<T>(
        &self,
        mut question: impl FnMut(&mut Master) -> Result<T, Failed>,
    ) -> Result<(T, Master), Failed> {
        self.ask(&mut question).or_else(|failed| {
            if !self.is_open() || !is_passed_over(&failed) {
                return Err(failed);
            }
            let mut master = discover(&failed)?;
            Ok((question(&mut master)?, master))
        })
    }

    /// Nothing says which master is meant.
    fn is_open(&self) -> bool {
        let has_variable = std::env::var_os(VARIABLE).is_some_and(|text| !text.is_empty());
        let is_named = self.masters.is_some() || self.port.is_some() || has_variable;
        !is_named && boot::booted().masters.is_empty()
    }

    /// The same in the tree of this name, and how long each answer is waited for. Who cannot be
    /// reached, falls silent or is no master is one of several that may be away: only the words
    /// of a liar are not passed over.
    pub fn ask_in<T>(
        &self,
        aname: &'static [u8],
        patience: Duration,
        mut question: impl FnMut(&mut Master) -> Result<T, Failed>,
    ) -> Result<(T, Master), Failed> {
        let hosts = self.hosts()?;
        let mut failed = Failed { reasons: Vec::new(), status: exit_code(Status::Connection) };
        for (at, host) in hosts.iter().enumerate() {
            let is_last = at + 1 == hosts.len();
            let greeting = if is_last { patience } else { patience / GREETING_PART };
            let asked = Master::call(host, aname, (patience, greeting))
                .and_then(|mut master| Ok((question(&mut master)?, master)));
            match asked {
                Err(other) if is_passed_over(&other) => {
                    failed.reasons.extend(other.reasons);
                    failed.status = other.status;
                }
                asked => return asked,
            }
        }
        Err(failed)
    }
}

/// The master of this network, if there is one, or all serve the same.
fn discover(failed: &Failed) -> Result<Master, Failed> {
    let found = network::ask(&Selector::of_paths(&[b"."]), None, ON_NETWORK, false)?;
    let listed = found.listed();
    let lines = listed.iter().take(LISTED_MAX).map(|heard| heard.addr.to_string());
    match found.choice(None) {
        Choice::Same(masters) => {
            let addrs: Vec<SocketAddr> = masters.addrs().collect();
            let (reading, addr) = Reading::connect(&addrs, (b"", key()?.as_ref()), PATIENCE)
                .map_err(|error| {
                    let text = format!("{} was heard of, and does not answer", addrs[0]);
                    Failed::new(
                        format!("{text}: {}", reason(&error)),
                        exit_code(Status::Connection),
                    )
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

fn is_passed_over(failed: &Failed) -> bool {
    [Status::Connection, Status::Source].map(exit_code).contains(&failed.status)
}

/// Of this machine, or where `XGET_KEY` says.
pub fn key() -> Result<Option<Key>, Failed> {
    key_file::read(None).map_err(|why| Failed::new(why, USAGE))
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
    fn call(
        host: &Host,
        aname: &'static [u8],
        (patience, greeting): (Duration, Duration),
    ) -> Result<Master, Failed> {
        let away = |why: String| {
            let advice = "start one there (`xget DIR`), or name another with -n";
            Failed::new(format!("{why}; {advice}"), exit_code(Status::Connection))
        };
        let addrs = resolve(host).map_err(away)?;
        let (mut reading, addr) = Reading::connect(&addrs, (aname, key()?.as_ref()), greeting)
            .map_err(|error| {
                let addr = addrs.first().map(SocketAddr::to_string).unwrap_or_default();
                away(format!("no master answers at {addr}: {}", reason(&error)))
            })?;
        reading.set_patience(patience);
        Ok(Master { addr, reading })
    }

    /// A text of `/.xget`.
    pub fn report(&mut self, file: &str) -> Result<String, Failed> {
        let mut end = term(Instant::now());
        let path = [&b".xget"[..], file.as_bytes()];
        let bytes = self.reading.file(&path, REPORT_LEN_MAX, &mut end);
        let bytes = bytes.map_err(|error| self.unread(&format!("/.xget/{file}"), &error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What a directory holds, as records of 9P2000.u.
    pub fn directory(&mut self, path: &[&[u8]], end: Instant) -> Result<Vec<u8>, Failed> {
        let bytes = self.reading.file(path, REPORT_LEN_MAX, &mut |_| end);
        bytes.map_err(|error| self.unread("a directory", &error))
    }

    /// All that is served, verified against what the master says of it.
    pub fn manifest(&mut self) -> Result<Manifest, Failed> {
        let mut why = "";
        let mut end = term(Instant::now());
        for _ in 0..MANIFEST_TRIES {
            let info = self.info()?;
            check_memory(info.manifest_len)?;
            let path = [&b".xget"[..], b"manifest"];
            let read = self.reading.file(&path, info.manifest_len, &mut end);
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
        let mut end = term(Instant::now());
        let read = self.reading.file(&[b".xget", b"info"], INFO_LEN_MAX, &mut end);
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

/// Until when bytes are waited for that are asked for since then, told of those that came.
fn term(begin: Instant) -> impl FnMut(usize) -> Instant {
    let mut have = 0;
    move |more| {
        have += more as u64;
        let within = FILE_WITHIN + Duration::from_secs(have / BYTES_PER_S_MIN);
        begin + within.min(FILE_WITHIN_MAX)
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
        ErrorKind::InvalidData if error.get_ref().is_none() => "what it says is no 9P".into(),
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
    fn who_brings_nothing_is_given_up_soon_and_who_brings_much_late() {
        let begin = Instant::now();
        let mut end = term(begin);
        let seconds = |end: Instant| (end - begin).as_secs();
        assert_eq!(seconds(end(0)), 60);
        (0..9_000).for_each(|_| _ = end(1));
        assert_eq!(seconds(end(0)), 60, "a byte now and then is nothing");
        assert_eq!(seconds(end(600 << 16)), 660);
        assert_eq!(seconds(end(600 << 16)), 1_260, "of another try, too");
        assert_eq!(seconds(end(1 << 40)), 3_600);
    }

    #[test]
    fn masters_are_named_one_after_the_other() {
        let named = |text: &str, port| Named { masters: Some(text.into()), port };
        let hosts = named("a,10.0.0.1:7", Some(9)).hosts().unwrap_or_default();
        assert_eq!(hosts, [parse_host("a", 9).unwrap(), parse_host("10.0.0.1", 7).unwrap()]);
        assert!(named("a,,b", None).hosts().is_err());
    }
}
