//! `--sign` and `--print-statement`: what is signed of a directory, and by which key
//! (docs/security.md, "Signed generations").
//!
//! Refuses to know what is done with what is signed.

use crate::cli::Sign;
use crate::console::{answer, report};
use crate::driver::Hashed;
use crate::failed::{Failed, USAGE, exit_code};
use crate::key_file;
use crate::os::clock;
use crate::store::signatures;
use nix::errno::Errno;
use peer::content::digest::Digest;
use peer::content::manifest::Selector;
use peer::failure::Status;
use peer::signature::{SecretKey, Statement};
use std::path::Path;

const TOO_LONG: &str = "these sources are too many for one statement, which has 16 KiB: sign a directory that has them all, or fewer";

pub fn sign(asked: Sign) -> Result<(), Failed> {
    let key = asked.key.as_deref().map(read_key).transpose()?;
    // Before the tree is looked at, which it changes.
    let dir = match signatures::prepare(&asked.path) {
        Ok(dir) => Some(dir),
        // What is printed goes there later, perhaps by somebody else.
        Err(_) if key.is_none() && asked.path.is_dir() => None,
        Err(errno) => return Err(unwritten(&asked.path, errno)),
    };
    let hashed = Hashed::of(&asked.path, asked.one_file_system, &mut || true)
        .map_err(|why| Failed::new(why, exit_code(Status::Source)))?;
    hashed.notes().iter().for_each(|note| report(note));
    let mut lines = String::new();
    for name in hashed.images_twice() {
        report(&format!(
            "images/{name} and {name} are both images: a node with xget.image={name} boots the one \
             that the master says; have it say images/{name}"
        ));
    }
    let wanted = asked.selector.map_or_else(|| hashed.selections(), |one| vec![one]);
    for selector in wanted {
        let selector = selector.plain();
        let failed = |why| Failed::new(why, exit_code(Status::Source));
        let generation = hashed.digest(&selector).map_err(failed)?;
        let beside = hashed.beside(&selector).map_err(failed)?;
        let date_s = clock::now_s().try_into().unwrap_or_default();
        let statement = Statement { selector, generation, beside, date_s };
        if !statement.is_short() {
            return Err(Failed::new(TOO_LONG.into(), USAGE));
        }
        let (Some(key), Some(dir)) = (&key, &dir) else {
            let place = Statement::place(&statement.selector);
            let path = asked.path.join(signatures::path_of(place));
            report(&format!("signed, it goes to {}", path.display()));
            lines.push_str(&statement.text());
            continue;
        };
        for statement in
            [Some(&statement), typed(&hashed, &statement).as_ref()].into_iter().flatten()
        {
            let place = Statement::place(&statement.selector);
            signatures::write(dir, place, key.sign(statement).as_bytes())
                .map_err(|errno| unwritten(&asked.path, errno))?;
        }
        lines.push_str(&format!("blake3:{generation}  {}\n", statement.names()));
    }
    answer(&lines)
}

/// What a name with `[`, `*` or `?` in it is to who types it, a pattern, where that is the same.
fn typed(hashed: &Hashed, statement: &Statement) -> Option<Statement> {
    let selector = Selector { are_patterns: true, ..statement.selector.clone() }.plain();
    if selector == statement.selector || !selector.are_patterns {
        return None;
    }
    let is_same = |found: &Digest| *found == statement.generation;
    hashed.digest(&selector).ok().filter(is_same)?;
    Some(Statement { selector, ..statement.clone() }).filter(Statement::is_short)
}

fn read_key(path: &Path) -> Result<SecretKey, Failed> {
    let failed = |why: &str| Failed::new(format!("--sign {}: {why}", path.display()), USAGE);
    let text = key_file::text_of(path).map_err(|error| failed(&error.to_string()))?;
    SecretKey::parse(&text).map_err(failed)
}

fn unwritten(path: &Path, errno: Errno) -> Failed {
    let why = match errno {
        Errno::ENOTDIR | Errno::ELOOP => "what is signed is a directory, and its .xget is one, too",
        errno => errno.desc(),
    };
    let path = path.join(".xget/signatures");
    Failed::new(format!("cannot write into {}: {why}", path.display()), exit_code(Status::LocalIo))
}
