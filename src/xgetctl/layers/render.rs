//! `layers render`: what comes of a node's templates, as a layer of its own that goes over all
//! others (`layers/.rendered/NAME`).
//!
//! A node's is made anew as a whole, and only where something is other; those of nodes that
//! have no templates any more are removed. It is of the table as that stands under its lock, so
//! that what one command makes is not taken away by another.

use super::placed::Placed;
use super::plan::{Origin, plan};
use super::table::{self, Node};
use super::template;
use crate::failure::{Doing, Failure, Outcome};
use crate::head::Head;
use crate::listing::Change;
use crate::staging::Staging;
use crate::tab::{self, Locked};
use crate::{interrupt, out};
use clap::Args;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Longest template.
const TEMPLATE_LEN_MAX: u64 = 1 << 20;

#[derive(Args, Clone, Debug)]
pub struct Render {
    /// The nodes; all of nodes.tab if none is named
    nodes: Vec<String>,
    #[command(flatten)]
    change: Change,
}

/// A file or directory of a rendered layer.
#[derive(Debug, PartialEq, Eq)]
enum Made {
    Dir { mode: u32, owner: (u32, u32) },
    File { bytes: Vec<u8>, mode: u32, owner: (u32, u32) },
}

type Tree = BTreeMap<PathBuf, Made>;

impl Render {
    pub fn run(&self, head: &Head) -> Outcome {
        let _locked = Locked::open(head)?;
        let table = tab::read(head)?;
        let names: Vec<String> = match &self.nodes[..] {
            [] => table.names().map(String::from).collect(),
            named => named.to_vec(),
        };
        let mut made = Rendered::default();
        for name in names {
            interrupt::check()?;
            made.add(head, &table::node(head, &table, &name)?)?;
        }
        if self.nodes.is_empty() {
            made.empty_others(head)?;
        }
        let changed = if self.change.dry_run { made.say(head)? } else { made.put(head)?.keep() };
        let nodes = made.trees.values().filter(|tree| !tree.is_empty()).count();
        let has = if nodes == 1 { "has" } else { "have" };
        out::line(&format!("{} {has} templates; {changed} changed", out::count(nodes, "node")))
    }
}

/// What comes of the templates of these nodes. All are rendered before one is written: an
/// error changes nothing.
#[derive(Default)]
pub struct Rendered {
    trees: BTreeMap<String, Tree>,
}

impl Rendered {
    /// Of nodes by name, as this table has them: nothing of those that it has not. Where a layer
    /// is not there yet it is said: its nodes wait until it is, and have nothing of before.
    pub fn of(head: &Head, table: &nodes::Table, names: &BTreeSet<String>) -> Outcome<Rendered> {
        let mut made = Rendered::default();
        let mut missing = BTreeSet::new();
        let there: BTreeSet<&str> = table.names().collect();
        for name in names {
            interrupt::check()?;
            made.trees.insert(name.clone(), Tree::new());
            if !there.contains(&**name) {
                continue;
            }
            match table::node(head, table, name) {
                Ok(node) => made.add(head, &node)?,
                Err(failure) => drop(missing.insert(failure.text)),
            }
        }
        if let Some(text) = missing.first() {
            out::note(&format!("{text}; once it is, run `xgetctl layers render`"));
        }
        Ok(made)
    }

    fn add(&mut self, head: &Head, node: &Node) -> Outcome {
        self.trees.insert(node.name.clone(), tree(head, node)?);
        Ok(())
    }

    /// Those that are there and of nobody.
    fn empty_others(&mut self, head: &Head) -> Outcome {
        for name in head.rendered_names()? {
            self.trees.entry(name).or_default();
        }
        Ok(())
    }

    /// Those that are other than what is there.
    fn changed(&self, head: &Head) -> Outcome<Vec<(&String, &Tree)>> {
        let mut changed = Vec::new();
        for (name, tree) in &self.trees {
            interrupt::check()?;
            let place = head.rendered().join(name);
            let there = if place.is_dir() { look(&place)? } else { Tree::new() };
            if there != *tree {
                changed.push((name, tree));
            }
        }
        Ok(changed)
    }

    /// Says what would be changed, and returns how many.
    pub fn say(&self, head: &Head) -> Outcome<usize> {
        let changed = self.changed(head)?;
        for (name, tree) in &changed {
            let done = if tree.is_empty() { "remove" } else { "write" };
            let place = head.rendered().join(name);
            out::line(&format!("would {done} {}", place.display()))?;
        }
        Ok(changed.len())
    }

    /// All of them, and for good when they are kept.
    pub fn put(&self, head: &Head) -> Outcome<Placed> {
        let dir = head.rendered();
        let changed = self.changed(head)?;
        if changed.is_empty() {
            return Ok(Placed::default());
        }
        let staging = Staging::below(&dir)?;
        for (name, tree) in &changed {
            interrupt::check()?;
            write(&staging.join(name), tree)?;
        }
        let names: Vec<&String> = changed.iter().map(|(name, _)| *name).collect();
        Placed::below(&dir, staging, &names)
    }
}

/// What comes of a node's templates; nothing where it has none.
fn tree(head: &Head, node: &Node) -> Outcome<Tree> {
    let mut tree = Tree::new();
    for (path, origin) in plan(head, node)? {
        if !origin.is_template {
            continue;
        }
        let file = head.dir.join(&origin.file);
        let status = file.metadata().doing("look at", &file)?;
        let bytes = rendered(&file, node)?;
        add_directories(head, &origin, &path, &mut tree)?;
        let (mode, owner) = (mode(&status), owner(&status));
        tree.insert(path, Made::File { bytes, mode, owner });
    }
    Ok(tree)
}

fn rendered(file: &Path, node: &Node) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let opened = File::open(file).doing("open", file)?;
    opened.take(TEMPLATE_LEN_MAX + 1).read_to_end(&mut bytes).doing("read", file)?;
    if bytes.len() as u64 > TEMPLATE_LEN_MAX {
        let text = format!("{} is longer than a template may be (1 MiB)", file.display());
        return Err(Failure::wrong(text));
    }
    template::render(&bytes, &node.variables).map_err(|fault| {
        Failure::wrong(format!(
            "{}:{}:{}: for {}: {}",
            file.display(),
            fault.line,
            fault.column,
            node.name,
            fault.what
        ))
    })
}

/// Directories above a file are as in the layer of its template.
fn add_directories(head: &Head, origin: &Origin, path: &Path, tree: &mut Tree) -> Outcome {
    for above in path.ancestors().skip(1) {
        let dir = head.dir.join(&origin.layer).join(above);
        let status = dir.metadata().doing("look at", &dir)?;
        let made = Made::Dir { mode: mode(&status), owner: owner(&status) };
        tree.insert(above.into(), made);
    }
    Ok(())
}

fn mode(status: &Metadata) -> u32 {
    status.mode() & 0o7777
}

fn owner(status: &Metadata) -> (u32, u32) {
    (status.uid(), status.gid())
}

/// What was rendered before.
fn look(place: &Path) -> Outcome<Tree> {
    let mut tree = Tree::new();
    for entry in walkdir::WalkDir::new(place) {
        let entry = entry.map_err(|error| Failure::source(format!("cannot look: {error}")))?;
        let status = entry.metadata().doing("look at", entry.path())?;
        let (mode, owner) = (mode(&status), owner(&status));
        let made = if status.is_dir() {
            Made::Dir { mode, owner }
        } else {
            let bytes = fs::read(entry.path()).doing("read", entry.path())?;
            Made::File { bytes, mode, owner }
        };
        let path = entry.path().strip_prefix(place).unwrap_or(entry.path());
        tree.insert(path.into(), made);
    }
    Ok(tree)
}

/// Owner before mode: giving away takes setuid away. A directory is in the order of paths
/// before what is in it.
fn write(top: &Path, tree: &Tree) -> Outcome {
    for (path, made) in tree {
        let path = if path.as_os_str().is_empty() { top.into() } else { top.join(path) };
        let (mode, (uid, gid)) = match made {
            Made::Dir { mode, owner } => {
                fs::create_dir(&path).doing("make the directory", &path)?;
                (*mode, *owner)
            }
            Made::File { bytes, mode, owner } => {
                fs::write(&path, bytes).doing("write", &path)?;
                (*mode, *owner)
            }
        };
        let is_ours = owner(&path.metadata().doing("look at", &path)?) == (uid, gid);
        if !is_ours {
            chown(&path, Some(uid), Some(gid)).doing("give away", &path)?;
        }
        fs::set_permissions(&path, Permissions::from_mode(mode)).doing("set the mode of", &path)?;
    }
    Ok(())
}
