//! Reads stretches of files for hashing, without reading their holes: those
//! zeros come from memory, because what costs time there is the disk and not
//! the hash.

use crate::os::file;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once, at most: several pieces.
pub const READ_LEN: usize = 1024 * 1024;

/// The memory that is read into, used again and again. It has none at first.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
    zeros: Vec<u8>,
}

/// Where a file has its data: the next ones at or after the last asked place.
#[derive(Clone, Copy, Debug, Default)]
pub struct NextData {
    /// Offsets from `from` to `next` are a hole.
    from: u64,
    next: u64,
}

impl NextData {
    /// Whether a stretch is a hole altogether. For places in rising order.
    fn is_hole(&mut self, file: &File, offset: u64, len: usize) -> bool {
        if offset < self.from || offset >= self.next {
            self.from = offset;
            self.next = file::next_data(file, offset).unwrap_or(u64::MAX);
        }
        self.next >= offset + len as u64
    }
}

impl Reader {
    pub fn zeros(&mut self, len: usize) -> &[u8] {
        stretch(&mut self.zeros, len)
    }

    /// The bytes of a stretch, which is to be of at most `READ_LEN`. With
    /// `holes`, which must then stay with this file, those that are a hole are
    /// not read.
    pub fn read(
        &mut self,
        file: &File,
        offset: u64,
        len: usize,
        holes: Option<&mut NextData>,
    ) -> io::Result<&[u8]> {
        if holes.is_some_and(|data| data.is_hole(file, offset, len)) {
            return Ok(self.zeros(len));
        }
        let bytes = stretch(&mut self.buffer, len);
        file.read_exact_at(bytes, offset)?;
        Ok(bytes)
    }
}

/// The first bytes of a buffer, which grows to the longest that was asked for.
fn stretch(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    &mut buffer[..len]
}

#[cfg(test)]
mod tests {
    use super::super::testing::bytes;
    use super::*;
    use crate::os::scratch::Dir;

    #[test]
    fn holes_are_zeros_and_data_are_read() {
        const LEN: usize = 4096;
        let dir = Dir::new();
        let path = dir.write("f", b"");
        let file = File::options().read(true).write(true).open(&path).unwrap();
        file.set_len(8 * LEN as u64).unwrap();
        let island = bytes(1, LEN);
        file.write_all_at(&island, 3 * LEN as u64).unwrap();
        let (mut reader, mut holes) = (Reader::default(), NextData::default());
        for at in 0..8 {
            let read = reader.read(&file, (at * LEN) as u64, LEN, Some(&mut holes)).unwrap();
            assert_eq!(read == island, at == 3, "{at}");
            assert_eq!(read.iter().all(|byte| *byte == 0), at != 3, "{at}");
        }
        assert!(reader.read(&file, 8 * LEN as u64, 1, None).is_err(), "behind the end");
    }
}
