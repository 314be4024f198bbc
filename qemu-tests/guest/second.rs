//! The tiny second system: /init of the image that quick scenarios boot.
//!
//! Says who it is, which kernel it runs and what loaded that kernel, then
//! switches the machine off. Compiled by lab/images.py with rustc alone.

use std::ffi::{CString, c_char, c_int, c_ulong, c_void};
use std::fs;

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn reboot(command: c_int) -> c_int;
    fn sync();
    fn tcdrain(fd: c_int) -> c_int;
}

/// RB_POWER_OFF of reboot(2).
const POWER_OFF: c_int = 0x4321_fedc;

fn mount_proc() {
    let proc = CString::new("proc").expect("no NUL in it");
    let target = CString::new("/proc").expect("no NUL in it");
    // SAFETY: three valid C strings that outlive the call, and no data.
    unsafe { mount(proc.as_ptr(), target.as_ptr(), proc.as_ptr(), 0, std::ptr::null()) };
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

fn main() {
    mount_proc();
    let loader: u32 = read("/proc/sys/kernel/bootloader_type").parse().unwrap_or(0);
    println!("second system: host {}", read("/proc/sys/kernel/hostname"));
    println!("second system: kernel {}", read("/proc/sys/kernel/osrelease"));
    println!("second system: loader {:#x}", loader >> 4);
    println!("second system: command line {}", read("/proc/cmdline"));
    println!("second system: up, switching off");
    // SAFETY: neither takes a pointer; the machine has no disk to damage.
    unsafe {
        // The kernel's own last line would be in the middle of ours.
        tcdrain(1);
        sync();
        reboot(POWER_OFF);
    }
    // As PID 1 it must not end.
    loop {
        std::thread::park();
    }
}
