//! What a fetch is given, and its progress for people.
//!
//! Knows addresses and counts. Refuses to know the phases by more than a word.

use crate::content::digest::Digest;
use crate::content::patterns;
use crate::control::{
    ClientMessage, JoinOptions, TransferStats, VERSION, VERSION_MIN, VERSION_PLAIN,
};
use crate::request::{FetchRequest, Masters};
use core::net::SocketAddr;

/// Of a master that does not know [`JoinOptions`].
pub(super) const TOO_OLD: &str = "it is too old for patterns in SRC, --exclude, --trust, and DEST `-` without --spool; \
     put a newer xget there, or do without these";

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
    /// What is here when it is interrupted is found again by the same command.
    pub is_resumed: bool,
}

impl FetchOptions {
    /// In which version of the conversation a master is asked first: older ones understand the
    /// plain one.
    pub(super) fn version(&self) -> u32 {
        if self.request.needs_options() { VERSION } else { VERSION_PLAIN }
    }

    /// How it is asked for, in a version of the conversation; by who joins again with the
    /// generation that it has a part of.
    pub(super) fn join_message(&self, version: u32, was_in: Option<Digest>) -> ClientMessage {
        let request = &self.request;
        let mut sources = request.sources.clone();
        if version == VERSION && !request.are_patterns {
            sources.iter_mut().for_each(|source| *source = patterns::quote(source));
        }
        if version < VERSION && request.are_patterns {
            sources.iter_mut().for_each(|source| *source = patterns::unquote(source));
        }
        let options = JoinOptions {
            generation: was_in.filter(|_| version > VERSION_MIN),
            excludes: request.excludes.clone(),
            window_bytes: request.window_bytes,
            is_signed: !request.trust.keys.is_empty(),
        };
        ClientMessage::Join { version, port: self.port, sources, options }
    }
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
