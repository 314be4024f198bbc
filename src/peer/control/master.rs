//! What the master says to a client.

use super::addr::ParentAddr;
use super::words::{LINE_LEN_MAX, Words, escape, unescape};
use crate::content::digest::Digest;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// From the master to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterMessage {
    /// The master is still hashing.
    Wait {
        /// Hashed so far.
        done_bytes: u64,
        /// To be hashed, as far as is known.
        total_bytes: u64,
    },
    /// Who says what the sources are: a signed statement, nothing where there is none. Before
    /// `generation`, to who asked for it.
    Signature(Vec<u8>),
    /// What the sources are.
    Generation {
        /// The digest of the manifest, which names the generation.
        digest: Digest,
        /// Bytes of the manifest.
        manifest_len: u64,
        /// Bytes of a piece.
        piece_len: u32,
        /// How many stripes the pieces are dealt to.
        stripes: u8,
    },
    /// Take this stripe from there.
    Parent {
        /// The stripe's number, from 0 on.
        stripe: u8,
        /// The parent.
        parent: ParentAddr,
    },
    /// What you are to have has fallen out of the windows of those who stream it: take it
    /// from me where it keeps nobody waiting. From version 4 on.
    Behind,
    /// No.
    Error {
        /// Of Linux (errno(3)), as in the errors of 9P2000.u.
        errno: u16,
        /// Words for people; the line has as much of them as fits.
        text: String,
    },
}

const WAIT: &str = "wait";
const SIGNATURE: &str = "signature";
const GENERATION: &str = "generation";
const PARENT: &str = "parent";
const BEHIND: &str = "behind";
const ERROR: &str = "error";

impl MasterMessage {
    /// The line, with its end: at most [`LINE_LEN_MAX`] bytes.
    #[inline(never)]
    pub fn line(&self) -> String {
        match self {
            MasterMessage::Wait { done_bytes, total_bytes } => {
                format!("{WAIT} {done_bytes} {total_bytes}\n")
            }
            MasterMessage::Signature(signed) => {
                let mut line = String::from(SIGNATURE);
                if !signed.is_empty() {
                    line.push(' ');
                    let room = LINE_LEN_MAX - line.len() - 1;
                    escape(signed, room, &mut line);
                }
                line + "\n"
            }
            MasterMessage::Generation { digest, manifest_len, piece_len, stripes } => {
                format!("{GENERATION} {digest} {manifest_len} {piece_len} {stripes}\n")
            }
            MasterMessage::Parent { stripe, parent } => {
                format!("{PARENT} {stripe} {}\n", parent.word())
            }
            MasterMessage::Behind => format!("{BEHIND}\n"),
            MasterMessage::Error { errno, text } => {
                let mut line = format!("{ERROR} {errno}");
                // No text is no word, which is not the same as an empty one.
                if !text.is_empty() {
                    line.push(' ');
                    let room = LINE_LEN_MAX - line.len() - 1;
                    escape(text.as_bytes(), room, &mut line);
                }
                line + "\n"
            }
        }
    }

    /// The message that a line is, with its end or without; `None` if it is
    /// none of these.
    #[inline(never)]
    pub fn parse(line: &[u8]) -> Option<MasterMessage> {
        let mut words = Words::of(line)?;
        let message = match words.word()? {
            WAIT => {
                MasterMessage::Wait { done_bytes: words.number()?, total_bytes: words.number()? }
            }
            SIGNATURE => MasterMessage::Signature(words.word().map_or(Some(Vec::new()), unescape)?),
            GENERATION => MasterMessage::Generation {
                digest: Digest::parse(words.word()?)?,
                manifest_len: words.number()?,
                piece_len: words.number()?,
                stripes: words.number()?,
            },
            PARENT => MasterMessage::Parent {
                stripe: words.number()?,
                parent: ParentAddr::parse(words.word()?)?,
            },
            BEHIND => MasterMessage::Behind,
            ERROR => MasterMessage::Error { errno: words.number()?, text: parse_text(&mut words)? },
            _ => return None,
        };
        words.end(message)
    }
}

/// The text of an error, which may be missing. What of it is not UTF-8 (a file
/// name, or a character that was cut) is replaced.
fn parse_text(words: &mut Words) -> Option<String> {
    let text = words.word().map_or(Some(Vec::new()), unescape)?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::samples::{lines, parents};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn messages() -> impl Strategy<Value = MasterMessage> {
        let generation = (any::<[u8; 32]>(), any::<u64>(), any::<u32>(), any::<u8>());
        let text = vec(any::<char>(), 0..40).prop_map(String::from_iter);
        prop_oneof![
            any::<(u64, u64)>().prop_map(|(done_bytes, total_bytes)| {
                MasterMessage::Wait { done_bytes, total_bytes }
            }),
            generation.prop_map(|(digest, manifest_len, piece_len, stripes)| {
                let digest = Digest(digest);
                MasterMessage::Generation { digest, manifest_len, piece_len, stripes }
            }),
            (any::<u8>(), parents())
                .prop_map(|(stripe, parent)| MasterMessage::Parent { stripe, parent }),
            vec(any::<u8>(), 0..200).prop_map(MasterMessage::Signature),
            (any::<u16>(), text).prop_map(|(errno, text)| MasterMessage::Error { errno, text }),
        ]
    }

    proptest! {
        #[test]
        fn any_message_comes_back_from_its_line(message in messages()) {
            let line = message.line();
            prop_assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
            prop_assert!(line.is_ascii());
            prop_assert_eq!(MasterMessage::parse(line.as_bytes()), Some(message.clone()));
            prop_assert_eq!(MasterMessage::parse(line.trim_end().as_bytes()), Some(message));
        }

        #[test]
        fn any_line_is_refused_or_a_message(line in lines(), bytes in vec(any::<u8>(), 0..99)) {
            let _ = MasterMessage::parse(&bytes);
            if let Some(message) = MasterMessage::parse(&line) {
                let again = MasterMessage::parse(message.line().as_bytes());
                prop_assert_eq!(again, Some(message));
            }
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
            (MasterMessage::Parent { stripe: 0, parent: ParentAddr::Master }, "parent 0 me\n"),
            (
                MasterMessage::Parent { stripe: 1, parent: peer("10.0.0.1:20004") },
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
    }

    #[test]
    fn the_line_of_an_error_is_never_too_long_for_who_reads_it() {
        for text in ["a".repeat(LINE_LEN_MAX), "\u{e9} ".repeat(LINE_LEN_MAX)] {
            let line = MasterMessage::Error { errno: 2, text: text.clone() }.line();
            assert!((LINE_LEN_MAX - 2..=LINE_LEN_MAX).contains(&line.len()), "{}", line.len());
            let parsed = MasterMessage::parse(line.as_bytes());
            let Some(MasterMessage::Error { text: read, .. }) = parsed else { panic!("{line}") };
            assert!(text.starts_with(read.trim_end_matches('\u{fffd}')));
        }
        let silent = MasterMessage::Error { errno: 5, text: String::new() };
        assert_eq!(silent.line(), "error 5\n");
        assert_eq!(MasterMessage::parse(b"error 5"), Some(silent));
    }

    #[test]
    fn nonsense_is_refused() {
        let short = format!("generation {} 1 4096 4", "a".repeat(63));
        for line in [
            "",
            "\n",
            "wait",
            "wait 1",
            "wait 1 2 3",
            "parent x me",
            "parent 1 you",
            "parent 1 10.0.0.1",
            "error",
            "error two",
            "error 2 %4",
            "error 2 a b",
            &short,
        ] {
            assert_eq!(MasterMessage::parse(line.as_bytes()), None, "{line:?}");
        }
    }
}
