//! What a node gets over its root: every path, from which layer, and what that one hides.
//!
//! As the agent applies layers: in their order, the later over the earlier. Of a template it
//! is what comes of it that counts.

use super::table::Node;
use crate::failure::{Failure, Outcome};
use crate::head::Head;
use crate::interrupt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// How the name of a template ends.
pub const TEMPLATE: &str = ".tmpl";

/// Where a path of the node comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub layer: PathBuf,
    /// The file itself, below the served directory.
    pub file: PathBuf,
    pub is_template: bool,
    pub is_dir: bool,
    /// Layers whose file is not seen, the first first.
    pub hides: Vec<PathBuf>,
}

/// All paths of a node's layers.
pub fn plan(head: &Head, node: &Node) -> Outcome<BTreeMap<PathBuf, Origin>> {
    let mut plan: BTreeMap<PathBuf, Origin> = BTreeMap::new();
    for layer in &node.layers {
        let top = head.dir.join(layer);
        for entry in WalkDir::new(&top).min_depth(1).sort_by_file_name() {
            interrupt::check()?;
            let entry = entry.map_err(|error| Failure::source(format!("cannot look: {error}")))?;
            let below = entry.path().strip_prefix(&top).unwrap_or(entry.path());
            let template = entry.file_type().is_file().then(|| template_of(below)).flatten();
            let mut origin = Origin {
                layer: layer.clone(),
                file: layer.join(below),
                is_template: template.is_some(),
                is_dir: entry.file_type().is_dir(),
                hides: Vec::new(),
            };
            let path = template.unwrap_or_else(|| below.into());
            if let Some(hidden) = plan.remove(&path) {
                if hidden.is_dir && origin.is_dir {
                    // Directories become one.
                    plan.insert(path, hidden);
                    continue;
                }
                check_same_layer(&hidden, &origin)?;
                origin.hides = hidden.hides;
                origin.hides.push(hidden.layer);
            }
            plan.insert(path, origin);
        }
    }
    Ok(plan)
}

/// A file and a template of it in one layer: which of them is meant, nobody can know.
fn check_same_layer(one: &Origin, other: &Origin) -> Outcome {
    if one.layer != other.layer {
        return Ok(());
    }
    Err(Failure::wrong(format!(
        "{} and {} are both for the same file: remove one",
        one.file.display(),
        other.file.display()
    )))
}

/// The path that comes of a template.
pub fn template_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?.strip_suffix(TEMPLATE)?;
    (!name.is_empty()).then(|| path.with_file_name(name))
}
