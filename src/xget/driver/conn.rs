//! One TCP connection: bytes in as whole frames, replies out in order.
//!
//! Knows framing and partial writes. Refuses to know what frames mean and
//! where bulk data come from: `Part`s are given to it when their turn comes.

use super::budget::Account;
use crate::os::socket;
use ninep::server::BulkLost;
use peer::namespace::Bulk;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::rc::Rc;

/// A connection begins with room for requests; the bytes of a longer frame make it
/// grow, and its announced size alone does not.
pub const INPUT_LEN_MIN: usize = 1024;
/// Room that one whose requests we answer keeps between them.
const INPUT_KEPT_MAX: usize = 8 * 1024;
/// Bytes sent on one connection in one turn, about, before others get theirs.
const TURN_BYTES_MAX: usize = 1024 * 1024;
/// Read beyond the frame at hand, so that the next header comes along.
const READ_AHEAD: usize = 4096;
/// Replies queued before we stop reading the peer's requests.
pub const OUTPUT_ITEMS_MAX: usize = 256;
/// Messages up to this length are gathered.
const GATHERED_LEN_MAX: usize = 1024;
/// Bytes held in memory for replies before we stop so: the longest, or many of the
/// others. What one request brings comes on top of it.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// A stretch of stored bytes, ready to be sent.
#[derive(Debug)]
pub enum Part {
    File { file: Rc<File>, offset: u64, len: u64 },
    Bytes { bytes: Rc<Vec<u8>>, from: usize, to: usize },
}

#[derive(Debug)]
enum Item {
    Frame {
        bytes: Vec<u8>,
        sent: usize,
    },
    Bulk {
        header: [u8; 11],
        what: Bulk,
        len: u32,
        failure: BulkLost,
    },
    /// A bulk reply whose turn has come: its header, then its part.
    Header {
        header: [u8; 11],
        sent: usize,
    },
    Part(Part),
}

/// What is to be known of a connection whose other end asks, and we answer.
#[derive(Debug, Default)]
pub struct Asker {
    /// It was accepted.
    pub accepted: bool,
    /// The machine may have more replies for it.
    pub has_replies: bool,
    /// The other end says no more since then, and waits for what it is owed.
    pub ended_ms: Option<u64>,
    /// It is noted for the next turn, with frames that are left.
    pub held: bool,
    /// What it costs.
    pub account: Account,
}

pub struct Conn {
    pub stream: TcpStream,
    pub connecting: bool,
    pub asker: Asker,
    /// Nothing more is queued: close when the queue is empty.
    pub closing: bool,
    input: Vec<u8>,
    filled: usize,
    output: VecDeque<Item>,
    /// Of the items of `output` that are bytes in memory.
    output_bytes: usize,
    /// Memory of the last frames that have left.
    spare: Vec<u8>,
    /// Set when the kernel's buffer is full.
    pub blocked: bool,
}

/// What a read brought.
pub enum Arrival {
    /// Frames may be whole: see `frame`.
    Some,
    Nothing,
    Closed,
}

impl Conn {
    pub fn new(stream: TcpStream, connecting: bool) -> Conn {
        socket::tune(&stream);
        Conn {
            stream,
            connecting,
            asker: Asker { accepted: !connecting, ..Asker::default() },
            closing: false,
            input: Vec::new(),
            filled: 0,
            output: VecDeque::new(),
            output_bytes: 0,
            spare: Vec::new(),
            blocked: false,
        }
    }

    /// Messages that follow each other leave in one. Gives the memory back if
    /// it was not taken.
    pub fn queue(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        self.output_bytes += bytes.len();
        if bytes.len() > GATHERED_LEN_MAX {
            self.output.push_back(Item::Frame { bytes, sent: 0 });
            return None;
        }
        match self.output.back_mut() {
            Some(Item::Frame { bytes: last, .. }) if last.len() <= GATHERED_LEN_MAX => {
                last.extend_from_slice(&bytes);
            }
            _ => {
                let mut own = std::mem::take(&mut self.spare);
                own.extend_from_slice(&bytes);
                self.output.push_back(Item::Frame { bytes: own, sent: 0 });
            }
        }
        Some(bytes)
    }

    pub fn queue_bulk(&mut self, header: [u8; 11], what: Bulk, len: u32, failure: BulkLost) {
        self.output.push_back(Item::Bulk { header, what, len, failure });
    }

    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub fn is_backlogged(&self) -> bool {
        self.output.len() >= OUTPUT_ITEMS_MAX || self.output_bytes >= OUTPUT_BYTES_MAX
    }

    /// Bytes of memory for what arrives and leaves, about.
    pub fn held_bytes(&self) -> usize {
        self.input.capacity() + self.output_bytes + self.output.capacity() * size_of::<Item>()
    }

    #[cfg(test)]
    pub fn input_bytes(&self) -> usize {
        self.input.capacity()
    }

    #[cfg(test)]
    pub fn output_bytes(&self) -> usize {
        self.output_bytes
    }

    /// The size field of the frame at hand, once four bytes are here.
    fn frame_len(&self) -> Option<usize> {
        // While its frames are handled, the buffer is elsewhere.
        let prefix = self.input.get(..self.filled)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*prefix) as usize)
    }

    /// A whole frame is here: its length. The caller takes the buffer with `take_input`.
    /// A size that can never be right is an error: framing is lost.
    pub fn frame(&self, len_max: u32) -> io::Result<Option<usize>> {
        let Some(len) = self.frame_len() else { return Ok(None) };
        if len < ninep::HEADER_LEN || len > len_max as usize {
            let text = format!("sent a frame of {len} bytes, allowed are 7 to {len_max}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok((self.filled >= len).then_some(len))
    }

    /// The buffer, for as long as its frames are handled.
    pub fn take_input(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }

    /// Gives the buffer back, without its first `used` bytes.
    pub fn give_input(&mut self, mut input: Vec<u8>, used: usize) {
        if used > 0 {
            input.copy_within(used..self.filled, 0);
            self.filled -= used;
        }
        if self.asker.accepted && self.filled == 0 && input.len() > INPUT_KEPT_MAX {
            input = Vec::new();
        }
        self.input = input;
    }

    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Reads once. The length was checked by `frame` before room is made.
    pub fn read(&mut self, len_max: u32) -> io::Result<Arrival> {
        let rest = match self.frame_len() {
            Some(len) => len.min(len_max as usize).saturating_sub(self.filled),
            None => 0,
        };
        let want = self.filled + rest + if rest > 0 { READ_AHEAD } else { INPUT_LEN_MIN };
        // Each read may double what is here.
        let room = self.filled + self.filled.max(INPUT_LEN_MIN);
        let want = want.min(room.max(self.input.len()));
        if self.input.len() < want {
            self.input.reserve_exact(want - self.input.len());
            self.input.resize(want, 0);
        }
        match self.stream.read(&mut self.input[self.filled..want]) {
            Ok(0) => Ok(Arrival::Closed),
            Ok(len) => {
                self.filled += len;
                self.asker.account.moved_bytes += len as u64;
                Ok(Arrival::Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Arrival::Nothing),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Arrival::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Writes what the kernel takes. `part` names the bytes of a bulk reply
    /// when its turn has come, or fails when they are not there any more.
    pub fn write(&mut self, mut part: impl FnMut(Bulk, u32) -> Result<Part, ()>) -> io::Result<()> {
        self.blocked = false;
        let mut turn_bytes = 0;
        while let Some(item) = self.output.front_mut().filter(|_| turn_bytes < TURN_BYTES_MAX) {
            let done = match item {
                Item::Bulk { what, len, .. } => {
                    let found = part(*what, *len);
                    self.unfold(found);
                    continue;
                }
                item => {
                    let (held_bytes, left_bytes) = (item.held_bytes(), item.left_bytes());
                    let done = item.send(&self.stream);
                    self.output_bytes -= held_bytes - item.held_bytes();
                    turn_bytes += left_bytes - item.left_bytes();
                    done
                }
            };
            match done {
                Ok(true) => {
                    let Some(item) = self.output.pop_front() else { break };
                    self.output_bytes -= item.held_bytes();
                    if let Item::Frame { mut bytes, .. } = item
                        && bytes.capacity() <= 4 * GATHERED_LEN_MAX
                    {
                        bytes.clear();
                        self.spare = bytes;
                    }
                }
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.asker.account.moved_bytes += turn_bytes as u64;
        self.blocked = self.has_output();
        Ok(())
    }

    /// Replaces the bulk reply at the front by its header and its part.
    fn unfold(&mut self, part: Result<Part, ()>) {
        let Some(Item::Bulk { header, failure, .. }) = self.output.pop_front() else { return };
        match part {
            Ok(part) => {
                self.queue_first(Item::Part(part));
                self.queue_first(Item::Header { header, sent: 0 });
            }
            Err(()) => self.queue_first(Item::Frame { bytes: failure.frame(), sent: 0 }),
        }
    }

    fn queue_first(&mut self, item: Item) {
        self.output_bytes += item.held_bytes();
        self.output.push_front(item);
    }
}

impl Item {
    fn held_bytes(&self) -> usize {
        match self {
            Item::Frame { bytes, .. } => bytes.len(),
            // What is shared and not sent yet.
            Item::Part(Part::Bytes { from, to, .. }) => to - from,
            _ => 0,
        }
    }

    fn left_bytes(&self) -> usize {
        match self {
            Item::Frame { bytes, sent } => bytes.len() - sent,
            Item::Header { header, sent } => header.len() - sent,
            Item::Part(Part::Bytes { from, to, .. }) => to - from,
            Item::Part(Part::File { len, .. }) => *len as usize,
            Item::Bulk { .. } => 0,
        }
    }

    /// Sends once; whether nothing of it is left.
    fn send(&mut self, stream: &TcpStream) -> io::Result<bool> {
        match self {
            Item::Frame { bytes, sent } => {
                *sent += socket::send(stream, &bytes[*sent..], false)?;
                Ok(*sent == bytes.len())
            }
            Item::Header { header, sent } => {
                *sent += socket::send(stream, &header[*sent..], true)?;
                Ok(*sent == header.len())
            }
            Item::Part(Part::Bytes { bytes, from, to }) => {
                *from += socket::send(stream, &bytes[*from..*to], false)?;
                Ok(from == to)
            }
            Item::Part(Part::File { file, offset, len }) => {
                let now = (*len).min(1 << 30) as usize;
                match socket::send_file(stream, file, offset, now)? {
                    // The header has left: only closing tells the truth.
                    0 => return Err(io::Error::other("a served file became shorter")),
                    sent => *len -= sent as u64,
                }
                Ok(*len == 0)
            }
            // Its turn is over when it has become the others.
            Item::Bulk { .. } => Ok(true),
        }
    }
}
