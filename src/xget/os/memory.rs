//! How much memory this process may still take: proc_meminfo(5), the limit of its
//! control group (cgroups(7), version 2) and its own (getrlimit(2), RLIMIT_AS).
//!
//! Refuses to know what it is for. It is what can be had now; nobody keeps it for us.

use nix::sys::resource::{Resource, getrlimit};
use std::fs;

/// Bytes that may be taken, as far as anybody says.
pub fn available() -> u64 {
    let own = getrlimit(Resource::RLIMIT_AS).map_or(u64::MAX, |(soft, _)| soft);
    let own = own.saturating_sub(address_space());
    of_all("MemAvailable:").unwrap_or(u64::MAX).min(free_in_group().unwrap_or(u64::MAX)).min(own)
}

/// What we take of the address space now.
fn address_space() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    // In pages, and a page has at least so many bytes.
    statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn of_all(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn free_in_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let figure = |name: &str| {
        let text = fs::read_to_string(format!("/sys/fs/cgroup{path}/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    // Without a limit it says `max`.
    Some(figure("memory.max")?.saturating_sub(figure("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_some_memory_and_less_than_all_there_can_be() {
        let bytes = available();
        assert!((1 << 20..1 << 50).contains(&bytes), "{bytes}");
        // What is free is another figure with each look.
        assert!(of_all("MemTotal:").is_some_and(|all| bytes <= all) && address_space() > 0);
        assert!(of_all("MemAvailable:").is_some());
    }
}
