//! Directories as bytes: whole stat records for Tread in 9P2000 and .u,
//! cursored entries for Treaddir in .L.
//!
//! Knows how far a reply may go and where the next one starts; refuses to
//! know fids and tags.

use super::tree::Tree;
use crate::error::{BAD_DIR_OFFSET, EINVAL, EIO, Error};
use crate::message::{Dialect, Qid};
use crate::wire::record::{put_dir_entry, put_stat_record};
use alloc::vec::Vec;

/// Treaddir cursors of "." and ".." are 0 and 1; the tree's cursors follow,
/// moved up by this.
const DOTS: u64 = 2;

/// Whether a dialect can say what this is. In plain 9P2000 a symbolic link would
/// look like a file, and what is made of its bytes would not be what it stands
/// for: its name is not there.
pub(super) fn shows<T: Tree>(tree: &T, dialect: Dialect, file: &T::File) -> bool {
    has_links(dialect) || !tree.qid(file).is_symlink()
}

fn has_links(dialect: Dialect) -> bool {
    dialect != Dialect::Plan9
}

/// How far a directory was read in stat records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Bytes given so far: what the next Tread has to name.
    offset: u64,
    cursor: u64,
}

/// Which bytes of a directory are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub offset: u64,
    pub count: u32,
    /// The most that any reply of this session could carry.
    pub count_max: u32,
}

/// At most `count` bytes of whole stat records, and the position after them.
///
/// Plain 9P2000 has no symbolic links: they are not there
/// ([`shows`]). A target that no reply could carry is left out of its
/// record, so that the directory can be read on: stat shows it, or says that it
/// is too long.
///
/// read(5): "the directory offset must be zero or the value of offset in the
/// previous read, plus the number of bytes returned". A next record that does
/// not fit ends the reply, even an empty one: Linux asks for a shrinking
/// remainder within one readdir and takes an error as a failed `ls`.
pub(super) fn read_stats<T: Tree>(
    tree: &T,
    dialect: Dialect,
    dir: &T::File,
    position: Position,
    asked: Stretch,
) -> Result<(Vec<u8>, Position), Error> {
    let mut cursor = match asked.offset {
        0 => 0,
        _ if asked.offset == position.offset => position.cursor,
        _ => return Err(BAD_DIR_OFFSET),
    };
    let mut data = Vec::new();
    while let Some(entry) = tree.entry(dir, cursor, has_links(dialect)) {
        let mut attr = tree.attr(&entry.file);
        attr.name = entry.name;
        let whole_len = data.len();
        put_stat_record(&mut data, dialect, &attr);
        if data.len() - whole_len > asked.count_max as usize {
            data.truncate(whole_len);
            attr.link.clear();
            put_stat_record(&mut data, dialect, &attr);
        }
        if data.len() > asked.count as usize {
            data.truncate(whole_len);
            break;
        }
        cursor = entry.next;
    }
    let offset = asked.offset + data.len() as u64;
    Ok((data, Position { offset, cursor }))
}

/// At most `count` bytes of Treaddir entries from `cursor` on.
///
/// "." and ".." come first, as diod, QEMU and crosvm list them: Linux adds
/// neither. An entry that is larger than the whole reply is an error, because
/// an empty reply means the end of the directory.
pub(super) fn read_entries<T: Tree>(
    tree: &mut T,
    dir: &T::File,
    cursor: u64,
    count: u32,
) -> Result<Vec<u8>, Error> {
    let mut cursor = cursor;
    let mut data = Vec::new();
    while let Some((name, qid, next)) = entry_or_dots(tree, dir, cursor)? {
        let whole_len = data.len();
        put_dir_entry(&mut data, &qid, next, &name);
        if data.len() > count as usize {
            data.truncate(whole_len);
            if whole_len == 0 {
                return Err(EINVAL);
            }
            break;
        }
        cursor = next;
    }
    Ok(data)
}

type NamedEntry = (Vec<u8>, Qid, u64);

fn entry_or_dots<T: Tree>(
    tree: &mut T,
    dir: &T::File,
    cursor: u64,
) -> Result<Option<NamedEntry>, Error> {
    if cursor == 0 {
        return Ok(Some((b".".to_vec(), tree.qid(dir), 1)));
    }
    if cursor < DOTS {
        let parent = tree.walk(dir, b"..")?;
        return Ok(Some((b"..".to_vec(), tree.qid(&parent), DOTS)));
    }
    let Some(entry) = tree.entry(dir, cursor - DOTS, true) else {
        return Ok(None);
    };
    // Linux keeps the cursor in a signed loff_t.
    let next = entry.next.checked_add(DOTS).filter(|next| *next < 1 << 63).ok_or(EIO)?;
    Ok(Some((entry.name, tree.qid(&entry.file), next)))
}
