//! What a fetch is given, and its progress for people.
//!
//! Knows addresses and counts. Refuses to know the phases by more than a word.

use crate::content::digest::Digest;
use crate::control::TransferStats;
use crate::request::{FetchRequest, Masters};
use core::net::SocketAddr;

/// The options of a fetch.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Whom to ask.
    pub masters: Masters,
    /// The port on which we serve.
    pub port: u16,
    /// What is to be fetched, and how patiently.
    pub request: FetchRequest,
    /// Bytes of memory that may be used, as far as is known.
    pub memory_bytes: u64,
    /// Fifos, sockets and devices are made where the files go; else they are left out.
    pub makes_specials: bool,
}

/// How far a fetch is, for people.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes and times.
    pub stats: TransferStats,
    /// Files of the generation; 0 until its manifest is here.
    pub files: u64,
    /// What is going on, in a word or two.
    pub phase: &'static str,
    /// Bytes that the master has hashed, and all, while it is waited for.
    pub hashing: Option<(u64, u64)>,
    /// A master has answered, with a generation or that it hashes first.
    pub is_answered: bool,
    /// The digest of the generation, once its manifest is here.
    pub generation: Option<Digest>,
    /// The master's address, of several the one that is tried now.
    pub master: SocketAddr,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            stats: TransferStats::default(),
            files: 0,
            phase: "",
            hashing: None,
            is_answered: false,
            generation: None,
            master: SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }
}
