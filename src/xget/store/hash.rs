//! One file's digests, in slices: of the whole, and of its pieces.
//!
//! Knows an open file and its size.

use super::reader::{NextData, READ_LEN, Reader};
use crate::os::file;
use peer::content::digest::{self, Digest};
use peer::content::manifest::piece_len_of;
use std::fs::File;
use std::io;

/// Hashed at once, and a piece at least: what is read is still in the
/// processor's cache when it is hashed.
const HASH_LEN: u64 = 256 * 1024;

/// A file that is being hashed.
pub struct Hashing {
    pub file: File,
    size: u64,
    piece_len: u32,
    holes: Option<NextData>,
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
        let holes = sparse.then(NextData::default);
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
