//! The options of a client alone, and what they mean together.

use super::sources;
use super::values::{file, first_typed, number, parse_date, parse_pin, text, text_typed};
use crate::driver::{FetchTask, Host, Limits};
use crate::store::device::DeviceOptions;
use crate::store::stream::{STDOUT, StreamOptions, WINDOW_MIB, WINDOW_MIB_MIN};
use crate::store::writer::{Policy, Purpose};
use lexopt::Parser;
use peer::content::manifest::Selector;
use peer::content::patterns::Patterns;
use peer::request::{FetchRequest, Linger, Masters, Pin, RETRIES, Trust};
use std::ffi::OsString;
use std::mem::take;
use std::path::PathBuf;

/// A worker looks again after this.
const ROUND_MS: u64 = 600_000;

/// A client's work.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// As they were written, the best first; their names are not yet looked up.
    pub masters: Vec<Host>,
    /// All the rest; its `masters` are none until these are looked up.
    pub task: FetchTask,
    pub quiet: bool,
    /// A file with the key of the cluster.
    pub key: Option<PathBuf>,
    /// Public keys, or files with them.
    pub trust: Vec<OsString>,
    /// Files with patterns.
    pub keep: Vec<PathBuf>,
    /// Where the destination is a device.
    pub device: DeviceOptions,
    /// Where it is standard output.
    pub stream: StreamOptions,
}

/// What only a client is asked for.
// fields: one for each option
#[derive(Default)]
pub struct ClientOptions {
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
    device: DeviceOptions,
    excludes: Vec<OsString>,
    stream: StreamOptions,
    trust: Vec<OsString>,
    not_before_s: Option<u64>,
}

impl Fetch {
    /// It goes to standard output.
    pub fn is_stream(&self) -> bool {
        self.task.dest.as_os_str() == STDOUT
    }
}

impl ClientOptions {
    /// The name of one that was typed.
    #[inline(never)]
    pub fn typed(&self) -> Option<&'static str> {
        let path = text_typed(&self.copies, "--copy-dest");
        self.device.typed().or(self.stream.typed()).or(path).or(first_typed(&[
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
            (!self.excludes.is_empty(), "--exclude"),
            (!self.trust.is_empty(), "--trust"),
            (self.not_before_s.is_some(), "--not-before"),
        ]))
    }

    /// What is not to be had; for who does not fetch.
    pub fn take_excludes(&mut self) -> Vec<OsString> {
        take(&mut self.excludes)
    }

    /// Whether it is one of these.
    pub fn take_short(&mut self, letter: char, parser: &mut Parser) -> Result<bool, String> {
        match letter {
            'r' => self.retries = Some(number(parser, "-r", 0..=1_000_000)?),
            's' | 'o' => self.plain_attributes = true,
            'q' => self.quiet = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether it is one of these.
    #[inline(never)]
    pub fn take_long(&mut self, name: &str, parser: &mut Parser) -> Result<bool, String> {
        match name {
            "fsync" => self.sync = true,
            "delete" => self.delete = true,
            "dry-run" => self.dry_run = true,
            "worker" => self.worker = true,
            "copy-dest" => self.copies = Some(file(parser)?),
            "keep" => self.keep.push(file(parser)?),
            "keep-dirs" => self.keep_dirs = true,
            "digest" => self.pin = Some(parse_pin(&text(parser)?)?),
            "trust" => self.trust.push(parser.value().map_err(|error| error.to_string())?),
            "not-before" => self.not_before_s = Some(parse_date(&text(parser)?)?),
            "linger" => {
                let seconds: u64 = number(parser, "--linger", 0..=1_000_000)?;
                self.linger = Some(Linger::Millis(seconds * 1000));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether it is one of these, which the program of an initramfs has not.
    pub fn take_long_of_whole(&mut self, name: &str, parser: &mut Parser) -> Result<bool, String> {
        match name {
            "window" => {
                let mib = number(parser, "--window", WINDOW_MIB_MIN..=1_000_000)?;
                self.stream.window_mib = Some(mib);
            }
            "spool" => self.stream.spool = Some(file(parser)?),
            "force" => self.device.force = true,
            "discard" => self.device.discards = true,
            "verify" => self.device.verifies = true,
            "exclude" => {
                self.excludes.push(parser.value().map_err(|error| error.to_string())?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What they mean together; `paths` are the sources and the destination.
    pub fn fetch<const WHOLE: bool>(
        mut self,
        masters: Vec<Host>,
        mut paths: Vec<OsString>,
        limits: Limits,
    ) -> Result<Fetch, String> {
        let dest = paths.pop().ok_or("what is to be fetched, and where to? SRC... DEST")?;
        if paths.is_empty() {
            return Err(match WHOLE {
                true => {
                    "one path is not enough: SRC... DEST; a verb comes first (xget ls -n MASTER)"
                }
                false => "one path is not enough: SRC... DEST",
            }
            .into());
        }
        let (selector, keep) = match WHOLE {
            true => sources::selector(paths, self.take_excludes())?,
            false => {
                let sources = sources::below(paths)?;
                (Selector { sources, ..Selector::default() }, Patterns::default())
            }
        };
        self.check_worker()?;
        if self.pin.is_some() && selector.sources.len() > 1 {
            return Err("--digest pins one SRC; fetch them one by one".into());
        }
        // Who keeps all is a client as any other.
        let is_window = WHOLE && dest == STDOUT && self.stream.spool.is_none();
        let window_mib = self.stream.window_mib.unwrap_or(WINDOW_MIB);
        if self.not_before_s.is_some() && self.trust.is_empty() {
            return Err("--not-before is about what is signed: --trust says by whom".into());
        }
        let not_before_s = self.not_before_s.unwrap_or_default();
        let request = FetchRequest {
            trust: Trust { not_before_s, ..Trust::default() },
            window_bytes: is_window.then_some(window_mib << 20),
            pin: self.pin,
            retries: self.retries.unwrap_or(RETRIES),
            linger: self.linger(),
            are_patterns: selector.are_patterns,
            excludes: selector.excludes,
            ..FetchRequest::of(selector.sources)
        };
        let purpose = self.purpose();
        let task = FetchTask {
            keep_root_attributes: self.delete && !self.keep_dirs,
            keep_attributes: !self.plain_attributes,
            keep_dirs: self.keep_dirs,
            sync: self.sync,
            policy: Policy { purpose, copies: self.copies, keep, ..Policy::default() },
            limits,
            // The masters are looked up when it begins.
            ..FetchTask::of(Masters::default(), request, dest.into())
        };
        let ClientOptions { quiet, keep, device, stream, trust, .. } = self;
        Ok(Fetch { masters, task, quiet, key: None, trust, keep, device, stream })
    }

    fn check_worker(&self) -> Result<(), String> {
        let writes = [
            (self.delete, "--delete"),
            (self.dry_run, "--dry-run"),
            (!self.keep.is_empty(), "--keep"),
            (self.sync, "--fsync"),
            (self.keep_dirs, "--keep-dirs"),
        ];
        let path = text_typed(&self.copies, "--copy-dest");
        match first_typed(&writes).or(path).filter(|_| self.worker) {
            Some(name) => Err(format!("{name} does nothing for a --worker, which writes nothing")),
            None => Ok(()),
        }
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
