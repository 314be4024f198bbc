//! A pipe, or whatever standard output is, as the destination of a fetch: one file, in order,
//! each piece verified before its first byte leaves.
//!
//! What was fetched is kept in a file without a name, for whoever reads and for others: a
//! window of it in memory, or all of it in a spool. Knows how far the reader is, and says when
//! it takes nothing. Refuses to know what is kept for whom, and what is fetched next.

use super::destination::{
    CheckStep, Destination, FinishStep, OpenError, Opened, StoreFailure, Writer,
};
use super::error::DestError;
use super::one_file::one_file;
use crate::os::landlock::May;
use crate::os::outlet::Outlet;
use crate::os::{file, memory};
use nix::errno::Errno;
use peer::content::manifest::{Manifest, piece_len_of};
use peer::content::pieces::{Extent, PieceMap};
use peer::failure::Status;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Written at once: what a pipe takes, about.
const BLOCK_LEN: usize = 256 << 10;
/// A reader that takes nothing is spoken of after this long, then after twice as long each
/// time. It is waited for all the same: a tape may be slow.
const STILL: Duration = Duration::from_secs(60);
/// The window is at most one part in so many of the memory that is free.
const MEMORY_SHARE: u64 = 2;

/// What a DEST is called that is standard output; a directory of that name is `./-`.
pub const STDOUT: &str = "-";
/// MiB that are kept where nobody says otherwise, and the fewest: less would not keep parents busy.
pub const WINDOW_MIB: u64 = 64;
pub const WINDOW_MIB_MIN: u64 = 8;

/// What is asked for of a stream, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct StreamOptions {
    /// So much is kept in memory.
    pub window_mib: Option<u64>,
    /// All is kept, on the file system of this directory.
    pub spool: Option<PathBuf>,
}

impl StreamOptions {
    /// The name of one that was typed.
    pub fn typed(&self) -> Option<&'static str> {
        match self {
            StreamOptions { window_mib: Some(_), .. } => Some("--window"),
            StreamOptions { spool: Some(_), .. } => Some("--spool"),
            _ => None,
        }
    }
}

/// Where what was fetched is kept.
#[derive(Clone, Debug)]
pub enum Keep {
    /// So many bytes of it, in memory.
    Window(u64),
    /// All of it, on the file system of this directory.
    Spool(PathBuf),
}

/// Standard output, until it is begun with.
pub struct Stream {
    keep: Keep,
    outlet: Option<Outlet>,
}

/// One file on its way there.
struct StreamWriter {
    /// The file's entry, its size, and the length of its pieces.
    entry: u32,
    size: u64,
    piece_len: u64,
    first_piece: u32,
    is_spooled: bool,
    kept: Kept,
    /// Until it is closed, which may be long before the process ends.
    outlet: Option<Outlet>,
    /// Bytes handed over.
    written: u64,
    reader: Reader,
    block: Vec<u8>,
    failed: Option<DestError>,
}

/// What is here of the file.
struct Kept {
    file: Rc<File>,
    /// Which pieces came, by their number in the file.
    came: Vec<bool>,
    /// Bytes below `passed` are kept no more, and all up to `ready` came.
    passed: u64,
    ready: u64,
}

/// Whether who reads takes something.
struct Reader {
    /// It took something then.
    moved: Instant,
    is_blocked: bool,
    said: u32,
    note: Option<String>,
}

impl Stream {
    /// Standard output is looked at, and nothing is written.
    ///
    /// # Errors
    /// It was closed before we began.
    pub fn open(keep: Keep) -> Result<Stream, DestError> {
        let failed = |error: io::Error| failed("open", &error);
        Ok(Stream { keep, outlet: Some(Outlet::stdout().map_err(failed)?) })
    }

    fn file(&self, size: u64) -> Result<File, DestError> {
        let path = match &self.keep {
            Keep::Spool(path) => path,
            Keep::Window(bytes) => {
                let (needed_bytes, free) = ((*bytes).min(size), memory::available());
                if needed_bytes > free / MEMORY_SHARE {
                    let text = format!(
                        "a window of {} MiB is too much for the {} MiB of memory that are free; \
                         make it smaller (--window), or keep all on a disk (--spool)",
                        needed_bytes.div_ceil(1 << 20),
                        free >> 20
                    );
                    return Err(DestError::Other { status: Status::NoSpace, text });
                }
                let made = file::unnamed_in_memory();
                return made.map_err(|cause| failed("keep in memory", &cause.into()));
            }
        };
        let in_spool = |doing, cause| DestError::Io { doing, path: path.clone(), cause };
        let made = file::unnamed_below(path).map_err(|cause| in_spool("make a file in", cause))?;
        match file::allocate(&made, size) {
            Ok(()) => Ok(made),
            Err(Errno::ENOSPC) => {
                let text = format!("{path:?} has no room for {size} bytes (--spool)");
                Err(DestError::Other { status: Status::NoSpace, text })
            }
            Err(cause) => Err(in_spool("reserve room in", cause)),
        }
    }
}

fn failed(doing: &'static str, error: &io::Error) -> DestError {
    let text = match error.kind() {
        io::ErrorKind::BrokenPipe => "nobody reads standard output any more, and not all of it \
             was written: look why the program behind the pipe has ended"
            .into(),
        _ => format!("cannot {doing} standard output: {error}"),
    };
    DestError::Other { status: Status::LocalIo, text }
}

fn is_closed() -> DestError {
    failed("write to", &Errno::EBADF.into())
}

impl Destination for Stream {
    fn begin(
        &mut self,
        manifest: Rc<Manifest>,
        map: Rc<PieceMap>,
    ) -> Result<Box<dyn Writer>, DestError> {
        let entry = one_file(&manifest, "standard output")?;
        let size = manifest.entries[entry as usize].size;
        let file = self.file(size)?;
        let outlet = self.outlet.take();
        let pieces = map.of_entry(&manifest, entry);
        let kept =
            Kept { file: Rc::new(file), came: vec![false; pieces.len()], passed: 0, ready: 0 };
        Ok(Box::new(StreamWriter {
            entry,
            size,
            piece_len: u64::from(piece_len_of(size, map.piece_len())),
            first_piece: pieces.start,
            is_spooled: matches!(self.keep, Keep::Spool(_)),
            kept,
            outlet,
            written: 0,
            reader: Reader::new(Instant::now()),
            block: vec![0; BLOCK_LEN],
            failed: None,
        }))
    }

    fn release(&self) {}

    fn opens(&self) -> Vec<(PathBuf, May)> {
        match &self.keep {
            Keep::Spool(path) => vec![(path.clone(), May::Change)],
            Keep::Window(_) => Vec::new(),
        }
    }

    fn compares(&self) -> bool {
        false
    }

    fn serves_alone(&self) -> bool {
        false
    }

    fn is_resumed(&self) -> bool {
        false
    }
}

impl Kept {
    /// A piece came that begins here.
    fn note(&mut self, offset: u64, piece_len: u64, size: u64) {
        if let Some(came) = self.came.get_mut((offset / piece_len) as usize) {
            *came = true;
        }
        while self.came.get((self.ready / piece_len) as usize) == Some(&true) && self.ready < size {
            self.ready = size.min(self.ready + piece_len);
        }
    }
}

impl StreamWriter {
    /// Writes what is here and is taken now.
    fn write(&mut self) -> Result<(), DestError> {
        let began = self.written;
        self.reader.is_blocked = false;
        // A bounded number of bytes in one turn: others wait.
        while self.written < self.kept.ready && self.written - began < 4 * BLOCK_LEN as u64 {
            let len = (self.kept.ready - self.written).min(BLOCK_LEN as u64) as usize;
            let block = &mut self.block[..len];
            let read = self.kept.file.read_exact_at(block, self.written);
            read.map_err(|error| failed("read what was kept for", &error))?;
            let Some(outlet) = &mut self.outlet else { return Err(is_closed()) };
            match outlet.write(block).map_err(|error| failed("write to", &error))? {
                0 => {
                    self.reader.is_blocked = true;
                    break;
                }
                taken => self.written += taken as u64,
            }
        }
        self.reader.look(self.written > began || !self.reader.is_blocked, Instant::now());
        Ok(())
    }
}

impl Reader {
    fn new(now: Instant) -> Reader {
        Reader { moved: now, is_blocked: false, said: 0, note: None }
    }

    fn look(&mut self, has_moved: bool, now: Instant) {
        let still = now.saturating_duration_since(self.moved);
        if has_moved {
            (self.moved, self.said) = (now, 0);
        } else if still >= STILL * (1 << self.said.min(10)) {
            self.said += 1;
            let seconds = still.as_secs();
            self.note = Some(format!(
                "whoever reads standard output has taken nothing for {seconds} s, and is waited \
                 for: end it, or this, if that is not to be"
            ));
        }
    }
}

impl Writer for StreamWriter {
    fn check_step(&mut self, _budget_bytes: u64) -> Result<CheckStep, DestError> {
        Ok(CheckStep::Done { found: Vec::new() })
    }

    fn store(&mut self, extents: &[Extent], bytes: &[u8]) -> Result<(), StoreFailure> {
        let Some(extent) = extents.first().filter(|extent| extent.entry == self.entry) else {
            return Ok(());
        };
        self.kept.file.write_all_at(bytes, extent.offset).map_err(|error| StoreFailure {
            entries: vec![self.entry],
            error: failed("keep for", &error),
        })?;
        self.kept.note(extent.offset, self.piece_len, self.size);
        Ok(())
    }

    fn finish_step(&mut self, _budget_bytes: u64) -> FinishStep {
        if self.failed.is_none()
            && let Err(error) = self.write()
        {
            self.failed = Some(error);
        }
        if self.failed.is_none() && self.written < self.kept.ready {
            return FinishStep::Finishing;
        }
        // Whoever reads is to see the end, though others are served yet.
        if let Some(Err(error)) = self.outlet.take().map(Outlet::close) {
            self.failed.get_or_insert(failed("close", &error));
        }
        FinishStep::Done
    }

    fn is_waiting(&self) -> bool {
        self.reader.is_blocked
    }

    fn outlet(&self) -> Option<(BorrowedFd<'_>, bool)> {
        let is_open = self.failed.is_none() && self.written < self.size;
        let outlet = self.outlet.as_ref().filter(|_| is_open)?;
        Some((outlet.as_fd(), self.written < self.kept.ready))
    }

    fn hand_over(&mut self, is_broken: bool) -> Result<Option<u32>, DestError> {
        let before = self.written / self.piece_len;
        if is_broken && self.written == self.kept.ready && self.written < self.size {
            return Err(failed("write to", &Errno::EPIPE.into()));
        }
        self.write()?;
        let below = match self.written == self.size {
            true => self.kept.came.len() as u64,
            false => self.written / self.piece_len,
        };
        Ok((below > before).then_some(self.first_piece + below as u32))
    }

    fn forget(&mut self, below: u32) {
        let piece = u64::from(below.saturating_sub(self.first_piece));
        let passed = (piece * self.piece_len).min(self.written);
        if passed <= self.kept.passed || self.is_spooled {
            return;
        }
        // What cannot be given back is given back at the end.
        let _ = file::punch(&self.kept.file, self.kept.passed, passed);
        self.kept.passed = passed;
    }

    fn is_whole(&self, _entry: u32) -> bool {
        false
    }

    fn open(&mut self, _entry: u32, offset: u64) -> Result<Opened, OpenError> {
        if offset < self.kept.passed {
            return Err(OpenError::Passed);
        }
        // It is compared, and sent from memory: it may be given back while it is sent.
        Ok(Opened { file: self.kept.file.clone(), start: 0, is_sure: false })
    }

    fn failures(&self) -> Vec<DestError> {
        self.failed.clone().into_iter().collect()
    }

    fn take_notes(&mut self) -> Vec<String> {
        self.reader.look(!self.reader.is_blocked, Instant::now());
        self.reader.note.take().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_stands_still_is_spoken_of_after_a_minute_then_after_two_and_so_on() {
        let began = Instant::now();
        let mut reader = Reader::new(began);
        let mut said = |has_moved, seconds| {
            reader.look(has_moved, began + Duration::from_secs(seconds));
            reader.note.take()
        };
        assert_eq!(said(false, 59), None);
        let text = said(false, 60).unwrap();
        assert!(text.contains("has taken nothing for 60 s, and is waited for"), "{text}");
        assert_eq!((said(false, 61), said(false, 119)), (None, None), "once");
        assert!(said(false, 120).unwrap().contains(" 120 s"));
        assert_eq!(said(false, 239), None);
        assert!(said(false, 241).unwrap().contains(" 241 s"));
        assert_eq!(said(true, 300), None, "it has taken something");
        assert_eq!(said(false, 359), None);
        assert!(said(false, 360).unwrap().contains(" 60 s"), "from the beginning");
        assert_eq!(said(false, 300), None, "a clock does not go back");
    }
}
