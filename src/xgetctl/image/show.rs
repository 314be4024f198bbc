//! `image show`: all that is known of one image.

use super::list::Line;
use super::{initrd, tools};
use crate::failure::{Doing, Outcome};
use crate::head::{Head, Image};
use crate::listing::Listing;
use crate::out::{self, Table, mib};
use crate::program;
use clap::Args;
use serde::Serialize;

#[derive(Args, Clone, Debug)]
pub struct Show {
    /// The image
    name: String,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    line: Line,
    /// Kernels of which the initrd has modules.
    initrd_of: Vec<String>,
    /// For `xget.digest=`, and for `xget.root.digest=`.
    digest: Option<String>,
    root_digest: Option<String>,
}

impl Show {
    pub fn run(&self, head: &Head) -> Outcome {
        let image = head.image(&self.name)?;
        let shown = Shown::of(head, &image)?;
        if self.listing.json {
            return out::json(&shown);
        }
        let tally = &shown.line.tally;
        let mut table = Table::new(&[], &["image", &self.name]);
        let mut row = |name: &str, value: String| table.row(vec![name.into(), value]);
        row("root", shown.line.root.unwrap_or("none: started by kexec only").into());
        row("kernel", shown.line.kernel.clone().unwrap_or_else(|| "none that boots".into()));
        row(
            "initrd of",
            match &shown.initrd_of[..] {
                [] => "no kernel known".into(),
                names => names.join(", "),
            },
        );
        row(
            "files",
            format!(
                "{} (and {} directories, {} links, {} special)",
                tally.files, tally.directories, tally.symlinks, tally.special
            ),
        );
        row("size", mib(tally.apparent_bytes));
        row("in tmpfs", mib(tally.tmpfs_bytes));
        if let Some(needs) = shown.line.node_bytes {
            row("a node needs", format!("{} (1.15 x root and 150 MiB)", mib(needs)));
        }
        for (name, digest) in
            [("xget.digest=", shown.digest), ("xget.root.digest=", shown.root_digest)]
        {
            if let Some(digest) = digest {
                row(name, digest);
            }
        }
        table.print()
    }
}

impl Shown {
    fn of(head: &Head, image: &Image) -> Outcome<Shown> {
        let initrd_of = match image.initrd().exists() {
            true => initrd::kernels(&image.initrd())?.into_iter().collect(),
            false => Vec::new(),
        };
        let line = Line::of(image)?;
        let above = format!("images/{}", image.name);
        let root_digest = match line.root {
            None => None,
            Some("dir") => Some(digest(head, &[format!("{above}/root/.")])?),
            Some(kind) => Some(digest(head, &[format!("{above}/root.{kind}")])?),
        };
        let sources = match line.root {
            None => vec![format!("{above}/.")],
            Some(_) => parts(image)?.iter().map(|name| format!("{above}/{name}")).collect(),
        };
        // Beside a root without a kernel nothing is started.
        let has_pin = line.root.is_none() || image.kernel().exists();
        let digest = if has_pin { Some(digest(head, &sources)?) } else { None };
        Ok(Shown { line, initrd_of, digest, root_digest })
    }
}

/// What is started beside a root, in the order in which the master names it.
fn parts(image: &Image) -> Outcome<Vec<String>> {
    let mut initrds = Vec::new();
    for entry in std::fs::read_dir(&image.dir).doing("list", &image.dir)? {
        let name = entry.doing("list", &image.dir)?.file_name().to_string_lossy().into_owned();
        if name.starts_with("initrd") {
            initrds.push(name);
        }
    }
    initrds.sort();
    let others = ["kernel", "cmdline"].map(String::from);
    let there = others.into_iter().filter(|name| image.dir.join(name).exists());
    Ok(there.chain(initrds).collect())
}

/// As the agent itself computes it.
fn digest(head: &Head, sources: &[String]) -> Outcome<String> {
    let mut command = program::command(&tools::program()?)?;
    command.arg("--print-digest").arg(&head.dir).args(sources);
    let said = program::capture(&mut command, "take the digest of the image")?;
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(said.split_whitespace().next().unwrap_or_default().into())
}
