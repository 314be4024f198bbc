//! `xget add`: a file from elsewhere into the directory that is served, at the head.
//!
//! Knows what was asked for, and in which order it is done: `add::place` has the file, its
//! temporary name and its lock, `add::program` whoever fetches. A file is there under its name
//! when it is whole, and not before. Nobody but who types it makes the head fetch anything.

mod place;
mod program;

use super::url::{name_of, shown};
use crate::console::{answer, report};
use crate::failed::{Failed, USAGE, exit_code};
use crate::os::signal;
use lexopt::{Arg, Parser, ValueExt};
use peer::control::printable;
use peer::failure::Status;
use peer::request::Pin;
use place::{Claim, Place};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

pub const HELP: &str = "\
xget add: a file from elsewhere into the served directory, at the head

usage: xget add [-C DIR] [--sha256 HEX | --digest D] [-q] URL [NAME]

Fetches what is at the URL (http, https, ftp, file) by curl, or by wget where there
is no curl, under a temporary name that no master serves, and gives it its name once
it is whole, on the disk and what --sha256 or --digest say. Nodes can fetch it from
then on. Without a digest it is what the server sent: of one that does not say how
much there is nobody can tell that it broke off. What has the name already is not
fetched again: it is there (status 0), or with a digest it is compared with that. Two
at once for one name fetch it once.

NAME is a path below the directory; directories on the way are made. Without it, it
is the URL's path: http://host/releases/a.img is added as releases/a.img, which is
where `xget run` looks for it.

  -C DIR             the served directory. Without it XGET_ROOT, or the current one
  --sha256 HEX       what it must be, as sha256sum prints it
  --digest D         the same as blake3:HEX (b3sum) or sha256:HEX
  -q                 print only errors

Proxies and the like are curl's business: http_proxy, ~/.curlrc. A redirection leads
to http, https and ftp alone. A server that brings nothing for 2 minutes is given up,
one that is slow is not. What fails or is interrupted leaves nothing; with a digest
what has come is kept, where it says, and the next xget add of that name goes on with
it (by curl: wget begins anew).

exit status: 0 it is there, verified; 1 interrupted; 2 usage; 3 the server cannot be
reached; 4 it has no such file, or broke off; 5 wrong digest, or TLS does not believe
the server; 6 the disk, neither curl nor wget, or another that adds it hangs
";

/// What a URL may begin with.
const SCHEMES: [&str; 4] = ["http", "https", "ftp", "file"];
/// Between two looks at another that adds the same.
const LOOK: Duration = Duration::from_millis(100);
/// Another that brings nothing for so long is not waited for.
const STILL_MAX: Duration = Duration::from_secs(600);

struct Asked {
    url: String,
    name: Vec<u8>,
    dir: PathBuf,
    pin: Option<Pin>,
    is_quiet: bool,
}

impl Asked {
    fn parse(args: Vec<OsString>) -> Result<Asked, String> {
        let (mut dir, mut pin, mut is_quiet) = (None, None, false);
        let mut words = Vec::new();
        let mut parser = Parser::from_args(args);
        while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
            match arg {
                Arg::Short('C') => {
                    dir = Some(parser.value().map_err(|error| error.to_string())?.into());
                }
                Arg::Long("sha256") => {
                    pin = Some(parse_pin(&format!("sha256:{}", text(&mut parser)?))?)
                }
                Arg::Long("digest") => pin = Some(parse_pin(&text(&mut parser)?)?),
                Arg::Short('q') => is_quiet = true,
                Arg::Value(word) => words.push(word),
                Arg::Short(letter) => {
                    let advice = match letter {
                        'n' => "run it at the head itself (ssh HEAD xget add ...)",
                        _ => "see xget add --help",
                    };
                    return Err(format!("unknown option -{letter}; {advice}"));
                }
                Arg::Long(name) => {
                    return Err(format!("unknown option --{name}; see xget add --help"));
                }
            }
        }
        let mut words = words.into_iter();
        let (url, name, rest) = (words.next(), words.next(), words.next());
        let url = url.ok_or("what is to be added? xget add URL [NAME]")?;
        if rest.is_some() {
            return Err("one URL at a time, and one NAME: xget add URL [NAME]".into());
        }
        let url = url.into_string().map_err(|url| format!("{url:?} is no URL"))?;
        check_url(&url)?;
        let name = match name {
            Some(name) => name.into_vec(),
            None => name_of(url.as_bytes()).map_err(|why| format!("{why}: give it a NAME"))?,
        };
        let root =
            || std::env::var_os("XGET_ROOT").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let dir = dir.or_else(root).unwrap_or_else(|| ".".into());
        Ok(Asked { url, name: place::plain(&name)?, dir, pin, is_quiet })
    }
}

fn text(parser: &mut Parser) -> Result<String, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    value.string().map_err(|error| error.to_string())
}

fn parse_pin(text: &str) -> Result<Pin, String> {
    // As sha256sum and b3sum print them, and as some sites have them.
    Pin::parse(&text.to_ascii_lowercase()).ok_or_else(|| {
        format!("a digest is blake3: or sha256: and 64 hexadecimal digits, not {text:?}")
    })
}

fn check_url(url: &str) -> Result<(), String> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !scheme.is_some_and(|scheme| SCHEMES.contains(&&*scheme)) {
        let url = shown(url.as_bytes());
        return Err(format!("{url:?} is no URL with http, https, ftp or file in front"));
    }
    if url.chars().any(|c| c.is_control() || c == ' ') {
        let url = shown(url.as_bytes());
        return Err(format!("{url:?} has a space or a control character in it: write it as %20"));
    }
    Ok(())
}

pub fn run(args: Vec<OsString>) -> Result<(), Failed> {
    let asked = Asked::parse(args).map_err(|why| Failed::new(why, USAGE))?;
    signal::watch_end();
    let place = Place::open(&asked.dir, &asked.name)?;
    let found = match place.found(asked.pin)? {
        Some(found) => Some(found),
        None => match claim(&place, &asked)? {
            Some(claim) => {
                let size = fetch(&claim, &asked)?;
                return tell(&asked, "added", &claim.finish(asked.pin, size)?);
            }
            // Another has put it there.
            None => place.found(asked.pin)?,
        },
    };
    match found {
        Some(text) => tell(&asked, "is there already", &text),
        None => Err(place.failed(Status::LocalIo, "it comes and goes")),
    }
}

fn tell(asked: &Asked, what: &str, text: &str) -> Result<(), Failed> {
    if asked.is_quiet {
        return Ok(());
    }
    answer(&format!("{} {what}: {text}\n", printable(&asked.name)))
}

/// The temporary file, once nobody else has it; `None` where the file is there by then.
fn claim<'a>(place: &'a Place, asked: &Asked) -> Result<Option<Claim<'a>>, Failed> {
    let (mut since, mut state, mut is_said) = (Instant::now(), None, asked.is_quiet);
    loop {
        if let Some(claim) = place.claim()? {
            return Ok(Some(claim));
        }
        if place.is_there() {
            return Ok(None);
        }
        let now = place.temporary_state();
        if now != state {
            (since, state) = (Instant::now(), now);
        }
        if since.elapsed() > STILL_MAX {
            let why = "another xget add of it brings nothing for 10 minutes: end that first";
            return Err(place.failed(Status::LocalIo, why));
        }
        if !std::mem::replace(&mut is_said, true) {
            report(&format!("{}: waits for another that adds it", printable(&asked.name)));
        }
        thread::sleep(LOOK);
        if signal::take() {
            return Err(interrupted());
        }
    }
}

fn interrupted() -> Failed {
    Failed::new("interrupted".into(), exit_code(Status::Interrupted))
}

/// Has it fetched, from where an earlier run ended if its end can be verified. Gives the size.
fn fetch(claim: &Claim, asked: &Asked) -> Result<u64, Failed> {
    let mut from = if asked.pin.is_some() { claim.size()? } else { 0 };
    loop {
        claim.cut(from)?;
        let result = program::fetch(&asked.url, claim.file(), from, asked.is_quiet);
        let size = claim.size()?;
        match result {
            Ok(()) if from == 0 => return Ok(size),
            Err(broken) if from == 0 || !broken.gives_no_part => {
                return Err(claim.given_up(broken.failed, asked.pin.is_some()));
            }
            // What was kept may be all of it, whatever the server says of the rest.
            _ if claim.is_right(asked.pin, size)? => return Ok(size),
            // It was of another version, or the server gives no parts.
            _ => from = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Asked, String> {
        Asked::parse(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn a_name_is_the_path_of_the_url_or_what_is_said() {
        let of = |words: &[&str]| parsed(words).map(|asked| asked.name);
        assert_eq!(of(&["http://h/releases/a.img"]), Ok(b"releases/a.img".to_vec()));
        assert_eq!(of(&["http://h/", "b/./c"]), Ok(b"b/c".to_vec()));
        let hex = "AB".repeat(32);
        let asked = parsed(&["--sha256", &hex, "-q", "-C", "/srv", "HTTPS://h/a"]).unwrap();
        assert_eq!((asked.pin, asked.dir), (Some(Pin::Sha256([0xab; 32])), "/srv".into()));
        assert!(asked.is_quiet);
    }

    #[test]
    fn what_leads_out_of_the_directory_or_is_no_url_is_refused() {
        for words in [
            &[][..],
            &["a.img"],
            &["gopher://h/a"],
            &["scp://h/a"],
            &["http://h/"],
            &["http://h/a b"],
            &["http://h/a", "../x"],
            &["http://h/a", "x/../../y"],
            &["http://h/a", "/etc/passwd"],
            &["http://h/a", ""],
            &["http://h/a", "dir/"],
            &["http://h/a", ".xget/x"],
            &["http://h/.xget/x"],
            &["http://h/a", ".xget-0123456789abcdef.part"],
            &["http://h/a", "b", "c"],
            &["--sha256", "12", "http://h/a"],
            &["--digest", "md5:00", "http://h/a"],
            &["-n", "head", "http://h/a"],
        ] {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }
}
