//! The words of the conversation on `/.xget/route`, both ways.
//!
//! One message a line, words parted by one space; source paths are percent
//! encoded, because file names may hold anything but NUL and '/'. Knows the
//! words, not what follows from them (that is `node`).

use crate::content::digest::Digest;
use std::net::{IpAddr, SocketAddr};

/// Version of the conversation and of what follows from it, the stride of `pieces`
/// for one; the first word after `join`.
pub const VERSION: u32 = 2;
/// Longest line either side accepts.
pub const LINE_LEN_MAX: usize = 60_000;

/// What went wrong with a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// Refused, unreachable, or the connection broke.
    Lost,
    /// Connected, and does not answer a probe.
    Frozen,
    /// Answers, and gives nothing.
    Slow,
    /// Sends all the time, and less than a quarter of what is usual.
    Narrow,
    /// Sent bytes that are not what the digest says.
    Wrong,
    /// Does not hold what it should, or errs.
    Refused,
}

const COMPLAINTS: [(Complaint, &str); 6] = [
    (Complaint::Lost, "lost"),
    (Complaint::Frozen, "frozen"),
    (Complaint::Slow, "slow"),
    (Complaint::Narrow, "narrow"),
    (Complaint::Wrong, "wrong"),
    (Complaint::Refused, "refused"),
];

impl Complaint {
    pub fn word(self) -> &'static str {
        COMPLAINTS.iter().find(|(c, _)| *c == self).map_or("lost", |(_, word)| word)
    }
}

/// Where a stripe comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The master itself: `me`, as the paper's `redir` says it.
    Master,
    Node(SocketAddr),
}

/// What a client has to tell of its fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub have_bytes: u64,
    pub total_bytes: u64,
    pub from_master_bytes: u64,
    pub from_peers_bytes: u64,
    pub elapsed_ms: u64,
}

/// From a client to the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// I want these sources and serve what I get on this port.
    Join {
        version: u32,
        port: u16,
        sources: Vec<Vec<u8>>,
    },
    /// That parent does not do for that stripe: another, please.
    Replace {
        stripe: u8,
        source: Source,
        complaint: Complaint,
    },
    Progress(Tally),
    /// All is verified and in place.
    Done(Tally),
    /// I go soon: give my children to others.
    Leave,
}

/// From the master to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// The master is still hashing.
    Wait {
        done_bytes: u64,
        total_bytes: u64,
    },
    /// What the sources are.
    Generation {
        digest: Digest,
        index_len: u64,
        piece_len: u32,
        stripes: u8,
    },
    Parent {
        stripe: u8,
        source: Source,
    },
    /// No: an errno and words.
    Error {
        errno: u16,
        text: String,
    },
}

impl Ask {
    pub fn line(&self) -> String {
        match self {
            Ask::Join { version, port, sources } => {
                let mut line = format!("join {version} {port}");
                for source in sources {
                    line.push(' ');
                    line.push_str(&escape(source));
                }
                line + "\n"
            }
            Ask::Replace { stripe, source, complaint } => {
                format!("replace {stripe} {} {}\n", source_text(*source), complaint.word())
            }
            Ask::Progress(tally) => format!("progress {}\n", tally_text(tally)),
            Ask::Done(tally) => format!("done {}\n", tally_text(tally)),
            Ask::Leave => "leave\n".into(),
        }
    }

    pub fn parse(line: &[u8]) -> Option<Ask> {
        let mut words = words(line)?;
        let ask = match words.next()? {
            "join" => Ask::Join {
                version: number(words.next()?)?,
                port: number(words.next()?)?,
                sources: words.by_ref().map(unescape).collect::<Option<Vec<_>>>()?,
            },
            "replace" => Ask::Replace {
                stripe: number(words.next()?)?,
                source: parse_source(words.next()?)?,
                complaint: parse_complaint(words.next()?)?,
            },
            "progress" => Ask::Progress(parse_tally(&mut words)?),
            "done" => Ask::Done(parse_tally(&mut words)?),
            "leave" => Ask::Leave,
            _ => return None,
        };
        words.next().is_none().then_some(ask)
    }
}

impl Tell {
    pub fn line(&self) -> String {
        match self {
            Tell::Wait { done_bytes, total_bytes } => format!("wait {done_bytes} {total_bytes}\n"),
            Tell::Generation { digest, index_len, piece_len, stripes } => {
                format!("generation {digest} {index_len} {piece_len} {stripes}\n")
            }
            Tell::Parent { stripe, source } => {
                format!("parent {stripe} {}\n", source_text(*source))
            }
            Tell::Error { errno, text } => format!("error {errno} {}\n", escape(text.as_bytes())),
        }
    }

    pub fn parse(line: &[u8]) -> Option<Tell> {
        let mut words = words(line)?;
        let tell = match words.next()? {
            "wait" => Tell::Wait {
                done_bytes: number(words.next()?)?,
                total_bytes: number(words.next()?)?,
            },
            "generation" => Tell::Generation {
                digest: Digest::parse(words.next()?)?,
                index_len: number(words.next()?)?,
                piece_len: number(words.next()?)?,
                stripes: number(words.next()?)?,
            },
            "parent" => Tell::Parent {
                stripe: number(words.next()?)?,
                source: parse_source(words.next()?)?,
            },
            "error" => {
                let errno = number(words.next()?)?;
                let text = words.next().map_or(Some(Vec::new()), unescape)?;
                Tell::Error { errno, text: String::from_utf8_lossy(&text).into_owned() }
            }
            _ => return None,
        };
        words.next().is_none().then_some(tell)
    }
}

fn words(line: &[u8]) -> Option<std::str::Split<'_, char>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Some(std::str::from_utf8(line).ok()?.split(' '))
}

fn number<T: std::str::FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

fn tally_text(t: &Tally) -> String {
    format!(
        "{} {} {} {} {}",
        t.have_bytes, t.total_bytes, t.from_master_bytes, t.from_peers_bytes, t.elapsed_ms
    )
}

fn parse_tally(words: &mut std::str::Split<'_, char>) -> Option<Tally> {
    Some(Tally {
        have_bytes: number(words.next()?)?,
        total_bytes: number(words.next()?)?,
        from_master_bytes: number(words.next()?)?,
        from_peers_bytes: number(words.next()?)?,
        elapsed_ms: number(words.next()?)?,
    })
}

fn parse_complaint(word: &str) -> Option<Complaint> {
    COMPLAINTS.iter().find(|(_, w)| *w == word).map(|(c, _)| *c)
}

/// `ip!port`, as Plan 9 and the original write addresses; IPv4 in IPv6 plain.
pub fn addr_text(addr: SocketAddr) -> String {
    format!("{}!{}", addr.ip().to_canonical(), addr.port())
}

pub fn parse_addr(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix("tcp!").unwrap_or(text);
    let (ip, port) = text.rsplit_once('!')?;
    Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?))
}

fn source_text(source: Source) -> String {
    match source {
        Source::Master => "me".into(),
        Source::Node(addr) => addr_text(addr),
    }
}

fn parse_source(word: &str) -> Option<Source> {
    if word == "me" { Some(Source::Master) } else { parse_addr(word).map(Source::Node) }
}

/// Percent encoding of everything that is not plain in a path.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"/._-+,:=@~".contains(&byte) {
            text.push(byte as char);
        } else {
            text.push('%');
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
    }
    text
}

/// `None` on a bad escape or an empty word.
pub fn unescape(word: &str) -> Option<Vec<u8>> {
    if word.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (pair, after) = rest.split_at_checked(2)?;
        rest = after;
        let digit = |b: u8| (b as char).to_digit(16);
        bytes.push((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_go_both_ways() {
        let tally = Tally {
            have_bytes: 1,
            total_bytes: 2,
            from_master_bytes: 3,
            from_peers_bytes: u64::MAX,
            elapsed_ms: 5,
        };
        let node = Source::Node("[fe80::1]:99".parse().unwrap());
        for ask in [
            Ask::Join { version: 1, port: 9, sources: vec![b".".to_vec(), b"a b\n\xff%".to_vec()] },
            Ask::Replace { stripe: 3, source: node, complaint: Complaint::Frozen },
            Ask::Replace { stripe: 0, source: Source::Master, complaint: Complaint::Wrong },
            Ask::Progress(tally),
            Ask::Done(tally),
            Ask::Leave,
        ] {
            assert_eq!(Ask::parse(ask.line().as_bytes()), Some(ask));
        }
    }

    #[test]
    fn tells_go_both_ways() {
        let digest = Digest::of(b"x");
        for tell in [
            Tell::Wait { done_bytes: 1, total_bytes: 2 },
            Tell::Generation { digest, index_len: 5, piece_len: 4096, stripes: 4 },
            Tell::Parent { stripe: 1, source: Source::Node("10.0.0.1:20004".parse().unwrap()) },
            Tell::Error { errno: 2, text: "no such source: a b".into() },
        ] {
            assert_eq!(Tell::parse(tell.line().as_bytes()), Some(tell));
        }
        assert_eq!(
            Tell::Parent { stripe: 1, source: Source::Node("10.0.0.1:20004".parse().unwrap()) }
                .line(),
            "parent 1 10.0.0.1!20004\n"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["", "join", "join 1", "join 1 70000 .", "leave now", "done 1 2", "parent x me"]
        {
            assert_eq!(Ask::parse(line.as_bytes()), None, "{line}");
            assert_eq!(Tell::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Ask::parse(b"join 1 5 %4"), None);
        assert_eq!(Ask::parse(b"join 1 5 "), None, "no word is not the whole tree");
        assert_eq!(Ask::parse(b"join 1 5 \xff"), None);
    }
}
