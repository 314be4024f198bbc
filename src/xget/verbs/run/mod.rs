//! `xget run`: a command whose files are at the head.
//!
//! Fetches what its words name, puts paths of this machine in their place, and lets the command
//! take the place of this process. Refuses to know how a transfer works.

mod backing;
mod cache;
mod changes;
mod fetches;
mod options;
mod unpack;
mod words;

use super::master::Named;
use super::url;
use crate::actions::fetch::unreached;
use crate::console::{self, report};
use crate::driver;
use crate::failed::{Failed, USAGE, exit_code};
use crate::logger;
use crate::os::origin::{self, Origin};
use crate::os::signal;
use cache::Cache;
use fetches::{Fetched, Fetches};
use options::Options;
use peer::content::patterns;
use peer::failure::Status;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use words::{Kind, Name, Words};

/// As shells and env(1) have it: found and not run; not found.
const NOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

pub const HELP: &str = "\
usage: xget run [-n MASTER[:PORT],...] [-p PORT] [-r N] [-q] [--linger SECONDS]
                [--cache-dir DIR] [--cache-max MIB] -- COMMAND ARG...

Fetches what COMMAND and its arguments name at the head, puts the absolute path of
each in its place, and runs COMMAND, whose exit status is that of xget. Where a
name is missing or not verified, nothing is run.

  file:NAME     a file, or a directory with all that is in it
  tar:NAME      a tar archive (gzip, zstd, xz, as tar has it), unpacked: the one
                directory that is at its top
  http://..., https://...
                what `xget add URL` has put at the head: NAME is the URL's path

A name begins an argument, or stands behind `=` or `,` in one, and ends at the next
`,`; `,,` is one comma of the name. NAME is below what the master serves, and may be
a pattern that fits one. `\\` before it leaves it as it is: \\file:x.

  --cache-dir DIR    where it lies ($XDG_CACHE_HOME/xget/files, else
                     ~/.cache/xget/files): what is there and right is not fetched again
  --cache-max MIB    before COMMAND begins, what nobody uses goes, what was not used for
                     longest first, until the cache takes no more than this
  -n, -p, -r, -q, --linger, --max-clients, --max-memory, -D: as of a fetch. Without -n
                     XGET_MASTER, that which this system was booted from, or whoever on
                     the network has a name, as `xget get` does: 1.5 s for each

What is fetched is READ-ONLY, and common to all who use it: two machines that write to
one image would destroy it. Give QEMU -snapshot, or an overlay of its own. What `tar:`
unpacked is writable, and nobody else's until COMMAND ends.

exit status: that of COMMAND; 126 it cannot be run; 127 it is not found; else as of a
fetch
";

/// Takes what stands behind the verb. Returns with a failure alone.
pub fn run(args: Vec<OsString>) -> Result<(), Failed> {
    let origin = Origin::remember();
    let usage = |why: String| Failed::new(why, USAGE);
    let options = options::parse(args).map_err(usage)?;
    logger::init(options.debug);
    let words = Words::parse(options.command.clone()).map_err(usage)?;
    let (mut paths, mut locks) = (Vec::new(), Vec::new());
    if !words.names.is_empty() {
        signal::watch_end();
        let bytes_max = options.cache_bytes_max;
        let fetches = prepare(options)?;
        let mut places = Vec::new();
        for name in &words.names {
            places.push(fetch(&fetches, name, &mut locks)?);
        }
        // Behind the last fetch: who serves on has nothing that is for the command alone.
        for place in places {
            paths.push(place.for_command(&mut locks)?);
        }
        if let Some(bytes_max) = bytes_max {
            fetches.cache.shrink(bytes_max)?;
        }
        if signal::take() {
            return Err(Failed::new("interrupted".into(), exit_code(Status::Interrupted)));
        }
    }
    for lock in &locks {
        // What is in use stays, also when this process is the command.
        origin::keep_open(lock).map_err(|error| Failed::unexpected(error.to_string()))?;
    }
    let command = words.with(&paths).map_err(|error| usage(error.to_string()))?;
    console::let_go();
    let error = origin.execute(&command);
    let program = command.first().map(|word| word.to_string_lossy().into_owned());
    let status = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN };
    Err(Failed::new(format!("cannot run {}: {error}", program.unwrap_or_default()), status))
}

fn prepare(options: Options) -> Result<Fetches, Failed> {
    let cache = Cache::open(options.cache_dir)?;
    let (fetch, cache_bytes_max) = (options.fetch, options.cache_bytes_max);
    let mut task = fetch.task;
    let masters = match fetch.masters.is_empty() {
        true => Named::on_port(options.port).told()?,
        false => fetch.masters,
    };
    if !masters.is_empty() {
        task.masters = driver::resolve_all(&masters, 0, &mut report)
            .map_err(|why| Failed::new(why, exit_code(Status::Connection)))?;
    }
    Ok(Fetches { cache, task, is_quiet: fetch.quiet, cache_bytes_max })
}

/// Where something that was named is now.
enum Place {
    Path(PathBuf),
    Archive(Fetched),
}

impl Place {
    /// The path that the command gets.
    fn for_command(self, locks: &mut Vec<OwnedFd>) -> Result<PathBuf, Failed> {
        let Fetched { entry, path, .. } = match self {
            Place::Path(path) => return Ok(path),
            Place::Archive(fetched) => fetched,
        };
        let unpacked = unpack::unpack(&entry, &path)?;
        let path = entry.without_commas(unpacked.top)?;
        locks.extend([unpacked.lock, entry.into_lock()]);
        Ok(path)
    }
}

fn fetch(fetches: &Fetches, name: &Name, locks: &mut Vec<OwnedFd>) -> Result<Place, Failed> {
    let source = match name.kind {
        Kind::File | Kind::Tar => patterns::typed(&name.text),
        Kind::Url => {
            let name = url::name_of(&name.text).map_err(|why| Failed::new(why, USAGE))?;
            patterns::quote(&name)
        }
    };
    let fetched = fetches.fetch(&source).map_err(|failed| explained(failed, name))?;
    if name.kind == Kind::Tar {
        if fetched.is_dir {
            let path = fetched.path.display();
            let why = format!("{path}: is a directory, and no archive: file:");
            return Err(Failed::new(why, exit_code(Status::Source)));
        }
        return Ok(Place::Archive(fetched));
    }
    let Fetched { entry, path, is_dir } = fetched;
    let chain = match is_dir {
        true => Vec::new(),
        false => backing_files(fetches, &source, &path, locks)?,
    };
    let path = match chain.len() {
        0 | 1 => entry.without_commas(path)?,
        _ => entry.together(&chain)?,
    };
    locks.push(entry.into_lock());
    Ok(Place::Path(path))
}

/// The image and those that it stands on, fetched as well: where they are at the head, and here.
fn backing_files(
    fetches: &Fetches,
    source: &[u8],
    path: &Path,
    locks: &mut Vec<OwnedFd>,
) -> Result<Vec<(Vec<u8>, PathBuf)>, Failed> {
    let no = |image: &[u8], why: String| {
        let why = format!("{}: {why}", String::from_utf8_lossy(image));
        Failed::new(why, exit_code(Status::Source))
    };
    let dir_len = source.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let mut image = patterns::unquote(&source[..dir_len]);
    image.extend_from_slice(path.file_name().unwrap_or_default().as_bytes());
    let above = || no(source, "leads above what the head serves".into());
    let mut chain = vec![(backing::plain(&image).ok_or_else(above)?, path.to_path_buf())];
    while let Some((image, path)) = chain.last() {
        let written = backing::written(path).map_err(|error| no(image, error.to_string()))?;
        let Some(written) = written else { break };
        let next = backing::at_head(image, &written).map_err(|why| no(image, why))?;
        let Some(next) = next else { break };
        if patterns::has_wildcard(&source[..dir_len]) {
            let why = "stands on another file beside it: name its directory without a pattern";
            return Err(no(image, why.into()));
        }
        if chain.len() == backing::CHAIN_MAX {
            let why = format!("more than {} images stand on each other", backing::CHAIN_MAX);
            return Err(no(image, why));
        }
        let mut fetched = fetches.fetch(&patterns::quote(&next)).map_err(|mut failed| {
            let image = String::from_utf8_lossy(image);
            failed.reasons.push(format!("{image} has it as its backing file"));
            failed
        })?;
        chain.push((next, std::mem::take(&mut fetched.path)));
        locks.push(fetched.entry.into_lock());
    }
    Ok(chain)
}

/// What to do about a URL that nobody has fetched yet, and about a head that is away.
fn explained(mut failed: Failed, name: &Name) -> Failed {
    failed.reasons.extend(unreached(&failed));
    if name.kind == Kind::Url && failed.status == exit_code(Status::Source) {
        let url = String::from_utf8_lossy(&name.text);
        report(&format!("the head does not have {url} yet: run `xget add {url}` there"));
    }
    failed
}
