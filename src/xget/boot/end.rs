//! The end of a boot that failed: a shell if it was asked for, a countdown,
//! and a restart. What to do is `failure`'s; this does it.

use super::console;
use super::failure::{self, Countdown, EndAction, EndSettings};
use crate::os::{child, reboot};
use std::path::Path;
use std::thread;
use std::time::Duration;

const SHELL: &str = "/bin/sh";
const TERMINAL: &str = "/dev/console";

/// Ends this boot as the settings say; never comes back.
pub fn end(settings: EndSettings) -> ! {
    reboot::allow_keyboard_restart();
    if settings.shell {
        shell();
    }
    let seed = super::identity::seed(&super::links::list());
    finish(failure::countdown(settings.panic_s, seed), settings.action)
}

fn shell() {
    if !Path::new(SHELL).exists() {
        log::warn!("a shell was asked for, but there is no {SHELL} in this initramfs");
        return;
    }
    log::info!("starting {SHELL} on {TERMINAL}; its end is the end of this boot");
    let ended = child::run_on_terminal(SHELL, TERMINAL);
    console::reopen();
    if let Err(error) = ended {
        log::warn!("cannot start {SHELL}: {error}");
    }
}

fn finish(countdown: Countdown, action: EndAction) -> ! {
    match countdown {
        Countdown::Forever => loop {
            log::warn!("boot failed (see above); panic=0: waiting for an operator");
            wait(60);
        },
        Countdown::Seconds(seconds) => {
            for left_s in (1..=seconds).rev() {
                if failure::says(left_s, left_s == seconds) {
                    log::warn!("{} in {left_s} s", action.verb());
                }
                wait(1);
            }
        }
    }
    log::warn!("{} now", action.verb());
    console::finish();
    let error = match action {
        EndAction::Reboot => reboot::restart(),
        EndAction::PowerOff => reboot::power_off(),
        EndAction::Halt => reboot::halt(),
    };
    // PID 1 must not exit: the kernel would panic.
    loop {
        log::error!("{} failed: {error}", action.verb());
        wait(60);
        let _ = reboot::restart();
    }
}

fn wait(seconds: u32) {
    for _ in 0..seconds {
        child::reap();
        log::logger().flush();
        thread::sleep(Duration::from_secs(1));
    }
}

/// A panic of this program says where and why, and then ends the boot in the
/// same way; the process would otherwise abort, and the kernel with it.
pub fn catch_panics(settings: EndSettings) {
    std::panic::set_hook(Box::new(move |info| {
        log::error!("xget itself failed: {info}");
        let seed = u64::from(std::process::id());
        finish(failure::countdown(settings.panic_s, seed), settings.action);
    }));
}
