//! What a bulk reply consists of: stretches of open files, or of the index.

use super::{Part, PartsError};
use crate::tree::{Bulk, Generation, NameSpace};
use std::collections::VecDeque;
use std::fs::File;
use std::rc::Rc;

/// Open files kept for the next reply.
const FILES_MAX: usize = 64;

/// The last files that were opened, by whatever names them.
pub struct Files<K> {
    list: VecDeque<(K, Rc<File>)>,
}

impl<K: PartialEq> Files<K> {
    pub fn new() -> Files<K> {
        Files { list: VecDeque::new() }
    }

    pub fn get(&self, key: &K) -> Option<Rc<File>> {
        self.list.iter().rev().find(|(k, _)| k == key).map(|(_, file)| file.clone())
    }

    pub fn put(&mut self, key: K, file: Rc<File>) {
        if self.list.len() == FILES_MAX {
            self.list.pop_front();
        }
        self.list.push_back((key, file));
    }

    pub fn remove(&mut self, key: &K) {
        self.list.retain(|(k, _)| k != key);
    }
}

/// Names the stretches; `open` gives the file of an entry.
pub fn unfold(
    space: &NameSpace,
    what: Bulk,
    len: u32,
    mut open: impl FnMut(&Generation, u32) -> Result<Rc<File>, PartsError>,
) -> Result<Vec<Part>, PartsError> {
    let gone = || PartsError::Failed("a generation that is not served any more was read".into());
    match what {
        Bulk::File { slot, entry, offset } => {
            let generation = space.generation(slot).ok_or_else(gone)?;
            let file = open(generation, entry)?;
            Ok(vec![Part::File { file, offset, len: u64::from(len) }])
        }
        Bulk::Piece { slot, piece, skip } => {
            let generation = space.generation(slot).ok_or_else(gone)?;
            if piece < generation.head.count() {
                let start = generation.head.range(piece).start + skip as usize;
                let bytes = generation.index_bytes[start..start + len as usize].to_vec();
                return Ok(vec![Part::Bytes { bytes }]);
            }
            piece_parts(generation, piece, skip, len, &mut open)
        }
    }
}

fn piece_parts(
    generation: &Generation,
    piece: u32,
    mut skip: u32,
    mut len: u32,
    open: &mut impl FnMut(&Generation, u32) -> Result<Rc<File>, PartsError>,
) -> Result<Vec<Part>, PartsError> {
    let Some(content) = &generation.content else { return Ok(Vec::new()) };
    let mut parts = Vec::new();
    for extent in content.map.extents(&content.index, piece) {
        if skip >= extent.len {
            skip -= extent.len;
            continue;
        }
        let take = (extent.len - skip).min(len);
        if take == 0 {
            break;
        }
        let file = open(generation, extent.entry)?;
        let offset = extent.offset + u64::from(skip);
        parts.push(Part::File { file, offset, len: u64::from(take) });
        len -= take;
        skip = 0;
    }
    Ok(parts)
}
