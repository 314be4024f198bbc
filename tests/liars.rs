//! Peers that lie, each in its own way, there before all others: three of ten cost the
//! rest little time, and nothing of what they sent is anywhere.
//!
//! On links of their own (`Lab`). Figures: `XGET_LIARS="mute 60000000" cargo test
//! --test liars -- --ignored --nocapture`: a kind, or all, and the bytes.

#![allow(clippy::unwrap_used)] // in tests a panic is the report
#![allow(clippy::print_stdout)] // the figures

mod support;

use peer::control::VERSION;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use support::fake::{Act, Fake};
use support::lab::{Lab, PORT};
use support::proc::{Ended, Proc, xget};
use support::reader::{Reader, read_text};
use support::{Scratch, noise};

const LIARS: usize = 3;
const HONEST: usize = 7;
const MEGABITS: u32 = 100;

/// What a liar does when it is asked for bytes of a file.
type Lie = fn(&str, u32) -> Act;

const LIES: [(&str, Lie); 12] = [
    ("wrong", |_, _| Act::Bytes(vec![0x55; 32 << 10])),
    ("short", |_, _| Act::Bytes(vec![0x55; 100])),
    ("empty", |_, _| Act::Bytes(Vec::new())),
    ("long", |_, count| Act::Bytes(vec![0x55; count as usize + 1])),
    ("garbage", |_, _| Act::Raw(noise(7, 300))),
    ("endless", |_, _| Act::Endless),
    ("unasked", |_, _| Act::Unasked),
    ("mute", |_, _| Act::Park),
    ("mute but for held", |path, _| match path.ends_with("/held") {
        true => Act::Bytes(Vec::new()),
        false => Act::Park,
    }),
    ("trickling", |_, _| Act::Trickle(vec![0x55; 32 << 10])),
    ("stalling", |_, _| Act::Half(vec![0x55; 32 << 10])),
    ("silent", |_, _| Act::Freeze),
];

/// Liars that joined, and keep their leases as long as they are.
struct Liars {
    fakes: Vec<Fake>,
    _leases: Vec<Reader>,
}

fn master_addr() -> (String, u16) {
    (Lab::ip(0), PORT)
}

impl Liars {
    fn join(lab: &Lab, lie: Option<Lie>) -> Liars {
        let mut liars = Liars { fakes: Vec::new(), _leases: Vec::new() };
        let Some(lie) = lie else { return liars };
        for node in 1..=LIARS {
            lab.on(node, || {
                let fake = Fake::start(move |path, _, count| lie(path, count));
                let mut lease = Reader::connect(master_addr()).unwrap();
                let route = lease.open(&[".xget", "route"], 2).unwrap();
                let join = format!("join {VERSION} {} .\n", fake.port);
                lease.write(route, join.as_bytes()).unwrap();
                let said = String::from_utf8(lease.read(route, 0).unwrap()).unwrap();
                assert!(said.starts_with("generation "), "{said}");
                liars.fakes.push(fake);
                liars._leases.push(lease);
            });
        }
        liars
    }
}

/// How long the honest take beside these liars, until the last has everything.
fn run(lab: &Lab, source: &Path, lie: Option<Lie>) -> (Duration, Vec<Ended>) {
    let scratch = Scratch::in_memory();
    let mut serving = xget();
    serving.args(["-p", &PORT.to_string(), "--no-cache"]).arg(source);
    let master = lab.on(0, || Proc::start(serving, &scratch));
    support::until("the master serves", 30, || master.out().contains(" serving "));
    let liars = Liars::join(lab, lie);
    let dest = |node: usize| scratch.join(format!("dest{node}"));
    let began = Instant::now();
    let clients: Vec<Proc> = (LIARS + 1..=LIARS + HONEST)
        .map(|node| {
            let mut fetching = xget();
            fetching.args(["-n", &format!("{}:{PORT}", Lab::ip(0)), "--linger", "60", "."]);
            fetching.arg(dest(node));
            lab.on(node, || Proc::start(fetching, &scratch))
        })
        .collect();
    let mut took = None;
    while took.is_none() {
        assert!(began.elapsed() < Duration::from_secs(80), "{}", master.err());
        std::thread::sleep(Duration::from_millis(20));
        let status = lab.on(0, || read_text(("127.0.0.1", PORT), &[".xget", "status"])).unwrap();
        if status.matches(" done ").count() >= HONEST {
            took = Some(began.elapsed());
        }
    }
    let asked: u64 = liars.fakes.iter().map(Fake::reads).sum();
    assert!(lie.is_none() || asked > 0, "no liar was asked for anything");
    let ended: Vec<Ended> = clients.into_iter().map(|client| client.wait().expect(0)).collect();
    for node in LIARS + 1..=LIARS + HONEST {
        assert!(
            fs::read(source.join("file")).unwrap() == fs::read(dest(node).join("file")).unwrap()
        );
    }
    if std::env::var_os("XGET_LIARS_SAID").is_some() {
        ended.iter().for_each(|ended| println!("---\n{}", ended.err));
        println!("=== master\n{}{}", master.out(), master.err());
    }
    (took.unwrap(), ended)
}

fn compare(bytes: usize, wanted: &str, bound: f64) {
    let Some(lab) = Lab::new(1 + LIARS + HONEST) else { return };
    lab.shape(MEGABITS);
    let scratch = Scratch::in_memory();
    fs::write(scratch.join("file"), noise(1, bytes)).unwrap();
    // The tree is served below a directory that has nothing else in it.
    let source = scratch.dir("source");
    fs::rename(scratch.join("file"), source.join("file")).unwrap();
    let alone = run(&lab, &source, None).0;
    println!("without liars: {:.2} s", alone.as_secs_f64());
    for (kind, lie) in LIES {
        if wanted != "all" && wanted != kind {
            continue;
        }
        let took = run(&lab, &source, Some(lie)).0;
        let times = took.as_secs_f64() / alone.as_secs_f64();
        println!("{LIARS} of {} {kind}: {:.2} s, {times:.2}", LIARS + HONEST, took.as_secs_f64());
        assert!(times <= bound, "{kind}: {times} times as long");
    }
}

#[test]
fn three_of_ten_liars_cost_the_others_little() {
    // Alone 5.5 s, with the liars 0.9 to 1.3 times that, on machines that do other things too.
    compare(60_000_000, "all", 2.0);
}

#[test]
#[ignore = "figures: XGET_LIARS has a kind, or all, and the bytes"]
fn figures() {
    let words = std::env::var("XGET_LIARS").unwrap_or("all 60000000".into());
    let (kind, bytes) = words.rsplit_once(' ').expect("a kind and a number of bytes");
    compare(bytes.parse().unwrap(), kind, 99.0);
}
