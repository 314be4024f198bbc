//! Peers that behave as badly as they are told.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A slow way to a master: so many bytes a second come back from it.
pub struct Throttle {
    port: u16,
    passed: Arc<AtomicU64>,
    rate: Arc<AtomicU64>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    rate: Option<Arc<AtomicU64>>,
    passed: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let mut slept = Duration::ZERO;
        let is_early = |slept: Duration, rate: &AtomicU64| {
            let rate = rate.load(Ordering::Relaxed);
            slept < Duration::from_nanos(len as u64 * 1_000_000_000 / rate)
        };
        while rate.as_ref().is_some_and(|rate| is_early(slept, rate)) {
            let step = Duration::from_millis(2);
            thread::sleep(step);
            slept += step;
        }
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
        if rate.is_some() {
            passed.fetch_add(len as u64, Ordering::Relaxed);
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

impl Throttle {
    pub fn start(to: u16, bytes_per_second: u64) -> Throttle {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let passed = Arc::new(AtomicU64::new(0));
        let rate = Arc::new(AtomicU64::new(bytes_per_second));
        let (counter, shared) = (passed.clone(), rate.clone());
        let open = Arc::new(Mutex::new(Vec::new()));
        let all = open.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { return };
                let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                all.lock().unwrap().push(near.try_clone().unwrap());
                let (up, down) = (counter.clone(), counter.clone());
                thread::spawn(move || copy(near, far, None, up));
                let rate = Some(shared.clone());
                thread::spawn(move || copy(far2, near2, rate, down));
            }
        });
        Throttle { port, passed, rate, open }
    }

    /// Ends all connections; others can be made.
    pub fn cut(&self) {
        for near in self.open.lock().unwrap().drain(..) {
            let _ = near.shutdown(Shutdown::Both);
        }
    }

    /// From the next bytes on it is as fast as it can.
    pub fn open(&self) {
        self.rate.store(u64::MAX / 1_000_000_000, Ordering::Relaxed);
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn passed_bytes(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

/// What a fake server does when a file is read at an offset.
#[derive(Clone)]
pub enum Act {
    Bytes(Vec<u8>),
    /// The frame as it is, its tag put in.
    Raw(Vec<u8>),
    Error(&'static str),
    /// Never answers this one.
    Park,
    /// Never answers anything any more, and reads nothing.
    Freeze,
    /// Half of an answer, then the end of the connection.
    HalfAndClose(Vec<u8>),
    /// Half of an answer, and never the rest.
    Half(Vec<u8>),
    /// An answer, a byte of it now and then.
    Trickle(Vec<u8>),
    /// An answer to what was never asked.
    Unasked,
    /// Frames without an end, each as long as may be.
    Endless,
}

type Script = dyn Fn(&str, u64, u32) -> Act + Send + Sync;

/// A 9P server whose every read is answered by a function of path, offset and
/// count. Whatever is walked to exists; writes are swallowed, and kept.
pub struct Fake {
    pub port: u16,
    reads: Arc<AtomicU64>,
    written: Arc<Mutex<Vec<String>>>,
}

struct Session {
    stream: TcpStream,
    script: Arc<Script>,
    reads: Arc<AtomicU64>,
    written: Arc<Mutex<Vec<String>>>,
    paths: HashMap<u32, String>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()))
}

const QID: [u8; 13] = [0; 13];

fn rread(tag: u16, bytes: &[u8]) -> Vec<u8> {
    let mut frame = (bytes.len() as u32 + 11).to_le_bytes().to_vec();
    frame.push(117);
    frame.extend(tag.to_le_bytes());
    frame.extend((bytes.len() as u32).to_le_bytes());
    frame.extend(bytes);
    frame
}

impl Fake {
    pub fn start(script: impl Fn(&str, u64, u32) -> Act + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (script, written): (Arc<Script>, _) = (Arc::new(script), Arc::default());
        let reads = Arc::new(AtomicU64::new(0));
        let fake = Fake { port, reads: Arc::clone(&reads), written: Arc::clone(&written) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, reads, written) = (script.clone(), reads.clone(), written.clone());
                let mut session = Session { stream, script, reads, written, paths: HashMap::new() };
                thread::spawn(move || while session.turn().is_ok() {});
            }
        });
        fake
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How often somebody has asked it for bytes.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub fn written(&self) -> Vec<String> {
        self.written.lock().unwrap().clone()
    }
}

impl Session {
    fn turn(&mut self) -> io::Result<()> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let mut frame = vec![0; u32::from_le_bytes(size) as usize - 4];
        self.stream.read_exact(&mut frame)?;
        let (kind, tag, body) = (frame[0], u16_at(&frame, 1) as u16, &frame[3..]);
        match kind {
            100 => {
                let answer = body.to_vec();
                self.answer(kind, tag, &answer)
            }
            104 => self.answer(kind, tag, &QID),
            110 => {
                let count = self.walk(body);
                let answer = [&(count as u16).to_le_bytes()[..], &QID.repeat(count)].concat();
                self.answer(kind, tag, &answer)
            }
            112 => self.answer(kind, tag, &[&QID[..], &[0; 4]].concat()),
            116 => {
                let (fid, count) = (u32_at(body, 0), u32_at(body, 12));
                let offset = u64::from_le_bytes(body[4..12].try_into().unwrap());
                self.read(tag, fid, offset, count)
            }
            118 => {
                let text = String::from_utf8_lossy(&body[16..]).into_owned();
                self.written.lock().unwrap().push(text);
                let count = body[12..16].to_vec();
                self.answer(kind, tag, &count)
            }
            _ => self.answer(kind, tag, &[]),
        }
    }

    fn walk(&mut self, body: &[u8]) -> usize {
        let (fid, newfid, count) = (u32_at(body, 0), u32_at(body, 4), u16_at(body, 8));
        let mut path = self.paths.get(&fid).cloned().unwrap_or_default();
        let mut at = 10;
        for _ in 0..count {
            let len = u16_at(body, at);
            path.push('/');
            path.push_str(&String::from_utf8_lossy(&body[at + 2..at + 2 + len]));
            at += 2 + len;
        }
        self.paths.insert(newfid, path);
        count
    }

    fn read(&mut self, tag: u16, fid: u32, offset: u64, count: u32) -> io::Result<()> {
        let path = self.paths.get(&fid).cloned().unwrap_or_default();
        self.reads.fetch_add(1, Ordering::Relaxed);
        let data = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
        match (self.script)(&path, offset, count) {
            Act::Bytes(bytes) => self.answer(116, tag, &data(&bytes)),
            Act::Error(text) => {
                let len = (text.len() as u16).to_le_bytes();
                self.answer(106, tag, &[&len[..], text.as_bytes(), &5u32.to_le_bytes()].concat())
            }
            Act::Park => Ok(()),
            Act::Freeze => loop {
                thread::sleep(Duration::from_secs(1));
            },
            Act::Raw(mut frame) => {
                frame[5..7].copy_from_slice(&tag.to_le_bytes());
                self.stream.write_all(&frame)
            }
            Act::HalfAndClose(bytes) => {
                self.stream.write_all(&rread(tag, &bytes)[..11 + bytes.len() / 2])?;
                self.stream.shutdown(Shutdown::Both)?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Act::Half(bytes) => {
                self.stream.write_all(&rread(tag, &bytes)[..11 + bytes.len() / 2])?;
                self.swallow()
            }
            Act::Trickle(bytes) => {
                for byte in rread(tag, &bytes) {
                    self.stream.write_all(&[byte])?;
                    thread::sleep(Duration::from_millis(50));
                }
                Ok(())
            }
            Act::Unasked => self.stream.write_all(&rread(40_000, b"unasked")),
            Act::Endless => loop {
                self.stream.write_all(&rread(tag, &vec![0x55; 1 << 20]))?;
            },
        }
    }

    /// Reads what comes and does nothing about it.
    fn swallow(&mut self) -> io::Result<()> {
        io::copy(&mut self.stream, &mut io::sink())?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn answer(&mut self, kind: u8, tag: u16, body: &[u8]) -> io::Result<()> {
        let mut frame = (body.len() as u32 + 7).to_le_bytes().to_vec();
        frame.push(kind + 1);
        frame.extend(tag.to_le_bytes());
        frame.extend(body);
        self.stream.write_all(&frame)
    }
}
