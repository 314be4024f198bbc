//! What a person sees: progress, warnings, the summary at the end.
//!
//! Knows terminals from files; decides nothing. All output of the process goes
//! through here: whether somebody reads it, and whether there is room for it,
//! must not decide about the work (`println!` would end the process), nor when it
//! goes on: what is not taken at once waits its turn ([`Output`]).

use crate::driver::{FetchObserver, MasterObserver, MasterState, Observer};
use crate::failed::Failed;
use crate::os::output::{Output, QUEUED_BYTES_MAX};
use crate::os::{clock, signal, terminal};
use peer::control::printable;
use peer::fetch::Progress;
use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Between two redraws on a terminal, and two plain lines elsewhere.
const REDRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(5);
const BAR_WIDTH: usize = 24;
/// Of the list of changes at a time: half of what waits for who reads it.
const LIST_BYTES: usize = QUEUED_BYTES_MAX / 2;

thread_local! {
    /// Standard output and standard error, once something is said.
    static OUTPUTS: RefCell<[Option<Output>; 2]> = const { RefCell::new([None, None]) };
}

/// Says something on standard output or standard error, without waiting.
fn tell(place: usize, text: &str) {
    OUTPUTS.with_borrow_mut(|outputs| {
        if outputs[place].is_none() {
            let opened = match place {
                0 => Output::shared(io::stdout().as_fd(), "standard output"),
                _ => Output::shared(io::stderr().as_fd(), "standard error"),
            };
            // One that was closed before we began is no place to say it.
            outputs[place] = opened.ok();
        }
        if let Some(output) = &mut outputs[place] {
            output.push(text.as_bytes());
        }
    });
}

/// Opens standard output (0) or standard error (1) before anything is said: later that may be
/// refused.
pub fn open(places: &[usize]) {
    places.iter().for_each(|place| tell(*place, ""));
}

fn each_output(act: impl FnMut(&mut Output)) {
    OUTPUTS.with_borrow_mut(|outputs| outputs.iter_mut().flatten().for_each(act));
}

/// Whether something that was said waits for who reads it.
fn is_behind() -> bool {
    OUTPUTS.with_borrow(|outputs| outputs.iter().flatten().any(Output::is_behind))
}

/// The process ends: who reads what we say gets a bounded time for the rest.
pub fn finish() {
    each_output(Output::finish);
}

/// Standard output and error are others from now on, or somebody else's.
pub fn let_go() {
    finish();
    OUTPUTS.set([None, None]);
}

/// Writes to standard output, for who wants to know whether it arrived, however
/// long that takes: not while anything else is done.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints what was asked for, piece by piece. Who stops reading has seen enough, and is told
/// nothing but a status.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failed::silent()),
        Err(error) => Err(Failed::unexpected(format!("cannot write to standard output: {error}"))),
    }
}

/// Prints what was asked for: unread, the command was in vain.
pub fn answer(text: &str) -> Result<(), Failed> {
    print(text)
        .map_err(|error| Failed::unexpected(format!("cannot write to standard output: {error}")))
}

/// The line at the end, on standard output.
pub fn conclude(text: &str) {
    tell(0, text);
}

/// Says something on standard error; nobody may be there to read it.
fn print_error(text: &str) {
    tell(1, text);
}

/// A line on standard error.
pub fn report(text: &str) {
    print_error(&format!("xget: {}\n", printable(text)));
}

/// A line of `-D`.
pub fn debug(target: &str, text: &str) {
    print_error(&format!("xget[{target}]: {}\n", printable(text)));
}

/// The line at the foot of a terminal that is drawn again and again; where there
/// is no terminal, a plain line from time to time.
struct StatusLine {
    terminal: bool,
    shown: Instant,
    drawn: bool,
}

impl StatusLine {
    fn new() -> StatusLine {
        let terminal = io::stderr().is_terminal();
        StatusLine { terminal, shown: Instant::now(), drawn: false }
    }

    /// It is not drawn over and over where nobody looks.
    fn is_due(&self) -> bool {
        !is_behind() && self.shown.elapsed() >= if self.terminal { REDRAW } else { LINE }
    }

    fn draw(&mut self, line: &str) {
        self.shown = Instant::now();
        if self.terminal {
            let line = cut(line, terminal::columns());
            print_error(&format!("\r{line}\x1b[K"));
            self.drawn = true;
        } else {
            report(line);
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            print_error("\r\x1b[K");
        }
    }
}

/// As much of a line of ASCII as a terminal shows on one: what is longer would
/// be drawn anew on a line of its own each time. The last column stays free,
/// as some terminals go on to the next line once it is written.
fn cut(line: &str, columns: Option<usize>) -> &str {
    let room = columns.map_or(line.len(), |columns| columns - 1);
    line.get(..room).unwrap_or(line)
}

/// A client's console.
pub struct FetchConsole {
    quiet: bool,
    status: StatusLine,
    began: Instant,
    pub last: Progress,
    /// What was changed, or would be: lines.
    changes: String,
    /// So much of that was said.
    told: usize,
    /// It is only compared: whoever asked wants to know whether all of the list arrived.
    holds_list: bool,
    /// Its days are all the same: how far it is is not shown.
    is_worker: bool,
    has_ended: bool,
}

impl FetchConsole {
    pub fn new(quiet: bool, holds_list: bool) -> FetchConsole {
        FetchConsole {
            quiet,
            status: StatusLine::new(),
            began: Instant::now(),
            last: Progress::default(),
            changes: String::new(),
            told: 0,
            holds_list,
            is_worker: false,
            has_ended: false,
        }
    }
}

impl FetchConsole {
    pub fn of_worker(quiet: bool) -> FetchConsole {
        let mut console = FetchConsole::new(quiet, false);
        console.is_worker = true;
        console
    }

    /// What is done is told while others are served, as fast as somebody reads it.
    fn tell_changes(&mut self) {
        let left = &self.changes[self.told..];
        if left.is_empty() || self.quiet || self.holds_list || is_behind() {
            return;
        }
        let most = left.floor_char_boundary(LIST_BYTES);
        let end = left[..most].rfind('\n').map_or(left.len(), |end| end + 1);
        self.status.clear();
        conclude(&left[..end]);
        self.told += end;
    }

    /// A turn in which nothing is done. Whether a signal asks for the end.
    pub fn idle(&mut self) -> bool {
        each_output(Output::flush);
        self.take_end()
    }

    fn take_end(&mut self) -> bool {
        let is_wanted = signal::take();
        self.has_ended |= is_wanted;
        is_wanted
    }

    /// Lines of what was changed that were not said.
    pub fn take_changes(&mut self) -> String {
        std::mem::take(&mut self.changes).split_off(std::mem::take(&mut self.told))
    }

    /// Whether a signal asked for the end.
    pub fn has_ended(&mut self) -> bool {
        self.has_ended |= signal::take();
        self.has_ended
    }
}

impl Drop for FetchConsole {
    fn drop(&mut self) {
        self.status.clear();
    }
}

impl Observer for FetchConsole {
    fn say(&mut self, text: &str) {
        if !self.quiet {
            self.status.clear();
            report(text);
        }
    }
    fn warn(&mut self, text: &str) {
        self.say(text);
    }
    fn is_behind(&self) -> bool {
        is_behind()
    }
}

impl FetchObserver for FetchConsole {
    fn turn(&mut self, progress: &Progress) -> bool {
        each_output(Output::flush);
        self.tell_changes();
        self.last = *progress;
        if !self.quiet && !self.is_worker && self.status.is_due() {
            let elapsed = self.began.elapsed();
            self.status.draw(&progress_line(&self.last, elapsed, self.status.terminal));
        }
        self.take_end()
    }
    fn changed(&mut self, lines: &str) {
        self.changes.push_str(lines);
    }
}

fn progress_line(progress: &Progress, elapsed: Duration, bar: bool) -> String {
    let stats = &progress.stats;
    if let Some((done, total)) = progress.hashing {
        return format!("the master is hashing: {} of {}", bytes(done), bytes(total));
    }
    if stats.total_bytes == 0 || progress.phase != "fetching" {
        return progress.phase.into();
    }
    let moved = stats.from_master_bytes + stats.from_peers_bytes;
    let rate = per_second(moved, elapsed.as_millis() as u64);
    let left_s = stats.total_bytes.saturating_sub(stats.have_bytes) / rate.max(1);
    let percent = stats.have_bytes * 100 / stats.total_bytes;
    let figures = format!(
        "{percent:3} % of {}, {}/s, {} left",
        bytes(stats.total_bytes),
        bytes(rate),
        seconds(left_s)
    );
    if !bar {
        return figures;
    }
    let full = (percent as usize * BAR_WIDTH / 100).min(BAR_WIDTH);
    format!("[{}{}] {figures}", "#".repeat(full), " ".repeat(BAR_WIDTH - full))
}

/// The line at the end of a fetch that went well.
pub fn summary(progress: &Progress) -> String {
    let stats = &progress.stats;
    let (elapsed_s, hundredths) = (stats.elapsed_ms / 1000, stats.elapsed_ms % 1000 / 10);
    let moved = stats.from_master_bytes + stats.from_peers_bytes;
    let generation = progress.generation.map_or(String::new(), |d| format!(", blake3:{d}"));
    format!(
        "{} files, {} bytes in {elapsed_s}.{hundredths:02} s, {}/s: {} from the master, {} from peers, {} not moved{generation}",
        progress.files,
        stats.total_bytes,
        bytes(per_second(moved, stats.elapsed_ms)),
        bytes(stats.from_master_bytes),
        bytes(stats.from_peers_bytes),
        bytes(stats.total_bytes.saturating_sub(moved)),
    )
}

pub fn per_second(bytes: u64, elapsed_ms: u64) -> u64 {
    bytes.saturating_mul(1000) / elapsed_ms.max(1)
}

// In whole numbers: see docs/architecture.md, Size.
pub fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut unit, mut unit_bytes) = (0, 1);
    while count / unit_bytes >= 1000 && unit + 1 < units.len() {
        unit_bytes *= 1000;
        unit += 1;
    }
    if unit == 0 {
        return format!("{count} B");
    }
    let tenths = count.saturating_add(unit_bytes / 20) / (unit_bytes / 10);
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

pub fn seconds(s: u64) -> String {
    match s.min(359_999) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{}:{:02} min", s / 60, s % 60),
        s => format!("{}:{:02} h", s / 3600, s % 3600 / 60),
    }
}

/// A master's console: lines with the time, progress while it hashes.
pub struct MasterConsole {
    status: StatusLine,
    ready: Option<Box<dyn FnOnce()>>,
    /// Where the lines go besides the console, which a daemon has none of.
    log: Option<Output>,
}

impl MasterConsole {
    /// `ready` is called when the first generation is served.
    pub fn new(ready: Option<Box<dyn FnOnce()>>, log: Option<Output>) -> MasterConsole {
        MasterConsole { status: StatusLine::new(), ready, log }
    }

    /// The line with the time, for the console; the log has it already.
    fn stamp(&mut self, text: &str) -> String {
        let line = format!("{} {}\n", clock::time_of_day(), printable(text));
        if let Some(log) = &mut self.log {
            log.push(line.as_bytes());
        }
        line
    }
}

impl Observer for MasterConsole {
    fn say(&mut self, text: &str) {
        self.status.clear();
        tell(0, &self.stamp(text));
    }
    fn warn(&mut self, text: &str) {
        self.status.clear();
        print_error(&self.stamp(&format!("warning: {text}")));
    }
    fn is_behind(&self) -> bool {
        is_behind() || self.log.as_ref().is_some_and(Output::is_behind)
    }
}

impl MasterObserver for MasterConsole {
    fn turn(&mut self, state: MasterState) -> bool {
        each_output(Output::flush);
        if let Some(log) = &mut self.log {
            log.flush();
        }
        match state {
            MasterState::Hashing { done_bytes, total_bytes } => {
                if total_bytes > 0 && self.status.is_due() {
                    let (done, total) = (bytes(done_bytes), bytes(total_bytes));
                    self.status.draw(&format!("hashing: {done} of {total}"));
                }
            }
            MasterState::Serving => {
                if let Some(ready) = self.ready.take() {
                    ready();
                    let_go();
                }
            }
        }
        signal::take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.0 kB");
        assert_eq!(bytes(104_857_600), "104.9 MB");
        assert_eq!(bytes(u64::MAX), "18446.7 PB");
        assert_eq!(per_second(3_000_000, 1500), 2_000_000);
        assert_eq!(per_second(1, 0), 1000);
        assert_eq!(seconds(59), "59 s");
        assert_eq!(seconds(61), "1:01 min");
        assert_eq!(seconds(3661), "1:01 h");
    }

    #[test]
    fn a_line_is_cut_where_the_terminal_ends() {
        assert_eq!(cut("12345", None), "12345");
        assert_eq!(cut("12345", Some(6)), "12345");
        assert_eq!(cut("12345", Some(5)), "1234");
        assert_eq!(cut("12345", Some(1)), "");
    }

    #[test]
    fn a_bar_is_never_longer_than_its_width() {
        let mut progress = Progress { phase: "fetching", ..Progress::default() };
        progress.stats.total_bytes = 10;
        for have in [0, 5, 10, 11] {
            progress.stats.have_bytes = have;
            assert!(progress_line(&progress, Duration::from_secs(1), true).len() < 79);
        }
    }
}
