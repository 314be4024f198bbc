//! What a fetch is told, and what it tells.

use crate::content::digest::Digest;
use crate::control::TransferStats;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// What the fetched bytes must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The digest of the manifest, or of the only file.
    Blake3(Digest),
    /// The SHA-256 of the only file; checked where it is stored.
    Sha256([u8; 32]),
}

/// How long to serve others after one's own fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Until nobody is connected, at most until twice the time of the fetch
    /// has passed since the start (the XGet paper, section 3.2).
    Twice,
    /// Until nobody is connected, at most this long.
    Millis(u64),
}

/// What is to be fetched, from whom, and how.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// The master's addresses, tried in turn.
    pub masters: Vec<SocketAddr>,
    /// Paths below the served directory.
    pub sources: Vec<Vec<u8>>,
    /// The port on which we serve.
    pub port: u16,
    /// What it must be.
    pub pin: Option<Pin>,
    /// `-r`: how often to try the master again.
    pub retries: u32,
    /// How long to serve others.
    pub linger: Linger,
    /// A line for the master's log when we first join.
    pub greeting: Option<String>,
}

/// How far a fetch is, for people.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes and times.
    pub stats: TransferStats,
    /// Files of the generation, once known.
    pub files: u64,
    /// What is going on, in a word or two.
    pub phase: &'static str,
    /// Bytes that the master has hashed, and all, while it is waited for.
    pub hashing: Option<(u64, u64)>,
    /// The digest of the generation, once its manifest is here.
    pub generation: Option<Digest>,
    /// The address of the master that is spoken to.
    pub master: SocketAddr,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            stats: TransferStats::default(),
            files: 0,
            phase: "",
            hashing: None,
            generation: None,
            master: SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }
}
