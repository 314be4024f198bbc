//! Lines about requests, so many a minute: who asks without end fills no disk with them.

use super::Voice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
/// Files that were fetched: a thousand machines take three each.
const FETCHED_PER_WINDOW: u32 = 3000;
/// What was refused, or broke off.
const REFUSED_PER_WINDOW: u32 = 60;

#[derive(Clone)]
pub struct Lines {
    voice: Voice,
    fetched: Arc<Mutex<Bounded>>,
    refused: Arc<Mutex<Bounded>>,
}

impl Lines {
    pub fn new(voice: Voice) -> Lines {
        let bounded = |limit| Arc::new(Mutex::new(Bounded::new(limit, Instant::now())));
        Lines { voice, fetched: bounded(FETCHED_PER_WINDOW), refused: bounded(REFUSED_PER_WINDOW) }
    }

    pub fn fetched(&self, text: String) {
        self.say(&self.fetched, text, "files that were fetched");
    }

    pub fn refused(&self, text: String) {
        self.say(&self.refused, text, "requests that were refused or broke off");
    }

    fn say(&self, bounded: &Mutex<Bounded>, text: String, what: &str) {
        let (is_said, left_out) =
            bounded.lock().unwrap_or_else(PoisonError::into_inner).count(Instant::now());
        if left_out > 0 {
            self.voice.say(format!("{left_out} lines of {what} are left out"));
        }
        if is_said {
            self.voice.say(text);
        }
    }
}

struct Bounded {
    limit: u32,
    since: Instant,
    said: u32,
    left_out: u64,
}

impl Bounded {
    fn new(limit: u32, now: Instant) -> Bounded {
        Bounded { limit, since: now, said: 0, left_out: 0 }
    }

    /// Whether one more is said, and how many were not before it, once.
    fn count(&mut self, now: Instant) -> (bool, u64) {
        let mut left_out = 0;
        if now.saturating_duration_since(self.since) >= WINDOW {
            left_out = self.left_out;
            *self = Bounded::new(self.limit, now);
        }
        let is_said = self.said < self.limit;
        if is_said {
            self.said += 1;
        } else {
            self.left_out += 1;
        }
        (is_said, left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_said_in_a_minute_and_the_others_are_counted() {
        let begin = Instant::now();
        let mut bounded = Bounded::new(2, begin);
        let mut at = |seconds| bounded.count(begin + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(2), at(59)], [(true, 0), (true, 0), (false, 0), (false, 0)]);
        assert_eq!([at(60), at(61), at(62)], [(true, 2), (true, 0), (false, 0)]);
        assert_eq!([at(130), at(300)], [(true, 1), (true, 0)]);
    }
}
