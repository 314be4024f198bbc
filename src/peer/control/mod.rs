//! The words of the conversation on `/.xget/route`, both ways.
//!
//! One message a line, words parted by one space; source paths are percent
//! encoded, because file names may hold anything but NUL and '/'. Knows the
//! words, not what follows from them (that is `node`).

mod text;

pub use text::printable;

use crate::content::digest::Digest;
use crate::content::hex;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

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
    SlowUplink,
    /// Sent bytes that are not what the digest says.
    Corrupt,
    /// Does not hold what it should, or errs.
    Refused,
}

const COMPLAINTS: [(Complaint, &str); 6] = [
    (Complaint::Lost, "lost"),
    (Complaint::Frozen, "frozen"),
    (Complaint::Slow, "slow"),
    (Complaint::SlowUplink, "narrow"),
    (Complaint::Corrupt, "wrong"),
    (Complaint::Refused, "refused"),
];

impl Complaint {
    pub fn word(self) -> &'static str {
        COMPLAINTS.iter().find(|(c, _)| *c == self).map_or("lost", |(_, word)| word)
    }
}

/// Where a stripe comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParentAddr {
    /// The master itself: `me`, as the paper's `redir` says it.
    Master,
    Peer(SocketAddr),
}

/// What a client has to tell of its fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferStats {
    pub have_bytes: u64,
    pub total_bytes: u64,
    pub from_master_bytes: u64,
    pub from_peers_bytes: u64,
    pub elapsed_ms: u64,
}

/// From a client to the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// I want these sources and serve what I get on this port.
    Join {
        version: u32,
        port: u16,
        sources: Vec<Vec<u8>>,
    },
    /// That parent does not do for that stripe: another, please.
    Replace {
        stripe: u8,
        source: ParentAddr,
        complaint: Complaint,
    },
    Progress(TransferStats),
    /// All is verified and in place.
    Done(TransferStats),
    /// I go soon: give my children to others.
    Leave,
}

/// From the master to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterMessage {
    /// The master is still hashing.
    Wait {
        done_bytes: u64,
        total_bytes: u64,
    },
    /// What the sources are.
    Generation {
        digest: Digest,
        manifest_len: u64,
        piece_len: u32,
        stripes: u8,
    },
    Parent {
        stripe: u8,
        source: ParentAddr,
    },
    /// No: an errno and words.
    Error {
        errno: u16,
        text: String,
    },
}

impl ClientMessage {
    pub fn line(&self) -> String {
        match self {
            ClientMessage::Join { version, port, sources } => {
                let mut line = format!("join {version} {port}");
                for source in sources {
                    line.push(' ');
                    line.push_str(&escape(source));
                }
                line + "\n"
            }
            ClientMessage::Replace { stripe, source, complaint } => {
                format!("replace {stripe} {} {}\n", format_parent(*source), complaint.word())
            }
            ClientMessage::Progress(stats) => format!("progress {}\n", format_stats(stats)),
            ClientMessage::Done(stats) => format!("done {}\n", format_stats(stats)),
            ClientMessage::Leave => "leave\n".into(),
        }
    }

    pub fn parse(line: &[u8]) -> Option<ClientMessage> {
        let mut words = words(line)?;
        let ask = match words.next()? {
            "join" => ClientMessage::Join {
                version: number(words.next()?)?,
                port: number(words.next()?)?,
                sources: words.by_ref().map(unescape).collect::<Option<Vec<_>>>()?,
            },
            "replace" => ClientMessage::Replace {
                stripe: number(words.next()?)?,
                source: parse_parent(words.next()?)?,
                complaint: parse_complaint(words.next()?)?,
            },
            "progress" => ClientMessage::Progress(parse_stats(&mut words)?),
            "done" => ClientMessage::Done(parse_stats(&mut words)?),
            "leave" => ClientMessage::Leave,
            _ => return None,
        };
        words.next().is_none().then_some(ask)
    }
}

impl MasterMessage {
    pub fn line(&self) -> String {
        match self {
            MasterMessage::Wait { done_bytes, total_bytes } => {
                format!("wait {done_bytes} {total_bytes}\n")
            }
            MasterMessage::Generation { digest, manifest_len, piece_len, stripes } => {
                format!("generation {digest} {manifest_len} {piece_len} {stripes}\n")
            }
            MasterMessage::Parent { stripe, source } => {
                format!("parent {stripe} {}\n", format_parent(*source))
            }
            MasterMessage::Error { errno, text } => {
                format!("error {errno} {}\n", escape(text.as_bytes()))
            }
        }
    }

    pub fn parse(line: &[u8]) -> Option<MasterMessage> {
        let mut words = words(line)?;
        let tell = match words.next()? {
            "wait" => MasterMessage::Wait {
                done_bytes: number(words.next()?)?,
                total_bytes: number(words.next()?)?,
            },
            "generation" => MasterMessage::Generation {
                digest: Digest::parse(words.next()?)?,
                manifest_len: number(words.next()?)?,
                piece_len: number(words.next()?)?,
                stripes: number(words.next()?)?,
            },
            "parent" => MasterMessage::Parent {
                stripe: number(words.next()?)?,
                source: parse_parent(words.next()?)?,
            },
            "error" => {
                let errno = number(words.next()?)?;
                let text = words.next().map_or(Some(Vec::new()), unescape)?;
                MasterMessage::Error { errno, text: String::from_utf8_lossy(&text).into_owned() }
            }
            _ => return None,
        };
        words.next().is_none().then_some(tell)
    }
}

fn words(line: &[u8]) -> Option<core::str::Split<'_, char>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Some(core::str::from_utf8(line).ok()?.split(' '))
}

fn number<T: core::str::FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

fn format_stats(t: &TransferStats) -> String {
    format!(
        "{} {} {} {} {}",
        t.have_bytes, t.total_bytes, t.from_master_bytes, t.from_peers_bytes, t.elapsed_ms
    )
}

fn parse_stats(words: &mut core::str::Split<'_, char>) -> Option<TransferStats> {
    Some(TransferStats {
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
pub fn format_addr(addr: SocketAddr) -> String {
    format!("{}!{}", addr.ip().to_canonical(), addr.port())
}

pub fn parse_addr(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix("tcp!").unwrap_or(text);
    let (ip, port) = text.rsplit_once('!')?;
    Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?))
}

fn format_parent(source: ParentAddr) -> String {
    match source {
        ParentAddr::Master => "me".into(),
        ParentAddr::Peer(addr) => format_addr(addr),
    }
}

fn parse_parent(word: &str) -> Option<ParentAddr> {
    if word == "me" { Some(ParentAddr::Master) } else { parse_addr(word).map(ParentAddr::Peer) }
}

/// Percent encoding of everything that is not plain in a path.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"/._-+,:=@~".contains(&byte) {
            text.push(byte as char);
        } else {
            text.push('%');
            text.extend(hex::digits(byte));
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
        bytes.push(hex::byte(pair[0], pair[1])?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_go_both_ways() {
        let stats = TransferStats {
            have_bytes: 1,
            total_bytes: 2,
            from_master_bytes: 3,
            from_peers_bytes: u64::MAX,
            elapsed_ms: 5,
        };
        let node = ParentAddr::Peer("[fe80::1]:99".parse().unwrap());
        for ask in [
            ClientMessage::Join {
                version: 1,
                port: 9,
                sources: vec![b".".to_vec(), b"a b\n\xff%".to_vec()],
            },
            ClientMessage::Replace { stripe: 3, source: node, complaint: Complaint::Frozen },
            ClientMessage::Replace {
                stripe: 0,
                source: ParentAddr::Master,
                complaint: Complaint::Corrupt,
            },
            ClientMessage::Progress(stats),
            ClientMessage::Done(stats),
            ClientMessage::Leave,
        ] {
            assert_eq!(ClientMessage::parse(ask.line().as_bytes()), Some(ask));
        }
    }

    #[test]
    fn tells_go_both_ways() {
        let digest = Digest::of(b"x");
        for tell in [
            MasterMessage::Wait { done_bytes: 1, total_bytes: 2 },
            MasterMessage::Generation { digest, manifest_len: 5, piece_len: 4096, stripes: 4 },
            MasterMessage::Parent {
                stripe: 1,
                source: ParentAddr::Peer("10.0.0.1:20004".parse().unwrap()),
            },
            MasterMessage::Error { errno: 2, text: "no such source: a b".into() },
        ] {
            assert_eq!(MasterMessage::parse(tell.line().as_bytes()), Some(tell));
        }
        assert_eq!(
            MasterMessage::Parent {
                stripe: 1,
                source: ParentAddr::Peer("10.0.0.1:20004".parse().unwrap())
            }
            .line(),
            "parent 1 10.0.0.1!20004\n"
        );
    }

    const ADDR_4: &str = "10.0.0.1:20004";
    const ADDR_6: &str = "[2001:db8::5]:9";

    /// Each line as both ends have always written it.
    #[test]
    fn the_lines_of_a_client_are_what_they_were() {
        let stats = TransferStats {
            have_bytes: 1,
            total_bytes: 22,
            from_master_bytes: 333,
            from_peers_bytes: 4444,
            elapsed_ms: 55555,
        };
        let sources = [&b"."[..], b"a b/.", b"/-_+,:=@~.%\xff\0\n"].map(<[u8]>::to_vec);
        let peer = |text: &str| ParentAddr::Peer(text.parse().unwrap());
        let replace = |source, complaint| ClientMessage::Replace { stripe: 3, source, complaint };
        for (message, line) in [
            (
                ClientMessage::Join { version: 2, port: 20004, sources: sources.into() },
                "join 2 20004 . a%20b/. /-_+,:=@~.%25%ff%00%0a\n",
            ),
            (replace(ParentAddr::Master, Complaint::Lost), "replace 3 me lost\n"),
            (replace(peer(ADDR_4), Complaint::Frozen), "replace 3 10.0.0.1!20004 frozen\n"),
            (replace(peer(ADDR_6), Complaint::Slow), "replace 3 2001:db8::5!9 slow\n"),
            (replace(peer(ADDR_4), Complaint::SlowUplink), "replace 3 10.0.0.1!20004 narrow\n"),
            (replace(peer(ADDR_4), Complaint::Corrupt), "replace 3 10.0.0.1!20004 wrong\n"),
            (replace(peer(ADDR_4), Complaint::Refused), "replace 3 10.0.0.1!20004 refused\n"),
            (ClientMessage::Progress(stats), "progress 1 22 333 4444 55555\n"),
            (ClientMessage::Done(stats), "done 1 22 333 4444 55555\n"),
            (ClientMessage::Leave, "leave\n"),
        ] {
            assert_eq!(message.line(), line);
            assert_eq!(ClientMessage::parse(line.as_bytes()), Some(message), "{line}");
        }
    }

    #[test]
    fn the_lines_of_a_master_are_what_they_were() {
        let peer = |text: &str| ParentAddr::Peer(text.parse().unwrap());
        let digest = Digest([0xa5; 32]);
        let generation = format!("generation {} 70000 32768 4\n", "a5".repeat(32));
        let text = "no such file: a b \u{e9}".to_string();
        for (message, line) in [
            (MasterMessage::Wait { done_bytes: 7, total_bytes: 10 }, "wait 7 10\n"),
            (
                MasterMessage::Generation {
                    digest,
                    manifest_len: 70_000,
                    piece_len: 32_768,
                    stripes: 4,
                },
                &generation,
            ),
            (MasterMessage::Parent { stripe: 0, source: ParentAddr::Master }, "parent 0 me\n"),
            (
                MasterMessage::Parent { stripe: 1, source: peer(ADDR_4) },
                "parent 1 10.0.0.1!20004\n",
            ),
            (
                MasterMessage::Error { errno: 2, text },
                "error 2 no%20such%20file:%20a%20b%20%c3%a9\n",
            ),
        ] {
            assert_eq!(message.line(), line);
            assert_eq!(MasterMessage::parse(line.as_bytes()), Some(message), "{line}");
        }
        let mapped = ParentAddr::Peer("[::ffff:10.0.0.1]:20004".parse().unwrap());
        let line = MasterMessage::Parent { stripe: 1, source: mapped }.line();
        assert_eq!(line, "parent 1 10.0.0.1!20004\n", "IPv4 in IPv6 is written plain");
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["", "join", "join 1", "join 1 70000 .", "leave now", "done 1 2", "parent x me"]
        {
            assert_eq!(ClientMessage::parse(line.as_bytes()), None, "{line}");
            assert_eq!(MasterMessage::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(ClientMessage::parse(b"join 1 5 %4"), None);
        assert_eq!(ClientMessage::parse(b"join 1 5 "), None, "no word is not the whole tree");
        assert_eq!(ClientMessage::parse(b"join 1 5 \xff"), None);
    }
}
