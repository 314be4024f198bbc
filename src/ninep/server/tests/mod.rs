//! Scripted sessions at the level of frames, one file a subject, and the peer
//! and the small tree that they talk to.
//!
//! Request frames are written out field by field here, on purpose: what goes
//! in does not pass through the encoder that is under test elsewhere.

mod client;
mod dirs;
mod files;
mod flush;
mod frames;
mod random;
mod tree;
mod versions;
mod walks;

use super::{ConnId, Output, Session, Ticket, Tree};
use crate::{MessageType as M, NOFID, NONUNAME};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use tree::TestTree;

const TWO_DIALECTS: [&str; 2] = ["9P2000", "9P2000.u"];
const DIALECTS: [&str; 3] = ["9P2000", "9P2000.u", "9P2000.L"];

const CONN: ConnId = ConnId(7);
const MSIZE_MAX: u32 = 64 * 1024;

/// A frame, field by field.
#[derive(Clone, Debug)]
struct Frame(Vec<u8>);

impl Frame {
    fn new(message_type: M, tag: u16) -> Frame {
        let [low, high] = tag.to_le_bytes();
        Frame(vec![0, 0, 0, 0, message_type.0, low, high])
    }
    fn u8(mut self, value: u8) -> Frame {
        self.0.push(value);
        self
    }
    fn u16(mut self, value: u16) -> Frame {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn u32(mut self, value: u32) -> Frame {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn u64(mut self, value: u64) -> Frame {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn bytes(mut self, bytes: &[u8]) -> Frame {
        self.0.extend(bytes);
        self
    }
    fn string(self, bytes: &[u8]) -> Frame {
        self.u16(bytes.len() as u16).bytes(bytes)
    }
    /// The bytes, with the size field set.
    fn done(mut self) -> Vec<u8> {
        let size = self.0.len() as u32;
        self.0[..4].copy_from_slice(&size.to_le_bytes());
        self.0
    }
}

fn tversion(tag: u16, msize: u32, version: &str) -> Frame {
    Frame::new(M::TVERSION, tag).u32(msize).string(version.as_bytes())
}

fn tflush(tag: u16, oldtag: u16) -> Frame {
    Frame::new(M::TFLUSH, tag).u16(oldtag)
}

fn twalk(tag: u16, fid: u32, newfid: u32, names: &[&[u8]]) -> Frame {
    let frame = Frame::new(M::TWALK, tag).u32(fid).u32(newfid).u16(names.len() as u16);
    names.iter().fold(frame, |frame, name| frame.string(name))
}

fn tread(tag: u16, fid: u32, offset: u64, count: u32) -> Frame {
    Frame::new(M::TREAD, tag).u32(fid).u64(offset).u32(count)
}

fn treaddir(tag: u16, fid: u32, cursor: u64, count: u32) -> Frame {
    Frame::new(M::TREADDIR, tag).u32(fid).u64(cursor).u32(count)
}

fn twrite(tag: u16, fid: u32, offset: u64, data: &[u8]) -> Frame {
    Frame::new(M::TWRITE, tag).u32(fid).u64(offset).u32(data.len() as u32).bytes(data)
}

/// A request of nothing but a fid: Tclunk, Tremove, Tstat, Tstatfs, ...
fn tfid(message_type: M, tag: u16, fid: u32) -> Frame {
    Frame::new(message_type, tag).u32(fid)
}

/// A reply, taken apart as far as every reply goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    message_type: M,
    tag: u16,
    body: Vec<u8>,
}

impl Got {
    fn parse(frame: &[u8]) -> Got {
        assert_eq!(u32_at(frame, 0) as usize, frame.len(), "size field of {frame:?}");
        Got { message_type: M(frame[4]), tag: u16_at(frame, 5), body: frame[7..].to_vec() }
    }
    /// count[4] data[count] of Rread and Rreaddir.
    fn data(&self) -> &[u8] {
        assert!([M::RREAD, M::RREADDIR].contains(&self.message_type), "no data in {self:?}");
        assert_eq!(u32_at(&self.body, 0) as usize, self.body.len() - 4);
        &self.body[4..]
    }
    fn walked(&self) -> u16 {
        assert_eq!(self.message_type, M::RWALK, "{self:?}");
        assert_eq!(self.body.len(), 2 + 13 * usize::from(u16_at(&self.body, 0)));
        u16_at(&self.body, 0)
    }
    /// Rlerror's errno, else 0.
    fn errno(&self) -> u32 {
        if self.message_type == M::RLERROR { u32_at(&self.body, 0) } else { 0 }
    }
    /// Rerror's text, else "".
    fn ename(&self) -> String {
        if self.message_type != M::RERROR {
            return String::new();
        }
        let len = usize::from(u16_at(&self.body, 0));
        String::from_utf8(self.body[2..2 + len].to_vec()).unwrap()
    }
    fn is_error(&self) -> bool {
        self.message_type == M::RERROR || self.message_type == M::RLERROR
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A client that sends frames to a session on the tree.
struct Peer {
    session: Session<TestTree>,
    tree: TestTree,
}

impl Peer {
    fn new() -> Peer {
        Peer { session: Session::new(CONN, MSIZE_MAX), tree: TestTree::new() }
    }

    /// A session in `dialect`, fid 0 attached to the root.
    fn attached(dialect: &str) -> Peer {
        Peer::attached_with(dialect, MSIZE_MAX)
    }

    fn attached_with(dialect: &str, msize: u32) -> Peer {
        let mut peer = Peer::new();
        assert_eq!(peer.ask(tversion(0xffff, msize, dialect)).message_type, M::RVERSION);
        let attached = peer.attach(0, b"");
        assert_eq!((attached.message_type, attached.body[0]), (M::RATTACH, 0x80));
        peer
    }

    fn dialect_is_linux(&self) -> bool {
        self.session.dialect() == Some(crate::Dialect::Linux)
    }

    /// Sends a frame; what the session then has to say.
    fn tell(&mut self, frame: Frame) -> Vec<Got> {
        self.session.handle_frame(&mut self.tree, &frame.done()).expect("framing");
        self.hear()
    }

    fn hear(&mut self) -> Vec<Got> {
        core::iter::from_fn(|| self.session.poll_output())
            .map(|output| match output {
                Output::Frame(frame) => Got::parse(&frame),
                Output::Bulk { header, what, len, failure } => {
                    let body = what.to_le_bytes().into_iter().cycle().take(len as usize);
                    assert!(Got::parse(&failure.frame()).is_error());
                    Got::parse(&header.into_iter().chain(body).collect::<Vec<u8>>())
                }
            })
            .collect()
    }

    /// Sends a frame that is answered at once, and by itself.
    fn ask(&mut self, frame: Frame) -> Got {
        let tag = u16_at(&frame.0, 5);
        let mut replies = self.tell(frame);
        assert_eq!(replies.len(), 1, "{replies:?}");
        let reply = replies.remove(0);
        assert_eq!(reply.tag, tag);
        reply
    }

    fn attach(&mut self, fid: u32, aname: &[u8]) -> Got {
        let frame = Frame::new(M::TATTACH, 1).u32(fid).u32(NOFID).string(b"nobody").string(aname);
        let plain = self.session.dialect() == Some(crate::Dialect::Plan9);
        self.ask(if plain { frame } else { frame.u32(NONUNAME) })
    }

    fn walk(&mut self, fid: u32, newfid: u32, path: &str) -> Got {
        let names: Vec<&[u8]> =
            path.split('/').filter(|name| !name.is_empty()).map(str::as_bytes).collect();
        self.ask(twalk(1, fid, newfid, &names))
    }

    /// Opens with Plan 9's mode or the Linux flags that say the same.
    fn open(&mut self, fid: u32, mode: u8) -> Got {
        if !self.dialect_is_linux() {
            return self.ask(Frame::new(M::TOPEN, 1).u32(fid).u8(mode));
        }
        let truncate = if mode & 0x10 != 0 { 0o1000 } else { 0 };
        // O_LARGEFILE, as Linux adds it.
        let flags = u32::from(mode & 3) | truncate | 0o100_000;
        self.ask(Frame::new(M::TLOPEN, 1).u32(fid).u32(flags))
    }

    /// Walks fid 0 to `path` as `fid` and opens it.
    fn opened(&mut self, fid: u32, path: &str, mode: u8) {
        assert_eq!(self.walk(0, fid, path).message_type, M::RWALK, "walk to {path}");
        assert!(!self.open(fid, mode).is_error(), "open of {path}");
    }

    fn read(&mut self, fid: u32, offset: u64, count: u32) -> Got {
        self.ask(tread(1, fid, offset, count))
    }

    fn clunk(&mut self, fid: u32) -> Got {
        self.ask(tfid(M::TCLUNK, 1, fid))
    }

    /// Whether `fid` stands for anything: its qid path, by a clone.
    fn path_of(&mut self, fid: u32) -> Option<u64> {
        const SPARE: u32 = 0xfff0;
        if self.walk(fid, SPARE, "").is_error() {
            return None;
        }
        let file = self.session.files.fids.get(SPARE).unwrap().file;
        self.clunk(SPARE);
        Some(self.tree.qid(&file).path)
    }

    fn resume(&mut self, ticket: Ticket) -> Vec<Got> {
        self.session.resume(&mut self.tree, ticket);
        self.hear()
    }

    /// The connection is lost: every opening has to end, once.
    fn close(&mut self) {
        self.session.close(&mut self.tree);
        assert!(self.tree.open.is_empty(), "left open: {:?}", self.tree.open);
        assert!(self.tree.waiting.is_empty(), "left waiting: {:?}", self.tree.waiting);
        assert_eq!(self.session.parked_count(), 0);
    }
}
