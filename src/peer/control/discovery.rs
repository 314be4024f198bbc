//! Two datagrams: who serves this, and I do (docs/protocol.md, "Discovery").
//!
//! Knows the words. Refuses to know when they are said, and where from.

use super::client::{JoinOptions, VERSION as JOIN_VERSION, VERSION_PLAIN};
use super::words::{Words, escape, unescape};
use crate::content::digest::Digest;
use crate::content::manifest::Selector;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Bytes of the longest answer. No question is shorter: who sends one in the name of another
/// makes nobody send more to that one than was sent for it.
pub const ANSWER_LEN_MAX: usize = 160;
/// Bytes of the longest question: one packet wherever there is IPv6 (RFC 8200, section 5:
/// 1,280 bytes with all headers).
pub const QUESTION_LEN_MAX: usize = 1_200;

const FIND: &str = "xget-find";
const HAVE: &str = "xget-have";
const HASHING: &str = "xget-hashing";
const VERSION: u32 = 1;
/// What is asked for: what a node boots, where this is not the version of a `join`.
const NODE: &str = "node";

/// What somebody looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This part of a tree, in the words of a [`Join`](super::ClientMessage::Join).
    Part(Selector),
    /// A master for a node that boots: one that knows nodes, or has this image.
    Node(String),
}

/// Who has that?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Drawn by lot for each question; answers have the same.
    pub id: u64,
    /// What is looked for.
    pub wanted: Wanted,
}

/// The datagram of a node that boots and is to have this image; nothing where that is too long
/// a name.
pub fn node_question(id: u64, image: &str) -> Option<Vec<u8>> {
    let mut line = begin(id);
    line.push_str(NODE);
    line.push(' ');
    escape(image.as_bytes(), 3 * image.len(), &mut line);
    padded(line)
}

fn begin(id: u64) -> String {
    format!("{FIND} {VERSION} {id:016x} ")
}

fn padded(mut line: String) -> Option<Vec<u8>> {
    line.push('\n');
    let mut bytes = line.into_bytes();
    bytes.resize(bytes.len().max(ANSWER_LEN_MAX), 0);
    (bytes.len() <= QUESTION_LEN_MAX).then_some(bytes)
}

impl Question {
    /// The datagram, if it is not too long for one.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let mut line = begin(self.id);
        match &self.wanted {
            Wanted::Part(Selector { sources, are_patterns, excludes }) => {
                let is_plain = !are_patterns && excludes.is_empty();
                let version = if is_plain { VERSION_PLAIN } else { JOIN_VERSION };
                line.push_str(&version.to_string());
                let excludes = excludes.clone();
                let options = JoinOptions { excludes, ..JoinOptions::default() };
                options.add_to(&mut line, version, sources);
            }
            Wanted::Node(image) => return node_question(self.id, image),
        }
        padded(line)
    }

    /// The question that a datagram is; `None` if it is none, or shorter than its answer.
    #[inline(never)]
    pub fn parse(bytes: &[u8]) -> Option<Question> {
        if !(ANSWER_LEN_MAX..=QUESTION_LEN_MAX).contains(&bytes.len()) {
            return None;
        }
        let mut words = begun(bytes, FIND)?;
        let id = parse_id(&mut words)?;
        let wanted = match words.word()? {
            NODE => Wanted::Node(String::from_utf8(unescape(words.word()?)?).ok()?),
            version => {
                let version = version.parse().ok()?;
                if !(VERSION_PLAIN..=JOIN_VERSION).contains(&version) {
                    return None;
                }
                let (JoinOptions { excludes, .. }, sources) =
                    JoinOptions::parse(version, &mut words)?;
                if sources.is_empty() {
                    return None;
                }
                let are_patterns = version > VERSION_PLAIN;
                Wanted::Part(Selector { sources, are_patterns, excludes })
            }
        };
        words.end(Question { id, wanted })
    }
}

/// Which master it is, and where it serves: the address is that of its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Drawn by lot when it began: at each of its addresses the same.
    pub master: u64,
    /// TCP.
    pub port: u16,
}

/// What a master has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It hashes what it serves first.
    Hashing,
    /// It has that.
    Have {
        /// Bytes of all its files.
        bytes: u64,
        /// The generation that a [`Join`](super::ClientMessage::Join) would give.
        digest: Digest,
    },
}

impl Answer {
    /// The datagram to who asked with this id.
    pub fn datagram(&self, id: u64, speaker: Speaker) -> Vec<u8> {
        let Speaker { master, port } = speaker;
        let (word, rest) = match self {
            Answer::Hashing => (HASHING, String::new()),
            Answer::Have { bytes, digest } => {
                (HAVE, [" ", &bytes.to_string(), " ", &digest.to_string()].concat())
            }
        };
        format!("{word} {VERSION} {id:016x} {master:016x} {port}{rest}\n").into_bytes()
    }

    /// The answer to who asked with this id; `None` if it is none.
    #[inline(never)]
    pub fn parse(datagram: &[u8], id: u64) -> Option<(Answer, Speaker)> {
        let is_hashing = begun(datagram, HASHING);
        let is_known = is_hashing.is_some();
        let mut words = is_hashing.or_else(|| begun(datagram, HAVE))?;
        if parse_id(&mut words)? != id {
            return None;
        }
        let master = parse_id(&mut words)?;
        let port = words.number().filter(|port| *port > 0)?;
        let answer = match is_known {
            true => Answer::Hashing,
            false => Answer::Have { bytes: words.number()?, digest: Digest::parse(words.word()?)? },
        };
        words.end((answer, Speaker { master, port }))
    }
}

/// The words behind the first two, if these are what they have to be.
fn begun<'a>(datagram: &'a [u8], first: &str) -> Option<Words<'a>> {
    // What stands behind the line makes a datagram longer, and says nothing.
    let end = datagram.iter().position(|&byte| byte == b'\n')?;
    let mut words = Words::of(&datagram[..end])?;
    (words.word()? == first && words.number::<u32>()? == VERSION).then_some(words)
}

fn parse_id(words: &mut Words) -> Option<u64> {
    let word = words.word().filter(|word| word.len() == 16)?;
    u64::from_str_radix(word, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec as bytes_of;
    use proptest::prelude::*;

    const ID: u64 = 0x0123_4567_89ab_cdef;

    fn sources(sources: &[&[u8]]) -> Question {
        Question { id: ID, wanted: Wanted::Part(Selector::of_paths(sources)) }
    }

    #[test]
    fn a_question_byte_for_byte() {
        for (question, line) in [
            (sources(&[b"a b/.", b"c=d"]), "xget-find 1 0123456789abcdef 3 a%20b/. c=d\n"),
            (
                Question {
                    id: ID,
                    wanted: Wanted::Part(Selector {
                        sources: vec![b"a=*".to_vec()],
                        are_patterns: true,
                        excludes: vec![b"*.o".to_vec()],
                    }),
                },
                "xget-find 1 0123456789abcdef 4 exclude=%2a.o a%3d%2a\n",
            ),
            (
                Question { id: 7, wanted: Wanted::Node("debian".into()) },
                "xget-find 1 0000000000000007 node debian\n",
            ),
        ] {
            let bytes = question.bytes().unwrap();
            let (said, pad) = bytes.split_at(line.len());
            assert_eq!(said, line.as_bytes());
            assert!(bytes.len() == ANSWER_LEN_MAX && pad.iter().all(|&byte| byte == 0));
            assert_eq!(Question::parse(&bytes), Some(question));
            assert_eq!(Question::parse(line.as_bytes()), None, "shorter than its answer");
        }
    }

    #[test]
    fn an_answer_byte_for_byte() {
        let digest = Digest([0xab; 32]);
        let have = Answer::Have { bytes: 1_234, digest };
        let speaker = Speaker { master: 7, port: 20_004 };
        let id = "0123456789abcdef 0000000000000007";
        let line = format!("xget-have 1 {id} 20004 1234 {}\n", "ab".repeat(32));
        assert_eq!(have.datagram(ID, speaker), line.as_bytes());
        assert_eq!(Answer::parse(line.as_bytes(), ID), Some((have, speaker)));
        assert_eq!(Answer::parse(line.as_bytes(), ID + 1), None, "of another's question");
        let line = format!("xget-hashing 1 {id} 20004\n");
        assert_eq!(Answer::Hashing.datagram(ID, speaker), line.as_bytes());
        assert_eq!(Answer::parse(line.as_bytes(), ID), Some((Answer::Hashing, speaker)));
    }

    #[test]
    fn the_longest_answer_is_no_longer_than_the_shortest_question() {
        let longest = Answer::Have { bytes: u64::MAX, digest: Digest::default() };
        assert!(
            longest.datagram(u64::MAX, Speaker { master: u64::MAX, port: u16::MAX }).len()
                <= ANSWER_LEN_MAX
        );
    }

    #[test]
    fn a_question_fits_into_one_packet_or_is_none() {
        let room = QUESTION_LEN_MAX - "xget-find 1 0123456789abcdef 3 \n".len();
        assert!(sources(&[&vec![b'x'; room]]).bytes().is_some());
        assert!(sources(&[&vec![b'x'; room + 1]]).bytes().is_none());
    }

    #[test]
    fn nonsense_is_refused() {
        let padded = |line: &str| [line.as_bytes(), &[0; ANSWER_LEN_MAX]].concat();
        for line in [
            "",
            "\n",
            "xget-find 1 0123456789abcdef 3\n",
            "xget-find 1 0123456789abcdef 3 \n",
            "xget-find 1 0123456789abcdef 3 a",
            "xget-find 2 0123456789abcdef 3 a\n",
            "xget-find 1 123456789abcdef 3 a\n",
            "xget-find 1 +123456789abcdeg 3 a\n",
            "xget-find 1 0123456789abcdef 9 a\n",
            "xget-find 1 0123456789abcdef node\n",
            "xget-find 1 0123456789abcdef node a b\n",
            "xget-find 1 0123456789abcdef 3 %4\n",
        ] {
            assert_eq!(Question::parse(&padded(line)), None, "{line:?}");
        }
        let digest = "ab".repeat(32);
        let id = "0123456789abcdef 0000000000000007";
        for line in [
            format!("xget-have 1 {id} 7 1\n"),
            format!("xget-have 1 {id} 0 1 {digest}\n"),
            format!("xget-have 1 {id} 70000 1 {digest}\n"),
            format!("xget-have 1 {id} 7 -1 {digest}\n"),
            format!("xget-have 1 {id} 7 1 {digest} 9\n"),
            format!("xget-have 2 {id} 7 1 {digest}\n"),
            format!("xget-have 1 0123456789abcdef 7 1 {digest}\n"),
            format!("xget-hashing 1 {id} 0\n"),
            format!("xget-hashing 1 {id} 7 7\n"),
        ] {
            assert_eq!(Answer::parse(line.as_bytes(), ID), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_question_comes_back_and_any_bytes_are_refused_or_read(
            id in any::<u64>(),
            names in bytes_of(bytes_of(any::<u8>(), 1..30), 1..9),
            excludes in bytes_of(bytes_of(any::<u8>(), 1..9), 0..3),
            noise in bytes_of(any::<u8>(), 0..200),
        ) {
            let wanted = Selector { sources: names, are_patterns: !excludes.is_empty(), excludes };
            let question = Question { id, wanted: Wanted::Part(wanted) };
            let bytes = question.bytes().unwrap();
            prop_assert_eq!(Question::parse(&bytes), Some(question));
            let _ = (Question::parse(&noise), Answer::parse(&noise, id));
        }
    }
}
