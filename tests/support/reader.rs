//! A 9P reader of a hundred lines, so that the name space is also read by
//! something that shares no code with the program's client.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const MSIZE: u32 = 65_536;
const NOFID: u32 = u32::MAX;

pub struct Reader {
    stream: TcpStream,
    fids: u32,
}

fn body(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes(), text].concat()
}

impl Reader {
    pub fn connect(addr: impl ToSocketAddrs) -> io::Result<Reader> {
        Reader::attach(addr, "")
    }

    /// Attaches to the tree of this name.
    pub fn attach(addr: impl ToSocketAddrs, name: &str) -> io::Result<Reader> {
        Reader::of(TcpStream::connect(addr)?, name)
    }

    /// Over a connection that is up.
    pub fn over(stream: TcpStream) -> io::Result<Reader> {
        Reader::of(stream, "")
    }

    fn of(stream: TcpStream, name: &str) -> io::Result<Reader> {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut reader = Reader { stream, fids: 0 };
        reader.ask(100, &body(&[&MSIZE.to_le_bytes(), &string(b"9P2000")]))?;
        let (fid, afid) = (0u32.to_le_bytes(), NOFID.to_le_bytes());
        reader.ask(104, &body(&[&fid, &afid, &string(b"tester"), &string(name.as_bytes())]))?;
        Ok(reader)
    }

    /// Sends a request and gives the body of its answer.
    fn ask(&mut self, kind: u8, body: &[u8]) -> io::Result<Vec<u8>> {
        let tag: u16 = if kind == 100 { u16::MAX } else { 1 };
        let mut frame = ((7 + body.len()) as u32).to_le_bytes().to_vec();
        frame.push(kind);
        frame.extend(tag.to_le_bytes());
        frame.extend(body);
        self.stream.write_all(&frame)?;
        let mut header = [0; 7];
        self.stream.read_exact(&mut header)?;
        let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let mut answer = vec![0; len - 7];
        self.stream.read_exact(&mut answer)?;
        if header[4] != kind + 1 {
            return Err(io::Error::other(String::from_utf8_lossy(&answer[2..]).into_owned()));
        }
        Ok(answer)
    }

    /// Walks and opens: mode 0 reads, 1 writes, 2 does both.
    pub fn open(&mut self, path: &[&str], mode: u8) -> io::Result<u32> {
        self.fids += 1;
        let mut walk = body(&[&0u32.to_le_bytes(), &self.fids.to_le_bytes()]);
        walk.extend((path.len() as u16).to_le_bytes());
        path.iter().for_each(|name| walk.extend(string(name.as_bytes())));
        let walked = self.ask(110, &walk)?;
        if usize::from(walked[0]) < path.len() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        self.ask(112, &body(&[&self.fids.to_le_bytes(), &[mode]]))?;
        Ok(self.fids)
    }

    pub fn read(&mut self, fid: u32, offset: u64) -> io::Result<Vec<u8>> {
        let count = MSIZE - 24;
        let ask = body(&[&fid.to_le_bytes(), &offset.to_le_bytes(), &count.to_le_bytes()]);
        Ok(self.ask(116, &ask)?.split_off(4))
    }

    pub fn write(&mut self, fid: u32, text: &[u8]) -> io::Result<()> {
        let len = (text.len() as u32).to_le_bytes();
        self.ask(118, &body(&[&fid.to_le_bytes(), &0u64.to_le_bytes(), &len, text])).map(|_| ())
    }

    pub fn read_all(&mut self, path: &[&str]) -> io::Result<Vec<u8>> {
        let fid = self.open(path, 0)?;
        let mut all = Vec::new();
        loop {
            let some = self.read(fid, all.len() as u64)?;
            if some.is_empty() {
                return Ok(all);
            }
            all.extend(some);
        }
    }
}

pub fn read_text(addr: impl ToSocketAddrs, path: &[&str]) -> io::Result<String> {
    let bytes = Reader::connect(addr)?.read_all(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
