//! Parts of the served tree that somebody asked for, as generations of their own.
//!
//! Knows which sources gave which generation. Refuses to know who fetches them.

use crate::content::manifest::{Selection, plain_sources};
use crate::control::printable;
use crate::namespace::{Generation, GenerationId, NameSpace, Origin};
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Selections kept ready, beside the whole tree.
const SELECTIONS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Selections {
    /// The scan of the served tree that they were made of.
    scan: u32,
    /// By their sources in one spelling; the oldest first.
    list: Vec<(Vec<Vec<u8>>, GenerationId)>,
}

/// A generation that was asked for, and one that was dropped for it.
#[derive(Debug)]
pub(super) struct Selected {
    pub id: GenerationId,
    pub dropped: Option<GenerationId>,
}

impl Selections {
    pub fn set_scan(&mut self, scan: u32) {
        self.scan = scan;
    }

    pub fn has(&self, id: GenerationId) -> bool {
        self.list.iter().any(|(_, known)| *known == id)
    }

    pub fn take_all(&mut self) -> Vec<GenerationId> {
        core::mem::take(&mut self.list).into_iter().map(|(_, id)| id).collect()
    }

    /// The files of the whole tree and its selections are those of the last scan.
    pub fn adopt_scan(&self, space: &mut NameSpace, whole: GenerationId) {
        for id in self.list.iter().map(|(_, id)| *id).chain([whole]) {
            let origin = space.generation(id).and_then(|g| g.origin.clone());
            if let Some(origin) = origin {
                space.set_origin(id, Origin { scan: self.scan, ..origin });
            }
        }
    }

    /// The generation of these sources, made when first asked for.
    ///
    /// # Errors
    /// Words for the client: a source is not there, two would land under one
    /// name, or every selection kept is in use.
    pub fn select(
        &mut self,
        space: &mut NameSpace,
        whole: GenerationId,
        sources: &[Vec<u8>],
        is_used: impl Fn(GenerationId) -> bool,
    ) -> Result<Selected, String> {
        let sources = plain_sources(sources);
        if sources.is_empty() || sources == [b".".to_vec()] {
            return Ok(Selected { id: whole, dropped: None });
        }
        if let Some((_, id)) = self.list.iter().find(|(known, _)| *known == sources) {
            return Ok(Selected { id: *id, dropped: None });
        }
        let content = space.generation(whole).and_then(|g| g.content.clone());
        let content = content.ok_or("nothing is served yet")?;
        let refs: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let selection = content.manifest.select(&refs);
        let selection = selection.map_err(|error| printable(error.to_string()))?;
        let dropped = self.drop_idle(is_used)?;
        let id = self.add(space, whole, selection);
        self.list.push((sources, id));
        Ok(Selected { id, dropped })
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

    /// Makes room for another, if there is none.
    fn drop_idle(
        &mut self,
        is_used: impl Fn(GenerationId) -> bool,
    ) -> Result<Option<GenerationId>, &'static str> {
        if self.list.len() < SELECTIONS_MAX {
            return Ok(None);
        }
        let idle = self.list.iter().position(|(_, id)| !is_used(*id));
        let idle = idle
            .ok_or("the master serves too many different parts of the tree already; try later")?;
        Ok(Some(self.list.remove(idle).1))
    }
}
