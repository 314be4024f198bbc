//! The options of a master alone.

use super::values::{file, first_typed, number, text, text_typed};
use crate::driver::Limits;
use lexopt::Parser;
use std::ffi::OsString;
use std::path::PathBuf;

/// Fan-out and number of stripes.
const FAN_OUT: u8 = 4;
const FAN_OUT_MAX: u8 = 16;

/// A master's work.
// fields: one for each option
#[derive(Clone, Debug)]
pub struct Serve {
    pub path: PathBuf,
    pub port: u16,
    pub fan_out: u8,
    /// Copies of the data that the master's uplink carries.
    pub head_copies: u16,
    pub one_file_system: bool,
    /// A file with the key of the cluster.
    pub key: Option<PathBuf>,
    /// Who mounts the plain tree needs no key.
    pub has_free_mounts: bool,
    /// Who asks the network for something finds it here.
    pub is_found: bool,
    pub daemon: bool,
    pub log: Option<PathBuf>,
    pub cache: Cache,
    pub limits: Limits,
    /// Whom it becomes.
    pub user: Option<String>,
    pub is_shut_in: bool,
}

/// Where digests are kept between starts.
#[derive(Clone, Debug)]
pub enum Cache {
    Default,
    File(PathBuf),
    None,
}

/// What only a master is asked for.
#[derive(Default)]
pub struct MasterOptions {
    fan_out: Option<u8>,
    head_copies: Option<u16>,
    daemon: bool,
    log: Option<PathBuf>,
    cache: Option<Cache>,
    is_hidden: bool,
    has_free_mounts: bool,
    user: Option<String>,
}

impl MasterOptions {
    /// The name of one that was typed.
    pub fn typed(&self) -> Option<&'static str> {
        let text = text_typed(&self.log, "--log").or(text_typed(&self.user, "--user"));
        text.or(first_typed(&[
            (self.fan_out.is_some(), "-m"),
            (self.head_copies.is_some(), "--head"),
            (self.daemon, "--daemon"),
            (self.cache.is_some(), "--cache and --no-cache"),
            (self.is_hidden, "--no-discovery"),
            (self.has_free_mounts, "--free-mounts"),
        ]))
    }

    /// Whether it is one of these.
    pub fn take_short(&mut self, letter: char, parser: &mut Parser) -> Result<bool, String> {
        match letter {
            'm' => self.fan_out = Some(number(parser, "-m", 1..=u64::from(FAN_OUT_MAX))?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether it is one of these.
    pub fn take_long(&mut self, name: &str, parser: &mut Parser) -> Result<bool, String> {
        match name {
            "head" => self.head_copies = Some(number(parser, "--head", 1..=1000)?),
            "daemon" => self.daemon = true,
            "cache" => self.cache = Some(Cache::File(file(parser)?)),
            "log" => self.log = Some(file(parser)?),
            "no-cache" => self.cache = Some(Cache::None),
            "user" => self.user = Some(text(parser)?),
            "no-discovery" => self.is_hidden = true,
            "free-mounts" => self.has_free_mounts = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What they mean together.
    pub fn serve(
        self,
        mut paths: Vec<OsString>,
        port: u16,
        one_file_system: bool,
        limits: Limits,
    ) -> Result<Serve, String> {
        let path = paths.pop().ok_or("what is to be served? See xget --help")?.into();
        if !paths.is_empty() {
            return Err(
                "a master serves one path; to fetch, name the master (xget -n HEAD SRC... \
                        DEST) or ask the network (xget get SRC... DEST)"
                    .into(),
            );
        }
        Ok(Serve {
            path,
            port,
            fan_out: self.fan_out.unwrap_or(FAN_OUT),
            head_copies: self.head_copies.unwrap_or(1),
            one_file_system,
            key: None,
            has_free_mounts: self.has_free_mounts,
            is_found: !self.is_hidden,
            daemon: self.daemon,
            log: self.log,
            cache: self.cache.unwrap_or(Cache::Default),
            limits,
            user: self.user,
            is_shut_in: true,
        })
    }
}
