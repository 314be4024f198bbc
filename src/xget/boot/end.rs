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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::{SIGHUP, SIGINT};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const ACTION: &str = "XGET_TEST_END";
    const NAME: &str =
        "boot::end::tests::a_failure_of_the_agent_itself_says_where_and_ends_as_it_was_told";

    struct ToStderr;

    impl log::Log for ToStderr {
        fn enabled(&self, _: &log::Metadata) -> bool {
            true
        }
        fn log(&self, record: &log::Record) {
            eprintln!("said: {}", record.args());
        }
        fn flush(&self) {}
    }

    /// As PID 1, and no other: there a restart is the end of this process alone.
    fn fail(action: &str) {
        assert_eq!(std::process::id(), 1, "not in a name space of its own");
        let _ = log::set_logger(&ToStderr);
        log::set_max_level(log::LevelFilter::Info);
        let action = match action {
            "reboot" => EndAction::Reboot,
            _ => EndAction::PowerOff,
        };
        catch_panics(EndSettings { shell: false, panic_s: Some(1), action });
        let none: [u8; 0] = [];
        let _ = none[std::hint::black_box(7)];
    }

    /// In a user's name space nobody may restart the machine; in one of processes
    /// reboot(2) ends its first with a signal that says which end was meant.
    #[test]
    fn a_failure_of_the_agent_itself_says_where_and_ends_as_it_was_told() {
        if let Ok(action) = std::env::var(ACTION) {
            return fail(&action);
        }
        let own = std::env::current_exe().unwrap();
        for (action, verb, signal) in
            [("reboot", "rebooting", SIGHUP), ("poweroff", "powering off", SIGINT)]
        {
            let mut child = Command::new("unshare");
            child.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]);
            child.arg(&own).args(["--exact", NAME, "--nocapture"]).env(ACTION, action);
            let ended = child.output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            let place = format!("said: xget itself failed: panicked at {}:", file!());
            for words in [place, "index out of bounds".into(), format!("said: {verb} in 1 s")] {
                assert!(said.contains(&words), "{words}: {said}");
            }
            assert!(said.contains(&format!("said: {verb} now")), "{said}");
            let as_status = ended.status.code().map(|code| code - 128);
            assert_eq!(ended.status.signal().or(as_status), Some(signal), "{said}");
        }
    }
}
