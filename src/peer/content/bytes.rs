//! Numbers and stretches taken off the front of bytes that others made.
//!
//! Little endian. Each step checks that what it takes is there and cannot read
//! past the end; what the numbers mean, and whether they can be, is the
//! caller's to check.

/// Fewer bytes are left than were to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort;

/// What is left of some bytes.
#[derive(Clone, Debug)]
pub struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    /// Reads from the first byte on.
    pub fn new(bytes: &'a [u8]) -> ByteReader<'a> {
        ByteReader { rest: bytes }
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`TooShort`] if fewer are left; then nothing is taken.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], TooShort> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(TooShort)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes, as [`ByteReader::take`].
    ///
    /// # Errors
    /// [`TooShort`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], TooShort> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(TooShort)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`TooShort`] if none is left.
    pub fn u8(&mut self) -> Result<u8, TooShort> {
        self.array().map(u8::from_le_bytes)
    }

    /// The number that the next 2 bytes are.
    ///
    /// # Errors
    /// [`TooShort`] if fewer are left.
    pub fn u16(&mut self) -> Result<u16, TooShort> {
        self.array().map(u16::from_le_bytes)
    }

    /// The number that the next 4 bytes are.
    ///
    /// # Errors
    /// [`TooShort`] if fewer are left.
    pub fn u32(&mut self) -> Result<u32, TooShort> {
        self.array().map(u32::from_le_bytes)
    }

    /// The number that the next 8 bytes are.
    ///
    /// # Errors
    /// [`TooShort`] if fewer are left.
    pub fn u64(&mut self) -> Result<u64, TooShort> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_little_endian_and_nothing_is_read_past_the_end() {
        let bytes: Vec<u8> = (1..=17).collect();
        let mut from = ByteReader::new(&bytes);
        assert_eq!((from.u8(), from.u16()), (Ok(1), Ok(0x0302)));
        assert_eq!((from.u32(), from.u64()), (Ok(0x0706_0504), Ok(0x0f0e_0d0c_0b0a_0908)));
        assert_eq!((from.u32(), from.take(3)), (Err(TooShort), Err(TooShort)));
        assert_eq!((from.take(2), from.is_empty()), (Ok(&[16, 17][..]), true));
        assert_eq!((from.take(0), from.u8()), (Ok(&[][..]), Err(TooShort)));
    }
}
