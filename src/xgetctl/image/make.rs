//! `image create` and `image import`: a new image, or another in the place of one.

use super::build::{Roots, make_all};
use super::fit::fit;
use super::suite;
use crate::failure::{Doing, Failure, Outcome};
use crate::head::{Head, Image};
use crate::import;
use crate::listing::Change;
use crate::out;
use crate::staging::Staging;
use clap::Args;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// What both have.
#[derive(Args, Clone, Debug)]
pub struct Making {
    /// The name of the image
    name: String,
    /// Put it in the place of an image with this name, in one step
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    roots: Roots,
    #[command(flatten)]
    change: Change,
}

#[derive(Args, Clone, Debug)]
pub struct Create {
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    suite: suite::Choice,
}

#[derive(Args, Clone, Debug)]
pub struct Import {
    #[command(flatten)]
    making: Making,
    /// A directory, a tar archive (plain, gzip, xz, zstd), an OCI image layout (directory
    /// or tar), or what `docker save` wrote
    from: PathBuf,
    /// Which image of several in an archive
    #[arg(long)]
    tag: Option<String>,
}

impl Create {
    pub fn run(&self, head: &Head) -> Outcome {
        let what = format!("{} with {}", self.suite.suite, self.suite.packages().join(","));
        self.making.run(head, &what, |root, _| self.suite.install(root))
    }
}

impl Import {
    pub fn run(&self, head: &Head) -> Outcome {
        let what = self.from.display().to_string();
        self.making.run(head, &what, |root, work| {
            import::import(&self.from, self.tag.as_deref(), work, root)
        })
    }
}

/// Owners, devices and attributes are root's to give.
pub fn need_root(doing: &str) -> Outcome {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::machine(format!(
        "{doing} takes root: its files have owners of their own. Run it as root, or through sudo"
    )))
}

impl Making {
    /// `fill` makes the root at the first path, and has the second for what lies in between.
    fn run(
        &self,
        head: &Head,
        what: &str,
        fill: impl Fn(&std::path::Path, &std::path::Path) -> Outcome,
    ) -> Outcome {
        let place =
            if self.replace { head.image_at(&self.name)? } else { head.new_image(&self.name)? };
        if self.change.dry_run {
            return out::line(&format!("would make {} of {what}", place.dir.display()));
        }
        need_root("making an image")?;
        let staging = Staging::below(&head.images())?;
        let made = Image::at(staging.join("image"), &self.name);
        let work = staging.join("work");
        for dir in [&made.dir, &work] {
            fs::create_dir(dir).doing("make the directory", dir)?;
        }
        fill(&made.root(), &work)?;
        // Whatever the umask of who runs this is: nodes and a master that is not root read it.
        let readable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&made.dir, readable).doing("set the mode of", &made.dir)?;
        keep_cmdline(&place, &made)?;
        fit(&made.root())?;
        make_all(&made, &self.roots, &staging)?;
        staging.put(&made.dir, &place.dir, self.replace)?;
        out::line(&format!("{} is made: {}", self.name, place.dir.display()))
    }
}

/// What an administrator wrote outlives the root that it was written for.
fn keep_cmdline(old: &Image, new: &Image) -> Outcome {
    if !old.cmdline().exists() {
        return Ok(());
    }
    fs::copy(old.cmdline(), new.cmdline()).map(drop).doing("copy", &old.cmdline())
}
