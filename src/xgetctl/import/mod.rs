//! `image import`: a root out of a directory, a tar archive, an OCI image layout or what
//! `docker save` writes.

mod acl;
mod archive;
mod decompress;
mod entry;
mod layout;
mod pax;
mod unpack;

use crate::failure::{Doing, Failure, Outcome};
use crate::rooted::Rooted;
use crate::{interrupt, out, program};
pub use decompress::reader as decompressed;
use layout::Layer;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use unpack::{Source, unpack};

/// Makes `root` out of what is at `from`. `work` is an empty directory for what lies in
/// between.
pub fn import(from: &Path, tag: Option<&str>, work: &Path, root: &Path) -> Outcome {
    let from = &from.canonicalize().doing("import", from)?;
    let status = from.metadata().doing("import", from)?;
    let name = from.to_string_lossy();
    if status.is_dir() {
        let files = Rooted::open(from)?;
        return match layout::layers(&files, &name, tag)? {
            Some(layers) => apply(&files, &name, &layers, root),
            None => refuse_tag(tag, &name).and_then(|()| program::copy_tree(from, root)),
        };
    }
    let archive = work.join("archive");
    fs::create_dir(&archive).doing("make the directory", &archive)?;
    let file = File::open(from).doing("open", from)?;
    unpack(file, &archive, &Source { name: &name, is_layer: false })?;
    let files = Rooted::open(&archive)?;
    match layout::layers(&files, &name, tag)? {
        Some(layers) => apply(&files, &name, &layers, root),
        None => {
            refuse_tag(tag, &name)?;
            fs::rename(&archive, root).doing("put in place", root)
        }
    }
}

fn refuse_tag(tag: Option<&str>, name: &str) -> Outcome {
    match tag {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!("{name} is a root and no image with tags"))),
    }
}

/// Unpacks layer over layer, each verified.
fn apply(files: &Rooted, name: &str, layers: &[Layer], root: &Path) -> Outcome {
    fs::create_dir(root).doing("make the directory", root)?;
    for (number, layer) in layers.iter().enumerate() {
        let shown = format!("{name}: layer {} of {}", number + 1, layers.len());
        if let Some(blob) = layer.blob {
            hold(&shown, digest(files.file(&layer.path)?, &shown)?, blob)?;
        }
        let file = files.file(&layer.path)?;
        let plain = unpack(file, root, &Source { name: &shown, is_layer: true })?;
        hold(&shown, plain, layer.plain)?;
    }
    Ok(())
}

fn hold(shown: &str, has: [u8; 32], wanted: [u8; 32]) -> Outcome {
    if has == wanted {
        return Ok(());
    }
    Err(Failure::wrong(format!(
        "{shown} is damaged: its digest is sha256:{}, and it must be sha256:{}",
        out::hex(&has),
        out::hex(&wanted)
    )))
}

fn digest(mut file: File, shown: &str) -> Outcome<[u8; 32]> {
    let spinner = out::Spinner::new("verify");
    spinner.say(shown);
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        interrupt::check()?;
        match file.read(&mut buffer).doing("read", Path::new(shown))? {
            0 => break,
            count => sum.update(&buffer[..count]),
        }
    }
    spinner.finish();
    Ok(sum.finalize().into())
}
