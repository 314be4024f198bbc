//! What can happen, and what can go wrong.
//!
//! Knows the names of events and whom they are about. Refuses to know when
//! they are due (`clock`) and what follows from them (`run`).

/// One direction of a connection.
pub type WayId = u32;

#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A host begins, for the first time or again.
    Start {
        host: u32,
    },
    /// A host's node has set a timer for this time.
    Timeout {
        host: u32,
    },
    /// A segment has left the host's uplink.
    Left {
        host: u32,
    },
    /// A segment has come to the downlink of its host.
    Arrives {
        segment: Segment,
    },
    /// ... and is through.
    Through {
        segment: Segment,
    },
    /// The parts of a handshake.
    Syn {
        conn: u32,
    },
    Established {
        conn: u32,
    },
    Refused {
        conn: u32,
    },
    /// One end learns that the other is lost.
    Lost {
        conn: u32,
        end: usize,
    },
    Fault {
        host: u32,
        fault: Fault,
    },
    /// The files of a host have their final names.
    Finished {
        host: u32,
    },
    /// Who reads a host's stream has taken another piece.
    Taken {
        host: u32,
        life: u32,
    },
    /// A process that has ended has no more time for what is queued.
    Drained {
        host: u32,
        life: u32,
    },
}

/// A part of what one end sends: an uplink takes one of each connection in turn.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub way: WayId,
    pub len: u32,
    /// The time that it took to leave.
    pub leaving_ns: u32,
    /// The last of its item.
    pub is_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies: its connections are reset.
    Crash,
    /// The machine is gone: nobody is told.
    PowerLoss,
    /// It takes bytes and does nothing with them, until it thaws.
    Freeze,
    Thaw,
}
