//! What is to be fetched, and how patiently: the same for whoever asks.
//!
//! Knows what a person or a boot wants: paths, a pin, tries, how long to serve
//! others. Refuses to know where the master is, which port we serve on and where
//! the files go; those are said beside it by who begins the fetch.

use crate::auth::Key;
use crate::content::digest::Digest;
use crate::content::hex::Hex;
use crate::content::manifest::Selector;
use crate::signature::PublicKey;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

/// How often the master is tried again where nobody says otherwise: the paper,
/// section 3.2, has up to twenty retries.
pub const RETRIES: u32 = 20;

/// What the fetched bytes must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The digest of the manifest, or of the only file.
    Blake3(Digest),
    /// The SHA-256 of the only file; checked where it is stored.
    Sha256([u8; 32]),
}

const BLAKE3: &str = "blake3";
const SHA256: &str = "sha256";

impl Pin {
    /// The pin that `blake3:` or `sha256:` and 64 hexadecimal digits are;
    /// `None` for anything else.
    pub fn parse(text: &str) -> Option<Pin> {
        let (kind, digits) = text.split_once(':')?;
        let digest = Digest::parse(digits)?;
        match kind {
            BLAKE3 => Some(Pin::Blake3(digest)),
            SHA256 => Some(Pin::Sha256(digest.0)),
            _ => None,
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pin::Blake3(digest) => write!(f, "{BLAKE3}:{digest}"),
            Pin::Sha256(sum) => write!(f, "{SHA256}:{}", Hex(sum)),
        }
    }
}

/// How long to serve others after one's own fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Until nobody is connected, at most until twice the time of the fetch
    /// has passed since the start (the paper, section 3.2).
    Twice,
    /// Until nobody is connected, at most this long.
    Millis(u64),
    /// This long, whoever is connected; less where the master is lost, which sends nobody
    /// any more.
    Stay(u64),
}

/// Who signs what may be fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// One of these.
    pub keys: Vec<PublicKey>,
    /// In seconds since 1970: what was signed before is not taken.
    pub not_before_s: u64,
    /// Of a root, for who boots it: the first digits of the generation that was started before it.
    pub started: Option<String>,
    /// The time, where who fetches has a clock that is right: what is signed long after it is
    /// taken with a warning.
    pub now_s: Option<u64>,
}

/// Whom a client asks: masters, the best first. Those behind the first are spare: they are
/// asked where it has not what is wanted, or is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masters {
    /// Addresses in the order in which they are tried, each with the number of its master.
    list: Vec<(usize, SocketAddr)>,
    /// What they have to serve, where that is known before: any other generation is refused.
    pub generation: Option<Digest>,
}

impl Masters {
    /// One more, at all of these addresses that no other has.
    pub fn add(&mut self, addrs: impl IntoIterator<Item = SocketAddr>) {
        let number = self.list.last().map_or(0, |(last, _)| last + 1);
        for addr in addrs {
            if !self.addrs().any(|known| known == addr) {
                self.list.push((number, addr));
            }
        }
    }

    /// All addresses, in the order in which they are tried.
    pub fn addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.list.iter().map(|(_, addr)| *addr)
    }

    /// How many addresses there are.
    pub fn addrs_count(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn into_list(self) -> Vec<(usize, SocketAddr)> {
        self.list
    }
}

impl From<Vec<SocketAddr>> for Masters {
    /// One master at all of these.
    fn from(addrs: Vec<SocketAddr>) -> Masters {
        let mut masters = Masters::default();
        masters.add(addrs);
        masters
    }
}

/// What a client is to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Paths below what the master serves, each [below it](source_is_below). A
    /// path lands under its base name, the contents of `dir/.` directly, and `.`
    /// is everything ([`Manifest::select`]). As one line of the conversation they
    /// take at most [`JOIN_LEN_MAX`] bytes.
    ///
    /// [`Manifest::select`]: crate::content::manifest::Manifest::select
    /// [`JOIN_LEN_MAX`]: crate::control::JOIN_LEN_MAX
    pub sources: Vec<Vec<u8>>,
    /// The sources are patterns ([`content::patterns`]), and what fits them is fetched.
    ///
    /// [`content::patterns`]: crate::content::patterns
    pub are_patterns: bool,
    /// Patterns of what is left out, as of [`Patterns::exclude`].
    ///
    /// [`Patterns::exclude`]: crate::content::patterns::Patterns::exclude
    pub excludes: Vec<Vec<u8>>,
    /// Bytes that are kept of what was fetched, the latest, where that is not all of it.
    pub window_bytes: Option<u64>,
    /// What must come; with one source only. Nothing is written before it was
    /// compared, where it can be.
    pub pin: Option<Pin>,
    /// Whose word it is that counts for what comes: one of these has to have signed it. Whatever
    /// it is, where there are none.
    pub trust: Trust,
    /// The key of the cluster, where it has one.
    pub key: Option<Key>,
    /// `-r`: how often to try the master again when it cannot be reached.
    pub retries: u32,
    /// How long to serve others afterwards.
    pub linger: Linger,
    /// A line for the master's log when we first join.
    pub greeting: Option<String>,
}

impl FetchRequest {
    /// These sources, whatever they are, as one fetches who says nothing else.
    pub fn of(sources: Vec<Vec<u8>>) -> FetchRequest {
        FetchRequest {
            sources,
            are_patterns: false,
            excludes: Vec::new(),
            window_bytes: None,
            pin: None,
            trust: Trust::default(),
            key: None,
            retries: RETRIES,
            linger: Linger::Twice,
            greeting: None,
        }
    }

    /// Which part of a tree it is.
    pub fn selector(&self) -> Selector {
        Selector {
            sources: self.sources.clone(),
            are_patterns: self.are_patterns,
            excludes: self.excludes.clone(),
        }
    }

    /// Older masters can do what is wanted, if the patterns are names of files.
    pub(crate) fn may_be_paths(&self) -> bool {
        self.excludes.is_empty() && self.window_bytes.is_none() && self.trust.keys.is_empty()
    }

    /// Older masters cannot do what is wanted.
    pub(crate) fn needs_options(&self) -> bool {
        self.are_patterns || !self.may_be_paths()
    }
}

/// Whether a source is a path that stays below what is served, symlinks aside:
/// not empty, and never above it by `..` on its way. To be said to a person who
/// typed it; a master is safe from any path.
pub fn source_is_below(source: &[u8]) -> bool {
    let mut depth = 0i32;
    let mut names = source.split(|&b| b == b'/').filter(|name| !matches!(*name, b"" | b"."));
    !source.is_empty()
        && names.all(|name| {
            depth += if name == b".." { -1 } else { 1 };
            depth >= 0
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_go_both_ways_and_others_are_refused() {
        let digits = "5a".repeat(32);
        for (text, pin) in [
            (format!("blake3:{digits}"), Pin::Blake3(Digest([0x5a; 32]))),
            (format!("sha256:{digits}"), Pin::Sha256([0x5a; 32])),
        ] {
            assert_eq!(Pin::parse(&text), Some(pin));
            assert_eq!(pin.to_string(), text);
        }
        for text in ["", &digits, "blake3:", "md5:00", &format!("md5:{digits}")] {
            assert_eq!(Pin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn masters_have_each_address_once() {
        let addr = |last: u8| SocketAddr::from(([10, 0, 0, last], 5));
        let mut masters = Masters::from(vec![addr(1), addr(2), addr(1)]);
        masters.add([addr(2), addr(3)]);
        masters.add([]);
        masters.add([addr(4)]);
        let list = [(0, addr(1)), (0, addr(2)), (1, addr(3)), (2, addr(4))];
        assert_eq!(masters.into_list(), list);
    }

    #[test]
    fn sources_stay_below_what_is_served() {
        for source in [".", "a", "/a", "a/../b", "a/.", "./", "/", "..."] {
            assert!(source_is_below(source.as_bytes()), "{source}");
        }
        for source in ["", "..", "/..", "a/../..", "a/../../b", "./.."] {
            assert!(!source_is_below(source.as_bytes()), "{source}");
        }
    }
}
