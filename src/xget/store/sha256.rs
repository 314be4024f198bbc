//! SHA-256 of an open file, in slices: the published identity of a file
//! (`checksum`, `--digest sha256:`), which nothing computes unless asked.
//!
//! Whether the file is the one that was meant is its user's business.

use super::reader::{READ_LEN, Reader};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::rc::Rc;

/// Of no bytes.
pub fn of_nothing() -> [u8; 32] {
    Sha256::digest(b"").into()
}

/// A sum on its way.
pub struct Sum {
    file: Rc<File>,
    offset: u64,
    size: u64,
    hasher: Sha256,
    reader: Reader,
}

impl Sum {
    /// Of the first `size` bytes.
    pub fn new(file: Rc<File>, size: u64) -> Sum {
        Sum { file, offset: 0, size, hasher: Sha256::new(), reader: Reader::default() }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads about `budget_bytes` more; the sum when all is read.
    pub fn step(&mut self, budget_bytes: u64) -> io::Result<Option<[u8; 32]>> {
        let mut left = budget_bytes.max(1);
        while self.offset < self.size && left > 0 {
            let len = (self.size - self.offset).min(left).min(READ_LEN as u64) as usize;
            let bytes = self.reader.read(&self.file, self.offset, len, None)?;
            self.hasher.update(bytes);
            self.offset += len as u64;
            left -= len as u64;
        }
        let whole = self.offset == self.size;
        Ok(whole.then(|| std::mem::take(&mut self.hasher).finalize().into()))
    }
}
