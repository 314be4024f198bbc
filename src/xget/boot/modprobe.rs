//! What the kernel itself asks for while this boot goes on: `request_module`
//! starts /sbin/modprobe, which in the initramfs is this program.
//!
//! The same look-up as for devices, the same blacklist and parameters. No
//! network, nothing on a console, one process a request; what was loaded or
//! failed is in the kernel's log.

use super::cmdline::Cmdline;
use super::console;
use super::drivers::Drivers;
use super::settings::Settings;
use std::env::ArgsOs;
use std::process::ExitCode;

/// `modprobe -q -- ALIAS` (kernel/module/kmod.c, call_modprobe). Other options
/// are of no use here. Status 1: it is not there, or could not be loaded.
#[inline(never)]
pub fn run(arguments: ArgsOs) -> ExitCode {
    // Before PID 1 has mounted /proc nobody knows what must not be loaded.
    let Ok(text) = std::fs::read("/proc/cmdline") else { return ExitCode::FAILURE };
    console::install_silent();
    let line = Cmdline::parse(&String::from_utf8_lossy(&text));
    let mut drivers = Drivers::open(&line, &Settings::of(&line).modules_never);
    let mut found = false;
    for name in arguments.skip(1) {
        let name = name.to_string_lossy();
        if name.starts_with('-') {
            continue;
        }
        if !drivers.request(&name) {
            return ExitCode::FAILURE;
        }
        log::debug!("the kernel asked for {name}");
        found = true;
    }
    if found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
