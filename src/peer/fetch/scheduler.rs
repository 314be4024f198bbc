//! The progress of one transfer: which piece to ask of which parent next.
//!
//! Knows pieces by number, parents by key, and who asked for what. Refuses to
//! know connections, fids and bytes. Pieces of a stripe are asked in order of
//! its parent, fewer at a time where it is ahead; a parent's own stripes come
//! first, then stripes that nobody feeds, its share of those that lag when its
//! own are through, and at the very end what others have kept us waiting for.
//! Before that help for a stripe that lags only takes from another: links are
//! full, and all below would lag as well.
//!
//! Only the feeder of a stripe is sure to have its pieces earlier than we do:
//! feeders form a tree. Another parent may itself wait for us, or for somebody
//! who does. So only the feeder is asked to hold a request until it can answer,
//! and at the end who is dealt a share, because its own feeder is asked for the
//! same; what waits too long there is asked of the stripe's feeder again.
//! Whoever else helps gives what it has, or says at once that it has not, and
//! is left alone for a while.

use crate::table::Table;
use alloc::vec;
use alloc::vec::Vec;

/// Pieces asked of one parent at a time: covers the round trip and the time
/// that a parent holds a request of ours parked.
pub const WINDOW: usize = 8;
/// Pieces asked of one parent beyond that, for stripes that are not its own.
pub const HELP_WINDOW: usize = 4;
/// A stripe lags when it misses this many pieces more than the best one.
const LAG_MAX: u32 = WINDOW as u32;
/// The window halves with each so many pieces that the master's stripe is ahead.
const AHEAD_PIECES: u32 = WINDOW as u32;
/// A stripe without a feeder is asked of others when the master has had this
/// long to name one: mostly it takes a round trip.
const ORPHAN_MS: u64 = 250;
/// A share that has not come within a multiple of what pieces take is asked of
/// the stripe's feeder again: some may wait for each other.
const SHARE_MS_MIN: u64 = 40;
const SHARE_MS_MAX: u64 = 500;
/// At the end, a piece is asked of a second parent when it has been awaited
/// longer than this, and than a multiple of what pieces take: bounded, because
/// what pieces take grows with every wait.
const ENDGAME_MS_MIN: u64 = 500;
const ENDGAME_MS_MAX: u64 = 2_000;
const ENDGAME_FACTOR: u64 = 3;
/// A piece that is asked of one parent is asked of a second before it is late
/// where this many are missing of the last stripe.
const TWICE_MIN: u32 = 4;
/// Most parents asked for one piece at once.
const ASKED_MAX: u8 = 3;
/// A helper that had not a piece of a stripe is not asked for that stripe again
/// within this time.
const ABSENT_MS: u64 = 100;

/// Names a parent to this module: whatever the caller counts up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParentKey(pub u32);

/// What to ask of a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceRequest {
    pub piece: u32,
    /// It may hold the request until it has the piece; else it is to answer at
    /// once, one way or the other.
    pub waits: bool,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    piece: u32,
    since_ms: u64,
}

#[derive(Debug)]
struct ParentState {
    key: ParentKey,
    /// The master: asked beyond its own stripes only where nobody feeds one.
    is_last_resort: bool,
    asked: Vec<Asked>,
    /// Pieces that it said it has not.
    refused: Table<u32, ()>,
    /// For each stripe: it had not what we wanted of it, until then.
    absent_until_ms: Vec<u64>,
}

const HELD: u8 = 0x80;
const GIVEN_UP: u8 = 0x40;
/// The low bits count how many parents were asked for the piece.
const ASKED: u8 = 0x0f;

#[derive(Debug)]
pub struct Scheduler {
    stripes: u32,
    state: Vec<u8>,
    /// For each stripe: no unasked piece stands below this number.
    cursors: Vec<u32>,
    /// For each stripe: pieces neither held nor given up.
    missing: Vec<u32>,
    feeders: Vec<Option<ParentKey>>,
    /// Since when a stripe was seen to have no feeder.
    orphan_since_ms: Vec<Option<u64>>,
    parents: Vec<ParentState>,
    /// What a piece takes from asking to arriving, smoothed.
    latency_ms: u64,
    /// Pieces that were asked of one parent can be asked of others again.
    is_freed: bool,
    /// A parent is asked for nothing because its stripe is ahead.
    is_held_back: bool,
}

impl Scheduler {
    pub fn new(stripes: u8) -> Scheduler {
        let stripes = u32::from(stripes.max(1));
        Scheduler {
            stripes,
            state: Vec::new(),
            cursors: (0..stripes).collect(),
            missing: vec![0; stripes as usize],
            feeders: vec![None; stripes as usize],
            orphan_since_ms: vec![None; stripes as usize],
            parents: Vec::new(),
            latency_ms: 0,
            is_freed: false,
            is_held_back: false,
        }
    }

    fn stripe(&self, piece: u32) -> usize {
        (piece % self.stripes) as usize
    }

    /// There are this many pieces in all: more than was known before.
    pub fn extend(&mut self, count: u32) {
        let from = self.state.len() as u32;
        self.state.resize((count as usize).max(self.state.len()), 0);
        for piece in from..count {
            let stripe = self.stripe(piece);
            self.missing[stripe] += 1;
            self.cursors[stripe] = self.cursors[stripe].min(piece);
        }
    }

    /// Nothing is missing of what is known.
    pub fn is_complete(&self) -> bool {
        self.missing.iter().all(|&missing| missing == 0)
    }

    pub fn missing_count(&self) -> u32 {
        self.missing.iter().sum()
    }

    pub fn missing_of(&self, stripe: usize) -> u32 {
        self.missing.get(stripe).copied().unwrap_or(0)
    }

    fn settle(&mut self, piece: u32, mark: u8) -> bool {
        let stripe = self.stripe(piece);
        let state = &mut self.state[piece as usize];
        let was_open = *state & (HELD | GIVEN_UP) == 0;
        if was_open {
            self.missing[stripe] -= 1;
            self.is_freed |= core::mem::take(&mut self.is_held_back);
        }
        *state = (*state & ASKED) | mark;
        was_open
    }

    /// The piece is here: verified and stored, or found on disk. Gives the
    /// others that were asked for it, so that they can be told to forget it.
    pub fn hold(&mut self, piece: u32) -> Vec<ParentKey> {
        self.settle(piece, HELD);
        self.forget(piece)
    }

    /// Nobody can give the piece, or it cannot be stored.
    pub fn give_up(&mut self, piece: u32) -> Vec<ParentKey> {
        self.settle(piece, GIVEN_UP);
        self.forget(piece)
    }

    fn forget(&mut self, piece: u32) -> Vec<ParentKey> {
        let mut keys = Vec::new();
        for parent in &mut self.parents {
            if let Some(at) = parent.asked.iter().position(|a| a.piece == piece) {
                parent.asked.swap_remove(at);
                keys.push(parent.key);
            }
        }
        self.state[piece as usize] &= !ASKED;
        keys
    }

    pub fn is_open(&self, piece: u32) -> bool {
        self.state.get(piece as usize).is_some_and(|s| s & (HELD | GIVEN_UP) == 0)
    }

    pub fn add_parent(&mut self, key: ParentKey, is_last_resort: bool) {
        if self.parent(key).is_none() {
            let (asked, refused) = (Vec::new(), Table::new());
            let absent_until_ms = vec![0; self.stripes as usize];
            let parent = ParentState { key, is_last_resort, asked, refused, absent_until_ms };
            self.parents.push(parent);
        }
    }

    /// The parent is gone: what it was asked for can be asked of others.
    pub fn drop_parent(&mut self, key: ParentKey) {
        let Some(at) = self.parents.iter().position(|p| p.key == key) else { return };
        let parent = self.parents.swap_remove(at);
        for asked in parent.asked {
            self.free(asked.piece);
        }
        for feeder in &mut self.feeders {
            if *feeder == Some(key) {
                *feeder = None;
            }
        }
    }

    pub fn set_feeder(&mut self, stripe: u8, key: Option<ParentKey>) {
        if let Some(feeder) = self.feeders.get_mut(usize::from(stripe)) {
            *feeder = key;
        }
    }

    fn unask(&mut self, piece: u32) {
        let stripe = self.stripe(piece);
        let state = &mut self.state[piece as usize];
        if *state & ASKED > 0 {
            *state -= 1;
        }
        self.cursors[stripe] = self.cursors[stripe].min(piece);
    }

    /// As `unask`, of a piece that the parent does not bring.
    fn free(&mut self, piece: u32) {
        self.unask(piece);
        self.is_freed = true;
    }

    /// Whether, since the last look, others may have something to be asked for
    /// that they were not before.
    pub fn take_freed(&mut self) -> bool {
        core::mem::take(&mut self.is_freed)
    }

    fn parent(&self, key: ParentKey) -> Option<usize> {
        self.parents.iter().position(|p| p.key == key)
    }

    /// How long the stripe's feeder owes a piece, when that is longer than
    /// pieces take; else 0.
    pub fn owed_ms(&self, stripe: usize, now_ms: u64) -> u64 {
        let asked = self.feeder(stripe).into_iter().flat_map(|p| &p.asked);
        let own = asked.filter(|a| self.stripe(a.piece) == stripe && self.is_open(a.piece));
        let owed_ms = own.map(|a| now_ms.saturating_sub(a.since_ms)).max().unwrap_or(0);
        if owed_ms > ENDGAME_FACTOR * self.latency_ms { owed_ms } else { 0 }
    }

    /// The stripe is behind the others by more than windows explain.
    pub fn lags(&self, stripe: usize) -> bool {
        let least = self.missing.iter().copied().min().unwrap_or(0);
        self.missing[stripe] > least + LAG_MAX
    }

    /// Pieces to ask at a time of a stripe's feeder: of the master fewer where it
    /// is ahead of all others, because a faster link of it fills ours and they
    /// starve. Of a stripe that is stuck, or that nobody feeds, there is nothing
    /// to wait for. Peers are not held back: a slow one would not be found out.
    fn window(&self, stripe: usize, now_ms: u64) -> usize {
        if self.feeder(stripe).is_none_or(|parent| !parent.is_last_resort) {
            return WINDOW;
        }
        let flows = |&s: &usize| self.feeders[s].is_some() && self.owed_ms(s, now_ms) == 0;
        let others = (0..self.missing.len()).filter(|&s| s != stripe).filter(flows);
        let least = others.map(|s| self.missing[s]).min().unwrap_or(0);
        let ahead = least.saturating_sub(self.missing[stripe]) / AHEAD_PIECES;
        WINDOW.checked_shr(ahead).unwrap_or(0)
    }

    fn feeder(&self, stripe: usize) -> Option<&ParentState> {
        self.parents.iter().find(|p| Some(p.key) == self.feeders[stripe])
    }

    /// Whether anything is awaited of this parent.
    pub fn awaits(&self, key: ParentKey) -> bool {
        self.parent(key).is_some_and(|at| !self.parents[at].asked.is_empty())
    }

    /// The piece came from this parent, right or wrong; whether it was asked.
    pub fn arrived(&mut self, key: ParentKey, piece: u32, now_ms: u64) -> bool {
        let Some(at) = self.parent(key) else { return false };
        let asked = &mut self.parents[at].asked;
        let Some(place) = asked.iter().position(|a| a.piece == piece) else { return false };
        let took_ms = now_ms.saturating_sub(asked.swap_remove(place).since_ms);
        self.latency_ms = match self.latency_ms {
            0 => took_ms,
            before => (7 * before + took_ms) / 8,
        };
        self.unask(piece);
        true
    }

    /// The parent says that it has not got the piece: ask it no more for it.
    pub fn refused(&mut self, key: ParentKey, piece: u32) {
        if let Some(at) = self.parent(key) {
            self.parents[at].asked.retain(|a| a.piece != piece);
            self.parents[at].refused.insert(piece, ());
            self.free(piece);
        }
    }

    /// A helper has not got the piece, or not yet.
    pub fn absent(&mut self, key: ParentKey, piece: u32, now_ms: u64) {
        let Some(at) = self.parent(key) else { return };
        let stripe = self.stripe(piece);
        let parent = &mut self.parents[at];
        let Some(place) = parent.asked.iter().position(|a| a.piece == piece) else { return };
        parent.asked.swap_remove(place);
        parent.absent_until_ms[stripe] = now_ms + ABSENT_MS;
        self.free(piece);
    }

    /// The piece to ask of this parent now, if any; noted as asked.
    pub fn next_ask(&mut self, key: ParentKey, now_ms: u64) -> Option<PieceRequest> {
        let at = self.parent(key)?;
        self.note_orphans(now_ms);
        let asked = self.parents[at].asked.len();
        let mut own = self.first_of_all(at);
        if own.is_none() && asked < WINDOW {
            own = self.overdue(at, now_ms, true);
            let feeds = |t: &Scheduler, s: usize| t.feeders[s] == Some(key);
            let room = |t: &Scheduler, s: usize| t.window(s, now_ms).saturating_sub(asked);
            own = own.or_else(|| self.lowest_unasked(at, |t, s| feeds(t, s) && room(t, s) > 0));
            let waits = |s: usize| feeds(self, s) && self.missing[s] > 0 && room(self, s) == 0;
            self.is_held_back |= asked == 0 && (0..self.missing.len()).any(waits);
            own = own.or_else(|| self.next_share(at, 0));
        }
        let mut found = own;
        if found.is_none() && asked < WINDOW + HELP_WINDOW {
            found = self.next_help(at, now_ms);
        }
        if found.is_none() && asked < WINDOW {
            own = self.next_share(at, 1);
            found = own;
        }
        if found.is_none() && asked < WINDOW {
            found = self.overdue(at, now_ms, false);
        }
        let piece = found?;
        self.state[piece as usize] += 1;
        self.parents[at].asked.push(Asked { piece, since_ms: now_ms });
        Some(PieceRequest { piece, waits: own.is_some() })
    }

    /// A manifest of one piece is asked of everybody: nothing else can begin
    /// before it is here, and it reaches each of them by another way.
    fn first_of_all(&self, at: usize) -> Option<u32> {
        let ParentState { asked, refused, .. } = &self.parents[at];
        let is_all = self.state.len() == 1 && self.is_open(0);
        (is_all && asked.is_empty() && refused.is_empty()).then_some(0)
    }

    /// What is left of other stripes when those of this parent are through: it
    /// is dealt out over the trees of all stripes, row by row, as the whole was.
    /// The parent asks its own parent for the same. What was asked of the
    /// stripe's feeder already is asked of this one as well, the last of it
    /// first, when there is much of it.
    fn next_share(&self, at: usize, times: u8) -> Option<u32> {
        let ParentState { key, ref asked, ref refused, .. } = self.parents[at];
        if !self.is_through(at) {
            return None;
        }
        let least = if times == 0 { 1 } else { TWICE_MIN };
        let fits = |p: &u32| {
            self.state[*p as usize] == times
                && !refused.contains_key(p)
                && !asked.iter().any(|mine| mine.piece == *p)
        };
        let own = (0..self.stripes).filter(|&s| self.feeders[s as usize] == Some(key));
        own.flat_map(|own| {
            let lagging = (0..self.stripes).filter(|&s| self.missing[s as usize] >= least);
            lagging.map(move |stripe| self.share(stripe, own).filter(fits))
        })
        .find_map(|mut share| if times == 0 { share.next() } else { share.next_back() })
    }

    /// The pieces of a stripe that fall to the tree of stripe `own`: of every
    /// row, which is one piece of each stripe, the next tree's.
    fn share(&self, stripe: u32, own: u32) -> impl DoubleEndedIterator<Item = u32> {
        let asked = self.parents.iter().flat_map(|p| &p.asked).map(|a| a.piece);
        let asked = asked.filter(|p| p % self.stripes == stripe).min();
        let first = asked.unwrap_or(u32::MAX).min(self.cursors[stripe as usize]) / self.stripes;
        let skip = (own + self.stripes - first % self.stripes) % self.stripes;
        let step = self.stripes * self.stripes;
        let first = (first + skip) * self.stripes + stripe;
        (first..self.state.len() as u32).step_by(step as usize)
    }

    fn is_through(&self, at: usize) -> bool {
        let key = self.parents[at].key;
        let own = (0..self.missing.len()).filter(|&s| self.feeders[s] == Some(key));
        own.map(|s| self.missing[s]).max() == Some(0)
    }

    /// Of a stripe that is not its own: one without a feeder, one that lags,
    /// or any when its own are through.
    fn next_help(&mut self, at: usize, now_ms: u64) -> Option<u32> {
        let ParentState { key, is_last_resort: reserved, .. } = self.parents[at];
        let is_through = self.is_through(at);
        self.lowest_unasked(at, |t, stripe| {
            t.parents[at].absent_until_ms[stripe] <= now_ms
                && t.feeders[stripe] != Some(key)
                && match t.orphan_since_ms[stripe] {
                    Some(since_ms) => since_ms + ORPHAN_MS <= now_ms,
                    None => !reserved && is_through,
                }
        })
    }

    fn note_orphans(&mut self, now_ms: u64) {
        for (since_ms, feeder) in self.orphan_since_ms.iter_mut().zip(&self.feeders) {
            *since_ms = feeder.is_none().then_some(since_ms.unwrap_or(now_ms));
        }
    }

    fn lowest_unasked(
        &mut self,
        at: usize,
        wanted: impl Fn(&Scheduler, usize) -> bool,
    ) -> Option<u32> {
        let mut best: Option<u32> = None;
        for stripe in 0..self.stripes as usize {
            if !wanted(self, stripe) {
                continue;
            }
            let mut piece = self.advance(stripe);
            // Skips what this parent refused; the cursor stays for others.
            while (piece as usize) < self.state.len()
                && (self.state[piece as usize] != 0
                    || self.parents[at].refused.contains_key(&piece))
            {
                piece += self.stripes;
            }
            if (piece as usize) < self.state.len() {
                best = Some(best.map_or(piece, |b| b.min(piece)));
            }
        }
        best
    }

    /// Moves the stripe's cursor to its first unasked piece, or past the end.
    fn advance(&mut self, stripe: usize) -> u32 {
        let mut cursor = self.cursors[stripe];
        while (cursor as usize) < self.state.len() && self.state[cursor as usize] != 0 {
            cursor += self.stripes;
        }
        self.cursors[stripe] = cursor;
        cursor
    }

    /// What others have been asked for longest, too long ago: of its `own`
    /// stripes, or at the end of all others.
    fn overdue(&self, at: usize, now_ms: u64, own: bool) -> Option<u32> {
        let ParentState {
            key, is_last_resort, ref asked, ref refused, ref absent_until_ms, ..
        } = self.parents[at];
        let late_ms = (ENDGAME_FACTOR * self.latency_ms).clamp(ENDGAME_MS_MIN, ENDGAME_MS_MAX);
        let patience_ms = match (own, is_last_resort) {
            (true, _) => (ENDGAME_FACTOR * self.latency_ms).clamp(SHARE_MS_MIN, SHARE_MS_MAX),
            (_, true) => 2 * late_ms,
            _ => late_ms,
        };
        let may = |piece: u32| match self.feeders[self.stripe(piece)] == Some(key) {
            true => own && self.state[piece as usize] & ASKED < ASKED,
            false => {
                !own && self.state[piece as usize] & ASKED < ASKED_MAX
                    && absent_until_ms[self.stripe(piece)] <= now_ms
            }
        };
        let others = self.parents.iter().filter(|p| p.key != key);
        others
            .flat_map(|p| &p.asked)
            .filter(|a| a.since_ms + patience_ms <= now_ms && may(a.piece))
            .filter(|a| !refused.contains_key(&a.piece))
            .filter(|a| !asked.iter().any(|mine| mine.piece == a.piece))
            .min_by_key(|a| (a.since_ms, a.piece))
            .map(|a| a.piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(stripes: u8, count: u32) -> Scheduler {
        let mut t = Scheduler::new(stripes);
        t.extend(count);
        for stripe in 0..stripes {
            t.add_parent(ParentKey(u32::from(stripe)), false);
            t.set_feeder(stripe, Some(ParentKey(u32::from(stripe))));
        }
        t
    }

    fn asks(t: &mut Scheduler, key: u32, now_ms: u64) -> Vec<u32> {
        core::iter::from_fn(|| t.next_ask(ParentKey(key), now_ms)).map(|ask| ask.piece).collect()
    }

    #[test]
    fn each_parent_is_asked_for_its_stripe_in_order_within_the_window() {
        let mut t = transfer(4, 100);
        assert_eq!(asks(&mut t, 1, 0), (0..8).map(|i| 1 + 4 * i).collect::<Vec<_>>());
        assert!(t.arrived(ParentKey(1), 1, 5));
        assert_eq!(t.hold(1), Vec::new());
        assert_eq!(asks(&mut t, 1, 6), vec![33]);
    }

    #[test]
    fn a_faster_master_waits_for_the_others_unless_they_are_stuck() {
        let bring = |t: &mut Scheduler, key| {
            let now = asks(t, key, 100);
            now.iter().for_each(|&piece| assert!(t.arrived(ParentKey(key), piece, 150)));
            now.iter().for_each(|&piece| assert!(t.hold(piece).is_empty()));
            now.len()
        };
        let begun = |is_master| {
            let mut t = transfer(4, 400);
            t.drop_parent(ParentKey(0));
            t.add_parent(ParentKey(0), is_master);
            t.set_feeder(0, Some(ParentKey(0)));
            (1..4).for_each(|key| assert_eq!(bring(&mut t, key), WINDOW));
            (1..4).for_each(|key| assert_eq!(asks(&mut t, key, 150).len(), WINDOW));
            t
        };
        let turns = |t: &mut Scheduler| -> Vec<usize> { (0..8).map(|_| bring(t, 0)).collect() };
        assert_eq!(turns(&mut begun(false)), [WINDOW; 8], "a peer");
        let mut t = begun(true);
        assert_eq!(turns(&mut t), [8, 8, 4, 4, 2, 2, 2, 2]);
        assert_eq!(turns(&mut t), [1; 8]);
        assert!(asks(&mut t, 0, 200).is_empty());
        t.take_freed();
        t.hold(33);
        assert!(t.take_freed());
        assert_eq!(asks(&mut t, 0, 200), [160], "one follows");
        (1..4).for_each(|key| t.drop_parent(ParentKey(key)));
        assert_eq!(asks(&mut t, 0, 200).len(), WINDOW - 1, "nobody feeds them");
    }

    #[test]
    fn a_lost_parents_pieces_go_to_the_others() {
        let mut t = transfer(2, 40);
        assert_eq!(asks(&mut t, 0, 0).len(), WINDOW);
        assert_eq!(asks(&mut t, 1, 0).len(), WINDOW);
        t.drop_parent(ParentKey(0));
        assert_eq!(asks(&mut t, 1, 0), Vec::<u32>::new(), "it gets another feeder soon");
        assert_eq!(asks(&mut t, 1, ORPHAN_MS), vec![0, 2, 4, 6], "the stripe nobody feeds");
    }

    #[test]
    fn the_master_helps_where_nobody_feeds_and_at_the_end_with_its_share() {
        let mut t = Scheduler::new(2);
        t.extend(40);
        t.add_parent(ParentKey(0), true);
        t.add_parent(ParentKey(1), false);
        t.set_feeder(0, Some(ParentKey(0)));
        t.set_feeder(1, Some(ParentKey(1)));
        for piece in (4..40).step_by(2) {
            t.hold(piece);
        }
        assert_eq!(asks(&mut t, 0, 0), vec![0, 2], "its own stripe is not through");
        t.hold(0);
        t.hold(2);
        assert_eq!(asks(&mut t, 0, 0), vec![1, 5, 9, 13, 17, 21, 25, 29], "every other row");
        t.drop_parent(ParentKey(1));
        assert_eq!(asks(&mut t, 0, 0), Vec::<u32>::new());
        assert_eq!(asks(&mut t, 0, ORPHAN_MS), vec![3, 7, 11, 15], "what nobody else brings");
    }

    #[test]
    fn a_stripe_that_lags_is_helped_when_others_are_through() {
        let mut t = transfer(2, 200);
        assert_eq!(asks(&mut t, 0, 0).len(), WINDOW);
        for round in 0..40 {
            for piece in asks(&mut t, 1, round) {
                assert!(t.missing_of(1) == 0 || piece % 2 == 1, "its own comes first");
                t.arrived(ParentKey(1), piece, round);
                t.hold(piece);
            }
            assert!(t.lags(0) || round < 3 || t.missing_of(0) <= LAG_MAX);
        }
        assert!(t.missing_count() <= WINDOW as u32, "all but what the slow one holds");
    }

    #[test]
    fn at_the_end_a_late_piece_is_asked_of_another_and_counted_once() {
        let mut t = transfer(2, 4);
        assert_eq!(asks(&mut t, 0, 0), vec![0, 2]);
        assert_eq!(asks(&mut t, 1, 0), vec![1, 3], "its own, and no more yet");
        assert_eq!(asks(&mut t, 1, 1000), vec![0, 2]);
        assert!(t.arrived(ParentKey(1), 0, 1010));
        assert_eq!(t.hold(0), vec![ParentKey(0)], "the first one is told to forget it");
        assert!(!t.arrived(ParentKey(0), 0, 1020));
        assert_eq!(t.missing_count(), 3);
    }

    #[test]
    fn what_a_helper_keeps_is_soon_asked_of_the_stripes_own_feeder() {
        let mut t = Scheduler::new(4);
        t.extend(2);
        t.hold(1);
        t.latency_ms = 9_000;
        t.note_orphans(0);
        for key in 1..=u32::from(ASKED_MAX) {
            t.add_parent(ParentKey(key), false);
            let ask = t.next_ask(ParentKey(key), u64::from(key) * 10_000);
            assert_eq!(
                ask,
                Some(PieceRequest { piece: 0, waits: false }),
                "a helper does not wait"
            );
        }
        t.add_parent(ParentKey(9), true);
        assert_eq!(t.next_ask(ParentKey(9), 90_000), None, "enough are asked");
        t.set_feeder(0, Some(ParentKey(9)));
        assert_eq!(t.next_ask(ParentKey(9), 10_000 + SHARE_MS_MAX - 1), None);
        let ask = t.next_ask(ParentKey(9), 10_000 + SHARE_MS_MAX);
        assert_eq!(ask, Some(PieceRequest { piece: 0, waits: true }));
        assert_eq!(t.next_ask(ParentKey(9), 90_000), None, "once");
    }

    #[test]
    fn an_index_of_one_piece_is_asked_of_everybody() {
        let mut t = transfer(4, 1);
        for key in 0..4 {
            assert_eq!(t.next_ask(ParentKey(key), 0), Some(PieceRequest { piece: 0, waits: true }));
            assert_eq!(t.next_ask(ParentKey(key), 0), None);
        }
        assert_eq!(t.hold(0).len(), 4);
        assert_eq!(t.next_ask(ParentKey(0), 0), None);
    }

    #[test]
    fn a_helper_that_has_not_is_left_alone_for_a_while() {
        let mut t = transfer(2, 40);
        t.latency_ms = SHARE_MS_MAX;
        t.drop_parent(ParentKey(0));
        t.note_orphans(0);
        let now_ms = ORPHAN_MS;
        assert_eq!(asks(&mut t, 1, now_ms).len(), WINDOW + HELP_WINDOW);
        assert!(!t.take_freed(), "nothing was asked of the lost one");
        t.absent(ParentKey(1), 0, now_ms);
        t.absent(ParentKey(1), 2, now_ms);
        assert!(t.take_freed() && !t.take_freed(), "a feeder that came meanwhile can be asked");
        assert_eq!(asks(&mut t, 1, now_ms + ABSENT_MS - 1), Vec::<u32>::new());
        assert_eq!(asks(&mut t, 1, now_ms + ABSENT_MS), vec![0, 2]);
        t.absent(ParentKey(1), 0, now_ms + ABSENT_MS);
        t.add_parent(ParentKey(2), false);
        t.set_feeder(0, Some(ParentKey(2)));
        assert_eq!(
            t.next_ask(ParentKey(2), now_ms + ABSENT_MS),
            Some(PieceRequest { piece: 0, waits: true })
        );
    }

    #[test]
    fn what_a_feeder_owes_is_known_once_it_is_late() {
        let mut t = transfer(2, 40);
        assert_eq!(asks(&mut t, 0, 100).len(), WINDOW);
        assert_eq!(t.owed_ms(0, 5_100), 5_000);
        assert_eq!(t.owed_ms(1, 5_100), 0, "nothing was asked there");
        t.latency_ms = 2_000;
        assert_eq!(t.owed_ms(0, 5_100), 0, "pieces take that long here");
    }

    #[test]
    fn patience_has_an_end_however_slow_it_was_before() {
        let mut t = transfer(2, 40);
        for piece in (0..40).filter(|p| *p != 10) {
            t.hold(piece);
        }
        t.latency_ms = 9_000;
        assert_eq!(asks(&mut t, 0, 0), vec![10]);
        assert_eq!(asks(&mut t, 1, ENDGAME_MS_MAX - 1), Vec::<u32>::new());
        assert_eq!(asks(&mut t, 1, ENDGAME_MS_MAX), vec![10]);
    }

    #[test]
    fn idle_parents_help_with_what_a_stripe_that_stays_behind_has_unasked() {
        let mut t = transfer(2, 2 * (WINDOW as u32 + 3));
        assert_eq!(asks(&mut t, 0, 0).len(), WINDOW);
        let own = asks(&mut t, 1, 0);
        for piece in own {
            t.hold(piece);
        }
        let rest = asks(&mut t, 1, 1);
        assert_eq!(rest, [17, 19, 21], "its own stripe is not through");
        for piece in rest {
            t.hold(piece);
        }
        let waits = |a: &PieceRequest| a.waits;
        let all: Vec<PieceRequest> = core::iter::from_fn(|| t.next_ask(ParentKey(1), 2)).collect();
        let pieces = |list: &[PieceRequest]| list.iter().map(|a| a.piece).collect::<Vec<_>>();
        assert_eq!(pieces(&all[..3]), [18, 16, 20], "its share first");
        assert_eq!(pieces(&all[3..]), [14, 10, 6, 2], "and what the feeder was asked for last");
        assert_eq!(all.iter().map(waits).collect::<Vec<_>>()[..4], [true, false, false, true]);
    }

    #[test]
    fn refused_pieces_are_asked_elsewhere_and_given_up_pieces_not() {
        let mut t = transfer(2, 2);
        assert_eq!(t.next_ask(ParentKey(0), 0), Some(PieceRequest { piece: 0, waits: true }));
        t.refused(ParentKey(0), 0);
        t.set_feeder(0, None);
        assert_eq!(asks(&mut t, 0, 0), Vec::<u32>::new());
        assert_eq!(asks(&mut t, 1, 0), vec![1]);
        assert_eq!(asks(&mut t, 1, ORPHAN_MS), vec![0]);
        t.refused(ParentKey(1), 0);
        assert_eq!(asks(&mut t, 1, 0), Vec::<u32>::new());
        t.give_up(0);
        assert!(!t.is_complete());
        t.hold(1);
        assert!(t.is_complete());
    }

    #[test]
    fn pieces_found_on_disk_are_not_asked_and_more_can_become_known() {
        let mut t = transfer(2, 1);
        t.hold(0);
        assert!(t.is_complete());
        t.extend(6);
        t.hold(2);
        assert_eq!(asks(&mut t, 0, 0), vec![4]);
        assert_eq!(asks(&mut t, 1, 0), vec![1, 3, 5]);
    }
}
