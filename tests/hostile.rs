//! Masters and peers that lie, break off, or never answer: the client ends in
//! a bounded time with the right status, and what is not right is nowhere.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use peer::content::digest::{self, Digest};
use peer::content::manifest::{Entry, EntryKind, Manifest, stride};
use peer::content::pieces::ManifestPieces;
use peer::control::VERSION;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use support::fake::{Act, Fake};
use support::proc::{Ended, Master, Proc, XGET, command, xget};
use support::reader::Reader;
use support::{Scratch, noise, until};

const PIECE_LEN: u32 = 4096;

fn file(name: &[u8], contents: &[u8]) -> Entry {
    let digest = digest::Digest(*blake3::hash(contents).as_bytes());
    let (name, size) = (name.into(), contents.len() as u64);
    Entry { name, kind: EntryKind::File, size, digest, mode: 0o644, ..Entry::bare_root() }
}

/// A served tree of small files, whose contents follow the manifest.
fn manifest_of(files: &[(&[u8], &[u8])]) -> Manifest {
    let mut entries = vec![Entry::bare_root()];
    entries.extend(files.iter().map(|(name, contents)| file(name, contents)));
    Manifest::of_entries(PIECE_LEN, entries)
}

/// A master that serves these bytes as the manifest and these as the contents.
fn fake_master(manifest: Vec<u8>, contents: Vec<u8>, announce: Option<String>) -> Fake {
    faking(manifest, announce, move |piece| piece_of(&contents, piece as usize))
}

fn piece_of(contents: &[u8], piece: usize) -> Vec<u8> {
    contents.chunks(PIECE_LEN as usize).nth(piece).unwrap_or_default().to_vec()
}

/// ... whose pieces of the contents are what this says.
fn faking(
    manifest: Vec<u8>,
    announce: Option<String>,
    contents: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
) -> Fake {
    let pieces = ManifestPieces::of(&manifest, PIECE_LEN);
    let list: Vec<u8> = pieces.list.iter().flat_map(|digest| digest.0).collect();
    let said = announce.unwrap_or_else(|| {
        format!("generation {} {} {PIECE_LEN} 1\n", pieces.generation, pieces.manifest_len)
    });
    let said = format!("{said}parent 0 me\n");
    let told = AtomicBool::new(false);
    let stride = u64::from(stride(PIECE_LEN));
    let start = u64::from(pieces.count()) * stride;
    Fake::start(move |path, offset, count| {
        let slice = |bytes: &[u8], from: u64| {
            let from = (from as usize).min(bytes.len());
            Act::Bytes(bytes[from..bytes.len().min(from + count as usize)].to_vec())
        };
        match path.rsplit('/').next() {
            Some("route") if told.swap(true, Ordering::Relaxed) => Act::Park,
            Some("route") => Act::Bytes(said.clone().into_bytes()),
            Some("list") => slice(&list, offset),
            Some("pieces") if offset < start => {
                Act::Bytes(manifest[pieces.range((offset / stride) as u32)].to_vec())
            }
            Some("pieces") => Act::Bytes(contents((offset - start) / stride)),
            _ => Act::Park,
        }
    })
}

fn fetch_from(scratch: &Scratch, addr: &str, options: &[&str]) -> (Ended, PathBuf) {
    let dest = scratch.join(format!("dest{}", support::unique()));
    let mut fetching = xget();
    fetching.args(["-n", addr, "-r", "0", "--linger", "0"]).args(options).arg(".").arg(&dest);
    (Proc::start(fetching, scratch).wait().within(30), dest)
}

fn nothing_in(dest: &PathBuf) -> bool {
    let names: Vec<fs::DirEntry> =
        fs::read_dir(dest).map(|names| names.flatten().collect()).unwrap_or_default();
    names.iter().all(|entry| entry.file_name().to_string_lossy().starts_with(".xget-"))
}

#[test]
fn the_fake_master_is_good_enough_to_be_believed() {
    let scratch = Scratch::new();
    let contents = b"hello".to_vec();
    let fake = fake_master(manifest_of(&[(b"a", &contents)]).encode(), contents.clone(), None);
    let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
    ended.expect(0);
    assert_eq!(fs::read(dest.join("a")).unwrap(), contents);
    assert!(fake.written().iter().any(|line| line.starts_with("done ")), "{:?}", fake.written());
}

#[test]
fn wrong_bytes_from_the_master_are_status_5() {
    let scratch = Scratch::new();
    let manifest = manifest_of(&[(b"a", b"hello")]).encode();
    let fake = fake_master(manifest, b"HELLO".to_vec(), None);
    let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
    ended.expect(5).says("digest");
    assert!(nothing_in(&dest));
    let manifest = manifest_of(&[(b"a", b"hello")]).encode();
    let fake = fake_master(manifest, b"hel".to_vec(), None);
    let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
    ended.expect(5);
    assert!(nothing_in(&dest));
    // A pack: whatever was in it is named.
    let manifest = manifest_of(&[(b"first", b"hello"), (b"second", b"world")]).encode();
    let fake = fake_master(manifest, b"hellO world".to_vec(), None);
    let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
    ended.expect(5).says("first: the master").says("second: the master");
    assert!(nothing_in(&dest));
}

/// It says nothing more on `route` either: nobody else is ever named.
#[test]
fn a_master_that_sends_wrong_bytes_is_asked_again_once() {
    let scratch = Scratch::new();
    let (right, wrong) = (noise(1, 100_000), noise(2, 100_000));
    let mut manifest = manifest_of(&[(b"long", &right)]);
    manifest.lists = ManifestPieces::of(&right, PIECE_LEN).list;
    let fake = fake_master(manifest.encode(), wrong, None);
    let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
    ended.expect(5).says("long").says("the master").says("twice").within(5);
    assert!(nothing_in(&dest));
    // Damaged for good in one place: the other file arrives.
    let (other, mut damaged) = (noise(3, 100_000), right.clone());
    let mut both = manifest_of(&[(b"long", &right), (b"other", &other)]);
    let lists = [&right, &other].map(|bytes| ManifestPieces::of(bytes, PIECE_LEN).list);
    both.lists = lists.concat();
    damaged[40_000] ^= 1;
    let damaged_piece = 40_000 / PIECE_LEN as usize;
    let (first_of_other, sent) = (right.len().div_ceil(PIECE_LEN as usize), other.clone());
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let fake = faking(both.encode(), None, move |piece| {
        let piece = piece as usize;
        count.fetch_add(u32::from(piece == damaged_piece), Ordering::Relaxed);
        match piece < first_of_other {
            true => piece_of(&damaged, piece),
            false => piece_of(&sent, piece - first_of_other),
        }
    });
    let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
    ended.expect(5).says("long").says("twice").within(5);
    assert_eq!(fs::read(dest.join("other")).unwrap(), other);
    assert!(!dest.join("long").exists());
    assert_eq!(asked.load(Ordering::Relaxed), 2, "the first time and once again");
    // Damaged on the way, and only once.
    let (sent, is_first) = (right.clone(), AtomicBool::new(true));
    let fake = faking(manifest.encode(), None, move |piece| {
        let mut bytes = piece_of(&sent, piece as usize);
        bytes[0] ^= u8::from(piece == 7 && is_first.swap(false, Ordering::Relaxed));
        bytes
    });
    let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
    ended.expect(0).says("not what the digest says");
    assert_eq!(fs::read(dest.join("long")).unwrap(), right);
}

#[test]
fn names_that_lead_out_of_the_destination_are_refused() {
    let scratch = Scratch::new();
    for name in [&b"../evil"[..], b"..", b".", b"", b"a/b", b"/etc", b"nul\0nul"] {
        let fake = fake_master(manifest_of(&[(name, b"hello")]).encode(), b"hello".to_vec(), None);
        let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
        ended.expect(5).says("malformed");
        assert!(nothing_in(&dest), "{name:?}");
        assert!(!scratch.join("evil").exists());
    }
    // A symlink first, then a file "in" it.
    let mut manifest = manifest_of(&[(b"link", b"")]);
    manifest.entries[1].kind = EntryKind::Symlink;
    manifest.entries[1].digest = Digest::default();
    manifest.entries[1].link = scratch.path.as_os_str().as_encoded_bytes().into();
    manifest.entries.push(Entry { parent: 1, ..file(b"evil", b"hello") });
    let fake = fake_master(manifest.encode(), b"hello".to_vec(), None);
    let (ended, _) = fetch_from(&scratch, &fake.addr(), &[]);
    ended.expect(5).says("malformed");
    assert!(!scratch.join("evil").exists());
}

#[test]
fn rubbish_instead_of_a_manifest_is_status_5() {
    let scratch = Scratch::new();
    let whole = manifest_of(&[(b"a", b"hello"), (b"b", b"world")]).encode();
    let rubbish: Vec<Vec<u8>> = vec![
        noise(1, 20_000),
        whole[..whole.len() - 1].to_vec(),
        [whole.clone(), vec![0]].concat(),
        vec![0],
        {
            // Whatever number stands there becomes a very large one.
            let mut bytes = whole.clone();
            let len = bytes.len();
            bytes[8..24.min(len)].fill(0xff);
            bytes
        },
    ];
    for bytes in rubbish {
        let fake = fake_master(bytes, b"hello".to_vec(), None);
        let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
        ended.expect(5);
        assert!(nothing_in(&dest));
    }
}

/// A very large file is listed in longer pieces, and nothing else is.
#[test]
fn a_list_of_the_wrong_count_is_status_5() {
    let scratch = Scratch::new();
    let listed = |size: u64, piece_len: u32, count: usize| {
        let mut manifest = manifest_of(&[(b"long", b"")]);
        let list = vec![Digest::default(); size.div_ceil(u64::from(piece_len)) as usize];
        manifest.entries[1].digest = digest::of_list(&list, size, piece_len).unwrap();
        manifest.entries[1].size = size;
        manifest.lists = list;
        manifest.lists.resize(count, Digest::default());
        manifest.encode()
    };
    let (exact, more) = (8192 * 4096, 8192 * 4096 + 1);
    for (size, piece_len, count) in
        [(exact, 16_384, 2048), (more, 4096, 8193), (more, 16_384, 2048), (more, 16_384, 2050)]
    {
        let fake = fake_master(listed(size, piece_len, count), Vec::new(), None);
        let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
        ended.expect(5).says("malformed");
        assert!(nothing_in(&dest));
    }
}

#[test]
fn absurd_announcements_are_refused() {
    let scratch = Scratch::new();
    let refused = |line: &str, status: i32, words: &str| {
        let fake = fake_master(b"manifest".to_vec(), Vec::new(), Some(line.into()));
        let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
        ended.expect(status).says(words);
        assert!(nothing_in(&dest));
    };
    let digest = "0".repeat(64);
    for numbers in [
        "18446744073709551615 4096 1",
        "4294967296 1048576 4",
        "100 524288 4",
        "0 4096 4",
        "100 4095 4",
        "100 0 4",
        "100 4096 0",
        "100 4096 255",
    ] {
        refused(&format!("generation {digest} {numbers}\n"), 3, "out of all bounds");
    }
    // Within all bounds, so that its list is asked for.
    refused(&format!("generation {digest} 67108864 4096 4\n"), 5, "not what its digest says");
    let long = "a".repeat(8000);
    for line in ["generation x y z\n", "no such word\n", "\0\0\0\n", &long, "error 2 %\n"] {
        refused(line, 3, "does not understand");
    }
}

/// As large as it may be, and more than there is.
#[test]
fn a_manifest_larger_than_memory_is_refused_with_figures() {
    let scratch = Scratch::new();
    let line = format!("generation {} 4294967296 4096 4\n", "0".repeat(64));
    let fake = fake_master(b"manifest".to_vec(), Vec::new(), Some(line));
    let mut fetching = command("/bin/sh");
    fetching.args(["-c", "ulimit -v 400000 && exec \"$@\"", "sh", XGET]);
    fetching.args(["-n", &fake.addr(), "-r", "0", "."]).arg(scratch.join("dest"));
    let ended = Proc::start(fetching, &scratch).wait();
    ended.expect(6).says("4096 MiB takes 12288 MiB of memory").says("fetch less").within(5);
}

/// It would turn its clients against a third.
#[test]
fn a_master_makes_nobody_call_many_others() {
    let scratch = Scratch::new();
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let called = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&called);
    std::thread::spawn(move || {
        for _ in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let manifest = manifest_of(&[(b"a", b"hello")]).encode();
    let pieces = ManifestPieces::of(&manifest, PIECE_LEN);
    let (digest, len) = (pieces.generation, pieces.manifest_len);
    let mut said = format!("generation {digest} {len} {PIECE_LEN} 1\n");
    said.push_str("parent 0 255.255.255.255!5\nparent 0 224.0.0.1!5\nparent 0 127.0.0.1!0\n");
    (1..250).for_each(|host| said.push_str(&format!("parent 0 127.0.9.{host}!{port}\n")));
    let fake = fake_master(manifest, b"hello".to_vec(), Some(said));
    let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
    let ended = ended.expect(0).within(5);
    assert_eq!(fs::read(dest.join("a")).unwrap(), b"hello");
    let lines = |words: &str| ended.err.matches(words).count();
    assert_eq!((lines("is nobody's address"), lines("one parent too many")), (1, 1));
    // Each at most twice, as a SYN may be lost.
    let called = called.load(Ordering::Relaxed);
    assert!((1..=64).contains(&called), "{called} calls");
}

/// A master whose conversation goes like this.
fn badly_spoken(act: Act) -> Fake {
    Fake::start(move |_, _, _| act.clone())
}

#[test]
fn broken_frames_and_silence_are_status_3() {
    let scratch = Scratch::new();
    let huge = [&u32::MAX.to_le_bytes()[..], &[117, 0, 0, 0, 0, 0, 0]].concat();
    let tiny = [&3u32.to_le_bytes()[..], &[117, 0, 0]].concat();
    let longer = [&15u32.to_le_bytes()[..], &[117, 0, 0, 200, 0, 0, 0, 1, 2, 3, 4]].concat();
    let strange = [&7u32.to_le_bytes()[..], &[99, 0, 0]].concat();
    let acts = [
        Act::Raw(huge),
        Act::Raw(tiny),
        Act::Raw(longer),
        Act::Raw(strange),
        Act::HalfAndClose(vec![b'x'; 100]),
        Act::Error("no"),
        Act::Bytes(Vec::new()),
        Act::Bytes(vec![0xff; 9000]),
        Act::Freeze,
        // Alive, and never to the point.
        Act::Park,
    ];
    std::thread::scope(|threads| {
        for act in acts {
            threads.spawn(|| {
                let fake = badly_spoken(act);
                let (ended, dest) = fetch_from(&scratch, &fake.addr(), &[]);
                ended.expect(3).says("master");
                assert!(nothing_in(&dest));
            });
        }
    });
}

#[test]
fn somebody_who_speaks_no_9p_is_status_3() {
    let scratch = Scratch::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            use std::io::Write;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let (ended, dest) = fetch_from(&scratch, &addr, &[]);
    ended.expect(3);
    assert!(nothing_in(&dest));
}

/// Joins a real master as a worker whose port is the fake's, and reads the
/// generation that it has to pretend to serve.
fn join_as(master: &Master, port: u16) -> (Reader, String) {
    let mut reader = Reader::connect(("127.0.0.1", master.port)).unwrap();
    let route = reader.open(&[".xget", "route"], 2).unwrap();
    reader.write(route, format!("join {VERSION} {port} .\n").as_bytes()).unwrap();
    let said = String::from_utf8(reader.read(route, 0).unwrap()).unwrap();
    (reader, said)
}

/// Clients of a master of which one worker behaves like this.
fn with_a_bad_peer(act: impl Fn(u32) -> Act + Send + Sync + 'static) -> (Vec<Ended>, String) {
    let is_silent = matches!(act(1), Act::Freeze);
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("file"), noise(1, 6_000_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let fake = Fake::start(move |_, _, count| act(count));
    let (_lease, said) = join_as(&master, fake.port);
    assert!(said.starts_with("generation "), "{said}");
    let dest = |number: usize| scratch.join(format!("dest{number}"));
    let clients: Vec<Proc> = (0..5)
        .map(|number| {
            let mut fetching = xget();
            fetching.args(["-n", &master.addr(), "."]).arg(dest(number));
            Proc::start(fetching, &scratch)
        })
        .collect();
    let ended: Vec<Ended> = clients.into_iter().map(|c| c.wait().expect(0).within(8)).collect();
    (0..5).for_each(|number| support::tree::assert_same(&source, &dest(number)));
    let named = |e: &Ended| e.err.contains(&format!("127.0.0.1:{}", fake.port));
    assert!(fake.reads() > 0, "nobody asked it for anything");
    // Of one that is silent the others may make up for before that is certain.
    assert!(is_silent || ended.iter().any(named), "nobody named {}", fake.port);
    let said = format!("{}{}", master.proc.out(), master.proc.err());
    (ended, said)
}

#[test]
fn a_peer_that_sends_wrong_bytes_is_replaced_and_named() {
    let (ended, said) = with_a_bad_peer(|count| Act::Bytes(vec![0x55; count as usize]));
    assert!(ended.iter().any(|e| e.err.contains("not what the digest says")));
    assert!(said.contains("wrong"), "{said}");
}

#[test]
fn a_peer_that_breaks_off_is_replaced_and_named() {
    with_a_bad_peer(|count| Act::HalfAndClose(vec![0x55; count as usize]));
}

#[test]
fn a_peer_that_never_answers_holds_nobody_up() {
    with_a_bad_peer(|_| Act::Freeze);
}

#[test]
fn a_peer_that_sends_nonsense_is_replaced_and_named() {
    with_a_bad_peer(|_| Act::Raw([&u32::MAX.to_le_bytes()[..], &[117, 0, 0]].concat()));
}

#[test]
fn a_peer_that_refuses_is_replaced_and_named() {
    with_a_bad_peer(|_| Act::Error("I have not got that"));
}

#[test]
fn a_master_bears_whatever_is_sent_to_it() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("file"), noise(1, 100_000)).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    use std::io::Write;
    for number in 0..200u64 {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", master.port)).unwrap();
        let mut bytes = noise(number, 300);
        if number % 2 == 0 {
            // A frame of the right form that means nothing.
            bytes[..4].copy_from_slice(&300u32.to_le_bytes());
            bytes[4] = 100 + (number % 30) as u8;
        }
        let _ = stream.write_all(&bytes);
    }
    let held: Vec<_> = (0..100)
        .map(|_| std::net::TcpStream::connect(("127.0.0.1", master.port)).unwrap())
        .collect();
    let lines = ["join 2 9", "join 99 9 .\n", "join 2 9 .\n", "replace 200 me lost\n", "x\n"];
    let asked = lines.map(|line| {
        let mut reader = Reader::connect(("127.0.0.1", master.port)).unwrap();
        let route = reader.open(&[".xget", "route"], 2).unwrap();
        // Refused or not, the master has to live on.
        let _ = reader.write(route, line.as_bytes());
        let _ = reader.write(route, b"replace 0 127.0.0.1!9 wrong\n");
        reader
    });
    let dest = scratch.join("dest");
    master.fetch(&scratch, [".".as_ref(), dest.as_os_str()]).expect(0).within(20);
    support::tree::assert_same(&source, &dest);
    drop((held, asked));
    until("it is still the same master", 2, || master.status().contains(" done "));
}
