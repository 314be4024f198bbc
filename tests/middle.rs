//! A man in the middle, between real processes: he changes bits of what a master and a client say,
//! or lets another master answer in the middle of it.
//!
//! All of it in a network of its own, where an address that he spoils leads nowhere. The state
//! machines alone, and what is sealed: src/peer/auth/tests.rs.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use support::lab::Lab;
use support::proc::{Master, Proc, xget};
use support::tree::{self, Seen};
use support::{Scratch, noise};

/// A bit is changed within as many bytes as so many bits count: about what a connection moves.
const WITHIN_BITS: u64 = 16;
/// So many connections of a client; then he has lost interest, and it would go on in vain for a minute.
const HARMED: usize = 3;
const QUIET: Duration = Duration::from_secs(2);
const RUNS: u64 = 45;
const SPLICES: u64 = 24;

/// What is done to a connection.
#[derive(Clone, Copy)]
enum Harm {
    /// So many bits, of what the client says, or of what it hears, are others.
    Flips { seed: u64 },
    /// From this byte on, what the client hears is the second master's.
    Splice { at: usize },
}

/// xorshift64: the same for the same seed, and good enough to choose by.
struct Choice(u64);

impl Choice {
    fn of(seed: u64) -> Choice {
        let mut choice = Choice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| _ = choice.below(2));
        choice
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % end
    }

    /// Which bits: most of them early, where there is more than contents.
    fn bits(&mut self) -> Vec<(usize, u8)> {
        let count = 1 + self.below(3);
        let bit = |choice: &mut Choice| {
            let end = 1 << (4 + choice.below(WITHIN_BITS - 4));
            (choice.below(end) as usize, 1 << choice.below(8))
        };
        (0..count).map(|_| bit(self)).collect()
    }
}

/// Hands on what comes from one side, until either ends, with these bits changed: all but the first
/// `skip` bytes, up to the first `take`.
fn hand_on(
    mut from: TcpStream,
    to: &[TcpStream],
    bits: &[(usize, u8)],
    (skip, take): (usize, usize),
) {
    let (mut at, mut bytes) = (0, vec![0; 8192]);
    while at < take
        && let Ok(len @ 1..) = from.read(&mut bytes)
    {
        let part = &mut bytes[..len];
        for (place, bit) in bits {
            if let Some(byte) = place.checked_sub(at).and_then(|place| part.get_mut(place)) {
                *byte ^= bit;
            }
        }
        let range = skip.saturating_sub(at).min(len)..(take - at).min(len);
        at += len;
        // One that has ended hears nothing more, and the other does.
        let sent = |mut to: &TcpStream| to.write_all(&part[range.clone()]).is_ok();
        if !range.is_empty() && !to.iter().map(sent).fold(false, |any, sent| any | sent) {
            break;
        }
    }
}

/// A port where somebody stands between who calls it and these masters, the first of which answers.
fn between(masters: [u16; 2], harm: Harm) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with the test.
    thread::spawn(move || {
        for (number, client) in listener.incoming().flatten().enumerate() {
            let call = |port| {
                let master = TcpStream::connect(("127.0.0.1", port)).unwrap();
                // Nothing more may come, and the client would wait for a minute.
                master.set_read_timeout(Some(QUIET)).unwrap();
                master
            };
            let master = call(masters[0]);
            let again = |stream: &TcpStream| stream.try_clone().unwrap();
            let all = (0, usize::MAX);
            // Whoever of so many comes to an end as the last one ends what the client hears.
            let ends = |of: usize| {
                let (left, client) = (Arc::new(AtomicUsize::new(of)), again(&client));
                move || {
                    let client = again(&client);
                    let left = left.clone();
                    move || {
                        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                            let _ = client.shutdown(Shutdown::Both);
                        }
                    }
                }
            };
            match harm {
                Harm::Flips { seed } => {
                    let mut choice = Choice::of(seed << 8 | number as u64);
                    let bits = if number < HARMED { choice.bits() } else { Vec::new() };
                    let (heard, said) = match choice.below(4) {
                        0 => (Vec::new(), bits),
                        _ => (bits, Vec::new()),
                    };
                    let (to, from) = ([again(&master)], again(&client));
                    thread::spawn(move || hand_on(from, &to, &said, all));
                    let end = ends(1)();
                    thread::spawn(move || {
                        hand_on(master, &[client], &heard, all);
                        end();
                    });
                }
                Harm::Splice { at } => {
                    let at = if number < HARMED { at } else { usize::MAX };
                    let other = call(masters[1]);
                    let (to, from) = ([again(&master), again(&other)], again(&client));
                    thread::spawn(move || hand_on(from, &to, &[], all));
                    let end = ends(2);
                    for (from, part) in [(master, (0, at)), (other, (at, usize::MAX))] {
                        let (to, end) = ([again(&client)], end());
                        thread::spawn(move || {
                            hand_on(from, &to, &[], part);
                            end();
                        });
                    }
                }
            }
        }
    });
    port
}

/// A file with a key, of whoever makes it with this digit.
fn key(scratch: &Scratch, digit: u8) -> String {
    let path = scratch.join(format!("key{digit}"));
    fs::write(&path, peer::auth::Key::root([digit; 32]).text()).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().into()
}

/// A client of whoever is at this port, and where it puts what comes.
struct Client(Proc, PathBuf);

fn client(scratch: &Scratch, port: u16, name: &str, options: &[&str]) -> Client {
    let dest = scratch.join(name);
    let mut command = xget();
    command.args(["-n", &format!("127.0.0.1:{port}"), "-q", "-r", "2", "--linger", "0"]);
    command.args(options).arg(".").arg(&dest);
    Client(Proc::start(command, scratch), dest)
}

/// Small files, as they are seen.
fn small_tree(dir: &Path, seed: u64) -> BTreeMap<PathBuf, Seen> {
    fs::create_dir_all(dir.join("below")).unwrap();
    for (number, (name, len)) in [("f", 30_000), ("below/g", 3_000), ("h", 100)].iter().enumerate()
    {
        fs::write(dir.join(name), noise(seed + number as u64, *len)).unwrap();
    }
    tree::look(dir)
}

#[test]
fn whoever_changes_bits_can_make_a_fetch_fail_and_nothing_else() {
    let Some(lab) = Lab::new(1) else { return };
    lab.on(0, || {
        let scratch = Scratch::in_memory();
        let source = scratch.dir("source");
        let wanted = small_tree(&source, 1);
        let file = key(&scratch, 1);
        let plain = Master::start(&scratch, &source, &[]);
        let locked = Master::start(&scratch, &source, &["--key", &file]);
        let pin = xget().arg("--print-digest").arg(&source).output().unwrap().stdout;
        let pin = String::from_utf8(pin).unwrap();
        let ways: [(&Master, &[&str]); 3] =
            [(&plain, &[]), (&plain, &["--digest", pin.trim()]), (&locked, &["--key", &file])];
        let run = |seed: u64| {
            let (master, options) = ways[(seed % 3) as usize];
            let port = between([master.port; 2], Harm::Flips { seed });
            client(&scratch, port, &format!("flips{seed}"), options)
        };
        let runs: Vec<Client> = (0..RUNS).map(run).collect();
        let mut counts = [0; 2];
        for (seed, Client(run, dest)) in runs.into_iter().enumerate() {
            let ended = run.wait();
            counts[usize::from(ended.status == 0)] += 1;
            match ended.status {
                0 => tree::assert_same_as(&wanted, &dest),
                1..=6 => tree::assert_nothing_half(&source, &dest),
                _ => panic!("seed {seed}: {} {}", ended.status, ended.err),
            }
        }
        // Where a bit is of what is asked for again, all comes in the end.
        assert!(counts.iter().all(|count| *count > 0), "failed and done: {counts:?}");
        ways[1..].iter().zip(["pin", "key"]).for_each(|((master, options), name)| {
            let Client(run, dest) = client(&scratch, master.port, name, options);
            run.wait().expect(0);
            tree::assert_same_as(&wanted, &dest);
        });
    });
}

#[test]
fn another_master_in_the_middle_of_it_is_never_taken_where_there_is_a_key_or_a_pin() {
    let Some(lab) = Lab::new(1) else { return };
    lab.on(0, || {
        let scratch = Scratch::in_memory();
        let (own, others) = (scratch.dir("own"), scratch.dir("others"));
        let wanted = small_tree(&own, 1);
        small_tree(&others, 100);
        let files = [key(&scratch, 1), key(&scratch, 2)];
        let of_files = files.each_ref().map(|file| ["--key", file]);
        let plain = [&own, &others].map(|dir| Master::start(&scratch, dir, &[]));
        let locked = Master::start(&scratch, &own, &of_files[0]);
        let stranger = Master::start(&scratch, &others, &of_files[1]);
        let pin = xget().arg("--print-digest").arg(&own).output().unwrap().stdout;
        let pin = String::from_utf8(pin).unwrap();
        let ways: [([&Master; 2], &[&str]); 3] = [
            ([&plain[0], &plain[1]], &["--digest", pin.trim()]),
            ([&locked, &plain[1]], &of_files[0]),
            ([&locked, &stranger], &of_files[0]),
        ];
        let run = |seed: u64| {
            let (masters, options) = ways[(seed % 3) as usize];
            let at = Choice::of(seed).below(1 << (4 + seed % 13)) as usize;
            let port = between(masters.map(|master| master.port), Harm::Splice { at });
            client(&scratch, port, &format!("splice{seed}"), options)
        };
        let runs: Vec<Client> = (0..SPLICES).map(run).collect();
        for (seed, Client(run, dest)) in runs.into_iter().enumerate() {
            let ended = run.wait();
            match ended.status {
                0 => tree::assert_same_as(&wanted, &dest),
                1..=6 => tree::assert_nothing_half(&own, &dest),
                _ => panic!("seed {seed}: {} {}", ended.status, ended.err),
            }
        }
    });
}
