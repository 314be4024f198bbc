//! One line into a master's log, for who has no conversation with it.

use ninep::client::{Client, Event, Frame, OpenMode, Token};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A reply to the handful of requests that this takes is shorter.
const FRAME_LEN_MAX: u32 = 4096;
const MSIZE: u32 = 8192;

/// Blocks for `most` at the longest in each step.
pub fn write_log(master: SocketAddr, line: &str, most: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&master, most)?;
    stream.set_read_timeout(Some(most))?;
    stream.set_write_timeout(Some(most))?;
    let mut client = Client::new(MSIZE);
    let log = client.open(&[b"log"], OpenMode::Write, Token(0));
    client.write(log, 0, line.as_bytes(), Token(1));
    stream.write_all(&client.take_output())?;
    loop {
        let mut frame = vec![0; 4];
        stream.read_exact(&mut frame)?;
        let len = ninep::wire::frame_len(&frame).unwrap_or(0);
        if !(7..=FRAME_LEN_MAX).contains(&len) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        frame.resize(len as usize, 0);
        stream.read_exact(&mut frame[4..])?;
        match client.handle_frame(Frame::whole(&frame)) {
            Ok(Some(Event::Written { .. })) => return Ok(()),
            Ok(Some(Event::Failed { error, .. })) => {
                return Err(io::Error::other(error.text.into_owned()));
            }
            Ok(_) => {}
            Err(broken) => return Err(io::Error::other(broken.to_string())),
        }
    }
}
