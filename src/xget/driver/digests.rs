//! The digests that fetches from a directory would have, without a master.
//!
//! Refuses to know what is done with them.

use super::served_files::notes;
use crate::store::scan::{Scan, ScanOptions, ScanStep};
use crate::store::served::ServedTree;
use nodes::{IMAGES, LAYERS, RENDERED};
use peer::content::digest::Digest;
use peer::content::manifest::{EntryKind, Selector};
use peer::image::{self, Image};
use std::path::Path;

/// Hashed between two looks at whether a digest is still wanted.
const STEP_BYTES: u64 = 8 << 20;

/// What is below a path, hashed.
pub struct Hashed {
    tree: ServedTree,
}

impl Hashed {
    /// Whether it is still wanted is asked again and again.
    pub fn of(
        path: &Path,
        one_file_system: bool,
        is_wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Hashed, String> {
        let options = ScanOptions { one_file_system, cache: None };
        let mut scan = Scan::new(path, options).map_err(|error| error.to_string())?;
        while scan.step(STEP_BYTES).map_err(|error| error.to_string())? != ScanStep::Done {
            if !is_wanted() {
                return Err("interrupted".into());
            }
        }
        let tree = scan.finish().map_err(|error| error.to_string())?;
        Ok(Hashed { tree })
    }

    /// What was odd.
    pub fn notes(&self) -> Vec<String> {
        notes(&self.tree)
    }

    /// What is fetched of it as it stands: all; each thing in its root and in `images/`, and what
    /// is in it; and by nodes that boot what each image is made of.
    pub fn selections(&self) -> Vec<Selector> {
        let tree = &self.tree.manifest;
        let mut all = vec![Selector::of_paths(&["."])];
        let mut things = self.paths_in("");
        if image::is_dir(tree, IMAGES) {
            things.extend(self.paths_in(IMAGES));
        }
        for thing in things {
            all.push(Selector::of_paths(&[&thing]));
            let led_to = tree.find(&thing, true);
            if led_to.is_none_or(|entry| tree.entries[entry as usize].kind != EntryKind::Dir) {
                continue;
            }
            let inside = Selector::of_paths(&[[&thing, &b"/."[..]].concat()]);
            if let Ok(dir) = str::from_utf8(&thing) {
                let files = Image::of(tree, dir);
                let parts = if files.is_bootable() { files.selections(dir) } else { Vec::new() };
                all.extend(parts.into_iter().filter(|part| *part != inside));
            }
            all.push(inside);
        }
        all.extend(self.layers());
        all
    }

    /// Images that are in `images/` and again in the root: for a node that names one so, the
    /// master chooses.
    pub fn images_twice(&self) -> Vec<String> {
        let is_image = |dir: &str| Image::of(&self.tree.manifest, dir).is_bootable();
        let paths = self.paths_in(IMAGES).into_iter().filter_map(|p| String::from_utf8(p).ok());
        let names = paths.filter(|path| is_image(path));
        let names = names.filter_map(|path| Some(path.rsplit_once('/')?.1.to_string()));
        names.filter(|name| is_image(name)).collect()
    }

    /// Of each thing in a directory, and nothing where that is not there.
    fn paths_in(&self, dir: &str) -> Vec<Vec<u8>> {
        let tree = &self.tree.manifest;
        let dir = tree.find(dir.as_bytes(), true).unwrap_or_default();
        tree.children(dir).map(|entry| tree.path(entry)).collect()
    }

    /// Layers as nodes fetch them, those that were made of templates, too.
    fn layers(&self) -> Vec<Selector> {
        let tree = &self.tree.manifest;
        let mut layers = Vec::new();
        for dir in [LAYERS, RENDERED].into_iter().filter(|dir| image::is_dir(tree, dir)) {
            // The table names them, and is text.
            let paths = self.paths_in(dir).into_iter().filter_map(|p| String::from_utf8(p).ok());
            let is_layer = |path: &String| *path != RENDERED && image::is_dir(tree, path);
            layers.extend(paths.filter(is_layer).map(|path| Selector::of_paths(&[path + "/."])));
        }
        layers
    }

    /// What is started before this, where it is the root of an image with a kernel.
    pub fn beside(&self, selector: &Selector) -> Result<Option<Digest>, String> {
        let [source] = &selector.sources[..] else { return Ok(None) };
        let root = str::from_utf8(source).map_or("", |path| path.trim_end_matches("/."));
        let dir = root.rsplit_once('/').map_or(".", |(dir, _)| dir);
        let image = Image::of(&self.tree.manifest, dir);
        match &image.selections(dir)[..] {
            [started, root] if image.kernel.is_some() && root.plain() == *selector => {
                self.digest(started).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The generation that a fetch of this part is.
    pub fn digest(&self, selector: &Selector) -> Result<Digest, String> {
        let selection =
            self.tree.manifest.select_by(selector).map_err(|error| error.to_string())?;
        let mut entries = selection.manifest.entries.iter().enumerate();
        if let Some((entry, _)) = entries.find(|(_, e)| e.kind == EntryKind::Unreadable) {
            let path = selection.manifest.path(entry as u32);
            let path = String::from_utf8_lossy(&path).into_owned();
            return Err(format!("{path}: cannot be read; nobody could fetch what that would pin"));
        }
        Ok(Digest::of(&selection.manifest.encode()))
    }
}

/// The digest of a part, as `--digest` takes it, and what was odd.
pub fn print_digest(
    path: &Path,
    selector: &Selector,
    one_file_system: bool,
    is_wanted: &mut dyn FnMut() -> bool,
) -> Result<(String, Vec<String>), String> {
    let hashed = Hashed::of(path, one_file_system, is_wanted)?;
    Ok((format!("blake3:{}", hashed.digest(selector)?), hashed.notes()))
}
