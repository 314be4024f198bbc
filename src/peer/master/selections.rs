//! Parts of the served tree that somebody asked for, as generations of their own.
//!
//! Knows which sources gave which generation. Refuses to know who fetches them.

use super::returns::Returns;
use crate::content::manifest::{Entry, Manifest, SelectError, Selection, Selector};
use crate::control::printable;
use crate::namespace::{Generation, GenerationId, NameSpace, Origin};
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Selections kept ready, beside the whole tree; and of these that are fetched from
/// one IP address, so that none keeps the others from theirs.
const SELECTIONS_MAX: usize = 256;
const SELECTIONS_OF_IP_MAX: usize = 64;

/// When a selection may be made, for whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub now_ms: u64,
    /// Generations that are fetched from the same address.
    pub of_ip: usize,
}

/// Memory of an entry beside its names: itself, encoded, and where its names are.
const ENTRY_BYTES: usize = size_of::<Entry>() + 128;
/// Of a digest in a piece list: itself, encoded, and what a piece takes.
const LISTED_BYTES: usize = 80;

/// The pause after each selection that is made, so that who asks for ever others
/// leaves most of our time to the rest: so many entries of it, or so many of the tree
/// that were looked through for it, make a millisecond.
const MADE_PER_MS: usize = 1_000;
const PASSED_PER_MS: usize = 16_000;
/// And so many bytes that were compared with patterns.
const STEPS_PER_MS: u64 = 100_000;

#[derive(Debug)]
pub(super) struct Selections {
    /// When another can be made, but for the pause after the last: it begins with the next
    /// look at the clock, however long that one took.
    pub ready_ms: u64,
    pause_ms: u64,
    /// The scan of the served tree that they were made of.
    scan: u32,
    /// The least recently used first.
    list: Vec<Kept>,
    /// What was refused last, and why: who asks for it may be one of many.
    refused: Option<(Selector, String)>,
    /// And no other tree would change that.
    is_refused_for_good: bool,
    /// Memory for them, but for one that is larger alone.
    bytes_max: usize,
    /// Those that are none any more.
    pub returns: Returns,
}

#[derive(Debug)]
struct Kept {
    /// In one spelling.
    selector: Selector,
    id: GenerationId,
    /// Memory that it takes, about.
    bytes: usize,
}

/// A generation that was asked for, and those that were dropped for it.
#[derive(Debug)]
pub(super) struct Selected {
    pub id: GenerationId,
    pub dropped: Vec<GenerationId>,
}

impl Selected {
    fn known(id: GenerationId) -> Selected {
        Selected { id, dropped: Vec::new() }
    }
}

/// Memory that a generation of this manifest takes, about.
fn memory_bytes(manifest: &Manifest) -> usize {
    let names = manifest.entries.iter().map(|entry| entry.name.len() + entry.link.len());
    let entries = manifest.entries.len() * ENTRY_BYTES + 2 * names.sum::<usize>();
    entries + manifest.lists.len() * LISTED_BYTES
}

impl Selections {
    /// None yet; they may take so much memory.
    pub fn new(bytes_max: usize) -> Selections {
        Selections {
            ready_ms: 0,
            pause_ms: 0,
            scan: 0,
            list: Vec::new(),
            refused: None,
            is_refused_for_good: false,
            bytes_max,
            returns: Returns::default(),
        }
    }

    pub fn set_scan(&mut self, scan: u32) {
        (self.scan, self.refused) = (scan, None);
    }

    pub fn has(&self, id: GenerationId) -> bool {
        self.list.iter().any(|kept| kept.id == id)
    }

    pub fn take_all(&mut self) -> Vec<GenerationId> {
        core::mem::take(&mut self.list).into_iter().map(|kept| kept.id).collect()
    }

    /// The files of the whole tree and its selections are those of the last scan.
    pub fn adopt_scan(&self, space: &mut NameSpace, whole: GenerationId) {
        for id in self.list.iter().map(|kept| kept.id).chain([whole]) {
            let origin = space.generation(id).and_then(|g| g.origin.clone());
            if let Some(origin) = origin {
                space.set_origin(id, Origin { scan: self.scan, ..origin });
            }
        }
    }

    /// It was refused last, and who asks need not wait for another look at the tree.
    pub fn has_refused_for_good(&self, selector: &Selector) -> bool {
        let is_last = |refused: &(Selector, String)| refused.0 == selector.plain();
        self.is_refused_for_good && self.refused.as_ref().is_some_and(is_last)
    }

    /// Another can be made now.
    pub fn is_ready(&mut self, now_ms: u64) -> bool {
        if now_ms >= self.ready_ms && self.pause_ms > 0 {
            // A millisecond of it is over.
            self.ready_ms = now_ms + core::mem::take(&mut self.pause_ms) - 1;
        }
        now_ms >= self.ready_ms
    }

    /// The generation of these sources, made when first asked for: `None` when
    /// another cannot be made yet.
    ///
    /// # Errors
    /// Words for the client: a source is not there, two would land under one
    /// name, or every selection kept is in use.
    pub fn select(
        &mut self,
        space: &mut NameSpace,
        whole: GenerationId,
        selector: &Selector,
        Turn { now_ms, of_ip }: Turn,
        is_used: impl Fn(GenerationId) -> bool,
    ) -> Result<Option<Selected>, String> {
        let selector = selector.plain();
        if selector.is_all() {
            return Ok(Some(Selected::known(whole)));
        }
        if let Some(at) = self.list.iter().position(|kept| kept.selector == selector) {
            // Now the most recently used.
            self.list[at..].rotate_left(1);
            return Ok(Some(Selected::known(self.list[self.list.len() - 1].id)));
        }
        if let Some((_, why)) = self.refused.as_ref().filter(|refused| refused.0 == selector) {
            return Err(why.clone());
        }
        if of_ip >= SELECTIONS_OF_IP_MAX {
            return Err(
                "too many different parts of the tree are fetched from your address; try later"
                    .into(),
            );
        }
        if !self.is_ready(now_ms) {
            return Ok(None);
        }
        let content = space.generation(whole).and_then(|g| g.content.clone());
        let content = content.ok_or("nothing is served yet")?;
        let steps_max = content.manifest.steps_max();
        let mut steps = steps_max;
        let selection = content.manifest.select_within(&selector, &mut steps);
        let made = selection.as_ref().map_or(0, |made| made.origin.len());
        let passed = content.manifest.entries.len();
        let pause_ms = (made / MADE_PER_MS + passed / PASSED_PER_MS) as u64;
        self.pause_ms = pause_ms + (steps_max - steps) / STEPS_PER_MS;
        self.ready_ms = now_ms + u64::from(self.pause_ms > 0);
        let selection = selection.map_err(|error| {
            self.is_refused_for_good =
                matches!(error, SelectError::TooLong | SelectError::NoPattern(_));
            let why = printable(error.to_string());
            self.refused = Some((selector.clone(), why.clone()));
            why
        })?;
        let bytes = memory_bytes(&selection.manifest);
        let dropped = self.make_room(bytes, is_used)?;
        let id = self.add(space, whole, selection);
        self.list.push(Kept { selector, id, bytes });
        Ok(Some(Selected { id, dropped }))
    }

    fn add(
        &self,
        space: &mut NameSpace,
        whole: GenerationId,
        selection: Selection,
    ) -> GenerationId {
        let origin = Origin { scan: self.scan, entries: Some(selection.origin) };
        let generation = Generation::whole(Rc::new(selection.manifest), Some(origin.clone()));
        // Unchanged since an earlier scan: who fetches it already helps.
        match space.generation_of(generation.digest()).filter(|id| *id != whole) {
            Some(id) => {
                space.set_origin(id, origin);
                id
            }
            None => space.add_generation(generation),
        }
    }

    /// Makes room for another of so many bytes: nobody fetches what goes for it, the
    /// least recently used first. One alone may be as large as it is.
    fn make_room(
        &mut self,
        bytes: usize,
        is_used: impl Fn(GenerationId) -> bool,
    ) -> Result<Vec<GenerationId>, &'static str> {
        let used = self.list.iter().filter(|kept| is_used(kept.id));
        let (count, used_bytes) = used.fold((0, 0), |(n, sum), kept| (n + 1, sum + kept.bytes));
        if count > 0 && (count >= SELECTIONS_MAX || used_bytes + bytes > self.bytes_max) {
            return Err(
                "the master serves too many different parts of the tree already; try later, or give it more memory (--max-memory)",
            );
        }
        let mut held: usize = self.list.iter().map(|kept| kept.bytes).sum();
        let mut dropped = Vec::new();
        while self.list.len() >= SELECTIONS_MAX || held + bytes > self.bytes_max {
            let Some(idle) = self.list.iter().position(|kept| !is_used(kept.id)) else { break };
            let kept = self.list.remove(idle);
            held -= kept.bytes;
            dropped.push(kept.id);
        }
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::file;
    use std::collections::BTreeSet;

    struct Fixture {
        space: NameSpace,
        selections: Selections,
        whole: GenerationId,
    }

    /// A tree of more files than selections are kept: `0000`, `0001` and so on.
    fn fixture() -> Fixture {
        let mut entries = vec![Entry::bare_root()];
        let name = |number: usize| format!("{number:04}");
        entries.extend((0..300).map(|number| file(0, &name(number), name(number).as_bytes())));
        let manifest = Manifest::of_entries(4096, entries);
        let mut space = NameSpace::new(true, 1);
        let origin = Origin { scan: 1, entries: None };
        let whole = space.add_generation(Generation::whole(Rc::new(manifest), Some(origin)));
        let mut selections = Selections::new(64 << 20);
        selections.set_scan(1);
        Fixture { space, selections, whole }
    }

    impl Fixture {
        fn select(
            &mut self,
            sources: &[&str],
            used: &BTreeSet<GenerationId>,
        ) -> Result<Selected, String> {
            let selector = Selector::of_paths(sources);
            let is_used = |id| used.contains(&id);
            self.selections.is_ready(self.selections.ready_ms);
            let turn = Turn { now_ms: self.selections.ready_ms, of_ip: 63 };
            let space = &mut self.space;
            let selected = self.selections.select(space, self.whole, &selector, turn, is_used);
            selected.map(Option::unwrap)
        }

        fn id(&mut self, sources: &[&str]) -> GenerationId {
            self.select(sources, &BTreeSet::new()).unwrap().id
        }
    }

    #[test]
    fn no_source_and_the_root_are_the_whole_tree() {
        let mut fixture = fixture();
        for sources in [&[][..], &["."], &["./"], &["/"]] {
            assert_eq!(fixture.id(sources), fixture.whole, "{sources:?}");
        }
        assert!(!fixture.selections.has(fixture.whole));
    }

    #[test]
    fn the_same_sources_are_the_same_generation_however_they_are_spelled() {
        let mut fixture = fixture();
        let one = fixture.id(&["0001"]);
        assert!(one != fixture.whole && fixture.selections.has(one));
        assert_eq!(fixture.id(&["./0001"]), one);
        assert_ne!(fixture.id(&["0002"]), one);
    }

    #[test]
    fn what_is_not_there_is_refused_in_words_that_name_it() {
        let mut fixture = fixture();
        let why = fixture.select(&["nothing"], &BTreeSet::new()).unwrap_err();
        assert!(why.contains("nothing"), "{why}");
    }

    #[test]
    fn patterns_have_a_pause_of_their_own_and_are_refused_once_for_all() {
        let mut fixture = fixture();
        let by = |source: &str, excludes: &[&str]| Selector {
            sources: vec![source.as_bytes().to_vec()],
            are_patterns: true,
            excludes: excludes.iter().map(|pattern| pattern.as_bytes().to_vec()).collect(),
        };
        let mut select = |selector: &Selector, now_ms| {
            let turn = Turn { now_ms, of_ip: 0 };
            let Fixture { space, selections, whole } = &mut fixture;
            let selected = selections.select(space, *whole, selector, turn, |_| false);
            (selected.map(|made| made.map(|made| made.id)), selections.pause_ms)
        };
        let (made, _) = select(&by("*[0-4]", &["00*", "?1?*"]), 1_000);
        let id = made.unwrap().unwrap();
        let (again, pause_ms) = select(&by("./*[0-4]", &["?1?*", "00*", "00*"]), 1_000);
        assert_eq!((again.unwrap().unwrap(), pause_ms), (id, 0), "the same words in another order");
        let stars = by(&format!("{}x?", "*0*".repeat(5_000)), &[]);
        let (refused, pause_ms) = select(&stars, 2_000);
        assert!(refused.as_ref().unwrap_err().contains("take too long"), "{refused:?}");
        let steps = STEPS_PER_MS * pause_ms;
        assert!((2_000_000..2_400_000).contains(&steps), "{pause_ms} ms");
        assert_eq!(select(&stars, 2_000), (refused, pause_ms), "known, and so no work");
        assert_eq!(select(&by("1*", &[]), 2_000).0, Ok(None), "who asks for more waits");
        // It took until then.
        assert_eq!(select(&by("1*", &[]), 9_000), (Ok(None), 0), "and the pause begins after it");
        assert_eq!(select(&by("1*", &[]), 9_000 + pause_ms - 2).0, Ok(None));
        assert!(select(&by("01*", &[]), 9_000 + pause_ms - 1).0.unwrap().is_some());
        let Fixture { selections, .. } = &mut fixture;
        assert!(selections.has_refused_for_good(&stars));
        fixture.selections.set_scan(2);
        assert!(fixture.selections.refused.is_none(), "it may be there now");
    }

    #[test]
    fn the_least_recently_used_that_nobody_fetches_makes_room() {
        let mut fixture = fixture();
        let name = |number: usize| format!("{number:04}");
        let ids: Vec<GenerationId> =
            (0..SELECTIONS_MAX).map(|number| fixture.id(&[&name(number)])).collect();
        let mut used: BTreeSet<GenerationId> = ids.iter().copied().collect();
        let why = fixture.select(&[&name(SELECTIONS_MAX)], &used).unwrap_err();
        assert!(why.contains("too many different parts of the tree already"), "{why}");
        let known = fixture.select(&[&name(9)], &used).unwrap();
        assert_eq!((known.id, known.dropped), (ids[9], vec![]), "it takes no room");
        used.remove(&ids[3]);
        used.remove(&ids[9]);
        let selected = fixture.select(&[&name(SELECTIONS_MAX)], &used).unwrap();
        assert_eq!(selected.dropped, [ids[3]]);
        assert!(!fixture.selections.has(ids[3]) && fixture.selections.has(selected.id));
    }

    #[test]
    fn a_part_that_did_not_change_is_the_same_generation_after_another_look() {
        let mut fixture = fixture();
        let one = fixture.id(&["0001"]);
        assert_eq!(fixture.selections.take_all(), [one]);
        fixture.selections.set_scan(2);
        assert_eq!(fixture.id(&["0001"]), one);
        let origin = fixture.space.generation(one).and_then(|known| known.origin.clone());
        assert_eq!(origin.map(|origin| origin.scan), Some(2), "read from the new files");
        fixture.selections.set_scan(3);
        fixture.selections.adopt_scan(&mut fixture.space, fixture.whole);
        for id in [one, fixture.whole] {
            let origin = fixture.space.generation(id).and_then(|known| known.origin.clone());
            assert_eq!(origin.map(|origin| origin.scan), Some(3));
        }
    }

    #[test]
    fn memory_bounds_them_too_and_one_alone_may_be_large() {
        let mut fixture = fixture();
        let (one, two) = (fixture.id(&["0001"]), fixture.id(&["0002"]));
        let bytes: usize = fixture.selections.list.iter().map(|kept| kept.bytes).sum();
        assert!(bytes > 2 * 2 * ENTRY_BYTES, "a root and a file each");
        fixture.selections.bytes_max = bytes;
        assert_eq!(fixture.id(&["0001"]), one, "used again");
        let selected = fixture.select(&["0003"], &BTreeSet::new()).unwrap();
        assert_eq!(selected.dropped, [two]);
        let used = BTreeSet::from([one, selected.id]);
        assert!(fixture.select(&["0004"], &used).is_err(), "both are fetched");
        let all: Vec<String> = (0..300).map(|number| format!("{number:04}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let large = fixture.select(&all, &BTreeSet::new()).unwrap();
        assert_eq!(large.dropped.len(), 2, "all others go");
        assert!(fixture.select(&["0004"], &BTreeSet::from([large.id])).is_err());
        assert_eq!(fixture.select(&["0004"], &BTreeSet::new()).unwrap().dropped, [large.id]);
    }
}
