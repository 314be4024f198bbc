//! What of this project lies beside this program: the agent, and the maker of initrds.
//!
//! Installed: PREFIX/bin/xget and PREFIX/lib/xget. In a build directory: beside it, and above
//! it. XGET_BINARY, XGET_INIT and XGET_LIB name others.

use crate::failure::{Doing, Failure, Outcome};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const ELF_HEADER_LEN: usize = 64;

fn own_dir() -> Outcome<PathBuf> {
    let own = std::env::current_exe().doing("find out where I am:", Path::new("xgetctl"))?;
    Ok(own.parent().unwrap_or(Path::new("/")).into())
}

/// What an initrd has as `/init`: the program without a head's half, or the whole one, which
/// can be that as well.
pub fn init() -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os("XGET_INIT") {
        return Ok(path.into());
    }
    let own = own_dir()?;
    let named = std::env::var_os("XGET_BINARY").is_some();
    let places = [own.join("xget-init"), own.join("../lib/xget/xget-init")];
    match places.into_iter().find(|path| !named && path.is_file()) {
        Some(path) => Ok(path),
        None => program(),
    }
}

/// The program that a node has when it is up.
pub fn program() -> Outcome<PathBuf> {
    let path = match std::env::var_os("XGET_BINARY") {
        Some(path) => PathBuf::from(path),
        None => own_dir()?.join("xget"),
    };
    let mut head = [0; ELF_HEADER_LEN];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut head));
    if read.is_err() || !head.starts_with(b"\x7fELF") {
        return Err(Failure::machine(format!(
            "{} is not the program xget: install both together (make install), or name it \
             with XGET_BINARY",
            path.display()
        )));
    }
    Ok(path)
}

/// `initramfs/build`, with what it needs beside it.
pub fn initramfs_build() -> Outcome<PathBuf> {
    let below = Path::new("initramfs/build");
    let found = match std::env::var_os("XGET_LIB") {
        Some(dir) => Some(PathBuf::from(dir).join(below)),
        None => {
            let own = own_dir()?;
            let installed = own.join("../lib/xget").join(below);
            let above = own.ancestors().skip(1).map(|dir| dir.join(below));
            std::iter::once(installed).chain(above).find(|path| path.is_file())
        }
    };
    found.filter(|path| path.is_file()).ok_or_else(|| {
        Failure::machine(
            "initramfs/build, which makes initrds, is not there: install with make install, \
             or name its directory with XGET_LIB",
        )
    })
}
