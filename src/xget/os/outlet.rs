//! Standard output as the place where a stream goes: bytes, as many as are taken now.
//!
//! Knows how each kind of descriptor is written to without waiting, and without changing
//! the flags that other processes share with us: see `output`. Refuses to know what the
//! bytes are.

use super::output::Sink;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Room for so much in a pipe, if we may: fewer turns of the loop, and of who reads.
const PIPE_BYTES: i32 = 1 << 20;

/// Standard output was closed when the program began. Rust's runtime then opens /dev/null there,
/// before `main`, so that it can be seen earlier alone.
static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_closed() {
    // SAFETY: it reads the flags of a number, whatever that is, and changes nothing.
    #[allow(unsafe_code)]
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    WAS_CLOSED.store(flags < 0, Ordering::Relaxed);
}

// SAFETY: the C library calls what is listed in this section, once, before `main` and before any
// other thread; the function needs nothing of the runtime.
#[used]
#[allow(unsafe_code)]
#[unsafe(link_section = ".init_array")]
static NOTE_CLOSED: extern "C" fn() = note_closed;

/// Where the bytes go.
pub struct Outlet(Sink);

impl Outlet {
    /// Standard output, whatever it is.
    ///
    /// # Errors
    /// It was closed when the program began, or cannot be looked at.
    pub fn stdout() -> io::Result<Outlet> {
        if WAS_CLOSED.load(Ordering::Relaxed) {
            return Err(Errno::EBADF.into());
        }
        let sink = Sink::shared(io::stdout().as_fd())?;
        let _ = fcntl(&sink, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Ok(Outlet(sink))
    }

    /// Writes what is taken now: 0 when nothing is.
    ///
    /// # Errors
    /// Nobody is there to take it, or it cannot be kept.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// Whoever reads standard output sees its end now, though this process goes on.
    ///
    /// # Errors
    /// What was written is not kept: close(2) is the last that can say so.
    pub fn close(self) -> io::Result<()> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let closed = self.0.close();
        let shared = nix::unistd::close(libc::STDOUT_FILENO);
        nix::unistd::dup2_stdout(&null)?;
        closed?;
        Ok(shared?)
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_pipe_takes_what_it_has_room_for_and_says_when_nobody_reads() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut outlet = Outlet(Sink::shared(writer.as_fd()).unwrap());
        let block = vec![7; 1 << 20];
        let mut taken = 0;
        loop {
            match outlet.write(&block).unwrap() {
                0 => break,
                len => taken += len,
            }
        }
        assert!(taken > 0);
        let mut read = vec![0; taken];
        reader.read_exact(&mut read).unwrap();
        assert!(read.iter().all(|byte| *byte == 7));
        assert!(outlet.write(&block).unwrap() > 0);
        drop(reader);
        assert_eq!(outlet.write(&block).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
