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

    /// At most `count` bytes from `offset` on of all lines, the oldest first; looks
    /// at no others.
    pub fn part(&self, offset: u64, count: u32) -> Vec<u8> {
        let (mut skip, mut room) = (offset, count as usize);
        let mut part = Vec::new();
        for line in &self.lines {
            let rest = usize::try_from(skip).ok().and_then(|skip| line.get(skip..));
            skip = skip.saturating_sub(line.len() as u64);
            let rest = rest.unwrap_or_default();
            let rest = &rest[..rest.len().min(room)];
            part.extend_from_slice(rest);
            room -= rest.len();
            if room == 0 {
                break;
            }
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn the_oldest_line_makes_room() {
        let mut log = LogLines::default();
        assert_eq!((log.part(0, 9).as_slice(), log.bytes_len()), (&b""[..], 0));
        (0..=LINES_MAX).for_each(|n| log.add(format!("line {n}").into_bytes()));
        let text = log.part(0, u32::MAX);
        assert_eq!(text.len() as u64, log.bytes_len());
        assert!(text.starts_with(b"line 1\nline 2\n") && text.ends_with(b"line 200\n"));
        for (offset, count) in [(0, 3), (3, 9), (7, 1), (100, 0), (1_000, 50)] {
            let wanted = &text[offset..offset + count];
            assert_eq!(log.part(offset as u64, count as u32), wanted, "{offset} {count}");
        }
        assert_eq!(log.part(text.len() as u64 - 2, 9), b"0\n");
        assert_eq!(log.part(text.len() as u64, 9), b"");
        assert_eq!(log.part(u64::MAX, 9), b"");
    }
}
