//! Keys of a cluster: made once, and what follows from one (docs/security.md).
//!
//! Knows files and what is printed. Refuses to know what a key is for.

use crate::failure::{Doing, Failure, Outcome};
use crate::out;
use clap::Subcommand;
use peer::auth::{self, Archive, Key, KeyKind, NODE_KEY_FILE};
use rustix::fs::OFlags;
use rustix::process::getuid;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Goes before an archive: what it lies behind may be compressed by LZ4, whose end these are
/// (lib/decompress_unlz4.c).
const LZ4_END: [u8; 4] = [0; 4];
/// Nobody but the owner may read it.
const MODE: u32 = 0o600;
/// Of a directory that is made for it.
const DIR_MODE: u32 = 0o700;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a root key, from which the cluster's and the nodes' follow
    New {
        /// Where it goes; it must not be there. The head alone is to have it
        file: PathBuf,
    },
    /// Print the cluster's key, which every node is to have
    Cluster {
        /// With the root key
        file: PathBuf,
    },
    /// Print the key of one node
    Node {
        /// With the root key
        file: PathBuf,
        /// As in nodes.tab
        name: String,
        /// Write an archive with etc/xget/node-key, which a boot loader loads behind the
        /// initramfs, in place of printing it
        #[arg(long, value_name = "OUT")]
        cpio: Option<PathBuf>,
    },
}

impl Args {
    pub fn run(&self) -> Outcome {
        match &self.command {
            Command::New { file } => make(file),
            Command::Cluster { file } => {
                let key = read(file)?.cluster();
                let key =
                    key.ok_or_else(|| wrong(file, "the cluster's key follows from a root"))?;
                out::print(&Zeroizing::new(key.text() + "\n"))
            }
            Command::Node { file, name, cpio } => {
                let root = read(file)?;
                if *root.kind() != KeyKind::Root {
                    return Err(wrong(file, "keys of nodes follow from a root key alone"));
                }
                let key = root.node(name).ok_or_else(|| {
                    Failure::usage(format!("{name:?} is no name of a node that a key can be of"))
                })?;
                let text = Zeroizing::new(key.text() + "\n");
                match cpio {
                    Some(path) => {
                        let mut archive = Archive::begin();
                        archive.add(NODE_KEY_FILE, &text);
                        let bytes = [&LZ4_END[..], &archive.finish()].concat();
                        put(path, &Zeroizing::new(bytes), "archive")
                    }
                    None => out::print(&text),
                }
            }
        }
    }
}

/// Bytes that nobody can guess.
pub fn random() -> Outcome<[u8; 32]> {
    let mut random = [0; 32];
    let got = getrandom(&mut random, GetRandomFlags::empty())
        .map_err(|errno| Failure::machine(format!("no random bytes for a key: {errno}")))?;
    if got != random.len() {
        return Err(Failure::machine("no random bytes for a key"));
    }
    Ok(random)
}

/// The key of the cluster of this file, or, where none is named, of `XGET_KEY` or the usual
/// place, if there is one.
pub fn of_cluster(path: Option<&Path>) -> Outcome<Option<Key>> {
    let of_variable = std::env::var_os(auth::KEY_VARIABLE).map(PathBuf::from);
    let path = path.or(of_variable.as_deref());
    let named = path.unwrap_or(Path::new(auth::KEY_FILE));
    // An empty name is none.
    if named.as_os_str().is_empty() {
        return Ok(None);
    }
    let opened = open(named);
    if path.is_none()
        && let Err(error) = &opened
    {
        match error.kind() {
            ErrorKind::NotFound => return Ok(None),
            // It is not everybody's who asks a master.
            ErrorKind::PermissionDenied => {
                let file = auth::KEY_FILE;
                out::note(&format!(
                    "{file} is not for this user, and who is asked is shown no key"
                ));
                return Ok(None);
            }
            _ => {}
        }
    }
    auth::of_cluster(&read_from(opened, named)?).map(Some).map_err(|why| wrong(named, &why))
}

fn make(path: &Path) -> Outcome {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    if let Some(dir) = dir.filter(|dir| !dir.exists()) {
        let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir);
        made.doing("make the directory of the key", dir)?;
    }
    let text = Zeroizing::new(Key::root(random()?).text() + "\n");
    put(path, text.as_bytes(), "key")
}

/// A secret in a file that is not there yet.
fn put(path: &Path, bytes: &[u8], what: &str) -> Outcome {
    let made = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path);
    let mut file = made.doing(&format!("make the {what}"), path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key is none.
        let _ = fs::remove_file(path);
    }
    written.doing(&format!("write the {what}"), path)
}

/// Of a fifo nobody waits for who writes, and no terminal becomes ours.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)
}

fn read(path: &Path) -> Outcome<Key> {
    read_from(open(path), path)
}

fn read_from(opened: io::Result<File>, path: &Path) -> Outcome<Key> {
    auth::check_key_name(&path.to_string_lossy())
        .map_err(|why| Failure::wrong(String::from(why)))?;
    let file = opened.doing("read the key", path)?;
    let status = file.metadata().doing("look at the key", path)?;
    let reader = getuid().as_raw();
    auth::check_key_file(status.is_file(), status.mode(), status.uid(), reader)
        .map_err(|why| wrong(path, why))?;
    // All at once: where it grew, the key would stay.
    let mut text = Zeroizing::new(String::with_capacity(auth::KEY_FILE_LEN_MAX as usize + 1));
    file.take(auth::KEY_FILE_LEN_MAX).read_to_string(&mut text).doing("read the key", path)?;
    Key::parse(&text).map_err(|why| wrong(path, &why.to_string()))
}

fn wrong(path: &Path, why: &str) -> Failure {
    Failure::wrong(format!("{}: {why}", path.display()))
}
