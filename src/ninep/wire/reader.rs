//! What is left of a message, field by field. Every step checks that the field
//! is there; nothing is copied.

use crate::error::Error;
use crate::message::Qid;

pub(super) const SHORT: Error = Error::new(22, "message ends within a field");
pub(super) const TRAILING: Error = Error::new(22, "bytes after the end of the message");
pub(super) const NUL: Error = Error::new(22, "NUL in a string");

/// A field whose value does not matter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Skip {
    /// That many bytes of any value.
    Bytes(usize),
    /// A string.
    Text,
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (field, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*field)
    }

    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn qid(&mut self) -> Result<Qid, Error> {
        Ok(Qid { file_type: self.u8()?, version: self.u32()?, path: self.u64()? })
    }

    /// `len[2]`, then that many bytes of any value.
    pub fn counted(&mut self) -> Result<&'a [u8], Error> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// `len[2]`, then that many bytes but NUL (intro(5)).
    pub fn string(&mut self) -> Result<&'a [u8], Error> {
        let string = self.counted()?;
        if string.contains(&0) { Err(NUL) } else { Ok(string) }
    }

    /// `count[4]`, then that many bytes.
    pub fn data(&mut self) -> Result<&'a [u8], Error> {
        let count = self.u32()?;
        self.take(count as usize)
    }

    pub fn skip(&mut self, fields: &[Skip]) -> Result<(), Error> {
        for field in fields {
            match *field {
                Skip::Bytes(len) => self.take(len)?,
                Skip::Text => self.string()?,
            };
        }
        Ok(())
    }

    /// `fid[4]`, then fields that do not matter.
    pub fn fid_then(&mut self, fields: &[Skip]) -> Result<u32, Error> {
        let fid = self.u32()?;
        self.skip(fields)?;
        Ok(fid)
    }

    /// The message ends here.
    pub fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(TRAILING) }
    }
}
