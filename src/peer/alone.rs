//! What is for one node alone, as it travels: how it begins, and within which bounds it is
//! (docs/protocol.md, "What is for one node alone").
//!
//! Knows what stands before a manifest and the contents of its files, in the order of their
//! pieces. Refuses to know who seals it and where it is kept.

use crate::content::bytes::ByteReader;

/// Bytes of all of it: the manifest, and the contents.
pub const BYTES_MAX: usize = 16 << 20;
/// Entries of its manifest, the root too.
pub const ENTRIES_MAX: usize = 4096;
/// Bytes of its begin.
pub const HEAD_LEN: usize = 16;

const MAGIC: &[u8; 8] = b"xget\0al1";

/// How it begins. It is sealed as all that follows: whoever is between can say that there is
/// nothing as little as what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// There is nothing for this node.
    None,
    /// There may be something, which cannot be given: the master's operator hears why.
    Wrong,
    /// There is no room for it now.
    Busy,
    /// So many bytes of a manifest, and of contents.
    Layer {
        /// Of the manifest, encoded.
        manifest_len: u32,
        /// Of the contents.
        contents_len: u32,
    },
}

impl Head {
    /// Of a manifest and of contents of these lengths, within the bounds.
    pub fn layer(manifest_len: usize, contents_len: usize) -> Option<Head> {
        if manifest_len == 0 || manifest_len.checked_add(contents_len)? > BYTES_MAX {
            return None;
        }
        let contents_len = u32::try_from(contents_len).ok()?;
        Some(Head::Layer { manifest_len: u32::try_from(manifest_len).ok()?, contents_len })
    }

    /// Its bytes.
    pub fn encode(self) -> [u8; HEAD_LEN] {
        let (manifest_len, contents_len) = match self {
            Head::None => (0, 0),
            Head::Wrong => (0, 1),
            Head::Busy => (0, 2),
            Head::Layer { manifest_len, contents_len } => (manifest_len, contents_len),
        };
        let mut bytes = [0; HEAD_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&u32::to_le_bytes(manifest_len));
        bytes[12..].copy_from_slice(&u32::to_le_bytes(contents_len));
        bytes
    }

    /// What these bytes begin with, and what follows it; nothing where it is of another version, is out
    /// of bounds, or is not whole.
    pub fn decode(bytes: &[u8]) -> Option<(Head, &[u8])> {
        let (head, rest) = bytes.split_at_checked(HEAD_LEN)?;
        let mut from = ByteReader::new(head);
        if from.array().ok()? != *MAGIC {
            return None;
        }
        let (manifest_len, contents_len) = (from.u32().ok()?, from.u32().ok()?);
        let head = match (manifest_len, contents_len) {
            (0, 0) => Head::None,
            (0, 1) => Head::Wrong,
            (0, 2) => Head::Busy,
            (manifest, contents) => Head::layer(manifest as usize, contents as usize)?,
        };
        Some((head, rest))
    }

    /// The same of all of it, to its end: nothing where it is cut off, or goes on behind it.
    pub fn whole(bytes: &[u8]) -> Option<(Head, &[u8])> {
        let (head, rest) = Head::decode(bytes)?;
        let len = match head {
            Head::Layer { manifest_len, contents_len } => {
                manifest_len as usize + contents_len as usize
            }
            _ => 0,
        };
        (rest.len() == len).then_some((head, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_nothing_else_is_taken_for_it() {
        let layer = Head::layer(3, 5).unwrap();
        assert_eq!(layer.encode(), *b"xget\0al1\x03\0\0\0\x05\0\0\0");
        for head in [Head::None, Head::Wrong, Head::Busy, layer] {
            let mut bytes = head.encode().to_vec();
            bytes.push(7);
            assert_eq!(Head::decode(&bytes), Some((head, &[7][..])));
            assert_eq!(Head::whole(&bytes), None);
            assert!((0..HEAD_LEN).all(|len| Head::decode(&bytes[..len]).is_none()));
        }
        let bytes = [&layer.encode()[..], b"manifest"].concat();
        assert_eq!(Head::whole(&bytes), Some((layer, &b"manifest"[..])));
        assert!((0..bytes.len()).all(|len| Head::whole(&bytes[..len]).is_none()));
        assert_eq!(Head::decode(b"xget\0al2\0\0\0\0\0\0\0\0"), None);
        assert_eq!(Head::decode(b"xget\0al1\0\0\0\0\x03\0\0\0"), None);
    }

    #[test]
    fn there_is_a_bound() {
        assert!(Head::layer(1, BYTES_MAX - 1).is_some() && Head::layer(BYTES_MAX, 0).is_some());
        assert_eq!(Head::layer(1, BYTES_MAX), None);
        assert_eq!(Head::layer(BYTES_MAX, usize::MAX), None);
        let mut bytes = Head::layer(1, BYTES_MAX - 1).unwrap().encode();
        bytes[8] += 1;
        assert_eq!(Head::decode(&bytes), None);
    }
}
