//! The init of the tiny root that quick scenarios boot: it says what it finds.
//!
//! Who it is, what it was given, where it is, what its files hold. It stays for
//! `lab.stay=SECONDS`, so that others may fetch from what serves beside it, and
//! switches the machine off. Compiled by lab/images.py with rustc alone.

use std::ffi::{CString, c_char, c_int};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn reboot(command: c_int) -> c_int;
    fn sync();
    fn lgetxattr(path: *const c_char, name: *const c_char, value: *mut u8, size: usize) -> isize;
}

/// RB_POWER_OFF of reboot(2).
const POWER_OFF: c_int = 0x4321_fedc;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("({error})")).trim().to_string()
}

/// The value of an extended attribute, in hexadecimal digits.
fn xattr(path: &str, name: &str) -> String {
    let (path, name) = (CString::new(path).unwrap(), CString::new(name).unwrap());
    let mut value = [0u8; 256];
    // SAFETY: both strings end in a NUL, and the value has as much room as is said.
    let len = unsafe { lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr(), value.len()) };
    match usize::try_from(len) {
        Ok(len) => value[..len].iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) => "none".into(),
    }
}

fn say(text: &str) {
    println!("root system: {text}");
}

fn word(line: &str, name: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// Processes of the agent's that go on beside this one, by this name.
fn agents(name: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let paths = processes.map(|process| process.path().display().to_string());
    paths.filter(|path| read(&format!("{path}/comm")) == name).collect()
}

fn serving() -> usize {
    agents("xget-serving").len()
}

/// What each of them has given up.
fn say_what_agents_may() {
    for name in ["xget-serving", "xget-cache"] {
        for path in agents(name) {
            let status = read(&format!("{path}/status"));
            let kept = ["CapEff:", "NoNewPrivs:", "Seccomp:"];
            let lines = status.lines().filter(|line| kept.iter().any(|name| line.starts_with(name)));
            let said: Vec<String> = lines.map(|line| line.replace('\t', " ")).collect();
            say(&format!("{name} {}", said.join(" ")));
        }
    }
}

fn say_what_is_here() {
    let line = read("/proc/cmdline");
    say(&format!("host {}", read("/proc/sys/kernel/hostname")));
    say(&format!("process {}", std::process::id()));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    say(&format!("arguments {}", arguments.join(" ")));
    say(&format!("HOME {:?} TERM {:?}", std::env::var("HOME"), std::env::var("TERM")));
    say(&format!("loader {:#x}", read("/proc/sys/kernel/bootloader_type").parse().unwrap_or(0) >> 4));
    say(&format!("command line {line}"));
    let descriptors = fs::read_dir("/proc/self/fd").map_or(0, |names| names.count());
    // The listing's own is one of them.
    say(&format!("descriptors {}", descriptors.saturating_sub(1)));
    let limits = read("/proc/self/limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or("");
    say(&files.split_whitespace().collect::<Vec<_>>().join(" "));
    for mount in read("/proc/mounts").lines() {
        say(&format!("mount {mount}"));
    }
    for path in ["/etc/motd", "/etc/hostname", "/etc/layer", "/etc/own", "/lib64/ld", "/big/sum"] {
        say(&format!("file {path}: {}", read(path)));
    }
    for path in ["/", "/etc", "/usr/lib64", "/etc/secret"] {
        if let Ok(status) = fs::metadata(path) {
            say(&format!("mode {path} {:o} {} {}", status.mode(), status.uid(), status.gid()));
        }
    }
    if let Ok(status) = fs::metadata("/big/disk") {
        // Blocks of 512 bytes, whatever those of the file system (stat(2)).
        say(&format!("size /big/disk {} {}", status.size(), status.blocks()));
    }
    for path in ["/etc/null", "/etc/fifo"] {
        if let Ok(status) = fs::symlink_metadata(path) {
            let (uid, gid, device) = (status.uid(), status.gid(), status.rdev());
            say(&format!("mode {path} {:o} {uid} {gid} device {device:#x}", status.mode()));
        }
    }
    for (path, name) in [
        ("/usr/sbin/init", "security.capability"),
        ("/etc", "system.posix_acl_default"),
        ("/etc/layer", "system.posix_acl_access"),
    ] {
        say(&format!("xattr {path} {name}: {}", xattr(path, name)));
    }
    for line in read("/run/xget/node").lines() {
        say(&format!("node {line}"));
    }
    if let Ok(status) = fs::metadata("/run/xget/keep") {
        say(&format!("mode /run/xget/keep {:o}", status.mode()));
    }
    for line in read("/run/xget/keep").lines() {
        say(&format!("keep {line}"));
    }
    for name in ["MemTotal:", "MemAvailable:", "Shmem:"] {
        let text = read("/proc/meminfo");
        let found = text.lines().find(|line| line.starts_with(name)).unwrap_or("").to_string();
        say(&format!("memory {found}"));
    }
    say(&format!("writes {:?}", fs::write("/written", "x").is_ok()));
    say(&format!("serving {}", serving()));
    say_what_agents_may();
    say("up");
}

fn main() {
    // What the kernel says would end up within lines of ours.
    let _ = fs::write("/proc/sys/kernel/printk", "3");
    say_what_is_here();
    let line = read("/proc/cmdline");
    let until = Instant::now() + Duration::from_secs(word(&line, "lab.stay").unwrap_or(0));
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(500));
    }
    say(&format!("still serving {}", serving()));
    say("switching off");
    // SAFETY: neither takes a pointer; the machine has no disk to damage.
    unsafe {
        sync();
        reboot(POWER_OFF);
    }
    // As PID 1 it must not end.
    loop {
        std::thread::park();
    }
}
