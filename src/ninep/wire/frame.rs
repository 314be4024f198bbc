//! The header that every frame has: `size[4] type[1] tag[2]` (intro(5)).

use super::reader::Reader;
use super::writer::put_u16;
use crate::message_type::MessageType;
use alloc::vec::Vec;
use core::fmt;

/// The framing is lost: the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// What the frame's size field says, in bytes, or 0 where it is not there.
    pub size: u32,
    /// How many bytes the frame has.
    pub len: usize,
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "9P frame of {} bytes says that its size is {}", self.len, self.size)
    }
}

impl core::error::Error for Fatal {}

/// The length in bytes of the frame that `stream` begins with, its size field
/// included, once the four bytes of that field are there. It is what the peer
/// says: to be compared with msize and with [`HEADER_LEN`](crate::HEADER_LEN)
/// before the rest is waited for.
///
/// ```
/// let tclunk = [11, 0, 0, 0, 120, 1, 0, 7, 0, 0, 0];
/// assert_eq!(ninep::wire::frame_len(&tclunk), Some(11));
/// assert_eq!(ninep::wire::frame_len(&tclunk[..3]), None);
/// ```
pub fn frame_len(stream: &[u8]) -> Option<u32> {
    Reader::new(stream).u32().ok()
}

/// Type, tag and body of a frame that is `len` bytes long, of which it begins
/// with `prefix`.
pub(super) fn split_frame(
    prefix: &[u8],
    len: usize,
) -> Result<(MessageType, u16, Reader<'_>), Fatal> {
    let size = frame_len(prefix).unwrap_or(0);
    let fatal = Fatal { size, len };
    if size as usize != len {
        return Err(fatal);
    }
    let mut fields = Reader::new(prefix);
    let mut header = || {
        fields.u32()?;
        Ok::<_, crate::error::Error>((MessageType(fields.u8()?), fields.u16()?))
    };
    let (message_type, tag) = header().map_err(|_| fatal)?;
    Ok((message_type, tag, fields))
}

/// Appends a whole frame, whose body is what `body` appends.
pub(super) fn put_frame(
    out: &mut Vec<u8>,
    message_type: MessageType,
    tag: u16,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend([0; 4]);
    out.push(message_type.0);
    put_u16(out, tag);
    body(out);
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_le_bytes());
}
