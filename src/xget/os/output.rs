//! Output that never makes us wait: to a terminal, a pipe, a socket or a file.
//!
//! What is not taken at once is queued; a line that does not fit there is dropped
//! and counted, and the count is said once there is room. Knows how each kind of
//! descriptor is written to without waiting, and without changing the flags that
//! other processes share with us: a pipe or terminal is opened anew. Refuses to
//! know what is said.

use super::poll::{BROKEN, Poll, WRITABLE};
use super::socket;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes that wait for who reads one output; further lines are dropped.
pub const QUEUED_BYTES_MAX: usize = 64 * 1024;
/// At the end of the process, who takes nothing for so long is not waited for, nor
/// anybody for longer than that.
const STALL_MS: u128 = 2_000;
const FINISH_MS: u128 = 10_000;
/// What a pipe takes in one piece once poll(2) says that it takes something, and
/// what a terminal nearly always does.
const PIPE_LEN_MAX: usize = libc::PIPE_BUF;
const TERMINAL_LEN_MAX: usize = 64;

/// How it is written to without waiting.
enum Way {
    /// As it is: a file on a disk, or an opening of our own that does not wait.
    Plain,
    Socket,
    /// In pieces of so many bytes, after poll(2): it could not be opened anew.
    Asked(usize),
}

/// A descriptor that is written to without waiting.
pub struct Sink {
    file: File,
    way: Way,
}

impl Sink {
    /// Standard output or error, or what else others have open too.
    pub fn shared(fd: BorrowedFd) -> io::Result<Sink> {
        let file = File::from(fd.try_clone_to_owned()?);
        let kind = file.metadata()?.file_type();
        if kind.is_socket() {
            return Ok(Sink { file, way: Way::Socket });
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            return Ok(Sink { file, way: Way::Plain });
        }
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        Ok(match without_waiting().write(true).open(path) {
            Ok(own) => Sink { file: own, way: Way::Plain },
            Err(_) => {
                let piece = if kind.is_fifo() { PIPE_LEN_MAX } else { TERMINAL_LEN_MAX };
                Sink { file, way: Way::Asked(piece) }
            }
        })
    }

    /// Writes what is taken now.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.way {
            Way::Plain => self.file.write(bytes),
            Way::Socket => socket::send(&self.file, bytes, false),
            Way::Asked(piece) => match self.takes_something(0) {
                true => self.file.write(&bytes[..bytes.len().min(piece)]),
                false => Err(ErrorKind::WouldBlock.into()),
            },
        }
    }

    /// Closes it, and says what close(2) says: of a file far away, that it was not kept.
    pub fn close(self) -> io::Result<()> {
        Ok(nix::unistd::close(self.file)?)
    }

    fn takes_something(&self, within_ms: u64) -> bool {
        let mut poll = Poll::default();
        poll.add(&self.file, WRITABLE);
        poll.wait(within_ms).unwrap_or(false) && poll.ready(0) & (WRITABLE | BROKEN) != 0
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Where lines go.
pub struct Output {
    sink: Sink,
    /// For the line that says what was dropped.
    name: String,
    queue: VecDeque<u8>,
    dropped: u64,
}

impl Output {
    fn new(file: File, way: Way, name: &str) -> Output {
        Output::of(Sink { file, way }, name)
    }

    fn of(sink: Sink, name: &str) -> Output {
        Output { sink, name: name.into(), queue: VecDeque::new(), dropped: 0 }
    }

    /// Standard output or error, or what else others have open too.
    pub fn shared(fd: BorrowedFd, name: &str) -> io::Result<Output> {
        Ok(Output::of(Sink::shared(fd)?, name))
    }

    /// A terminal by its path.
    pub fn terminal(path: &Path) -> io::Result<Output> {
        let file = without_waiting().write(true).open(path)?;
        Ok(Output::new(file, Way::Plain, &path.to_string_lossy()))
    }

    /// A file that is appended to; it may be a FIFO that nobody reads yet.
    pub fn appended(path: &Path) -> io::Result<Output> {
        let opened = without_waiting().append(true).create(true).open(path);
        let file = match opened {
            // fifo(7): to open it for both never waits and never fails.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                without_waiting().read(true).write(true).open(path)?
            }
            opened => opened?,
        };
        Ok(Output::new(file, Way::Plain, &path.to_string_lossy()))
    }

    /// Writes it, or queues what is not taken now; all of it or nothing.
    pub fn push(&mut self, line: &[u8]) {
        self.flush();
        if self.queue.len() + line.len() > QUEUED_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.queue.extend(line);
        self.flush();
    }

    /// Whether something waits to be written.
    pub fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Writes what is taken now.
    pub fn flush(&mut self) {
        while self.is_behind() || self.say_dropped() {
            match self.write_once() {
                Ok(0) => return,
                Ok(len) => drop(self.queue.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nobody is there, or the disk is full: what is said is lost.
                Err(_) => self.queue.clear(),
            }
        }
    }

    /// Queues the line that says how many were dropped, if any were.
    fn say_dropped(&mut self) -> bool {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let name = &self.name;
            let line = format!("xget: {dropped} lines were not shown: nobody read {name}\n");
            self.queue.extend(line.as_bytes());
        }
        dropped > 0
    }

    fn write_once(&mut self) -> io::Result<usize> {
        let (bytes, _) = self.queue.as_slices();
        self.sink.write(bytes)
    }

    /// Gives who reads a bounded time to take the rest.
    pub fn finish(&mut self) {
        let began = Instant::now();
        let (mut moved, mut left) = (began, self.queue.len());
        self.flush();
        while self.is_behind() {
            if self.queue.len() != left {
                (moved, left) = (Instant::now(), self.queue.len());
            }
            if moved.elapsed().as_millis() > STALL_MS || began.elapsed().as_millis() > FINISH_MS {
                return;
            }
            if self.sink.takes_something(100) {
                // A terminal may be ready and take nothing.
                std::thread::sleep(Duration::from_millis(1));
            }
            self.flush();
        }
    }
}

/// Neither to open nor to write waits, and no terminal becomes ours.
fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// Says numbered lines of 100 bytes; gives how many.
    fn say(output: &mut Output, lines: usize) -> usize {
        (0..lines).for_each(|number| output.push(format!("{number:099}\n").as_bytes()));
        lines
    }

    /// What was said arrives: whole lines in order, then how many are missing.
    fn assert_arrives(output: &mut Output, mut reader: impl Read, said: usize) {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while !text.ends_with(b"standard error\n") {
            output.flush();
            match reader.read(&mut buffer) {
                Ok(len) => text.extend_from_slice(&buffer[..len]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let (last, shown) = lines.split_last().unwrap();
        for (number, line) in shown.iter().enumerate() {
            assert_eq!(*line, format!("{number:099}"), "whole and in order");
        }
        let dropped = said - shown.len();
        assert!(shown.len() >= QUEUED_BYTES_MAX / 100 && dropped > 0);
        let words = format!("xget: {dropped} lines were not shown: nobody read standard error");
        assert_eq!(*last, words);
        assert!(!output.is_behind());
    }

    #[test]
    fn a_pipe_that_nobody_reads_keeps_nobody_waiting_and_keeps_its_flags() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut output = Output::shared(writer.as_fd(), "standard error").unwrap();
        assert!(matches!(output.sink.way, Way::Plain), "opened anew");
        let said = say(&mut output, 5_000);
        let flags = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert_eq!(flags & libc::O_NONBLOCK, 0, "others have it open too");
        assert_arrives(&mut output, &mut reader, said);
    }

    #[test]
    fn one_that_cannot_be_opened_anew_is_asked_before_each_piece() {
        let (mut reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let mut output = Output::new(file, Way::Asked(PIPE_LEN_MAX), "standard error");
        let said = say(&mut output, 5_000);
        assert_arrives(&mut output, &mut reader, said);
    }

    #[test]
    fn a_socket_is_sent_to_without_waiting() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let mut output = Output::shared(writer.as_fd(), "standard error").unwrap();
        assert!(matches!(output.sink.way, Way::Socket));
        let said = say(&mut output, 10_000);
        assert_arrives(&mut output, reader, said);
    }

    #[test]
    fn a_terminal_that_was_stopped_keeps_nobody_waiting() {
        use nix::sys::termios::{FlowArg, tcflow};
        let pty = nix::pty::openpty(None, None).unwrap();
        let mut output = Output::shared(pty.slave.as_fd(), "standard error").unwrap();
        assert!(matches!(output.sink.way, Way::Plain), "opened anew");
        // What ^S does.
        tcflow(&pty.slave, FlowArg::TCOOFF).unwrap();
        say(&mut output, 2_000);
        assert!(output.is_behind());
        tcflow(&pty.slave, FlowArg::TCOON).unwrap();
        let mut reader = File::from(pty.master);
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.ends_with("nobody read standard error\r\n") {
            output.flush();
            let len = reader.read(&mut buffer).unwrap();
            text.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
        }
        assert!(text.starts_with(&format!("{:099}\r\n{:099}\r\n", 0, 1)));
    }

    #[test]
    fn a_fifo_that_nobody_has_open_takes_what_fits() {
        let dir = Dir::new();
        let path = dir.join("log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut output = Output::appended(&path).unwrap();
        output.name = "standard error".into();
        let said = say(&mut output, 5_000);
        let reader = OpenOptions::new().read(true).open(&path).unwrap();
        assert_arrives(&mut output, reader, said);
    }

    #[test]
    fn a_file_is_appended_to() {
        let dir = Dir::new();
        let path = dir.join("log");
        std::fs::write(&path, "old\n").unwrap();
        let mut output = Output::appended(&path).unwrap();
        output.push(b"new\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"old\nnew\n");
        assert!(!output.is_behind());
    }

    #[test]
    fn at_the_end_who_reads_is_waited_for_and_who_does_not_is_left() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut output = Output::shared(writer.as_fd(), "standard error").unwrap();
        drop(writer);
        let said = say(&mut output, 1_000);
        let taken = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text.lines().count())
        });
        output.finish();
        drop(output);
        assert_eq!(taken.join().unwrap().unwrap(), said);

        let (_reader, writer) = io::pipe().unwrap();
        let mut output = Output::shared(writer.as_fd(), "standard error").unwrap();
        say(&mut output, 1_000);
        let began = Instant::now();
        output.finish();
        assert!(output.is_behind() && began.elapsed() < Duration::from_secs(9));
    }

    #[test]
    fn nobody_at_the_other_end_is_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        let mut output = Output::shared(writer.as_fd(), "standard error").unwrap();
        drop(reader);
        say(&mut output, 5_000);
        assert!(!output.is_behind());
    }
}
