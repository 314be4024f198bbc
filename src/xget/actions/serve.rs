//! A head's commands: it serves a directory, or prints a digest.

use crate::cli::{Cache, Serve, VERBS};
use crate::console::{self, MasterConsole, answer, report};
use crate::driver::{self, Account, ServeTask};
use crate::failed::{Failed, USAGE, exit_code};
use crate::key_file;
use crate::os::output::Output;
use crate::os::{daemon, file, privileges, signal};
use peer::content::digest::Digest;
use peer::content::manifest::Selector;
use peer::failure::Status;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

const REMOVE: &str = "there is no verb rm: what is deleted in the served directory (`rm NAME`, there) \
     is not served any more. A directory of that name is served as ./rm";

/// What there is in place of a verb `rm`.
pub fn remove() -> Failed {
    Failed::new(REMOVE.into(), USAGE)
}

pub fn print_digest(path: &Path, selector: &Selector, one_file_system: bool) -> Result<(), Failed> {
    let (digest, notes) = driver::print_digest(path, selector, one_file_system, &mut || true)
        .map_err(|why| Failed::new(why, exit_code(Status::Source)))?;
    notes.iter().for_each(|note| report(note));
    answer(&format!("{digest}\n"))
}

pub fn serve(serve: Serve) -> Result<(), Failed> {
    if serve.path.as_os_str() == "rm" && !serve.path.exists() {
        return Err(remove());
    }
    if let Some(verb) = VERBS.iter().find(|verb| serve.path.as_os_str() == **verb)
        && !serve.path.exists()
    {
        let text = format!("no {verb} is here to be served; a verb comes first: xget {verb} ...");
        return Err(Failed::new(text, USAGE));
    }
    signal::watch_hangup();
    let account = serve.user.map(account).transpose()?;
    // Before going to the background, which changes the directory.
    let path = absolute(&serve.path)?;
    let cache = match serve.cache {
        Cache::None => None,
        Cache::File(file) => Some(absolute(&file)?),
        Cache::Default => default_cache(&path, account.as_ref()),
    };
    let key =
        key_file::read_of_master(serve.key.as_deref()).map_err(|why| Failed::new(why, USAGE))?;
    if key.is_none() && serve.has_free_mounts {
        let text = "--free-mounts is for a master with a key: without one all mounts are free";
        return Err(Failed::new(text.into(), USAGE));
    }
    let log = serve.log.as_deref().map(open_log).transpose()?;
    let mut ready: Option<Box<dyn FnOnce()>> = None;
    if serve.daemon {
        let waiting = daemon::detach().map_err(|error| {
            Failed::unexpected(format!("cannot go into the background: {error}"))
        })?;
        ready = Some(Box::new(move || waiting.tell()));
    }
    let task = ServeTask {
        path,
        port: serve.port,
        fan_out: serve.fan_out,
        head_copies: serve.head_copies,
        one_file_system: serve.one_file_system,
        is_found: serve.is_found,
        key,
        is_plain_free: serve.has_free_mounts,
        cache,
        limits: serve.limits,
        account,
        is_shut_in: serve.is_shut_in,
    };
    console::open(&[0, 1]);
    driver::serve(task, MasterConsole::new(ready, log)).map_err(Failed::unexpected)
}

/// Whom a master becomes.
fn account(name: String) -> Result<Account, Failed> {
    let usage = |why: &str| Failed::new(format!("--user {name}: {why}"), USAGE);
    if !file::is_root() {
        return Err(usage(
            "only root can become another user; leave it out, or start xget as root",
        ));
    }
    match privileges::user(&name) {
        Ok(Some((0, _))) => Err(usage("it is root, as which xget runs without --user")),
        Ok(Some((uid, gid))) => Ok(Account { name, uid, gid }),
        Ok(None) => Err(usage("this machine has no such user (getent passwd)")),
        Err(cause) => Err(usage(&std::io::Error::from(cause).to_string())),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failed> {
    std::path::absolute(path)
        .map_err(|error| Failed::unexpected(format!("{}: {error}", path.display())))
}

fn open_log(path: &Path) -> Result<Output, Failed> {
    Output::appended(path).map_err(|error| {
        Failed::unexpected(format!("cannot write the log {}: {error}", path.display()))
    })
}

/// One file for each served path, where the system keeps caches
/// (XDG Base Directory Specification).
fn default_cache(path: &Path, account: Option<&Account>) -> Option<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ if file::is_root() => PathBuf::from("/var/cache"),
        _ => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    let mut dir = base.join("xget");
    file::make_dirs(&dir).ok()?;
    if let Some(account) = account {
        dir = own_dir(&dir, account)?;
    }
    let name = Digest::of(path.as_os_str().as_encoded_bytes()).to_string();
    Some(dir.join(&name[..16]))
}

/// A directory in it that belongs to who is to write there.
fn own_dir(base: &Path, account: &Account) -> Option<PathBuf> {
    let Account { uid, gid, .. } = *account;
    let (above, name) = (file::open_dir(base).ok()?, uid.to_string());
    let _ = file::make_dir_at(&above, name.as_bytes(), 0o700);
    let dir = file::open_dir_at(&above, name.as_bytes()).ok()?;
    let owner = file::stat_dir(&dir).ok()?.uid;
    // Who else could have made it is not given what another has put there.
    if owner == 0 {
        file::set_owner(dir.as_fd(), uid, gid).ok()?;
    }
    (owner == 0 || owner == uid).then(|| base.join(name))
}
