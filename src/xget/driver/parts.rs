//! What a bulk reply consists of: a stretch of an open file or of the manifest,
//! or the bytes of several small files.

use super::conn::Part;
use crate::store::destination::Opened;
use peer::content::manifest::piece_len_of;
use peer::content::pieces::Extent;
use peer::namespace::{Bulk, Content, Generation, NameSpace};
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
    /// They were here, and are kept no more.
    Passed,
}

/// Gives the file of an entry. One that is not sure may be another for each of the offsets
/// that pieces begin at.
pub type Open<'a> = &'a mut dyn FnMut(&Generation, u32, u64) -> Result<Opened, PartsError>;

/// The bytes of the last packs. To read one takes four system calls for each
/// of its files, and several children want it. Memory is used again and again.
pub struct Packs {
    /// The oldest first.
    list: Vec<(Option<u32>, Rc<Vec<u8>>)>,
}

impl Packs {
    pub fn new() -> Packs {
        Packs { list: Vec::new() }
    }

    fn get(&self, piece: u32) -> Option<Rc<Vec<u8>>> {
        self.list.iter().find(|(key, _)| *key == Some(piece)).map(|(_, bytes)| bytes.clone())
    }

    /// A buffer that `keep` is to get back: the oldest one that no reply holds
    /// any more, with what it had.
    fn buffer(&mut self) -> Rc<Vec<u8>> {
        let unused = |(_, bytes): &(_, Rc<_>)| Rc::strong_count(bytes) == 1;
        let place = self.list.iter().position(unused).filter(|_| self.list.len() >= PACKS_MAX);
        place.map(|place| self.list.remove(place).1).unwrap_or_default()
    }

    fn keep(&mut self, piece: Option<u32>, bytes: Rc<Vec<u8>>) {
        if self.list.len() >= PACKS_MAX {
            self.list.remove(0);
        }
        self.list.push((piece, bytes));
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
    open: Open,
) -> Result<Part, PartsError> {
    let gone = || PartsError::Failed("a generation that is not served any more was read".into());
    match what {
        Bulk::File { generation, entry, offset } => {
            let generation = space.generation(generation).ok_or_else(gone)?;
            stretch(generation, entry, offset, len, open)
        }
        Bulk::Rest { generation, piece, skip } => {
            let generation = space.generation(generation).ok_or_else(gone)?;
            pack_part(generation, (piece, skip, len), true, packs, open)
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
            piece_part(generation, (piece, skip, len), packs, open)
        }
    }
}

/// A stretch of a file: of one that may have changed, its bytes as the manifest has them.
fn stretch(
    generation: &Generation,
    entry: u32,
    offset: u64,
    len: u32,
    open: Open,
) -> Result<Part, PartsError> {
    let content = generation.content.as_ref().ok_or_else(unknown)?;
    let (manifest, map) = (&content.manifest, &content.map);
    let size = manifest.entries[entry as usize].size;
    let piece_len = u64::from(piece_len_of(size, map.piece_len()));
    let first = offset / piece_len;
    let mut opened = open(generation, entry, first * piece_len)?;
    if opened.is_sure {
        let offset = opened.start + offset;
        return Ok(Part::File { file: opened.file, offset, len: u64::from(len) });
    }
    let mut bytes = vec![0; len as usize];
    let mut done = 0;
    for piece in map.of_entry(manifest, entry).skip(first as usize) {
        if done == bytes.len() {
            break;
        }
        if let Some(extent) = map.extents(manifest, piece).find(|extent| extent.entry == entry) {
            let from = (offset + done as u64 - extent.offset) as usize;
            let end = (done + extent.len as usize - from).min(bytes.len());
            if done > 0 {
                opened = open(generation, entry, extent.offset)?;
            }
            // Not a word more is believed of the next one.
            opened.is_sure = false;
            read(content, piece, extent, from, &mut bytes[done..end], &opened)?;
            done = end;
        }
    }
    Ok(Part::Bytes { bytes: Rc::new(bytes), from: 0, to: len as usize })
}

/// Reads a part of a stretch of a file, from so many bytes into it: the whole of it,
/// where it has to be compared with what was hashed.
fn read(
    content: &Content,
    piece: u32,
    extent: Extent,
    from: usize,
    place: &mut [u8],
    opened: &Opened,
) -> Result<(), PartsError> {
    let path = || String::from_utf8_lossy(&content.manifest.path(extent.entry)).into_owned();
    let changed = || PartsError::Changed(extent.entry, path());
    let failed = |error: std::io::Error| match error.kind() {
        // Shorter than it was.
        ErrorKind::UnexpectedEof => changed(),
        _ => PartsError::Failed(format!("cannot read {}: {error}", path())),
    };
    if opened.is_sure {
        return opened
            .file
            .read_exact_at(place, opened.start + extent.offset + from as u64)
            .map_err(failed);
    }
    let mut whole = vec![0; extent.len as usize];
    opened.file.read_exact_at(&mut whole, opened.start + extent.offset).map_err(failed)?;
    let verified = content.map.verify_extent(&content.manifest, piece, extent, &whole);
    verified.map_err(|_| changed())?;
    place.copy_from_slice(&whole[from..][..place.len()]);
    Ok(())
}

fn unknown() -> PartsError {
    PartsError::Failed("a piece that is not known here was read".into())
}

/// A piece, or a part of it: one large file is sent from its file.
fn piece_part(
    generation: &Generation,
    (piece, skip, len): (u32, u32, u32),
    packs: &mut Packs,
    open: Open,
) -> Result<Part, PartsError> {
    let content = generation.content.as_ref().ok_or_else(unknown)?;
    let mut extents = content.map.extents(&content.manifest, piece);
    if let (Some(only), None) = (extents.next(), extents.next()) {
        let offset = only.offset + u64::from(skip);
        return stretch(generation, only.entry, offset, len, open);
    }
    pack_part(generation, (piece, skip, len), false, packs, open)
}

/// The files of a pack, up to a thousand of them, would hold as many descriptors until
/// the peer has read it all, so their bytes are read here, with one file open at a time.
/// With `is_rest` those that have changed are zeros, unless all have: that, and else any of
/// them, is an error.
fn pack_part(
    generation: &Generation,
    (piece, skip, len): (u32, u32, u32),
    is_rest: bool,
    packs: &mut Packs,
    open: Open,
) -> Result<Part, PartsError> {
    let content = generation.content.as_ref().ok_or_else(unknown)?;
    let mut shared = packs.buffer();
    let bytes = Rc::make_mut(&mut shared);
    let (skip, end) = (skip as usize, skip as usize + len as usize);
    if bytes.len() < end - skip {
        bytes.resize(end - skip, 0);
    }
    let (mut is_any_left, mut changed) = (false, Ok(()));
    // Where the file begins in the piece, of which `skip..end` is wanted.
    let mut at = 0;
    for extent in content.map.extents(&content.manifest, piece) {
        let (from, to) = (at.max(skip), (at + extent.len as usize).min(end));
        if from < to {
            let place = &mut bytes[from - skip..to - skip];
            let opened = open(generation, extent.entry, extent.offset);
            let done =
                opened.and_then(|opened| read(content, piece, extent, from - at, place, &opened));
            match done {
                Err(error @ PartsError::Changed(..)) if is_rest => {
                    bytes[from - skip..to - skip].fill(0);
                    changed = changed.and(Err(error));
                }
                done => {
                    done?;
                    is_any_left = true;
                }
            }
        }
        at += extent.len as usize;
    }
    let to = at.min(end).saturating_sub(skip);
    packs.keep(None, shared.clone());
    if !is_any_left {
        changed?;
    }
    Ok(Part::Bytes { bytes: shared, from: 0, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use peer::content::digest;
    use peer::content::manifest::{EntryKind, Manifest};
    use peer::namespace::Content;
    use peer::testing::{entry, file};
    use std::fs::{self, File};
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
        Rc::new(Manifest {
            piece_len: 4096,
            root_described: true,
            entries,
            lists,
            xattrs: Vec::new(),
        })
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
        let mut open = |_: &Generation, entry: u32, _: u64| {
            assert!(opened.iter().all(|file| file.upgrade().is_none()), "two are open");
            let name = String::from_utf8_lossy(&manifest.entries[entry as usize].name).into_owned();
            let file = Rc::new(File::open(dir.join(&name)).unwrap());
            opened.push(Rc::downgrade(&file));
            Ok(Opened { file, start: 0, is_sure: true })
        };
        let mut packs = Packs::new();
        let part = piece_part(&generation, (piece, 3, 1000), &mut packs, &mut open).unwrap();
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
        let mut open = |_: &Generation, entry: u32, _: u64| {
            let name = String::from_utf8_lossy(&manifest.entries[entry as usize].name).into_owned();
            let file = Rc::new(File::open(dir.join(&name)).unwrap());
            Ok(Opened { file, start: 0, is_sure: true })
        };
        match piece_part(&generation, (piece, 0, 1000), &mut Packs::new(), &mut open) {
            Err(PartsError::Changed(entry, path)) => assert_eq!((entry, &path[..]), (8, "0007")),
            other => panic!("{other:?}"),
        }
    }

    /// Gives the files of a directory, of which nothing is sure.
    fn doubtful(dir: &Dir, entry: u32, name: &str) -> Result<Opened, PartsError> {
        match File::open(dir.join(name)) {
            Ok(file) => Ok(Opened { file: Rc::new(file), start: 0, is_sure: false }),
            Err(_) => Err(PartsError::Changed(entry, name.into())),
        }
    }

    fn bytes_of(part: Part) -> Vec<u8> {
        let Part::Bytes { bytes, from, to } = part else { panic!("{part:?}") };
        bytes[from..to].to_vec()
    }

    #[test]
    fn of_a_file_in_doubt_each_byte_is_compared_with_what_was_hashed() {
        let dir = Dir::new();
        let contents: Vec<u8> = (0..10_000u32).flat_map(|i| (i * 7).to_le_bytes()).collect();
        let mut entries = vec![entry(0, "", EntryKind::Dir), file(0, "f", &contents)];
        entries[0].name = Box::default();
        let lists = digest::list_of(&contents, 4096);
        let manifest =
            Manifest { piece_len: 4096, root_described: true, entries, lists, xattrs: Vec::new() };
        let generation = Generation::whole(Rc::new(manifest), None);
        let content: &Content = generation.content.as_ref().unwrap();
        let mut open = |_: &Generation, entry: u32, _: u64| doubtful(&dir, entry, "f");
        let stretch = |offset: u64, len: u32| {
            let mut open = |_: &Generation, entry: u32, _: u64| doubtful(&dir, entry, "f");
            stretch(&generation, 1, offset, len, &mut open).map(bytes_of)
        };
        // It grew, and its first bytes are what they were.
        fs::write(dir.join("f"), [&contents[..], b"more"].concat()).unwrap();
        for (offset, len) in [(0, 40_000), (1, 1), (4095, 2), (4096, 4096), (39_999, 1)] {
            let wanted = &contents[offset as usize..][..len as usize];
            assert_eq!(stretch(offset, len).unwrap(), wanted, "{offset}");
        }
        let first = content.map.of_entry(&content.manifest, 1).start;
        let part = piece_part(&generation, (first + 1, 5, 10), &mut Packs::new(), &mut open);
        assert_eq!(bytes_of(part.unwrap()), contents[4101..4111]);
        // One byte in its second piece is another.
        let mut wrong = contents.clone();
        wrong[5_000] ^= 1;
        fs::write(dir.join("f"), &wrong).unwrap();
        assert!(stretch(0, 4096).is_ok() && stretch(8192, 4096).is_ok());
        for (offset, len) in [(0, 4097), (4096, 1), (8191, 2)] {
            assert!(matches!(stretch(offset, len), Err(PartsError::Changed(1, _))), "{offset}");
        }
        let part = piece_part(&generation, (first + 1, 0, 10), &mut Packs::new(), &mut open);
        assert!(matches!(part, Err(PartsError::Changed(1, _))));
        fs::write(dir.join("f"), &contents[..8191]).unwrap();
        assert!(stretch(0, 4096).is_ok());
        assert!(matches!(stretch(8000, 1), Err(PartsError::Changed(1, _))), "it is shorter");
        // Its second piece is elsewhere.
        fs::write(dir.join("f"), &wrong).unwrap();
        fs::write(dir.join("aside"), &contents).unwrap();
        let mut open = |_: &Generation, entry: u32, offset: u64| {
            doubtful(&dir, entry, if offset == 4096 { "aside" } else { "f" })
        };
        let part = super::stretch(&generation, 1, 100, 20_000, &mut open);
        assert_eq!(bytes_of(part.unwrap()), contents[100..20_100]);
    }

    #[test]
    fn of_the_rest_of_a_pack_what_changed_is_zeros() {
        let dir = Dir::new();
        let manifest = pack(&dir, Some(7));
        fs::remove_file(dir.join("0009")).unwrap();
        fs::write(dir.join("0011"), b"!!").unwrap();
        let generation = Generation::whole(manifest.clone(), None);
        let piece = generation.content.as_ref().unwrap().map.manifest_pieces().count();
        let mut open = |_: &Generation, entry: u32, _: u64| {
            let name = String::from_utf8_lossy(&manifest.entries[entry as usize].name).into_owned();
            doubtful(&dir, entry, &name)
        };
        let mut packs = Packs::new();
        // Memory that was used before is not what is sent.
        (0..9).for_each(|piece| packs.put(piece, &[0xff; 4096]));
        let part = pack_part(&generation, (piece, 3, 1000), true, &mut packs, &mut open);
        let mut wanted: Vec<u8> = (0..SMALL as u16).flat_map(u16::to_le_bytes).collect();
        for changed in [7, 9, 11] {
            wanted[2 * changed..2 * changed + 2].fill(0);
        }
        assert_eq!(bytes_of(part.unwrap()), wanted[3..1003]);
        // Zeros alone are not worth their way.
        fs::remove_file(dir.join("0008")).unwrap();
        wanted[16] = 0;
        let part = pack_part(&generation, (piece, 14, 6), true, &mut packs, &mut open);
        assert!(matches!(part, Err(PartsError::Changed(8, _))), "{part:?}");
        let part = pack_part(&generation, (piece, 14, 7), true, &mut packs, &mut open);
        assert_eq!(bytes_of(part.unwrap()), wanted[14..21]);
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
