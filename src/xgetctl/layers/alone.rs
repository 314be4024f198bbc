//! `xgetctl layers alone`: what one node alone gets, sealed (docs/security.md).
//!
//! Knows where it lies and that its owner alone may look there. Refuses to know how it travels.

use crate::failure::{Doing, Failure, Outcome};
use crate::head::{Head, check_name};
use crate::listing::Listing;
use crate::out::{self, Table};
use crate::tab;
use clap::Args;
use peer::alone::{BYTES_MAX, ENTRIES_MAX};
use serde::Serialize;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Of what has secrets, and of a directory in it, which stands for one that is on the node already.
const MODE: u32 = 0o700;
const DIR_MODE: u32 = 0o755;
const OTHERS: u32 = 0o077;

#[derive(Args, Clone, Debug)]
pub struct Alone {
    /// Make a directory for these nodes, by their names in nodes.tab; without any, list what there is
    nodes: Vec<String>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Serialize)]
struct Found {
    node: String,
    files: usize,
    bytes: u64,
    /// A line of nodes.tab has this name.
    known: bool,
}

impl Alone {
    pub fn run(&self, head: &Head) -> Outcome {
        head.check()?;
        let dir = head.alone();
        if self.nodes.is_empty() {
            return list(head, &dir, &self.listing);
        }
        for node in &self.nodes {
            check_name("a node", node)?;
        }
        let own = dir.parent().unwrap_or(&head.dir);
        make(own, DIR_MODE)?;
        make(&dir, MODE)?;
        check(&dir)?;
        for node in &self.nodes {
            let place = dir.join(node);
            make(&place, DIR_MODE)?;
            out::line(&place.display().to_string())?;
        }
        out::note(
            "put files there as they are to lie on the node; its key, of the root key alone: xgetctl key node KEY NAME (--cpio FILE)",
        );
        Ok(())
    }
}

fn make(dir: &Path, mode: u32) -> Outcome {
    match DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.doing("make the directory", dir),
    }
}

/// What others may look into a master does not give.
fn check(dir: &Path) -> Outcome {
    let status = fs::symlink_metadata(dir).doing("look at", dir)?;
    if !status.is_dir() {
        return Err(Failure::wrong(format!("{}: it is no directory", dir.display())));
    }
    if status.mode() & OTHERS != 0 {
        return Err(Failure::wrong(format!(
            "{}: others can look into it, and so the master gives nothing of it: chmod 700 it, and make new secrets if they did",
            dir.display()
        )));
    }
    Ok(())
}

fn list(head: &Head, dir: &Path, listing: &Listing) -> Outcome {
    let table = tab::read(head)?;
    let is_known = |node: &str| table.names().any(|name| name == node);
    let mut found = Vec::new();
    for node in head.alone_names()? {
        check(dir)?;
        let (mut files, mut entries, mut bytes) = (0, 1, 0);
        let mut left: Vec<PathBuf> = vec![dir.join(&node)];
        while let Some(place) = left.pop() {
            for entry in fs::read_dir(&place).doing("list", &place)? {
                let entry = entry.doing("list", &place)?;
                let status = entry.metadata().doing("look at", &entry.path())?;
                entries += 1;
                if status.is_dir() {
                    left.push(entry.path());
                } else {
                    files += 1;
                    bytes += if status.is_file() { status.len() } else { 0 };
                }
            }
        }
        if bytes > BYTES_MAX as u64 || entries > ENTRIES_MAX {
            out::note(&format!(
                "{node}: more than {} MiB or {ENTRIES_MAX} entries, which the master does not give",
                BYTES_MAX >> 20
            ));
        }
        let known = is_known(&node);
        found.push(Found { node, files, bytes, known });
    }
    if listing.json {
        return out::json(&found);
    }
    let mut shown =
        Table::new(&[false, true, true, false], &["NODE", "FILES", "BYTES", "IN TABLE"]);
    for Found { node, files, bytes, known } in found {
        let known = if known { "yes" } else { "no" };
        shown.row(vec![node, files.to_string(), bytes.to_string(), known.into()]);
    }
    shown.print()
}
