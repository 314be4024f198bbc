//! Signs of life of one parent: when it was heard, and how busy its link is.
//!
//! Refuses to know what is owed, and what follows from silence (`ParentLink`).

#[derive(Debug)]
pub(super) struct Signs {
    pub began_ms: u64,
    pub heard_ms: u64,
    /// The longest that a probe took to be answered since this was last asked.
    pub answer_ms: u64,
    /// Since the last probe something came, and no answer to a read.
    pub answers_others: bool,
    /// So many probes in a row were answered by that the piece is not here: of the
    /// manifest's first piece, and of others.
    pub denials: [u32; 2],
}

impl Signs {
    pub fn new(now_ms: u64) -> Signs {
        Signs {
            began_ms: now_ms,
            heard_ms: now_ms,
            answer_ms: 0,
            answers_others: false,
            denials: [0; 2],
        }
    }
}

/// What is asked of a parent to see that it lives: a byte of a piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub piece: u32,
    /// Bytes from one piece to the next.
    pub stride: u32,
}

/// How long frames were under way in all, from their first part to the last. A
/// parent that waits for its own sends each frame in one go, and then nothing; one
/// with a slow uplink is busy all the time.
#[derive(Debug, Default)]
pub(super) struct Busy {
    total_ms: u64,
    /// When the first part of the frame that is under way came.
    since_ms: Option<u64>,
    /// Bytes of it that are here, and that were when it was looked at last.
    len: u32,
    looked_len: u32,
}

impl Busy {
    pub fn total_ms(&self, now_ms: u64) -> u64 {
        self.total_ms + self.since_ms.map_or(0, |since_ms| now_ms - since_ms)
    }

    /// So many bytes of a frame are here. True of its first part.
    pub fn part(&mut self, now_ms: u64, len: u32) -> bool {
        let is_first = self.since_ms.is_none();
        self.since_ms.get_or_insert(now_ms);
        self.len = len;
        is_first
    }

    /// The bytes that have come since this was last asked.
    pub fn look(&mut self) -> u32 {
        let came = self.len.saturating_sub(self.looked_len);
        self.looked_len = self.len;
        came
    }

    /// The frame is whole.
    pub fn end(&mut self, now_ms: u64) {
        *self = Busy { total_ms: self.total_ms(now_ms), ..Busy::default() };
    }
}
