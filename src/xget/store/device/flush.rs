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
/// After so much it is looked what has become of the last one.
const LOOK_BYTES: u64 = 4 << 20;
/// A batch that failed is read back in slices of this, one for each piece that comes: a slow
/// disk makes it long, a failing one makes it slow, and others are served meanwhile.
const SEARCH_BYTES: u64 = 1 << 20;

#[derive(Default)]
pub struct Flush {
    /// Since the last flush began.
    written_bytes: u64,
    /// Since it was looked whether that has ended.
    unlooked_bytes: u64,
    /// Written since the last flush began, and before it began.
    since: Vec<u32>,
    under: Vec<u32>,
    running: Option<Syncing>,
    /// It is not worth another try.
    is_off: bool,
    /// The medium has not taken the batch: it is found out where.
    search: Option<Search>,
}

struct Search {
    medium: Medium,
    cause: Errno,
    /// Of the batch, what is looked at next.
    next: usize,
}

impl Flush {
    /// A piece was written.
    ///
    /// # Errors
    /// The medium has not taken what was written before.
    pub fn note(&mut self, disk: &Disk, image: &Image, piece: u32) -> Result<(), DestError> {
        if self.search.is_some() {
            return self.search_on(disk, image);
        }
        let len = u64::from(image.extent(piece).len);
        self.since.push(piece);
        self.written_bytes += len;
        self.unlooked_bytes += len;
        if self.unlooked_bytes < LOOK_BYTES || self.is_off {
            return Ok(());
        }
        self.unlooked_bytes = 0;
        if self.is_running() {
            return Ok(());
        }
        if let Some(cause) = self.end() {
            self.search = Some(Search { medium: Medium::of(disk), cause, next: 0 });
            return self.search_on(disk, image);
        }
        if self.written_bytes < BATCH_BYTES {
            return Ok(());
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
        let known = self.search.take().map(|search| search.cause);
        known.or_else(|| self.running.take().and_then(|running| running.end().err()))
    }

    /// Which piece of the batch is not there.
    fn search_on(&mut self, disk: &Disk, image: &Image) -> Result<(), DestError> {
        let Some(Search { medium, cause, next }) = &mut self.search else { return Ok(()) };
        let mut left = SEARCH_BYTES;
        while let Some(&piece) = self.under.get(*next) {
            if left == 0 {
                return Ok(());
            }
            *next += 1;
            let extent = image.extent(piece);
            left = left.saturating_sub(u64::from(extent.len));
            let read = medium.read(extent.offset, extent.len as usize);
            if !read.is_ok_and(|bytes| image.is_right(piece, bytes)) {
                return Err(lost(disk, image, piece, Some(*cause), ""));
            }
        }
        Err(unflushed(disk, *cause))
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

#[cfg(test)]
mod tests {
    use super::super::options::DeviceOptions;
    use super::super::tests::of_kinds;
    use super::*;
    use std::fs::File;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::FileExt;
    use std::os::unix::net::UnixStream;

    /// One for which there is no medium.
    fn failing() -> Option<Syncing> {
        let (socket, _other) = UnixStream::pair().unwrap();
        sync::begin_one(&File::from(OwnedFd::from(socket))).ok()
    }

    /// Each piece may take a disk that fails half a minute.
    #[test]
    fn where_a_flush_has_failed_is_looked_for_in_slices() {
        const PIECES: usize = 100;
        for lost in [Some(70), None] {
            let fetch = of_kinds(&[1; PIECES], &[1; PIECES], DeviceOptions::default());
            let (image, disk) = (&fetch.writer.image, &fetch.writer.disk);
            let all = image.pieces();
            let offset = lost.map(|lost| image.extent(all.start + lost).offset);
            if let Some(offset) = offset {
                disk.file.write_all_at(b"!", offset + 9).unwrap();
            }
            let mut flush = Flush {
                unlooked_bytes: LOOK_BYTES,
                under: all.clone().collect(),
                running: failing(),
                ..Flush::default()
            };
            while flush.is_running() {
                std::thread::yield_now();
            }
            let mut slices = 0;
            let said = loop {
                match flush.note(disk, image, all.start) {
                    Ok(()) => slices += 1,
                    Err(error) => break error.to_string(),
                }
            };
            assert!((2..5).contains(&slices), "{slices}: {said}");
            assert!(said.contains("cannot flush it to the medium"), "{said}");
            let place = offset.map(|offset| format!("at offset {offset};"));
            assert!(place.is_none_or(|place| said.contains(&place)), "{said}");
        }
    }
}
