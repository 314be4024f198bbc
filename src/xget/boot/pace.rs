//! How far a transfer is, and whether it moves: for people, and for deadlines.
//!
//! Pure: figures in, a line now and then out. Refuses to know what is fetched.

use super::engine::FetchProgress;

/// A line about how far it is.
const LINE_MS: u64 = 5_000;

/// Follows one transfer for people, and notices that it moves.
pub struct Pace {
    /// The most that any try had: what an earlier one left is no movement.
    pub most_bytes: u64,
    pub moved_ms: u64,
    said_ms: u64,
    said_bytes: u64,
}

impl Pace {
    pub fn new(now_ms: u64, most_bytes: u64) -> Pace {
        Pace { most_bytes, moved_ms: now_ms, said_ms: now_ms, said_bytes: 0 }
    }

    /// A line now and then.
    pub fn note(&mut self, now_ms: u64, progress: FetchProgress) -> Option<String> {
        if progress.done_bytes > self.most_bytes {
            self.most_bytes = progress.done_bytes;
            self.moved_ms = now_ms;
        }
        let since_ms = now_ms.saturating_sub(self.said_ms);
        if since_ms < LINE_MS {
            return None;
        }
        let rate = progress.done_bytes.saturating_sub(self.said_bytes) * 1000 / since_ms;
        self.said_ms = now_ms;
        self.said_bytes = progress.done_bytes;
        Some(progress_line(progress, rate))
    }
}

fn progress_line(progress: FetchProgress, bytes_per_s: u64) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let FetchProgress { done_bytes, total_bytes, .. } = progress;
    if total_bytes == 0 {
        return format!("fetching: {} MiB", mib(done_bytes));
    }
    let percent = done_bytes * 100 / total_bytes;
    let mut line =
        format!("fetching: {} of {} MiB, {percent} %", mib(done_bytes), mib(total_bytes));
    match total_bytes.saturating_sub(done_bytes).checked_div(bytes_per_s) {
        Some(left_s) => {
            line.push_str(&format!(", {} MiB/s, {left_s} s to go", mib(bytes_per_s)));
        }
        None => line.push_str(", stalled"),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done_bytes: u64, total_bytes: u64) -> FetchProgress {
        FetchProgress { done_bytes, total_bytes, is_answered: true }
    }

    #[test]
    fn lines_about_progress() {
        assert_eq!(progress_line(progress(5 << 20, 0), 0), "fetching: 5 MiB");
        assert_eq!(
            progress_line(progress(5 << 20, 10 << 20), 0),
            "fetching: 5 of 10 MiB, 50 %, stalled"
        );
        assert_eq!(
            progress_line(progress(100 << 20, 400 << 20), 100 << 20),
            "fetching: 100 of 400 MiB, 25 %, 100 MiB/s, 3 s to go"
        );
    }

    #[test]
    fn the_pace_is_said_now_and_then_and_movement_noticed() {
        let mut pace = Pace::new(1000, 0);
        assert_eq!(pace.note(2000, progress(1 << 20, 100 << 20)), None);
        assert_eq!(pace.moved_ms, 2000);
        let line = pace.note(6000, progress(10 << 20, 100 << 20)).unwrap();
        assert!(line.contains("2 MiB/s"), "{line}");
        let line = pace.note(11_000, progress(10 << 20, 100 << 20)).unwrap();
        assert!(line.contains("stalled"), "{line}");
        assert_eq!(pace.moved_ms, 6000);
        // The next try finds what is there: no movement, until there is more.
        let mut pace = Pace::new(12_000, pace.most_bytes);
        assert_eq!(pace.note(12_500, progress(10 << 20, 100 << 20)), None);
        assert_eq!(pace.moved_ms, 12_000);
        assert_eq!(pace.note(13_000, progress(11 << 20, 100 << 20)), None);
        assert_eq!(pace.moved_ms, 13_000);
    }
}
