//! What a bulk reply consists of: a stretch of an open file or of the manifest,
//! or the bytes of several small files.

use super::conn::Part;
use peer::namespace::{Bulk, Generation, NameSpace};
use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// Packs kept: with the longest piece, a megabyte each, and mostly an eighth
/// of that. Children that follow us closely ask for the last few.
const PACKS_MAX: usize = 4;

/// Why stored bytes cannot be sent.
#[derive(Debug)]
pub enum PartsError {
    /// They are not what was hashed: an entry of the generation, and its path.
    Changed(u32, String),
    Failed(String),
}

/// The bytes of the last packs. To read one takes four system calls for each
/// of its files, and several children want it. Memory is used again and again.
pub struct Packs {
    list: VecDeque<(Option<u32>, Rc<Vec<u8>>)>,
}

impl Packs {
    pub fn new() -> Packs {
        Packs { list: VecDeque::new() }
    }

    fn get(&self, piece: u32) -> Option<Rc<Vec<u8>>> {
        self.list.iter().find(|(key, _)| *key == Some(piece)).map(|(_, bytes)| bytes.clone())
    }

    /// A buffer that `keep` is to get back: the oldest one that no reply holds
    /// any more, with what it had.
    fn buffer(&mut self) -> Rc<Vec<u8>> {
        let unused = |(_, bytes): &(_, Rc<_>)| Rc::strong_count(bytes) == 1;
        let place = self.list.iter().position(unused).filter(|_| self.list.len() >= PACKS_MAX);
        let old = place.and_then(|place| self.list.remove(place));
        old.map(|(_, bytes)| bytes).unwrap_or_default()
    }

    fn keep(&mut self, piece: Option<u32>, bytes: Rc<Vec<u8>>) {
        if self.list.len() >= PACKS_MAX {
            self.list.pop_front();
        }
        self.list.push_back((piece, bytes));
    }

    /// Keeps a pack that was stored.
    pub fn put(&mut self, piece: u32, pack: &[u8]) {
        let mut bytes = self.buffer();
        if let Some(buffer) = Rc::get_mut(&mut bytes) {
            buffer.clear();
            buffer.extend_from_slice(pack);
        }
        self.keep(Some(piece), bytes);
    }
}

/// Names the stretch; `open` gives the file of an entry.
pub fn unfold(
    space: &NameSpace,
    what: Bulk,
    len: u32,
    packs: &mut Packs,
    mut open: impl FnMut(&Generation, u32) -> Result<Rc<File>, PartsError>,
) -> Result<Part, PartsError> {
    let gone = || PartsError::Failed("a generation that is not served any more was read".into());
    match what {
        Bulk::File { generation, entry, offset } => {
            let generation = space.generation(generation).ok_or_else(gone)?;
            let file = open(generation, entry)?;
            Ok(Part::File { file, offset, len: u64::from(len) })
        }
        Bulk::Piece { generation, piece, skip } => {
            let generation = space.generation(generation).ok_or_else(gone)?;
            if piece < generation.manifest_pieces.count() {
                if let Some(whole) = generation.encoded() {
                    let from = generation.manifest_pieces.range(piece).start + skip as usize;
                    let to = from + len as usize;
                    return Ok(Part::Bytes { bytes: whole.clone(), from, to });
                }
                let here = generation.manifest_piece(piece).ok_or_else(gone)?;
                let bytes = here[skip as usize..][..len as usize].to_vec();
                return Ok(Part::Bytes { bytes: Rc::new(bytes), from: 0, to: len as usize });
            }
            if let Some(bytes) = packs.get(piece)
                && let to = skip as usize + len as usize
                && to <= bytes.len()
            {
                return Ok(Part::Bytes { bytes, from: skip as usize, to });
            }
            piece_part(generation, piece, skip, len, packs, &mut open)
        }
    }
}

/// A piece, or a part of it: one large file is sent from its file. The files
/// of a pack, up to a thousand of them, would hold as many descriptors until
/// the peer has read it all, so their bytes are read here, with one file open
/// at a time.
fn piece_part(
    generation: &Generation,
    piece: u32,
    skip: u32,
    len: u32,
    packs: &mut Packs,
    open: &mut impl FnMut(&Generation, u32) -> Result<Rc<File>, PartsError>,
) -> Result<Part, PartsError> {
    let gone = || PartsError::Failed("a piece that is not known here was read".into());
    let content = generation.content.as_ref().ok_or_else(gone)?;
    let mut extents = content.map.extents(&content.manifest, piece);
    if let (Some(only), None) = (extents.next(), extents.next()) {
        let (file, offset) = (open(generation, only.entry)?, only.offset + u64::from(skip));
        return Ok(Part::File { file, offset, len: u64::from(len) });
    }
    let mut shared = packs.buffer();
    let bytes = Rc::make_mut(&mut shared);
    let (skip, end) = (skip as usize, skip as usize + len as usize);
    if bytes.len() < end - skip {
        bytes.resize(end - skip, 0);
    }
    // Where the file begins in the piece, of which `skip..end` is wanted.
    let mut at = 0;
    for extent in content.map.extents(&content.manifest, piece) {
        let (from, to) = (at.max(skip), (at + extent.len as usize).min(end));
        if from < to {
            let offset = extent.offset + (from - at) as u64;
            let place = &mut bytes[from - skip..to - skip];
            let read = open(generation, extent.entry)?.read_exact_at(place, offset);
            read.map_err(|error| {
                let path =
                    String::from_utf8_lossy(&content.manifest.path(extent.entry)).into_owned();
                match error.kind() {
                    // Shorter than it was.
                    ErrorKind::UnexpectedEof => PartsError::Changed(extent.entry, path),
                    _ => PartsError::Failed(format!("cannot read {path}: {error}")),
                }
            })?;
        }
        at += extent.len as usize;
    }
    let to = at.min(end).saturating_sub(skip);
    packs.keep(None, shared.clone());
    Ok(Part::Bytes { bytes: shared, from: 0, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use peer::content::manifest::{EntryKind, Manifest};
    use peer::namespace::Content;
    use peer::testing::{entry, file};
    use std::fs;
    use std::rc::Weak;

    const SMALL: u32 = 1000;

    /// Small files of two bytes each, their number in them; one is cut short
    /// on disk.
    fn pack(dir: &Dir, short: Option<u32>) -> Rc<Manifest> {
        let mut entries = vec![entry(0, "", EntryKind::Dir)];
        entries[0].name = Box::default();
        for i in 0..SMALL {
            let (name, contents) = (format!("{i:04}"), (i as u16).to_le_bytes());
            let on_disk = if short == Some(i) { &contents[..1] } else { &contents[..] };
            fs::write(dir.join(&name), on_disk).unwrap();
            entries.push(file(0, &name, &contents));
        }
        let lists = Vec::new();
        Rc::new(Manifest { piece_len: 4096, root_described: true, entries, lists })
    }

    #[test]
    fn a_pack_is_read_with_one_file_open_at_a_time() {
        let dir = Dir::new();
        let manifest = pack(&dir, None);
        let generation = Generation::whole(manifest.clone(), None);
        let content: &Content = generation.content.as_ref().unwrap();
        let piece = content.map.manifest_pieces().count();
        assert!(content.map.extents(&manifest, piece).count() > 500);
        let mut opened: Vec<Weak<File>> = Vec::new();
        let mut open = |_: &Generation, entry: u32| {
            assert!(opened.iter().all(|file| file.upgrade().is_none()), "two are open");
            let name = String::from_utf8_lossy(&manifest.entries[entry as usize].name).into_owned();
            let file = Rc::new(File::open(dir.join(&name)).unwrap());
            opened.push(Rc::downgrade(&file));
            Ok(file)
        };
        let mut packs = Packs::new();
        let part = piece_part(&generation, piece, 3, 1000, &mut packs, &mut open).unwrap();
        let Part::Bytes { bytes, from, to } = part else { panic!("{part:?}") };
        let whole: Vec<u8> = (0..SMALL as u16).flat_map(u16::to_le_bytes).collect();
        assert_eq!(bytes[from..to], whole[3..1003]);
        assert_eq!(opened.len(), 501);
    }

    #[test]
    fn a_file_of_a_pack_that_became_shorter_is_named() {
        let dir = Dir::new();
        let manifest = pack(&dir, Some(7));
        let generation = Generation::whole(manifest.clone(), None);
        let piece = generation.content.as_ref().unwrap().map.manifest_pieces().count();
        let mut open = |_: &Generation, entry: u32| {
            let name = String::from_utf8_lossy(&manifest.entries[entry as usize].name).into_owned();
            Ok(Rc::new(File::open(dir.join(&name)).unwrap()))
        };
        match piece_part(&generation, piece, 0, 1000, &mut Packs::new(), &mut open) {
            Err(PartsError::Changed(entry, path)) => assert_eq!((entry, &path[..]), (8, "0007")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn packs_are_kept_until_others_come_and_their_memory_after_that() {
        let mut packs = Packs::new();
        (0..PACKS_MAX as u32).for_each(|piece| packs.put(piece, &[piece as u8; 3]));
        let held = packs.get(0).unwrap();
        let second = packs.get(1).unwrap().as_ptr();
        packs.put(9, b"new");
        assert_eq!(*held, [0; 3], "a reply under way keeps its bytes");
        assert!(packs.get(1).is_none());
        let new = packs.get(9).unwrap();
        assert_eq!((&new[..], new.as_ptr()), (&b"new"[..], second));
        assert_eq!(packs.list.len(), PACKS_MAX);
    }
}
