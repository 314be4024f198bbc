//! What a client and its master say to each other, on `/.xget/route` and `log`.
//!
//! Knows lines, and when they can be said. Refuses to know what they mean, and for how long
//! is waited (`MasterLink`).

use crate::caller::{Caller, Credentials};
use crate::control::{ClientMessage, LINE_LEN_MAX, MasterMessage};
use crate::server::MSIZE;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::take;
use ninep::client::{Event, Fid, Frame, OpenMode, Token};

/// Most bytes asked of the conversation at once.
const ANSWER_LEN_MAX: u32 = 8_192;

const ROUTE: Token = Token(1);
const ROUTE_READ: Token = Token(2);
const ROUTE_WRITE: Token = Token(3);
const LOG: Token = Token(4);
const LOG_WRITE: Token = Token(5);
const PROBE: Token = Token(6);

/// The conversation, while there is one.
pub(super) struct Conversation {
    pub caller: Caller,
    route: Fid,
    pub log: Fid,
    pub heard_ms: u64,
    /// What was read and cannot be opened yet.
    sealed: Vec<u8>,
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    /// What is to be said once it can be sealed.
    unsaid: Vec<Vec<u8>>,
    /// Writes that the master has not acknowledged.
    pub unwritten: usize,
}

impl Conversation {
    /// Opens it and joins, all in one flight, or in a second one where a key is shown first.
    pub fn begin(
        credentials: Option<&mut Credentials>,
        now_ms: u64,
        join: &ClientMessage,
    ) -> Conversation {
        let mut caller = Caller::new(MSIZE, credentials);
        let client = &mut caller.client;
        let route = client.open(&[b".xget", b"route"], OpenMode::ReadWrite, ROUTE);
        let (sealed, partial, unsaid) = (Vec::new(), Vec::new(), Vec::new());
        let mut conversation = Conversation {
            caller,
            route,
            log: route,
            heard_ms: now_ms,
            sealed,
            partial,
            unsaid,
            unwritten: 0,
        };
        conversation.say(join.line().into_bytes());
        let client = &mut conversation.caller.client;
        client.read(route, 0, ANSWER_LEN_MAX, ROUTE_READ);
        conversation.log = client.open(&[b"log"], OpenMode::Write, LOG);
        conversation
    }

    /// Takes a frame; whether something was said. An error is why the connection
    /// is of no more use.
    #[inline(never)]
    pub fn frame(&mut self, frame: Frame) -> Result<bool, String> {
        let event = self.caller.handle_frame(frame)?;
        if !self.caller.is_proving() {
            take(&mut self.unsaid).into_iter().for_each(|line| self.say_now(&line));
        }
        match event {
            // A conversation has no end; the next read would be empty as well.
            Some(Event::Read { token: ROUTE_READ, len: 0, .. }) => {
                return Err("it ended the conversation".into());
            }
            Some(Event::Read { token: ROUTE_READ, data, .. }) => {
                self.sealed.extend_from_slice(data.unwrap_or_default());
                self.caller.open(&mut self.sealed, &mut self.partial)?;
                self.caller.client.read(self.route, 0, ANSWER_LEN_MAX, ROUTE_READ);
                return Ok(true);
            }
            Some(Event::Written { .. } | Event::Failed { token: LOG_WRITE, .. }) => {
                self.unwritten = self.unwritten.saturating_sub(1);
            }
            // The log is a courtesy: without it the fetch goes on.
            Some(Event::Failed { token: LOG, .. }) => {}
            Some(Event::Failed { error, .. }) => return Err(format!("it says: {}", error.text)),
            _ => {}
        }
        Ok(false)
    }

    /// The next whole line, understood.
    pub fn line(&mut self) -> Result<Option<MasterMessage>, String> {
        let Some(end) = self.partial.iter().position(|&b| b == b'\n') else {
            let is_endless = self.partial.len() > LINE_LEN_MAX;
            return if is_endless { Err("it sent a line without an end".into()) } else { Ok(None) };
        };
        let line: Vec<u8> = self.partial.drain(..=end).collect();
        let message = MasterMessage::parse(&line);
        message.ok_or("it said what this version does not understand".into()).map(Some)
    }

    /// A line for the operator.
    pub fn log(&mut self, text: &str) {
        // A courtesy: what would have to wait is not said.
        if !self.caller.is_proving() {
            self.write(self.log, text.as_bytes(), LOG_WRITE);
        }
    }

    /// Whether it lives.
    pub fn probe(&mut self) {
        self.caller.client.ping(PROBE);
    }

    /// A line to the master, once it is known to be that.
    pub fn say(&mut self, line: Vec<u8>) {
        if self.caller.is_proving() {
            self.unsaid.push(line);
        } else {
            self.say_now(&line);
        }
    }

    fn say_now(&mut self, line: &[u8]) {
        self.write(self.route, line, ROUTE_WRITE);
    }

    /// Writes have the order in which they were sealed, whatever they are written to.
    fn write(&mut self, fid: Fid, text: &[u8], token: Token) {
        let said = self.caller.seal(text);
        self.caller.client.write(fid, 0, &said, token);
        self.unwritten += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Key, Random};
    use alloc::vec;
    use ninep::wire::reply::encode;
    use ninep::{Dialect, NOTAG, Qid, Reply};

    /// Whoever is called without a key knows which numbers the questions will have.
    #[test]
    fn who_shows_no_key_is_not_heard_by_answering_what_was_not_asked() {
        let key = Key::root([7; 32]).cluster().unwrap();
        let mut credentials = Credentials::new(key, Random::new([9; 32]));
        let mut talk = Conversation::begin(Some(&mut credentials), 0, &ClientMessage::Leave);
        let lie = format!("generation {} 100 32768 1\n", "66".repeat(32)).into_bytes();
        let qid = Qid::default();
        let version = Reply::Version { msize: MSIZE, dialect: Some(Dialect::Unix) };
        let answers = [
            (NOTAG, version),
            (3, Reply::Walk { qids: vec![qid, qid] }),
            (4, Reply::Open { qid, iounit: 0 }),
            (5, Reply::Read { data: lie }),
        ];
        let heard: Vec<bool> = answers
            .iter()
            .map(|(tag, answer)| {
                let mut frame = Vec::new();
                encode(Dialect::Unix, *tag, answer, &mut frame);
                talk.frame(Frame::whole(&frame)).is_ok()
            })
            .collect();
        assert_eq!(heard, [true, false, false, false]);
        assert_eq!(talk.line(), Ok(None));
        // Nor is plain text, should it come as far as that.
        let (mut read, mut text) = (b"plain".to_vec(), Vec::new());
        assert!(talk.caller.open(&mut read, &mut text).is_err() && text.is_empty());
        assert!(talk.caller.seal(b"a secret").is_empty());
    }
}
