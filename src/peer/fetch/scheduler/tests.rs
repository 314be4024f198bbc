//! The scheduler by itself: requests asked for and answered one by one.

use super::*;

/// A scheduler with what it looks at.
struct Fixture {
    scheduler: Scheduler,
    holdings: Holdings,
    parents: Vec<Option<ConnId>>,
}

impl Fixture {
    fn new(stripes: u8, count: u32) -> Fixture {
        let mut holdings = Holdings::none(stripes);
        holdings.extend(count);
        let parents = vec![None; usize::from(stripes)];
        Fixture { scheduler: Scheduler::new(stripes), holdings, parents }
    }

    fn view(&self) -> View<'_> {
        View { holdings: &self.holdings, parents: &self.parents }
    }

    fn add_parent(&mut self, conn: u32, is_last_resort: bool) {
        self.scheduler.add_parent(ConnId(conn), is_last_resort);
    }

    fn set_parent(&mut self, stripe: usize, conn: u32) {
        self.parents[stripe] = Some(ConnId(conn));
    }

    fn drop_parent(&mut self, conn: u32) {
        self.scheduler.drop_parent(ConnId(conn));
        let gone = self.parents.iter_mut().filter(|p| **p == Some(ConnId(conn)));
        gone.for_each(|parent| *parent = None);
    }

    fn next(&mut self, conn: u32, now_ms: u64) -> Option<PieceRequest> {
        let view = View { holdings: &self.holdings, parents: &self.parents };
        self.scheduler.next_request(view, ConnId(conn), now_ms)
    }

    fn asks(&mut self, conn: u32, now_ms: u64) -> Vec<u32> {
        core::iter::from_fn(|| self.next(conn, now_ms)).map(|request| request.piece).collect()
    }

    fn hold(&mut self, piece: u32) -> Vec<u32> {
        self.holdings.hold(piece);
        self.scheduler.settle(piece).into_iter().map(|conn| conn.0).collect()
    }

    fn lose(&mut self, piece: u32) {
        self.holdings.lose(piece);
        self.scheduler.settle(piece);
    }

    fn arrived(&mut self, conn: u32, piece: u32, now_ms: u64) -> bool {
        self.scheduler.arrived(ConnId(conn), piece, now_ms)
    }

    fn absent(&mut self, conn: u32, piece: u32, now_ms: u64) {
        self.scheduler.absent(ConnId(conn), piece, now_ms);
    }

    fn missing_count(&self) -> u32 {
        self.holdings.missing().iter().sum()
    }

    fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        self.scheduler.deadline_ms(self.view(), now_ms)
    }
}

/// Each stripe has a parent whose connection has its number.
fn transfer(stripes: u8, count: u32) -> Fixture {
    let mut t = Fixture::new(stripes, count);
    for stripe in 0..usize::from(stripes) {
        t.add_parent(stripe as u32, false);
        t.set_parent(stripe, stripe as u32);
    }
    t
}

#[test]
fn each_parent_is_asked_for_its_stripe_in_order_within_the_window() {
    let mut t = transfer(4, 100);
    assert_eq!(t.asks(1, 0), (0..8).map(|i| 1 + 4 * i).collect::<Vec<_>>());
    assert!(t.arrived(1, 1, 5));
    assert_eq!(t.hold(1), [0u32; 0]);
    assert_eq!(t.asks(1, 6), vec![33]);
}

#[test]
fn a_faster_master_waits_for_the_others_unless_they_are_stuck() {
    let bring = |t: &mut Fixture, key| {
        let now = t.asks(key, 100);
        now.iter().for_each(|&piece| assert!(t.arrived(key, piece, 150)));
        now.iter().for_each(|&piece| assert!(t.hold(piece).is_empty()));
        now.len()
    };
    let begun = |is_master| {
        let mut t = transfer(4, 400);
        t.drop_parent(0);
        t.add_parent(0, is_master);
        t.set_parent(0, 0);
        (1..4).for_each(|key| assert_eq!(bring(&mut t, key), WINDOW));
        (1..4).for_each(|key| assert_eq!(t.asks(key, 150).len(), WINDOW));
        t
    };
    let turns = |t: &mut Fixture| -> Vec<usize> { (0..8).map(|_| bring(t, 0)).collect() };
    assert_eq!(turns(&mut begun(false)), [8; 8], "a peer");
    let mut t = begun(true);
    assert_eq!(turns(&mut t), [8, 8, 4, 4, 2, 2, 2, 2]);
    assert_eq!(turns(&mut t), [1; 8]);
    assert!(t.asks(0, 200).is_empty());
    t.scheduler.take_freed();
    t.hold(33);
    assert!(t.scheduler.take_freed());
    assert_eq!(t.asks(0, 200), [160], "one follows");
    (1..4).for_each(|key| t.drop_parent(key));
    assert_eq!(t.asks(0, 200).len(), WINDOW - 1, "nobody feeds them");
}

#[test]
fn a_lost_parents_pieces_go_to_the_others() {
    let mut t = transfer(2, 40);
    assert_eq!(t.asks(0, 0).len(), WINDOW);
    assert_eq!(t.asks(1, 0).len(), WINDOW);
    t.drop_parent(0);
    assert_eq!(t.asks(1, 0), [0u32; 0], "it gets another parent soon");
    assert_eq!(t.asks(1, ORPHAN_MS), vec![0, 2, 4, 6], "the stripe nobody feeds");
}

#[test]
fn the_master_helps_where_nobody_feeds_and_at_the_end_with_its_share() {
    let mut t = Fixture::new(2, 40);
    t.add_parent(0, true);
    t.add_parent(1, false);
    t.set_parent(0, 0);
    t.set_parent(1, 1);
    for piece in (4..40).step_by(2) {
        t.hold(piece);
    }
    assert_eq!(t.asks(0, 0), vec![0, 2], "its own stripe is not through");
    t.hold(0);
    t.hold(2);
    assert_eq!(t.asks(0, 0), vec![1, 5, 9, 13, 17, 21, 25, 29], "every other row");
    t.drop_parent(1);
    assert_eq!(t.asks(0, 0), [0u32; 0]);
    assert_eq!(t.asks(0, ORPHAN_MS), vec![3, 7, 11, 15], "what nobody else brings");
}

#[test]
fn a_stripe_that_lags_is_helped_when_others_are_through() {
    let mut t = transfer(2, 200);
    assert_eq!(t.asks(0, 0).len(), WINDOW);
    for round in 0..40 {
        for piece in t.asks(1, round) {
            assert!(t.holdings.missing_of(1) == 0 || piece % 2 == 1, "its own comes first");
            t.arrived(1, piece, round);
            t.hold(piece);
        }
        assert!(t.view().lags(0) || round < 3 || t.holdings.missing_of(0) <= LAG_MAX);
    }
    assert!(t.missing_count() <= WINDOW as u32, "all but what the slow one holds");
}

#[test]
fn at_the_end_a_late_piece_is_asked_of_another_and_counted_once() {
    let mut t = transfer(2, 4);
    assert_eq!(t.asks(0, 0), vec![0, 2]);
    assert_eq!(t.asks(1, 0), vec![1, 3], "its own, and no more yet");
    assert_eq!(t.asks(1, 499), [0u32; 0], "half a second at the least");
    assert_eq!(t.asks(1, 500), vec![0, 2]);
    assert!(t.arrived(1, 0, 510));
    assert_eq!(t.hold(0), vec![0], "the first one is told to forget it");
    assert!(!t.arrived(0, 0, 520));
    assert_eq!(t.missing_count(), 3);
}

#[test]
fn what_a_helper_keeps_is_soon_asked_of_the_stripes_own_parent() {
    let mut t = Fixture::new(4, 2);
    t.hold(1);
    t.scheduler.latency_ms = 9_000;
    t.scheduler.note_orphans(View { holdings: &t.holdings, parents: &t.parents }, 0);
    for key in 1..=3 {
        t.add_parent(key, false);
        let ask = t.next(key, u64::from(key) * 10_000);
        assert_eq!(ask, Some(PieceRequest { piece: 0, waits: false }), "a helper does not wait");
    }
    t.add_parent(9, true);
    assert_eq!(t.next(9, 90_000), None, "enough are asked");
    t.set_parent(0, 9);
    assert_eq!(t.next(9, 10_499), None);
    let ask = t.next(9, 10_500);
    assert_eq!(ask, Some(PieceRequest { piece: 0, waits: true }));
    assert_eq!(t.next(9, 90_000), None, "once");
}

#[test]
fn an_index_of_one_piece_is_asked_of_everybody() {
    let mut t = transfer(4, 1);
    for key in 0..4 {
        assert_eq!(t.next(key, 0), Some(PieceRequest { piece: 0, waits: true }));
        assert_eq!(t.next(key, 0), None);
    }
    assert_eq!(t.hold(0).len(), 4);
    assert_eq!(t.next(0, 0), None);
}

#[test]
fn a_helper_that_has_not_is_left_alone_for_a_while() {
    let mut t = transfer(2, 40);
    t.scheduler.latency_ms = SHARE_MS_MAX;
    t.drop_parent(0);
    t.scheduler.note_orphans(View { holdings: &t.holdings, parents: &t.parents }, 0);
    let now_ms = ORPHAN_MS;
    assert_eq!(t.asks(1, now_ms).len(), WINDOW + HELP_WINDOW);
    assert!(!t.scheduler.take_freed(), "nothing was asked of the lost one");
    t.absent(1, 0, now_ms);
    t.absent(1, 2, now_ms);
    assert!(
        t.scheduler.take_freed() && !t.scheduler.take_freed(),
        "a parent that came meanwhile can be asked"
    );
    assert_eq!(t.asks(1, now_ms + ABSENT_MS - 1), [0u32; 0]);
    assert_eq!(t.asks(1, now_ms + ABSENT_MS), vec![0, 2]);
    t.absent(1, 0, now_ms + ABSENT_MS);
    t.add_parent(2, false);
    t.set_parent(0, 2);
    assert_eq!(t.next(2, now_ms + ABSENT_MS), Some(PieceRequest { piece: 0, waits: true }));
}

#[test]
fn what_a_parent_owes_is_known_once_it_is_late() {
    let mut t = transfer(2, 40);
    assert_eq!(t.asks(0, 100).len(), WINDOW);
    assert_eq!(t.scheduler.owed_ms(t.view(), 0, 5_100), 5_000);
    assert_eq!(t.scheduler.owed_ms(t.view(), 1, 5_100), 0, "nothing was asked there");
    t.scheduler.latency_ms = 2_000;
    assert_eq!(t.scheduler.owed_ms(t.view(), 0, 5_100), 0, "pieces take that long here");
}

#[test]
fn the_master_is_asked_for_what_is_late_after_twice_the_time() {
    let mut t = transfer(1, 1);
    t.holdings.extend(2);
    t.hold(1);
    assert_eq!(t.asks(0, 0), vec![0]);
    t.add_parent(9, true);
    assert_eq!(t.asks(9, 999), [0u32; 0]);
    assert_eq!(t.asks(9, 1_000), vec![0]);
}

#[test]
fn patience_has_an_end_however_slow_it_was_before() {
    let mut t = transfer(2, 40);
    for piece in (0..40).filter(|p| *p != 10) {
        t.hold(piece);
    }
    t.scheduler.latency_ms = 9_000;
    assert_eq!(t.asks(0, 0), vec![10]);
    assert_eq!(t.deadline_ms(0), Some(2_000), "somebody else may be asked then");
    assert_eq!(t.asks(1, 1_999), [0u32; 0]);
    assert_eq!(t.asks(1, 2_000), vec![10]);
}

#[test]
fn idle_parents_help_with_what_a_stripe_that_stays_behind_has_unasked() {
    let mut t = transfer(2, 2 * (WINDOW as u32 + 3));
    assert_eq!(t.asks(0, 0).len(), WINDOW);
    let own = t.asks(1, 0);
    for piece in own {
        t.hold(piece);
    }
    let rest = t.asks(1, 1);
    assert_eq!(rest, [17, 19, 21], "its own stripe is not through");
    for piece in rest {
        t.hold(piece);
    }
    let waits = |a: &PieceRequest| a.waits;
    let all: Vec<PieceRequest> = core::iter::from_fn(|| t.next(1, 2)).collect();
    let pieces = |list: &[PieceRequest]| list.iter().map(|a| a.piece).collect::<Vec<_>>();
    assert_eq!(pieces(&all[..3]), [18, 16, 20], "its share first");
    assert_eq!(pieces(&all[3..]), [14, 10, 6, 2], "and what the parent was asked for last");
    assert_eq!(all.iter().map(waits).collect::<Vec<_>>()[..4], [true, false, false, true]);
}

#[test]
fn nobody_helps_where_more_is_to_come() {
    let mut t = transfer(2, 0);
    let count = 2 * (WINDOW as u32 + 3);
    t.holdings.extend_within(count, count + 1);
    assert_eq!(t.asks(0, 0).len(), WINDOW);
    for piece in (1..count).step_by(2) {
        t.hold(piece);
    }
    assert_eq!(t.asks(1, 1), [0u32; 0], "the rest of its uplink is others'");
    t.holdings.extend_within(count + 1, count + 1);
    assert_ne!(t.asks(1, 1), [0u32; 0]);
}

#[test]
fn refused_pieces_are_asked_elsewhere_and_given_up_pieces_not() {
    let mut t = transfer(2, 2);
    assert_eq!(t.next(0, 0), Some(PieceRequest { piece: 0, waits: true }));
    t.scheduler.refused(ConnId(0), 0);
    t.parents[0] = None;
    assert_eq!(t.asks(0, 0), [0u32; 0]);
    assert_eq!(t.asks(1, 0), vec![1]);
    assert_eq!(t.asks(1, ORPHAN_MS), vec![0]);
    t.scheduler.refused(ConnId(1), 0);
    assert_eq!(t.asks(1, 0), [0u32; 0]);
    t.lose(0);
    assert!(!t.holdings.is_complete());
    t.hold(1);
    assert!(t.holdings.is_complete());
}

#[test]
fn pieces_found_on_disk_are_not_asked_and_more_can_become_known() {
    let mut t = transfer(2, 1);
    t.hold(0);
    assert!(t.holdings.is_complete());
    t.holdings.extend(6);
    t.hold(2);
    assert_eq!(t.asks(0, 0), vec![4]);
    assert_eq!(t.asks(1, 0), vec![1, 3, 5]);
}
