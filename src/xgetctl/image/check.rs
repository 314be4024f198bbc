//! `image check`: what would keep a node from coming up, and what everybody can read.
//!
//! Looks and changes nothing. An error is what a boot fails of; a warning what somebody should
//! know. Status 5 where there is an error.

use super::finding::Finding;
use super::{initrd, kernel, secrets};
use crate::failure::{Doing, Failure, Outcome};
use crate::head::{Head, Image};
use crate::interrupt;
use crate::listing::Listing;
use crate::out::{self, Table};
use crate::rooted::Rooted;
use clap::Args;
use rustix::fs::FileType;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use walkdir::WalkDir;

/// Owners up to here are a system's.
const SYSTEM_UID_MAX: u32 = 999;
/// Files of strange owners that are named.
const OWNERS_SHOWN: usize = 3;
const TEXT_LEN_MAX: u64 = 1 << 20;
/// Where the kernel looks for the first program, `init=` aside.
const INITS: [&str; 4] = ["sbin/init", "etc/init", "bin/init", "bin/sh"];

#[derive(Args, Clone, Debug)]
pub struct Check {
    /// The images; all, and the layers, if none is named
    names: Vec<String>,
    #[command(flatten)]
    listing: Listing,
}

impl Check {
    pub fn run(&self, head: &Head) -> Outcome {
        head.check()?;
        let names = if self.names.is_empty() { head.image_names()? } else { self.names.clone() };
        let mut findings = Vec::new();
        for name in &names {
            findings.extend(check_image(head, &head.image(name)?)?);
        }
        for layer in head.layer_names()? {
            findings.extend(check_layer(head, &layer, &names)?);
        }
        if self.listing.json {
            out::json(&findings)?;
        } else {
            let mut table = Table::new(&[], &["", "WHERE", "WHAT"]);
            for found in &findings {
                let kind = if found.is_error { "error" } else { "warning" };
                table.row(vec![kind.into(), found.place.clone(), found.what.clone()]);
            }
            if !findings.is_empty() {
                table.print()?;
            }
        }
        let errors = findings.iter().filter(|found| found.is_error).count();
        let warnings = out::count(findings.len() - errors, "warning");
        if errors > 0 {
            let errors = out::count(errors, "error");
            return Err(Failure::wrong(format!("{errors}, {warnings}: nodes will not come up")));
        }
        if self.listing.json {
            return Ok(());
        }
        out::line(&format!("{}: no errors, {warnings}", out::count(names.len(), "image")))
    }
}

fn check_image(head: &Head, image: &Image) -> Outcome<Vec<Finding>> {
    let mut found = Vec::new();
    let version = check_kernel(image, &mut found)?;
    if image.root().is_dir() {
        let root = Rooted::open(&image.root())?;
        check_modules(&root, image, version.as_deref(), &mut found)?;
        check_init(&root, image, &mut found)?;
        check_one_machine(&root, image, &mut found)?;
        check_links(&root, image, &mut found)?;
        check_ages(image, &mut found)?;
        secrets::look(&head.dir, &image.root(), true, &mut found)?;
    }
    Ok(found)
}

fn check_kernel(image: &Image, found: &mut Vec<Finding>) -> Outcome<Option<String>> {
    let path = image.kernel();
    if !path.exists() {
        found.push(match image.root().is_dir() {
            true => Finding::warning(
                &path,
                "is missing, and nodes keep the kernel that started the agent: if that is not \
                 meant, install one and `xgetctl image build`",
            ),
            false => Finding::error(&path, "is missing, and there is no root to boot without it"),
        });
        return Ok(None);
    }
    match kernel::version(&path)? {
        Ok(version) => Ok(Some(version)),
        Err(why) => {
            found.push(Finding::error(&path, why));
            Ok(None)
        }
    }
}

fn check_modules(
    root: &Rooted,
    image: &Image,
    version: Option<&str>,
    found: &mut Vec<Finding>,
) -> Outcome {
    let Some(version) = version else { return Ok(()) };
    if !root.is_dir(&format!("lib/modules/{version}/kernel"))? {
        let what = format!("has no modules for the image's kernel, {version}");
        found.push(Finding::error(&image.root().join("lib/modules"), what));
    }
    let path = image.initrd();
    if !path.exists() {
        let what = "is missing, and an image with a root needs it: `xgetctl image build`";
        found.push(Finding::error(&path, what));
        return Ok(());
    }
    let versions = initrd::kernels(&path)?;
    if !versions.contains(version) {
        let has = versions.into_iter().collect::<Vec<_>>().join(", ");
        let has = if has.is_empty() { "of no kernel".into() } else { format!("of {has}") };
        let what = format!("has modules {has}, and not of {version}: `xgetctl image build`");
        found.push(Finding::error(&path, what));
    }
    Ok(())
}

fn check_init(root: &Rooted, image: &Image, found: &mut Vec<Finding>) -> Outcome {
    let cmdline = std::fs::read_to_string(image.cmdline()).unwrap_or_default();
    let words = cmdline.lines().filter(|line| !line.starts_with('#'));
    let named = words.flat_map(str::split_whitespace).filter_map(|word| word.strip_prefix("init="));
    let named: Vec<&str> = named.collect();
    let wanted: Vec<&str> = if named.is_empty() { INITS[..3].to_vec() } else { named };
    for path in &wanted {
        if root.is_file(path.trim_start_matches('/'))? {
            return Ok(());
        }
    }
    let what = format!("has nothing to start: none of {} is there", wanted.join(", "));
    found.push(Finding::error(&image.root(), what));
    Ok(())
}

fn check_one_machine(root: &Rooted, image: &Image, found: &mut Vec<Finding>) -> Outcome {
    if root.read("etc/machine-id", TEXT_LEN_MAX)?.is_some_and(|id| !id.is_empty()) {
        let what =
            "is one machine's, and every node would have it: `xgetctl image shell` strips it";
        found.push(Finding::warning(&image.root().join("etc/machine-id"), what));
    }
    for key in super::fit::host_keys(root)? {
        let what = "is one machine's, and every node would have it";
        found.push(Finding::warning(&image.root().join(key), what));
    }
    let fstab = root.read("etc/fstab", TEXT_LEN_MAX)?.unwrap_or_default();
    let fstab = String::from_utf8_lossy(&fstab).into_owned();
    for line in fstab.lines() {
        let device = line.split_whitespace().next().unwrap_or_default();
        if ["UUID=", "LABEL=", "/dev/"].iter().any(|start| device.starts_with(start)) {
            let what = format!("names the disk {device}: a node that has none waits for it");
            found.push(Finding::warning(&image.root().join("etc/fstab"), what));
        }
    }
    Ok(())
}

/// Links of the top directory that lead nowhere: `lib` and `bin` are such.
fn check_links(root: &Rooted, image: &Image, found: &mut Vec<Finding>) -> Outcome {
    for name in root.names("")? {
        let kind = root.status(&name)?.map(|status| FileType::from_raw_mode(status.st_mode));
        if kind == Some(FileType::Symlink) && !root.has(&name)? {
            found.push(Finding::warning(&image.root().join(name), "is a link that leads nowhere"));
        }
    }
    Ok(())
}

/// What is made of the root must not be older than what it is made of.
fn check_ages(image: &Image, found: &mut Vec<Finding>) -> Outcome {
    let made: Vec<PathBuf> = ["root.squashfs", "root.erofs"]
        .iter()
        .map(|name| image.dir.join(name))
        .filter(|path| path.exists())
        .collect();
    if made.is_empty() {
        return Ok(());
    }
    let (mut newest, mut time) = (image.root(), SystemTime::UNIX_EPOCH);
    for entry in WalkDir::new(image.root()) {
        interrupt::check()?;
        let entry = entry.map_err(|error| Failure::source(format!("cannot look: {error}")))?;
        let modified = entry.metadata().ok().and_then(|status| status.modified().ok());
        if modified.is_some_and(|modified| modified > time) {
            (newest, time) = (entry.path().into(), modified.unwrap_or(time));
        }
    }
    for path in made {
        if path.metadata().and_then(|status| status.modified()).doing("look at", &path)? < time {
            let newest = newest.display();
            let what =
                format!("is older than {newest}, and is what nodes get: `xgetctl image build`");
            found.push(Finding::warning(&path, what));
        }
    }
    Ok(())
}

/// What of a layer would not go over these images as somebody expects it.
fn check_layer(head: &Head, layer: &str, images: &[String]) -> Outcome<Vec<Finding>> {
    let mut found = Vec::new();
    let top = head.layers().join(layer);
    let mut strangers = BTreeSet::new();
    let mut roots = Vec::new();
    for name in images {
        let root = head.image(name)?.root();
        if root.is_dir() {
            roots.push((name, Rooted::open(&root)?));
        }
    }
    for entry in WalkDir::new(&top).min_depth(1) {
        interrupt::check()?;
        let entry = entry.map_err(|error| Failure::source(format!("cannot look: {error}")))?;
        let status = entry.metadata().doing("look at", entry.path())?;
        if status.uid() > SYSTEM_UID_MAX || status.gid() > SYSTEM_UID_MAX {
            strangers.insert((status.uid(), status.gid(), entry.path().to_owned()));
        }
        let below = entry.path().strip_prefix(&top).unwrap_or(entry.path());
        for (name, root) in &roots {
            hidden_link(root, name, below, entry.path(), status.is_dir(), &mut found)?;
        }
    }
    for (uid, gid, path) in strangers.iter().take(OWNERS_SHOWN) {
        let more = strangers.len().saturating_sub(1);
        let what =
            format!("belongs to {uid}:{gid}, as it will on the nodes ({more} more in {layer})");
        found.push(Finding::warning(path, what));
    }
    secrets::look(&head.dir, &top, false, &mut found)?;
    Ok(found)
}

fn hidden_link(
    root: &Rooted,
    image: &str,
    below: &Path,
    path: &Path,
    is_dir: bool,
    found: &mut Vec<Finding>,
) -> Outcome {
    let Some(text) = below.to_str() else { return Ok(()) };
    // Links on the way are found when their own turn comes.
    let status = root.status(text)?;
    let is_link =
        status.is_some_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Symlink);
    if !is_link {
        return Ok(());
    }
    let what = format!("takes the place of a symbolic link of the image {image}");
    found.push(match is_dir {
        true => Finding::error(path, format!("{what}: put its files where that leads")),
        false => Finding::warning(path, what),
    });
    Ok(())
}
