//! The window of a stream: which of its pieces are kept, and how far there is room.
//!
//! Pieces are handed to a reader in order. So many are kept behind what was handed
//! over, for others, and as many are fetched ahead of it; whoever reads slowly is
//! *full* after a while, and fetches no faster than it reads. Knows numbers of pieces.
//! Refuses to know who reads, and who is told what.

use core::ops::Range;

/// What is kept is counted in steps of so many to a window: else each piece that is
/// handed over would have all parents looked at.
const STEPS: u32 = 32;
/// Fewer pieces ahead than this would not keep a few parents busy.
const AHEAD_MIN: u32 = 8;
/// Who was full is not so any more when what is ahead has shrunk to one part in so many ...
const ROOM_SHARE: u32 = 4;
/// ... and not within this time, twice as long each time: whoever is fed by others that are
/// slow has room for that alone.
const FULL_MS: u64 = 10_000;
const FULL_DOUBLINGS_MAX: u32 = 6;

/// Whether we may have fallen behind others, and have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Any,
    /// Parents may have passed what we want, and say so.
    Stream,
    /// We have fallen out of all windows: what the master gives us is not to keep others
    /// waiting.
    Behind,
}

/// What follows from it that pieces were handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slide {
    /// They are kept no more.
    pub passed: Range<u32>,
    /// There is room for the pieces below this number.
    pub room: u32,
}

#[derive(Debug)]
pub(super) struct Window {
    /// The first piece of the stream, and the number after its last.
    pieces: Range<u32>,
    /// Kept on either side.
    reach: u32,
    /// Pieces below this number were handed over, and those below `ready` can be.
    written: u32,
    ready: u32,
    /// What is known of the pieces: those below `passed` are kept no more, and for those
    /// below `room` there is room.
    passed: u32,
    room: u32,
    is_full: bool,
    /// How often it was, and until when it stays so.
    full_count: u32,
    full_until_ms: u64,
}

impl Window {
    /// Of so many bytes over these pieces; `None` where all of them fit.
    pub fn new(bytes: u64, piece_len: u32, pieces: Range<u32>) -> Option<Window> {
        let kept = u32::try_from(bytes / u64::from(piece_len.max(1))).unwrap_or(u32::MAX);
        if kept >= pieces.end - pieces.start {
            return None;
        }
        let reach = (kept / 2).max(AHEAD_MIN);
        let (written, passed) = (pieces.start, pieces.start);
        let room = pieces.end.min(written + reach);
        Some(Window {
            pieces,
            reach,
            written,
            ready: written,
            passed,
            room,
            is_full: false,
            full_count: 0,
            full_until_ms: 0,
        })
    }

    /// There is room for the pieces below this number.
    pub fn room(&self) -> u32 {
        self.room
    }

    /// Pieces below this number were handed over, which may make room for others.
    pub fn written(&mut self, below: u32) -> Option<Slide> {
        self.written = self.written.max(below.min(self.room));
        let room = self.pieces.end.min(self.written.saturating_add(self.reach));
        let is_end = room == self.pieces.end && self.room < room;
        if room - self.room < (self.reach / STEPS).max(1) && !is_end {
            return None;
        }
        let keeps = self.written.saturating_sub(self.reach).max(self.passed);
        let passed = self.passed..keeps;
        (self.room, self.passed) = (room, keeps);
        Some(Slide { passed, room })
    }

    /// Whether the reader, and nobody else, is why no more is fetched, or soon will be;
    /// only where that is news. `holds` says what is here: where one stripe lags, that is
    /// no reader's fault.
    pub fn note_held(&mut self, holds: impl Fn(u32) -> bool, now_ms: u64) -> Option<bool> {
        self.ready = self.ready.max(self.written);
        while self.ready < self.room && holds(self.ready) {
            self.ready += 1;
        }
        let ahead = self.ready - self.written;
        // At the end all is fetched, however slow the reader is.
        let is_last = self.room == self.pieces.end;
        let is_full = match self.is_full {
            true => !is_last && (ahead > self.reach / ROOM_SHARE || now_ms < self.full_until_ms),
            false => !is_last && ahead > self.reach / 2,
        };
        if is_full && !self.is_full {
            self.full_until_ms = now_ms + (FULL_MS << self.full_count.min(FULL_DOUBLINGS_MAX));
            self.full_count += 1;
        }
        (core::mem::replace(&mut self.is_full, is_full) != is_full).then_some(is_full)
    }

    /// Who is told of that does not know it any more.
    pub fn forget_full(&mut self) {
        self.is_full = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        Window::new(128 * 10, 10, 5..1_005).unwrap()
    }

    #[test]
    fn what_fits_has_no_window() {
        assert!(Window::new(1_000, 10, 5..105).is_none());
        assert!(Window::new(999, 10, 5..105).is_some());
        assert!(Window::new(u64::MAX, 1, 0..u32::MAX).is_none());
        assert_eq!(Window::new(0, 0, 5..105).unwrap().room(), 5 + AHEAD_MIN, "never too few");
    }

    #[test]
    fn half_of_it_lies_ahead_of_what_was_written_and_half_behind() {
        let mut window = window();
        assert_eq!(window.room(), 5 + 64);
        assert_eq!(window.written(6), None, "in steps");
        assert_eq!(window.written(7), Some(Slide { passed: 5..5, room: 7 + 64 }));
        assert_eq!(window.written(71), Some(Slide { passed: 5..7, room: 71 + 64 }));
        assert_eq!(window.written(20), None, "never back");
        assert_eq!(window.written(2_000).map(|slide| slide.room), Some(2 * 64 + 71), "in order");
    }

    #[test]
    fn at_the_end_there_is_room_for_all() {
        let mut window = window();
        let mut kept = 5..5;
        while window.room() < 1_005 {
            let slide = window.written(window.room()).unwrap();
            assert_eq!(slide.passed.start, kept.start, "one behind the other");
            kept = slide.passed.end..slide.room;
            assert!(kept.len() <= 128, "{kept:?}");
        }
        assert_eq!(window.written(1_005), None);
    }

    #[test]
    fn who_reads_slowly_is_full_until_there_is_room_and_not_at_the_end() {
        let mut window = window();
        let note = |window: &mut Window, ready: u32, now_ms| {
            window.ready = 5;
            window.note_held(|piece| piece < 5 + ready || piece == 60, now_ms)
        };
        assert_eq!(note(&mut window, 0, 0), None);
        assert_eq!(note(&mut window, 32, 0), None);
        assert_eq!(note(&mut window, 33, 5), Some(true));
        assert_eq!(note(&mut window, 64, 6), None);
        assert_eq!(note(&mut window, 16, FULL_MS + 4), None, "not yet");
        assert_eq!(note(&mut window, 17, FULL_MS + 5), None);
        assert_eq!(note(&mut window, 16, FULL_MS + 5), Some(false));
        let again_ms = 2 * FULL_MS;
        assert_eq!(note(&mut window, 64, again_ms), Some(true));
        assert_eq!(note(&mut window, 0, again_ms + 2 * FULL_MS - 1), None, "twice as long");
        assert_eq!(note(&mut window, 0, again_ms + 2 * FULL_MS), Some(false));
        assert_eq!(note(&mut window, 64, u64::MAX / 2), Some(true));
        window.forget_full();
        assert_eq!(note(&mut window, 64, u64::MAX / 2), Some(true));
        while window.written(window.room()).is_some() {}
        assert_eq!(window.note_held(|_| true, u64::MAX / 2), Some(false), "it has all");
    }
}
