//! `image list`: one line for each image.

use super::kernel;
use super::tally::Tally;
use crate::failure::Outcome;
use crate::head::{Head, Image};
use crate::listing::Listing;
use crate::out::{self, Table, mib};
use serde::Serialize;

/// What is said of an image.
#[derive(Debug, Serialize)]
pub struct Line {
    pub name: String,
    /// `dir`, `squashfs` or `erofs`; none for one that is only started by kexec.
    pub root: Option<&'static str>,
    pub kernel: Option<String>,
    pub tally: Tally,
    /// What a node needs to boot it; of roots only.
    pub node_bytes: Option<u64>,
}

/// What the agent makes the root of, in the order of its choice.
pub fn root_kind(image: &Image) -> Option<&'static str> {
    let kinds = [("root.squashfs", "squashfs"), ("root.erofs", "erofs"), ("root", "dir")];
    kinds.into_iter().find(|(name, _)| image.dir.join(name).exists()).map(|(_, kind)| kind)
}

impl Line {
    pub fn of(image: &Image) -> Outcome<Line> {
        let root = root_kind(image);
        let tally = Tally::of(&match root {
            None => image.dir.clone(),
            Some("dir") => image.root(),
            Some(kind) => image.dir.join(format!("root.{kind}")),
        })?;
        let kernel =
            if image.kernel().exists() { kernel::version(&image.kernel())?.ok() } else { None };
        let node_bytes = root.map(|_| tally.node_bytes());
        Ok(Line { name: image.name.clone(), root, kernel, tally, node_bytes })
    }
}

pub fn run(head: &Head, listing: &Listing) -> Outcome {
    head.check()?;
    let mut lines = Vec::new();
    for name in head.image_names()? {
        lines.push(Line::of(&head.image(&name)?)?);
    }
    if listing.json {
        return out::json(&lines);
    }
    let heads = ["NAME", "ROOT", "KERNEL", "FILES", "SIZE", "NODE NEEDS"];
    let mut table = Table::new(&[false, false, false, true, true, true], &heads);
    for line in lines {
        table.row(vec![
            line.name,
            line.root.unwrap_or("kexec").into(),
            line.kernel.unwrap_or_else(|| "-".into()),
            line.tally.files.to_string(),
            mib(line.tally.apparent_bytes),
            line.node_bytes.map_or("-".into(), mib),
        ]);
    }
    table.print()
}
