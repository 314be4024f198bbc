//! The one file that is to be on a device: which pieces it has, and what is right in each place.

use super::super::error::DestError;
use super::super::one_file::one_file;
use peer::content::manifest::Manifest;
use peer::content::pieces::{Extent, PieceMap};
use peer::control::printable;
use peer::failure::Status;
use std::ops::Range;
use std::rc::Rc;

pub struct Image {
    pub entry: u32,
    pub size: u64,
    manifest: Rc<Manifest>,
    map: Rc<PieceMap>,
}

impl Image {
    /// # Errors
    /// There is not exactly one file, with nothing beside it but directories, or it is empty.
    pub fn of(manifest: Rc<Manifest>, map: Rc<PieceMap>) -> Result<Image, DestError> {
        let entry = one_file(&manifest, "a device")?;
        let size = manifest.entries[entry as usize].size;
        if size == 0 {
            let text =
                format!("{} is empty: nothing for a device", printable(manifest.path(entry)));
            return Err(DestError::Other { status: Status::Source, text });
        }
        Ok(Image { entry, size, manifest, map })
    }

    /// Its name, as people see it.
    pub fn name(&self) -> String {
        printable(self.manifest.path(self.entry))
    }

    pub fn pieces(&self) -> Range<u32> {
        self.map.of_entry(&self.manifest, self.entry)
    }

    /// The piece that begins at this offset: all are as long, but the last.
    pub fn piece_at(&self, offset: u64) -> u32 {
        let first = self.pieces().start;
        first + (offset / u64::from(self.extent(first).len.max(1))) as u32
    }

    /// Where a piece of it lies; nothing of any other.
    pub fn extent(&self, piece: u32) -> Extent {
        let nothing = Extent { entry: self.entry, offset: 0, len: 0 };
        self.map.extents(&self.manifest, piece).next().unwrap_or(nothing)
    }

    pub fn is_right(&self, piece: u32, bytes: &[u8]) -> bool {
        self.map.verify_extent(&self.manifest, piece, self.extent(piece), bytes).is_ok()
    }
}
