//! `image build`: the files of an image that are made of its root: kernel, initrd, and a
//! compressed root where one is wanted.
//!
//! The directory `root/` is what an administrator edits and what everything is made of. A
//! `root.squashfs` or `root.erofs` beside it is what nodes take then.

use super::{kernel, tools};
use crate::failure::{Doing, Failure, Outcome};
use crate::head::{Head, Image};
use crate::listing::Change;
use crate::rooted::Rooted;
use crate::staging::Staging;
use crate::{out, program};
use clap::Args;
use std::cmp::Ordering;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What a root is compressed with: what every kernel that has the file system reads.
const SQUASHFS: [&str; 6] = ["-noappend", "-no-progress", "-quiet", "-xattrs", "-comp", "zstd"];
const EROFS: [&str; 2] = ["-zlz4hc", "--quiet"];
/// A command line that says what it is for.
const CMDLINE: &str = "# Words for the kernel of this image, as console=ttyS0,115200.\n";

#[derive(Args, Clone, Debug)]
pub struct Build {
    /// The image
    name: String,
    #[command(flatten)]
    roots: Roots,
    #[command(flatten)]
    change: Change,
}

/// Which compressed roots are to be there.
#[derive(Args, Clone, Debug, Default)]
pub struct Roots {
    /// Make root.squashfs, which nodes then take in place of root/
    #[arg(long)]
    pub squashfs: bool,
    /// Make root.erofs, which nodes then take in place of root/
    #[arg(long, conflicts_with = "squashfs")]
    pub erofs: bool,
}

impl Roots {
    /// Those that an image has already are to be made anew, too.
    pub fn of(&self, image: &Image) -> Roots {
        if self.squashfs || self.erofs {
            return self.clone();
        }
        let has = |name: &str| image.dir.join(name).exists();
        Roots { squashfs: has("root.squashfs"), erofs: has("root.erofs") }
    }
}

impl Build {
    pub fn run(&self, head: &Head) -> Outcome {
        let image = head.image(&self.name)?;
        if !image.root().is_dir() {
            return Err(Failure::source(format!(
                "{} has no root/: there is nothing to make an initrd of. An image that is only \
                 started by kexec has its own",
                image.dir.display()
            )));
        }
        let roots = self.roots.of(&image);
        if self.change.dry_run {
            return say_plan(&image, &roots);
        }
        let staging = Staging::below(&head.images())?;
        let parts = staging.join("parts");
        fs::create_dir(&parts).doing("make the directory", &parts)?;
        make_parts(&image, &parts, &roots, &staging)?;
        put_parts(&image, &parts, &staging)?;
        out::line(&format!("{} is built", image.name))
    }
}

fn say_plan(image: &Image, roots: &Roots) -> Outcome {
    let rooted = Rooted::open(&image.root())?;
    match newest_kernel(&rooted, image)? {
        Some(found) => out::line(&format!("would make the initrd for {}", found.version))?,
        None => out::line("would make no initrd: there is no kernel with its modules")?,
    }
    for (wanted, name) in [(roots.squashfs, "root.squashfs"), (roots.erofs, "root.erofs")] {
        if wanted {
            out::line(&format!("would make {name}"))?;
        }
    }
    Ok(())
}

/// Files that were made take their places. One does so by itself; several that belong
/// together do so in a copy of the image, which then takes its place as a whole.
fn put_parts(image: &Image, parts: &Path, staging: &Staging) -> Outcome {
    let mut made = Vec::new();
    for entry in fs::read_dir(parts).doing("list", parts)? {
        made.push(entry.doing("list", parts)?.file_name());
    }
    let lone = match &made[..] {
        [] => return Ok(()),
        [one] => Some(one),
        _ => None,
    };
    if let Some(one) = lone {
        return staging.put(&parts.join(one), &image.dir.join(one), true);
    }
    let copy = staging.join("image");
    program::copy_tree(&image.dir, &copy)?;
    for name in &made {
        fs::rename(parts.join(name), copy.join(name)).doing("put in place", &copy.join(name))?;
    }
    drop_other_roots(&copy, parts)?;
    staging.put(&copy, &image.dir, true)
}

/// Makes what an image consists of besides its root, in the image itself: for one that is in
/// nobody's use yet.
pub fn make_all(image: &Image, roots: &Roots, staging: &Staging) -> Outcome {
    make_parts(image, &image.dir, roots, staging)?;
    drop_other_roots(&image.dir, &image.dir)?;
    let cmdline = image.cmdline();
    if !cmdline.exists() {
        fs::write(&cmdline, CMDLINE).doing("write", &cmdline)?;
    }
    Ok(())
}

/// Two compressed roots would be one too many: nodes take root.squashfs first.
fn drop_other_roots(dir: &Path, made: &Path) -> Outcome {
    let squashfs = dir.join("root.squashfs");
    if made.join("root.erofs").exists() && squashfs.exists() && dir != made {
        fs::remove_file(&squashfs).doing("remove", &squashfs)?;
    }
    Ok(())
}

/// Makes kernel (where it is another), initrd and compressed roots of `image` in `into`.
fn make_parts(image: &Image, into: &Path, roots: &Roots, staging: &Staging) -> Outcome {
    let rooted = Rooted::open(&image.root())?;
    match newest_kernel(&rooted, image)? {
        None => out::note(&format!(
            "{} has no kernel with its modules, so no initrd is made. Install one in it, as by: \
             xgetctl image shell {} -- apt-get install linux-image-amd64",
            image.name, image.name
        )),
        Some(found) => {
            make_initrd(&rooted, &found, into, staging)?;
            put_kernel(&found, &image.kernel(), into)?;
        }
    }
    if roots.squashfs {
        let squash = program::need("mksquashfs", "squashfs-tools", "--squashfs")?;
        let made = into.join("root.squashfs.new");
        let mut command = program::command(&squash)?;
        command.arg(image.root()).arg(&made).args(SQUASHFS);
        finish_root(&mut command, &made, &into.join("root.squashfs"))?;
    }
    if roots.erofs {
        let erofs = program::need("mkfs.erofs", "erofs-utils", "--erofs")?;
        let made = into.join("root.erofs.new");
        let mut command = program::command(&erofs)?;
        command.args(EROFS).arg(&made).arg(image.root());
        finish_root(&mut command, &made, &into.join("root.erofs"))?;
    }
    Ok(())
}

fn finish_root(command: &mut std::process::Command, made: &Path, place: &Path) -> Outcome {
    program::run(command, "compress the root")?;
    fs::rename(made, place).doing("put in place", place)
}

/// A kernel in a root with its modules.
struct Kernel {
    version: String,
    /// Where the kernel itself is.
    file: PathBuf,
}

/// The newest kernel of a root, or the image's own where its modules are in the root.
fn newest_kernel(root: &Rooted, image: &Image) -> Outcome<Option<Kernel>> {
    let mut found: Vec<Kernel> = Vec::new();
    for version in root.names("lib/modules")? {
        if !root.is_dir(&format!("lib/modules/{version}/kernel"))? {
            continue;
        }
        let places = [format!("boot/vmlinuz-{version}"), format!("lib/modules/{version}/vmlinuz")];
        for place in places {
            if root.is_file(&place)?
                && let Some(file) = root.real(&place)?
            {
                found.push(Kernel { version: version.clone(), file });
                break;
            }
        }
    }
    if let Some(newest) = found.into_iter().max_by(|a, b| compare(&a.version, &b.version)) {
        return Ok(Some(newest));
    }
    if !image.kernel().exists() {
        return Ok(None);
    }
    let version = kernel::version(&image.kernel())?.unwrap_or_default();
    let has_modules =
        !version.is_empty() && root.is_dir(&format!("lib/modules/{version}/kernel"))?;
    Ok(has_modules.then(|| Kernel { version, file: image.kernel() }))
}

/// 6.10 is newer than 6.9: numbers by their value, the rest by letters.
fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        let mut parts = vec![(0_u64, String::new())];
        for c in text.chars() {
            match (c.to_digit(10), parts.last_mut()) {
                (Some(digit), Some(last)) if last.1.is_empty() => {
                    last.0 = last.0.saturating_mul(10).saturating_add(digit.into());
                }
                (Some(digit), _) => parts.push((digit.into(), String::new())),
                (None, Some(last)) => last.1.push(c),
                (None, None) => {}
            }
        }
        parts
    };
    parts(a).cmp(&parts(b))
}

/// The initrd, by initramfs/build, which wants a directory with one kernel.
fn make_initrd(root: &Rooted, found: &Kernel, into: &Path, staging: &Staging) -> Outcome {
    let base = staging.join("kernel");
    let work = staging.join("initrd");
    let modules = format!("lib/modules/{}", found.version);
    for dir in [&work, &base.join("boot"), &base.join("lib/modules"), &base.join("usr/lib")] {
        fs::create_dir_all(dir).doing("make the directory", dir)?;
    }
    let link = |from: Option<PathBuf>, to: PathBuf| match from {
        Some(from) => symlink(from, &to).doing("make the link", &to),
        None => Ok(()),
    };
    link(Some(found.file.clone()), base.join(format!("boot/vmlinuz-{}", found.version)))?;
    link(root.real(&modules)?, base.join(&modules))?;
    link(root.real("lib/firmware")?, base.join("lib/firmware"))?;
    let build = tools::initramfs_build()?;
    let mut command = program::command(&build)?;
    command.arg("--kernel").arg(&base).arg("--init").arg(tools::init()?);
    command.arg("--output").arg(work.join("initrd")).env("XGET_BUILD", &work);
    program::run(&mut command, &format!("make the initrd for {}", found.version))?;
    let place = into.join("initrd");
    fs::rename(work.join("initrd"), &place).doing("put in place", &place)
}

fn put_kernel(found: &Kernel, has: &Path, into: &Path) -> Outcome {
    let bytes = fs::read(&found.file).doing("read", &found.file)?;
    if has.exists() && fs::read(has).doing("read", has)? == bytes {
        return Ok(());
    }
    let place = into.join("kernel");
    fs::write(&place, bytes).doing("write", &place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(compare("6.10.1-amd64", "6.9.12-amd64"), Ordering::Greater);
        assert_eq!(compare("6.1.0-28-amd64", "6.1.0-9-amd64"), Ordering::Greater);
        assert_eq!(compare("6.1.0-28-amd64", "6.1.0-28-amd64"), Ordering::Equal);
        assert_eq!(compare("5.15", "6.1"), Ordering::Less);
    }
}
