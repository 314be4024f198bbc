//! The first process of an initramfs in which something goes on beside the agent:
//! it starts itself once more for that, and becomes the agent, which is in /agent.
//!
//! What goes on, `lab.beside=` says: `unload` takes the next kernel away again as
//! soon as it is loaded, so that there is nothing to start. As /sbin/modprobe it is
//! the agent. Compiled by lab/images.py with rustc alone.

use std::ffi::{c_int, c_long, c_ulong};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

const AGENT: &str = "/agent/init";
const BESIDE: &str = "beside";
const LOADED: &str = "/sys/kernel/kexec_loaded";
/// What the agent says to the master between load and start takes many of these.
const LOOK: Duration = Duration::from_millis(1);
/// kexec_file_load(2), and KEXEC_FILE_UNLOAD of linux/kexec.h.
const KEXEC_FILE_LOAD: c_long = 320;
const UNLOAD: c_ulong = 1;

/// Waits for a file that the agent's mounts bring, or for what it is to hold.
fn await_text(path: &str, text: &str) {
    while !fs::read_to_string(path).is_ok_and(|found| found.contains(text)) {
        sleep(LOOK);
    }
}

fn unload() {
    await_text(LOADED, "1");
    let none: c_int = -1;
    // SAFETY: with this flag the kernel looks at none of the other arguments.
    let result = unsafe { syscall(KEXEC_FILE_LOAD, none, none, 0 as c_ulong, 0 as c_ulong, UNLOAD) };
    let _ = fs::write("/dev/kmsg", format!("beside: unloaded, {result}\n"));
}

fn main() {
    let name = std::env::args().next().unwrap_or_default();
    if name == BESIDE {
        await_text("/proc/cmdline", "\n");
        let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        if line.split_whitespace().any(|word| word == "lab.beside=unload") {
            unload();
        }
        return;
    }
    if name == "/init" {
        let _ = Command::new("/init").arg0(BESIDE).spawn();
    }
    let error = Command::new(AGENT).arg0(&name).args(std::env::args_os().skip(1)).exec();
    println!("beside: cannot become {AGENT}: {error}");
}
