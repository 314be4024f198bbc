//! A server that answers what it likes, in frames that are well formed: the
//! session stays in order or breaks, and never says a thing twice.

use super::*;
use alloc::collections::BTreeSet;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Open { names: usize },
    Read { file: usize },
    Write { file: usize },
    Clunk { file: usize },
    Ping,
    Flush { back: u64 },
    Answer { tag: u16, reply: Reply },
    Rubbish(Vec<u8>),
}

fn answer() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Flush),
        Just(Reply::Clunk),
        (0..18_usize).prop_map(walk),
        Just(OPEN),
        (0..20_usize).prop_map(|len| Reply::Read { data: vec![7; len] }),
        (0..12_u32).prop_map(|count| Reply::Write { count }),
        Just(error("no")),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..40_usize).prop_map(|names| Step::Open { names }),
        2 => (0..4_usize).prop_map(|file| Step::Read { file }),
        2 => (0..4_usize).prop_map(|file| Step::Write { file }),
        1 => (0..4_usize).prop_map(|file| Step::Clunk { file }),
        1 => Just(Step::Ping),
        1 => (0..6_u64).prop_map(|back| Step::Flush { back }),
        8 => (0..16_u16, answer()).prop_map(|(tag, reply)| Step::Answer { tag, reply }),
        1 => vec_of(any::<u8>(), 0..40).prop_map(Step::Rubbish),
    ]
}

/// The session, and which tokens may still be heard of.
struct Watch {
    client: Client,
    files: Vec<Fid>,
    next: u64,
    awaited: BTreeSet<Token>,
}

impl Watch {
    fn token(&mut self) -> Token {
        self.next += 1;
        self.awaited.insert(Token(self.next));
        Token(self.next)
    }

    fn file(&self, number: usize) -> Option<Fid> {
        self.files.iter().rev().nth(number).copied()
    }

    fn hear(&mut self, frame: &[u8]) {
        let was_broken = self.client.broken().cloned();
        match self.client.handle_frame(Frame::whole(frame)) {
            Ok(None) => {}
            Ok(Some(
                Event::Opened { token, .. }
                | Event::Read { token, .. }
                | Event::Written { token, .. }
                | Event::Pong { token }
                | Event::Failed { token, .. },
            )) => assert!(self.awaited.remove(&token), "{token:?} twice or given up"),
            Err(broken) => {
                assert_eq!(self.client.broken(), Some(&broken));
                assert_eq!(was_broken.unwrap_or(broken.clone()), broken);
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Open { names } => {
                let token = self.token();
                let path: Vec<&[u8]> = vec![b"d"; names];
                self.files.push(self.client.open(&path, OpenMode::ReadWrite, token));
            }
            Step::Read { file } => {
                if let Some(fid) = self.file(file) {
                    let token = self.token();
                    self.client.read(fid, 0, 10, token);
                }
            }
            Step::Write { file } => {
                if let Some(fid) = self.file(file) {
                    let token = self.token();
                    self.client.write(fid, 0, b"0123456789", token);
                }
            }
            Step::Clunk { file } => {
                if let Some(fid) = self.file(file) {
                    self.client.clunk(fid);
                }
            }
            Step::Ping => {
                let token = self.token();
                self.client.ping(token);
            }
            Step::Flush { back } => {
                let token = Token(self.next.saturating_sub(back));
                self.awaited.remove(&token);
                self.client.flush(token);
            }
            Step::Answer { tag, reply: message } => self.hear(&reply(tag, &message)),
            Step::Rubbish(bytes) => self.hear(&bytes),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_answers_in_any_order(steps in vec_of(step(), 1..60), agreed in any::<bool>()) {
        let client = if agreed { attached() } else { Client::new(MSIZE) };
        let mut watch = Watch { client, files: Vec::new(), next: 0, awaited: BTreeSet::new() };
        for step in steps {
            watch.take(step);
        }
    }
}
