//! What a device has already of an image, found out in slices; and its holes, made.
//!
//! A piece that is to be zeros, and is not, needs no network: the device is told to forget it,
//! and is read again, because a discard is a hint and not a promise.

use super::super::destination::CheckStep;
use super::super::error::DestError;
use super::super::reader::Reader;
use super::disk::Disk;
use super::image::Image;
use std::ops::Range;

/// Zeroed at once. Where the device cannot, the kernel writes them while we wait.
const ZERO_BYTES_MAX: u64 = 4 << 20;

pub struct Check {
    next: u32,
    /// Pieces that are to be zeros, one behind the other.
    zeros: Range<u32>,
    /// They are zeros already, and are to be given back to the device.
    are_zeros: bool,
    found: Vec<u32>,
    /// It is only told how much differs.
    compares: bool,
    /// Zeros that are there are given back to the device, too.
    discards: bool,
    pub differing_bytes: u64,
    reader: Reader,
}

/// What becomes of a piece.
enum Judged {
    Right,
    /// It is to be zeros, and is so already or not.
    Zeros(bool),
    Wrong,
}

impl Check {
    pub fn new(image: &Image, compares: bool, discards: bool) -> Check {
        Check {
            next: image.pieces().start,
            zeros: 0..0,
            are_zeros: false,
            found: Vec::new(),
            compares,
            discards,
            differing_bytes: 0,
            reader: Reader::default(),
        }
    }

    /// Works until about `budget_bytes` are read.
    ///
    /// # Errors
    /// The device does not take what is written to it.
    pub fn step(
        &mut self,
        disk: &Disk,
        image: &Image,
        budget_bytes: u64,
    ) -> Result<CheckStep, DestError> {
        let mut left = budget_bytes.max(1);
        while left > 0 {
            let piece = self.next;
            if piece == image.pieces().end {
                self.make_zeros(disk, image)?;
                self.reader = Reader::default();
                let mut found = std::mem::take(&mut self.found);
                // Zeros were gathered before they were.
                found.sort_unstable();
                return Ok(CheckStep::Done { found });
            }
            self.next += 1;
            let len = u64::from(image.extent(piece).len);
            left = left.saturating_sub(len);
            match self.judge(disk, image, piece) {
                Judged::Right => self.found.push(piece),
                Judged::Zeros(is_there) if !self.compares => {
                    let gathered = u64::from(piece - self.zeros.start) * len;
                    let fits = self.zeros.end == piece && self.are_zeros == is_there;
                    if !fits || gathered >= ZERO_BYTES_MAX {
                        self.make_zeros(disk, image)?;
                        (self.zeros.start, self.are_zeros) = (piece, is_there);
                    }
                    self.zeros.end = piece + 1;
                }
                Judged::Zeros(_) | Judged::Wrong => self.differing_bytes += len,
            }
        }
        Ok(CheckStep::Checking)
    }

    fn judge(&mut self, disk: &Disk, image: &Image, piece: u32) -> Judged {
        let extent = image.extent(piece);
        let len = extent.len as usize;
        // What cannot be read may be written yet, and the disk then takes another sector.
        let read = self.reader.read(&disk.file, extent.offset, len, None);
        if let Ok(bytes) = read
            && image.is_right(piece, bytes)
        {
            let is_zeros = self.discards && !self.compares && bytes.iter().all(|byte| *byte == 0);
            return if is_zeros { Judged::Zeros(true) } else { Judged::Right };
        }
        match image.is_right(piece, self.reader.zeros(len)) {
            true => Judged::Zeros(false),
            false => Judged::Wrong,
        }
    }

    /// Makes the gathered pieces zeros.
    fn make_zeros(&mut self, disk: &Disk, image: &Image) -> Result<(), DestError> {
        let pieces = std::mem::replace(&mut self.zeros, 0..0);
        if pieces.is_empty() {
            return Ok(());
        }
        let (first, last) = (image.extent(pieces.start), image.extent(pieces.end - 1));
        let len = last.offset + u64::from(last.len) - first.offset;
        disk.zero(first.offset, len, self.are_zeros);
        for piece in pieces {
            let extent = image.extent(piece);
            let read = self.reader.read(&disk.file, extent.offset, extent.len as usize, None);
            if !read.is_ok_and(|bytes| image.is_right(piece, bytes)) {
                disk.write(extent.offset, self.reader.zeros(extent.len as usize))?;
            }
            self.found.push(piece);
        }
        Ok(())
    }
}
