//! Which piece to ask of which parent next.
//!
//! Knows what was asked of which parent, by its connection, and how long pieces
//! take. Refuses to know frames and bytes. What is held, and who is the parent of
//! which stripe, is handed in with each call ([`View`]).
//!
//! Order: a parent is asked for the pieces of its own stripes, the lowest first,
//! fewer at a time where the stripe is ahead; then for stripes without a parent;
//! when its own are through, for its share of those that lag; at the very end
//! for what other parents are late with. Help for a lagging stripe before that
//! would only take from another: links are full, and all nodes below would lag.
//!
//! Why nobody waits for ever: only the parent of a stripe is sure to get its pieces
//! earlier than we do, because the parents in one stripe form a tree. Any other may
//! itself wait for us, directly or through others. So a request that may be parked
//! goes to the stripe's parent, or at the end to a parent that is dealt a share,
//! because its own parent is asked for the same share; what is parked too long
//! there is asked of the stripe's parent again. Any other helper answers at once,
//! with the piece or that it does not hold it, and then is not asked for a while.

use crate::content::holdings::Holdings;
use alloc::vec;
use alloc::vec::Vec;
use ninep::server::ConnId;

/// Pieces asked of one parent at a time: covers the round trip and the time
/// that a parent holds a request of ours parked.
const WINDOW: usize = 8;
/// Pieces asked of one parent beyond that, for stripes that are not its own.
const HELP_WINDOW: usize = 4;
/// A stripe lags when it misses this many pieces more than the best one.
const LAG_MAX: u32 = WINDOW as u32;
/// The window halves with each so many pieces that the master's stripe is ahead.
const AHEAD_PIECES: u32 = WINDOW as u32;
/// A stripe without a parent is asked of others when the master has had this
/// long to name one: mostly it takes a round trip.
const ORPHAN_MS: u64 = 250;
/// A share that has not come within a multiple of what pieces take is asked of
/// the stripe's parent again: some may wait for each other.
const SHARE_MS_MIN: u64 = 40;
const SHARE_MS_MAX: u64 = 500;
/// At the end, a piece is asked of a second parent when it has been awaited
/// longer than this, and than a multiple of what pieces take: bounded, because
/// the time that pieces take grows with every wait.
const ENDGAME_MS_MIN: u64 = 500;
const ENDGAME_MS_MAX: u64 = 2_000;
const ENDGAME_FACTOR: u64 = 3;
/// A piece that is asked of one parent is asked of a second before it is late
/// where this many are missing of the last stripe.
const TWICE_MIN: u32 = 4;
/// Most parents asked for one piece at once.
const ASKED_MAX: usize = 3;
/// A helper that did not hold a piece is not asked for its stripe within this time.
const ABSENT_MS: u64 = 100;
/// Pieces that others say they lost asked of the master at a time: one answer settles
/// a whole file.
const DISPUTED_MAX: usize = 4;

/// What the scheduler decides by and does not own.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub holdings: &'a Holdings,
    /// The parent of each stripe.
    pub parents: &'a [Option<ConnId>],
}

/// What to ask of a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PieceRequest {
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

/// The requests that one parent has of us.
#[derive(Debug)]
struct Requests {
    conn: ConnId,
    /// The master: asked beyond its own stripes only where one has no parent.
    is_last_resort: bool,
    asked: Vec<Asked>,
    /// Missing pieces that it said are lost. The master is asked whether they are; until
    /// it has answered they take room in the window, so that they stay few.
    refused: Vec<u32>,
    /// For each stripe: not asked to help before, as it did not hold a piece.
    absent_until_ms: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Scheduler {
    /// For each stripe: every missing piece below this number is asked for.
    cursors: Vec<u32>,
    /// Since when a stripe was seen to have no parent.
    orphan_since_ms: Vec<Option<u64>>,
    parents: Vec<Requests>,
    /// What a piece takes from asking to arriving, smoothed.
    latency_ms: u64,
    /// Pieces that were asked of one parent can be asked of others again.
    is_freed: bool,
    /// A parent is asked for less because its stripe is ahead.
    is_held_back: bool,
    /// Nobody gives the manifest: the master is asked for all that is missing of it.
    pub is_stuck: bool,
}

impl View<'_> {
    fn stripe_count(&self) -> u32 {
        self.parents.len() as u32
    }

    fn stripe(&self, piece: u32) -> usize {
        piece as usize % self.parents.len()
    }

    fn parent_of(&self, piece: u32) -> Option<ConnId> {
        self.parents[self.stripe(piece)]
    }

    fn stripes(&self) -> core::ops::Range<usize> {
        0..self.parents.len()
    }

    /// The stripes whose parent this is.
    fn stripes_of(&self, conn: ConnId) -> impl Iterator<Item = usize> + '_ {
        self.stripes().filter(move |&stripe| self.parents[stripe] == Some(conn))
    }

    fn missing(&self, stripe: usize) -> u32 {
        self.holdings.missing_of(stripe)
    }

    /// It has stripes, and nothing is missing of them, nor will be: where a window ends before
    /// the last piece there is soon more, and what it gives to some for others is taken from
    /// those who wait for it.
    fn is_through(&self, conn: ConnId) -> bool {
        !self.holdings.has_more()
            && self.stripes_of(conn).map(|stripe| self.missing(stripe)).max() == Some(0)
    }

    /// The stripe is behind the others by more than windows explain.
    pub fn lags(&self, stripe: usize) -> bool {
        let least = self.holdings.missing().iter().copied().min().unwrap_or(0);
        self.missing(stripe) > least + LAG_MAX
    }
}

impl Requests {
    fn was_asked(&self, piece: u32) -> bool {
        self.asked.iter().any(|asked| asked.piece == piece)
    }

    /// Requests that can be answered yet, and those that the master has to.
    fn open_count(&self) -> usize {
        self.asked.len() + self.refused.len()
    }

    /// Takes a request back: since when it was there.
    fn take(&mut self, piece: u32) -> Option<u64> {
        let at = self.asked.iter().position(|asked| asked.piece == piece)?;
        Some(self.asked.swap_remove(at).since_ms)
    }
}

impl Scheduler {
    /// For so many stripes, and no parent yet.
    pub fn new(stripes: u8) -> Scheduler {
        let stripes = u32::from(stripes.max(1));
        Scheduler {
            cursors: (0..stripes).collect(),
            orphan_since_ms: vec![None; stripes as usize],
            parents: Vec::new(),
            latency_ms: 0,
            is_freed: false,
            is_held_back: false,
            is_stuck: false,
        }
    }

    fn find(&self, conn: ConnId) -> Option<usize> {
        self.parents.iter().position(|parent| parent.conn == conn)
    }

    fn requests(&mut self, conn: ConnId) -> Option<&mut Requests> {
        self.parents.iter_mut().find(|parent| parent.conn == conn)
    }

    fn parent_of_stripe(&self, view: View, stripe: usize) -> Option<&Requests> {
        self.parents.iter().find(|parent| Some(parent.conn) == view.parents[stripe])
    }

    /// How many parents were asked for a piece.
    fn asked_count(&self, piece: u32) -> usize {
        self.parents.iter().filter(|parent| parent.was_asked(piece)).count()
    }

    pub fn add_parent(&mut self, conn: ConnId, is_last_resort: bool) {
        if self.find(conn).is_none() {
            let (asked, refused) = (Vec::new(), Vec::new());
            let absent_until_ms = vec![0; self.cursors.len()];
            self.parents.push(Requests { conn, is_last_resort, asked, refused, absent_until_ms });
        }
    }

    /// The parent is gone: what it was asked for can be asked of others.
    pub fn drop_parent(&mut self, conn: ConnId) {
        let Some(at) = self.find(conn) else { return };
        for asked in self.parents.swap_remove(at).asked {
            self.free(asked.piece);
        }
    }

    /// The piece is held or lost. Gives the other parents that were asked for it,
    /// so that the requests can be flushed.
    pub fn settle(&mut self, piece: u32) -> Vec<ConnId> {
        self.is_freed |= core::mem::take(&mut self.is_held_back);
        for parent in &mut self.parents {
            if let Some(at) = parent.refused.iter().position(|refused| *refused == piece) {
                parent.refused.swap_remove(at);
                self.is_freed = true;
            }
        }
        let had_it = |parent: &mut Requests| parent.take(piece).map(|_| parent.conn);
        self.parents.iter_mut().filter_map(had_it).collect()
    }

    /// Who says of a missing piece that it is lost.
    pub fn refused_by(&self, piece: u32) -> Option<ConnId> {
        let refused = |parent: &&Requests| parent.refused.contains(&piece);
        self.parents.iter().find(refused).map(|parent| parent.conn)
    }

    /// Some parent says of a missing piece that it is lost.
    pub fn has_disputed(&self) -> bool {
        self.parents.iter().any(|parent| !parent.refused.is_empty())
    }

    fn lower_cursor(&mut self, piece: u32) {
        let stripe = piece as usize % self.cursors.len();
        self.cursors[stripe] = self.cursors[stripe].min(piece);
    }

    /// A piece that a parent will not bring can be asked of others.
    fn free(&mut self, piece: u32) {
        self.lower_cursor(piece);
        self.is_freed = true;
    }

    /// Whether, since this was last called, pieces became free to ask of others.
    pub fn take_freed(&mut self) -> bool {
        core::mem::take(&mut self.is_freed)
    }

    /// How long the stripe's parent owes a piece, when that is longer than
    /// pieces take; else 0.
    pub fn owed_ms(&self, view: View, stripe: usize, now_ms: u64) -> u64 {
        let since_ms = self.owed_since_ms(view, stripe);
        let owed_ms = since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms));
        if owed_ms > ENDGAME_FACTOR * self.latency_ms { owed_ms } else { 0 }
    }

    fn owed_since_ms(&self, view: View, stripe: usize) -> Option<u64> {
        let asked = self.parent_of_stripe(view, stripe).into_iter().flat_map(|p| &p.asked);
        let own = asked.filter(|asked| view.stripe(asked.piece) == stripe);
        own.map(|asked| asked.since_ms).min()
    }

    /// How many pieces to ask of a stripe's parent at a time. Of the master fewer
    /// where its stripe is ahead of all others: where its link is the faster one it
    /// would fill ours, and the other stripes would starve. Stripes that are stuck
    /// or have no parent are not waited for. Peers are not held back, because a
    /// slow one would not be found out.
    fn window(&self, view: View, stripe: usize, now_ms: u64) -> usize {
        if self.parent_of_stripe(view, stripe).is_none_or(|parent| !parent.is_last_resort) {
            return WINDOW;
        }
        let flows = |&s: &usize| view.parents[s].is_some() && self.owed_ms(view, s, now_ms) == 0;
        let others = view.stripes().filter(|&s| s != stripe).filter(flows);
        let least = others.map(|s| view.missing(s)).min().unwrap_or(0);
        let ahead = least.saturating_sub(view.missing(stripe)) / AHEAD_PIECES;
        WINDOW.checked_shr(ahead).unwrap_or(0)
    }

    /// Whether anything is awaited of this parent.
    pub fn awaits(&self, conn: ConnId) -> bool {
        self.find(conn).is_some_and(|at| !self.parents[at].asked.is_empty())
    }

    /// A piece came from this parent, corrupt or not; whether it was asked for.
    pub fn arrived(&mut self, conn: ConnId, piece: u32, now_ms: u64) -> bool {
        let taken = self.requests(conn).and_then(|requests| requests.take(piece));
        let Some(since_ms) = taken else { return false };
        let took_ms = now_ms.saturating_sub(since_ms);
        self.latency_ms = match self.latency_ms {
            0 => took_ms,
            before => (7 * before + took_ms) / 8,
        };
        self.lower_cursor(piece);
        true
    }

    /// The parent says that the piece is lost: it is not asked for it again.
    pub fn refused(&mut self, conn: ConnId, piece: u32) {
        if let Some(requests) = self.requests(conn)
            && requests.take(piece).is_some()
        {
            requests.refused.push(piece);
            self.free(piece);
        }
    }

    /// A helper does not hold the piece, or not yet.
    pub fn absent(&mut self, conn: ConnId, piece: u32, now_ms: u64) {
        let Some(requests) = self.requests(conn) else { return };
        if requests.take(piece).is_some() {
            let stripe = piece as usize % requests.absent_until_ms.len();
            requests.absent_until_ms[stripe] = now_ms + ABSENT_MS;
            self.free(piece);
        }
    }

    /// The piece to ask of this parent now, if any; noted as asked.
    #[inline(never)]
    pub fn next_request(&mut self, view: View, conn: ConnId, now_ms: u64) -> Option<PieceRequest> {
        let at = self.find(conn)?;
        self.note_orphans(view, now_ms);
        let open = self.parents[at].open_count();
        let (room, helps) = (WINDOW.saturating_sub(open), open < WINDOW + HELP_WINDOW);
        let mut own = self.first_of_all(view, at).or_else(|| self.next_disputed(at));
        if own.is_none() && self.is_stuck && self.parents[at].is_last_resort && room > 0 {
            let wanted =
                |&piece: &u32| view.holdings.misses(piece) && !self.parents[at].was_asked(piece);
            own = (0..view.holdings.count()).find(wanted);
        }
        if own.is_none() && room > 0 {
            own = self.next_own(view, at, now_ms);
        }
        let mut found = own;
        if found.is_none() && helps {
            found = self.next_help(view, at, now_ms);
        }
        if found.is_none() && room > 0 {
            own = self.next_share(view, at, 1);
            found = own.or_else(|| self.overdue(view, at, now_ms, false));
        }
        let piece = found?;
        self.parents[at].asked.push(Asked { piece, since_ms: now_ms });
        Some(PieceRequest { piece, waits: own.is_some() })
    }

    /// A manifest of one piece is asked of everybody: nothing else can begin
    /// before it is here, and it reaches each of them by another way.
    fn first_of_all(&self, view: View, at: usize) -> Option<u32> {
        let Requests { asked, refused, .. } = &self.parents[at];
        let is_all = view.holdings.count() == 1 && view.holdings.misses(0);
        (is_all && asked.is_empty() && refused.is_empty()).then_some(0)
    }

    /// Of the master alone: what a parent says is lost. Its word ends a piece; a peer's
    /// is a reason to ask it.
    fn next_disputed(&self, at: usize) -> Option<u32> {
        let master = &self.parents[at];
        if !master.is_last_resort {
            return None;
        }
        let disputed = || self.parents.iter().flat_map(|parent| &parent.refused).copied();
        let is_asked = |piece: &u32| master.was_asked(*piece);
        let is_full = disputed().filter(is_asked).count() >= DISPUTED_MAX;
        disputed().find(|piece| !is_full && !is_asked(piece))
    }

    /// Of the parent's own stripes, or its share of what is left of others.
    #[inline(never)]
    fn next_own(&mut self, view: View, at: usize, now_ms: u64) -> Option<u32> {
        let (conn, asked) = (self.parents[at].conn, self.parents[at].open_count());
        if let Some(piece) = self.overdue(view, at, now_ms, true) {
            return Some(piece);
        }
        let room = |t: &Scheduler, s: usize| t.window(view, s, now_ms).saturating_sub(asked);
        let is_own = |s: usize| view.parents[s] == Some(conn);
        let own = self.lowest_unasked(view, at, |t, s| is_own(s) && room(t, s) > 0);
        let waits = |s: usize| is_own(s) && view.missing(s) > 0 && room(self, s) == 0;
        self.is_held_back |= asked == 0 && view.stripes().any(waits);
        own.or_else(|| self.next_share(view, at, 0))
    }

    /// What is left of other stripes when those of this parent are through: it
    /// is dealt out over the trees of all stripes, row by row, as the whole was.
    /// The parent asks its own parent for the same. What was asked of the
    /// stripe's parent already is asked of this one as well, the last of it
    /// first, when there is much of it.
    fn next_share(&self, view: View, at: usize, times: usize) -> Option<u32> {
        let Requests { conn, ref refused, .. } = self.parents[at];
        if !view.is_through(conn) {
            return None;
        }
        let least = if times == 0 { 1 } else { TWICE_MIN };
        let fits = |piece: &u32| {
            view.holdings.misses(*piece)
                && self.asked_count(*piece) == times
                && !refused.contains(piece)
                && !self.parents[at].was_asked(*piece)
        };
        view.stripes_of(conn)
            .flat_map(|own| {
                let lagging = view.stripes().filter(move |&s| view.missing(s) >= least);
                lagging.map(move |stripe| self.share(view, stripe as u32, own as u32).filter(fits))
            })
            .find_map(|mut share| if times == 0 { share.next() } else { share.next_back() })
    }

    /// The pieces of a stripe that are dealt to the tree of stripe `own`. A row is
    /// one piece of each stripe, and rows are dealt to the trees in turn.
    fn share(&self, view: View, stripe: u32, own: u32) -> impl DoubleEndedIterator<Item = u32> {
        let stripes = view.stripe_count();
        let asked = self.parents.iter().flat_map(|p| &p.asked).map(|asked| asked.piece);
        let asked = asked.filter(|piece| piece % stripes == stripe).min();
        let first = asked.unwrap_or(u32::MAX).min(self.cursors[stripe as usize]) / stripes;
        let skip = (own + stripes - first % stripes) % stripes;
        let first = (first + skip) * stripes + stripe;
        (first..view.holdings.count()).step_by((stripes * stripes) as usize)
    }

    /// Of a stripe that is not its own: one without a parent, or any when its own
    /// are through.
    #[inline(never)]
    fn next_help(&mut self, view: View, at: usize, now_ms: u64) -> Option<u32> {
        let Requests { conn, is_last_resort, .. } = self.parents[at];
        let is_through = view.is_through(conn);
        self.lowest_unasked(view, at, |t, stripe| {
            t.parents[at].absent_until_ms[stripe] <= now_ms
                && view.parents[stripe] != Some(conn)
                && match t.orphan_since_ms[stripe] {
                    Some(since_ms) => since_ms + ORPHAN_MS <= now_ms,
                    None => !is_last_resort && is_through,
                }
        })
    }

    /// A piece that we have had for a while, of a stripe that another gives: who fetches
    /// as we do has it too.
    pub fn known(&self, view: View, conn: ConnId, salt: u64) -> Option<u32> {
        let count = view.stripe_count();
        let of = |stripe: usize| {
            let rows = self.cursors[stripe] / count / 2;
            let row = salt.checked_rem(u64::from(rows))? as u32;
            let piece = row * count + stripe as u32;
            (view.parents[stripe] != Some(conn) && view.holdings.holds(piece)).then_some(piece)
        };
        view.stripes().find_map(|at| of((at + salt as usize) % count as usize))
    }

    /// How long a stripe has had no parent.
    pub fn orphan_ms(&self, stripe: usize, now_ms: u64) -> u64 {
        self.orphan_since_ms[stripe].map_or(0, |since_ms| now_ms - since_ms)
    }

    /// What this parent owes for longest, and since when.
    pub fn oldest(&self, conn: ConnId) -> Option<(u32, u64)> {
        let asked = &self.parents[self.find(conn)?].asked;
        asked.iter().map(|asked| (asked.since_ms, asked.piece)).min().map(|(ms, piece)| (piece, ms))
    }

    pub fn note_orphans(&mut self, view: View, now_ms: u64) {
        for (since_ms, parent) in self.orphan_since_ms.iter_mut().zip(view.parents) {
            *since_ms = parent.is_none().then_some(since_ms.unwrap_or(now_ms));
        }
    }

    fn lowest_unasked(
        &mut self,
        view: View,
        at: usize,
        wanted: impl Fn(&Scheduler, usize) -> bool,
    ) -> Option<u32> {
        let mut best: Option<u32> = None;
        for stripe in view.stripes() {
            if !wanted(self, stripe) {
                continue;
            }
            let mut piece = self.advance(view, stripe);
            // Skips what this parent refused; the cursor stays for others.
            while piece < view.holdings.count()
                && (!self.is_unasked(view, piece) || self.parents[at].refused.contains(&piece))
            {
                piece += view.stripe_count();
            }
            if piece < view.holdings.count() {
                best = Some(best.map_or(piece, |b| b.min(piece)));
            }
        }
        best
    }

    fn is_unasked(&self, view: View, piece: u32) -> bool {
        view.holdings.misses(piece) && self.asked_count(piece) == 0
    }

    /// Moves the stripe's cursor to its first unasked piece, or past the end.
    fn advance(&mut self, view: View, stripe: usize) -> u32 {
        let mut cursor = self.cursors[stripe];
        while cursor < view.holdings.count() && !self.is_unasked(view, cursor) {
            cursor += view.stripe_count();
        }
        self.cursors[stripe] = cursor;
        cursor
    }

    /// How long a piece is awaited before this parent is asked as well: of its
    /// `own` stripes, or at the end of all others.
    fn patience_ms(&self, own: bool, is_last_resort: bool) -> u64 {
        let usual_ms = ENDGAME_FACTOR * self.latency_ms;
        let late_ms = usual_ms.clamp(ENDGAME_MS_MIN, ENDGAME_MS_MAX);
        match (own, is_last_resort) {
            (true, _) => usual_ms.clamp(SHARE_MS_MIN, SHARE_MS_MAX),
            (false, true) => 2 * late_ms,
            (false, false) => late_ms,
        }
    }

    /// What others have been asked for longest, too long ago: of its `own`
    /// stripes, or at the end of all others.
    fn overdue(&self, view: View, at: usize, now_ms: u64, own: bool) -> Option<u32> {
        let Requests { conn, is_last_resort, ref refused, ref absent_until_ms, .. } =
            self.parents[at];
        let patience_ms = self.patience_ms(own, is_last_resort);
        let may = |piece: u32| match view.parent_of(piece) == Some(conn) {
            true => own,
            false => {
                !own && self.asked_count(piece) < ASKED_MAX
                    && absent_until_ms[view.stripe(piece)] <= now_ms
            }
        };
        let others = self.parents.iter().filter(|parent| parent.conn != conn);
        others
            .flat_map(|parent| &parent.asked)
            .filter(|asked| asked.since_ms + patience_ms <= now_ms && may(asked.piece))
            .filter(|asked| !refused.contains(&asked.piece))
            .filter(|asked| !self.parents[at].was_asked(asked.piece))
            .min_by_key(|asked| (asked.since_ms, asked.piece))
            .map(|asked| asked.piece)
    }

    /// When something can be asked for that could not be at `tried_ms`, though
    /// nothing arrives until then. Called in every turn, so it is a plain
    /// loop over a few dozen requests.
    pub fn deadline_ms(&self, view: View, tried_ms: u64) -> Option<u64> {
        let mut next_ms = u64::MAX;
        let mut note = |at_ms: u64| {
            if at_ms > tried_ms && at_ms < next_ms {
                next_ms = at_ms;
            }
        };
        for since_ms in self.orphan_since_ms.iter().flatten() {
            note(since_ms + ORPHAN_MS);
        }
        let share_ms = self.patience_ms(true, false);
        let late_ms = [self.patience_ms(false, false), self.patience_ms(false, true)];
        // Who is held back may go on when the others are found to be stuck.
        let stuck_ms = ENDGAME_FACTOR * self.latency_ms + 1;
        for parent in &self.parents {
            parent.absent_until_ms.iter().for_each(|&at_ms| note(at_ms));
            for asked in &parent.asked {
                late_ms.iter().for_each(|wait_ms| note(asked.since_ms + wait_ms));
                if view.parent_of(asked.piece) != Some(parent.conn) {
                    note(asked.since_ms + share_ms);
                }
                if self.is_held_back {
                    note(asked.since_ms + stuck_ms);
                }
            }
        }
        (next_ms < u64::MAX).then_some(next_ms)
    }
}

#[cfg(feature = "testing")]
pub(super) mod bench;
#[cfg(test)]
mod tests;
