//! The progress of one transfer: which piece to ask of which parent next.
//!
//! Knows pieces by number, parents by key, and who asked for what. Refuses to
//! know connections, fids and bytes. Pieces of a stripe are asked in order of
//! its parent; a parent's own stripes come first, then stripes that nobody
//! feeds or that lag, and at the very end what others have kept us waiting
//! for: so a slow parent slows nobody.
//!
//! Help costs: only the feeder of a stripe is sure to have its pieces earlier
//! than we do. Another parent may have asked us, or somebody who asked us, and
//! then each waits for the other. So help is for stripes that fail, and what
//! helpers keep us waiting for is asked of the feeder in the end, always.

use crate::table::Table;

/// Pieces asked of one parent at a time: covers the round trip and the time
/// that a parent holds a request of ours parked.
pub const WINDOW: usize = 8;
/// Pieces asked of one parent beyond that, for stripes that are not its own.
pub const HELP_WINDOW: usize = 4;
/// A stripe lags when it misses this many pieces more than the best one.
const LAG_MAX: u32 = 3 * WINDOW as u32;
/// At the end, a piece is asked of a second parent when it has been awaited
/// longer than this, and than a multiple of what pieces take.
const ENDGAME_MS_MIN: u64 = 500;
const ENDGAME_MS_MAX: u64 = 5_000;
const ENDGAME_FACTOR: u64 = 3;
/// Most parents asked for one piece at once.
const ASKED_MAX: u8 = 3;

/// Names a parent to this module: whatever the caller counts up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u32);

#[derive(Clone, Copy, Debug)]
struct Asked {
    piece: u32,
    since_ms: u64,
}

#[derive(Debug)]
struct ParentState {
    key: Key,
    /// The master: asked beyond its own stripes only where nobody feeds one.
    is_last_resort: bool,
    asked: Vec<Asked>,
    /// Pieces that it said it has not.
    refused: Table<u32, ()>,
}

const HELD: u8 = 0x80;
const GIVEN_UP: u8 = 0x40;
/// The low bits count how many parents were asked for the piece.
const ASKED: u8 = 0x0f;

#[derive(Debug)]
pub struct Transfer {
    stripes: u32,
    state: Vec<u8>,
    /// For each stripe: no unasked piece stands below this number.
    cursors: Vec<u32>,
    /// For each stripe: pieces neither held nor given up.
    missing: Vec<u32>,
    feeders: Vec<Option<Key>>,
    parents: Vec<ParentState>,
    /// What a piece takes from asking to arriving, smoothed.
    latency_ms: u64,
}

impl Transfer {
    pub fn new(stripes: u8) -> Transfer {
        let stripes = u32::from(stripes.max(1));
        Transfer {
            stripes,
            state: Vec::new(),
            cursors: (0..stripes).collect(),
            missing: vec![0; stripes as usize],
            feeders: vec![None; stripes as usize],
            parents: Vec::new(),
            latency_ms: 0,
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

    fn settle(&mut self, piece: u32, mark: u8) -> bool {
        let stripe = self.stripe(piece);
        let state = &mut self.state[piece as usize];
        let was_open = *state & (HELD | GIVEN_UP) == 0;
        if was_open {
            self.missing[stripe] -= 1;
        }
        *state = (*state & ASKED) | mark;
        was_open
    }

    /// The piece is here: verified and stored, or found on disk. Gives the
    /// others that were asked for it, so that they can be told to forget it.
    pub fn hold(&mut self, piece: u32) -> Vec<Key> {
        self.settle(piece, HELD);
        self.forget(piece)
    }

    /// Nobody can give the piece, or it cannot be stored.
    pub fn give_up(&mut self, piece: u32) -> Vec<Key> {
        self.settle(piece, GIVEN_UP);
        self.forget(piece)
    }

    fn forget(&mut self, piece: u32) -> Vec<Key> {
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

    pub fn add_parent(&mut self, key: Key, is_last_resort: bool) {
        if self.parent(key).is_none() {
            let (asked, refused) = (Vec::new(), Table::new());
            self.parents.push(ParentState { key, is_last_resort, asked, refused });
        }
    }

    /// The parent is gone: what it was asked for can be asked of others.
    pub fn drop_parent(&mut self, key: Key) {
        let Some(at) = self.parents.iter().position(|p| p.key == key) else { return };
        let parent = self.parents.swap_remove(at);
        for asked in parent.asked {
            self.unask(asked.piece);
        }
        for feeder in &mut self.feeders {
            if *feeder == Some(key) {
                *feeder = None;
            }
        }
    }

    pub fn set_feeder(&mut self, stripe: u8, key: Option<Key>) {
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

    fn parent(&self, key: Key) -> Option<usize> {
        self.parents.iter().position(|p| p.key == key)
    }

    /// The stripe is behind the others by more than windows explain.
    pub fn lags(&self, stripe: usize) -> bool {
        let least = self.missing.iter().copied().min().unwrap_or(0);
        self.missing[stripe] > least + LAG_MAX
    }

    /// Whether anything is awaited of this parent.
    pub fn awaits(&self, key: Key) -> bool {
        self.parent(key).is_some_and(|at| !self.parents[at].asked.is_empty())
    }

    /// The piece came from this parent, right or wrong; whether it was asked.
    pub fn arrived(&mut self, key: Key, piece: u32, now_ms: u64) -> bool {
        let Some(at) = self.parent(key) else { return false };
        let asked = &mut self.parents[at].asked;
        let Some(place) = asked.iter().position(|a| a.piece == piece) else { return false };
        let took_ms = now_ms.saturating_sub(asked.swap_remove(place).since_ms);
        self.latency_ms =
            if self.latency_ms == 0 { took_ms } else { (7 * self.latency_ms + took_ms) / 8 };
        self.unask(piece);
        true
    }

    /// The parent says that it has not got the piece: ask it no more for it.
    pub fn refused(&mut self, key: Key, piece: u32) {
        if let Some(at) = self.parent(key) {
            self.parents[at].asked.retain(|a| a.piece != piece);
            self.parents[at].refused.insert(piece, ());
            self.unask(piece);
        }
    }

    /// The piece to ask of this parent now, if any; noted as asked.
    pub fn next_ask(&mut self, key: Key, now_ms: u64) -> Option<u32> {
        let at = self.parent(key)?;
        let asked = self.parents[at].asked.len();
        let mut found = None;
        if asked < WINDOW {
            found = self.lowest_unasked(at, |t, stripe| t.feeders[stripe] == Some(key));
        }
        if found.is_none() && asked < WINDOW + HELP_WINDOW {
            found = self.next_help(at);
        }
        if found.is_none() && asked < WINDOW {
            found = self.overdue(at, now_ms);
        }
        let piece = found?;
        self.state[piece as usize] += 1;
        self.parents[at].asked.push(Asked { piece, since_ms: now_ms });
        Some(piece)
    }

    /// Of a stripe that is not its own: one without a feeder, one that lags,
    /// or any when its own are through. While stripes keep pace, no piece of
    /// another is unasked by then.
    fn next_help(&mut self, at: usize) -> Option<u32> {
        let ParentState { key, is_last_resort: reserved, .. } = self.parents[at];
        let own = (0..self.missing.len()).filter(|&s| self.feeders[s] == Some(key));
        let is_through = own.map(|s| self.missing[s]).max() == Some(0);
        self.lowest_unasked(at, |t, stripe| {
            t.feeders[stripe].is_none() || (!reserved && (is_through || t.lags(stripe)))
        })
    }

    fn lowest_unasked(
        &mut self,
        at: usize,
        wanted: impl Fn(&Transfer, usize) -> bool,
    ) -> Option<u32> {
        let stripes = (0..self.stripes as usize).filter(|&s| wanted(self, s));
        let stripes: Vec<usize> = stripes.collect();
        let mut best: Option<u32> = None;
        for stripe in stripes {
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

    /// When everything has been asked: what others have been asked for longest.
    /// Of its own stripes that is what helpers were asked for.
    fn overdue(&self, at: usize, now_ms: u64) -> Option<u32> {
        let own = &self.parents[at];
        let feeds = |piece: u32| self.feeders[self.stripe(piece)] == Some(own.key);
        let late_ms = (ENDGAME_FACTOR * self.latency_ms).clamp(ENDGAME_MS_MIN, ENDGAME_MS_MAX);
        let patience_ms = |piece: u32| match feeds(piece) {
            true => ENDGAME_MS_MIN,
            false if own.is_last_resort => 2 * late_ms,
            false => late_ms,
        };
        let others = self.parents.iter().filter(|p| p.key != own.key);
        others
            .flat_map(|p| &p.asked)
            .filter(|a| a.since_ms + patience_ms(a.piece) <= now_ms)
            .filter(|a| feeds(a.piece) || self.state[a.piece as usize] & ASKED < ASKED_MAX)
            .filter(|a| !own.refused.contains_key(&a.piece))
            .filter(|a| !own.asked.iter().any(|mine| mine.piece == a.piece))
            .min_by_key(|a| (a.since_ms, a.piece))
            .map(|a| a.piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(stripes: u8, count: u32) -> Transfer {
        let mut t = Transfer::new(stripes);
        t.extend(count);
        for stripe in 0..stripes {
            t.add_parent(Key(u32::from(stripe)), false);
            t.set_feeder(stripe, Some(Key(u32::from(stripe))));
        }
        t
    }

    fn asks(t: &mut Transfer, key: u32, now_ms: u64) -> Vec<u32> {
        std::iter::from_fn(|| t.next_ask(Key(key), now_ms)).collect()
    }

    #[test]
    fn each_parent_is_asked_for_its_stripe_in_order_within_the_window() {
        let mut t = transfer(4, 100);
        assert_eq!(asks(&mut t, 1, 0), (0..8).map(|i| 1 + 4 * i).collect::<Vec<_>>());
        assert!(t.arrived(Key(1), 1, 5));
        assert_eq!(t.hold(1), Vec::new());
        assert_eq!(asks(&mut t, 1, 6), vec![33]);
    }

    #[test]
    fn a_lost_parents_pieces_go_to_the_others() {
        let mut t = transfer(2, 40);
        assert_eq!(asks(&mut t, 0, 0).len(), WINDOW);
        assert_eq!(asks(&mut t, 1, 0).len(), WINDOW);
        t.drop_parent(Key(0));
        assert_eq!(asks(&mut t, 1, 0), vec![0, 2, 4, 6], "the stripe nobody feeds");
    }

    #[test]
    fn the_master_helps_only_where_nobody_feeds() {
        let mut t = Transfer::new(2);
        t.extend(40);
        t.add_parent(Key(0), true);
        t.add_parent(Key(1), false);
        t.set_feeder(0, Some(Key(0)));
        t.set_feeder(1, Some(Key(1)));
        for piece in (0..40).step_by(2) {
            t.hold(piece);
        }
        assert_eq!(asks(&mut t, 0, 0), Vec::<u32>::new(), "its own stripe is through");
        t.drop_parent(Key(1));
        assert_eq!(asks(&mut t, 0, 0).len(), WINDOW + HELP_WINDOW);
    }

    #[test]
    fn a_stripe_that_lags_is_helped() {
        let mut t = transfer(2, 200);
        assert_eq!(asks(&mut t, 0, 0).len(), WINDOW);
        for round in 0..40 {
            for piece in asks(&mut t, 1, round) {
                t.arrived(Key(1), piece, round);
                t.hold(piece);
            }
        }
        assert!(t.missing_count() <= WINDOW as u32, "all but what the slow one holds");
    }

    #[test]
    fn at_the_end_a_late_piece_is_asked_of_another_and_counted_once() {
        let mut t = transfer(2, 4);
        assert_eq!(asks(&mut t, 0, 0), vec![0, 2]);
        assert_eq!(asks(&mut t, 1, 0), vec![1, 3], "its own, and no more yet");
        assert_eq!(asks(&mut t, 1, 1000), vec![0, 2]);
        assert!(t.arrived(Key(1), 0, 1010));
        assert_eq!(t.hold(0), vec![Key(0)], "the first one is told to forget it");
        assert!(!t.arrived(Key(0), 0, 1020));
        assert_eq!(t.missing_count(), 3);
    }

    #[test]
    fn what_helpers_keep_us_waiting_for_is_asked_of_the_feeder() {
        // The helpers may wait for us in turn: only the feeder ends that.
        let mut t = Transfer::new(4);
        t.extend(1);
        for key in 1..=u32::from(ASKED_MAX) {
            t.add_parent(Key(key), false);
            assert_eq!(t.next_ask(Key(key), u64::from(key) * 1000), Some(0));
        }
        t.add_parent(Key(9), true);
        assert_eq!(t.next_ask(Key(9), 9000), None, "enough are asked");
        t.set_feeder(0, Some(Key(9)));
        assert_eq!(t.next_ask(Key(9), 9000), Some(0));
        assert_eq!(t.next_ask(Key(9), 9000), None, "once");
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
        assert_eq!(asks(&mut t, 1, 2), [16, 18, 20]);
    }

    #[test]
    fn patience_has_an_end_however_slow_it_was_before() {
        let mut t = transfer(2, 40);
        for piece in (0..40).filter(|p| *p != 11) {
            t.hold(piece);
        }
        t.latency_ms = 9_000;
        assert_eq!(asks(&mut t, 1, 0), vec![11]);
        assert_eq!(asks(&mut t, 0, ENDGAME_MS_MAX - 1), Vec::<u32>::new());
        assert_eq!(asks(&mut t, 0, ENDGAME_MS_MAX), vec![11]);
    }

    #[test]
    fn refused_pieces_are_asked_elsewhere_and_given_up_pieces_not() {
        let mut t = transfer(2, 2);
        assert_eq!(t.next_ask(Key(0), 0), Some(0));
        t.refused(Key(0), 0);
        t.set_feeder(0, None);
        assert_eq!(asks(&mut t, 0, 0), Vec::<u32>::new());
        assert_eq!(asks(&mut t, 1, 0), vec![1, 0]);
        t.refused(Key(1), 0);
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
