//! One line on every console, and in the kernel's log.
//!
//! The target of the `log` crate while this is PID 1: debug messages and what
//! is said to people are lines of the same consoles. Refuses to wait for a
//! console that does not take its bytes: a dead serial line stops no boot.

use crate::os::output::Output;
use log::{Level, LevelFilter, Log, Metadata, Record};
use peer::control::printable;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Instant;

const CONSOLES_MAX: usize = 8;

struct Console {
    outs: Mutex<Outs>,
    began: Instant,
}

#[derive(Default)]
struct Outs {
    consoles: Vec<Output>,
    kernel_log: Option<File>,
}

/// The names in /proc/consoles, one console a line, the name first.
fn names(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.split_ascii_whitespace().next())
        .take(CONSOLES_MAX)
        .collect()
}

impl Outs {
    fn open() -> Outs {
        let text = std::fs::read_to_string("/proc/consoles").unwrap_or_default();
        let mut outs = Outs::default();
        for name in names(&text) {
            outs.consoles.extend(Output::terminal(&Path::new("/dev").join(name)).ok());
        }
        if outs.consoles.is_empty() {
            outs.consoles.extend(Output::terminal(Path::new("/dev/console")).ok());
        }
        outs.kernel_log = kernel_log();
        outs
    }
}

fn kernel_log() -> Option<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()
}

static CONSOLE: OnceLock<Console> = OnceLock::new();

/// Opens all consoles and takes over the log. /proc and /dev are mounted.
pub fn install() {
    let console =
        CONSOLE.get_or_init(|| Console { outs: Mutex::new(Outs::open()), began: Instant::now() });
    if log::set_logger(console).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Everything into the kernel's log alone.
pub fn install_silent() {
    let began = Instant::now();
    let console = CONSOLE.get_or_init(|| {
        let outs = Outs { consoles: Vec::new(), kernel_log: kernel_log() };
        Console { outs: Mutex::new(outs), began }
    });
    if log::set_logger(console).is_ok() {
        set_debug(true);
    }
}

/// Opens them again: when a session ends on a console, the kernel hangs up
/// every other opening of it.
pub fn reopen() {
    if let Some(console) = CONSOLE.get()
        && let Ok(mut outs) = console.outs.lock()
    {
        *outs = Outs::open();
    }
}

/// What comes next ends this program: the consoles get a bounded time for the rest.
pub fn finish() {
    if let Some(mut outs) = CONSOLE.get().and_then(Console::outs) {
        outs.consoles.iter_mut().for_each(Output::finish);
    }
}

/// For a child beside the next system: no console is open. What it has to say of this level
/// goes into the kernel's log.
pub fn close(level: LevelFilter) {
    log::set_max_level(level);
    if let Some(mut outs) = CONSOLE.get().and_then(Console::outs) {
        outs.consoles.clear();
    }
}

/// Debug messages too, or not.
pub fn set_debug(debug: bool) {
    log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
}

impl Console {
    /// There is one thread: the lock is held only when a line fails in the middle,
    /// and then its words are lost.
    fn outs(&self) -> Option<MutexGuard<'_, Outs>> {
        match self.outs.try_lock() {
            Ok(outs) => Some(outs),
            Err(TryLockError::Poisoned(outs)) => Some(outs.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Log for Console {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        // A line that begins with '!' is trouble (docs/boot.md).
        let mark = if record.level() <= Level::Warn { "! " } else { "" };
        let Some(mut outs) = self.outs() else { return };
        let since = self.began.elapsed();
        let (seconds, tenths) = (since.as_secs(), since.subsec_millis() / 100);
        for line in text.lines().map(printable) {
            let said = format!("xget {seconds:4}.{tenths} {mark}{line}\n");
            for console in &mut outs.consoles {
                console.push(said.as_bytes());
            }
            if let Some(kernel_log) = &mut outs.kernel_log {
                // As debug, so that the kernel does not print it once more.
                let _ = kernel_log.write_all(format!("<7>xget: {line}\n").as_bytes());
            }
        }
    }

    /// Writes what the consoles take now: called at least once a second.
    fn flush(&self) {
        if let Some(mut outs) = self.outs() {
            outs.consoles.iter_mut().for_each(Output::flush);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_consoles() {
        let text = "tty0                 -WU (EC  p  )    4:7\nttyS0                -W- (E   p a)    4:64\n";
        assert_eq!(names(text), ["tty0", "ttyS0"]);
        assert!(names("").is_empty());
    }
}
