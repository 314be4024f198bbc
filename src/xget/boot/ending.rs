//! The end of a boot that failed: a shell if it was asked for, a countdown,
//! and a restart. What to do is `failure`'s; this does it.

use super::console;
use super::failure::{self, Countdown, End};
use super::settings::Settings;
use crate::os::{child, reboot};
use std::path::Path;
use std::thread;
use std::time::Duration;

const SHELL: &str = "/bin/sh";
const TERMINAL: &str = "/dev/console";

/// Ends this boot as the settings say; never comes back.
pub fn end(settings: &Settings) -> ! {
    reboot::allow_keyboard_restart();
    if settings.shell {
        shell();
    }
    let seed = super::identity::seed(&super::links::list());
    finish(failure::countdown(settings.panic_s, seed), settings.end)
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

fn finish(countdown: Countdown, end: End) -> ! {
    match countdown {
        Countdown::Forever => loop {
            log::warn!("boot failed (see above); panic=0: waiting for an operator");
            wait(60);
        },
        Countdown::Seconds(seconds) => {
            for left_s in (1..=seconds).rev() {
                if failure::says(left_s, left_s == seconds) {
                    log::warn!("{} in {left_s} s", end.verb());
                }
                wait(1);
            }
        }
    }
    log::warn!("{} now", end.verb());
    let error = match end {
        End::Reboot => reboot::restart(),
        End::PowerOff => reboot::power_off(),
        End::Halt => reboot::halt(),
    };
    // PID 1 must not exit: the kernel would panic.
    loop {
        log::error!("{} failed: {error}", end.verb());
        wait(60);
        let _ = reboot::restart();
    }
}

fn wait(seconds: u32) {
    for _ in 0..seconds {
        child::reap();
        thread::sleep(Duration::from_secs(1));
    }
}

/// A panic of this program says where and why, and then ends the boot in the
/// same way; the process would otherwise abort, and the kernel with it.
pub fn catch_panics(panic_s: Option<i64>, end: End) {
    std::panic::set_hook(Box::new(move |info| {
        log::error!("xget itself failed: {info}");
        finish(failure::countdown(panic_s, u64::from(std::process::id())), end);
    }));
}
