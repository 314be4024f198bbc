//! Texts that are composed when they are opened, and who reads which: each opening reads one
//! text, from its first read on, whatever is composed meanwhile.
//!
//! Knows how much of old texts is kept. Refuses to know what they say.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::String;
use ninep::Error;
use ninep::server::OpenId;
use sorted::SortedMap;

/// Bytes of texts that others have taken the place of, and that somebody reads.
const OLD_BYTES_MAX: usize = 32 << 20;
/// What the shortest of them counts for.
const TEXT_COST: usize = 4_096;

/// ESTALE.
const GONE: Error =
    Error::new(116, "too slow: this text had to make room for others; open it again");

/// What is composed when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// `/.xget/status`
    Clients,
    /// `/.xget/nodes`
    Nodes,
}

/// All reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    last: [Rc<String>; 2],
    /// Those before, the oldest first.
    old: VecDeque<Rc<String>>,
    /// Who has read of which; of none that had to go.
    readers: SortedMap<OpenId, Option<Rc<String>>>,
}

impl Reports {
    /// It says this from now on, to who begins to read it.
    pub fn set(&mut self, report: Report, text: String) {
        let last = &mut self.last[report as usize];
        if **last == text {
            return;
        }
        self.old.push_back(core::mem::replace(last, Rc::new(text)));
        self.old.retain(|text| Rc::strong_count(text) > 1);
        while self.old.iter().map(|text| text.len() + TEXT_COST).sum::<usize>() > OLD_BYTES_MAX {
            let Some(oldest) = self.old.pop_front() else { break };
            for (_, text) in self.readers.iter_mut() {
                text.take_if(|text| Rc::ptr_eq(text, &oldest));
            }
        }
    }

    /// What it says now.
    pub fn last(&self, report: Report) -> &str {
        &self.last[report as usize]
    }

    /// What this opening reads.
    pub fn read(&mut self, report: Report, opener: OpenId) -> Result<&str, Error> {
        if self.readers.get(&opener).is_none() {
            self.readers.insert(opener, Some(self.last[report as usize].clone()));
        }
        let text = self.readers.get(&opener).and_then(Option::as_deref);
        text.map(String::as_str).ok_or(GONE)
    }

    /// An opening ends.
    pub fn close(&mut self, opener: OpenId) {
        self.readers.remove(&opener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use ninep::server::ConnId;

    const NODES: Report = Report::Nodes;

    fn opener(serial: u64) -> OpenId {
        OpenId { conn: ConnId(1), serial }
    }

    #[test]
    fn each_opening_reads_one_text_whatever_comes() {
        let mut reports = Reports::default();
        reports.set(NODES, "one".into());
        assert_eq!(reports.read(NODES, opener(1)), Ok("one"));
        reports.set(NODES, "two".into());
        reports.set(Report::Clients, "other".into());
        assert_eq!(reports.read(NODES, opener(2)), Ok("two"));
        reports.set(NODES, "three".into());
        assert_eq!(reports.read(NODES, opener(1)), Ok("one"));
        assert_eq!((reports.last(NODES), reports.old.len()), ("three", 2));
        reports.close(opener(1));
        assert_eq!(reports.read(NODES, opener(1)), Ok("three"), "it is opened again");
        reports.close(opener(2));
        reports.set(NODES, "four".into());
        assert_eq!(reports.old.len(), 1, "what nobody reads is not kept");
        reports.set(NODES, "four".into());
        assert_eq!(reports.old.len(), 1, "nor is what is the same");
    }

    #[test]
    fn of_old_texts_so_much_is_kept_and_who_read_the_oldest_is_told() {
        let mut reports = Reports::default();
        let count = (OLD_BYTES_MAX / (1 << 20)) as u64 - 1;
        for n in 0..=count {
            reports.set(NODES, format!("{n:<8}").repeat(1 << 17));
            reports.read(NODES, opener(n)).unwrap();
        }
        assert!(reports.read(NODES, opener(0)).is_ok() && reports.old.len() as u64 == count);
        reports.set(NODES, String::new());
        assert_eq!(reports.read(NODES, opener(0)), Err(GONE));
        assert!((1..=count).all(|n| reports.read(NODES, opener(n)).unwrap().len() == 1 << 20));
        // The one that is read now makes room for none.
        reports.set(NODES, "x".repeat(2 * OLD_BYTES_MAX));
        assert!(reports.read(NODES, opener(0)).is_err());
        reports.close(opener(0));
        assert_eq!(reports.read(NODES, opener(0)).unwrap().len(), 2 * OLD_BYTES_MAX);
    }

    #[test]
    fn short_texts_are_not_many_either() {
        let mut reports = Reports::default();
        for n in 0..20_000 {
            reports.set(NODES, format!("{n}"));
            reports.read(NODES, opener(n)).unwrap();
        }
        assert!(reports.old.len() < OLD_BYTES_MAX / TEXT_COST);
    }
}
