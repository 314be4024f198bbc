//! The transfer, as a boot needs it.
//!
//! Knows how a fetch is begun, watched and ended; what is fetched and when it
//! is tried again are `fetching`'s.

use super::failure::FetchError;
use crate::driver::{self, FetchObserver, FetchTask, Fetching, Observer, Turn};
use crate::os::child::{self, Child};
use crate::os::landlock::May;
use peer::auth::Key;
use peer::content::digest::Digest;
use peer::failure::Failure;
use peer::fetch::Progress;
use peer::namespace::Content;
use peer::request::Masters;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What `ps` calls a child that serves what was fetched.
const SERVING: &str = "xget-serving";
/// How long a line may take to reach the master.
const LOG_TIME_MAX: Duration = Duration::from_secs(2);

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Who answered.
    pub master: SocketAddr,
    /// Of the manifest that all of it was verified against.
    pub digest: Digest,
    pub files: u64,
    pub bytes: u64,
}

/// How far a transfer is; told to the caller's hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchProgress {
    pub done_bytes: u64,
    /// 0 while it is not known.
    pub total_bytes: u64,
    /// A master has answered.
    pub is_answered: bool,
}

/// Called at least once a second, whatever else goes on: leases are renewed
/// and orphans reaped in it. `Break` is why to stop at once.
pub type Hook<'a> = dyn FnMut(FetchProgress) -> ControlFlow<String> + 'a;

/// Judges what is to come before anything of it is written.
pub type Judge<'a> = dyn FnMut(&Content, Digest) -> Result<(), FetchError> + 'a;

/// What the transfer has to say goes where all of the boot's lines go.
struct LogLines;

impl Observer for LogLines {
    fn say(&mut self, text: &str) {
        log::info!("{text}");
    }
    fn warn(&mut self, text: &str) {
        log::warn!("{text}");
    }
}

impl FetchObserver for LogLines {
    /// It is ended by [`Fetching::leave`].
    fn turn(&mut self, _progress: &Progress) -> bool {
        log::logger().flush();
        false
    }
}

#[derive(Default)]
pub struct Engine {
    /// The fetch that went well, still serving others.
    serving: Option<Fetching>,
}

impl Engine {
    /// Returns when everything is there under its final name and verified;
    /// others are served from then on when `linger` is called.
    #[inline(never)]
    pub fn fetch(
        &mut self,
        task: FetchTask,
        judge: &mut Judge,
        hook: &mut Hook,
    ) -> Result<Fetched, FetchError> {
        self.serving = None;
        let mut fetching = Fetching::begin(task, LogLines).map_err(failed)?;
        loop {
            if let ControlFlow::Break(why) = hook(progress(&fetching)) {
                return Err(FetchError::interrupted(why));
            }
            let over = match fetching.turn().map_err(failed)? {
                Turn::Running => continue,
                Turn::Held(content) => {
                    let digest = content.map.manifest_pieces().generation;
                    // The transfer says why not in its own order.
                    let verdict = judge(&content, digest).map(|()| content);
                    fetching.go_on(verdict.map_err(|e| Failure::fatal(e.status, "", e.text)));
                    continue;
                }
                Turn::InPlace => false,
                Turn::Over(failures) => match failures.into_iter().max_by_key(|f| f.status) {
                    Some(failure) => return Err(failed(failure)),
                    None => true,
                },
            };
            let progress = fetching.progress();
            let Some(digest) = progress.generation else { continue };
            let fetched = Fetched {
                master: progress.master,
                digest,
                files: progress.files,
                bytes: progress.stats.total_bytes,
            };
            self.serving = (!over).then_some(fetching);
            return Ok(fetched);
        }
    }

    /// Serves those who are fetching from us, `most` at the longest; returns
    /// as soon as nobody is.
    pub fn linger(&mut self, most: Duration, hook: &mut Hook) {
        let Some(mut fetching) = self.serving.take() else { return };
        let until = Instant::now() + most;
        let mut left = false;
        loop {
            let stop = hook(FetchProgress::default()).is_break();
            let done = Instant::now() >= until || fetching.child_count() == 0;
            if !left && (stop || done) {
                // Children are told first; then it ends by itself, soon.
                fetching.leave();
                left = true;
            }
            match fetching.turn() {
                Ok(Turn::Running | Turn::InPlace | Turn::Held(_)) => {}
                Ok(Turn::Over(_)) | Err(_) => return,
            }
        }
    }

    /// Leaves the serving to a child of this process, for so long at most: it ends
    /// when nobody fetches any more. It opens nothing but what is in this directory; `lighten` drops
    /// what it does not need.
    pub fn serve_on(
        &mut self,
        what: Option<OwnedFd>,
        most: Duration,
        lighten: &mut dyn FnMut(),
    ) -> Option<Child> {
        let fetching = self.serving.as_ref()?;
        fetching.release();
        child::write_no_more();
        match child::split(SERVING) {
            Ok(None) => {
                if let Err(missing) = driver::shut_child_in(&[(what, May::Read)]) {
                    log::warn!("{missing}");
                }
                lighten();
                self.linger(most, &mut |_| ControlFlow::Continue(()));
                child::end()
            }
            Ok(child) => {
                // The connections are the child's from now on: none of them is told anything.
                self.serving = None;
                child
            }
            Err(error) => {
                log::warn!("cannot leave a child to serve others: {error}");
                self.linger(Duration::ZERO, &mut |_| ControlFlow::Continue(()));
                None
            }
        }
    }

    /// Serves nobody any more, and holds nothing of what came.
    pub fn stop(&mut self) {
        self.serving = None;
    }

    /// A line in the master's log; best effort, two seconds at the longest.
    pub fn log(&mut self, masters: &Masters, key: Option<&Key>, line: &str) {
        if let Some(fetching) = &mut self.serving {
            fetching.log(line.into());
            if !matches!(fetching.turn(), Ok(Turn::Running | Turn::InPlace | Turn::Held(_))) {
                // It came to its end: there is nothing to linger for.
                self.serving = None;
            }
            return;
        }
        for master in masters.addrs() {
            if driver::write_log(master, key, line, LOG_TIME_MAX).is_ok() {
                return;
            }
        }
    }
}

fn progress(fetching: &Fetching) -> FetchProgress {
    let Progress { stats, is_answered, .. } = fetching.progress();
    FetchProgress { done_bytes: stats.have_bytes, total_bytes: stats.total_bytes, is_answered }
}

fn failed(failure: Failure) -> FetchError {
    FetchError { status: failure.status, text: failure.text() }
}
