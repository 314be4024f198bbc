//! Numbers at fixed places of packets and file headers.
//!
//! `None` where the bytes end before the field does, so that no caller has to
//! prove an index. Knows no format.

/// `N` bytes from `at` on.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// In network byte order.
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// In the byte order of x86 and its boot protocol.
pub fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// In the byte order of x86 and its boot protocol.
pub fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_with_the_bytes() {
        let bytes = [1, 2, 3, 4, 5];
        assert_eq!(be16(&bytes, 0), Some(0x0102));
        assert_eq!(le16(&bytes, 3), Some(0x0504));
        assert_eq!(le32(&bytes, 1), Some(0x0504_0302));
        assert_eq!((be16(&bytes, 4), le32(&bytes, 2)), (None, None));
        assert_eq!(array::<0>(&bytes, 5), Some([]));
        assert_eq!(array::<1>(&bytes, usize::MAX), None);
    }
}
