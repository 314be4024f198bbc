//! A connection that blocks, until a time and no longer: for short talks.
//!
//! Knows frames and how long they may be; refuses to know what is in them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection that is not up by then is given up, as in a fetch.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

/// A connection that is of use until a time.
pub struct Line {
    stream: TcpStream,
    end: Instant,
}

impl Line {
    pub fn new(stream: TcpStream, end: Instant) -> Line {
        Line { stream, end }
    }

    /// It is of use until then.
    pub fn set_end(&mut self, end: Instant) {
        self.end = end;
    }

    /// What is left, for each call anew: who brings a byte now and then is not waited for.
    fn limit(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(self.limit()?)?;
        self.stream.write_all(bytes)
    }

    fn fill(&mut self, mut place: &mut [u8]) -> io::Result<()> {
        while !place.is_empty() {
            self.stream.set_read_timeout(self.limit()?)?;
            match self.stream.read(place) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => place = &mut place[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next frame, once it is there whole; its length is looked at first.
    pub fn frame(&mut self, msize: u32) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; 4];
        self.fill(&mut frame)?;
        let len = ninep::wire::frame_len(&frame).unwrap_or(0);
        if !(7..=msize).contains(&len) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        frame.resize(len as usize, 0);
        self.fill(&mut frame[4..])?;
        Ok(frame)
    }
}
