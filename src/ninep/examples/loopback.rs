//! Reads a file over 9P and TCP, from a server in the same process and thread:
//!
//!     cargo run -p ninep --example loopback -- DIRECTORY FILE > COPY
//!
//! Shows what is left to do for who drives the sessions: to cut streams into
//! frames, to carry them, and to ask again until a file ends. A real server
//! would have many connections below `poll`, and write what it is told to as far
//! as the peer takes it.

use ninep::client::{Client, Event, Frame, OpenMode, Token};
use ninep::server::{Access, Answer, ConnId, DirEntry, OpenId, Output, Session, Ticket, Tree};
use ninep::{Attr, EACCES, EIO, ENOENT, Error, HEADER_LEN, QTDIR, QTFILE, Qid, wire};
use std::error::Error as StdError;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

const MSIZE: u32 = 64 * 1024;

/// The plain files of one directory. Below it there is nothing, and what is a
/// link is not followed. A file is its name; the directory itself has none.
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn of(&self, file: &Option<String>) -> PathBuf {
        file.as_ref().map_or(self.path.clone(), |name| self.path.join(name))
    }

    fn is_file(path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| Directory::is_file(&entry.path()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

impl Tree for Directory {
    type File = Option<String>;
    type Bulk = ();

    fn attach(&mut self, _: ConnId, _: Option<OpenId>, _: &[u8]) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn walk(&mut self, _: &Option<String>, name: &[u8]) -> Result<Option<String>, Error> {
        if name == b".." {
            return Ok(None);
        }
        let name = str::from_utf8(name).map_err(|_| ENOENT)?;
        if !Directory::is_file(&self.path.join(name)) {
            return Err(ENOENT);
        }
        Ok(Some(name.to_owned()))
    }

    fn qid(&self, file: &Option<String>) -> Qid {
        let file_type = if file.is_none() { QTDIR } else { QTFILE };
        let path = fs::metadata(self.of(file)).map_or(0, |metadata| metadata.ino());
        // 0: nobody is to cache what may change behind our back.
        Qid { file_type, version: 0, path }
    }

    fn attr(&self, file: &Option<String>) -> Attr {
        let (qid, name) = (self.qid(file), file.clone().unwrap_or("/".into()).into_bytes());
        match fs::metadata(self.of(file)) {
            Ok(found) => Attr {
                qid,
                mode: found.mode(),
                uid: found.uid(),
                gid: found.gid(),
                nlink: found.nlink(),
                size: found.len(),
                mtime_s: found.mtime(),
                name,
                ..Attr::default()
            },
            Err(_) => Attr { qid, name, ..Attr::default() },
        }
    }

    fn entry(&self, _: &Option<String>, cursor: u64, _: bool) -> Option<DirEntry<Option<String>>> {
        let name = self.names().into_iter().nth(usize::try_from(cursor).ok()?)?;
        Some(DirEntry { name: name.clone().into(), file: Some(name), next: cursor + 1 })
    }

    fn open(&mut self, _: OpenId, _: &Option<String>, access: Access) -> Result<(), Error> {
        if access.write || access.truncate { Err(EACCES) } else { Ok(()) }
    }

    fn close(&mut self, _: OpenId, _: &Option<String>) {}

    fn read(
        &mut self,
        _: OpenId,
        file: &Option<String>,
        offset: u64,
        count: u32,
        _: Ticket,
    ) -> Result<Answer<()>, Error> {
        let mut bytes = vec![0; count as usize];
        let file = File::open(self.of(file)).map_err(|_| ENOENT)?;
        let len = file.read_at(&mut bytes, offset).map_err(|_| EIO)?;
        bytes.truncate(len);
        Ok(Answer::Bytes(bytes))
    }

    fn write(&mut self, _: OpenId, _: &Option<String>, _: u64, _: &[u8]) -> Result<u32, Error> {
        Err(EACCES)
    }
}

/// The next frame, once it is there whole. Its length is looked at first: what a
/// peer says is no reason to allocate it.
fn next_frame(stream: &mut TcpStream, len_max: u32) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_LEN];
    stream.read_exact(&mut frame)?;
    let len = wire::frame_len(&frame).unwrap_or(0);
    if (len as usize) < HEADER_LEN || len > len_max {
        return Err(io::Error::other(format!("a frame of {len} bytes")));
    }
    frame.resize(len as usize, 0);
    stream.read_exact(&mut frame[HEADER_LEN..])?;
    Ok(frame)
}

struct Server {
    stream: TcpStream,
    session: Session<Directory>,
    tree: Directory,
}

impl Server {
    /// Handles one request and sends what it brings.
    fn turn(&mut self) -> Result<(), Box<dyn StdError>> {
        let frame = next_frame(&mut self.stream, self.session.frame_len_max())?;
        self.session.handle_frame(&mut self.tree, &frame)?;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Frame(bytes) => self.stream.write_all(&bytes)?,
                // This tree names no stored bytes. One that does would have them
                // sent behind `header`.
                Output::Bulk { failure, .. } => self.stream.write_all(&failure.frame())?,
            }
        }
        Ok(())
    }
}

const OPEN: Token = Token(0);
const READ: Token = Token(1);

/// Copies the file `name` to `out`: each read is asked for when the last is here.
fn copy(
    stream: &mut TcpStream,
    server: &mut Server,
    name: &str,
    out: &mut impl Write,
) -> Result<(), Box<dyn StdError>> {
    let mut client = Client::new(MSIZE);
    let fid = client.open(&[name.as_bytes()], OpenMode::Read, OPEN);
    let mut offset = 0;
    client.read(fid, offset, MSIZE, READ);
    loop {
        let awaited = client.outstanding();
        stream.write_all(&client.take_output())?;
        for _ in 0..awaited {
            server.turn()?;
            let frame = next_frame(stream, MSIZE)?;
            match client.handle_frame(Frame::whole(&frame))? {
                Some(Event::Read { len: 0, .. }) => return Ok(()),
                Some(Event::Read { data: Some(data), .. }) => {
                    out.write_all(data)?;
                    offset += data.len() as u64;
                    client.read(fid, offset, MSIZE, READ);
                }
                Some(Event::Failed { error, .. }) => return Err(error.into()),
                _ => {}
            }
        }
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: loopback DIRECTORY FILE".into());
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    let tree = Directory { path: directory.into() };
    let mut server = Server { stream: accepted, session: Session::new(ConnId(0), MSIZE), tree };
    copy(&mut stream, &mut server, &name, &mut io::stdout().lock())
}
