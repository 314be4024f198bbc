//! A board that is shown again and again: drawn anew on a terminal, else a line for what is
//! other than before.
//!
//! Knows what a terminal has room for. Refuses to know where the board comes from.

use super::board::{Board, Node, table};
use crate::failure::Outcome;
use crate::out::{self, printable};
use rustix::termios::tcgetwinsize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

/// Rows and columns of a terminal that does not say.
const SIZE_UNSAID: (usize, usize) = (24, 80);
/// In which order nodes are shown where there is no room for all.
const URGENT: [&str; 8] =
    ["failed", "lost", "unknown", "missing", "starting", "fetching", "asked", "not heard"];

pub struct Screen {
    is_terminal: bool,
    is_json: bool,
    /// Rows that were drawn last.
    drawn: usize,
    /// What was said of each node, and in all.
    said: BTreeMap<Called, Node>,
    remark: String,
}

/// A label, and how many before it have the same: nodes call themselves what they like.
type Called = (String, usize);

/// A change, for programs: a line of its own.
#[derive(Serialize)]
struct Change<'a> {
    /// Seconds since 1970.
    time: u64,
    #[serde(flatten)]
    node: &'a Node,
}

impl Screen {
    pub fn new(is_json: bool) -> Screen {
        let is_terminal = !is_json && std::io::stdout().is_terminal();
        Screen { is_terminal, is_json, drawn: 0, said: BTreeMap::new(), remark: String::new() }
    }

    /// Whether somebody is still there to read it.
    pub fn draw(&mut self, board: Option<&Board>, trouble: Option<&str>) -> Outcome<bool> {
        let fault = board.and_then(|board| board.fault.as_deref());
        let remark = trouble.or(fault).unwrap_or_default();
        if self.is_terminal {
            let text = redraw(self.drawn, &picture(board, remark, size()));
            self.drawn = text.matches('\n').count();
            return out::print_to_reader(&text);
        }
        if remark != self.remark {
            self.remark = remark.into();
            let text = if remark.is_empty() {
                "the master answers, and its nodes.tab is right"
            } else {
                remark
            };
            out::note(text);
        }
        let text = board.map(|board| self.changes(board, now())).unwrap_or_default();
        out::print_to_reader(&text)
    }

    /// A line for each node of which something is other, and one for all of them.
    fn changes(&mut self, board: &Board, time: u64) -> String {
        let (mut text, mut said) = (String::new(), BTreeMap::new());
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for node in &board.nodes {
            let count = counts.entry(node.label()).or_default();
            let called = (node.label().to_string(), *count);
            *count += 1;
            let before = self.said.remove(&called);
            if !before.is_some_and(|before| is_same(&before, node)) {
                text += &self.change(node, time);
            }
            said.insert(called, node.clone());
        }
        let gone = std::mem::replace(&mut self.said, said);
        for (_, node) in gone {
            let gone = Node { state: Some("gone".into()), seconds: None, ..node };
            text += &self.change(&gone, time);
        }
        if !text.is_empty() && !self.is_json {
            text += &format!("{} {}\n", clock(time), board.summary());
        }
        text
    }

    fn change(&self, node: &Node, time: u64) -> String {
        if self.is_json {
            let json = serde_json::to_string(&Change { time, node });
            return json.unwrap_or_default() + "\n";
        }
        let [label, state, _, image, address, said] = &node.cells()[..] else {
            return String::new();
        };
        let line = format!("{} {label} {state} {image} {address} {said}", clock(time));
        printable(line.trim_end()) + "\n"
    }
}

/// Time goes on, and bytes move: neither is a change.
fn is_same(one: &Node, other: &Node) -> bool {
    one.state() == other.state() && one.image == other.image && one.address == other.address
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The time of day, UTC.
fn clock(time: u64) -> String {
    let of_day = time % 86_400;
    format!("{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

fn size() -> (usize, usize) {
    match tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => SIZE_UNSAID,
    }
}

/// As many lines as there is room for, none of them wider than that.
fn picture(board: Option<&Board>, remark: &str, (rows, columns): (usize, usize)) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(board) = board {
        // The heads, what is left out, all of them, a remark, and the cursor's line.
        let room = rows.saturating_sub(5).max(1);
        let mut nodes = board.nodes.clone();
        if nodes.len() > room {
            let rank = |node: &Node| URGENT.iter().position(|state| *state == node.state());
            nodes.sort_by_key(|node| rank(node).unwrap_or(URGENT.len()));
            nodes.truncate(room);
        }
        lines.extend(table(&nodes).lines().map(String::from));
        let more = board.nodes.len() - nodes.len();
        lines.extend((more > 0).then(|| format!("… and {more} more")));
        lines.push(board.summary());
    }
    if !remark.is_empty() {
        lines.push(printable(remark).replace('\n', " "));
    }
    let cut = |line: String| line.chars().take(columns.saturating_sub(1)).collect();
    lines.into_iter().map(cut).collect()
}

/// Over what was drawn before: ECMA-48, cursor up (CUU), erase in line (EL) and below (ED).
fn redraw(before: usize, lines: &[String]) -> String {
    let up = if before > 0 { format!("\x1b[{before}A\r") } else { String::new() };
    let lines: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
    up + &lines + "\x1b[J"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heard::Roll;
    use nodes::Table;

    fn board(states: &[(&str, &str)]) -> Board {
        let line = |(name, state): &(&str, &str)| {
            format!("state={state} seconds=1 address=10.0.0.1 name={name} image=images/a\n")
        };
        let roll: String = states.iter().map(line).collect();
        Board::of(&Table::default(), &Roll::parse(&roll), &BTreeMap::new())
    }

    fn screen(is_json: bool) -> Screen {
        let (said, remark) = (BTreeMap::new(), String::new());
        Screen { is_terminal: false, is_json, drawn: 0, said, remark }
    }

    #[test]
    fn changes_are_lines_and_nothing_else_is_one() {
        let mut screen = screen(false);
        let first = screen.changes(&board(&[("n1", "asked"), ("n2", "up")]), 3_661);
        assert_eq!(
            first,
            "01:01:01Z n1 asked a 10.0.0.1\n01:01:01Z n2 up a 10.0.0.1\n01:01:01Z 1 up, 1 asked\n"
        );
        assert_eq!(screen.changes(&board(&[("n1", "asked"), ("n2", "up")]), 3_662), "");
        screen.changes(&board(&[("n1", "asked"), ("n2", "up"), ("n2", "lost")]), 3_663);
        let twice = board(&[("n1", "asked"), ("n2", "up"), ("n2", "lost")]);
        assert_eq!(screen.changes(&twice, 3_664), "", "two of one name");
        screen.changes(&board(&[("n1", "asked"), ("n2", "up")]), 3_665);
        let next = screen.changes(&board(&[("n1", "fetching")]), 86_399);
        assert_eq!(
            next,
            "23:59:59Z n1 fetching a 10.0.0.1\n23:59:59Z n2 gone a 10.0.0.1\n23:59:59Z 1 fetching\n"
        );
    }

    #[test]
    fn for_programs_a_change_is_a_document() {
        let text = screen(true).changes(&board(&[("n1", "up")]), 7);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["time"], &value["state"]), (&7.into(), &"up".into()));
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn where_there_is_no_room_for_all_the_urgent_are_seen() {
        let nodes = board(&[("a", "up"), ("b", "lost"), ("c", "starting"), ("d", "up")]);
        let lines = picture(Some(&nodes), "tro\x1b\nuble", (7, 20));
        assert_eq!(
            lines,
            [
                "NODE  STATE     SIN",
                "b     lost      1s ",
                "c     starting  1s ",
                "… and 2 more",
                "2 up, 1 starting, 1",
                "tro? uble"
            ]
        );
        assert_eq!(picture(Some(&nodes), "", (24, 80)).len(), 6);
        assert_eq!(picture(None, "none", (1, 1)), [""]);
    }

    #[test]
    fn what_is_drawn_goes_over_what_was() {
        assert_eq!(redraw(0, &["a".into()]), "a\x1b[K\n\x1b[J");
        assert_eq!(redraw(3, &[]), "\x1b[3A\r\x1b[J");
    }
}
