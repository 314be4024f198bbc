//! The generations that a node serves, and what is here of their bytes.
//!
//! Knows each by number and by digest, and which one the root shows. Refuses
//! to know who reads what, and what waits for a piece that is not here.

use super::bulk::{Bulk, Stored};
use super::file_id::EntryId;
use super::generation::{Content, Generation, GenerationId};
use super::lineage::Lineage;
use crate::content::digest::Digest;
use crate::content::manifest::Entry;
use alloc::vec::Vec;
use ninep::{ESTALE, Error};
use sorted::SortedMap;

/// A worker has one generation, a master one for each selection.
#[derive(Debug, Default)]
pub(super) struct Generations {
    by_id: SortedMap<GenerationId, Generation>,
    /// The last number that was given.
    last: u32,
    /// The generation that the root shows; it may be gone.
    shown: Option<GenerationId>,
    /// Of those that were shown after another.
    lineages: Vec<(GenerationId, Lineage)>,
}

impl Generations {
    /// Adds one under a number of its own.
    pub fn add(&mut self, generation: Generation) -> GenerationId {
        self.last += 1;
        let id = GenerationId(self.last);
        self.by_id.insert(id, generation);
        id
    }

    pub fn remove(&mut self, id: GenerationId) {
        self.by_id.remove(&id);
        self.lineages.retain(|(known, _)| *known != id);
    }

    pub fn get(&self, id: GenerationId) -> Option<&Generation> {
        self.by_id.get(&id)
    }

    pub fn get_mut(&mut self, id: GenerationId) -> Option<&mut Generation> {
        self.by_id.get_mut(&id)
    }

    /// The newest of this name.
    pub fn of_digest(&self, digest: Digest) -> Option<GenerationId> {
        let mut newest_first = self.by_id.iter().rev();
        newest_first.find(|(_, generation)| generation.digest() == digest).map(|(id, _)| *id)
    }

    /// Whether the files of one are those of this scan.
    pub fn any_of_scan(&self, scan: u32) -> bool {
        let is_it = |known: &Generation| known.origin.as_ref().is_some_and(|o| o.scan == scan);
        self.by_id.values().any(is_it)
    }

    /// The first of this number or a higher one.
    pub fn at_or_after(&self, id: GenerationId) -> Option<(GenerationId, &Generation)> {
        self.by_id
            .range(id..=GenerationId(u32::MAX))
            .next()
            .map(|(id, generation)| (*id, generation))
    }

    /// Shows this one at the root. What is open of the one before stays open, as far as it
    /// is the same.
    pub fn show(&mut self, id: GenerationId) {
        let before = self.shown.replace(id);
        if let Some(before) = before.filter(|before| *before != id)
            && let (Ok(old), Ok(new)) = (self.content(before), self.content(id))
        {
            let lasting = |entry| self.lasting(EntryId { generation: before, entry });
            let lineage = Lineage::new(&old.manifest, lasting, &new.manifest, id);
            self.lineages.push((id, lineage));
        }
    }

    fn lineage(&self, id: GenerationId) -> Option<&Lineage> {
        self.lineages.iter().find(|(known, _)| *known == id).map(|(_, lineage)| lineage)
    }

    /// The id that an entry of a generation that was shown keeps in those that follow.
    pub fn lasting(&self, id: EntryId) -> EntryId {
        self.lineage(id.generation).and_then(|lineage| lineage.id(id.entry)).unwrap_or(id)
    }

    /// The generation and entry that a lasting id stands for now: of what is shown, if it is
    /// there, else where it was first, if that is served yet.
    pub fn current(&self, id: EntryId) -> Option<EntryId> {
        let here = |generation: GenerationId| {
            Some(EntryId { generation, entry: self.lineage(generation)?.entry(id)? })
        };
        let shown = self.shown.filter(|shown| *shown != id.generation);
        shown.and_then(here).or_else(|| self.get(id.generation).map(|_| id))
    }

    /// The root of the one that is shown, or was when it is gone.
    pub fn shown_root(&self) -> Option<EntryId> {
        self.shown.map(EntryId::root)
    }

    pub fn shown(&self) -> Option<&Generation> {
        self.get(self.shown?)
    }

    /// What a generation has, where its manifest is known.
    pub fn content(&self, id: GenerationId) -> Result<&Content, Error> {
        self.get(id).and_then(|generation| generation.content.as_deref()).ok_or(ESTALE)
    }

    /// An entry of a generation, where its manifest is known.
    pub fn entry(&self, id: EntryId) -> Option<&Entry> {
        let id = self.current(id)?;
        self.get(id.generation)?.entry(id.entry)
    }

    /// The entry that has the bytes of this one: another of a hard link.
    pub fn file_of(&self, id: EntryId) -> Result<EntryId, Error> {
        let id = self.current(id).ok_or(ESTALE)?;
        let generation = self.get(id.generation).ok_or(ESTALE)?;
        Ok(EntryId { entry: generation.file_of(id.entry), ..id })
    }

    /// Names of a served file.
    pub fn nlink(&self, id: EntryId) -> u64 {
        let id = self.current(id).unwrap_or(id);
        self.get(id.generation).map_or(1, |generation| generation.nlink(id.entry).into())
    }

    /// Bytes of a served file.
    pub fn file_len(&self, id: EntryId) -> u64 {
        let file = self.file_of(id).ok().and_then(|file| self.entry(file));
        file.map_or(0, |entry| entry.size)
    }

    /// At most `count` bytes of a served file.
    pub fn file(&self, id: EntryId, offset: u64, count: u32) -> Result<Stored, Error> {
        let file = self.file_of(id)?;
        let size = self.entry(file).ok_or(ESTALE)?.size;
        if self.get(file.generation).is_some_and(|known| known.has_changed(file.entry)) {
            return Err(ESTALE);
        }
        let len = size.saturating_sub(offset).min(u64::from(count)) as u32;
        if len == 0 {
            return Ok(Stored::End);
        }
        let EntryId { generation, entry } = file;
        let here = Stored::Here { what: Bulk::File { generation, entry, offset }, len };
        Ok(self.gap(file, offset, u64::from(len)).unwrap_or(here))
    }

    /// What is not here of a stretch of a file: the first piece that is
    /// missing, or that is lost.
    pub fn gap(&self, file: EntryId, offset: u64, len: u64) -> Option<Stored> {
        let generation = self.get(file.generation)?;
        let piece = generation.missing(file.entry, offset, len)?;
        let holdings = &generation.holdings;
        let is_lost = holdings.has_lost(piece) || holdings.has_passed(piece);
        Some(if is_lost { Stored::Lost } else { Stored::Missing(file.generation, piece) })
    }

    /// At most `count` bytes of the encoded manifest, to the end of one of its pieces.
    pub fn manifest(&self, id: GenerationId, offset: u64, count: u32) -> Result<Stored, Error> {
        let pieces = &self.get(id).ok_or(ESTALE)?.manifest_pieces;
        if offset >= pieces.manifest_len {
            return Ok(Stored::End);
        }
        let (piece_len, stride) = (u64::from(pieces.piece_len), u64::from(pieces.stride()));
        self.piece(id, offset / piece_len * stride + offset % piece_len, count, false)
    }

    /// At most `count` bytes of the piece at this offset of the stream of all; with
    /// `or_rest` also of one that is not whole any more, because files in it changed.
    pub fn piece(
        &self,
        id: GenerationId,
        offset: u64,
        count: u32,
        or_rest: bool,
    ) -> Result<Stored, Error> {
        let generation = self.get(id).ok_or(ESTALE)?;
        let Some((piece, skip)) = generation.piece_at(offset) else { return Ok(Stored::End) };
        let (is_lost, is_held) = (generation.has_lost(piece), generation.holdings.holds(piece));
        if is_lost && !(or_rest && is_held) {
            return Ok(Stored::Lost);
        }
        if generation.holdings.has_passed(piece) {
            return Ok(Stored::End);
        }
        if !is_held {
            return Ok(Stored::Missing(id, piece));
        }
        let len = generation.piece_len(piece).unwrap_or(0).saturating_sub(skip).min(count);
        if len == 0 {
            return Ok(Stored::End);
        }
        let what = match is_lost {
            true => Bulk::Rest { generation: id, piece, skip },
            false => Bulk::Piece { generation: id, piece, skip },
        };
        Ok(Stored::Here { what, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::small;
    use alloc::rc::Rc;

    fn whole() -> Generation {
        Generation::whole(Rc::new(small()), None)
    }

    #[test]
    fn numbers_only_grow_and_the_newest_has_the_name() {
        let mut generations = Generations::default();
        let (first, second) = (generations.add(whole()), generations.add(whole()));
        assert!(second > first);
        let digest = whole().digest();
        assert_eq!(generations.of_digest(digest), Some(second));
        assert_eq!(generations.of_digest(Digest::default()), None);
        generations.remove(second);
        assert_eq!(generations.of_digest(digest), Some(first));
        let third = generations.add(whole());
        assert!(third > second);
        assert_eq!(generations.at_or_after(second).map(|(id, _)| id), Some(third));
        assert!(generations.at_or_after(GenerationId(third.0 + 1)).is_none());
    }

    #[test]
    fn the_shown_one_may_go() {
        let mut generations = Generations::default();
        assert!(generations.shown().is_none() && generations.shown_root().is_none());
        let id = generations.add(whole());
        generations.show(id);
        assert!(generations.shown().is_some());
        generations.remove(id);
        assert!(generations.shown().is_none());
        assert_eq!(generations.shown_root(), Some(EntryId::root(id)));
        assert_eq!(generations.content(id).err(), Some(ESTALE));
        assert_eq!(generations.piece(id, 0, 9, false), Err(ESTALE));
        let file = EntryId { generation: id, entry: 2 };
        assert_eq!(generations.file(file, 0, 9), Err(ESTALE));
        assert_eq!((generations.entry(file), generations.file_len(file)), (None, 0));
    }
}
