//! What fetches at a master: `/.xget/status`, as docs/protocol.md has it.
//!
//! Of each address how far its fetches are. Knows nothing of nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The fetches of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetches {
    /// Of all that go on.
    pub have_bytes: u64,
    pub total_bytes: u64,
    /// None goes on, and the last one broke off.
    pub is_lost: bool,
    count: u32,
    is_through: bool,
}

/// Those that go on come first, then those that are over, the last one last. What is no such
/// line is passed over.
pub fn parse(text: &str) -> BTreeMap<IpAddr, Fetches> {
    let mut all: BTreeMap<IpAddr, Fetches> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().and_then(|word| word.rsplit_once('!')?.0.parse::<IpAddr>().ok());
        let (Some(ip), Some(state)) = (address, words.next()) else { continue };
        let mut bytes = || words.next()?.parse::<u64>().ok();
        let (Some(have), Some(total)) = (bytes(), bytes()) else { continue };
        let of_ip = all.entry(ip.to_canonical()).or_default();
        match state {
            "fetching" => {
                of_ip.count += 1;
                of_ip.have_bytes = of_ip.have_bytes.saturating_add(have);
                of_ip.total_bytes = of_ip.total_bytes.saturating_add(total);
            }
            "serving" => of_ip.is_through = true,
            _ => of_ip.is_lost = state == "lost" && of_ip.count == 0 && !of_ip.is_through,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetches_of_an_address_are_added_up_and_the_last_that_is_over_counts() {
        let all = parse(
            "# address state have_bytes total_bytes from_master_bytes\n\
             10.0.0.1!20004 fetching 10 100 0 0 0 me\n10.0.0.1!7 fetching 5 50 0 0 0 -\n\
             10.0.0.2!7 serving 5 5 0 0 0 -\n::ffff:10.0.0.3!7 lost 5 9 0 0 0 -\n\
             10.0.0.1!7 lost 0 9 0\n10.0.0.2!7 lost 0 9 0\n10.0.0.4!7 lost 0 9\n\
             10.0.0.4!7 done 9 9\nrubbish\n10.0.0.5 fetching 1 1\n10.0.0.5!1 fetching x 1\nfd00::1!2 lost 1 2\n",
        );
        let of = |ip: &str| all.get(&ip.parse::<IpAddr>().unwrap()).copied();
        let one = of("10.0.0.1").unwrap();
        assert_eq!((one.have_bytes, one.total_bytes, one.is_lost), (15, 150, false));
        let lost =
            ["10.0.0.2", "10.0.0.3", "10.0.0.4", "fd00::1"].map(|ip| of(ip).unwrap().is_lost);
        assert_eq!(lost, [false, true, false, true]);
        assert_eq!(of("10.0.0.5"), None);
    }
}
