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

/// What was not said, or not answered, and since when.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    count: u64,
    since_ms: u64,
}

impl Tally {
    pub fn add(&mut self, now_ms: u64) {
        if self.count == 0 {
            self.since_ms = now_ms;
        }
        self.count += 1;
    }

    fn due_ms(&self) -> Option<u64> {
        (self.count > 0).then_some(self.since_ms + TALLY_MS)
    }

    /// How many they are, in its time.
    pub fn poll(&mut self, now_ms: u64) -> Option<u64> {
        self.due_ms().filter(|due_ms| *due_ms <= now_ms)?;
        Some(core::mem::take(&mut self.count))
    }
}

/// What was said of an address is not said again for so long.
const REPEAT_MS: u64 = 60_000;

/// What a line costs, in whole milliseconds.
const LINE_MS: u64 = 1_000 / LINES_PER_S;

#[derive(Debug)]
struct Voice {
    /// `None`: all for whom there is no place of their own.
    ip: Option<IpAddr>,
    rate: Rate,
    /// Lines that were not said.
    unsaid: Tally,
    /// What was said of it last that may repeat, and when.
    said: Option<(&'static str, u64)>,
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
        voice.unsaid.add(now_ms);
        false
    }

    /// The same of what is said once, as long as it is the same.
    pub fn may_say_anew(&mut self, now_ms: u64, ip: IpAddr, what: &'static str) -> bool {
        let voice = self.voice(now_ms, ip);
        let is_known = |(said, at_ms)| said == what && now_ms < at_ms + REPEAT_MS;
        if voice.said.is_some_and(is_known) {
            voice.unsaid.add(now_ms);
            return false;
        }
        voice.said = Some((what, now_ms));
        self.may_say(now_ms, ip)
    }

    /// What this address caused last was as it should be, and does not count.
    pub fn forgive(&mut self, ip: IpAddr) {
        let ip = self.list.iter().any(|voice| voice.ip == Some(ip)).then_some(ip);
        if let Some(voice) = self.list.iter_mut().find(|voice| voice.ip == ip) {
            voice.rate.take_back(LINE_MS);
        }
    }

    #[inline(never)]
    fn voice(&mut self, now_ms: u64, ip: IpAddr) -> &mut Voice {
        let known = |list: &[Voice], ip| list.iter().rposition(|voice| voice.ip == ip);
        let is_past = |voice: &Voice| voice.unsaid.count == 0 && voice.rate.is_even(now_ms);
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
            None => {
                let (rate, unsaid) = Default::default();
                self.list.push(Voice { ip, rate, unsaid, said: None });
            }
        }
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// When something is to be said of lines that were not.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.list.iter().filter_map(|voice| voice.unsaid.due_ms()).min()
    }

    /// An address of which lines were not said, and how many: each in its time.
    pub fn poll_unsaid(&mut self, now_ms: u64) -> Option<(Option<IpAddr>, u64)> {
        self.list.iter_mut().find_map(|voice| Some((voice.ip, voice.unsaid.poll(now_ms)?)))
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
    fn the_same_of_an_address_is_said_once_in_a_while_and_counted() {
        let mut voices = Voices::default();
        let mut said = |now_ms, last, what| voices.may_say_anew(now_ms, ip(last), what);
        assert_eq!((0..400).filter(|_| said(50, 1, "no key")).count(), 1);
        assert!(said(50, 2, "no key") && said(60, 1, "another key"));
        assert!(!said(60_059, 1, "another key") && said(60_060, 1, "another key"));
        assert_eq!(voices.poll_unsaid(60_060), Some((Some(ip(1)), 400)));
    }

    #[test]
    fn what_is_forgiven_does_not_count() {
        let mut voices = Voices::default();
        for number in 0..10_000 {
            assert!(voices.may_say(0, ip(1)) && voices.may_say(0, ip(number)), "{number}");
            voices.forgive(ip(1));
            voices.forgive(ip(number));
        }
        voices.forgive(ip(1));
        assert_eq!(said(&mut voices, 0, ip(1), 300), 200, "no credit follows from it");
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
