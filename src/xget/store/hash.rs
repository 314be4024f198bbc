//! One file's digests, in slices: of the whole, and of its pieces.
//!
//! Knows an open file and its size. Holes are not read: their zeros come from
//! memory, because what costs time there is the disk and not the hash.

use super::READ_LEN;
use crate::os::file;
use peer::content::digest::{self, Digest};
use peer::content::manifest::piece_len_of;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Hashed at once, and a piece at least: what is read is still in the
/// processor's cache when it is hashed.
const HASH_LEN: u64 = 256 * 1024;

/// Reads a file's bytes piece by piece, without reading its holes. The default
/// has no room for any.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
    zeros: Vec<u8>,
}

/// Where a file has its data: the next ones at or after the last asked place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Data {
    /// Offsets from `from` to `next` are a hole.
    from: u64,
    next: u64,
}

impl Data {
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
    pub fn new() -> Reader {
        Reader { buffer: vec![0; READ_LEN], zeros: vec![0; READ_LEN] }
    }

    /// At most `READ_LEN` zeros.
    pub fn zeros(&self, len: usize) -> &[u8] {
        &self.zeros[..len]
    }

    /// The bytes of a stretch of at most `READ_LEN`. With `holes`, which must
    /// then stay with this file, those that are a hole are not read.
    pub fn read(
        &mut self,
        file: &File,
        offset: u64,
        len: usize,
        holes: Option<&mut Data>,
    ) -> io::Result<&[u8]> {
        if holes.is_some_and(|data| data.is_hole(file, offset, len)) {
            return Ok(&self.zeros[..len]);
        }
        let bytes = &mut self.buffer[..len];
        file.read_exact_at(bytes, offset)?;
        Ok(bytes)
    }
}

/// A file that is being hashed.
pub struct Hashing {
    pub file: File,
    size: u64,
    piece_len: u32,
    holes: Option<Data>,
    offset: u64,
    list: Vec<Digest>,
    only: Digest,
}

/// What became of a file that was hashed.
pub struct Hashed {
    pub digest: Digest,
    /// Digests of its pieces; empty when it fits into one.
    pub list: Vec<Digest>,
}

impl Hashing {
    /// `piece_len` is that of the generation.
    pub fn new(file: File, size: u64, piece_len: u32, sparse: bool) -> Hashing {
        let piece_len = piece_len_of(size, piece_len);
        if size > READ_LEN as u64 {
            file::read_ahead(&file);
        }
        let holes = sparse.then(Data::default);
        let only = Digest::of(b"");
        Hashing { file, size, piece_len, holes, offset: 0, list: Vec::new(), only }
    }

    /// Hashes the next bytes and says how many. None are left when it is 0.
    pub fn step(&mut self, reader: &mut Reader) -> io::Result<u64> {
        let most = HASH_LEN.max(u64::from(self.piece_len));
        let len = (self.size - self.offset).min(most) as usize;
        let bytes = reader.read(&self.file, self.offset, len, self.holes.as_mut())?;
        if self.size <= u64::from(self.piece_len) {
            self.only = Digest::of(bytes);
        } else {
            let (start, step) = (self.offset, self.piece_len as usize);
            let piece = |(i, c)| digest::of_piece(start + (i * step) as u64, c);
            self.list.extend(bytes.chunks(step).enumerate().map(piece));
        }
        self.offset += len as u64;
        Ok(len as u64)
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn is_whole(&self) -> bool {
        self.offset == self.size
    }

    /// The digests, when all bytes are hashed.
    pub fn finish(self) -> Hashed {
        let digest = match self.list.is_empty() {
            true => self.only,
            false => digest::of_list(&self.list, self.size, self.piece_len)
                .expect("a piece digest for each stretch of piece_len, two or more"),
        };
        Hashed { digest, list: self.list }
    }
}
