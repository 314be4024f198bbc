//! Memory of a client that relays: how often it asks for some, counted, and
//! how much it has at most.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use peer::fetch::Progress;
use peer::request::{FetchRequest, Linger};
use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use support::proc::{Master, Proc};
use support::{Scratch, noise};
use xget::{FetchObserver, FetchTask, Fetching, Observer, Turn};

mod counting {
    //! An allocator that counts what each thread asks of the system's.
    #![allow(unsafe_code)]

    use super::ASKED;
    use std::alloc::{GlobalAlloc, Layout, System};

    struct Counting;

    #[global_allocator]
    static COUNTING: Counting = Counting;

    // SAFETY: everything is the system allocator's; the counter is a plain
    // number of the thread, which needs no memory itself.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            ASKED.set(ASKED.get() + 1);
            // SAFETY: as the caller promises.
            unsafe { System.alloc(layout) }
        }
        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            // SAFETY: as the caller promises.
            unsafe { System.dealloc(memory, layout) }
        }
        unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
            ASKED.set(ASKED.get() + 1);
            // SAFETY: as the caller promises.
            unsafe { System.realloc(memory, layout, len) }
        }
    }
}

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

struct Silent;

impl Observer for Silent {
    fn say(&mut self, _: &str) {}
    fn warn(&mut self, _: &str) {}
}

impl FetchObserver for Silent {
    fn turn(&mut self, _: &Progress) -> bool {
        false
    }
}

fn begin(master: &Master, dest: &Path) -> Fetching {
    let request = FetchRequest {
        retries: 3,
        linger: Linger::Millis(60_000),
        ..FetchRequest::of(vec![b".".to_vec()])
    };
    let masters = vec![SocketAddr::from(([127, 0, 0, 1], master.port))];
    Fetching::begin(FetchTask::of(masters, request, dest.into()), Silent).unwrap()
}

#[test]
fn a_piece_that_is_relayed_is_not_allocated_for() {
    const PIECES: u64 = 3200;
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(1, (PIECES as usize) << 15)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let mut relay = begin(&master, &scratch.join("relay"));
    // It goes on when the other one has been told to ask it.
    let deadline = Instant::now() + Duration::from_secs(10);
    while relay.progress().generation.is_none() && relay.progress().phase == "joining" {
        assert!(Instant::now() < deadline, "the master does not say what it serves");
        relay.turn().unwrap();
    }
    let child = Proc::start(master.client([Path::new("."), &scratch.join("child")]), &scratch);
    support::until("both have joined", 10, || master.status().lines().count() == 3);
    let total_bytes = PIECES << 15;
    // The first quarter makes what lasts: buffers, queues, open files.
    let (mut at_quarter, mut asked) = (None, None);
    loop {
        let have_bytes = relay.progress().stats.have_bytes;
        if at_quarter.is_none() && have_bytes >= total_bytes / 4 {
            at_quarter = Some((ASKED.get(), have_bytes));
        }
        if let (Some((before, from_bytes)), None) = (at_quarter, asked)
            && have_bytes >= total_bytes * 9 / 10
        {
            asked = Some((ASKED.get() - before, (have_bytes - from_bytes) >> 15));
        }
        if let Turn::Over(failures) = relay.turn().unwrap() {
            assert_eq!(failures, []);
            break;
        }
    }
    let ended = child.wait().expect(0);
    assert!(ended.figure(" from peers") > total_bytes as f64 / 10.0, "{}", ended.out);
    let (asked, pieces) = asked.unwrap();
    // What comes with time and not with pieces: lines to the master, looks at
    // the links, a queue that grows.
    eprintln!("{asked} allocations, {pieces} pieces");
    assert!(asked < pieces / 32 + 50, "{asked} allocations for {pieces} pieces");
}

#[test]
fn clients_that_feed_eight_others_each_stay_small() {
    const CHILDREN: usize = 8;
    const MEMORY_KB_MAX: u64 = 16 * 1024;
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    fs::write(source.join("image"), noise(2, 200_000_000)).unwrap();
    let master = Master::start(&scratch, &source, &["-m", &CHILDREN.to_string()]);
    let start =
        |n| Proc::start(master.client([Path::new("."), &scratch.join(format!("{n}"))]), &scratch);
    let mut clients: Vec<Proc> = (0..=CHILDREN).map(start).collect();
    let (mut peak_kb, mut children) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !clients.iter_mut().all(Proc::has_ended) {
        assert!(Instant::now() < deadline, "not over within 60 s: {}", master.status());
        for client in &clients {
            peak_kb = peak_kb.max(peak_of(client).unwrap_or(0));
        }
        children = children.max(most_children(&master.status()));
        std::thread::sleep(Duration::from_millis(20));
    }
    clients.into_iter().for_each(|client| drop(client.wait().expect(0)));
    assert_eq!(children, CHILDREN, "nobody fed as many");
    eprintln!("{peak_kb} kB");
    assert!(peak_kb > 0 && peak_kb <= MEMORY_KB_MAX, "{peak_kb} kB");
}

/// The most that a process had resident so far.
fn peak_of(client: &Proc) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", client.pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Of all clients, how many others the one that feeds most feeds in one stripe.
fn most_children(status: &str) -> usize {
    let parents = |line: &str| -> Vec<String> {
        line.split(' ').nth(7).unwrap_or("").split(',').map(String::from).collect()
    };
    let rows: Vec<Vec<String>> = status.lines().skip(1).map(parents).collect();
    let stripes = rows.iter().map(Vec::len).max().unwrap_or(0);
    let of_stripe = |stripe: usize| {
        let named: Vec<&String> = rows.iter().filter_map(|row| row.get(stripe)).collect();
        let nodes = named.iter().filter(|parent| parent.contains('!'));
        nodes.map(|parent| named.iter().filter(|other| *other == parent).count()).max().unwrap_or(0)
    };
    (0..stripes).map(of_stripe).max().unwrap_or(0)
}
