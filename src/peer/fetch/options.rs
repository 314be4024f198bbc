//! What a fetch is told, and what it tells.

use crate::content::digest::Digest;
use crate::control::TransferStats;
use crate::request::FetchRequest;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// A fetch as the state machine is told of it.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// The master's addresses, tried in turn.
    pub masters: Vec<SocketAddr>,
    /// The port on which we serve.
    pub port: u16,
    /// What is wanted.
    pub request: FetchRequest,
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
