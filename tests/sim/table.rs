//! `make sim`: what comes of many scenarios at several sizes, as a table with
//! the goals beside it and as CSV. Refuses to know of pictures:
//! scripts/sim-figures draws them from the CSV, by the columns named here.
//!
//! XGET_SIM_NODES, _PIECES, _SEED, _ONLY and _OUT say which, and where to.

use crate::scenario::{Outcome, Scenario};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc;

/// Name and words; a share that comes to nobody is left out.
const SCENARIOS: [(&str, &str); 24] = [
    ("at once", ""),
    ("over a quarter", "spread=25"),
    ("over three times", "spread=300"),
    ("tenth at half rate", "slow=10"),
    ("one at a tenth", "tenth=1"),
    ("one stalls", "stalled=1"),
    ("head 10x", "head=1000"),
    ("head 10x --head 10", "head=1000 head_copies=10"),
    ("head at half", "head=50"),
    ("1 % crash", "crash=1"),
    ("5 % crash", "crash=5"),
    ("10 % crash", "crash=10"),
    ("20 % crash", "crash=20"),
    ("1 % freeze", "freeze=1"),
    ("5 % freeze", "freeze=5"),
    ("10 % freeze", "freeze=10"),
    ("20 % freeze", "freeze=20"),
    ("1 % vanish", "dark=1"),
    ("5 % vanish", "dark=5"),
    ("10 % vanish", "dark=10"),
    ("20 % vanish", "dark=20"),
    ("5 % each, over a quarter", "crash=5 freeze=5 dark=5 spread=25"),
    ("all stream", "window_mib=64"),
    ("a third reads at half", "window_mib=64 slow_readers=33"),
];

/// Wire times for those whose links are whole.
const TIMES_GOAL: f64 = 1.1;
/// ... where one of them is slow, compared with nobody being slow.
const HINDRANCE_GOAL: f64 = 1.1;
const COPIES_GOAL: f64 = 4.0;
/// Messages at the master for each node, compared with the smallest cluster.
const LINEAR_GOAL: f64 = 1.3;

struct Row {
    name: &'static str,
    scenario: Scenario,
    outcome: Outcome,
}

impl Row {
    fn failing(&self) -> u32 {
        let Scenario { crash, dark, freeze, .. } = self.scenario;
        crash + dark + freeze
    }

    /// The goals that it misses, in words.
    fn missed(&self, rows: &[Row]) -> Vec<String> {
        let (own, times) = (&self.scenario, self.outcome.last);
        let mut missed = Vec::new();
        let mut hold = |what: &str, value: f64, goal: f64| {
            if value > goal {
                missed.push(format!("{what} {value:.2} > {goal:.2}"));
            }
        };
        let calm = rows.iter().find(|row| row.name == "at once" && row.scenario.nodes == own.nodes);
        match calm.filter(|_| own.tenth + own.stalled > 0) {
            Some(calm) => hold("hindrance", times / calm.outcome.last, HINDRANCE_GOAL),
            None if self.failing() == 0 => hold("times", times, TIMES_GOAL),
            None => {}
        }
        if self.failing() <= 10 {
            hold(
                "copies",
                self.outcome.report.copies - f64::from(own.head_copies - 1),
                COPIES_GOAL,
            );
        }
        let smallest = rows.iter().find(|row| row.name == self.name && row.scenario.nodes > 1);
        // One alone asks the master for every piece.
        if let Some(smallest) = smallest.filter(|row| row.scenario.nodes < own.nodes) {
            let more = self.outcome.messages_per_node() / smallest.outcome.messages_per_node();
            hold("messages grow", more, LINEAR_GOAL);
        }
        hold("nodes left behind", self.outcome.failed as f64, 0.0);
        missed
    }
}

fn env(name: &str, usual: &str) -> String {
    let set = std::env::var(format!("XGET_SIM_{name}")).ok();
    set.filter(|text| !text.is_empty()).unwrap_or(usual.to_string())
}

/// All that are asked for, the small ones first.
fn scenarios() -> Vec<(&'static str, Scenario)> {
    let (pieces, seed, only) = (env("PIECES", "2048"), env("SEED", "1"), env("ONLY", ""));
    let mut list = Vec::new();
    for nodes in env("NODES", "1 31 1000").split_whitespace() {
        for (name, words) in SCENARIOS.iter().filter(|(name, _)| name.contains(&only)) {
            let all = format!("nodes={nodes} pieces={pieces} seed={seed} segment_kib=128 {words}");
            let scenario = Scenario::parse(&all).expect("numbers");
            let Scenario { nodes, slow, crash, dark, freeze, .. } = scenario;
            let shares = [slow, crash, dark, freeze];
            let is_empty = shares.iter().any(|&share| share > 0 && nodes * share < 100);
            let is_alone = nodes == 1 && scenario.tenth + scenario.stalled > 0;
            if !is_empty && !is_alone {
                list.push((*name, scenario));
            }
        }
    }
    list
}

/// Runs all, as many at a time as there are processors, and gives each to
/// `done` in their order.
fn run_all(list: &[(&'static str, Scenario)], mut done: impl FnMut(Row)) {
    let next = Mutex::new(0..list.len());
    let (send, receive) = mpsc::channel();
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..workers.min(list.len()) {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                while let Some(at) = next.lock().ok().and_then(|mut next| next.next()) {
                    send.send((at, list[at].1.run())).expect("somebody waits for it");
                }
            });
        }
        drop(send);
        let mut ready: Vec<Option<Outcome>> = list.iter().map(|_| None).collect();
        let mut at = 0;
        for (number, outcome) in receive {
            ready[number] = Some(outcome);
            while let Some(outcome) = ready.get_mut(at).and_then(Option::take) {
                let (name, scenario) = list[at].clone();
                done(Row { name, scenario, outcome });
                at += 1;
            }
        }
    });
}

const COLUMNS: [&str; 11] = [
    "nodes", "scenario", "last", "median", "worst", "slow", "depth", "copies", "messages", "bytes",
    "goals",
];

fn cells(row: &Row, missed: &[String]) -> [String; 11] {
    let of = &row.outcome;
    let nodes = f64::from(row.scenario.nodes);
    let of_all = |times: f64| if of.failed > 0 { "never".into() } else { format!("{times:.3}") };
    [
        row.scenario.nodes.to_string(),
        row.name.to_string(),
        of_all(of.last),
        format!("{:.3}", of.own_median),
        of_all(of.own_worst),
        if of.slow_worst > 0.0 { format!("{:.3}", of.slow_worst) } else { String::new() },
        of.depth.to_string(),
        format!("{:.2}", of.report.copies),
        format!("{:.1}", of.messages_per_node()),
        format!("{:.0}", of.report.control_bytes as f64 / nodes),
        if missed.is_empty() { "held".into() } else { format!("MISSED: {}", missed.join(", ")) },
    ]
}

fn line(cells: &[String; 11]) -> String {
    let mut line = String::new();
    for (at, cell) in cells.iter().enumerate() {
        let _ = match at {
            1 => write!(line, " {cell:<25}"),
            10 => write!(line, "  {cell}"),
            _ => write!(line, " {cell:>8}"),
        };
    }
    line
}

/// Past the test harness, which would keep it to itself.
fn show(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[test]
#[ignore = "`make sim`"]
fn table_of_all() {
    let list = scenarios();
    let out = env("OUT", concat!(env!("CARGO_MANIFEST_DIR"), "/../../build/sim"));
    std::fs::create_dir_all(&out).expect("a place for what comes of it");
    let usual = &list.first().expect("something to run").1;
    show(&format!(
        "\nseed {}, {} pieces of {} KiB over links of {} Mbit/s; last, median and worst in wire \
         times of the\nnodes with whole links, last from the last start, the others each from its \
         own; messages and\nbytes at the master for each node\n",
        usual.seed, usual.pieces, usual.piece_kib, usual.mbit
    ));
    show(&line(&COLUMNS.map(String::from)));
    let (mut rows, mut csv) = (Vec::new(), format!("{},words\n", COLUMNS.join(",")));
    run_all(&list, |row| {
        rows.push(row);
        let row = &rows[rows.len() - 1];
        let cells = cells(row, &row.missed(&rows));
        show(&line(&cells));
        let quoted: Vec<String> = cells.iter().map(|cell| cell.replace(',', ";")).collect();
        let _ = writeln!(csv, "{},{}", quoted.join(","), row.scenario);
    });
    let missing = rows.iter().filter(|row| !row.missed(&rows).is_empty()).count();
    show(&format!("\n{} rows, {missing} of them miss a goal", rows.len()));
    for (name, text) in [("table.csv", csv), ("course.csv", course_csv(&rows))] {
        std::fs::write(format!("{out}/{name}"), text).expect("room for it");
        show(&format!("{out}/{name}"));
    }
}

fn course_csv(rows: &[Row]) -> String {
    let mut csv = "nodes,scenario,ms,least,median,most,copies\n".to_string();
    for row in rows {
        for at in &row.outcome.course {
            let (nodes, name) = (row.scenario.nodes, row.name.replace(',', ";"));
            let _ = writeln!(
                csv,
                "{nodes},{name},{},{:.4},{:.4},{:.4},{:.3}",
                at.ms, at.least, at.median, at.most, at.copies
            );
        }
    }
    csv
}
