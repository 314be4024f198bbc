//! One name of a command, fetched into the cache, and who serves it on.
//!
//! Knows how a fetch is begun, watched and left to another process. Refuses to know how names are
//! written, and what becomes of archives.

use super::super::{master, network};
use super::cache::{Cache, Entry, Patience, Sign, failed as disk_failed};
use super::changes;
use crate::console::{self, FetchConsole, report};
use crate::driver::{FetchObserver, FetchTask, Fetching, Observer, Turn};
use crate::failed::{Failed, exit_code};
use crate::os::{child, file};
use crate::store::destination::{Destination, Writer};
use crate::store::directory::Directory;
use crate::store::error::DestError;
use crate::store::writer::{DestOptions, Policy, Purpose};
use peer::content::manifest::{EntryKind, Manifest, Selector};
use peer::content::patterns::{has_wildcard, unquote};
use peer::content::pieces::PieceMap;
use peer::failure::{Failure, Status};
use peer::fetch::Progress;
use peer::namespace::Content;
use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

/// What `ps` calls the process that serves what was fetched.
const SERVING: &str = "xget-serving";
/// Places of one generation beside the first: each was changed by a command that still runs.
const PLACES_MAX: u32 = 16;

/// Something that was fetched, and lies in the cache.
pub struct Fetched {
    pub entry: Entry,
    pub path: PathBuf,
    pub is_dir: bool,
}

/// How names are fetched: from a head, or from who has each, into one cache.
pub struct Fetches {
    pub cache: Cache,
    /// Its sources are still to be said; without masters, whoever on the network has each is asked.
    pub task: FetchTask,
    pub is_quiet: bool,
    /// What the cache may take.
    pub cache_bytes_max: Option<u64>,
}

/// The directory of a generation, which is known when the manifest is here.
#[derive(Clone, Default)]
struct Chosen(Rc<RefCell<Option<Directory>>>);

impl Destination for Chosen {
    fn begin(
        &mut self,
        manifest: Rc<Manifest>,
        map: Rc<PieceMap>,
    ) -> Result<Box<dyn Writer>, DestError> {
        match self.0.borrow_mut().as_mut() {
            Some(directory) => directory.begin(manifest, map),
            None => Err(DestError::NotADirectory(PathBuf::new())),
        }
    }

    fn release(&self) {
        if let Some(directory) = self.0.borrow().as_ref() {
            directory.release();
        }
    }

    fn compares(&self) -> bool {
        false
    }

    fn serves_alone(&self) -> bool {
        false
    }
}

/// Standard output is the command's: what changed in the cache is nobody's business there.
struct Watcher {
    console: FetchConsole,
    /// It is another's turn, and nothing is done here.
    waits: Rc<Cell<bool>>,
}

impl Observer for Watcher {
    fn say(&mut self, text: &str) {
        self.console.say(text);
    }
    fn warn(&mut self, text: &str) {
        self.console.warn(text);
    }
    fn is_behind(&self) -> bool {
        self.console.is_behind()
    }
}

impl FetchObserver for Watcher {
    fn turn(&mut self, progress: &Progress) -> bool {
        match self.waits.get() {
            true => self.console.idle(),
            false => self.console.turn(progress),
        }
    }
}

/// A fetch whose place in the cache is chosen, and perhaps not free yet.
struct Choice {
    content: Rc<Content>,
    /// Of the place: in those before it commands have changed what is there.
    number: u32,
    patience: Patience,
    is_said: bool,
}

/// A choice, what it leads to, and the sign that is given from its begin on.
type Begin = (Option<Choice>, Option<(Fetched, Sign)>);

impl Fetches {
    /// Fetches what one source is, or finds that it is there; returns when all of it is verified.
    ///
    /// # Errors
    /// Among them that the pattern fits several, or that it is neither a file nor a directory.
    pub fn fetch(&self, source: &[u8]) -> Result<Fetched, Failed> {
        let mut task = self.task.clone();
        task.request.are_patterns = has_wildcard(source);
        // A path is understood by older masters, too.
        task.request.sources = match task.request.are_patterns {
            true => vec![source.to_vec()],
            false => vec![unquote(source)],
        };
        if task.masters.addrs_count() == 0 {
            let sources = task.request.sources.clone();
            let are_patterns = task.request.are_patterns;
            let wanted = Selector { sources, are_patterns, ..Selector::default() };
            task.masters = network::masters(&wanted, None, false, self.is_quiet)?;
        }
        task.hold = true;
        task.request.key = master::key()?;
        let place = Chosen::default();
        let waits = Rc::new(Cell::new(false));
        let console = FetchConsole::new(self.is_quiet, false);
        let console = Watcher { console, waits: waits.clone() };
        let mut fetching =
            Fetching::begin_into(task, Box::new(place.clone()), console).map_err(one)?;
        let (mut choice, mut found): (Option<Choice>, Option<(Fetched, Sign)>) = (None, None);
        loop {
            waits.set(choice.is_some());
            match fetching.turn().map_err(one)? {
                Turn::Held(content) => {
                    (choice, found) = self.choose(content, source, 0)?;
                }
                Turn::Over(failures) if !failures.is_empty() => return Err(failures.into()),
                over @ (Turn::InPlace | Turn::Over(_)) => {
                    if let Turn::InPlace = over {
                        serve_on(fetching);
                    }
                    let none = || Failed::unexpected("the fetch ended before it began".into());
                    return found.map(|(fetched, _)| fetched).ok_or_else(none);
                }
                Turn::Running => {}
            }
            let Some((fetched, sign)) = &mut found else { continue };
            match choice.take() {
                Some(choice_made) => {
                    match try_claim(choice_made, fetched, &place, &mut fetching)? {
                        Claim::Begun => {}
                        Claim::Waits(waiting) => choice = Some(waiting),
                        Claim::Used(content, number) => {
                            (choice, found) = self.choose(content, source, number + 1)?;
                        }
                    }
                }
                None => sign.give(),
            }
        }
    }

    /// The place of this number for it, which is perhaps not free yet.
    fn choose(&self, content: Rc<Content>, source: &[u8], number: u32) -> Result<Begin, Failed> {
        let fetched = self.place(&content, source, number)?;
        let (patience, sign) = (Patience::with(&fetched.entry), Sign::of(&fetched.entry));
        let choice = Choice { content, number, patience, is_said: self.is_quiet };
        Ok((Some(choice), Some((fetched, sign))))
    }

    /// Where it goes, and what of it the command is to have.
    fn place(&self, content: &Content, source: &[u8], number: u32) -> Result<Fetched, Failed> {
        let manifest = &content.manifest;
        let no = |why: String| {
            let why = format!("{}: {why}", String::from_utf8_lossy(source));
            Err(Failed::new(why, exit_code(Status::Source)))
        };
        if is_contents(source) && has_wildcard(source) {
            return no("a pattern names files and directories, not their contents".into());
        }
        let top = if is_contents(source) { 0 } else { manifest.children(0).start };
        let found = if top == 0 { 1 } else { manifest.children(0).len() };
        if found != 1 {
            return no(format!("{found} names fit this pattern, and a command wants one"));
        }
        let wanted = &manifest.entries[top as usize];
        let is_dir = wanted.kind == EntryKind::Dir;
        if wanted.kind == EntryKind::Symlink {
            return no("is a symbolic link at the head: name what it leads to".into());
        }
        if !is_dir && wanted.kind != EntryKind::File {
            return no(
                "is neither a file nor a directory at the head, or cannot be read there".into()
            );
        }
        let entry = self.cache.entry(content.map.manifest_pieces().generation, number)?;
        if let Some(bytes_max) = self.cache_bytes_max {
            self.cache.make_room(&entry, manifest.bytes_total(), bytes_max)?;
        }
        let path = entry.files().join(OsStr::from_bytes(&manifest.path(top)));
        Ok(Fetched { entry, path, is_dir })
    }
}

/// Whether the contents of a directory are fetched, without its name.
fn is_contents(source: &[u8]) -> bool {
    let mut names = source.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    names.next_back().is_none_or(|last| last == b".")
}

/// How it goes with a place in the cache.
enum Claim {
    Begun,
    Waits(Choice),
    /// A command works with what it has changed there, which would be taken from it.
    Used(Rc<Content>, u32),
}

/// Begins as soon as nobody else puts the same there.
fn try_claim(
    mut choice: Choice,
    fetched: &Fetched,
    place: &Chosen,
    fetching: &mut Fetching,
) -> Result<Claim, Failed> {
    let files = fetched.entry.files();
    let policy = Policy { purpose: Purpose::Copy, read_only: true, ..Policy::default() };
    let keep_owners = file::is_root();
    let options = DestOptions { keep_modes: true, keep_owners, policy, ..DestOptions::default() };
    match Directory::open(&files, options, false) {
        Ok(_) if is_changed_in_use(fetched, &choice.content.manifest) => {
            if choice.number == PLACES_MAX {
                let why = "commands that run have changed it, and as many others of it as may be";
                return Err(disk_failed("use", &files, why));
            }
            Ok(Claim::Used(choice.content, choice.number))
        }
        Ok(directory) => {
            *place.0.borrow_mut() = Some(directory);
            fetching.go_on(Ok(choice.content));
            Ok(Claim::Begun)
        }
        Err(DestError::Busy(_)) => {
            choice.patience.check()?;
            if !std::mem::replace(&mut choice.is_said, true) {
                let who = choice.patience.maker();
                report(&format!("waits for {who}, which puts the same into {}", files.display()));
            }
            Ok(Claim::Waits(choice))
        }
        Err(error) => Err(disk_failed("fetch into", &files, error)),
    }
}

fn is_changed_in_use(fetched: &Fetched, manifest: &Manifest) -> bool {
    changes::are_there(&fetched.entry.files(), manifest) && !fetched.entry.is_alone()
}

/// Leaves the serving to a process that is nobody's child: the command begins at once, and nobody
/// who waits for it waits for those who are served.
fn serve_on(mut fetching: Fetching) {
    fetching.release();
    console::let_go();
    child::write_no_more();
    match child::split_off(SERVING) {
        Ok(true) => {
            while matches!(fetching.turn(), Ok(Turn::Running | Turn::InPlace | Turn::Held(_))) {}
            child::end()
        }
        // The connections are the other's from now on: none of them is told anything.
        Ok(false) => {}
        Err(error) => report(&format!("nobody is served what was fetched: cannot fork: {error}")),
    }
}

fn one(failure: Failure) -> Failed {
    vec![failure].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_have_no_name_of_their_own() {
        for source in [".", "/", "a/.", "a/./", "./."] {
            assert!(is_contents(source.as_bytes()), "{source}");
        }
        for source in ["a", "a/", "./a", "a/b", "...", ".a"] {
            assert!(!is_contents(source.as_bytes()), "{source}");
        }
    }
}
