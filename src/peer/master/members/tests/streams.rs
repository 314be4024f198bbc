//! What those who stream say of themselves and of each other, true or not.

use super::*;

const MINUTE_MS: u64 = 60_000;

impl Fixture {
    /// So many who stream, and all that they are told of each other.
    fn of_streams(count: u32) -> Fixture {
        let mut fixture = fixture();
        fixture.members = Members::new(Limits { stripes: 2, slots: 4, head_copies: 1 });
        (1..=count).for_each(|number| fixture.join_with(number, Some(1 << 20)));
        fixture
    }

    fn join_with(&mut self, number: u32, window_bytes: Option<u64>) {
        let (open_id, from) = (id(number), addr(number));
        let Fixture { members, server, generation } = self;
        members.join(server, 0, open_id, from, (*generation, window_bytes)).unwrap();
        members.found(server, 0, from, &Finding::Well { is_refuted: false });
    }

    /// Who feeds a member in a stripe, if it is not the master.
    fn parent_in(&self, number: u32, stripe: usize) -> Option<ParentAddr> {
        let parents = self.parent(number);
        let parent = ParentAddr::parse(parents.split(',').nth(stripe)?)?;
        (parent != ParentAddr::Master).then_some(parent)
    }

    fn parent_of_any(&self, number: u32) -> Option<(u8, ParentAddr)> {
        (0..2).find_map(|stripe| Some((stripe as u8, self.parent_in(number, stripe)?)))
    }

    /// A member says that a parent keeps no more what it wants; whether that is blame.
    fn passed(&mut self, now_ms: u64, number: u32, (stripe, parent): (u8, ParentAddr)) -> bool {
        let accusation = (stripe, parent, Complaint::Passed, None);
        let (said, _) = self.members.replace(&mut self.server, now_ms, id(number), accusation);
        !said.is_empty()
    }

    fn is_behind(&self, number: u32) -> bool {
        let member = self.members.list.get(&id(number)).unwrap();
        self.members.groups.get(&self.generation).unwrap().is_behind(member.node)
    }

    fn is_full(&mut self, number: u32) -> bool {
        self.members.list.get(&id(number)).unwrap().stream.is_full
    }
}

#[test]
fn who_is_passed_by_two_is_behind_and_by_one_however_often_is_not() {
    let mut fixture = Fixture::of_streams(12);
    let first = fixture.parent_of_any(12).expect("one of them feeds it");
    for _ in 0..3 {
        fixture.passed(0, 12, first);
        assert!(!fixture.is_behind(12), "one may lie");
    }
    let second = fixture.parent_of_any(12).expect("another feeds it");
    assert_ne!(first.1, second.1);
    fixture.passed(0, 12, second);
    assert!(fixture.is_behind(12));
}

#[test]
fn two_in_an_hour_are_not_two_at_a_time() {
    let mut fixture = Fixture::of_streams(12);
    let first = fixture.parent_of_any(12).unwrap();
    fixture.passed(0, 12, first);
    let second = fixture.parent_of_any(12).unwrap();
    fixture.passed(MINUTE_MS, 12, second);
    assert!(!fixture.is_behind(12));
}

#[test]
fn who_keeps_all_cannot_have_passed_anything_and_is_looked_at() {
    let mut fixture = fixture();
    fixture.members = Members::new(Limits { stripes: 2, slots: 4, head_copies: 1 });
    (1..=6).for_each(|number| fixture.join_with(number, None));
    fixture.join_with(7, Some(1 << 20));
    let said = fixture.parent_of_any(7).unwrap();
    assert!(fixture.passed(0, 7, said));
    // Nor does who keeps all need to be passed.
    let said = fixture.parent_of_any(6).unwrap();
    assert!(fixture.passed(0, 6, said));
}

#[test]
fn who_says_it_of_all_without_end_is_moved_a_few_times() {
    let mut fixture = Fixture::of_streams(40);
    let mut moves = 0;
    for _ in 0..1_000 {
        let Some(said) = fixture.parent_of_any(40) else { break };
        fixture.passed(0, 40, said);
        moves += 1;
    }
    // Then it is behind, where those are alone who say so.
    assert!(fixture.is_behind(40) && moves <= 3, "{moves}");
}

#[test]
fn nobody_is_held_to_be_slow_who_gets_what_others_leave() {
    let mut fixture = Fixture::of_streams(2);
    let stats = TransferStats { have_bytes: 1 << 30, ..TransferStats::default() };
    for number in 1..=2 {
        fixture.members.note(id(number), stats, false);
    }
    (3..=12).for_each(|number| fixture.join_with(number, Some(1 << 20)));
    assert!((3..=12).all(|number| fixture.is_behind(number)), "nobody has the start");
    let accuse = |fixture: &mut Fixture, now_ms| -> Vec<String> {
        let mut warnings = Vec::new();
        for number in 3..=12 {
            for stripe in 0..2 {
                let parent = fixture.parent_in(number, stripe.into());
                let Some(parent) = parent else { continue };
                let said = (stripe, parent, Complaint::SlowUplink, None);
                let Fixture { members, server, .. } = fixture;
                warnings.extend(members.replace(server, now_ms, id(number), said).0);
            }
        }
        warnings
    };
    for now_ms in (0..5_000).step_by(500) {
        assert_eq!(accuse(&mut fixture, now_ms), [""; 0]);
    }
    // The others take nothing any more.
    fixture.server.space.look_at_late(5_000);
    let warnings: Vec<String> =
        (5_000..10_000).step_by(500).flat_map(|now_ms| accuse(&mut fixture, now_ms)).collect();
    assert!(warnings.iter().any(|text| text.ends_with("is too slow to feed others")));
}

#[test]
fn who_flaps_between_full_and_room_is_full() {
    let mut fixture = Fixture::of_streams(4);
    fixture.members.full(0, id(2), true);
    assert!(fixture.is_full(2), "at once");
    for now_ms in 1..2_000 {
        fixture.members.full(now_ms, id(2), now_ms % 2 == 0);
        assert!(fixture.is_full(2), "{now_ms}");
    }
    fixture.members.full(2_000, id(2), false);
    fixture.members.relieve(&mut fixture.server, 2_500, id(2));
    assert!(fixture.is_full(2));
    // What it said last is so with what it says later of how far it is.
    fixture.members.relieve(&mut fixture.server, 3_000, id(2));
    assert!(!fixture.is_full(2));
    fixture.members.full(3_001, id(2), true);
    assert!(fixture.is_full(2));
}
