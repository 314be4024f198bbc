//! What a node and the master say to each other on `/.xget/node` (docs/protocol.md).
//!
//! Knows the words, both ways. Refuses to know who is given what.

use super::words::{Words, escape, unescape};
use crate::content::digest::Digest;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use nodes::{Key, Kind};

/// Bytes of the longest line that a node says, with its end.
pub const NODE_LINE_LEN_MAX: usize = 4_096;
/// Bytes of the longest answer to one: sealed it is one record, and who asks takes no more.
pub const NODE_ANSWER_LEN_MAX: usize = 40_000;
/// Most of what a node is known by: of more the first count.
const KEYS_MAX: usize = 64;

/// Who asks, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeQuestion {
    /// What it is known by, in the order in which it says so.
    pub keys: Vec<Key>,
    /// The image that it is to have whatever its line says: a path below the served root.
    pub image: Option<String>,
}

impl NodeQuestion {
    /// The line, with its end.
    pub fn line(&self) -> String {
        let mut line = String::new();
        for key in &self.keys {
            add_word(&mut line, key.word().unwrap_or_default(), &key.text);
        }
        if let Some(image) = &self.image {
            add_word(&mut line, IMAGE, image);
        }
        line + "\n"
    }

    /// It has this host name, if it is one.
    pub fn add_host(&mut self, name: &str) {
        self.keys.extend(Key::new(Kind::Host, name));
    }
}

/// How far a node is, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStage {
    /// It fetches its image.
    Fetching,
    /// It goes over to another kernel, or to the image's own init.
    Starting,
    /// The system of the image has booted.
    Up,
    /// It cannot go on.
    Failed,
}

/// The words of the stages, in their order.
const STAGES: [(&str, NodeStage); 4] = [
    ("fetching", NodeStage::Fetching),
    ("starting", NodeStage::Starting),
    ("up", NodeStage::Up),
    ("failed", NodeStage::Failed),
];

impl NodeStage {
    /// Its word.
    pub fn word(self) -> &'static str {
        STAGES[self as usize].0
    }
}

/// One line of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeMessage {
    /// `name=value ...`: who it is. The answer can be read then.
    Question(NodeQuestion),
    /// `state <stage> <words>`: how far it is, with words for people.
    State(NodeStage, String),
}

const STATE: &str = "state";
const IMAGE: &str = "image";

impl NodeMessage {
    /// The line, with its end.
    pub fn line(&self) -> String {
        match self {
            NodeMessage::State(stage, words) => format!("{STATE} {} {words}\n", stage.word()),
            NodeMessage::Question(question) => question.line(),
        }
    }

    /// The message that a line is, with its end or without; `None` if it is none of these.
    /// What is named in a word that we do not know, or is no value of what it names, is
    /// passed over: firmware says many things.
    #[inline(never)]
    pub fn parse(line: &[u8]) -> Option<NodeMessage> {
        let mut words = Words::of(line)?;
        let mut question = NodeQuestion::default();
        let mut word = words.word()?;
        if word == STATE {
            let stage = words.word()?;
            let (_, stage) = STAGES.iter().find(|(known, _)| *known == stage)?;
            let mut said = String::new();
            while let Some(word) = words.word() {
                said.push_str(if said.is_empty() { "" } else { " " });
                said.push_str(word);
            }
            return Some(NodeMessage::State(*stage, super::printable(said)));
        }
        loop {
            let (name, value) = word.split_once('=')?;
            let value = unescape(value).and_then(|value| String::from_utf8(value).ok());
            let value = value.unwrap_or_default();
            if name == IMAGE {
                question.image = Some(value).filter(|image| !image.is_empty());
            } else if let Some(key) = Key::kind_of(name).and_then(|kind| Key::new(kind, &value))
                && question.keys.len() < KEYS_MAX
            {
                question.keys.push(key);
            }
            match words.word() {
                Some(next) => word = next,
                None => return Some(NodeMessage::Question(question)),
            }
        }
    }
}

/// Appends `name=value`, after a space where there is a word before it.
pub(crate) fn add_word(line: &mut String, name: &str, value: &str) {
    add_word_within(line, name, value, 3 * value.len());
}

/// The same with the value cut to so many bytes, as it is encoded.
pub(crate) fn add_word_within(line: &mut String, name: &str, value: &str, len_max: usize) {
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(name);
    line.push('=');
    escape(value.as_bytes(), len_max, line);
}

/// What the root of an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKind {
    /// The directory `root`.
    Dir,
    /// The file `root.squashfs`.
    Squashfs,
    /// The file `root.erofs`.
    Erofs,
}

/// The names of each in an image, and its word, in the order in which they are looked for.
pub(crate) const ROOTS: [(&str, &str, RootKind); 3] = [
    ("root.squashfs", "squashfs", RootKind::Squashfs),
    ("root.erofs", "erofs", RootKind::Erofs),
    ("root", "dir", RootKind::Dir),
];

/// What a node is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAnswer {
    /// Its name.
    pub name: Option<String>,
    /// Its image: a path below the served root.
    pub image: String,
    /// BLAKE3 of the image's `kernel`, where it has one.
    pub kernel: Option<Digest>,
    /// Names of what is started beside the root: kernel, command line, initrds.
    pub parts: Vec<String>,
    /// What root the image has; none: its kernel is booted, and that is all.
    pub root: Option<RootKind>,
    /// Paths below the served root, in the order of application.
    pub layers: Vec<String>,
    /// For the kernel.
    pub words: String,
    /// Why there is nothing for it now, in which case there is nothing else but perhaps its
    /// name: it is to ask again.
    pub refusal: Option<NodeRefusal>,
    /// All lines, as they came.
    pub text: String,
}

/// Why there is nothing for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRefusal {
    /// No line is its own.
    Unknown(String),
    /// What its line, or itself, names is not served.
    Missing(String),
}

impl NodeRefusal {
    /// The reason, in words.
    pub fn reason(&self) -> &str {
        let (NodeRefusal::Unknown(reason) | NodeRefusal::Missing(reason)) = self;
        reason
    }
}

/// Appends a line of an answer whose value is a path.
pub(crate) fn add_path(text: &mut String, name: &str, path: &str) {
    text.push_str(name);
    text.push(' ');
    escape(path.as_bytes(), 3 * path.len(), text);
    text.push('\n');
}

/// The same with words as they are.
pub(crate) fn add_words(text: &mut String, name: &str, words: &str) {
    text.push_str(name);
    text.push(' ');
    text.push_str(&super::printable(words));
    text.push('\n');
}

/// Of something in the image, and not of what is elsewhere or in that.
fn is_name(name: &str) -> bool {
    !(name.contains('/') || ["", ".", ".."].contains(&name))
}

impl NodeAnswer {
    /// What lines say; lines that we do not know are passed over. `None` where it is no
    /// answer: one has an image or a refusal.
    #[inline(never)]
    pub fn parse(text: &str) -> Option<NodeAnswer> {
        let mut answer = NodeAnswer { text: text.to_string(), ..NodeAnswer::default() };
        for line in text.lines() {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            let path = || String::from_utf8(unescape(value)?).ok();
            match name {
                "name" => answer.name = Some(path()?),
                "image" => answer.image = path()?,
                "kernel" => answer.kernel = Some(Digest::parse(value.strip_prefix("blake3:")?)?),
                "part" => answer.parts.push(path().filter(|name| is_name(name))?),
                "root" => answer.root = Some(ROOTS.iter().find(|root| root.1 == value)?.2),
                "layer" => answer.layers.push(path()?),
                "words" => answer.words = value.to_string(),
                "unknown" => answer.refusal = Some(NodeRefusal::Unknown(value.to_string())),
                "missing" => answer.refusal = Some(NodeRefusal::Missing(value.to_string())),
                _ => {}
            }
        }
        (answer.refusal.is_some() || !answer.image.is_empty()).then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn key(kind: Kind, value: &str) -> Key {
        Key::new(kind, value).unwrap()
    }

    #[test]
    fn a_question_and_a_state_are_lines() {
        let question = NodeQuestion {
            keys: vec![
                key(Kind::Mac, "52:54:00:00:00:01"),
                key(Kind::Serial, "A b%"),
                key(Kind::Host, "n1"),
            ],
            image: Some("images/a b".into()),
        };
        let message = NodeMessage::Question(question);
        let line = "mac=52:54:00:00:00:01 serial=A_b%25 host=n1 image=images/a%20b\n";
        assert_eq!(message.line(), line);
        assert_eq!(NodeMessage::parse(line.as_bytes()), Some(message));
        let up = NodeMessage::State(NodeStage::Up, "kernel=6.1 image=x".into());
        assert_eq!(up.line(), "state up kernel=6.1 image=x\n");
        assert_eq!(NodeMessage::parse(up.line().as_bytes()), Some(up));
        let failed = NodeMessage::State(NodeStage::Failed, String::new());
        assert_eq!(NodeMessage::parse(b"state failed"), Some(failed.clone()));
        assert_eq!(NodeMessage::parse(failed.line().as_bytes()), Some(failed));
        let hidden = NodeMessage::State(NodeStage::Failed, "a?b".into());
        assert_eq!(NodeMessage::parse(b"state failed a\x1bb"), Some(hidden));
    }

    #[test]
    fn what_firmware_says_wrongly_is_passed_over_and_what_is_no_word_refused() {
        let nothing = Some(NodeMessage::Question(NodeQuestion::default()));
        for line in ["mac=x", "uuid=", "serial=%zz", "serial=%ff", "later=1", "mac=x uuid=y"] {
            assert_eq!(NodeMessage::parse(line.as_bytes()), nothing, "{line}");
        }
        for line in ["", "\n", "mac", "mac=x  uuid=y", "state", "state on", "state  up"] {
            assert_eq!(NodeMessage::parse(line.as_bytes()), None, "{line}");
        }
        let many = "host=n ".repeat(KEYS_MAX + 9);
        let Some(NodeMessage::Question(question)) = NodeMessage::parse(many.trim().as_bytes())
        else {
            panic!()
        };
        assert_eq!(question.keys.len(), KEYS_MAX);
    }

    #[test]
    fn an_answer_is_lines_and_comes_back() {
        let answer = NodeAnswer {
            name: Some("n001".into()),
            image: "images/a b".into(),
            kernel: Some(Digest::of(b"kernel")),
            parts: vec!["cmdline".into(), "initrd a".into()],
            root: Some(RootKind::Squashfs),
            layers: vec!["layers/all".into(), "layers/n001".into()],
            words: "console=ttyS0 quiet".into(),
            refusal: None,
            text: String::new(),
        };
        let digest = Digest::of(b"kernel");
        let text = format!(
            "name n001\nimage images/a%20b\nkernel blake3:{digest}\npart cmdline\n\
             part initrd%20a\nroot squashfs\n\
             layer layers/all\nlayer layers/n001\nwords console=ttyS0 quiet\n"
        );
        let text = format!("later 1\n{text}");
        assert_eq!(NodeAnswer::parse(&text), Some(NodeAnswer { text: text.clone(), ..answer }));
        let mut said = String::new();
        add_path(&mut said, "image", "a b%");
        add_words(&mut said, "unknown", "no line\nimage x");
        assert_eq!(said, "image a%20b%25\nunknown no line?image x\n");
        let answer = NodeAnswer::parse(&said).unwrap();
        assert_eq!((&*answer.image, answer.refusal.unwrap().reason()), ("a b%", "no line?image x"));
        for text in
            ["", "name n\n", "image\n", "image %\n", "image x\nkernel 7\n", "image x\nroot y\n"]
        {
            assert_eq!(NodeAnswer::parse(text), None, "{text}");
        }
        for part in ["", ".", "..", "root/.", "../other/kernel", "/kernel"] {
            let text = format!("image x\npart {part}\n");
            assert_eq!(NodeAnswer::parse(&text), None, "{text}");
        }
    }
}
