//! ^C, a kill and a lost terminal: noticed, and acted on where it is safe.
//!
//! A signal sets a flag; long work asks [`check`] between its steps and ends with
//! what it began undone. So no signal finds half of something in place. While nothing is
//! begun ([`ends_at_once`]) a signal does what it does to any program. Knows nothing of
//! the work.

use crate::failure::{Failure, Outcome};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_default};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static TYPED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static ENDED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static AT_ONCE: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// ^C.
fn typed() -> &'static Arc<AtomicBool> {
    TYPED.get_or_init(Arc::default)
}

/// The terminal is lost, or somebody kills us.
fn ended() -> &'static Arc<AtomicBool> {
    ENDED.get_or_init(Arc::default)
}

/// Nothing is begun: signals end the process.
fn at_once() -> &'static Arc<AtomicBool> {
    AT_ONCE.get_or_init(Arc::default)
}

/// From now on signals set a flag in place of ending the process.
pub fn listen() {
    for (signal, flag) in [(SIGINT, typed()), (SIGTERM, ended()), (SIGHUP, ended())] {
        // Fails for signals that nobody may catch, which are not among these.
        let _ = register_conditional_default(signal, Arc::clone(at_once()));
        let _ = register(signal, Arc::clone(flag));
    }
}

pub fn is_asked() -> bool {
    typed().load(Ordering::Relaxed) || is_terminal_lost_or_killed()
}

/// What a program that has the terminal cannot be meant by.
pub fn is_terminal_lost_or_killed() -> bool {
    ended().load(Ordering::Relaxed)
}

/// What was typed while a program had the terminal was for that program.
pub fn forget() {
    typed().store(false, Ordering::Relaxed);
}

/// The end, if it was asked for.
pub fn check() -> Outcome {
    if is_asked() { Err(Failure::interrupted()) } else { Ok(()) }
}

/// While this is held a signal ends the process, whatever it waits for; the status that a
/// shell sees is 128 and the signal.
pub struct EndsAtOnce {
    before: bool,
}

/// For who changes nothing, or has not begun to.
pub fn ends_at_once() -> Outcome<EndsAtOnce> {
    let ends = EndsAtOnce { before: at_once().swap(true, Ordering::SeqCst) };
    // A signal before that has set its flag.
    check().map(|()| ends)
}

impl Drop for EndsAtOnce {
    fn drop(&mut self) {
        at_once().store(self.before, Ordering::SeqCst);
    }
}
