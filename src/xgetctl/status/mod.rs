//! `xgetctl status`: how far every node is, once or for as long as somebody looks.
//!
//! It changes nothing, so a signal ends it at once. Knows whom to ask and when; what the
//! answers say of a node is `board`, what of it is shown `screen` and `board` again.

mod board;
mod clients;
mod screen;

use crate::failure::{Failure, Outcome, Status};
use crate::head::Head;
use crate::heard::Roll;
use crate::listing::{Asking, Listing};
use crate::master::Session;
use crate::{interrupt, out, tab};
use board::Board;
use nodes::{NODES_MAX, Table, expand};
use screen::Screen;
use std::thread;
use std::time::{Duration, Instant};

/// How often a master is asked.
const PERIOD: Duration = Duration::from_secs(1);

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Which nodes, by name, n[001-040] for many; all if none is named
    nodes: Vec<String>,
    /// Go on until ^C: on a terminal it is drawn anew, else each change is a line
    #[arg(short, long)]
    follow: bool,
    /// Wait until all of them (without NODES: all names of nodes.tab) are up; status 7 if they
    /// are not after so many seconds
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    listing: Listing,
}

/// What a look found.
struct Seen {
    board: Board,
    /// Why the table could not be read.
    unread: Option<Failure>,
}

impl Args {
    pub fn run(&self, head: &Head) -> Outcome {
        let _ends = interrupt::ends_at_once()?;
        let wanted = self.wanted()?;
        if self.follow || self.wait.is_some() {
            return self.watch(head, &wanted);
        }
        self.show(&self.look(head, &wanted)?.board)
    }

    /// The names that were named.
    fn wanted(&self) -> Outcome<Vec<String>> {
        let mut names = Vec::new();
        for text in &self.nodes {
            names.extend(expand(text, NODES_MAX).map_err(|what| {
                Failure::usage(format!("{text:?} is no name and no range of names: {what}"))
            })?);
        }
        Ok(names)
    }

    /// How it stands now.
    fn look(&self, head: &Head, wanted: &[String]) -> Outcome<Seen> {
        let mut session = self.asking.session()?;
        let roll = Roll::parse(&session.control("nodes")?);
        let clients = clients::parse(&session.control("status")?);
        let (table, unread) = match table(head, &mut session) {
            Ok(table) => (table, None),
            Err(failure) if failure.status == Status::Unreachable => return Err(failure),
            Err(failure) => (Table::default(), Some(failure)),
        };
        let mut board = Board::of(&table, &roll, &clients);
        let fault = unread.as_ref().map(|failure| failure.text.clone());
        board.fault = fault.or_else(|| roll.warning());
        match (board.choose(wanted), unread) {
            // The table may have the name, once it can be read.
            (Err(failure), Some(unread)) => Err(Failure::new(unread.status, failure.text)),
            (chosen, unread) => chosen.map(|()| Seen { board, unread }),
        }
    }

    fn show(&self, board: &Board) -> Outcome {
        if self.listing.json {
            return out::json(board);
        }
        board.fault.iter().for_each(|fault| out::note(fault));
        out::print(&board.text())
    }

    fn watch(&self, head: &Head, wanted: &[String]) -> Outcome {
        let deadline = self.wait.map(|s| Instant::now().checked_add(Duration::from_secs(s)));
        let deadline = deadline.flatten();
        let mut screen = self.follow.then(|| Screen::new(self.listing.json));
        let mut last: Option<Board> = None;
        let mut said = None;
        loop {
            let trouble = match self.look(head, wanted) {
                Ok(seen) => {
                    let doubt = self.wait.and_then(|_| seen.doubt(wanted));
                    last = Some(seen.board);
                    doubt
                }
                // Who waits may be before the master.
                Err(failure) if last.is_none() && self.wait.is_none() => return Err(failure),
                Err(failure) => Some(failure),
            };
            // A master that is not there and a table that is wrong are what somebody mends.
            let passes = |f: &Failure| matches!(f.status, Status::Unreachable | Status::Wrong);
            let trouble = match trouble {
                Some(failure) if !passes(&failure) => return Err(failure),
                trouble => trouble,
            };
            let text = trouble.as_ref().map(|failure| failure.text.clone());
            if let Some(screen) = &mut screen {
                if !screen.draw(last.as_ref(), text.as_deref())? {
                    return Ok(());
                }
            } else if text != said {
                text.iter().for_each(|text| out::note(&format!("{text}; waits")));
                said = text;
            }
            let is_done = trouble.is_none() && last.as_ref().is_some_and(Board::is_all_up);
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if self.wait.is_some() && (is_done || is_over) {
                let shown = last.filter(|_| !self.follow).map_or(Ok(()), |board| self.show(&board));
                return if is_done { shown } else { shown.and(Err(self.late(trouble))) };
            }
            let left = deadline.map_or(PERIOD, |d| d.saturating_duration_since(Instant::now()));
            thread::sleep(left.min(PERIOD));
        }
    }

    fn late(&self, trouble: Option<Failure>) -> Failure {
        let seconds = self.wait.unwrap_or_default();
        match trouble {
            None => Failure::new(Status::Late, format!("not all of them are up after {seconds} s")),
            Some(failure) => {
                let text = format!("after {seconds} s it is not known who is up: {}", failure.text);
                Failure::new(failure.status, text)
            }
        }
    }
}

impl Seen {
    /// Why it is not known who is to be waited for. Who is named is known without a table.
    fn doubt(&self, wanted: &[String]) -> Option<Failure> {
        if !wanted.is_empty() {
            return None;
        }
        let unread = self.unread.as_ref().map(|f| Failure::new(f.status, &*f.text));
        let nobody = || {
            Failure::source(
                "there is nobody to wait for: nodes.tab has no name (is it that of this --root?); \
                 name nodes, or give them names there",
            )
        };
        unread.or_else(|| self.board.waits_for_nobody().then(nobody))
    }
}

/// The table of this machine; where there is none, that which the master serves.
fn table(head: &Head, session: &mut Session) -> Outcome<Table> {
    if head.nodes_tab().symlink_metadata().is_ok() {
        return tab::read(head);
    }
    let bytes = session.served(nodes::TAB_NAME)?.unwrap_or_default();
    Table::parse(&bytes)
        .map_err(|fault| Failure::wrong(format!("nodes.tab of the master: {fault}")))
}
