//! Members by themselves: words for the operator, and what is kept of whom.

mod streams;

use super::*;
use crate::namespace::NameSpace;
use ninep::server::ConnId;

struct Fixture {
    members: Members,
    server: Server,
    generation: GenerationId,
}

fn fixture() -> Fixture {
    let server = Server::new(NameSpace::new(true, 1));
    let limits = Limits { stripes: 1, slots: 1, head_copies: 1 };
    Fixture { members: Members::new(limits), server, generation: GenerationId(1) }
}

fn id(conn: u32) -> OpenId {
    OpenId { conn: ConnId(conn), serial: 1 }
}

fn addr(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 7000))
}

impl Fixture {
    /// Joins and is reached.
    fn join_from(&mut self, number: u32, from: SocketAddr) -> Result<(), Refused> {
        self.members.join(&mut self.server, 0, id(number), from, (self.generation, None))?;
        let said =
            self.members.found(&mut self.server, 0, from, &Finding::Well { is_refuted: false });
        assert!(said.is_empty());
        Ok(())
    }

    fn join(&mut self, number: u32) -> Result<(), Refused> {
        self.join_from(number, addr(number))
    }

    fn leave(&mut self, number: u32) -> Option<String> {
        self.members.leave(&mut self.server, id(number)).and_then(|left| left.warning)
    }

    fn parent(&self, number: u32) -> String {
        let line = self.line(addr(number)).expect("it has a line");
        line.split(' ').next_back().expect("its parents").into()
    }

    /// Its line in the status, the first of several.
    fn line(&self, addr: SocketAddr) -> Option<String> {
        let (text, start) = (self.members.status_text().0, format_addr(addr) + " ");
        text.lines().find(|line| line.starts_with(&start)).map(Into::into)
    }
}

#[test]
fn an_accusation_is_said_at_once_unless_it_is_of_speed_or_of_the_master() {
    let said = |source, complaint| accusation_text(addr(1), source, complaint);
    let (peer, child, accused) = (ParentAddr::Peer(addr(2)), "10.0.0.1!7000", "10.0.0.2!7000");
    for (complaint, word) in [
        (Complaint::Lost, "lost"),
        (Complaint::Frozen, "frozen"),
        (Complaint::Corrupt, "wrong"),
        (Complaint::Refused, "refused"),
    ] {
        assert_eq!(said(peer, complaint), Some(format!("{child} says that {accused} is {word}")));
        assert_eq!(said(ParentAddr::Master, complaint), None);
    }
    assert_eq!(said(peer, Complaint::Slow), None);
    assert_eq!(said(peer, Complaint::SlowUplink), None);
}

#[test]
fn who_leaves_before_it_is_done_is_said_to_and_how_far_it_was() {
    let mut fixture = fixture();
    (1..=3).for_each(|number| fixture.join(number).unwrap());
    let half = TransferStats { have_bytes: 50, total_bytes: 100, ..TransferStats::default() };
    fixture.members.note(id(1), half, false);
    fixture.members.note(id(2), half, true);
    assert_eq!(fixture.leave(1).as_deref(), Some("10.0.0.1!7000 left at 50 %, not done"));
    assert_eq!(fixture.leave(2), None, "it was done");
    let unheard = "10.0.0.3!7000 left before its first report, not done";
    assert_eq!(fixture.leave(3).as_deref(), Some(unheard));
    assert_eq!(fixture.leave(3), None, "it left already");
}

/// The conversation of before is not known to be lost yet.
#[test]
fn who_joins_again_from_the_same_address_is_the_one_that_is_meant_by_it() {
    let mut fixture = fixture();
    (1..=2).for_each(|number| fixture.join(number).unwrap());
    assert_eq!(fixture.parent(2), "10.0.0.1!7000");
    fixture.join_from(3, addr(1)).unwrap();
    assert_eq!(fixture.parent(2), "me", "the first serves nobody any more");
    let is_reached = |number| fixture.members.list.get(&id(number)).map(|m| m.is_reached);
    assert_eq!([1, 3].map(is_reached), [Some(false), Some(true)]);
    fixture.leave(1);
    let members = &fixture.members;
    let group = members.groups.get(&fixture.generation).unwrap();
    assert!(group.by_addr.contains_key(&addr(1)), "the second is still there");
    fixture.leave(3);
    assert!(
        !fixture.members.groups.get(&fixture.generation).unwrap().by_addr.contains_key(&addr(1))
    );
}

#[test]
fn who_is_accused_and_gone_already_costs_no_words() {
    let mut fixture = fixture();
    (1..=2).for_each(|number| fixture.join(number).unwrap());
    fixture.leave(1);
    let accusation = (0, ParentAddr::Peer(addr(1)), Complaint::Lost, None);
    let said = fixture.members.replace(&mut fixture.server, 9, id(2), accusation);
    assert_eq!(said, (Vec::new(), None));
    assert_eq!(fixture.parent(2), "me");
}

#[test]
fn who_withdraws_shows_its_last_parents_when_it_needs_none_any_more() {
    let mut fixture = fixture();
    (1..=2).for_each(|number| fixture.join(number).unwrap());
    fixture.members.withdraw(&mut fixture.server, id(2));
    fixture.members.done(&mut fixture.server, id(2));
    assert_eq!(fixture.parent(2), "10.0.0.1!7000");
    fixture.members.done(&mut fixture.server, id(1));
    assert_eq!(fixture.parent(1), "-", "it did not withdraw");
}

#[test]
fn a_forest_takes_65536_and_another_when_one_has_left() {
    let mut fixture = fixture();
    fixture.members.limits = Limits { stripes: 1, slots: 16, head_copies: 16 };
    (0..65_536).for_each(|number| fixture.join(number).expect("there is a place"));
    assert!(fixture.join(65_536).is_err());
    assert!(!fixture.members.has(id(65_536)), "nothing is kept of it");
    fixture.leave(65_535);
    assert!(fixture.join(65_536).is_ok());
}

#[test]
fn so_many_who_left_are_kept_for_the_status() {
    let mut fixture = fixture();
    for number in 0..=DEPARTED_MAX as u32 {
        fixture.join(number).unwrap();
        fixture.leave(number);
    }
    assert!(fixture.line(addr(0)).is_none() && fixture.line(addr(1)).is_some());
    assert_eq!(fixture.members.status_text().0.lines().count(), 1 + DEPARTED_MAX);
}

#[test]
fn so_many_of_one_address_may_be_out_of_reach_and_no_more() {
    let mut fixture = fixture();
    fixture.members.limits = Limits { stripes: 1, slots: 4, head_copies: 1 };
    let from = |number: u32| SocketAddr::from(([10, 0, 0, 1], 1 + number as u16));
    let join = |fixture: &mut Fixture, number, from| {
        fixture.members.join(&mut fixture.server, 0, id(number), from, (fixture.generation, None))
    };
    (0..UNREACHED_MAX).for_each(|number| join(&mut fixture, number, from(number)).unwrap());
    assert!(join(&mut fixture, UNREACHED_MAX, from(UNREACHED_MAX)).is_err());
    assert!(join(&mut fixture, 5_000, addr(9)).is_ok(), "of another address");
    let well = Finding::Well { is_refuted: false };
    fixture.members.found(&mut fixture.server, 0, from(3), &well);
    assert!(join(&mut fixture, UNREACHED_MAX, from(UNREACHED_MAX)).is_ok(), "one is reached");
    fixture.leave(7);
    assert!(join(&mut fixture, 5_001, from(7)).is_ok(), "one has left");
    (0..6_000).for_each(|number| drop(fixture.leave(number)));
    assert!(fixture.members.unreached.is_empty());
}

#[test]
fn a_ban_lasts_ten_minutes_then_twenty_and_outlasts_who_joins_anew() {
    let mut fixture = fixture();
    (1..=2).for_each(|number| fixture.join(number).unwrap());
    let corrupt = Finding::Corrupt { piece: 5 };
    let is_banned = |fixture: &Fixture| {
        let group = fixture.members.groups.get(&fixture.generation).unwrap();
        let node = *group.by_addr.get(&addr(1)).unwrap();
        group.forest(node).is_banned(node)
    };
    let said = fixture.members.found(&mut fixture.server, 0, addr(1), &corrupt);
    assert!(said[0].ends_with("it serves nobody for 10 min"), "{said:?}");
    fixture.leave(1);
    fixture.join(1).unwrap();
    assert!(is_banned(&fixture), "it joined again");
    assert_eq!(fixture.members.deadline_ms(), Some(600_000), "it had its place at once");
    fixture.members.timeout(&mut fixture.server, 599_999);
    assert!(is_banned(&fixture) && fixture.members.deadline_ms() == Some(600_000));
    assert_eq!(fixture.members.timeout(&mut fixture.server, 600_000), [id(1)], "it is called");
    assert!(!is_banned(&fixture) && fixture.members.deadline_ms().is_none());
    let said = fixture.members.found(&mut fixture.server, 600_000, addr(1), &corrupt);
    assert!(said[0].ends_with("it serves nobody for 20 min"), "{said:?}");
    assert!(is_banned(&fixture) && fixture.members.deadline_ms() == Some(1_800_000));
}

#[test]
fn what_strangers_cause_is_said_at_a_rate() {
    let mut fixture = fixture();
    (1..=2).for_each(|number| fixture.join(number).unwrap());
    let accusation = || (0, ParentAddr::Peer(addr(1)), Complaint::Frozen, None);
    let mut said = 0;
    for _ in 0..1_000 {
        let (warnings, _) = fixture.members.replace(&mut fixture.server, 9, id(2), accusation());
        said += warnings.len();
    }
    assert!(said <= 200, "{said} lines");
}
