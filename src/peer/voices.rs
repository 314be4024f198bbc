//! How many lines for the operator somebody else may cause.
//!
//! Knows each address that caused some lately, what is left of its rate, and how many
//! were not said. Refuses to know what they say.

use crate::rate::Rate;
use alloc::vec::Vec;
use core::net::IpAddr;

/// Lines of one address that are said at once, and a second after that.
const LINES_MAX: u64 = 200;
const LINES_PER_S: u64 = 10;
/// Addresses that are known at a time; those beyond have one rate together.
const VOICES_MAX: usize = 256;
/// So long after the first line that was not said it is said how many they are.
const TALLY_MS: u64 = 5_000;

/// What a line costs, in whole milliseconds.
const LINE_MS: u64 = 1_000 / LINES_PER_S;

#[derive(Debug)]
struct Voice {
    /// `None`: all for whom there is no place of their own.
    ip: Option<IpAddr>,
    rate: Rate,
    /// Lines that were not said, and since when.
    unsaid: u64,
    unsaid_ms: u64,
}

/// The most recent last.
#[derive(Debug, Default)]
pub(crate) struct Voices {
    list: Vec<Voice>,
}

impl Voices {
    /// Whether a line that this address caused is to be said.
    pub fn may_say(&mut self, now_ms: u64, ip: IpAddr) -> bool {
        let voice = self.voice(now_ms, ip);
        if voice.rate.allows(now_ms, LINE_MS, LINES_MAX) {
            return true;
        }
        if voice.unsaid == 0 {
            voice.unsaid_ms = now_ms;
        }
        voice.unsaid += 1;
        false
    }

    fn voice(&mut self, now_ms: u64, ip: IpAddr) -> &mut Voice {
        let known = |list: &[Voice], ip| list.iter().rposition(|voice| voice.ip == ip);
        let is_past = |voice: &Voice| voice.unsaid == 0 && voice.rate.is_even(now_ms);
        let mut ip = Some(ip);
        let mut at = known(&self.list, ip);
        if at.is_none() && self.list.len() >= VOICES_MAX {
            match self.list.iter().position(is_past) {
                Some(past) => drop(self.list.remove(past)),
                None => (ip, at) = (None, known(&self.list, None)),
            }
        }
        match at {
            Some(at) => self.list[at..].rotate_left(1),
            None => self.list.push(Voice { ip, rate: Rate::default(), unsaid: 0, unsaid_ms: 0 }),
        }
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// When something is to be said of lines that were not.
    pub fn deadline_ms(&self) -> Option<u64> {
        let unsaid = self.list.iter().filter(|voice| voice.unsaid > 0);
        unsaid.map(|voice| voice.unsaid_ms + TALLY_MS).min()
    }

    /// An address of which lines were not said, and how many: each in its time.
    pub fn poll_unsaid(&mut self, now_ms: u64) -> Option<(Option<IpAddr>, u64)> {
        let mut due = self.list.iter_mut();
        let voice = due.find(|voice| voice.unsaid > 0 && now_ms >= voice.unsaid_ms + TALLY_MS)?;
        Some((voice.ip, core::mem::take(&mut voice.unsaid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn said(voices: &mut Voices, now_ms: u64, ip: IpAddr, count: u64) -> u64 {
        (0..count).filter(|_| voices.may_say(now_ms, ip)).count() as u64
    }

    #[test]
    fn an_address_has_200_lines_and_10_a_second_and_hurts_no_other() {
        let mut voices = Voices::default();
        assert_eq!(said(&mut voices, 50, ip(1), 164_000), 200);
        assert_eq!(said(&mut voices, 50, ip(2), 5), 5);
        assert_eq!(said(&mut voices, 1_050, ip(1), 99), 10);
        assert_eq!(voices.deadline_ms(), Some(5_050));
        assert_eq!(voices.poll_unsaid(5_049), None);
        assert_eq!(voices.poll_unsaid(5_050), Some((Some(ip(1)), 163_889)));
        assert_eq!((voices.poll_unsaid(5_050), voices.deadline_ms()), (None, None));
        assert_eq!(said(&mut voices, 90_000, ip(1), 300), 200, "it was quiet");
    }

    #[test]
    fn addresses_beyond_have_one_rate_together() {
        let mut voices = Voices::default();
        assert!((0..VOICES_MAX as u32).all(|number| voices.may_say(0, ip(number))));
        let many = 1_000..3_000;
        assert_eq!(many.filter(|number| voices.may_say(0, ip(*number))).count(), 200);
        assert_eq!(voices.list.len(), VOICES_MAX + 1);
        assert!(voices.may_say(0, ip(3)), "who is known is heard");
        assert_eq!(voices.poll_unsaid(5_000), Some((None, 1_800)));
        // Who said all it had to say makes room.
        assert!(voices.may_say(5_000, ip(9_999)));
        assert_eq!(voices.list[voices.list.len() - 1].ip, Some(ip(9_999)));
    }
}
