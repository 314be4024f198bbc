//! A scheduler at work, for benches/hot.rs: pieces arrive, the next are asked.

use super::{Scheduler, View};
use crate::content::holdings::Holdings;
use alloc::vec::Vec;
use core::fmt;
use ninep::server::ConnId;

/// As many parents as stripes, each asked for as much as it may be.
pub struct SchedulerBench {
    scheduler: Scheduler,
    holdings: Holdings,
    parents: Vec<Option<ConnId>>,
    next: u32,
}

impl fmt::Debug for SchedulerBench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at piece {} of {}", self.next, self.holdings.count())
    }
}

impl SchedulerBench {
    /// Of so many pieces.
    pub fn new(stripes: u8, count: u32) -> SchedulerBench {
        let (mut scheduler, mut holdings) = (Scheduler::new(stripes), Holdings::none(stripes));
        holdings.extend(count);
        let parents: Vec<Option<ConnId>> =
            (0..u32::from(stripes)).map(|stripe| Some(ConnId(stripe))).collect();
        for &conn in parents.iter().flatten() {
            scheduler.add_parent(conn, false);
            let view = View { holdings: &holdings, parents: &parents };
            while scheduler.next_request(view, conn, 0).is_some() {}
        }
        SchedulerBench { scheduler, holdings, parents, next: 0 }
    }

    /// The next piece arrives, and its parent is asked for another: which.
    pub fn step(&mut self) -> Option<u32> {
        let conn = ConnId(self.next % self.parents.len() as u32);
        self.scheduler.arrived(conn, self.next, 1);
        self.holdings.hold(self.next);
        self.scheduler.settle(self.next);
        self.next += 1;
        let view = View { holdings: &self.holdings, parents: &self.parents };
        self.scheduler.next_request(view, conn, 1).map(|request| request.piece)
    }
}
