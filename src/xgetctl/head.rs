//! The served directory: where in it images, layers and `nodes.tab` are.
//!
//! The one place that knows the layout of docs/provisioning.md. Knows names, not
//! what is in the files.

use crate::failure::{Doing, Failure, Outcome};
use std::fs;
use std::path::{Path, PathBuf};

/// Longest name of an image or layer.
pub const NAME_LEN_MAX: usize = 64;

/// The directory that the master serves.
pub struct Head {
    pub dir: PathBuf,
}

/// An image: a directory below `images`.
#[derive(Clone, Debug)]
pub struct Image {
    pub name: String,
    pub dir: PathBuf,
}

impl Image {
    pub fn at(dir: PathBuf, name: &str) -> Image {
        Image { name: name.into(), dir }
    }
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("kernel")
    }
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }
    pub fn cmdline(&self) -> PathBuf {
        self.dir.join("cmdline")
    }
}

impl Head {
    /// For who lists what is there: nothing, where the directory is another than was meant,
    /// is an answer that misleads.
    pub fn check(&self) -> Outcome {
        if self.dir.is_dir() {
            return Ok(());
        }
        Err(Failure::source(format!(
            "{} is not there: name what the master serves by --root DIR or XGET_ROOT, or make an \
             image first",
            self.dir.display()
        )))
    }

    pub fn images(&self) -> PathBuf {
        self.dir.join("images")
    }
    pub fn layers(&self) -> PathBuf {
        self.dir.join("layers")
    }
    pub fn nodes_tab(&self) -> PathBuf {
        self.dir.join(nodes::TAB_NAME)
    }

    /// Where an image is or would be.
    pub fn image_at(&self, name: &str) -> Outcome<Image> {
        check_name("an image", name)?;
        Ok(Image::at(self.images().join(name), name))
    }

    /// An image that is there.
    pub fn image(&self, name: &str) -> Outcome<Image> {
        let image = self.image_at(name)?;
        if !image.dir.is_dir() {
            let there = self.image_names().unwrap_or_default().join(", ");
            let there = if there.is_empty() { "none".into() } else { there };
            return Err(Failure::source(format!(
                "there is no image {name} below {}; there is: {there}",
                self.images().display()
            )));
        }
        Ok(image)
    }

    /// The place for an image that must not be there yet.
    pub fn new_image(&self, name: &str) -> Outcome<Image> {
        let image = self.image_at(name)?;
        if image.dir.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!(
                "there is an image {name} already ({}): choose another name, say --replace, \
                 or remove it with `xgetctl image rm {name}`",
                image.dir.display()
            )));
        }
        Ok(image)
    }

    pub fn image_names(&self) -> Outcome<Vec<String>> {
        names_in(&self.images())
    }

    /// What is made of templates, a layer for each node.
    pub fn rendered(&self) -> PathBuf {
        self.layers().join(".rendered")
    }

    pub fn rendered_names(&self) -> Outcome<Vec<String>> {
        names_in(&self.rendered())
    }

    /// What is for one node alone: a directory for each.
    pub fn alone(&self) -> PathBuf {
        self.dir.join(".xget/alone")
    }

    pub fn alone_names(&self) -> Outcome<Vec<String>> {
        names_in(&self.alone())
    }

    pub fn layer_names(&self) -> Outcome<Vec<String>> {
        names_in(&self.layers())
    }
}

/// The directories in one, in order; none where it is not there. Hidden ones are
/// ours (`staging`) or nobody's.
fn names_in(dir: &Path) -> Outcome<Vec<String>> {
    let listed = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.doing("list", dir)?,
    };
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.doing("list", dir)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A name is a word that is the same in a path, in `nodes.tab` and on a kernel's
/// command line.
pub fn check_name(what: &str, name: &str) -> Outcome {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let fits = !name.is_empty() && name.len() <= NAME_LEN_MAX && name.bytes().all(sound);
    if fits && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{name:?} is no name for {what}: up to {NAME_LEN_MAX} letters, digits and ._+-, \
         beginning with a letter or digit"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_their_directory() {
        for name in ["", ".", "..", "../x", "a/b", "-x", ".hidden", "a b", "ä", "a\n", "{x}"] {
            assert!(check_name("an image", name).is_err(), "{name:?}");
        }
        for name in ["debian", "debian-12.4", "n001", "a+b_c"] {
            check_name("an image", name).unwrap();
        }
        check_name("a layer", &"x".repeat(NAME_LEN_MAX)).unwrap();
        assert!(check_name("a layer", &"x".repeat(NAME_LEN_MAX + 1)).is_err());
    }
}
