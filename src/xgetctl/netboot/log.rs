//! The log of `netboot --run`: lines for standard output, which a thread writes.
//!
//! Whoever reads them slowly, not at all, or has no room for them holds nothing up: so many
//! lines wait, others are lost, and how many is said when there is room again. Knows nothing
//! of who says what.

use crate::failure::{Doing, Outcome, reason};
use crate::out;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait to be written; more are lost, and counted.
const QUEUE_MAX: usize = 10_000;
/// How long the last lines may take at the end.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// How often a descriptor that somebody made not to wait is tried again.
const RETRY: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct Log {
    /// Without a text: the end.
    to: SyncSender<Option<String>>,
    lost: Arc<AtomicUsize>,
}

/// By which the end of the writing is waited for.
pub struct Writer(Receiver<()>);

impl Log {
    pub fn new() -> Outcome<(Log, Writer)> {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let stdout = stdout.doing("write to", Path::new("standard output"))?;
        Ok(Log::into_file(File::from(stdout), QUEUE_MAX))
    }

    fn into_file(file: File, most: usize) -> (Log, Writer) {
        let (to, lines) = sync_channel(most);
        let (done, ended) = sync_channel(1);
        let lost = Arc::<AtomicUsize>::default();
        let log = Log { to, lost: Arc::clone(&lost) };
        thread::spawn(move || {
            write_all(&file, &lines, &lost);
            let _ = done.try_send(());
        });
        (log, Writer(ended))
    }

    /// Never waits.
    pub fn line(&self, text: &str) {
        if self.to.try_send(Some(format!("{}\n", out::printable(text)))).is_err() {
            self.lose();
        }
    }

    /// What is said from now on is not written. If the queue is full, so it stays.
    pub fn end(&self) {
        let _ = self.to.try_send(None);
    }

    /// One that did not come this far.
    pub fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

impl Writer {
    /// To be called behind [`Log::end`].
    pub fn finish(self) {
        if self.0.recv_timeout(END_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            // Standard error may be the same pipe: said by a thread that ends with us.
            let text = "netboot: nobody reads the log: its last lines are lost";
            let said = thread::spawn(move || out::note(text));
            let deadline = Instant::now() + RETRY;
            while !said.is_finished() && Instant::now() < deadline {
                thread::sleep(RETRY / 10);
            }
        }
    }
}

fn write_all(mut file: &File, lines: &Receiver<Option<String>>, lost: &AtomicUsize) {
    let mut is_failing = false;
    // Half of a line is there.
    let mut is_torn = false;
    while let Ok(Some(line)) = lines.recv() {
        let count = lost.swap(0, Ordering::Relaxed);
        let mut text = if is_torn { "\n".to_owned() } else { String::new() };
        if count > 0 {
            text += &format!("netboot: {count} lines of this log were lost\n");
        }
        text += &line;
        match write_one(&mut file, text.as_bytes()) {
            Ok(()) => (is_failing, is_torn) = (false, false),
            // Nobody reads it any more.
            Err((_, error)) if error.kind() == ErrorKind::BrokenPipe => {}
            Err((written, error)) => {
                lost.fetch_add(count + 1, Ordering::Relaxed);
                is_torn = written > 0 || is_torn;
                if !is_failing {
                    is_failing = true;
                    out::note(&format!(
                        "netboot: cannot write the log: {}; all is served on without it",
                        reason(&error)
                    ));
                }
            }
        }
    }
}

/// How much was written where not all was.
fn write_one(file: &mut &File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    #[test]
    fn who_does_not_read_holds_nothing_up_and_is_told_how_much_was_lost() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (log, end) = Log::into_file(File::from(OwnedFd::from(writer)), 10);
        let (line, count) = ("x".repeat(999), 1000);
        // More than a pipe and the queue hold.
        (0..count).for_each(|_| log.line(&line));
        let lost = log.lost.load(Ordering::Relaxed);
        assert!(lost > 0);
        let read = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while log.lost.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < deadline, "it is not said");
            log.line("and on");
            thread::sleep(Duration::from_millis(1));
        }
        log.end();
        end.finish();
        let text = read.join().unwrap();
        let said = text.lines().filter_map(|line| {
            line.strip_prefix("netboot: ")?.split(' ').next()?.parse::<usize>().ok()
        });
        let long = text.lines().filter(|said| **said == line).count();
        assert!(said.sum::<usize>() >= count - long && long > 0, "{long}");
    }

    #[test]
    fn what_has_no_room_loses_lines_alone() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (log, end) = Log::into_file(full, 10);
        (0..5).for_each(|_| log.line("a line"));
        let lost = Arc::clone(&log.lost);
        log.end();
        end.finish();
        assert_eq!(lost.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn the_end_waits_for_nobody_who_does_not_read() {
        let (_reader, writer) = io::pipe().unwrap();
        let (log, end) = Log::into_file(File::from(OwnedFd::from(writer)), 1000);
        (0..1000).for_each(|_| log.line(&"x".repeat(999)));
        log.end();
        end.finish();
    }
}
