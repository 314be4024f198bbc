//! Requests at random, sense and nonsense, with shrinking: whatever comes, a
//! request has at most one reply and one unless it is flushed, replies fit, and
//! openings end once.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;

use super::*;

fn tag() -> impl Strategy<Value = u16> {
    prop_oneof![49 => 0..12_u16, 1 => Just(0xffff)]
}

fn fid() -> impl Strategy<Value = u32> {
    prop_oneof![19 => 1..7_u32, 1 => select(&[0, NOFID, 77])]
}

fn offset() -> impl Strategy<Value = u64> {
    select(&[0, 0, 0, 1, 2, 3, 17, 500, 9_999, 10_000, 1 << 63, u64::MAX])
}

fn count() -> impl Strategy<Value = u32> {
    select(&[0, 1, 30, 128, 256, 512, 4096, 65_536, u32::MAX])
}

const NAMES: &[&[u8]] = &[
    b"file",
    b"dir",
    b"inner",
    b"ctl",
    b"parked",
    b"parked",
    b"bulk",
    b"link",
    b"many",
    b"names",
    b"empty",
    b"secret",
    b"broken",
    b"entry-007",
    b".",
    b"..",
    b"absent",
    b"",
    b"a/b",
    b"\0",
    b"\xff",
];

fn names() -> impl Strategy<Value = Vec<&'static [u8]>> {
    prop_oneof![
        8 => vec_of(select(NAMES), 0..4),
        1 => vec_of(select(NAMES), 16..18),
    ]
}

fn tattach(dialect: &'static str) -> impl Strategy<Value = Frame> {
    let aname = select(vec![&b""[..], b"/", b"dir", b"nowhere"]);
    let afid = prop_oneof![3 => Just(NOFID), 1 => Just(3)];
    (tag(), prop_oneof![3 => Just(0), 1 => Just(5)], afid, aname).prop_map(
        move |(tag, fid, afid, aname)| {
            let frame = Frame::new(M::TATTACH, tag).u32(fid).u32(afid).string(b"").string(aname);
            if dialect == "9P2000" { frame } else { frame.u32(0) }
        },
    )
}

fn topen(dialect: &'static str) -> BoxedStrategy<Frame> {
    if dialect == "9P2000.L" {
        let flags = select(&[0, 0, 0, 1, 2, 3, 0o1001, 0o100_000]);
        return (tag(), fid(), flags)
            .prop_map(|(tag, fid, flags)| Frame::new(M::TLOPEN, tag).u32(fid).u32(flags))
            .boxed();
    }
    (tag(), fid(), select(&[0, 0, 0, 1, 2, 3, 0x11, 0x40]))
        .prop_map(|(tag, fid, mode)| Frame::new(M::TOPEN, tag).u32(fid).u8(mode))
        .boxed()
}

/// A request that makes sense in `dialect`, more or less.
fn request(dialect: &'static str) -> impl Strategy<Value = Frame> {
    let of_fid: &[M] = match dialect {
        "9P2000.L" => &[M::TSTATFS, M::TREADLINK, M::TFSYNC, M::TSTAT],
        _ => &[M::TSTAT, M::TREADLINK],
    };
    prop_oneof![
        2 => tattach(dialect),
        4 => (tag(), fid(), select(NAMES)).prop_map(|(tag, fid, name)| twalk(tag, 0, fid, &[name])),
        2 => (tag(), fid(), fid(), names())
            .prop_map(|(tag, fid, newfid, names)| twalk(tag, fid, newfid, &names)),
        4 => topen(dialect),
        4 => (tag(), fid(), offset(), count())
            .prop_map(|(tag, fid, offset, count)| tread(tag, fid, offset, count)),
        1 => (tag(), fid(), offset(), count())
            .prop_map(|(tag, fid, offset, count)| treaddir(tag, fid, offset, count)),
        1 => (tag(), fid(), offset(), select(NAMES))
            .prop_map(|(tag, fid, offset, data)| twrite(tag, fid, offset, data)),
        1 => (tag(), tag()).prop_map(|(tag, oldtag)| tflush(tag, oldtag)),
        2 => (tag(), fid()).prop_map(|(tag, fid)| tfid(M::TCLUNK, tag, fid)),
        1 => (tag(), fid()).prop_map(|(tag, fid)| tfid(M::TREMOVE, tag, fid)),
        1 => (tag(), fid())
            .prop_map(|(tag, fid)| Frame::new(M::TGETATTR, tag).u32(fid).u64(0x7ff)),
        1 => (select(of_fid), tag(), fid())
            .prop_map(|(message_type, tag, fid)| tfid(message_type, tag, fid)),
    ]
}

/// What a client does with a file, in one flight.
fn visit(dialect: &'static str) -> impl Strategy<Value = Vec<Frame>> {
    let name = prop_oneof![1 => Just(&b"parked"[..]), 2 => select(NAMES)];
    let reads = vec_of((tag(), offset(), count()), 0..4);
    (fid(), tag(), name, topen(dialect), reads).prop_map(|(fid, tag, name, open, reads)| {
        // The open is of the same fid, whichever it was made for.
        let open = Frame([&open.0[..7], &fid.to_le_bytes(), &open.0[11..]].concat());
        let reads = reads.into_iter().map(|(tag, offset, count)| tread(tag, fid, offset, count));
        [twalk(tag, 0, fid, &[name]), open].into_iter().chain(reads).collect()
    })
}

/// A frame with a bit of it broken; the size field stays true.
fn broken(frame: Frame) -> impl Strategy<Value = Frame> {
    (0..4, any::<Index>(), any::<u64>()).prop_map(move |(how, at, value)| {
        let mut frame = frame.clone();
        let len = frame.0.len();
        match how {
            0 => frame.0[4] = value as u8,
            1 => frame.0.truncate(7 + at.index(len - 6)),
            2 => frame = frame.u64(value),
            _ => frame.0[4 + at.index(len - 4)] ^= 1 << (value % 8),
        }
        frame
    })
}

#[derive(Clone, Debug)]
enum Step {
    Version { msize: u32, version: &'static str },
    Send(Vec<Frame>),
    Resume { arrived: bool, stale: u64 },
}

fn step(dialect: &'static str) -> impl Strategy<Value = Step> {
    let frame = || request(dialect);
    prop_oneof![
        1 => (select(&[10, 256, 1000, 8192, 1 << 20]), select(vec![dialect, dialect, "9P3000"]))
            .prop_map(|(msize, version)| Step::Version { msize, version }),
        200 => frame().prop_map(|frame| Step::Send(vec![frame])),
        40 => frame().prop_flat_map(broken).prop_map(|frame| Step::Send(vec![frame])),
        100 => visit(dialect).prop_map(Step::Send),
        30 => (prop::bool::weighted(0.3), 0..1000_u64)
            .prop_map(|(arrived, stale)| Step::Resume { arrived, stale }),
    ]
}

/// What has to hold between a peer and its session, after every frame.
struct Watch {
    peer: Peer,
    msize: u32,
    /// Tags of reads that were sent and not answered.
    waiting: BTreeSet<u16>,
}

impl Watch {
    fn take(&mut self, dialect: &str, step: Step) {
        match step {
            Step::Version { msize, version } => self.send(tversion(0xffff, msize, version)),
            Step::Send(frames) => {
                if self.peer.session.dialect().is_none() {
                    self.send(tversion(0xffff, 8192, dialect));
                    self.peer.attach(0, b"");
                }
                for frame in frames {
                    if frame.0.len() <= self.peer.session.frame_len_max() as usize {
                        self.send(frame);
                    }
                }
            }
            Step::Resume { arrived, stale } => {
                self.peer.tree.arrived = arrived;
                let tickets: Vec<Ticket> = self.peer.tree.waiting.iter().copied().collect();
                let stale = Ticket { conn: CONN, serial: stale };
                tickets.into_iter().chain([stale]).for_each(|ticket| self.resume(ticket));
                self.peer.tree.arrived = false;
            }
        }
    }

    fn send(&mut self, frame: Frame) {
        let (message_type, tag) = (M(frame.0[4]), u16_at(&frame.0, 5));
        let is_flush = message_type == M::TFLUSH && frame.0.len() == 9;
        let oldtag = is_flush.then(|| u16_at(&frame.0, 7));
        let mut replies = self.peer.tell(frame);
        let own = replies.pop_if(|last| last.tag == tag);
        for reply in &replies {
            assert!(self.waiting.remove(&reply.tag), "unasked {reply:?}");
        }
        match own {
            None => assert!(
                message_type == M::TREAD && self.waiting.insert(tag),
                "{message_type} got no reply"
            ),
            Some(reply) => self.hear(&reply, oldtag),
        }
        self.check();
    }

    fn hear(&mut self, reply: &Got, oldtag: Option<u16>) {
        assert!(reply.body.len() + 7 <= self.msize as usize, "{reply:?} beyond {}", self.msize);
        match reply.message_type {
            M::RVERSION => {
                self.waiting.clear();
                self.msize = self.peer.session.frame_len_max();
            }
            M::RFLUSH => {
                self.waiting.remove(&oldtag.expect("Rflush answers Tflush"));
            }
            _ => (),
        }
    }

    fn resume(&mut self, ticket: Ticket) {
        for reply in self.peer.resume(ticket) {
            assert!(self.waiting.remove(&reply.tag), "unasked {reply:?}");
        }
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.waiting.len(), self.peer.session.parked_count());
        assert_eq!(self.waiting.len(), self.peer.tree.waiting.len());
        assert!(self.peer.tree.open.is_disjoint(&self.peer.tree.closed));
    }
}

#[test]
fn random_requests_break_no_promise() {
    for dialect in DIALECTS {
        let (closed, forgotten) = (Cell::new(0), Cell::new(0));
        let config = ProptestConfig { cases: 30, ..ProptestConfig::default() };
        let run = TestRunner::new(config).run(&vec_of(step(dialect), 100..400), |steps| {
            let peer = Peer::attached(dialect);
            let mut watch = Watch { peer, msize: MSIZE_MAX, waiting: BTreeSet::new() };
            steps.into_iter().for_each(|step| watch.take(dialect, step));
            forgotten.set(forgotten.get() + watch.peer.tree.forgotten.len());
            watch.peer.close();
            watch.peer.close();
            closed.set(closed.get() + watch.peer.tree.closed.len());
            Ok(())
        });
        run.unwrap_or_else(|failure| panic!("{dialect}: {failure}"));
        // A run that never reaches what it is about would prove nothing.
        let (closed, forgotten) = (closed.get(), forgotten.get());
        assert!(closed > 100 && forgotten > 25, "{dialect}: {closed} closed, {forgotten}");
    }
}
