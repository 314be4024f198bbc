//! Our own client on the other end: everything of a file in one flight, then
//! parked reads, probes and flushes.

use super::Peer;
use crate::client::{Client, Event, Fid, Frame, OpenMode, Token};
use crate::server::Output;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use proptest::sample::select;

/// Carries requests over and answers back; data of stored bytes stay behind.
fn exchange(client: &mut Client, peer: &mut Peer) -> Vec<String> {
    let out = client.take_output();
    let (mut rest, mut events) = (&out[..], Vec::new());
    hear(client, peer, &mut events);
    while let Some(len) = crate::wire::frame_len(rest) {
        let (frame, behind) = rest.split_at(len as usize);
        peer.session.handle_frame(&mut peer.tree, frame).unwrap();
        rest = behind;
        hear(client, peer, &mut events);
    }
    assert_eq!(client.broken(), None);
    events
}

fn hear(client: &mut Client, peer: &mut Peer, events: &mut Vec<String>) {
    while let Some(output) = peer.session.poll_output() {
        let event = match &output {
            Output::Frame(frame) => client.handle_frame(Frame::whole(frame)),
            Output::Bulk { header, len, .. } => {
                client.handle_frame(Frame { prefix: header, len: header.len() as u32 + len })
            }
        };
        events.extend(event.unwrap().map(|event| match event {
            Event::Opened { token, .. } => format!("{} opened", token.0),
            Event::Read { token, len, data } => {
                format!("{} read {len}{}", token.0, if data.is_some() { "" } else { " bare" })
            }
            Event::Written { token, count } => format!("{} wrote {count}", token.0),
            Event::Pong { token } => format!("{} pong", token.0),
            Event::Failed { token, error } => format!("{} {}", token.0, error.text),
        }));
    }
}

fn open(client: &mut Client, path: &str, mode: OpenMode, token: u64) -> Fid {
    let names: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
    client.open(&names, mode, Token(token))
}

#[test]
fn our_client_gets_files_in_one_flight() {
    let (mut client, mut peer) = (Client::new(1 << 20), Peer::new());
    for (at, path) in ["file", "dir/inner", "bulk", "dir/nothing", "secret"].iter().enumerate() {
        let token = at as u64 * 10;
        let fid = open(&mut client, path, OpenMode::Read, token);
        client.read(fid, 0, 9000, Token(token + 1));
        client.clunk(fid);
    }
    let ctl = open(&mut client, "ctl", OpenMode::ReadWrite, 50);
    client.write(ctl, 0, b"hello", Token(51));
    client.read(ctl, 0, 100, Token(52));
    client.clunk(ctl);
    let none = "No such file or directory";
    let events = exchange(&mut client, &mut peer);
    let (files, rest) = events.split_at(6);
    assert_eq!(
        files,
        ["0 opened", "1 read 9000", "10 opened", "11 read 9000", "20 opened", "21 read 9000 bare"]
    );
    let refused = [30, 31].map(|token| format!("{token} {none}"));
    assert_eq!(rest[..2], refused);
    assert_eq!(rest[2..4], ["40 Permission denied", "41 Permission denied"]);
    assert_eq!(rest[4..], ["50 opened", "51 wrote 5", "52 read 5"]);
    // What the client clunked by itself after the refusals fails, unheard.
    assert!(exchange(&mut client, &mut peer).is_empty());
    assert_eq!((client.outstanding(), client.data_len_max()), (0, super::MSIZE_MAX - 24));
    peer.close();
}

#[test]
fn our_client_walks_a_path_of_forty_names() {
    let (mut client, mut peer) = (Client::new(65536), Peer::new());
    let path = ["dir/../".repeat(19), "dir/inner".into()].concat();
    let fid = open(&mut client, &path, OpenMode::Read, 1);
    client.read(fid, 0, 100, Token(2));
    let short = ["dir/../".repeat(19), "dir/absent".into()].concat();
    open(&mut client, &short, OpenMode::Read, 3);
    let events = exchange(&mut client, &mut peer);
    assert_eq!(events, ["1 opened", "2 read 100", "3 No such file or directory"]);
}

#[test]
fn our_client_probes_and_gives_up_parked_reads() {
    let (mut client, mut peer) = (Client::new(65536), Peer::new());
    let fid = open(&mut client, "parked", OpenMode::Read, 1);
    client.read(fid, 0, 100, Token(2));
    client.ping(Token(3));
    assert_eq!(exchange(&mut client, &mut peer), ["1 opened", "3 pong"]);
    assert_eq!(client.outstanding(), 1);
    client.flush(Token(2));
    assert!(exchange(&mut client, &mut peer).is_empty());
    assert_eq!(client.outstanding(), 0);
    // Given up too late: the answer is on its way already.
    client.read(fid, 0, 100, Token(4));
    assert!(exchange(&mut client, &mut peer).is_empty());
    client.flush(Token(4));
    peer.tree.arrived = true;
    let ticket = peer.tree.the_ticket();
    peer.session.resume(&mut peer.tree, ticket);
    assert!(exchange(&mut client, &mut peer).is_empty());
    client.read(fid, 0, 100, Token(5));
    client.clunk(fid);
    assert_eq!(exchange(&mut client, &mut peer), ["5 read 100"]);
    assert_eq!(client.outstanding(), 0);
    peer.close();
}

/// What a caller of our client may do at any time.
#[derive(Clone, Debug)]
enum Step {
    Open {
        path: &'static str,
        mode: OpenMode,
    },
    Read {
        file: usize,
        offset: u64,
        count: u32,
    },
    Write {
        file: usize,
        offset: u64,
    },
    Clunk {
        file: usize,
    },
    Ping,
    /// Of the request that was made so many before the last.
    Flush {
        back: u64,
    },
    Exchange,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    let path = select(vec!["file", "dir/inner", "bulk", "ctl", "parked", "secret", "dir/absent"]);
    let mode = select(vec![OpenMode::Read, OpenMode::ReadWrite]);
    prop_oneof![
        3 => (path, mode).prop_map(|(path, mode)| Step::Open { path, mode }),
        3 => (0..4_usize, 0..12_000_u64, 0..20_000_u32)
            .prop_map(|(file, offset, count)| Step::Read { file, offset, count }),
        2 => (0..4_usize, 0..2_u64).prop_map(|(file, offset)| Step::Write { file, offset }),
        1 => (0..4_usize).prop_map(|file| Step::Clunk { file }),
        1 => Just(Step::Ping),
        2 => (0..5_u64).prop_map(|back| Step::Flush { back }),
        3 => Just(Step::Exchange),
        1 => Just(Step::Resume),
    ]
}

/// Both halves, and which tokens are still to be heard of.
struct Pair {
    client: Client,
    peer: Peer,
    files: Vec<Fid>,
    last: u64,
    awaited: BTreeSet<u64>,
}

impl Pair {
    fn token(&mut self) -> Token {
        self.last += 1;
        self.awaited.insert(self.last);
        Token(self.last)
    }

    fn file(&self, number: usize) -> Option<Fid> {
        self.files.iter().rev().nth(number).copied()
    }

    fn exchange(&mut self) {
        for event in exchange(&mut self.client, &mut self.peer) {
            let token = event.split(' ').next().unwrap().parse().unwrap();
            assert!(self.awaited.remove(&token), "{event}: twice, or given up");
        }
    }

    fn resume(&mut self) {
        self.peer.tree.arrived = true;
        for ticket in self.peer.tree.waiting.clone() {
            self.peer.session.resume(&mut self.peer.tree, ticket);
        }
        self.exchange();
        self.peer.tree.arrived = false;
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Open { path, mode } => {
                let token = self.token();
                self.files.push(open(&mut self.client, path, mode, token.0));
            }
            Step::Read { file, offset, count } => {
                let Some(fid) = self.file(file) else { return };
                let token = self.token();
                self.client.read(fid, offset, count, token);
            }
            Step::Write { file, offset } => {
                let Some(fid) = self.file(file) else { return };
                let token = self.token();
                self.client.write(fid, offset, b"words", token);
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
                let token = self.last.saturating_sub(back);
                self.awaited.remove(&token);
                self.client.flush(Token(token));
            }
            Step::Exchange => self.exchange(),
            Step::Resume => self.resume(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_request_has_one_event_unless_it_is_given_up(steps in vec_of(step(), 1..60)) {
        let (client, peer) = (Client::new(65536), Peer::new());
        let (files, awaited) = (Vec::new(), BTreeSet::new());
        let mut pair = Pair { client, peer, files, last: 0, awaited };
        steps.iter().for_each(|step| pair.take(step));
        // What is on its way arrives, and what was parked is answered.
        pair.exchange();
        pair.resume();
        while !pair.client.output().is_empty() {
            pair.exchange();
        }
        prop_assert!(pair.awaited.is_empty(), "never heard of: {:?}", pair.awaited);
        prop_assert_eq!(pair.client.outstanding(), 0);
        pair.files.clone().into_iter().for_each(|fid| pair.client.clunk(fid));
        pair.exchange();
        prop_assert!(pair.peer.tree.open.is_empty());
        pair.peer.close();
    }
}
