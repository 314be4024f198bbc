//! The hot paths by themselves: a request decoded, a reply's header taken, a
//! piece verified, the next piece chosen, a node placed among ten thousand.
//!
//!     cargo bench --bench hot

#![allow(clippy::unwrap_used)] // in a benchmark a panic is the report

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ninep::Dialect;
use ninep::wire::{reply, request};
use peer::auth::{Greeting, Hello, Key, Random};
use peer::content::digest;
use peer::content::manifest::{Entry, EntryKind, Manifest, PIECE_LEN};
use peer::content::pieces::{ManifestPieces, PieceMap};
use peer::control::Complaint;
use peer::fetch::SchedulerBench;
use peer::overlay::{Forest, Limits, Newcomer, NodeId, Parent, Voice};
use std::hint::black_box;

const NODES: u32 = 10_000;
const STRIPES: u8 = 4;

fn frames(c: &mut Criterion) {
    let mut frame = Vec::new();
    request::tread(7, 3, 1 << 40, PIECE_LEN, &mut frame);
    c.bench_function("decode a Tread", |b| {
        b.iter(|| request::decode(Some(Dialect::Unix), black_box(&frame)).unwrap().0)
    });
    let header = reply::rread_header(7, PIECE_LEN);
    let len = PIECE_LEN + header.len() as u32;
    c.bench_function("decode the header of an Rread", |b| {
        b.iter(|| reply::decode(black_box(&header), len).unwrap().0)
    });
}

/// One file of eight pieces.
fn manifest_of(bytes: &[u8]) -> Manifest {
    let lists = digest::list_of(bytes, PIECE_LEN);
    let digest = digest::of_list(&lists, bytes.len() as u64, PIECE_LEN).unwrap();
    let (name, size) = (b"file"[..].into(), bytes.len() as u64);
    let file = Entry { name, kind: EntryKind::File, size, digest, ..Entry::bare_root() };
    let entries = vec![Entry::bare_root(), file];
    Manifest { piece_len: PIECE_LEN, root_described: true, entries, lists, xattrs: Vec::new() }
}

fn pieces(c: &mut Criterion) {
    let bytes = vec![0x5a; 8 * PIECE_LEN as usize];
    let manifest = manifest_of(&bytes);
    let map = PieceMap::new(ManifestPieces::of(&manifest.encode(), PIECE_LEN), &manifest);
    let (first, piece) = (map.manifest_pieces().count(), &bytes[..PIECE_LEN as usize]);
    let mut group = c.benchmark_group("pieces");
    group.throughput(Throughput::Bytes(u64::from(PIECE_LEN)));
    group.bench_function("verify one", |b| {
        b.iter(|| map.verify(&manifest, first, black_box(piece)).unwrap())
    });
    group.finish();
}

/// What a connection costs either side where there is a key.
fn handshake(c: &mut Criterion) {
    let key = Key::root([7; 32]).cluster().unwrap();
    let (mut own, mut other) = (Random::new([1; 32]), Random::new([2; 32]));
    c.bench_function("a handshake, of who calls and of who is called", |b| {
        b.iter(|| {
            let (hello, message) = Hello::new(&key, &mut own);
            let greeting = Greeting::open(&key, &mut other, &message).unwrap();
            let (mut called, answer) = greeting.answer().unwrap();
            let (_, proof) = hello.finish(&answer).unwrap();
            assert!(called.is_proved_by(&proof));
        })
    });
    let (_, message) = Hello::new(&key, &mut own);
    c.bench_function("a handshake, of who is called, by a copy", |b| {
        b.iter(|| Greeting::open(&key, &mut other, &message).unwrap().answer().unwrap().1)
    });
    let stranger = Key::root([8; 32]).cluster().unwrap();
    c.bench_function("a handshake, of who is called, by another key", |b| {
        b.iter(|| Greeting::open(&stranger, &mut other, &message).is_err())
    });
}

fn schedule(c: &mut Criterion) {
    // Four parents, a stripe each; a piece arrives and the next one is asked.
    c.bench_function("a piece arrives and the next is asked", |b| {
        b.iter_batched(
            || SchedulerBench::new(STRIPES, 8_000),
            |mut bench| {
                for _ in 0..1_000 {
                    black_box(bench.step());
                }
                bench
            },
            BatchSize::LargeInput,
        )
    });
}

fn newcomer(id: u32) -> Newcomer {
    Newcomer {
        node: NodeId(id),
        rack: None,
        voice: Voice(id.into()),
        is_partial: false,
        is_reached: true,
    }
}

fn forest() -> Forest {
    let limits = Limits { stripes: STRIPES, slots: u16::from(STRIPES), head_copies: 1 };
    let mut forest = Forest::new(limits);
    for id in 1..=NODES {
        forest.join(newcomer(id), 0);
    }
    while forest.poll_change().is_some() {}
    forest
}

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("ten thousand nodes");
    group.sample_size(20);
    let mut crowd = forest();
    group.bench_function("one joins and leaves", |b| {
        b.iter(|| {
            crowd.join(newcomer(NODES + 1), 0);
            while crowd.poll_change().is_some() {}
            crowd.leave(NodeId(NODES + 1));
            while let Some(change) = crowd.poll_change() {
                black_box(change);
            }
        })
    });
    group.bench_function("a thousand lose a parent", |b| {
        b.iter_batched(
            forest,
            |mut crowd| {
                for id in (1..=NODES).step_by(NODES as usize / 1000) {
                    if let Some(lost @ Parent::Node(_)) = crowd.parent(NodeId(id), 0) {
                        black_box(crowd.replace(NodeId(id), 0, lost, Complaint::Lost, 0));
                    }
                    while let Some(change) = crowd.poll_change() {
                        black_box(change);
                    }
                }
                crowd
            },
            BatchSize::PerIteration,
        )
    });
    group.finish();
}

criterion_group!(benches, frames, pieces, handshake, schedule, routes);
criterion_main!(benches);
