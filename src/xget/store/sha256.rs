//! SHA-256 of an open file, in slices: the published identity of a file
//! (`checksum`, `--digest sha256:`), which nothing computes unless asked.

use super::READ_LEN;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
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
    buffer: Vec<u8>,
}

impl Sum {
    /// Of the first `size` bytes.
    pub fn new(file: Rc<File>, size: u64) -> Sum {
        let buffer = vec![0; READ_LEN.min(size as usize)];
        Sum { file, offset: 0, size, hasher: Sha256::new(), buffer }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads about `budget_bytes` more; the sum when all is read.
    pub fn step(&mut self, budget_bytes: u64) -> io::Result<Option<[u8; 32]>> {
        let mut left = budget_bytes.max(1);
        while self.offset < self.size && left > 0 {
            let len = (self.size - self.offset).min(left).min(READ_LEN as u64) as usize;
            let bytes = &mut self.buffer[..len];
            self.file.read_exact_at(bytes, self.offset)?;
            self.hasher.update(bytes);
            self.offset += len as u64;
            left -= len as u64;
        }
        let whole = self.offset == self.size;
        Ok(whole.then(|| std::mem::take(&mut self.hasher).finalize().into()))
    }
}
