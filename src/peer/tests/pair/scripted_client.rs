//! A 9P client without a will: who asks a master or a client by hand.
//!
//! Opens, reads and writes what a test says, and notes what is answered and
//! when. Of a conversation on `route` it keeps one read outstanding.

use ninep::client::{Client, Event, Fid, Frame, OpenMode, Token};
use ninep::server::ConnId;
use ninep::wire::{reply, request};
use ninep::{Dialect, ENOENT, QTDIR, QTFILE, Qid, Reply, Request};

/// Of the conversation's read.
const ROUTE: Token = Token(u64::MAX);

/// What became of a request, by its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    Opened,
    Read(Vec<u8>),
    Written(u32),
    Pong,
    /// The errno and the words.
    Failed(u16, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mute {
    No,
    ToReads,
    ToAll,
    /// It answers reads, and has nothing, not even the manifest.
    HasNothing,
}

pub struct ScriptedClient {
    pub conn: ConnId,
    client: Client,
    /// Sends frames of the test's own, and takes answers as they are.
    is_raw: bool,
    tokens: u64,
    pub answered: Vec<(u64, u64, Answered)>,
    /// Frames that came to a raw one.
    pub frames: Vec<Vec<u8>>,
    pub route: Option<Fid>,
    unread: Vec<u8>,
    /// What the master said on the conversation.
    pub lines: Vec<(u64, String)>,
    /// The other side ended the connection.
    pub closed_ms: Option<u64>,
    /// What it does not answer who calls it.
    pub mute: Mute,
    /// What it answers those who call it.
    pub replies: Vec<(ConnId, Vec<u8>)>,
}

impl ScriptedClient {
    pub fn new(conn: ConnId, is_raw: bool) -> ScriptedClient {
        ScriptedClient {
            conn,
            client: Client::new(peer::server::MSIZE),
            is_raw,
            tokens: 0,
            answered: Vec::new(),
            frames: Vec::new(),
            route: None,
            unread: Vec::new(),
            lines: Vec::new(),
            closed_ms: None,
            mute: Mute::No,
            replies: Vec::new(),
        }
    }

    pub fn take_output(&mut self) -> Vec<u8> {
        if self.is_raw { Vec::new() } else { self.client.take_output() }
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    /// Opens a file by its path; gives the token of the answer.
    pub fn open(&mut self, path: &str, mode: OpenMode) -> (Fid, u64) {
        let names: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
        let token = self.token();
        (self.client.open(&names, mode, Token(token)), token)
    }

    pub fn read(&mut self, fid: Fid, offset: u64, count: u32) -> u64 {
        let token = self.token();
        self.client.read(fid, offset, count, Token(token));
        token
    }

    pub fn write(&mut self, fid: Fid, text: &[u8]) -> u64 {
        let token = self.token();
        self.client.write(fid, 0, text, Token(token));
        token
    }

    pub fn clunk(&mut self, fid: Fid) {
        self.client.clunk(fid);
    }

    /// Begins the conversation, if there is none, and says something.
    pub fn say(&mut self, line: &str) -> u64 {
        let fid = match self.route {
            Some(fid) => fid,
            None => {
                let fid = self.open(".xget/route", OpenMode::ReadWrite).0;
                self.client.read(fid, 0, 8192, ROUTE);
                fid
            }
        };
        self.route = Some(fid);
        self.write(fid, line.as_bytes())
    }

    pub fn frame(&mut self, now_ms: u64, frame: &[u8]) {
        if self.is_raw {
            return self.frames.push(frame.to_vec());
        }
        let event = self.client.handle_frame(Frame::whole(frame)).expect("answers fit");
        let (token, answered) = match event {
            None => return,
            Some(Event::Read { token: ROUTE, data, .. }) => {
                self.unread.extend_from_slice(data.unwrap_or_default());
                self.take_lines(now_ms);
                let route = self.route.expect("it converses");
                return self.client.read(route, 0, 8192, ROUTE);
            }
            Some(Event::Opened { token, .. }) => (token, Answered::Opened),
            Some(Event::Read { token, data, .. }) => {
                (token, Answered::Read(data.unwrap_or_default().to_vec()))
            }
            Some(Event::Written { token, count }) => (token, Answered::Written(count)),
            Some(Event::Pong { token }) => (token, Answered::Pong),
            Some(Event::Failed { token, error }) => {
                (token, Answered::Failed(error.errno, error.text.into_owned()))
            }
        };
        self.answered.push((now_ms, token.0, answered));
    }

    /// Answers who calls to see whether it is there, and serves nothing.
    pub fn greeted(&mut self, conn: ConnId, frame: &[u8]) {
        if self.mute == Mute::ToAll {
            return;
        }
        let Ok((tag, Ok(request))) = request::decode(Some(Dialect::Unix), frame) else {
            panic!("a master sends what can be read")
        };
        let qid = Qid { file_type: QTDIR, version: 1, path: 1 };
        let reply = match request {
            Request::Version { msize, .. } => {
                Reply::Version { msize, dialect: Some(Dialect::Unix) }
            }
            Request::Attach { .. } => Reply::Attach { qid },
            Request::Flush { .. } => Reply::Flush,
            Request::Walk { names, .. } => Reply::Walk { qids: vec![qid; names.len()] },
            Request::Open { .. } => {
                Reply::Open { qid: Qid { file_type: QTFILE, ..qid }, iounit: 0 }
            }
            Request::Read { .. } if self.mute == Mute::ToReads => return,
            // It holds the manifest at most.
            Request::Read { offset: 0, .. } if self.mute == Mute::No => {
                Reply::Read { data: vec![0] }
            }
            Request::Read { .. } => Reply::Read { data: Vec::new() },
            _ => Reply::Error(ENOENT),
        };
        let mut bytes = Vec::new();
        reply::encode(Dialect::Unix, tag, &reply, &mut bytes);
        self.replies.push((conn, bytes));
    }

    fn take_lines(&mut self, now_ms: u64) {
        while let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).take(end).collect();
            self.lines.push((now_ms, String::from_utf8(line).expect("the master writes text")));
        }
    }

    /// What became of a request, and when.
    pub fn answer(&self, token: u64) -> Option<(u64, &Answered)> {
        let found = self.answered.iter().find(|(_, known, _)| *known == token);
        found.map(|(at_ms, _, answered)| (*at_ms, answered))
    }
}
