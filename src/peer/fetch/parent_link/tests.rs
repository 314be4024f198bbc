//! Calls, probes and patience of one link, by its timers alone.

use super::*;
use crate::conn::ConnEffect;
use core::net::SocketAddr;

const SAMPLE: Sample = Sample { piece: 0, stride: 16_384 };

fn peer() -> ParentAddr {
    ParentAddr::Peer(SocketAddr::from(([10, 0, 0, 2], 5)))
}

/// Lets time pass to the next deadline: what became of it and when.
fn next(
    link: &mut ParentLink,
    outbox: &mut Outbox,
    local_stall_ms: u64,
) -> (u64, Option<LinkTimeout>) {
    let at_ms = link.deadline_ms(true, local_stall_ms).expect("something is awaited");
    let early = link.timeout(outbox, at_ms - 1, true, local_stall_ms, SAMPLE);
    assert!(early.is_none(), "too early");
    (at_ms, link.timeout(outbox, at_ms, true, local_stall_ms, SAMPLE))
}

#[test]
fn who_does_not_answer_is_called_twice() {
    for (parent, patience) in [(peer(), 1), (ParentAddr::Master, MASTER_PATIENCE)] {
        for local_stall_ms in [0, 300] {
            let mut link = ParentLink::new(ConnId(1), parent, Digest::default(), 0, None);
            let mut outbox = Outbox::default();
            let again_ms = patience * RECONNECT_MS + local_stall_ms;
            let first = next(&mut link, &mut outbox, local_stall_ms);
            assert!(matches!(first, (at_ms, Some(LinkTimeout::Unanswered)) if at_ms == again_ms));
            link.reconnect(ConnId(2), again_ms);
            let end_ms = again_ms + patience * CONNECT_MS + 2 * local_stall_ms;
            let second = next(&mut link, &mut outbox, local_stall_ms);
            assert!(matches!(second, (at_ms, Some(LinkTimeout::Lost(..))) if at_ms == end_ms));
            assert!(outbox.pop().is_none(), "nothing leaves before it is up");
        }
    }
}

/// When a parent that says nothing counts as frozen.
fn frozen_at_ms(parent: ParentAddr, local_stall_ms: u64) -> u64 {
    let mut outbox = Outbox::default();
    let mut link = ParentLink::new(ConnId(1), parent, Digest::default(), 0, None);
    link.connected(&mut outbox, 0);
    let Some(ConnEffect::Send { .. }) = outbox.pop() else { panic!("the open did not leave") };
    let (probed_ms, nothing) = next(&mut link, &mut outbox, local_stall_ms);
    assert!(probed_ms == PROBE_AFTER_MS && nothing.is_none());
    let Some(ConnEffect::Send { .. }) = outbox.pop() else { panic!("no probe left") };
    match next(&mut link, &mut outbox, local_stall_ms) {
        (at_ms, Some(LinkTimeout::Lost(_, Complaint::Frozen))) => at_ms,
        _ => panic!("it is not found out"),
    }
}

#[test]
fn silence_is_believed_after_a_probe_and_later_where_we_are_slow_ourselves() {
    let usual_ms = PROBE_AFTER_MS + PROBE_WAIT_MS;
    assert_eq!(frozen_at_ms(peer(), 0), usual_ms);
    assert_eq!(frozen_at_ms(peer(), 2_000), usual_ms + 4_000);
    let master_ms = PROBE_AFTER_MS + MASTER_PATIENCE * PROBE_WAIT_MS;
    assert_eq!(frozen_at_ms(ParentAddr::Master, 0), master_ms);
}

#[test]
fn a_late_answer_is_remembered_up_to_a_bound_and_ends_the_suspicion() {
    let mut outbox = Outbox::default();
    let mut link = ParentLink::new(ConnId(1), peer(), Digest::default(), 0, None);
    link.connected(&mut outbox, 0);
    link.opened();
    for (late_ms, remembered_ms) in [(100, 100), (4_000, 2 * PROBE_WAIT_MS)] {
        let probed_ms = link.deadline_ms(true, 0).unwrap();
        assert!(link.timeout(&mut outbox, probed_ms, true, 5_000, SAMPLE).is_none());
        link.heard_part(probed_ms + late_ms, 1);
        link.frame_ended(probed_ms + late_ms);
        assert_eq!(link.take_answer_ms(), remembered_ms);
        assert_eq!(link.deadline_ms(true, 0), Some(probed_ms + late_ms + PROBE_AFTER_MS));
    }
    assert_eq!(link.take_answer_ms(), 0, "taken");
}
