//! Somebody who sits on all links: he sees every frame, and hands on what he likes.

use ninep::wire::{reply, request};
use ninep::{Dialect, Error, Reply, Request};

/// A frame on a connection, to who called (0) or who was called (1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    pub conn: usize,
    pub to: usize,
    pub bytes: Vec<u8>,
}

/// What he makes of a frame, given those before it.
type Will = Box<dyn FnMut(&[Passed], Passed) -> Vec<Passed>>;

pub struct Between {
    pub seen: Vec<Passed>,
    will: Will,
}

impl Between {
    pub fn new(will: impl FnMut(&[Passed], Passed) -> Vec<Passed> + 'static) -> Between {
        Between { seen: Vec::new(), will: Box::new(will) }
    }

    pub fn take(&mut self, conn: usize, to: usize, bytes: Vec<u8>) -> Vec<Passed> {
        let passed = Passed { conn, to, bytes };
        let made = (self.will)(&self.seen, passed.clone());
        self.seen.push(passed);
        made
    }
}

impl Passed {
    pub fn tag(&self) -> u16 {
        u16::from_le_bytes([self.bytes[5], self.bytes[6]])
    }

    /// The type byte of its message.
    pub fn kind(&self) -> u8 {
        self.bytes[4]
    }

    /// What is asked by it, of who was called.
    pub fn request(&self) -> Option<Request<'_>> {
        let decoded = (self.to == 1).then(|| request::decode(Some(Dialect::Unix), &self.bytes))?;
        decoded.ok()?.1.ok()
    }

    /// His own answer, instead of handing it on.
    pub fn answered(&self, reply: &Reply) -> Passed {
        let mut bytes = Vec::new();
        reply::encode(Dialect::Unix, self.tag(), reply, &mut bytes);
        Passed { to: 0, bytes, ..*self }
    }

    pub fn refused(&self, errno: u16) -> Passed {
        self.answered(&Reply::Error(Error::with(errno, format!("error {errno}"))))
    }

    /// The same with another byte at its end.
    pub fn damaged(mut self) -> Passed {
        *self.bytes.last_mut().expect("a frame has some") ^= 1;
        self
    }
}
