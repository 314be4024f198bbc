//! What a master says of its clients in `/.xget/status` (docs/protocol.md), as values and as
//! rows of a table.
//!
//! Refuses to know when it was asked, and where it is shown.

use super::super::json::{Object, texts};
use super::super::names::{quoted, table};
use crate::console::{bytes, per_second, seconds};
use peer::control::{printable, unescape};

/// Those that a master has, and remembers: what is beyond them is no master's.
const CLIENTS_MAX: usize = 65_536 + 16_384;
/// In which order clients are shown.
const STATES: [&str; 4] = ["fetching", "serving", "done", "lost"];
const HEADS: [&str; 9] =
    ["ADDRESS", "STATE", "DONE", "BYTES", "RATE", "MASTER", "TIME", "PARENTS", "SOURCES"];
const RIGHT: [bool; 7] = [false, false, true, true, true, true, true];

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: String,
    /// As the master says it.
    pub state: String,
    pub have: u64,
    pub total: u64,
    from_master: u64,
    from_peers: u64,
    elapsed_ms: u64,
    /// Bytes a second: since it began, or since another look.
    rate: u64,
    /// By stripe; `me` is the master.
    parents: Vec<String>,
    /// Percent encoded.
    sources: Vec<String>,
}

impl Client {
    fn parse(line: &str) -> Option<Client> {
        let mut words = line.split_ascii_whitespace().map(plain);
        let (address, state) = (words.next()?, words.next()?);
        let mut number = || words.next()?.parse::<u64>().ok();
        let (have, total) = (number()?, number()?);
        let (from_master, from_peers, elapsed_ms) = (number()?, number()?, number()?);
        let parents = words.next().unwrap_or_default();
        let parents = parents.split(',').filter(|parent| !matches!(*parent, "" | "-"));
        let parents = parents.map(String::from).collect();
        let rate = per_second(from_master.saturating_add(from_peers), elapsed_ms);
        let sources = words.collect();
        Some(Client {
            address,
            state,
            have,
            total,
            from_master,
            from_peers,
            elapsed_ms,
            rate,
            parents,
            sources,
        })
    }

    fn moved(&self) -> u64 {
        self.from_master.saturating_add(self.from_peers)
    }

    pub fn percent(&self) -> Option<u64> {
        Some(
            u64::try_from(u128::from(self.have) * 100 / u128::from(self.total.max(1)))
                .ok()?
                .min(100),
        )
        .filter(|_| self.total > 0)
    }

    fn row(&self) -> Vec<String> {
        let percent = |percent: Option<u64>| percent.map_or("-".into(), |n| format!("{n} %"));
        let of_master = u128::from(self.from_master) * 100 / u128::from(self.moved().max(1));
        vec![
            self.address.clone(),
            self.state.clone(),
            percent(self.percent()),
            bytes(self.total),
            format!("{}/s", bytes(self.rate)),
            percent(Some(of_master as u64).filter(|_| self.moved() > 0)),
            seconds(self.elapsed_ms / 1000),
            self.parents_text(),
            self.sources_text(),
        ]
    }

    /// Each once: most have one parent for several stripes.
    fn parents_text(&self) -> String {
        let mut shown: Vec<&str> = Vec::new();
        for parent in &self.parents {
            let name = if parent == "me" { "master" } else { parent.as_str() };
            if !shown.contains(&name) {
                shown.push(name);
            }
        }
        if shown.is_empty() { "-".into() } else { shown.join(",") }
    }

    fn sources_text(&self) -> String {
        let shown =
            |word: &String| unescape(word).map_or_else(|| word.clone(), |name| quoted(&name));
        self.sources.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    pub fn object(&self) -> Object {
        Object::new()
            .text("address", &self.address)
            .text("state", &self.state)
            .number("have_bytes", self.have)
            .number("total_bytes", self.total)
            .number("from_master_bytes", self.from_master)
            .number("from_peers_bytes", self.from_peers)
            .number("elapsed_ms", self.elapsed_ms)
            .number("bytes_per_second", self.rate)
            .number("parents", texts(&self.parents))
            .number("sources", texts(&self.sources))
    }

    /// A line for who reads changes.
    pub fn line(&self) -> String {
        self.row().join("  ")
    }
}

/// A word as it is harmless: a master says nothing but ASCII.
fn plain(word: &str) -> String {
    printable(word).chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

/// All clients of a master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    pub clients: Vec<Client>,
}

impl Board {
    /// What is no record is passed over: the heads of the columns, or what a newer master
    /// says besides.
    pub fn parse(text: &str) -> Board {
        let lines = text.lines().filter(|line| !line.starts_with('#')).take(CLIENTS_MAX);
        let mut clients: Vec<Client> = lines.filter_map(Client::parse).collect();
        let order = |client: &Client| STATES.iter().position(|state| client.state == *state);
        clients.sort_by_key(|client| order(client).unwrap_or(STATES.len()));
        Board { clients }
    }

    /// Of who goes on, the rate since that other look.
    pub fn take_rates(&mut self, before: &Board) {
        let mut known: Vec<&Client> = before.clients.iter().collect();
        known.sort_by(|a, b| a.address.cmp(&b.address));
        for client in self.clients.iter_mut().filter(|client| client.state == STATES[0]) {
            let at = known.binary_search_by(|other| other.address.cmp(&client.address));
            let Some(old) = at.ok().map(|at| known[at]) else { continue };
            match client.elapsed_ms.checked_sub(old.elapsed_ms) {
                // It has said nothing since.
                Some(0) => client.rate = old.rate,
                Some(ms) => {
                    client.rate = per_second(client.moved().saturating_sub(old.moved()), ms)
                }
                None => {}
            }
        }
    }

    /// Heads and rows.
    pub fn lines(&self) -> Vec<String> {
        let mut rows = vec![HEADS.map(String::from).to_vec()];
        rows.extend(self.clients.iter().map(Client::row));
        table(&rows, &RIGHT)
    }

    /// `2 fetching, 1 lost`
    pub fn summary(&self) -> String {
        let count = |state: &str| self.clients.iter().filter(|c| c.state == state).count();
        let counts = STATES.map(|state| (count(state), state));
        let said: Vec<String> = counts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, state)| format!("{n} {state}"))
            .collect();
        if said.is_empty() { "nobody fetches".into() } else { said.join(", ") }
    }

    pub fn text(&self) -> String {
        self.lines().join("\n") + "\n"
    }

    pub fn json(&self) -> String {
        let objects: Vec<String> =
            self.clients.iter().map(|client| client.object().end()).collect();
        format!("[\n{}\n]\n", objects.join(",\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# address state have_bytes total_bytes from_master_bytes ...\n\
        10.0.0.3!20004 lost 0 0 0 0 5 -\n\
        10.0.0.1!20004 fetching 45000000 100000000 5000000 40000000 4500 me,10.0.0.2!7,me a%20b x\n\
        10.0.0.2!7 serving 9 9 9 0 70000 me,me .\n\
        rubbish\n10.0.0.5!1 fetching x 1 2 3 4 -\n10.0.0.6!1 \x1b[2J 1 2 3 4 5\n";

    #[test]
    fn a_table_tells_who_fetches_what_how_far_and_from_whom() {
        let board = Board::parse(TEXT);
        assert_eq!(
            board.text(),
            "ADDRESS         STATE      DONE     BYTES       RATE  MASTER      TIME  PARENTS            SOURCES\n\
             10.0.0.1!20004  fetching   45 %  100.0 MB  10.0 MB/s    11 %       4 s  master,10.0.0.2!7  'a b' x\n\
             10.0.0.2!7      serving   100 %       9 B      0 B/s   100 %  1:10 min  master             .\n\
             10.0.0.3!20004  lost          -       0 B      0 B/s       -       0 s  -\n\
             10.0.0.6!1      ?[2J       50 %       2 B   1.4 kB/s    42 %       0 s  -\n"
        );
        assert_eq!(board.summary(), "1 fetching, 1 serving, 1 lost");
        assert_eq!(Board::parse("").summary(), "nobody fetches");
    }

    #[test]
    fn for_programs_it_is_one_document() {
        let value: serde_json::Value = serde_json::from_str(&Board::parse(TEXT).json()).unwrap();
        let first = &value[0];
        assert_eq!(
            (&first["have_bytes"], &first["bytes_per_second"]),
            (&45_000_000.into(), &10_000_000.into())
        );
        assert_eq!(first["parents"], serde_json::json!(["me", "10.0.0.2!7", "me"]));
        assert_eq!(first["sources"], serde_json::json!(["a%20b", "x"]));
        assert_eq!(value.as_array().map(Vec::len), Some(4));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&Board::default().json()).unwrap(),
            serde_json::json!([])
        );
    }

    #[test]
    fn the_rate_is_that_since_the_last_look() {
        let at = |moved: u64, ms: u64| {
            Board::parse(&format!(
                "a!1 fetching 1 2 {moved} 0 {ms} me\nb!1 fetching 1 2 7 0 1 me\n"
            ))
        };
        let mut second = at(5_000, 3_000);
        second.take_rates(&at(1_000, 1_000));
        assert_eq!((second.clients[0].rate, second.clients[1].rate), (2_000, 7_000));
        let mut third = at(5_000, 3_000);
        third.take_rates(&second);
        assert_eq!(third.clients[0].rate, 2_000, "it has said nothing since");
        let mut again = at(10, 1_000);
        again.take_rates(&third);
        assert_eq!(again.clients[0].rate, 10, "it began anew");
    }

    #[test]
    fn figures_of_a_liar_are_no_trouble() {
        let line = format!("a!1 fetching {0} {0} {0} {0} {0} me\n", u64::MAX);
        let board = Board::parse(&line);
        assert!(board.text().contains("100 %"), "{}", board.text());
        assert!(board.json().contains("18446744073709551615"));
    }
}
