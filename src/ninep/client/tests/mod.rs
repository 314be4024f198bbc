//! Scripted client sessions, one file a subject; answers are written out by the
//! encoder of the server's half.

mod broken;
mod failures;
mod flights;
mod flush;
mod hostile;
mod proving;

use super::*;
use crate::wire::{frame_len, reply, request};
use crate::{Dialect, Error, NOTAG, Qid, Reply};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

const T1: Token = Token(1);
const T2: Token = Token(2);
const T3: Token = Token(3);
const MSIZE: u32 = 65536;

const QID: Qid = Qid { file_type: 0, version: 1, path: 9 };
const OPEN: Reply = Reply::Open { qid: QID, iounit: 0 };

fn reply(tag: u16, reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    reply::encode(Dialect::Unix, tag, reply, &mut out);
    out
}

fn rversion(msize: u32, dialect: Option<Dialect>) -> Vec<u8> {
    reply(NOTAG, &Reply::Version { msize, dialect })
}

fn error(text: &'static str) -> Reply {
    Reply::Error(Error::new(2, text))
}

fn failed(token: Token, text: &'static str) -> Result<Option<Event<'static>>, Broken> {
    Ok(Some(Event::Failed { token, error: Error::new(2, text) }))
}

fn data(text: &[u8]) -> Reply {
    Reply::Read { data: text.to_vec() }
}

fn walk(names: usize) -> Reply {
    Reply::Walk { qids: vec![QID; names] }
}

/// What the client has to send, decoded; tag by tag.
fn sent(client: &mut Client) -> Vec<(u16, String)> {
    let out = client.take_output();
    let (mut rest, mut list) = (&out[..], Vec::new());
    while let Some(len) = frame_len(rest) {
        let (frame, behind) = rest.split_at(len as usize);
        let (tag, request) = request::decode(Some(Dialect::Unix), frame).unwrap();
        list.push((tag, format!("{:?}", request.unwrap())));
        rest = behind;
    }
    list
}

fn take<'a>(client: &mut Client, frame: &'a [u8]) -> Result<Option<Event<'a>>, Broken> {
    client.handle_frame(Frame::whole(frame))
}

/// Answers `tag`, which has to mean nothing to the caller.
fn quiet(client: &mut Client, tag: u16, message: &Reply) {
    assert_eq!(take(client, &reply(tag, message)), Ok(None), "{message:?}");
}

fn reason(client: &mut Client, frame: &[u8]) -> String {
    let reason = take(client, frame).unwrap_err().reason;
    assert_eq!(client.broken().unwrap().reason, reason);
    // And it stays so.
    assert_eq!(take(client, &reply(0, &Reply::Flush)).unwrap_err().reason, reason);
    reason
}

/// Version and attach are over; tag 0 is free again.
fn attached() -> Client {
    let mut client = Client::new(MSIZE);
    client.take_output();
    quiet(&mut client, NOTAG, &Reply::Version { msize: MSIZE, dialect: Some(Dialect::Unix) });
    quiet(&mut client, 0, &Reply::Attach { qid: QID });
    assert_eq!(client.outstanding(), 0);
    client
}

/// `f` is open; tags 0 and 1 are free, 1 is given out first.
fn opened() -> (Client, Fid) {
    let mut client = attached();
    let fid = client.open(&[b"f"], OpenMode::ReadWrite, T1);
    client.take_output();
    quiet(&mut client, 0, &walk(1));
    let frame = reply(1, &OPEN);
    let event = take(&mut client, &frame);
    assert_eq!(event, Ok(Some(Event::Opened { token: T1, fid, iounit: 0 })));
    (client, fid)
}

/// Opens a file of two names, reads and writes it, and clunks it if so.
fn flight(clunk: bool) -> (Client, Fid) {
    let mut client = attached();
    let fid = client.open(&[b"d", b"f"], OpenMode::ReadWrite, T1);
    client.read(fid, 0, 100, T2);
    client.write(fid, 0, b"x", T3);
    if clunk {
        client.clunk(fid);
    }
    client.take_output();
    (client, fid)
}
