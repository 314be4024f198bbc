//! A 9P2000.u client session: one connection's tags, fids and requests.
//!
//! Knows which request every tag stands for and what its answer may be; refuses
//! to know sockets, clocks, files, and why somebody reads. Requests go into a
//! buffer, frames come in, events come out.
//!
//! Nothing waits for an answer: version, attach, walk, open, read and clunk of
//! one file can leave in one flight, because a client chooses its fids itself.
//! (version(5) wants Rversion awaited first; servers that handle a connection's
//! requests in order cannot tell. diod handles them out of order, so it is not
//! a server for this client.) The price is paid here: when a walk fails, the
//! errors of what was sent behind it are expected, and success is not believed.
//!
//! Whatever a server cannot have meant (an unknown tag, the wrong type, more
//! than was asked for) ends the session as [`Broken`]: its framing or its memory
//! is wrong, and no later answer could be trusted.
//!
//! ```
//! use ninep::client::{Client, Event, Frame, OpenMode, Token};
//!
//! let mut client = Client::new(8192);
//! let motd = client.open(&[b"etc", b"motd"], OpenMode::Read, Token(1));
//! client.read(motd, 0, 100, Token(2));
//! client.clunk(motd);
//! // All of it leaves at once: to a socket, for instance.
//! assert_eq!(client.take_output().len(), 21 + 29 + 28 + 12 + 23 + 11);
//!
//! // What a server says, frame by frame. Only what was asked for is an event.
//! let frames: [&[u8]; 5] = [
//!     b"\x15\0\0\0\x65\xff\xff\0\x20\0\0\x08\09P2000.u",
//!     b"\x14\0\0\0\x69\0\0\x80\x01\0\0\0\x07\0\0\0\0\0\0\0",
//!     b"\x23\0\0\0\x6f\x01\0\x02\0\x80\x01\0\0\0\x08\0\0\0\0\0\0\0\0\x01\0\0\0\x09\0\0\0\0\0\0\0",
//!     b"\x18\0\0\0\x71\x02\0\0\x01\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0",
//!     b"\x10\0\0\0\x75\x03\0\x05\0\0\0hello",
//! ];
//! let mut events = Vec::new();
//! for frame in frames {
//!     events.extend(client.handle_frame(Frame::whole(frame))?);
//! }
//! let hello = Event::Read { token: Token(2), len: 5, data: Some(b"hello") };
//! assert_eq!(events, [Event::Opened { token: Token(1), fid: motd, iounit: 0 }, hello]);
//! # Ok::<(), ninep::client::Broken>(())
//! ```

mod dir;
mod event;
mod fids;
mod session;
mod tags;

#[cfg(test)]
mod tests;

pub use dir::{Listed, listed};
pub use event::{Broken, Event, Fid, Frame, OpenMode, Token};
pub use session::{Client, FIDS_MAX, MSIZE_MIN, OUTSTANDING_MAX};
