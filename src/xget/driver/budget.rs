//! What those who connect may take of this process together: connections, and the
//! memory that they make it hold.
//!
//! Knows each limit by its name, what a connection costs and moves, and who goes
//! first when a limit is reached. Refuses to know sockets and messages.

use super::descriptors::DESCRIPTORS_MIN;
use peer::server::Standing;
use std::net::IpAddr;

/// Connections at a time (`--max-clients`), as far as descriptors allow.
pub const CLIENTS_MAX: usize = 16_384;
/// Memory in MiB that they may make a master hold, and a client that serves others
/// (`--max-memory`).
pub const MASTER_MEMORY_MIB: usize = 256;
pub const CLIENT_MEMORY_MIB: usize = 64;
/// Of a master's, as a part of it: for selections, whoever fetches them. Where no
/// limit was typed it is more, if so much of the machine's free memory is more: each
/// of several images of a head takes its part.
const SELECTIONS_PART: usize = 4;
const SELECTIONS_OF_FREE: u64 = 8;
/// Descriptors for all else: what we cannot do without, but for a few.
const DESCRIPTORS_KEPT: u64 = DESCRIPTORS_MIN - 16;

/// What a connection costs before anything arrives on it.
const CONN_BYTES: usize = 2_048;
/// Who holds no more than this is left in peace as long as others hold more.
const SMALL_BYTES: usize = 64 * 1024;
/// Room that is made when a limit is reached, as a part of it: so that not each
/// newcomer has everybody looked at.
const ROOM_PART: usize = 32;
/// Who has no fid is idle after so many seconds without a byte, and who has some but
/// no conversation after so many.
const IDLE_S: u32 = 1;
const IDLE_WITH_FIDS_S: u32 = 60;
/// Who has shown no key goes before all others after so many, in which a handshake is long over.
const STRANGE_S: u32 = 2;
/// Addresses that are compared to find the one with most connections: any that has
/// one in so many is found. And how often a second.
const CROWDS_MAX: usize = 16;
const CROWD_LOOKS_MAX: u32 = 32;
/// How often all are looked at, and how often the operator hears of one matter.
const LOOK_MS: u64 = 1_000;
const SAY_MS: u64 = 10_000;

/// The limits, as they were typed or by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub clients: usize,
    pub memory_bytes: usize,
    /// Of this memory, what is for selections.
    pub selection_bytes: usize,
    /// No limit of memory was typed.
    may_grow: bool,
}

impl Limits {
    pub fn of_master(clients: Option<usize>, memory_mib: Option<usize>) -> Limits {
        let memory_bytes = memory_mib.unwrap_or(MASTER_MEMORY_MIB) << 20;
        let selection_bytes = memory_bytes / SELECTIONS_PART;
        let clients = clients.unwrap_or(CLIENTS_MAX);
        Limits { clients, memory_bytes, selection_bytes, may_grow: memory_mib.is_none() }
    }

    /// A master's on a machine with so many bytes of free memory.
    pub fn on_machine(self, free_bytes: u64) -> Limits {
        let bytes = usize::try_from(free_bytes / SELECTIONS_OF_FREE).unwrap_or(0);
        let more = bytes.saturating_sub(self.selection_bytes);
        let more = if self.may_grow { more } else { 0 };
        let (memory_bytes, selection_bytes) =
            (self.memory_bytes + more, self.selection_bytes + more);
        Limits { memory_bytes, selection_bytes, ..self }
    }

    /// Of a client: whoever it serves asks for what it fetches itself.
    pub fn of_client(clients: Option<usize>, memory_mib: Option<usize>) -> Limits {
        let memory_bytes = memory_mib.unwrap_or(CLIENT_MEMORY_MIB) << 20;
        let (clients, selection_bytes) = (clients.unwrap_or(CLIENTS_MAX), 0);
        Limits { clients, memory_bytes, selection_bytes, may_grow: false }
    }

    /// No more connections than so many descriptors allow.
    pub fn within(self, descriptors: u64) -> Limits {
        let places = usize::try_from(descriptors.saturating_sub(DESCRIPTORS_KEPT).max(1));
        Limits { clients: self.clients.min(places.unwrap_or(usize::MAX)), ..self }
    }

    /// What connections may make us hold.
    fn conn_bytes(&self) -> usize {
        self.memory_bytes - self.selection_bytes
    }
}

/// What one connection costs and does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// Where its other end is.
    pub ip: Option<IpAddr>,
    /// Memory that it makes us hold, about.
    held_bytes: usize,
    has_fids: bool,
    standing: Standing,
    /// Looks that found it.
    age_s: u32,
    /// Bytes that moved on it so far, and had at the last look.
    pub moved_bytes: u64,
    seen_bytes: u64,
    /// Of those, what moved lately: half of it is forgotten every five seconds.
    recent_bytes: u64,
    idle_s: u32,
}

impl Account {
    /// Called once a second.
    pub fn look(&mut self) {
        let news = self.moved_bytes - self.seen_bytes;
        self.seen_bytes = self.moved_bytes;
        self.recent_bytes = self.recent_bytes * 7 / 8 + news;
        self.idle_s = if news > 0 { 0 } else { self.idle_s.saturating_add(1) };
        self.age_s = self.age_s.saturating_add(1);
    }

    /// Who goes first when memory is short: those who hold much, then those without
    /// a conversation, then the others; among them who costs most for what it
    /// moves. Larger goes first.
    fn cost(&self) -> (u8, u64) {
        let class = match self {
            _ if self.held_bytes > SMALL_BYTES => 2,
            _ if self.standing == Standing::Converses => 0,
            _ => 1,
        };
        (class, self.held_bytes as u64 * 1024 / (1024 + self.recent_bytes()))
    }

    /// What moved lately.
    fn recent_bytes(&self) -> u64 {
        self.recent_bytes + (self.moved_bytes - self.seen_bytes)
    }

    fn is_idle(&self, with_fids: bool) -> bool {
        self.standing != Standing::Converses
            && self.held_bytes <= SMALL_BYTES
            && match with_fids {
                false => !self.has_fids && self.idle_s >= IDLE_S,
                true => self.idle_s >= IDLE_WITH_FIDS_S,
            }
    }
}

/// Why a connection was ended, or not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There are as many as may be, and none of them is idle.
    Refused,
    /// It was idle, and another came.
    Idle,
    /// It had shown no key, and another came.
    Strange,
    /// Its address had most connections, and another came.
    Crowd,
    /// What it made us hold was too much.
    Memory,
    /// What it sent is not 9P.
    Nonsense,
}

/// How often something happened that was not said yet.
#[derive(Default)]
struct Tally {
    count: u64,
    said_ms: Option<u64>,
}

impl Tally {
    fn take_due(&mut self, now_ms: u64) -> Option<u64> {
        let is_due = self.said_ms.is_none_or(|said_ms| now_ms >= said_ms + SAY_MS);
        if self.count == 0 || !is_due {
            return None;
        }
        self.said_ms = Some(now_ms);
        Some(std::mem::take(&mut self.count))
    }
}

/// All accounts together.
pub struct Budget {
    limits: Limits,
    /// Memory that all connections make us hold, about.
    held_bytes: usize,
    /// Connections that others made.
    clients: usize,
    look_ms: u64,
    /// Somebody may be idle: not so once nobody was, until the next look.
    may_be_idle: bool,
    /// Whose connections are most, and how often that was looked for since the last
    /// look.
    crowd: Option<IpAddr>,
    crowd_looks: u32,
    tallies: [Tally; 6],
}

impl Budget {
    pub fn new(limits: Limits) -> Budget {
        let tallies = Default::default();
        let (crowd, crowd_looks, may_be_idle) = (None, 0, true);
        let (held_bytes, clients, look_ms) = (0, 0, 0);
        Budget { limits, held_bytes, clients, look_ms, may_be_idle, crowd, crowd_looks, tallies }
    }

    /// Somebody connected.
    pub fn enter(&mut self, account: &mut Account) {
        self.clients += 1;
        self.note(account, 0, (0, Standing::default()));
    }

    /// It is gone.
    pub fn leave(&mut self, account: &Account) {
        self.clients -= 1;
        self.held_bytes -= account.held_bytes;
    }

    /// What a connection costs now: bytes of buffers and of its session, and how far it has come.
    pub fn note(&mut self, account: &mut Account, buffers: usize, session: (usize, Standing)) {
        let held_bytes = CONN_BYTES + buffers + session.0;
        self.held_bytes = self.held_bytes - account.held_bytes + held_bytes;
        (account.held_bytes, account.has_fids) = (held_bytes, session.0 > 0);
        account.standing = session.1;
    }

    /// Whether everybody is to be looked at: once a second.
    pub fn is_look_due(&mut self, now_ms: u64) -> bool {
        let is_due = now_ms >= self.look_ms;
        if is_due {
            (self.look_ms, self.may_be_idle) = (now_ms + LOOK_MS, true);
            (self.crowd, self.crowd_looks) = (None, 0);
        }
        is_due
    }

    /// Whether one more may connect.
    pub fn has_place(&self) -> bool {
        self.clients < self.limits.clients
    }

    /// Whom to end so that others may connect, and why, the oldest first; `accounts` are in the
    /// order in which they came. Who has shown no key goes first: those whose handshake may be on
    /// its way where nobody is idle, and not all of them.
    pub fn dispensable<Id: Copy>(
        &self,
        accounts: impl Iterator<Item = (Id, Account)> + Clone,
    ) -> (Why, Vec<Id>) {
        let room = (self.limits.clients / ROOM_PART).max(1);
        let strange =
            accounts.clone().filter(|(_, account)| account.standing == Standing::Stranger);
        let old = strange.clone().filter(|(_, account)| account.age_s >= STRANGE_S);
        let mut found: Vec<Id> = old.map(|(id, _)| id).take(room).collect();
        if found.is_empty() {
            let idle = self.idle(accounts);
            if !idle.is_empty() || !self.may_be_idle {
                return (Why::Idle, idle);
            }
            let some = strange.clone().count() / 2;
            found = strange.map(|(id, _)| id).take(room.min(some)).collect();
        }
        (Why::Strange, found)
    }

    fn idle<Id: Copy>(&self, accounts: impl Iterator<Item = (Id, Account)> + Clone) -> Vec<Id> {
        if !self.may_be_idle {
            return Vec::new();
        }
        let room = (self.limits.clients / ROOM_PART).max(1);
        let idle = |with_fids| {
            let found = accounts.clone().filter(move |(_, account)| account.is_idle(with_fids));
            found.map(|(id, _)| id).take(room).collect::<Vec<Id>>()
        };
        let found = idle(false);
        if found.is_empty() { idle(true) } else { found }
    }

    /// Whom to end so that somebody of this address can connect where nobody is idle:
    /// of the address that has most connections those that moved least lately, the
    /// oldest first. Those never have fewer than the newcomer's for it.
    pub fn crowded<Id: Copy>(
        &mut self,
        newcomer: IpAddr,
        accounts: impl Iterator<Item = (Id, Account)> + Clone,
    ) -> Vec<Id> {
        let newcomer = Some(newcomer);
        if self.crowd == newcomer || self.crowd_looks >= CROWD_LOOKS_MAX {
            return Vec::new();
        }
        self.crowd_looks += 1;
        let ips = accounts.clone().map(|(_, account)| account.ip);
        let Some((crowd, most)) = most_frequent(ips.clone()) else { return Vec::new() };
        self.crowd = crowd;
        let surplus = most.saturating_sub(ips.filter(|ip| *ip == newcomer).count()) / 2;
        let room = (self.limits.clients / ROOM_PART).max(1).min(surplus);
        let members = accounts.filter(|(_, account)| account.ip == crowd);
        let least = members.clone().map(|(_, account)| account.recent_bytes()).min();
        let most_bytes = 2 * least.unwrap_or(0);
        let found = members.filter(|(_, account)| account.recent_bytes() <= most_bytes);
        found.map(|(id, _)| id).take(room).collect()
    }

    /// Nobody was idle.
    pub fn note_busy(&mut self) {
        self.may_be_idle = false;
    }

    /// Whether those who connect hold more than they may.
    pub fn is_exceeded(&self) -> bool {
        self.held_bytes > self.limits.conn_bytes()
    }

    /// Whom to end so that memory is free again: of those who cost most for what
    /// they move, who cost at least half as much as the worst, until there is room.
    pub fn costly<Id: Copy>(
        &self,
        accounts: impl Iterator<Item = (Id, Account)> + Clone,
    ) -> Vec<Id> {
        let allowed = self.limits.conn_bytes() - self.limits.conn_bytes() / ROOM_PART;
        let mut excess = self.held_bytes.saturating_sub(allowed);
        let worst = accounts.clone().map(|(_, account)| account.cost()).max();
        let Some((class, cost)) = worst else { return Vec::new() };
        let mut found = Vec::new();
        for (id, account) in accounts {
            if excess > 0 && account.cost() >= (class, cost / 2) {
                excess = excess.saturating_sub(account.held_bytes);
                found.push(id);
            }
        }
        found
    }

    /// One more was ended, or not begun.
    pub fn count(&mut self, why: Why) {
        self.tallies[why as usize].count += 1;
    }

    /// What the operator is to hear: one line for each matter every ten seconds.
    pub fn poll_line(&mut self, now_ms: u64) -> Option<String> {
        let due = |tally: &mut Tally| tally.take_due(now_ms);
        let (why, count) =
            self.tallies.iter_mut().map(due).enumerate().find_map(|(why, n)| Some((why, n?)))?;
        let Limits { clients, memory_bytes, .. } = self.limits;
        Some(match why {
            0 => format!("refused {count} connections: there are {clients} (--max-clients)"),
            1 => format!(
                "closed {count} idle connections for others: there are {clients} (--max-clients)"
            ),
            2 => format!(
                "closed {count} connections that had shown no key, for others: there are {clients} (--max-clients)"
            ),
            3 => format!(
                "closed {count} connections of who has most of them, for others: there are {clients} (--max-clients)"
            ),
            4 => format!(
                "closed {count} connections that held much and moved little: memory for those who connect is {} MiB (--max-memory)",
                memory_bytes >> 20
            ),
            _ => format!("closed {count} connections that sent no 9P"),
        })
    }
}

/// What comes most often, and how often, if that is more than one time in
/// [`CROWDS_MAX`]: who does outlasts the others when each that is new takes one from all.
fn most_frequent<T: Copy + PartialEq>(all: impl Iterator<Item = T> + Clone) -> Option<(T, usize)> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for one in all.clone() {
        match counts.iter().position(|(known, _)| *known == one) {
            Some(at) => counts[at].1 += 1,
            None if counts.len() < CROWDS_MAX => counts.push((one, 1)),
            None => counts.retain_mut(|(_, count)| {
                *count -= 1;
                *count > 0
            }),
        }
    }
    let exact = |one: T| (one, all.clone().filter(|other| *other == one).count());
    counts.into_iter().map(|(one, _)| exact(one)).max_by_key(|(_, count)| *count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn budget(clients: usize, memory_kib: usize) -> Budget {
        let limits = Limits::of_client(Some(clients), None);
        Budget::new(Limits { memory_bytes: memory_kib * KIB, ..limits })
    }

    fn numbered(accounts: &[Account]) -> impl Iterator<Item = (usize, Account)> + Clone {
        accounts.iter().copied().enumerate()
    }

    /// One that holds so many KiB, moved so many lately, and may converse.
    fn one(budget: &mut Budget, held_kib: usize, moved_kib: usize, converses: bool) -> Account {
        let mut account = Account::default();
        budget.enter(&mut account);
        let standing = if converses { Standing::Converses } else { Standing::Guest };
        budget.note(&mut account, held_kib * KIB, (100, standing));
        account.moved_bytes = (moved_kib * KIB) as u64;
        account.look();
        account
    }

    #[test]
    fn who_holds_much_and_moves_little_goes_first() {
        let mut budget = budget(99, 3_000);
        let worker = one(&mut budget, 300, 50_000, true);
        let reader = one(&mut budget, 1_500, 9_000, false);
        let deaf = one(&mut budget, 1_500, 64, false);
        let idle = one(&mut budget, 4, 0, false);
        let accounts = [worker, reader, deaf, idle];
        assert!(budget.is_exceeded());
        assert_eq!(budget.costly(numbered(&accounts)), [2]);
        budget.leave(&deaf);
        assert!(!budget.is_exceeded());
        budget.limits.memory_bytes = 1_000 * KIB;
        let accounts = [worker, reader, idle];
        assert_eq!(budget.costly(numbered(&accounts)), [1]);
    }

    #[test]
    fn where_nobody_holds_much_who_converses_is_spared_for_strangers() {
        let mut budget = budget(99, 400);
        let mut accounts = vec![one(&mut budget, 40, 0, true), one(&mut budget, 60, 5, true)];
        accounts.extend((0..10).map(|_| one(&mut budget, 30, 0, false)));
        assert!(budget.is_exceeded());
        let found = budget.costly(numbered(&accounts));
        assert!(!found.is_empty() && found.iter().all(|id| *id >= 2), "{found:?}");
        let members = &accounts[..2];
        budget.limits.memory_bytes = 390 * KIB;
        assert_eq!(budget.costly(numbered(members)), [0], "it moves nothing");
    }

    #[test]
    fn a_worker_that_fetches_is_never_ended_for_strangers() {
        let mut budget = budget(99_999, 8_000);
        let mut accounts = vec![one(&mut budget, 500, 100_000, true)];
        for (held_kib, moved_kib) in [(1, 0), (63, 0), (65, 0), (200, 30), (2_000, 900)] {
            accounts.extend((0..20).map(|_| one(&mut budget, held_kib, moved_kib, false)));
        }
        while budget.is_exceeded() {
            let found = budget.costly(numbered(&accounts));
            assert!(!found.is_empty() && !found.contains(&0), "{found:?}");
            for id in found.into_iter().rev() {
                budget.leave(&accounts.remove(id));
            }
        }
    }

    #[test]
    fn for_newcomers_the_oldest_idle_go_and_those_with_fids_much_later() {
        let mut budget = budget(5, 9_999);
        let silent = one(&mut budget, 1, 0, false);
        let mut fresh = one(&mut budget, 1, 0, false);
        let mut member = one(&mut budget, 1, 0, true);
        let (mut mounted, mut nothing) = (silent, silent);
        (mounted.has_fids, nothing.has_fids, fresh.idle_s) = (true, false, 0);
        (nothing.idle_s, member.idle_s) = (1, 999);
        budget.enter(&mut Account::default());
        budget.enter(&mut Account::default());
        assert!(!budget.has_place());
        let accounts = [fresh, member, mounted, nothing, nothing];
        assert_eq!(budget.idle(numbered(&accounts)), [3], "one in 32, and one at least");
        let accounts = [fresh, member, mounted, fresh, fresh];
        assert_eq!(budget.idle(numbered(&accounts)), [0; 0], "so who comes is refused");
        mounted.idle_s = 60;
        let accounts = [fresh, member, mounted, fresh, fresh];
        assert_eq!(budget.idle(numbered(&accounts)), [2]);
    }

    #[test]
    fn who_is_not_let_in_makes_room_first() {
        let mut budget = budget(64, 9_999);
        let mut idle = one(&mut budget, 1, 0, false);
        (idle.has_fids, idle.idle_s) = (false, 9);
        let moves = one(&mut budget, 1, 1, true);
        let stranger = |age_s| Account {
            standing: Standing::Stranger,
            age_s,
            // However much it says.
            idle_s: 0,
            ..moves
        };
        let (old, new) = (stranger(STRANGE_S), stranger(STRANGE_S - 1));
        let accounts = [idle, new, old, moves, old, old];
        let found = budget.dispensable(numbered(&accounts));
        assert_eq!(found, (Why::Strange, vec![2, 4]), "one in 32");
        let accounts = [new, idle, new, moves];
        assert_eq!(budget.dispensable(numbered(&accounts)), (Why::Idle, vec![1]));
        let accounts = [moves, new, new, new];
        assert_eq!(
            budget.dispensable(numbered(&accounts)),
            (Why::Strange, vec![1]),
            "half of them"
        );
        let accounts = [moves, new, moves];
        assert!(budget.dispensable(numbered(&accounts)).1.is_empty(), "it may be on its way");
    }

    /// Connections of an address, that moved so many KiB each lately.
    fn some(budget: &mut Budget, host: u8, count: usize, moved_kib: usize) -> Vec<Account> {
        let ip = Some(IpAddr::from([10, 0, 0, host]));
        (0..count).map(|_| Account { ip, ..one(budget, 1, moved_kib, true) }).collect()
    }

    #[test]
    fn for_newcomers_of_other_addresses_who_has_most_and_moves_least_goes() {
        let mut budget = budget(64, 9_999);
        let mut accounts = some(&mut budget, 1, 20, 500);
        accounts.extend(some(&mut budget, 7, 9, 0));
        accounts.extend(some(&mut budget, 1, 35, 0));
        let newcomer = |host: u8| IpAddr::from([10, 0, 0, host]);
        assert_eq!(budget.crowded(newcomer(9), numbered(&accounts)), [29, 30], "one in 32");
        assert_eq!(budget.crowded(newcomer(1), numbered(&accounts)), [0; 0], "its own address");
        assert_eq!(budget.crowded(newcomer(7), numbered(&accounts)), [29, 30]);
        let looks =
            (0..99).filter(|_| !budget.crowded(newcomer(9), numbered(&accounts)).is_empty());
        assert_eq!(looks.count(), CROWD_LOOKS_MAX as usize - 2);
        assert!(budget.is_look_due(1_000));
        let equal: Vec<Account> = accounts[..9].iter().chain(&accounts[20..28]).copied().collect();
        assert_eq!(budget.crowded(newcomer(7), numbered(&equal)), [0; 0], "nobody has much more");
    }

    #[test]
    fn who_comes_most_often_is_found_among_many() {
        let others = 0..10_000_u32;
        let of = |times: usize| others.clone().chain(std::iter::repeat_n(77_777, times));
        assert_eq!(most_frequent(of(1_000)), Some((77_777, 1_000)));
        let mixed = others.clone().map(|n| if n % 11 == 0 { 88_888 } else { n });
        assert_eq!(most_frequent(mixed), Some((88_888, 910)));
        assert_eq!(most_frequent(0..0), None);
    }

    #[test]
    fn what_moved_counts_less_and_less() {
        let mut budget = budget(9, 9_999);
        let mut account = one(&mut budget, 100, 1_000, false);
        let before = account.cost();
        (0..40).for_each(|_| account.look());
        assert!(account.cost() > before && account.idle_s == 40);
        account.moved_bytes += 1;
        account.look();
        assert_eq!(account.idle_s, 0);
    }

    #[test]
    fn descriptors_bound_the_connections_and_selections_have_a_quarter() {
        let limits = Limits::of_master(None, None);
        assert_eq!((limits.clients, limits.memory_bytes), (16_384, 256 << 20));
        assert_eq!((limits.selection_bytes, limits.conn_bytes()), (64 << 20, 192 << 20));
        let grown = limits.on_machine(8 << 30);
        assert_eq!((grown.selection_bytes, grown.conn_bytes()), (1 << 30, 192 << 20));
        assert_eq!(limits.on_machine(512 << 20), limits, "an eighth is no more");
        let typed = Limits::of_master(None, Some(256));
        assert_eq!(typed.on_machine(8 << 30), typed);
        assert_eq!(limits.within(1_024).clients, 1_024 - 112);
        assert_eq!(limits.within(128).clients, 16);
        assert_eq!(limits.within(u64::MAX).clients, 16_384);
        let limits = Limits::of_client(Some(9), None);
        assert_eq!((limits.clients, limits.conn_bytes()), (9, 64 << 20));
    }

    #[test]
    fn the_operator_hears_one_line_with_a_count() {
        let mut budget = budget(7, 2_048);
        assert_eq!(budget.poll_line(0), None);
        budget.count(Why::Refused);
        assert_eq!(
            budget.poll_line(5).unwrap(),
            "refused 1 connections: there are 7 (--max-clients)"
        );
        (0..500).for_each(|_| budget.count(Why::Refused));
        (0..30).for_each(|_| budget.count(Why::Memory));
        let line = budget.poll_line(10).unwrap();
        assert!(line.contains("closed 30 ") && line.contains("is 2 MiB (--max-memory)"), "{line}");
        assert_eq!(budget.poll_line(10_004), None);
        assert!(budget.poll_line(10_005).unwrap().starts_with("refused 500 "));
    }
}
