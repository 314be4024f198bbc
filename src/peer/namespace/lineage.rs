//! Which entries of a generation are the same as in those that were shown before it: what
//! is open of them stays open.
//!
//! Knows for each entry its lasting id: the generation and number under which it was first
//! shown as it is now. Refuses to know who has it open. It takes 16 bytes for each entry.

use super::file_id::EntryId;
use super::generation::GenerationId;
use crate::content::manifest::{EntryKind, Manifest};
use alloc::vec;
use alloc::vec::Vec;

/// No entry.
const NONE: u32 = u32::MAX;

/// The lasting ids of one generation's entries.
#[derive(Debug)]
pub(super) struct Lineage {
    ids: Vec<EntryId>,
    /// The way back: for each generation that is in `ids`, in order, the numbers there and
    /// here. Both rise, because the order of entries follows from their paths.
    origins: Vec<(GenerationId, Vec<(u32, u32)>)>,
}

impl Lineage {
    /// Of a generation that is shown after another; `lasting` gives the ids of that one.
    pub fn new(
        before: &Manifest,
        lasting: impl Fn(u32) -> EntryId,
        now: &Manifest,
        generation: GenerationId,
    ) -> Lineage {
        let mut lineage = Lineage { ids: Vec::with_capacity(now.entries.len()), origins: vec![] };
        // The entry before of each entry that is the same; the roots are.
        let mut same = vec![NONE; now.entries.len()];
        let (mut dir, mut rest) = (NONE, 0..0);
        for (number, entry) in now.entries.iter().enumerate() {
            if number > 0 && entry.parent != dir {
                dir = entry.parent;
                rest = match same[dir as usize] {
                    NONE => 0..0,
                    dir => before.children(dir),
                };
            }
            // Both lists of names are in order.
            let name_at = |at: u32| &before.entries[at as usize].name;
            while !rest.is_empty() && *name_at(rest.start) < entry.name {
                rest.start += 1;
            }
            let twin = match number {
                0 => Some(0),
                _ => Some(rest.start).filter(|&at| !rest.is_empty() && *name_at(at) == entry.name),
            };
            let here = EntryId { generation, entry: number as u32 };
            let id = match twin.filter(|&twin| is_same(before, twin, now, here.entry)) {
                Some(twin) => {
                    same[number] = twin;
                    lasting(twin)
                }
                None => here,
            };
            lineage.add(id, here);
        }
        lineage
    }

    fn add(&mut self, id: EntryId, here: EntryId) {
        self.ids.push(id);
        if id.generation == here.generation {
            return;
        }
        let found = self.origins.binary_search_by_key(&id.generation, |origin| origin.0);
        let at = found.unwrap_or_else(|at| {
            self.origins.insert(at, (id.generation, Vec::new()));
            at
        });
        self.origins[at].1.push((id.entry, here.entry));
    }

    /// The lasting id of an entry.
    pub fn id(&self, entry: u32) -> Option<EntryId> {
        self.ids.get(entry as usize).copied()
    }

    /// The entry here that has a lasting id of an earlier generation.
    pub fn entry(&self, id: EntryId) -> Option<u32> {
        let at = self.origins.binary_search_by_key(&id.generation, |origin| origin.0).ok()?;
        let entries = &self.origins[at].1;
        let at = entries.binary_search_by_key(&id.entry, |(there, _)| *there).ok()?;
        Some(entries[at].1)
    }
}

/// Whoever has it open can go on: a directory is one whatever is in it, and a file's
/// contents are what they were, whatever its attributes are.
fn is_same(before: &Manifest, old: u32, now: &Manifest, new: u32) -> bool {
    let kind = |manifest: &Manifest, entry: u32| manifest.entries[entry as usize].kind;
    let contents = |manifest: &Manifest, entry: u32| match kind(manifest, entry) {
        EntryKind::File => Some(entry),
        EntryKind::Hardlink(file) => Some(file),
        _ => None,
    };
    if let (Some(old), Some(new)) = (contents(before, old), contents(now, new)) {
        let (old, new) = (&before.entries[old as usize], &now.entries[new as usize]);
        return (old.size, old.digest) == (new.size, new.digest);
    }
    let (old, new) = (&before.entries[old as usize], &now.entries[new as usize]);
    old.kind == new.kind && old.link == new.link
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::digest::Digest;
    use crate::testing::{file, small};

    fn id(generation: u32, entry: u32) -> EntryId {
        EntryId { generation: GenerationId(generation), entry }
    }

    #[test]
    fn what_kept_its_path_and_contents_keeps_its_id_and_everything_else_gets_one() {
        // `/`, `a`, `b`, `current`, `log`, `a/x`, `a/y` -> x, `a/z` = `a/x`.
        let first = small();
        let mut second = small();
        second.entries[2] = file(0, "b", b"fly");
        second.entries[5].mode = 0o600;
        let lineage = Lineage::new(&first, |entry| id(1, entry), &second, GenerationId(2));
        let ids: Vec<EntryId> = (0..8).filter_map(|entry| lineage.id(entry)).collect();
        let own = |entry| if entry == 2 { id(2, 2) } else { id(1, entry) };
        assert_eq!(ids, (0..8).map(own).collect::<Vec<_>>());
        assert_eq!((lineage.entry(id(1, 5)), lineage.entry(id(1, 2))), (Some(5), None));
        // One more name before all others, and `b` back as it was, which makes it new again.
        let mut third = small();
        third.entries.insert(2, file(0, "aa", b"new"));
        for entry in &mut third.entries {
            if let EntryKind::Hardlink(file) = &mut entry.kind {
                *file += 1;
            }
        }
        let lasting = |entry| lineage.id(entry).unwrap();
        let third_id = GenerationId(3);
        let later = Lineage::new(&second, lasting, &third, third_id);
        assert_eq!((later.id(2), later.id(3)), (Some(id(3, 2)), Some(id(3, 3))));
        assert_eq!((later.id(6), later.entry(id(1, 5))), (Some(id(1, 5)), Some(6)));
        assert_eq!((later.entry(id(2, 2)), later.id(99)), (None, None));
    }

    #[test]
    fn another_kind_or_target_is_another_entry_and_so_is_all_below_it() {
        let first = small();
        let mut second = small();
        second.entries[3].link = (*b"b").into();
        second.entries[1] = file(0, "a", b"now a file");
        second.entries.truncate(5);
        let lineage = Lineage::new(&first, |entry| id(1, entry), &second, GenerationId(2));
        let ids: Vec<EntryId> = (0..5).filter_map(|entry| lineage.id(entry)).collect();
        assert_eq!(ids, [id(1, 0), id(2, 1), id(1, 2), id(2, 3), id(1, 4)]);
        // And a link to what is a file of its own now stays what it was.
        let mut third = small();
        third.entries[7] = file(1, "z", b"ex");
        assert_eq!(third.entries[7].digest, Digest::of(b"ex"));
        let lineage = Lineage::new(&first, |entry| id(1, entry), &third, GenerationId(2));
        assert_eq!(lineage.id(7), Some(id(1, 7)));
    }
}
