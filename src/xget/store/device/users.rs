//! Who uses a device: what is mounted of it, swapped to, or made of it and its partitions.
//!
//! The kernel says whether it is in use (`O_EXCL`); this says by whom, in words. What cannot be
//! found out is left out.

use crate::os::{block, file};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Users that are named; the others are counted.
const NAMED_MAX: usize = 4;

/// Whom to ask: /proc and /sys, or what stands for them in a test.
pub struct Sources<'a> {
    pub proc: &'a Path,
    pub sys: &'a Path,
    /// Which block device a path is, as the manifest has it.
    pub device_at: fn(&Path) -> Option<u32>,
}

impl Sources<'static> {
    pub fn of_system() -> Sources<'static> {
        Sources { proc: Path::new("/proc"), sys: Path::new("/sys"), device_at }
    }
}

fn device_at(path: &Path) -> Option<u32> {
    file::stat_path(path).ok().filter(|status| status.is_block_device()).map(|s| s.device)
}

/// A device and its partitions: number and name each.
type Parts = Vec<(u32, String)>;

/// Who uses a device or one of its partitions, in words; nothing where nobody is found.
pub fn users_of(device: u32, from: &Sources) -> Option<String> {
    let parts = parts_of(device, from);
    let mut users = mounts(&parts, from);
    users.extend(swaps(&parts, from));
    users.extend(holders(&parts, from));
    let more = users.len().saturating_sub(NAMED_MAX);
    users.truncate(NAMED_MAX);
    if more > 0 {
        users.push(format!("{more} more"));
    }
    (!users.is_empty()).then(|| users.join(", "))
}

fn directory(device: u32, from: &Sources) -> PathBuf {
    let (major, minor) = block::numbers(device);
    from.sys.join(format!("dev/block/{major}:{minor}"))
}

fn parts_of(device: u32, from: &Sources) -> Parts {
    let dir = directory(device, from);
    let real = fs::canonicalize(&dir).unwrap_or_else(|_| dir.clone());
    let name_of = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut parts = vec![(device, name_of(&real))];
    for inner in fs::read_dir(&dir).into_iter().flatten().flatten() {
        let path = inner.path();
        if path.join("partition").exists()
            && let Some(number) = number_in(&path.join("dev"))
        {
            parts.push((number, name_of(&path)));
        }
    }
    parts
}

/// `MAJOR:MINOR` as a file has it.
fn number_in(path: &Path) -> Option<u32> {
    parse_number(fs::read_to_string(path).ok()?.trim())
}

fn parse_number(text: &str) -> Option<u32> {
    let (major, minor) = text.split_once(':')?;
    block::of_numbers(major.parse().ok()?, minor.parse().ok()?)
}

fn name_in(parts: &Parts, device: u32) -> Option<&str> {
    parts.iter().find(|(number, _)| *number == device).map(|(_, name)| name.as_str())
}

/// proc_pid_mountinfo(5): the device's numbers are the third word, the mount point the fifth,
/// and the source the second behind the `-`. btrfs has numbers of its own, and a right source.
fn mounts(parts: &Parts, from: &Sources) -> Vec<String> {
    let table = fs::read(from.proc.join("self/mountinfo")).unwrap_or_default();
    let line = |line: &[u8]| {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let text = |word: Option<&&[u8]>| word.map(|word| plain(word));
        let numbers = text(words.get(2))?;
        let dash = words.iter().position(|word| *word == b"-")?;
        let by_number = parse_number(&numbers.to_string_lossy());
        let by_source = || {
            let source = text(words.get(dash + 2))?;
            source.is_absolute().then(|| (from.device_at)(&source)).flatten()
        };
        let name = by_number
            .and_then(|number| name_in(parts, number))
            .or_else(|| name_in(parts, by_source()?))?;
        Some(format!("{name} is mounted at {}", text(words.get(4))?.display()))
    };
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// Blanks and backslashes in these tables are octal: `\040`.
fn plain(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    std::ffi::OsString::from_vec(bytes).into()
}

fn swaps(parts: &Parts, from: &Sources) -> Vec<String> {
    let table = fs::read(from.proc.join("swaps")).unwrap_or_default();
    let lines = table.split(|byte| *byte == b'\n').skip(1);
    let paths = lines.filter_map(|line| line.split(|byte| *byte == b' ').next()).map(plain);
    let found = paths.filter_map(|path| name_in(parts, (from.device_at)(&path)?));
    found.map(|name| format!("{name} is swap")).collect()
}

/// What is made of it: device mapper, RAID, and loop devices over it.
fn holders(parts: &Parts, from: &Sources) -> Vec<String> {
    let mut users = Vec::new();
    for (number, name) in parts {
        let held = fs::read_dir(directory(*number, from).join("holders"));
        for holder in held.into_iter().flatten().flatten() {
            let holder = holder.file_name();
            users.push(format!("{name} is part of {}", known_as(&holder, from)));
        }
    }
    for entry in fs::read_dir(from.sys.join("block")).into_iter().flatten().flatten() {
        let backing = fs::read(entry.path().join("loop/backing_file")).unwrap_or_default();
        let path = Path::new(OsStr::from_bytes(backing.trim_ascii_end()));
        if path.is_absolute()
            && let Some(name) = (from.device_at)(path).and_then(|n| name_in(parts, n))
        {
            users.push(format!("{name} is behind {}", entry.file_name().to_string_lossy()));
        }
    }
    users
}

/// `dm-0` says little: the name that device mapper has for it says more.
fn known_as(holder: &OsStr, from: &Sources) -> String {
    let holder = holder.to_string_lossy();
    let named = fs::read_to_string(from.sys.join(format!("block/{holder}/dm/name")));
    match named {
        Ok(name) if !name.trim().is_empty() => format!("{holder} ({})", name.trim()),
        _ => holder.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::os::unix::fs::symlink;

    /// A disk sda of three partitions, as /sys shows it.
    fn system() -> Dir {
        let dir = Dir::new();
        for (part, numbers) in [("sda1", "8:1\n"), ("sda2", "8:2\n"), ("sda3", "8:3\n")] {
            dir.write(&format!("sys/devices/sda/{part}/partition"), b"1\n");
            dir.write(&format!("sys/devices/sda/{part}/dev"), numbers.as_bytes());
        }
        dir.write("sys/devices/sda/sda2/holders/dm-0", b"");
        dir.write("sys/devices/sda/holders/md7", b"");
        dir.write("sys/block/dm-0/dm/name", b"vg-root\n");
        std::fs::create_dir_all(dir.join("sys/dev/block")).unwrap();
        for (numbers, at) in [("8:0", "sda"), ("8:2", "sda/sda2"), ("8:1", "sda/sda1")] {
            let at = format!("../../devices/{at}");
            symlink(at, dir.join("sys/dev/block").join(numbers)).unwrap();
        }
        dir.write("proc/swaps", b"Filename Type Size Used Priority\n/dev/sda3 partition 9 0 -2\n");
        let mounts = b"22 1 8:1 / /boot\\040dir rw - ext4 /dev/sda1 rw\n\
              23 1 0:40 / /data rw shared:1 - btrfs /dev/sda2 rw\n\
              24 1 8:17 / /other rw - ext4 /dev/sdb1 rw\n25 1 0:5 / /proc rw - proc proc rw\nx\n";
        dir.write("proc/self/mountinfo", mounts);
        dir.write("sys/block/loop3/loop/backing_file", b"/dev/sda1\n");
        dir
    }

    fn device_at(path: &Path) -> Option<u32> {
        let last = path.to_str()?.strip_prefix("/dev/sda")?;
        block::of_numbers(8, last.parse().unwrap_or(0))
    }

    #[test]
    fn who_uses_a_disk_is_named() {
        let dir = system();
        let (proc, sys) = (dir.join("proc"), dir.join("sys"));
        let from = Sources { proc: &proc, sys: &sys, device_at };
        let of = |minor| users_of(block::of_numbers(8, minor).unwrap(), &from);
        assert_eq!(of(1).unwrap(), "sda1 is mounted at /boot dir, sda1 is behind loop3");
        assert_eq!(of(2).unwrap(), "sda2 is mounted at /data, sda2 is part of dm-0 (vg-root)");
        assert_eq!(of(9), None);
        let all = of(0).unwrap();
        for words in ["sda1 is mounted at /boot dir", "sda2 is mounted", "sda3 is swap", "2 more"] {
            assert!(all.contains(words), "{words}: {all}");
        }
        assert!(all.contains("md7") || all.contains("dm-0"), "{all}");
    }

    #[test]
    fn nothing_is_known_where_nothing_can_be_read() {
        let from = Sources { proc: Path::new("/none"), sys: Path::new("/none"), device_at };
        assert_eq!(users_of(block::of_numbers(8, 0).unwrap(), &from), None);
    }
}
