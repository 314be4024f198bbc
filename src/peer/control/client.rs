//! What a client says to the master.

use super::addr::ParentAddr;
use super::complaint::Complaint;
use super::words::{LINE_LEN_MAX, Words, escape, escape_but, unescape};
use crate::content::digest::Digest;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Version of the conversation and of what follows from it, the stride of `pieces`
/// for one; the first word after `join`.
pub const VERSION: u32 = 4;
/// The newest without [`JoinOptions`], and in which a source is a path, whatever it looks
/// like: what a client speaks that needs neither, so that older masters understand it.
pub const VERSION_PLAIN: u32 = 3;
/// The oldest version that is spoken with; it has no number of the piece in `replace`, and
/// no generation in `join`.
pub const VERSION_MIN: u32 = 2;

/// What a client has to tell of its fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferStats {
    /// Verified and stored, whatever their way here.
    pub have_bytes: u64,
    /// To be had in the end; 0 while that is unknown.
    pub total_bytes: u64,
    /// Of pieces that came from the master.
    pub from_master_bytes: u64,
    /// Of pieces that came from other clients.
    pub from_peers_bytes: u64,
    /// Since the fetch began, until it was done.
    pub elapsed_ms: u64,
}

impl TransferStats {
    /// Five words, in the order of the fields.
    fn words(&self) -> String {
        let TransferStats { have_bytes, total_bytes, elapsed_ms, .. } = self;
        let (from_master, from_peers) = (self.from_master_bytes, self.from_peers_bytes);
        format!("{have_bytes} {total_bytes} {from_master} {from_peers} {elapsed_ms}")
    }

    fn parse(words: &mut Words) -> Option<TransferStats> {
        Some(TransferStats {
            have_bytes: words.number()?,
            total_bytes: words.number()?,
            from_master_bytes: words.number()?,
            from_peers_bytes: words.number()?,
            elapsed_ms: words.number()?,
        })
    }
}

/// What is said in a join beside the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinOptions {
    /// Of who joins again: the generation that it was in. From version 3 on.
    pub generation: Option<Digest>,
    /// Patterns of what is to be left out. From version 4 on.
    pub excludes: Vec<Vec<u8>>,
    /// Bytes that are kept of what was fetched, the latest, where that is not all of it. From
    /// version 4 on.
    pub window_bytes: Option<u64>,
    /// What is announced is to be signed. From version 4 on.
    pub is_signed: bool,
}

/// From a client to the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// I want these sources and serve what I get on this port.
    Join {
        /// The client's [`VERSION`].
        version: u32,
        /// Where other clients reach it.
        port: u16,
        /// Paths below what the master serves, none of them empty; all of it
        /// if there are none. In [`VERSION`] 4 patterns of them.
        sources: Vec<Vec<u8>>,
        /// What its version can say beside them.
        options: JoinOptions,
    },
    /// That parent does not do for that stripe: another, please.
    Replace {
        /// The stripe's number, from 0 on.
        stripe: u8,
        /// The parent.
        parent: ParentAddr,
        /// What it did.
        complaint: Complaint,
        /// The piece that it sent corrupt, from [`VERSION`] 3 on.
        piece: Option<u32>,
    },
    /// How far the fetch is.
    Progress(TransferStats),
    /// All is verified and in place.
    Done(TransferStats),
    /// Whoever reads my stream is slower than it comes, or is so no more: who is faster is
    /// not to wait for me. From version 4 on.
    Full(bool),
    /// I go soon: give my children to others.
    Leave,
}

/// What the name of a generation begins with where it is the first of several sources, as
/// version 3 has it: its place in the name space, which no served file can have.
const OF_GENERATION: &str = ".xget/";

/// Most bytes of a first join: who joins again names its generation beside the sources.
pub const JOIN_LEN_MAX: usize = LINE_LEN_MAX - 100;

const GENERATION: &str = "generation";
const EXCLUDE: &str = "exclude";
const WINDOW: &str = "window";
/// Its value is [`YES`].
const SIGNED: &str = "signed";
const YES: &str = "1";

/// Takes the generation out of what version 3 calls sources.
fn take_generation(sources: &mut Vec<Vec<u8>>) -> Option<Digest> {
    let [first, _, ..] = &sources[..] else { return None };
    let digest = first.strip_prefix(OF_GENERATION.as_bytes())?;
    let digest = Digest::parse(core::str::from_utf8(digest).ok()?)?;
    sources.remove(0);
    Some(digest)
}

/// One word: a source, or `name=value`. So a `=` in either is escaped, too.
fn add_word(line: &mut String, name: &str, value: &[u8]) {
    line.push(' ');
    if !name.is_empty() {
        line.push_str(name);
        line.push('=');
    }
    escape_but(b"./_-+,:@~", value, 3 * value.len(), line);
}

impl JoinOptions {
    /// Adds what stands behind the port.
    pub(super) fn add_to(&self, line: &mut String, version: u32, sources: &[Vec<u8>]) {
        if let Some(digest) = self.generation {
            line.push(' ');
            line.push_str(if version < VERSION { OF_GENERATION } else { GENERATION });
            line.push_str(if version < VERSION { "" } else { "=" });
            line.push_str(&digest.to_string());
            // By itself it would be a source there.
            line.push_str(if sources.is_empty() && version < VERSION { " ." } else { "" });
        }
        if version >= VERSION {
            self.excludes.iter().for_each(|pattern| add_word(line, EXCLUDE, pattern));
            if let Some(bytes) = self.window_bytes {
                add_word(line, WINDOW, bytes.to_string().as_bytes());
            }
            if self.is_signed {
                add_word(line, SIGNED, YES.as_bytes());
            }
            return sources.iter().for_each(|source| add_word(line, "", source));
        }
        for source in sources {
            line.push(' ');
            escape(source, 3 * source.len(), line);
        }
    }

    /// What stands behind the port: these, and the sources. Of a version that is not known,
    /// so that it can be answered, every word is a source.
    pub(super) fn parse(version: u32, words: &mut Words) -> Option<(JoinOptions, Vec<Vec<u8>>)> {
        let (mut options, mut sources) = (JoinOptions::default(), Vec::new());
        while let Some(word) = words.word() {
            match word.split_once('=').filter(|_| version == VERSION) {
                Some((name, value)) => options.take(name, value)?,
                None => sources.push(unescape(word)?),
            }
        }
        if version < VERSION {
            options.generation = take_generation(&mut sources);
        }
        Some((options, sources))
    }

    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            GENERATION if self.generation.is_none() => {
                self.generation = Some(Digest::parse(value)?)
            }
            EXCLUDE => self.excludes.push(unescape(value)?),
            WINDOW if self.window_bytes.is_none() => self.window_bytes = Some(value.parse().ok()?),
            SIGNED if !self.is_signed && value == YES => self.is_signed = true,
            _ => return None,
        }
        Some(())
    }
}

const JOIN: &str = "join";
const REPLACE: &str = "replace";
const PROGRESS: &str = "progress";
const DONE: &str = "done";
const FULL: &str = "full";
const ROOM: &str = "room";
const LEAVE: &str = "leave";

impl ClientMessage {
    /// The line, with its end. That of a join may be longer than
    /// [`LINE_LEN_MAX`](super::LINE_LEN_MAX); then it must not be sent.
    pub fn line(&self) -> String {
        match self {
            ClientMessage::Join { version, port, sources, options } => {
                let mut line = format!("{JOIN} {version} {port}");
                options.add_to(&mut line, *version, sources);
                line + "\n"
            }
            ClientMessage::Replace { stripe, parent, complaint, piece } => {
                let mut line = format!("{REPLACE} {stripe} {} {}", parent.word(), complaint.word());
                if let Some(piece) = piece {
                    line.push(' ');
                    line.push_str(&piece.to_string());
                }
                line + "\n"
            }
            ClientMessage::Progress(stats) => format!("{PROGRESS} {}\n", stats.words()),
            ClientMessage::Done(stats) => format!("{DONE} {}\n", stats.words()),
            ClientMessage::Full(is_full) => format!("{}\n", if *is_full { FULL } else { ROOM }),
            ClientMessage::Leave => format!("{LEAVE}\n"),
        }
    }

    /// The message that a line is, with its end or without; `None` if it is
    /// none of these.
    pub fn parse(line: &[u8]) -> Option<ClientMessage> {
        let mut words = Words::of(line)?;
        let message = match words.word()? {
            JOIN => {
                let (version, port) = (words.number()?, words.number()?);
                let (options, sources) = JoinOptions::parse(version, &mut words)?;
                ClientMessage::Join { version, port, sources, options }
            }
            REPLACE => ClientMessage::Replace {
                stripe: words.number()?,
                parent: ParentAddr::parse(words.word()?)?,
                complaint: Complaint::parse(words.word()?)?,
                piece: words.optional_number()?,
            },
            PROGRESS => ClientMessage::Progress(TransferStats::parse(&mut words)?),
            DONE => ClientMessage::Done(TransferStats::parse(&mut words)?),
            FULL => ClientMessage::Full(true),
            ROOM => ClientMessage::Full(false),
            LEAVE => ClientMessage::Leave,
            _ => return None,
        };
        words.end(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::samples::{lines, parents};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn stats() -> impl Strategy<Value = TransferStats> {
        any::<[u64; 5]>().prop_map(|[have_bytes, total_bytes, master, peers, elapsed_ms]| {
            let (from_master_bytes, from_peers_bytes) = (master, peers);
            TransferStats {
                have_bytes,
                total_bytes,
                from_master_bytes,
                from_peers_bytes,
                elapsed_ms,
            }
        })
    }

    fn options() -> impl Strategy<Value = JoinOptions> {
        let excludes = vec(vec(any::<u8>(), 1..9), 0..3);
        (any::<Option<[u8; 32]>>(), excludes, any::<Option<u64>>(), any::<bool>()).prop_map(
            |(digest, excludes, window_bytes, is_signed)| JoinOptions {
                generation: digest.map(Digest),
                excludes,
                window_bytes,
                is_signed,
            },
        )
    }

    fn messages() -> impl Strategy<Value = ClientMessage> {
        let complaint = select(Complaint::all().to_vec());
        let source = vec(any::<u8>(), 1..20);
        let sources = vec(source, 1..5);
        prop_oneof![
            (any::<u32>(), any::<u16>(), sources.clone(), options()).prop_map(
                |(version, port, sources, options)| {
                    let version = if version > VERSION { version % 6 } else { version };
                    let options = match version {
                        VERSION => options,
                        0..VERSION => {
                            JoinOptions { generation: options.generation, ..JoinOptions::default() }
                        }
                        _ => JoinOptions::default(),
                    };
                    ClientMessage::Join { version, port, sources, options }
                }
            ),
            (any::<u8>(), parents(), complaint, any::<Option<u32>>()).prop_map(
                |(stripe, parent, complaint, piece)| {
                    ClientMessage::Replace { stripe, parent, complaint, piece }
                }
            ),
            stats().prop_map(ClientMessage::Progress),
            stats().prop_map(ClientMessage::Done),
            any::<bool>().prop_map(ClientMessage::Full),
            Just(ClientMessage::Leave),
        ]
    }

    proptest! {
        #[test]
        fn any_message_comes_back_from_its_line(message in messages()) {
            let line = message.line();
            prop_assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
            prop_assert!(line.is_ascii());
            prop_assert_eq!(ClientMessage::parse(line.as_bytes()), Some(message.clone()));
            prop_assert_eq!(ClientMessage::parse(line.trim_end().as_bytes()), Some(message));
        }

        #[test]
        fn any_line_is_refused_or_a_message(line in lines(), bytes in vec(any::<u8>(), 0..99)) {
            let _ = ClientMessage::parse(&bytes);
            if let Some(message) = ClientMessage::parse(&line) {
                let again = ClientMessage::parse(message.line().as_bytes());
                prop_assert_eq!(again, Some(message));
            }
        }
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
        let again = JoinOptions { generation: Some(Digest([0x5a; 32])), ..JoinOptions::default() };
        let peer = |text: &str| ParentAddr::Peer(text.parse().unwrap());
        let of_piece = |parent, complaint, piece| ClientMessage::Replace {
            stripe: 3,
            parent,
            complaint,
            piece,
        };
        let replace = |parent, complaint| of_piece(parent, complaint, None);
        for (message, line) in [
            (
                ClientMessage::Join {
                    version: 2,
                    port: 20004,
                    sources: sources.to_vec(),
                    options: JoinOptions::default(),
                },
                "join 2 20004 . a%20b/. /-_+,:=@~.%25%ff%00%0a\n",
            ),
            (
                ClientMessage::Join {
                    version: 3,
                    port: 20004,
                    sources: sources[1..2].to_vec(),
                    options: again.clone(),
                },
                concat!(
                    "join 3 20004 .xget/",
                    "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
                    " a%20b/.\n"
                ),
            ),
            (
                ClientMessage::Join {
                    version: 4,
                    port: 20004,
                    sources: sources.to_vec(),
                    options: JoinOptions {
                        excludes: [&b"*.o"[..], b"/a=b c"].map(<[u8]>::to_vec).into(),
                        window_bytes: Some(67_108_864),
                        ..again
                    },
                },
                concat!(
                    "join 4 20004 generation=",
                    "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
                    " exclude=%2a.o exclude=/a%3db%20c window=67108864 . a%20b/. /-_+,:%3d@~.%25%ff%00%0a\n"
                ),
            ),
            (replace(ParentAddr::Master, Complaint::Lost), "replace 3 me lost\n"),
            (replace(peer(ADDR_4), Complaint::Frozen), "replace 3 10.0.0.1!20004 frozen\n"),
            (replace(peer(ADDR_6), Complaint::Slow), "replace 3 2001:db8::5!9 slow\n"),
            (replace(peer(ADDR_4), Complaint::SlowUplink), "replace 3 10.0.0.1!20004 narrow\n"),
            (replace(peer(ADDR_4), Complaint::Corrupt), "replace 3 10.0.0.1!20004 wrong\n"),
            (
                of_piece(peer(ADDR_4), Complaint::Corrupt, Some(77)),
                "replace 3 10.0.0.1!20004 wrong 77\n",
            ),
            (replace(peer(ADDR_4), Complaint::Refused), "replace 3 10.0.0.1!20004 refused\n"),
            (ClientMessage::Progress(stats), "progress 1 22 333 4444 55555\n"),
            (ClientMessage::Done(stats), "done 1 22 333 4444 55555\n"),
            (replace(peer(ADDR_4), Complaint::Passed), "replace 3 10.0.0.1!20004 passed\n"),
            (ClientMessage::Full(true), "full\n"),
            (ClientMessage::Full(false), "room\n"),
            (ClientMessage::Leave, "leave\n"),
        ] {
            assert_eq!(message.line(), line);
            assert_eq!(ClientMessage::parse(line.as_bytes()), Some(message), "{line}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "\n",
            " ",
            "join",
            "join 1",
            "join 1 70000 .",
            "join -1 5 .",
            "leave now",
            "Leave",
            "done 1 2",
            "done 1 2 3 4 5 6",
            "replace 1 me",
            "replace 256 me lost",
            "replace 1 me sad",
            "replace 1 me wrong 4294967296",
            "replace 1 me wrong 5 6",
            "progress 1 2 3 4 x",
            "join 4 5 . colour=red",
            "join 4 5 =",
            "join 4 5 exclude=",
            "join 4 5 exclude=%4",
            "join 4 5 window=x .",
            "join 4 5 window=-1 .",
            "join 4 5 window=1 window=1 .",
            "join 4 5 generation=5a .",
        ] {
            assert_eq!(ClientMessage::parse(line.as_bytes()), None, "{line:?}");
        }
        let again = format!("join 4 5 generation={} exclude=/a\n", "5a".repeat(32));
        let plain = ClientMessage::parse(again.as_bytes()).map(|message| message.line());
        assert_eq!(plain, Some(again), "without a source it is all");
        assert!(ClientMessage::parse(b"join 5 5 colour=red").is_some(), "to be told so");
        assert_eq!(ClientMessage::parse(b"join 1 5 %4"), None);
        assert_eq!(ClientMessage::parse(b"join 1 5 "), None, "no word is not the whole tree");
        assert_eq!(ClientMessage::parse(b"join 1 5 \xff"), None);
    }
}
