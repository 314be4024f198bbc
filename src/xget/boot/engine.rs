//! The transfer engine as the `Fetcher` of a boot.
//!
//! Knows how a fetch is begun, watched and ended; when and what, is the
//! boot's to say.

use super::{FetchError, Fetched, Fetcher, Hook, Order, Progress};
use crate::driver::{FetchRequest, Fetching, Turn, Watch};
use peer::node::{Failure, Input, Linger, Node, Pin, Status};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Tries of the master within one fetch; the boot itself tries for longer.
const RETRIES: u32 = 5;
/// How long a line may take to reach the master.
const LOG_TIME: Duration = Duration::from_secs(2);

/// What the engine has to say goes where all of the boot's lines go.
struct Lines;

impl Watch for Lines {
    fn turn(&mut self, _node: &Node, _inputs: &mut VecDeque<Input<'static>>) {}
    fn say(&mut self, text: &str) {
        log::info!("{text}");
    }
    fn warn(&mut self, text: &str) {
        log::warn!("{text}");
    }
}

#[derive(Default)]
pub struct Engine {
    /// The fetch that went well, still serving others.
    serving: Option<Fetching>,
}

impl Engine {
    pub fn new() -> Engine {
        Engine::default()
    }
}

impl Fetcher for Engine {
    fn fetch(&mut self, order: &Order, hook: &mut Hook) -> Result<Fetched, FetchError> {
        self.serving = None;
        let request = FetchRequest {
            masters: order.masters.to_vec(),
            sources: vec![format!("{}/.", order.image).into_bytes()],
            dest: order.into.into(),
            pin: order.digest.map(Pin::Blake3),
            retries: RETRIES,
            // How long is said by `linger`, when the time has come.
            linger: Linger::Millis(u64::MAX),
            keep_attributes: false,
            room_bytes: Some(order.room_bytes),
            greeting: Some(order.identity.into()),
        };
        let mut fetching = Fetching::begin(request, Lines).map_err(error)?;
        loop {
            let progress = fetching.progress();
            let stats = progress.stats;
            let far = Progress { done_bytes: stats.have_bytes, total_bytes: stats.total_bytes };
            if let ControlFlow::Break(why) = hook(far) {
                return Err(FetchError::Stopped(why));
            }
            let over = match fetching.turn().map_err(error)? {
                Turn::Running => continue,
                Turn::InPlace => false,
                Turn::Over(failures) => match failures.into_iter().max_by_key(|f| f.status) {
                    Some(failure) => return Err(error(failure)),
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

    fn linger(&mut self, most: Duration, hook: &mut Hook) {
        let Some(mut fetching) = self.serving.take() else { return };
        let until = Instant::now() + most;
        let mut left = false;
        loop {
            let stop = hook(Progress::default()).is_break();
            let done = Instant::now() >= until || fetching.served_count() == 0;
            if !left && (stop || done) {
                // Children are told first; then it ends by itself, soon.
                fetching.leave();
                left = true;
            }
            match fetching.turn() {
                Ok(Turn::Running | Turn::InPlace) => {}
                Ok(Turn::Over(_)) | Err(_) => return,
            }
        }
    }

    fn log(&mut self, masters: &[SocketAddr], line: &str) {
        if let Some(fetching) = &mut self.serving {
            fetching.log(line.into());
            let _ = fetching.turn();
            return;
        }
        for master in masters {
            if crate::driver::write_log(*master, line, LOG_TIME).is_ok() {
                return;
            }
        }
    }
}

fn error(failure: Failure) -> FetchError {
    let text = failure.text();
    match failure.status {
        Status::Interrupted => FetchError::Stopped(text),
        Status::Connection => FetchError::Unreachable(text),
        Status::Source => FetchError::NoImage(text),
        Status::Changed => FetchError::Changed(text),
        Status::Verification => FetchError::Tampered(text),
        Status::Room => FetchError::NoRoom(text),
        Status::LocalIo => FetchError::Local(text),
    }
}
