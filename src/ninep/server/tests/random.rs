//! Thousands of requests from a seed, sense and nonsense: whatever comes, a
//! request has at most one reply, replies fit, and openings end once.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use super::*;

/// xorshift64: the seed is the whole test.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }
    fn pick<C: Copy>(&mut self, choices: &[C]) -> C {
        choices[self.below(choices.len() as u64) as usize]
    }
    fn fid(&mut self) -> u32 {
        if self.below(20) == 0 { self.pick(&[0, NOFID, 77]) } else { 1 + self.below(6) as u32 }
    }
    fn tag(&mut self) -> u16 {
        if self.below(50) == 0 { 0xffff } else { self.below(12) as u16 }
    }
    fn offset(&mut self) -> u64 {
        self.pick(&[0, 0, 0, 1, 2, 3, 17, 500, 9_999, 10_000, 1 << 63, u64::MAX])
    }
    fn count(&mut self) -> u32 {
        self.pick(&[0, 1, 30, 128, 256, 512, 4096, 65_536, u32::MAX])
    }
    fn name(&mut self) -> &'static [u8] {
        self.pick(&[
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
        ])
    }
    fn names(&mut self) -> Vec<&'static [u8]> {
        let count = self.pick(&[0, 1, 1, 1, 1, 2, 2, 3, 16, 17]);
        (0..count).map(|_| self.name()).collect()
    }
}

fn tattach(dice: &mut Dice, dialect: &str, tag: u16) -> Frame {
    let afid = dice.pick(&[NOFID, NOFID, NOFID, 3]);
    let aname: &[u8] = dice.pick(&[b"", b"/", b"dir", b"nowhere"]);
    let fid = dice.pick(&[0, 0, 0, 5]);
    let frame = Frame::new(TATTACH, tag).u32(fid).u32(afid).string(b"").string(aname);
    if dialect == "9P2000" { frame } else { frame.u32(0) }
}

/// A request that makes sense in `dialect`, more or less.
fn request(dice: &mut Dice, dialect: &str) -> Frame {
    let (tag, fid) = (dice.tag(), dice.fid());
    let linux = dialect == "9P2000.L";
    match dice.below(24) {
        0..2 => tattach(dice, dialect, tag),
        2..6 => twalk(tag, 0, dice.fid(), &[dice.name()]),
        6..8 => twalk(tag, fid, dice.fid(), &dice.names()),
        8..12 if linux => {
            Frame::new(TLOPEN, tag).u32(fid).u32(dice.pick(&[0, 0, 0, 1, 2, 3, 0o1001, 0o100_000]))
        }
        8..12 => Frame::new(TOPEN, tag).u32(fid).u8(dice.pick(&[0, 0, 0, 1, 2, 3, 0x11, 0x40])),
        12..16 => tread(tag, fid, dice.offset(), dice.count()),
        16 => treaddir(tag, fid, dice.offset(), dice.count()),
        17 => twrite(tag, fid, dice.offset(), dice.name()),
        18 => tflush(tag, dice.tag()),
        19..21 => tfid(TCLUNK, tag, fid),
        21 => tfid(TREMOVE, tag, fid),
        22 if linux => Frame::new(TGETATTR, tag).u32(fid).u64(0x7ff),
        22 => tfid(TSTAT, tag, fid),
        _ => tfid(dice.pick(&[TSTATFS, TREADLINK, TFSYNC]), tag, fid),
    }
}

/// What a client does with a file, in one flight.
fn visit(dice: &mut Dice, dialect: &str) -> Vec<Frame> {
    let (fid, mode) = (dice.fid(), dice.pick(&[0, 0, 0, 1, 2, 3, 0x11]));
    let open = match dialect {
        "9P2000.L" => Frame::new(TLOPEN, dice.tag()).u32(fid).u32(mode.into()),
        _ => Frame::new(TOPEN, dice.tag()).u32(fid).u8(mode),
    };
    let name = if dice.below(3) == 0 { b"parked" } else { dice.name() };
    let mut frames = vec![twalk(dice.tag(), 0, fid, &[name]), open];
    for _ in 0..dice.below(4) {
        frames.push(tread(dice.tag(), fid, dice.offset(), dice.count()));
    }
    frames
}

/// The same with a bit of it broken; the size field stays true.
fn broken(dice: &mut Dice, mut frame: Frame) -> Frame {
    match dice.below(4) {
        0 => frame.0[4] = dice.roll() as u8,
        1 => frame.0.truncate(7 + dice.below(frame.0.len() as u64 - 6) as usize),
        2 => frame = frame.u64(dice.roll()),
        _ => {
            let at = 4 + dice.below(frame.0.len() as u64 - 4) as usize;
            frame.0[at] ^= 1 << dice.below(8);
        }
    }
    frame
}

/// What has to hold between a peer and its session, after every frame.
struct Watch {
    peer: Peer,
    msize: u32,
    /// Tags of reads that were sent and not answered.
    waiting: BTreeSet<u16>,
}

impl Watch {
    fn send(&mut self, frame: Frame) {
        let (kind, tag) = (frame.0[4], u16_at(&frame.0, 5));
        let oldtag = (kind == TFLUSH && frame.0.len() == 9).then(|| u16_at(&frame.0, 7));
        let mut replies = self.peer.tell(frame);
        let own = replies.pop_if(|last| last.tag == tag);
        for reply in &replies {
            assert!(self.waiting.remove(&reply.tag), "unasked {reply:?}");
        }
        match own {
            None => assert!(kind == TREAD && self.waiting.insert(tag), "{kind} got no reply"),
            Some(reply) => self.take(&reply, oldtag),
        }
        self.check();
    }

    fn take(&mut self, reply: &Got, oldtag: Option<u16>) {
        assert!(reply.body.len() + 7 <= self.msize as usize, "{reply:?} beyond {}", self.msize);
        match reply.kind {
            RVERSION => {
                self.waiting.clear();
                self.msize = self.peer.session.frame_len_max();
            }
            RFLUSH => {
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
        assert_eq!(self.waiting.len(), self.peer.garden.waiting.len());
        assert!(self.peer.garden.open.is_disjoint(&self.peer.garden.closed));
    }
}

fn storm(seed: u64, dialect: &str, rounds: u32) -> Watch {
    let mut dice = Dice(seed);
    let mut watch =
        Watch { peer: Peer::attached(dialect), msize: MSIZE_MAX, waiting: BTreeSet::new() };
    for _ in 0..rounds {
        if watch.peer.session.dialect.is_none() || dice.below(400) == 0 {
            let msize = dice.pick(&[10, 256, 1000, 8192, 1 << 20]);
            let version = if dice.below(4) == 0 { "9P3000" } else { dialect };
            watch.send(tversion(0xffff, msize, version));
        }
        let flight = match dice.below(4) {
            0 => visit(&mut dice, dialect),
            _ => vec![request(&mut dice, dialect)],
        };
        for frame in flight {
            let frame = if dice.below(8) == 0 { broken(&mut dice, frame) } else { frame };
            if frame.0.len() <= watch.peer.session.frame_len_max() as usize {
                watch.send(frame);
            }
        }
        if dice.below(10) == 0 {
            watch.peer.garden.arrived = dice.below(3) == 0;
            let tickets: Vec<Ticket> = watch.peer.garden.waiting.iter().copied().collect();
            let stale = Ticket { conn: CONN, serial: dice.below(1000) };
            for ticket in tickets.into_iter().chain([stale]) {
                watch.resume(ticket);
            }
            watch.peer.garden.arrived = false;
        }
    }
    watch
}

#[test]
fn a_storm_of_requests_breaks_no_promise() {
    for dialect in DIALECTS {
        let (mut closed, mut forgotten) = (0, 0);
        for seed in 1..=20 {
            let mut watch = storm(seed * 0x9e37_79b9, dialect, 1_000);
            forgotten += watch.peer.garden.forgotten.len();
            watch.peer.close();
            watch.peer.close();
            closed += watch.peer.garden.closed.len();
        }
        // A storm that never reaches what it is about would prove nothing.
        assert!(closed > 400 && forgotten > 150, "{dialect}: {closed} closed, {forgotten}");
    }
}
