//! Handshakes that were begun with the key or a copy of what has it, and are not proved yet: how many
//! are answered, since each costs time on the curve.
//!
//! Knows addresses, times, and the beginnings of what was said lately. Refuses to know keys.

use crate::rate::Rate;
use crate::voices::{Tally, Voices};
use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv6Addr};

/// Of all addresses together at once, and a second after that: 6 % of a processor.
const TOTAL_MAX: u64 = 1_000;
const TOTAL_PER_S: u64 = 200;
const TOTAL_EACH_MS: u64 = 1_000 / TOTAL_PER_S;
/// Beginnings of greetings that are remembered, the latest: 128 KiB.
const SEEN_MAX: usize = 16_384;

/// What was heard last.
#[derive(Default)]
pub(super) struct Unproved {
    /// A point on the curve, as far as no two are the same by chance: who does not have the key
    /// cannot make another with the same beginning.
    seen: VecDeque<u64>,
    total: Rate,
    /// By address, of IPv6 by what one host may have of it.
    voices: Voices,
    /// Refused for the sake of all.
    refused: Tally,
}

/// Why one is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// It was said before.
    Copy,
    /// There are too many; who comes again is answered.
    Busy,
}

impl Unproved {
    /// Whether what begins like this is to be answered now: once.
    pub fn hear(&mut self, now_ms: u64, ip: IpAddr, said: &[u8; 8]) -> Result<(), Unanswered> {
        let beginning = u64::from_le_bytes(*said);
        if self.seen.contains(&beginning) {
            return Err(Unanswered::Copy);
        }
        if !self.total.allows(now_ms, TOTAL_EACH_MS, TOTAL_MAX) {
            self.refused.add(now_ms);
            return Err(Unanswered::Busy);
        }
        if !self.voices.may_say(now_ms, network(ip)) {
            self.total.take_back(TOTAL_EACH_MS);
            return Err(Unanswered::Busy);
        }
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(beginning);
        Ok(())
    }

    /// The last of this address was its own, and does not count.
    pub fn forgive(&mut self, ip: IpAddr) {
        self.total.take_back(TOTAL_EACH_MS);
        self.voices.forgive(network(ip));
    }

    /// Those that were not answered, in their time: of whom, if it was one, and how many.
    pub fn poll_unsaid(&mut self, now_ms: u64) -> Option<(Option<IpAddr>, u64)> {
        let refused = self.refused.poll(now_ms).map(|count| (None, count));
        refused.or_else(|| self.voices.poll_unsaid(now_ms))
    }
}

/// A host has as many addresses of its /64 as it likes.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    /// So many that differ, each of the address that `of` says; how many were answered.
    fn answered(
        unproved: &mut Unproved,
        now_ms: u64,
        numbers: core::ops::Range<u64>,
        of: impl Fn(u64) -> IpAddr,
    ) -> usize {
        let is_answered = |n: &u64| unproved.hear(now_ms, of(*n), &n.to_le_bytes()).is_ok();
        numbers.filter(is_answered).count()
    }

    #[test]
    fn what_was_said_before_is_not_answered_whoever_says_it() {
        let mut unproved = Unproved::default();
        assert_eq!(unproved.hear(0, ip(1), &[1; 8]), Ok(()));
        unproved.forgive(ip(1));
        for number in 0..10_000 {
            assert_eq!(unproved.hear(0, ip(number), &[1; 8]), Err(Unanswered::Copy));
        }
        assert_eq!(unproved.hear(0, ip(1), &[2; 8]), Ok(()), "it cost the others nothing");
        assert_eq!(unproved.poll_unsaid(99_999), None);
        // The latest are remembered, however many there are.
        let mut unproved = Unproved::default();
        for number in 0..20_000_u64 {
            assert_eq!(unproved.hear(0, ip(1), &number.to_le_bytes()), Ok(()));
            unproved.forgive(ip(1));
        }
        assert_eq!(unproved.seen.len(), SEEN_MAX);
        assert_eq!(unproved.hear(0, ip(1), &19_000_u64.to_le_bytes()), Err(Unanswered::Copy));
    }

    #[test]
    fn all_addresses_together_cost_so_much_and_no_more() {
        let mut unproved = Unproved::default();
        let of_many = |n: u64| ip(n as u32 / 9);
        assert_eq!(answered(&mut unproved, 0, 0..50_000, of_many), TOTAL_MAX as usize);
        assert_eq!(answered(&mut unproved, 1_000, 50_000..60_000, of_many), TOTAL_PER_S as usize);
        assert_eq!(unproved.poll_unsaid(4_999), None);
        assert_eq!(unproved.poll_unsaid(5_000), Some((None, 49_000 + 9_800)));
        // Later there is room for whoever comes.
        assert_eq!(unproved.hear(6_000, ip(77), &[7; 8]), Ok(()));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one() {
        let mut unproved = Unproved::default();
        let of = |net: u128| move |n: u64| Ipv6Addr::from_bits(net << 64 | u128::from(n)).into();
        assert_eq!(answered(&mut unproved, 0, 0..300, of(1)), 200);
        assert_eq!(answered(&mut unproved, 0, 300..400, of(2)), 100, "others are let in");
        let network = Ipv6Addr::from_bits(1 << 64).into();
        assert_eq!(unproved.poll_unsaid(5_000), Some((Some(network), 100)));
        assert_eq!(answered(&mut unproved, 5_000, 400..500, |n| ip(n as u32)), 100);
    }
}
