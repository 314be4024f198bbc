//! What a manifest may hold at most, and how long pieces are.
//!
//! Both ends must agree on all of it: a manifest beyond these limits is refused
//! by who reads it, and the length of a piece decides what its digest is.

/// Bytes of one piece; a power of two (see [`digest`]). Every generation says
/// its own, this is what a master gives.
///
/// [`digest`]: crate::content::digest
pub const PIECE_LEN: u32 = 32 * 1024;
/// Least bytes of one piece that a generation may say.
pub(crate) const PIECE_LEN_MIN: u32 = 4 * 1024;
/// Most bytes of one piece that a generation may say.
pub(crate) const PIECE_LEN_MAX: u32 = 256 * 1024;
/// A file of more pieces than this has longer ones ...
const PIECES_MAX: u64 = 8192;
/// ... by this factor, so that a list is a quarter of what it would be. How long
/// one piece takes does not matter among so many.
const STRETCH: u32 = 4;
/// Bytes of the longest file name: NAME_MAX in Linux's limits.h.
pub(crate) const NAME_LEN_MAX: usize = 255;
/// Bytes of the longest symlink target: PATH_MAX in Linux's limits.h, without
/// the NUL at the end.
pub(crate) const LINK_LEN_MAX: usize = 4095;
/// Bytes of the longest name of an extended attribute: XATTR_NAME_MAX in Linux's limits.h.
pub(crate) const XATTR_NAME_LEN_MAX: usize = 255;
/// Bytes of the longest value of one: XATTR_SIZE_MAX there.
pub(crate) const XATTR_VALUE_LEN_MAX: usize = 64 << 10;
/// Bytes of all extended attributes of one entry, names and lengths included.
pub(crate) const XATTRS_LEN_MAX: usize = 128 << 10;
/// Most entries of one generation.
pub const ENTRIES_MAX: usize = 16_000_000;
/// Deepest entry, where the root has depth 0; bounds recursion and path lengths.
pub const DEPTH_MAX: u32 = 1000;

/// Bytes of the pieces of a file of `size` bytes, where those of its generation
/// have `piece_len`.
pub fn piece_len_of(size: u64, piece_len: u32) -> u32 {
    if size > PIECES_MAX * u64::from(piece_len) { stride(piece_len) } else { piece_len }
}

/// Bytes of the longest piece that a generation of this `piece_len` can have.
pub const fn stride(piece_len: u32) -> u32 {
    STRETCH * piece_len
}

/// Whether a name can be one entry of a directory: path_resolution(7) leaves
/// out NUL and `/`, and gives `.` and `..` a meaning of their own.
pub fn name_is_sound(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= NAME_LEN_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|&b| b == 0 || b == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_more_than_8192_pieces_has_pieces_of_four_times_the_length() {
        assert_eq!(piece_len_of(33_554_432, 4096), 4096);
        assert_eq!(piece_len_of(33_554_433, 4096), 16_384);
        assert_eq!(piece_len_of(256 << 20, PIECE_LEN), 32_768);
        assert_eq!(piece_len_of((256 << 20) + 1, PIECE_LEN), 131_072);
        assert_eq!(stride(PIECE_LEN_MAX), 1 << 20, "what one read of a file takes");
    }

    #[test]
    fn names_are_bounded_and_lead_nowhere_else() {
        let longest = [b'n'; NAME_LEN_MAX];
        for name in [&b"a"[..], b"...", b" ", b"\xff\n", &longest] {
            assert!(name_is_sound(name), "{name:?}");
        }
        for name in [&b""[..], b".", b"..", b"a/b", b"nul\0", &[b'n'; NAME_LEN_MAX + 1]] {
            assert!(!name_is_sound(name), "{name:?}");
        }
    }
}
