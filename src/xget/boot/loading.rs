//! A checked image into the kernel: sealed in memory, and loaded.
//!
//! The kernel reads the files, hashes them with SHA-256, and copies them to
//! where they stay (kernel/kexec_file.c): of a large initrd that takes seconds,
//! so it is done by another process, and this one says so and goes on with what
//! has to be done at least once a second.

use super::image::{self, ImageFiles};
use crate::os::kexec::{self, Sealed};
use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub const LOADED: &str = "/sys/kernel/kexec_loaded";
/// Another load may be going on for a moment (EBUSY).
const LOADS_MAX: u32 = 5;
const LOAD_PAUSE_MS: u64 = 200;
/// How long is waited for the answer between two ticks.
const TICK_MS: u64 = 250;
/// A line about what is waited for.
const LINE: Duration = Duration::from_secs(5);
/// A load that takes longer has gone wrong: 4 GiB take a minute on slow machines.
const LOAD_TIME_MAX: Duration = Duration::from_secs(600);

/// Seals the bytes and gives them to the kernel. `tick` is called at least once
/// a second, but for the copying within memory.
#[inline(never)]
pub fn load(
    directory: &Path,
    files: &ImageFiles,
    cmdline: &CStr,
    tick: &mut dyn FnMut(),
) -> Result<(), String> {
    let began = Instant::now();
    let sealing = |error: io::Error| format!("cannot take the image's files: {error}");
    let kernel = Sealed::adopt(&directory.join("kernel")).map_err(sealing)?;
    let initrd = seal(c"initrd", directory, &files.initrds, tick).map_err(sealing)?;
    let mib = (kernel.len() + initrd.len()) >> 20;
    let sealed_ms = began.elapsed().as_millis() as u64;
    log::info!("loading {mib} MiB: the kernel hashes and copies them");
    let mut loads = 1;
    while let Err(error) = load_once(&kernel, &initrd, cmdline, tick) {
        if error.raw_os_error() != Some(libc::EBUSY) || loads == LOADS_MAX {
            return Err(format!("{}: {error}", kexec::reason(&error)));
        }
        loads += 1;
        std::thread::sleep(Duration::from_millis(LOAD_PAUSE_MS));
    }
    let loaded_ms = began.elapsed().as_millis() as u64 - sealed_ms;
    log::info!("loaded in {loaded_ms} ms, {sealed_ms} ms of joining before it");
    match fs::read_to_string(LOADED) {
        Ok(text) if text.trim() == "1" => Ok(()),
        _ => Err(format!("the kernel took it, but {LOADED} is not 1")),
    }
}

fn load_once(
    kernel: &Sealed,
    initrd: &Sealed,
    cmdline: &CStr,
    tick: &mut dyn FnMut(),
) -> io::Result<()> {
    let initrd_file = (!initrd.is_empty()).then(|| initrd.file());
    let mut loading = kexec::begin_load(kernel.file(), initrd_file, cmdline)?;
    let (began, mut said) = (Instant::now(), Instant::now());
    loop {
        if let Some(answer) = loading.wait(TICK_MS) {
            return answer;
        }
        tick();
        if began.elapsed() > LOAD_TIME_MAX {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        if said.elapsed() >= LINE {
            said = Instant::now();
            log::info!("loading ({} s)", began.elapsed().as_secs());
        }
    }
}

/// Joins files into one that cannot change; the files are gone then. One alone
/// is taken as it is: a copy of 108 MiB takes half a second of the load's four
/// under emulation.
fn seal(
    name: &CStr,
    directory: &Path,
    names: &[String],
    tick: &mut dyn FnMut(),
) -> io::Result<Sealed> {
    if let [file] = names {
        return Sealed::adopt(&directory.join(file));
    }
    let mut sealed = Sealed::new(name)?;
    for file in names {
        if !sealed.is_empty() {
            sealed.write(&[0; image::PADDING_MAX][..image::padding(sealed.len())])?;
        }
        sealed.take(&directory.join(file))?;
        tick();
    }
    sealed.seal()?;
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::io::Read;

    #[test]
    fn initrds_are_joined_at_multiples_of_four() {
        let dir = Dir::new();
        let path = dir.path();
        fs::write(path.join("initrd"), "abcde").unwrap();
        fs::write(path.join("initrd.node"), "fgh").unwrap();
        let sealed =
            seal(c"test", path, &["initrd".into(), "initrd.node".into()], &mut || {}).unwrap();
        let mut bytes = Vec::new();
        sealed.file().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"abcde\0\0\0\0\0\0\0fgh");
        assert_eq!(fs::read_dir(path).unwrap().count(), 0);
    }
}
