//! The first process of an initramfs in which something goes on beside the agent:
//! it starts itself once more for that, and becomes the agent, which is in /agent.
//!
//! What goes on, `lab.beside=` says: `unload` takes the next kernel away again when
//! the agent says that it starts it, so that there is nothing to start (the kernel's
//! log has to take every line: `printk.devkmsg=on`). As /sbin/modprobe it is the
//! agent. Compiled by lab/images.py with rustc alone.

use std::ffi::{c_int, c_long, c_ulong};
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

const AGENT: &str = "/agent/init";
const BESIDE: &str = "beside";
const LOG: &str = "/dev/kmsg";
/// Of the agent's line. Between it and the start the master is told: packets go and come.
const STARTS: &str = " by kexec";
const RECORD_LEN_MAX: usize = 8192;
const LOOK: Duration = Duration::from_millis(1);
/// kexec_file_load(2), and KEXEC_FILE_UNLOAD of linux/kexec.h.
const KEXEC_FILE_LOAD: c_long = 320;
const UNLOAD: c_ulong = 1;

/// Waits for what the agent's mounts bring.
fn await_file(path: &str) -> fs::File {
    loop {
        match fs::File::open(path) {
            Ok(file) => return file,
            Err(_) => sleep(LOOK),
        }
    }
}

/// Waits until the kernel's log has this; one read is one record.
fn await_line(words: &str) {
    let (mut log, mut record) = (await_file(LOG), [0; RECORD_LEN_MAX]);
    loop {
        // An error is a record that was overwritten meanwhile.
        let len = log.read(&mut record).unwrap_or(0);
        if String::from_utf8_lossy(&record[..len]).contains(words) {
            return;
        }
    }
}

fn unload() {
    await_line(STARTS);
    let none: c_int = -1;
    // SAFETY: with this flag the kernel looks at none of the other arguments.
    let result =
        unsafe { syscall(KEXEC_FILE_LOAD, none, none, 0 as c_ulong, 0 as c_ulong, UNLOAD) };
    let _ = fs::write(LOG, format!("beside: unloaded, {result}\n"));
}

fn main() {
    let name = std::env::args().next().unwrap_or_default();
    if name == BESIDE {
        let mut line = String::new();
        let _ = await_file("/proc/cmdline").read_to_string(&mut line);
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
