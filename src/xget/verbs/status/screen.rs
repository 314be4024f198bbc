//! A board that is shown again and again: drawn over itself on a terminal, else a line for
//! what changed.
//!
//! Knows rows and columns of the terminal, now. Nothing of it is set otherwise (no cursor
//! hidden, no other screen), so that any end leaves it as it was.

use super::super::names::{cut, width};
use super::board::{Board, Client};
use crate::console::print_bytes;
use crate::failed::Failed;
use crate::os::{clock, terminal};
use peer::control::printable;
use sorted::SortedMap;
use std::io::{IsTerminal, stdout};

/// Of a terminal that does not say.
const SIZE_UNSAID: (usize, usize) = (24, 80);

pub struct Screen {
    is_terminal: bool,
    is_json: bool,
    /// Columns of each line that was drawn last.
    drawn: Vec<usize>,
    /// State and tenths of each client that was said.
    said: SortedMap<String, (String, u64)>,
    trouble: String,
}

impl Screen {
    pub fn new(is_json: bool) -> Screen {
        let is_terminal = !is_json && stdout().is_terminal();
        let (said, trouble) = (SortedMap::new(), String::new());
        Screen { is_terminal, is_json, drawn: Vec::new(), said, trouble }
    }

    /// Shows it; the error is that nobody reads it.
    pub fn show(&mut self, board: &Board, trouble: Option<&str>) -> Result<(), Failed> {
        let text = if self.is_terminal {
            let size = terminal::size(&stdout()).unwrap_or(SIZE_UNSAID);
            let lines = picture(board, trouble, size);
            let text = redraw(&self.drawn, &lines, size.1);
            self.drawn = lines.iter().map(|line| width(line)).collect();
            text
        } else {
            let now_s = clock::now_s().try_into().unwrap_or_default();
            self.changes(board, trouble, now_s)
        };
        if text.is_empty() { Ok(()) } else { print_bytes(text.as_bytes()) }
    }

    /// A line for who comes, is in another state or another tenth further.
    fn changes(&mut self, board: &Board, trouble: Option<&str>, now_s: u64) -> String {
        let (mut text, mut said) = (String::new(), SortedMap::new());
        for client in &board.clients {
            // Of several of one address, who goes on stands before who is gone.
            if said.get(&client.address).is_some() {
                continue;
            }
            let now = (client.state.clone(), client.percent().unwrap_or(0) / 10);
            if self.said.get(&client.address) != Some(&now) {
                text.push_str(&self.line(client, now_s));
            }
            said.insert(client.address.clone(), now);
        }
        self.said = said;
        if trouble.unwrap_or_default() != self.trouble {
            self.trouble = trouble.unwrap_or_default().into();
            let said = if self.trouble.is_empty() { "the master answers" } else { &self.trouble };
            crate::console::report(said);
        }
        text
    }

    fn line(&self, client: &Client, now_s: u64) -> String {
        if self.is_json {
            return client.object().number("time", now_s).end() + "\n";
        }
        let (h, m, s) = (now_s / 3600 % 24, now_s / 60 % 60, now_s % 60);
        format!("{h:02}:{m:02}:{s:02}Z  {}\n", client.line())
    }
}

/// What a terminal has room for: those that fetch stand first.
fn picture(board: &Board, trouble: Option<&str>, (rows, columns): (usize, usize)) -> Vec<String> {
    let mut lines = board.lines();
    // The summary, trouble, and the line of the cursor.
    let room = rows.saturating_sub(2 + usize::from(trouble.is_some())).max(1);
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(format!("... and {more} more"));
    }
    lines.push(board.summary());
    lines.extend(trouble.map(printable));
    let most = rows.saturating_sub(1).max(1);
    lines.drain(..lines.len().saturating_sub(most));
    // Some terminals go on to the next line once the last column is written.
    lines.iter().map(|line| cut(line, columns.saturating_sub(1)).to_string()).collect()
}

/// Goes back over what was drawn, which may take more rows since the terminal is narrower.
fn redraw(drawn: &[usize], lines: &[String], columns: usize) -> String {
    let up: usize = drawn.iter().map(|wide| wide.div_ceil(columns.max(1)).max(1)).sum();
    let mut text = if up > 0 { format!("\x1b[{up}A\r") } else { String::new() };
    for line in lines {
        text.push_str(line);
        text.push_str("\x1b[K\n");
    }
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(count: usize) -> Board {
        let line = |n: usize| format!("10.0.0.{n}!1 fetching {n} 100 0 0 1 me\n");
        Board::parse(&(0..count).map(line).collect::<String>())
    }

    #[test]
    fn there_is_never_more_than_the_terminal_has_room_for() {
        for (rows, columns) in [(24, 80), (5, 20), (2, 2), (1, 1), (0, 0)] {
            for trouble in [None, Some("gone\x1b[2J")] {
                let lines = picture(&board(40), trouble, (rows, columns));
                assert!(lines.len() <= rows.saturating_sub(1).max(1), "{rows}: {lines:?}");
                assert!(lines.iter().all(|line| width(line) < columns.max(1)), "{lines:?}");
                assert!(lines.iter().all(|line| !line.contains('\x1b')));
            }
        }
        let lines = picture(&board(40), None, (6, 80));
        assert_eq!(lines[3..], ["... and 38 more".to_string(), "40 fetching".into()]);
        assert_eq!(picture(&board(2), None, (24, 80)).len(), 4);
    }

    #[test]
    fn what_is_drawn_goes_over_what_was_however_wide_it_is_now() {
        assert_eq!(redraw(&[], &["a".into()], 80), "a\x1b[K\n\x1b[J");
        assert_eq!(redraw(&[80, 0, 5], &[], 80), "\x1b[3A\r\x1b[J");
        assert_eq!(redraw(&[80, 0, 5], &[], 40), "\x1b[4A\r\x1b[J");
    }

    #[test]
    fn elsewhere_a_change_is_a_line() {
        let (said, trouble) = (SortedMap::new(), String::new());
        let mut screen =
            Screen { is_terminal: false, is_json: false, drawn: Vec::new(), said, trouble };
        let first = screen.changes(&board(2), None, 3_661);
        assert_eq!(first.lines().count(), 2);
        assert!(first.starts_with("01:01:01Z  10.0.0.0!1  fetching"), "{first}");
        assert_eq!(screen.changes(&board(2), None, 3_662), "");
        let further = Board::parse(
            "10.0.0.0!1 fetching 9 100 0 0 1 me\n10.0.0.1!1 fetching 10 100 0 0 1 me\n",
        );
        assert!(screen.changes(&further, None, 3_663).contains("10.0.0.1!1"));
        let twice = "10.0.0.0!1 lost 9 100 0 0 1 me\n10.0.0.0!1 fetching 9 100 0 0 1 me\n";
        assert_eq!(screen.changes(&Board::parse(twice), None, 3_664), "", "of one address");
        screen.is_json = true;
        let text = screen.changes(&Board::parse("10.0.0.0!1 lost 9 100 0 0 1 me\n"), None, 7);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["state"], &value["time"]), (&"lost".into(), &7.into()));
    }
}
