//! What was written goes onto the medium while more comes, batch by batch: the end has little to
//! wait for, and a medium that takes nothing is found out long before it.

use super::super::error::DestError;
use super::disk::Disk;
use super::image::Image;
use super::medium::Medium;
use crate::os::sync::{self, Syncing};
use nix::errno::Errno;
use peer::failure::Status;
use std::io;

/// So much is written before the next batch is flushed.
const BATCH_BYTES: u64 = 32 << 20;
/// Where one is under way still, it is looked for again after so much.
const LOOK_BYTES: u64 = 4 << 20;

#[derive(Default)]
pub struct Flush {
    /// Since it was looked whether to flush.
    written_bytes: u64,
    /// Written since the last flush began, and before it began.
    since: Vec<u32>,
    under: Vec<u32>,
    running: Option<Syncing>,
    /// It is not worth another try.
    is_off: bool,
}

impl Flush {
    /// A piece was written.
    ///
    /// # Errors
    /// The medium has not taken what was written before.
    pub fn note(&mut self, disk: &Disk, image: &Image, piece: u32) -> Result<(), DestError> {
        self.since.push(piece);
        self.written_bytes += u64::from(image.extent(piece).len);
        if self.written_bytes < BATCH_BYTES || self.is_off {
            return Ok(());
        }
        if self.is_running() {
            self.written_bytes -= LOOK_BYTES;
            return Ok(());
        }
        if let Some(cause) = self.end() {
            return Err(self.failed(disk, image, cause));
        }
        self.written_bytes = 0;
        self.under = std::mem::take(&mut self.since);
        self.running = sync::begin_one(&disk.file).ok();
        // The one at the end will say why.
        self.is_off = self.running.is_none();
        Ok(())
    }

    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.has_ended())
    }

    /// What the last batch has come to, which is told but once.
    pub fn end(&mut self) -> Option<Errno> {
        self.running.take().and_then(|running| running.end().err())
    }

    /// Which piece of the batch is not there.
    fn failed(&self, disk: &Disk, image: &Image, cause: Errno) -> DestError {
        let mut medium = Medium::of(disk);
        let is_lost = |piece: &&u32| {
            let extent = image.extent(**piece);
            let read = medium.read(extent.offset, extent.len as usize);
            !read.is_ok_and(|bytes| image.is_right(**piece, bytes))
        };
        match self.under.iter().find(is_lost) {
            Some(&piece) => lost(disk, image, piece, Some(cause), ""),
            None => unflushed(disk, cause),
        }
    }
}

/// The medium has not what was written there.
pub fn lost(
    disk: &Disk,
    image: &Image,
    piece: u32,
    unflushed: Option<Errno>,
    how: &str,
) -> DestError {
    disk.is_torn.set(true);
    let cause = match unflushed {
        Some(cause) => format!("cannot flush it to the medium: {}; ", io::Error::from(cause)),
        None => String::new(),
    };
    let extent = image.extent(piece);
    disk.wrong(format!(
        "{cause}what was written is not read back{how}: {} bytes at offset {}; see the kernel's log \
         (dmesg)",
        extent.len, extent.offset
    ))
}

pub fn unflushed(disk: &Disk, cause: Errno) -> DestError {
    let text = format!(
        "{}: cannot flush it to the medium: {}; see the kernel's log (dmesg)",
        disk.path.display(),
        io::Error::from(cause)
    );
    DestError::Other { status: Status::LocalIo, text }
}
