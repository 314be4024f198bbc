//! Debug messages on standard error, by the original's bits (`-D`).

use crate::console;
use log::{LevelFilter, Log, Metadata, Record};
use std::sync::atomic::{AtomicU32, Ordering};

/// `-D` bits and the log targets that they let through.
const TARGETS: [(u32, &str); 5] =
    [(1, "general"), (2, "client"), (4, "server"), (8, "9p-server"), (16, "9p-client")];

struct Bits(AtomicU32);

static BITS: Bits = Bits(AtomicU32::new(0));

impl Log for Bits {
    fn enabled(&self, metadata: &Metadata) -> bool {
        let bit = TARGETS.iter().find(|(_, target)| *target == metadata.target());
        bit.is_some_and(|(bit, _)| self.0.load(Ordering::Relaxed) & bit != 0)
    }
    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            console::debug(record.target(), &record.args().to_string());
        }
    }
    fn flush(&self) {}
}

/// Lets through what the bits ask for; with none, logging costs a comparison.
pub fn init(bits: u32) {
    BITS.0.store(bits, Ordering::Relaxed);
    if bits != 0 && log::set_logger(&BITS).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
}
