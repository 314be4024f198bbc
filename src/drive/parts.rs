//! What a bulk reply consists of: a stretch of an open file or of the index,
//! or the bytes of several small files.

use super::{Part, PartsError};
use crate::tree::{Bulk, Generation, NameSpace};
use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
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

/// The extents of a piece, or of a part of it: one large file is sent from its
/// file. The files of a pack, up to a thousand of them, would hold as many
/// descriptors until the peer has read it all, so their bytes are read here,
/// one piece at the most, with one file open at a time.
fn piece_parts(
    generation: &Generation,
    piece: u32,
    mut skip: u32,
    mut len: u32,
    open: &mut impl FnMut(&Generation, u32) -> Result<Rc<File>, PartsError>,
) -> Result<Vec<Part>, PartsError> {
    let Some(content) = &generation.content else { return Ok(Vec::new()) };
    let mut stretches = Vec::new();
    for extent in content.map.extents(&content.index, piece) {
        if skip >= extent.len {
            skip -= extent.len;
            continue;
        }
        let take = (extent.len - skip).min(len);
        if take == 0 {
            break;
        }
        stretches.push((extent.entry, extent.offset + u64::from(skip), take));
        len -= take;
        skip = 0;
    }
    if let [(entry, offset, take)] = stretches[..] {
        let file = open(generation, entry)?;
        return Ok(vec![Part::File { file, offset, len: u64::from(take) }]);
    }
    let total: usize = stretches.iter().map(|(_, _, take)| *take as usize).sum();
    let mut bytes = vec![0; total];
    let mut rest = bytes.as_mut_slice();
    for (entry, offset, take) in stretches {
        let (part, after) = rest.split_at_mut(take as usize);
        rest = after;
        open(generation, entry)?.read_exact_at(part, offset).map_err(|error| {
            let path = String::from_utf8_lossy(&content.index.path(entry)).into_owned();
            match error.kind() {
                // Shorter than it was.
                ErrorKind::UnexpectedEof => PartsError::Changed(path),
                _ => PartsError::Failed(format!("cannot read {path}: {error}")),
            }
        })?;
    }
    Ok(vec![Part::Bytes { bytes }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spread::index::tests::{entry, file};
    use crate::spread::index::{Index, Kind};
    use crate::store::testing::Dir;
    use crate::tree::Content;
    use std::fs;
    use std::rc::Weak;

    const SMALL: u32 = 1000;

    /// Small files of two bytes each, their number in them; one is cut short
    /// on disk.
    fn pack(dir: &Dir, short: Option<u32>) -> Rc<Index> {
        let mut entries = vec![entry(0, "", Kind::Dir)];
        entries[0].name = Box::default();
        for i in 0..SMALL {
            let (name, contents) = (format!("{i:04}"), (i as u16).to_le_bytes());
            let on_disk = if short == Some(i) { &contents[..1] } else { &contents[..] };
            fs::write(dir.join(&name), on_disk).unwrap();
            entries.push(file(0, &name, &contents));
        }
        let lists = Vec::new();
        Rc::new(Index { piece_len: 4096, root_described: true, entries, lists })
    }

    #[test]
    fn a_pack_is_read_with_one_file_open_at_a_time() {
        let dir = Dir::new();
        let index = pack(&dir, None);
        let generation = Generation::whole(index.clone(), None);
        let content: &Content = generation.content.as_ref().unwrap();
        let piece = content.map.head().count();
        assert!(content.map.extents(&index, piece).count() > 500);
        let mut opened: Vec<Weak<File>> = Vec::new();
        let mut open = |_: &Generation, entry: u32| {
            assert!(opened.iter().all(|file| file.upgrade().is_none()), "two are open");
            let name = String::from_utf8_lossy(&index.entries[entry as usize].name).into_owned();
            let file = Rc::new(File::open(dir.join(&name)).unwrap());
            opened.push(Rc::downgrade(&file));
            Ok(file)
        };
        let parts = piece_parts(&generation, piece, 3, 1000, &mut open).unwrap();
        let [Part::Bytes { bytes }] = &parts[..] else { panic!("{parts:?}") };
        let whole: Vec<u8> = (0..SMALL as u16).flat_map(u16::to_le_bytes).collect();
        assert_eq!(bytes[..], whole[3..1003]);
        assert_eq!(opened.len(), 501);
    }

    #[test]
    fn a_file_of_a_pack_that_became_shorter_is_named() {
        let dir = Dir::new();
        let index = pack(&dir, Some(7));
        let generation = Generation::whole(index.clone(), None);
        let piece = generation.content.as_ref().unwrap().map.head().count();
        let mut open = |_: &Generation, entry: u32| {
            let name = String::from_utf8_lossy(&index.entries[entry as usize].name).into_owned();
            Ok(Rc::new(File::open(dir.join(&name)).unwrap()))
        };
        match piece_parts(&generation, piece, 0, 1000, &mut open) {
            Err(PartsError::Changed(path)) => assert_eq!(path, "0007"),
            other => panic!("{other:?}"),
        }
    }
}
