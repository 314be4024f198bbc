//! A master's files and directories, read to their ends, for who fetches nothing.
//!
//! Blocks: for an answer so long as the caller says, and for a file until a time, which may
//! move with the bytes that come. Refuses to know what is read.

use super::exchange::caller;
use super::line::{CONNECT_TIME_MAX, Line};
use ninep::client::{Event, Frame, OpenMode, Token};
use peer::auth::Key;
use peer::caller::Caller;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest frame either way: one with a whole piece, as a client has it.
const MSIZE: u32 = (1 << 20) + 24;
const OPEN: Token = Token(0);
const READ: Token = Token(1);

/// A session with a master.
pub struct Reading {
    line: Line,
    caller: Caller,
    /// For each answer, and for the first of all.
    patience: Duration,
    greeting: Duration,
}

impl Reading {
    /// With the first of these addresses that answers the call, in the tree of this name.
    ///
    /// # Errors
    /// Why the last did not.
    pub fn connect(
        addrs: &[SocketAddr],
        (aname, key): (&'static [u8], Option<&Key>),
        patience: Duration,
    ) -> io::Result<(Reading, SocketAddr)> {
        let mut why = io::Error::from(ErrorKind::AddrNotAvailable);
        for addr in addrs {
            match TcpStream::connect_timeout(addr, patience.min(CONNECT_TIME_MAX)) {
                Ok(stream) => {
                    let line = Line::new(stream, Instant::now());
                    let caller = caller(MSIZE, aname, key)?;
                    return Ok((Reading { line, caller, patience, greeting: patience }, *addr));
                }
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// How long who has said something is waited for: who does not answer a call, or says nothing
    /// at all, is given up as `connect` has it.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// All bytes of a file, or all records of a directory.
    ///
    /// # Errors
    /// `NotFound`; `TimedOut` when an answer, or all of it, is not here in time, which `end`
    /// says of the bytes that came since it was last asked; `FileTooLarge` beyond `len_max`;
    /// `InvalidData` when this is no server.
    pub fn file(
        &mut self,
        path: &[&[u8]],
        len_max: u64,
        end: &mut dyn FnMut(usize) -> Instant,
    ) -> io::Result<Vec<u8>> {
        let fid = self.caller.client.open(path, OpenMode::Read, OPEN);
        let (mut bytes, mut end_of_all) = (Vec::new(), end(0));
        self.caller.client.read(fid, 0, MSIZE, READ);
        loop {
            self.line.set_end(end_of_all.min(Instant::now() + self.greeting));
            self.line.write(&self.caller.client.take_output())?;
            let frame = self.line.frame(MSIZE)?;
            self.greeting = self.patience;
            let event = self.caller.handle_frame(Frame::whole(&frame));
            match event.map_err(|why| io::Error::new(ErrorKind::InvalidData, why))? {
                Some(Event::Read { len: 0, .. }) => break,
                Some(Event::Read { data: Some(data), .. }) => {
                    if (bytes.len() + data.len()) as u64 > len_max {
                        return Err(ErrorKind::FileTooLarge.into());
                    }
                    bytes.try_reserve(data.len())?;
                    bytes.extend_from_slice(data);
                    end_of_all = end(data.len());
                    self.caller.client.read(fid, bytes.len() as u64, MSIZE, READ);
                }
                // What was asked for behind the opening fails with it.
                Some(Event::Failed { token: OPEN, .. }) => {}
                Some(Event::Failed { error, .. }) => {
                    let kind = io::Error::from_raw_os_error(error.errno.into()).kind();
                    return Err(io::Error::new(kind, error.text.into_owned()));
                }
                _ => {}
            }
        }
        self.caller.client.clunk(fid);
        Ok(bytes)
    }
}
