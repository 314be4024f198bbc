//! A client session: real requests, and frames of a hostile server.
//!
//! Whatever comes: what the client sends are sound requests; a request is
//! answered at most once, with no more than was asked for, and not at all when
//! it was given up; a session that is broken stays so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ninep::client::{Client, Event, Fid, Frame, OpenMode, Token};
use ninep::wire::{self, frame_len, request};
use ninep::{Dialect, NOTAG, Qid, RREAD_HEADER_LEN, Reply};
use std::collections::BTreeMap;
use xget_fuzz::steps::{Step, steps};

const MSIZE: u32 = 64 * 1024;
/// Names in the longest path that is opened: more than two walks' worth.
const NAMES_MAX: usize = 40;

struct Caller {
    client: Client,
    fids: Vec<Fid>,
    /// Requests without an answer, and the most that it may bring.
    asked: BTreeMap<Token, u32>,
    token: u64,
}

fuzz_target!(|input: &[u8]| {
    let Some((&greeting, input)) = input.split_first() else { return };
    let mut caller =
        Caller { client: Client::new(MSIZE), fids: Vec::new(), asked: BTreeMap::new(), token: 0 };
    // Most inputs are to reach what comes after the greeting.
    if greeting & 1 == 1 {
        caller.take(
            &reply(NOTAG, &Reply::Version { msize: MSIZE, dialect: Some(Dialect::Unix) }),
            false,
        );
        caller.take(&reply(0, &Reply::Attach { qid: Qid::default() }), false);
    }
    for step in steps(input) {
        match step {
            Step::Frame(frame) => caller.take(&frame, greeting & 2 == 2),
            Step::Event { kind, bytes } => caller.ask(kind, bytes),
        }
        caller.check_output();
    }
});

fn reply(tag: u16, reply: &Reply) -> Vec<u8> {
    let mut frame = Vec::new();
    wire::reply::encode(Dialect::Unix, tag, reply, &mut frame);
    frame
}

impl Caller {
    fn ask(&mut self, kind: u8, bytes: &[u8]) {
        let number = usize::from(bytes.first().copied().unwrap_or(0));
        if self.client.broken().is_some() || self.client.room() <= NAMES_MAX {
            return;
        }
        let kind = kind % 6;
        if kind == 0 {
            let path = vec![&b"name"[..]; number % NAMES_MAX];
            let token = self.token(0);
            self.fids.push(self.client.open(&path, OpenMode::ReadWrite, token));
            return;
        }
        let Some(fid) = self.fids.get(number % self.fids.len().max(1)).copied() else { return };
        match kind {
            1 => {
                let count = (number as u32) << 8;
                let token = self.token(count.min(self.client.data_len_max()));
                self.client.read(fid, number as u64, count, token);
            }
            2 => {
                let token = self.token(bytes.len() as u32);
                self.client.write(fid, 0, bytes, token);
            }
            3 => self.client.clunk(fid),
            4 => {
                let token = Token(number as u64);
                self.client.flush(token);
                self.asked.remove(&token);
            }
            _ => {
                let token = self.token(0);
                self.client.ping(token);
            }
        }
    }

    /// A token that was not used, for a request that may bring `most` bytes.
    fn token(&mut self, most: u32) -> Token {
        self.token += 1;
        self.asked.insert(Token(self.token), most);
        Token(self.token)
    }

    fn take(&mut self, frame: &[u8], header_only: bool) {
        let there = if header_only { frame.len().min(RREAD_HEADER_LEN) } else { frame.len() };
        let broken = self.client.broken().cloned();
        let event =
            self.client.handle_frame(Frame { prefix: &frame[..there], len: frame.len() as u32 });
        let (token, len) = match event {
            Err(error) => {
                assert!(broken.is_none_or(|before| before == error), "another reason");
                return;
            }
            Ok(None) => return,
            Ok(Some(Event::Opened { token, .. } | Event::Pong { token })) => (token, 0),
            Ok(Some(Event::Failed { token, error })) => {
                assert!((1..4096).contains(&error.errno));
                (token, 0)
            }
            Ok(Some(Event::Read { token, len, data })) => {
                assert!(data.is_none_or(|data| data.len() == len as usize));
                (token, len)
            }
            Ok(Some(Event::Written { token, count })) => (token, count),
        };
        assert!(broken.is_none(), "an event of a broken session");
        let most = self.asked.remove(&token).expect("an answer to what was asked, once");
        assert!(len <= most, "more than was asked for");
    }

    /// What the client sends is what a server understands.
    fn check_output(&mut self) {
        let output = self.client.take_output();
        let mut rest = &output[..];
        while let Some(len) = frame_len(rest) {
            let (frame, behind) = rest.split_at(len as usize);
            let decoded = request::decode(Some(Dialect::Unix), frame).expect("framed");
            decoded.1.expect("a sound request");
            rest = behind;
        }
        assert!(rest.is_empty());
    }
}
