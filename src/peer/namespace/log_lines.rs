//! The last lines for the operator, as `/log` shows them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Lines that can be read back; older ones are dropped.
pub(super) const LINES_MAX: usize = 200;

/// The last [`LINES_MAX`] lines.
#[derive(Debug, Default)]
pub(super) struct LogLines {
    /// Each with its newline.
    lines: VecDeque<Vec<u8>>,
}

impl LogLines {
    /// Adds a line, which comes without its newline.
    pub fn add(&mut self, mut line: Vec<u8>) {
        line.push(b'\n');
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Bytes of all lines.
    pub fn bytes_len(&self) -> u64 {
        self.lines.iter().map(|line| line.len() as u64).sum()
    }

    /// All lines, the oldest first.
    pub fn text(&self) -> Vec<u8> {
        self.lines.iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn the_oldest_line_makes_room() {
        let mut log = LogLines::default();
        assert_eq!((log.text().as_slice(), log.bytes_len()), (&b""[..], 0));
        (0..=LINES_MAX).for_each(|n| log.add(format!("line {n}").into_bytes()));
        let text = log.text();
        assert_eq!(text.len() as u64, log.bytes_len());
        assert!(text.starts_with(b"line 1\nline 2\n") && text.ends_with(b"line 200\n"));
    }
}
