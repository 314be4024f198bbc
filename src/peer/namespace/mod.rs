//! The name space of DESIGN.md section 3: look-up, directories, what each
//! file does.
//!
//! Knows files; refuses to know tags, sockets and what follows from a line
//! written on `route` or `log`: these queue as `Notice`s for the node. Bulk
//! data is named (`Bulk`), never carried.

mod file_id;
mod generation;
mod workers;

#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
pub use file_id::{FileId, GenerationId, Role, Stream};
pub use generation::{Content, Generation, Origin};
pub use workers::Workers;

use crate::content::digest::Digest;
use crate::content::manifest::{Entry, EntryKind};
use crate::control::LINE_LEN_MAX;
use crate::table::Table;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use core::net::SocketAddr;
use file_id::{CONTROLS, ROLES, STREAMS};
use ninep::server::{Access, Answer, ConnId, DirEntry, OpenId, Ticket, Totals, Tree};
use ninep::{Attr, Error, Qid};

/// Lines of `/log` that can be read back.
const LOG_LINES_MAX: usize = 200;
/// Longest line that a client may write on `/log`.
const LOG_LINE_LEN_MAX: usize = 1000;
/// Answers that may queue on one conversation; a client that does not read
/// them is cut off.
const ANSWERS_LEN_MAX: usize = 1 << 20;
/// Lists of tickets whose memory is kept.
const SPARE_MAX: usize = 16;

/// Stored bytes, named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bulk {
    /// From `skip` bytes into a piece.
    Piece { slot: GenerationId, piece: u32, skip: u32 },
    /// From `offset` of an entry's file.
    File { slot: GenerationId, entry: u32, offset: u64 },
}

/// What a parked read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    Piece(GenerationId, u32),
    Answer(OpenId),
    Info,
    List(GenerationId),
    Checksum(GenerationId, u32),
}

/// What happened in the name space that the node has to act upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A line on `/.xget/route`.
    RouteLine(OpenId, Vec<u8>),
    /// A conversation ended: clunk, reset or lost connection.
    RouteClosed(OpenId),
    /// A line on `/log`.
    LogLine(ConnId, Vec<u8>),
    /// A `checksum` was opened for reading and is not known yet.
    ChecksumWanted(GenerationId, u32),
    /// `status` was opened: `set_status` before the next request.
    StatusWanted,
}

pub struct NameSpace {
    /// Generations by slot; a worker has one, a master one for each selection.
    generations: Table<GenerationId, Generation>,
    slots_used: u32,
    /// The generation that the root shows.
    shown: Option<GenerationId>,
    /// Text of `/.xget/info`; reads park until it is there.
    info: Option<String>,
    status: String,
    log: VecDeque<Vec<u8>>,
    /// By opener, so that those of one connection stand together.
    conversations: Table<OpenId, VecDeque<u8>>,
    workers: Workers,
    /// A peer chooses which, but the hashing of each costs more than its place here.
    checksums: Table<(GenerationId, u32), Result<[u8; 32], ()>>,
    peers: Table<ConnId, SocketAddr>,
    waits: BTreeMap<Wait, Vec<Ticket>>,
    /// The other way round, so that a read that is given up leaves no trace.
    parked: BTreeMap<Ticket, Wait>,
    /// Memory of lists in `waits` that were woken.
    spare: Vec<Vec<Ticket>>,
    notices: VecDeque<Notice>,
    /// Only a master routes, takes log lines and registers workers.
    is_master: bool,
}

impl NameSpace {
    pub fn new(is_master: bool, worker_load_max: u32) -> NameSpace {
        NameSpace {
            generations: Table::new(),
            slots_used: 0,
            shown: None,
            info: None,
            status: String::new(),
            log: VecDeque::new(),
            conversations: Table::new(),
            workers: Workers::new(worker_load_max),
            checksums: Table::new(),
            peers: Table::new(),
            waits: BTreeMap::new(),
            parked: BTreeMap::new(),
            spare: Vec::new(),
            notices: VecDeque::new(),
            is_master,
        }
    }

    pub fn add_peer(&mut self, conn: ConnId, addr: SocketAddr) {
        self.peers.insert(conn, addr);
    }

    pub fn drop_peer(&mut self, conn: ConnId) {
        self.peers.remove(&conn);
        self.workers.forget_client(conn);
    }

    pub fn peer(&self, conn: ConnId) -> Option<SocketAddr> {
        self.peers.get(&conn).copied()
    }

    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Adds a generation; its slot is never used for another.
    pub fn add_generation(&mut self, generation: Generation) -> GenerationId {
        self.slots_used += 1;
        let slot = GenerationId(self.slots_used);
        self.generations.insert(slot, generation);
        slot
    }

    pub fn drop_generation(&mut self, slot: GenerationId) {
        self.generations.remove(&slot);
    }

    pub fn generation(&self, slot: GenerationId) -> Option<&Generation> {
        self.generations.get(&slot)
    }

    /// Shows this generation at the root, with this text in `info`.
    pub fn show(&mut self, slot: GenerationId, info: String) -> Vec<Ticket> {
        self.shown = Some(slot);
        self.info = Some(info);
        self.wake(Wait::Info)
    }

    /// Notes a piece of the manifest as here, with its bytes.
    pub fn hold_manifest(&mut self, slot: GenerationId, piece: u32, bytes: &[u8]) -> Vec<Ticket> {
        if let Some(generation) = self.generations.get_mut(&slot) {
            let range = generation.head.range(piece);
            generation.manifest_bytes[range].copy_from_slice(bytes);
        }
        self.hold(slot, piece)
    }

    /// Notes a piece as here; gives the reads that waited for it.
    pub fn hold(&mut self, slot: GenerationId, piece: u32) -> Vec<Ticket> {
        let news = self.generations.get_mut(&slot).is_some_and(|g| g.holdings.hold(piece));
        if news { self.wake(Wait::Piece(slot, piece)) } else { Vec::new() }
    }

    /// Notes a piece as lost to us for good; gives the reads that waited for it.
    pub fn lose(&mut self, slot: GenerationId, piece: u32) -> Vec<Ticket> {
        if let Some(generation) = self.generations.get_mut(&slot) {
            generation.holdings.lose(piece);
        }
        self.wake(Wait::Piece(slot, piece))
    }

    /// The files of a generation are those of this scan from now on.
    pub fn set_origin(&mut self, slot: GenerationId, origin: Origin) {
        if let Some(generation) = self.generations.get_mut(&slot) {
            generation.origin = Some(origin);
        }
    }

    /// The slot of the generation of this name.
    pub fn slot_of(&self, digest: Digest) -> Option<GenerationId> {
        let mut newest_first = self.generations.iter().rev();
        newest_first.find(|(_, g)| g.digest() == digest).map(|(slot, _)| slot)
    }

    /// The list of the manifest's pieces is here and verified.
    pub fn set_list(&mut self, slot: GenerationId, list: Vec<Digest>) -> Vec<Ticket> {
        if let Some(generation) = self.generations.get_mut(&slot) {
            generation.head.list = list;
            generation.list_known = true;
            generation.holdings.extend(generation.head.count());
        }
        self.wake(Wait::List(slot))
    }

    /// The manifest is whole: the tree can be walked.
    pub fn set_content(&mut self, slot: GenerationId, content: Rc<Content>) {
        if let Some(generation) = self.generations.get_mut(&slot) {
            generation.holdings.extend(content.map.count());
            generation.content = Some(content);
        }
    }

    pub fn set_checksum(
        &mut self,
        slot: GenerationId,
        entry: u32,
        sum: Result<[u8; 32], ()>,
    ) -> Vec<Ticket> {
        self.checksums.insert((slot, entry), sum);
        self.wake(Wait::Checksum(slot, entry))
    }

    pub fn set_status(&mut self, status: String) {
        self.status = status;
    }

    pub fn add_log(&mut self, mut line: Vec<u8>) {
        line.push(b'\n');
        if self.log.len() == LOG_LINES_MAX {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    /// Queues an answer on a conversation; gives the read that waits for it.
    pub fn answer(&mut self, opener: OpenId, line: &str) -> Vec<Ticket> {
        let Some(queue) = self.conversations.get_mut(&opener) else { return Vec::new() };
        if queue.len() + line.len() <= ANSWERS_LEN_MAX {
            queue.extend(line.as_bytes());
        } else {
            // Half a conversation would mislead: the next read fails, and the
            // client joins again.
            self.conversations.remove(&opener);
            self.notices.push_back(Notice::RouteClosed(opener));
        }
        self.wake(Wait::Answer(opener))
    }

    fn wake(&mut self, wait: Wait) -> Vec<Ticket> {
        let tickets = self.waits.remove(&wait).unwrap_or_default();
        tickets.iter().for_each(|ticket| {
            self.parked.remove(ticket);
        });
        tickets
    }

    /// Takes the memory of a list of tickets back, for the next one.
    pub fn recycle(&mut self, mut tickets: Vec<Ticket>) {
        if tickets.capacity() > 0 && self.spare.len() < SPARE_MAX {
            tickets.clear();
            self.spare.push(tickets);
        }
    }

    fn park(&mut self, wait: Wait, ticket: Ticket) -> Answer<Bulk> {
        if self.parked.insert(ticket, wait).is_none() {
            let list = self.waits.entry(wait);
            list.or_insert_with(|| self.spare.pop().unwrap_or_default()).push(ticket);
        }
        Answer::Park
    }

    fn content(&self, slot: GenerationId) -> Result<&Content, Error> {
        let generation = self.generations.get(&slot).ok_or(ninep::ESTALE)?;
        generation.content.as_deref().ok_or(ninep::ESTALE)
    }

    fn entry_of(&self, slot: GenerationId, entry: u32) -> Option<&Entry> {
        self.content(slot).ok()?.manifest.entries.get(entry as usize)
    }

    /// The entry's place in its view; `None` for what has no bytes to serve.
    fn place_of(&self, slot: GenerationId, entry: u32, plain: bool) -> Option<FileId> {
        match self.entry_of(slot, entry)?.kind {
            EntryKind::Dir => Some(FileId::Dir { slot, entry, plain }),
            EntryKind::Symlink => Some(FileId::Link { slot, entry }),
            EntryKind::File | EntryKind::Hardlink(_) if plain => {
                Some(FileId::Plain { slot, entry })
            }
            EntryKind::File | EntryKind::Hardlink(_) => Some(FileId::FileDir { slot, entry }),
            EntryKind::Special | EntryKind::Unreadable => None,
        }
    }

    /// The children of a served directory, `log` hidden where the control
    /// file stands in its place.
    fn child_at(
        &self,
        slot: GenerationId,
        dir: u32,
        plain: bool,
        cursor: u64,
    ) -> Option<DirEntry<FileId>> {
        let content = self.content(slot).ok()?;
        let range = content.manifest.children(dir);
        (u64::from(range.start) + cursor..u64::from(range.end)).find_map(|number| {
            let place = self.place_of(slot, number as u32, plain)?;
            let name = content.manifest.entries[number as usize].name.to_vec();
            let hidden = !plain && dir == 0 && name == b"log";
            let next = number - u64::from(range.start) + 1;
            (!hidden).then_some(DirEntry { name, file: place, next })
        })
    }

    fn walk_served(
        &self,
        slot: GenerationId,
        dir: u32,
        plain: bool,
        name: &[u8],
    ) -> Result<FileId, Error> {
        let content = self.content(slot)?;
        if name == b".." {
            let parent = content.manifest.entries[dir as usize].parent;
            return Ok(match parent {
                0 => FileId::Root { plain },
                entry => FileId::Dir { slot, entry, plain },
            });
        }
        let found = content.manifest.child(dir, name).ok_or(ninep::ENOENT)?;
        self.place_of(slot, found, plain).ok_or(ninep::EACCES)
    }

    fn walk_root(&self, plain: bool, name: &[u8]) -> Result<FileId, Error> {
        match name {
            b".." => return Ok(FileId::Root { plain }),
            b"log" if !plain => return Ok(FileId::Log),
            b".xget" if !plain => return Ok(FileId::Control),
            _ => {}
        }
        let slot = self.shown.ok_or(ninep::ENOENT)?;
        self.walk_served(slot, 0, plain, name)
    }

    fn walk_control(&self, name: &[u8]) -> Result<FileId, Error> {
        if name == b".." {
            return Ok(FileId::Root { plain: false });
        }
        if let Some((place, _)) = CONTROLS.iter().find(|(_, n)| *n == name) {
            return Ok(*place);
        }
        let digest = core::str::from_utf8(name).ok().and_then(Digest::parse);
        let slot = digest.and_then(|digest| self.slot_of(digest)).ok_or(ninep::ENOENT)?;
        Ok(FileId::Generation { slot })
    }

    fn file_len(&self, place: &FileId) -> u64 {
        match *place {
            FileId::Member { slot, entry, role: Role::Data } | FileId::Plain { slot, entry } => {
                let file = self.generations.get(&slot).map_or(entry, |g| g.file_of(entry));
                self.entry_of(slot, file).map_or(0, |e| e.size)
            }
            // What the original reported; a reader that stops at the length
            // still gets all of "me" or an address.
            FileId::Member { role: Role::Redir, .. } => 32,
            FileId::Member { role: Role::Checksum, .. } => CHECKSUM_LEN,
            FileId::Stream { slot, stream: Stream::List } => {
                self.generations.get(&slot).map_or(0, |g| g.head.list.len() as u64 * 32)
            }
            FileId::Stream { slot, stream: Stream::Pieces | Stream::Held } => self.stream_len(slot),
            FileId::Info => self.info.as_ref().map_or(0, |text| text.len() as u64),
            FileId::Status => self.status.len() as u64,
            FileId::Log => self.log.iter().map(|line| line.len() as u64).sum(),
            FileId::Manifest => {
                self.shown_generation().map_or(0, |g| g.manifest_bytes.len() as u64)
            }
            _ => 0,
        }
    }

    fn shown_generation(&self) -> Option<&Generation> {
        self.shown.and_then(|slot| self.generations.get(&slot))
    }

    fn stream_len(&self, slot: GenerationId) -> u64 {
        let Some(generation) = self.generations.get(&slot) else { return 0 };
        let count = generation.pieces_count().unwrap_or(generation.head.count());
        u64::from(count) * u64::from(generation.head.stride())
    }

    fn read_data(
        &mut self,
        slot: GenerationId,
        entry: u32,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<Bulk>, Error> {
        let generation = self.generations.get(&slot).ok_or(ninep::ESTALE)?;
        let entry = generation.file_of(entry);
        let size = self.entry_of(slot, entry).ok_or(ninep::ESTALE)?.size;
        let len = size.saturating_sub(offset).min(u64::from(count)) as u32;
        if len == 0 {
            return Ok(Answer::Bytes(Vec::new()));
        }
        match generation.missing(entry, offset, u64::from(len)) {
            Some(piece) if generation.holdings.has_lost(piece) => Err(LOST),
            Some(piece) => Ok(self.park(Wait::Piece(slot, piece), ticket)),
            None => Ok(Answer::Bulk { what: Bulk::File { slot, entry, offset }, len }),
        }
    }

    /// Waits for the piece only where there is a ticket.
    fn read_piece(
        &mut self,
        slot: GenerationId,
        offset: u64,
        count: u32,
        ticket: Option<Ticket>,
    ) -> Result<Answer<Bulk>, Error> {
        let generation = self.generations.get(&slot).ok_or(ninep::ESTALE)?;
        let stride = u64::from(generation.head.stride());
        let (piece, skip) = ((offset / stride) as u32, (offset % stride) as u32);
        if offset / stride > u64::from(u32::MAX) {
            return Ok(Answer::Bytes(Vec::new()));
        }
        if !generation.holdings.holds(piece) {
            if generation.holdings.has_lost(piece) {
                return Err(LOST);
            }
            let is_beyond = generation.pieces_count().is_some_and(|count| piece >= count);
            return match ticket.filter(|_| !is_beyond) {
                Some(ticket) => Ok(self.park(Wait::Piece(slot, piece), ticket)),
                None => Ok(Answer::Bytes(Vec::new())),
            };
        }
        let len = generation.piece_len(piece).unwrap_or(0).saturating_sub(skip).min(count);
        if len == 0 {
            return Ok(Answer::Bytes(Vec::new()));
        }
        Ok(Answer::Bulk { what: Bulk::Piece { slot, piece, skip }, len })
    }

    fn read_checksum(
        &mut self,
        slot: GenerationId,
        entry: u32,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<Bulk>, Error> {
        let generation = self.generations.get(&slot).ok_or(ninep::ESTALE)?;
        let entry = generation.file_of(entry);
        if let Some(piece) = generation.missing(entry, 0, u64::MAX) {
            // Of what is not whole there is no sum.
            let lost = generation.holdings.has_lost(piece);
            return if lost { Err(LOST) } else { Ok(self.park(Wait::Piece(slot, piece), ticket)) };
        }
        match self.checksums.get(&(slot, entry)) {
            None => {
                let wait = Wait::Checksum(slot, entry);
                if !self.waits.contains_key(&wait) {
                    self.notices.push_back(Notice::ChecksumWanted(slot, entry));
                }
                Ok(self.park(wait, ticket))
            }
            Some(Err(())) => {
                // The next who asks tries again.
                self.checksums.remove(&(slot, entry));
                Err(ninep::EIO)
            }
            Some(Ok(sum)) => {
                let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
                Ok(slice(format!("sha256:{hex}\n").as_bytes(), offset, count))
            }
        }
    }

    fn read_conversation(
        &mut self,
        opener: OpenId,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<Bulk>, Error> {
        let queue = self.conversations.get_mut(&opener).ok_or(ninep::EINVAL)?;
        if queue.is_empty() {
            return Ok(self.park(Wait::Answer(opener), ticket));
        }
        let len = queue.len().min(count as usize);
        Ok(Answer::Bytes(queue.drain(..len).collect()))
    }
}

/// The answer for a piece whose file could not be written here.
const LOST: Error = Error::new(5, "lost on this node: it cannot be had, or not be written");

/// `sha256:` and 64 digits and a newline.
const CHECKSUM_LEN: u64 = 7 + 64 + 1;

fn slice(bytes: &[u8], offset: u64, count: u32) -> Answer<Bulk> {
    let start = (offset as usize).min(bytes.len());
    let end = (start + count as usize).min(bytes.len());
    Answer::Bytes(bytes[start..end].to_vec())
}

impl Tree for NameSpace {
    type File = FileId;
    type Bulk = Bulk;

    fn attach(&mut self, _conn: ConnId, aname: &[u8]) -> Result<FileId, Error> {
        match aname {
            b"" | b"/" => Ok(FileId::Root { plain: false }),
            b"files" | b"/files" => Ok(FileId::Root { plain: true }),
            _ => Err(ninep::ENOENT),
        }
    }

    fn walk(&mut self, from: &FileId, name: &[u8]) -> Result<FileId, Error> {
        match *from {
            FileId::Root { plain } => self.walk_root(plain, name),
            FileId::Dir { slot, entry, plain } => self.walk_served(slot, entry, plain, name),
            FileId::FileDir { slot, entry } if name == b".." => {
                self.walk_served(slot, entry, false, name)
            }
            FileId::FileDir { slot, entry } => {
                let found = ROLES.iter().find(|(_, n)| *n == name).ok_or(ninep::ENOENT)?;
                Ok(FileId::Member { slot, entry, role: found.0 })
            }
            FileId::Control => self.walk_control(name),
            FileId::Generation { .. } if name == b".." => Ok(FileId::Control),
            FileId::Generation { slot } => {
                let found = STREAMS.iter().find(|(_, n)| *n == name).ok_or(ninep::ENOENT)?;
                Ok(FileId::Stream { slot, stream: found.0 })
            }
            _ => Err(ninep::ENOTDIR),
        }
    }

    fn qid(&self, place: &FileId) -> Qid {
        place.qid()
    }

    fn attr(&self, place: &FileId) -> Attr {
        let (kind_bits, perm) = match place {
            FileId::Link { .. } => (0o120000, 0o777),
            FileId::Log => (0o100000, 0o666),
            FileId::Route | FileId::Member { role: Role::Avail, .. } => (0o100000, 0o666),
            place if place.is_dir() => (0o040000, 0o555),
            _ => (0o100000, 0o444),
        };
        let mut attr = Attr {
            qid: place.qid(),
            mode: kind_bits | perm,
            nlink: 1,
            size: self.file_len(place),
            name: self.name(place),
            ..Attr::default()
        };
        let served = match *place {
            FileId::Dir { slot, entry, .. }
            | FileId::FileDir { slot, entry }
            | FileId::Plain { slot, entry }
            | FileId::Link { slot, entry }
            | FileId::Member { slot, entry, .. } => self.entry_of(slot, entry),
            FileId::Root { .. } => self.shown.and_then(|slot| self.entry_of(slot, 0)),
            _ => None,
        };
        if let Some(entry) = served {
            (attr.uid, attr.gid) = (entry.uid, entry.gid);
            (attr.mtime_s, attr.mtime_ns) = (entry.mtime_s, entry.mtime_ns);
            attr.link = entry.link.to_vec();
            match place {
                FileId::Dir { .. }
                | FileId::Plain { .. }
                | FileId::Member { role: Role::Data, .. } => attr.mode = kind_bits | entry.mode,
                FileId::Link { .. } => attr.size = entry.link.len() as u64,
                _ => {}
            }
        }
        attr
    }

    fn entry(&self, dir: &FileId, cursor: u64) -> Option<DirEntry<FileId>> {
        match *dir {
            FileId::Root { plain } => {
                let fixed: &[(FileId, &[u8])] =
                    if plain { &[] } else { &[(FileId::Log, b"log"), (FileId::Control, b".xget")] };
                if let Some(found) = fixed_at(fixed, cursor) {
                    return Some(found);
                }
                let base = fixed.len() as u64;
                let mut found = self.child_at(self.shown?, 0, plain, cursor - base)?;
                found.next += base;
                Some(found)
            }
            FileId::Dir { slot, entry, plain } => self.child_at(slot, entry, plain, cursor),
            FileId::FileDir { slot, entry } => {
                let members = ROLES.map(|(role, n)| (FileId::Member { slot, entry, role }, n));
                fixed_at(&members, cursor)
            }
            FileId::Control => {
                if let Some(found) = fixed_at(&CONTROLS, cursor) {
                    return Some(found);
                }
                // Slots only grow: a cursor stays right while they come and go.
                let base = CONTROLS.len() as u64;
                let from = GenerationId((cursor - base) as u32);
                let (slot, generation) = self.generations.at_or_after(from)?;
                let name = generation.digest().to_string().into_bytes();
                let next = base + u64::from(slot.0) + 1;
                Some(DirEntry { name, file: FileId::Generation { slot }, next })
            }
            FileId::Generation { slot } => {
                let streams = STREAMS.map(|(stream, n)| (FileId::Stream { slot, stream }, n));
                fixed_at(&streams, cursor)
            }
            _ => None,
        }
    }

    fn open(&mut self, opener: OpenId, place: &FileId, access: Access) -> Result<(), Error> {
        let writable = self.is_master
            && matches!(
                place,
                FileId::Log | FileId::Route | FileId::Member { role: Role::Avail, .. }
            );
        if access.write && !writable {
            return Err(if self.is_master { ninep::EROFS } else { ninep::EACCES });
        }
        if *place == FileId::Route {
            if !self.is_master {
                return Err(Error::new(ninep::EACCES.errno, "only the master routes"));
            }
            let first = self.conversations.at_or_after(OpenId { serial: 0, ..opener });
            if first.is_some_and(|(other, _)| other.conn == opener.conn) {
                return Err(Error::new(16, "one conversation for each connection"));
            }
            self.conversations.insert(opener, VecDeque::new());
        }
        if *place == FileId::Status {
            self.notices.push_back(Notice::StatusWanted);
        }
        Ok(())
    }

    fn close(&mut self, opener: OpenId, place: &FileId) {
        match place {
            FileId::Route => {
                self.conversations.remove(&opener);
                self.wake(Wait::Answer(opener));
                self.notices.push_back(Notice::RouteClosed(opener));
            }
            FileId::Member { role: Role::Avail, .. } => self.workers.close(opener),
            _ => {}
        }
    }

    fn read(
        &mut self,
        opener: OpenId,
        place: &FileId,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<Bulk>, Error> {
        match *place {
            FileId::Member { slot, entry, role } => match role {
                Role::Data => self.read_data(slot, entry, offset, count, ticket),
                Role::Checksum => self.read_checksum(slot, entry, offset, count, ticket),
                Role::Avail => Ok(Answer::Bytes(Vec::new())),
                // Asking is what routes: a second read at an offset is the end.
                Role::Redir if offset > 0 => Ok(Answer::Bytes(Vec::new())),
                Role::Redir if !self.is_master => Ok(slice(b"me", offset, count)),
                Role::Redir => {
                    let text = self.workers.redir(opener.conn, entry);
                    Ok(slice(text.as_bytes(), offset, count))
                }
            },
            FileId::Plain { slot, entry } => self.read_data(slot, entry, offset, count, ticket),
            FileId::Stream { slot, stream: Stream::Pieces } => {
                self.read_piece(slot, offset, count, Some(ticket))
            }
            FileId::Stream { slot, stream: Stream::Held } => {
                self.read_piece(slot, offset, count, None)
            }
            FileId::Stream { slot, stream: Stream::List } => {
                let generation = self.generations.get(&slot).ok_or(ninep::ESTALE)?;
                if !generation.list_known {
                    return Ok(self.park(Wait::List(slot), ticket));
                }
                let list: Vec<u8> = generation.head.list.iter().flat_map(|d| d.0).collect();
                Ok(slice(&list, offset, count))
            }
            FileId::Info => match &self.info {
                Some(text) => Ok(slice(text.as_bytes(), offset, count)),
                None => Ok(self.park(Wait::Info, ticket)),
            },
            FileId::Status => Ok(slice(self.status.as_bytes(), offset, count)),
            FileId::Log => {
                let text: Vec<u8> = self.log.iter().flatten().copied().collect();
                Ok(slice(&text, offset, count))
            }
            FileId::Manifest => match self.shown_generation() {
                Some(generation) => Ok(slice(&generation.manifest_bytes, offset, count)),
                None => Ok(self.park(Wait::Info, ticket)),
            },
            FileId::Route => self.read_conversation(opener, count, ticket),
            _ => Err(ninep::EISDIR),
        }
    }

    fn forget(&mut self, ticket: Ticket) {
        let Some(wait) = self.parked.remove(&ticket) else { return };
        if let Some(tickets) = self.waits.get_mut(&wait) {
            tickets.retain(|t| *t != ticket);
            if tickets.is_empty() {
                self.waits.remove(&wait);
            }
        }
    }

    fn totals(&self) -> Totals {
        let manifest =
            self.shown_generation().and_then(|g| g.content.as_deref()).map(|c| &c.manifest);
        manifest.map_or(Totals::default(), |manifest| Totals {
            files: manifest.files_count(),
            bytes: manifest.bytes_total(),
        })
    }

    fn write(
        &mut self,
        opener: OpenId,
        place: &FileId,
        _offset: u64,
        data: &[u8],
    ) -> Result<u32, Error> {
        match *place {
            FileId::Log => {
                let lines = data.split(|&b| b == b'\n' || b == 0).filter(|line| !line.is_empty());
                for line in lines.take(LOG_LINES_MAX) {
                    let line = line[..line.len().min(LOG_LINE_LEN_MAX)].to_vec();
                    self.notices.push_back(Notice::LogLine(opener.conn, line));
                }
            }
            FileId::Route => {
                if data.len() > LINE_LEN_MAX {
                    return Err(ninep::EINVAL);
                }
                for line in data.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
                    self.notices.push_back(Notice::RouteLine(opener, line.to_vec()));
                }
            }
            FileId::Member { entry, role: Role::Avail, .. } if !data.is_empty() => {
                let peer = self.peers.get(&opener.conn).ok_or(ninep::EIO)?;
                let ip = peer.ip().to_canonical();
                self.workers
                    .avail(opener, entry, ip, data)
                    .map_err(|why| Error::with(22, format!("avail: {why:?}")))?;
            }
            FileId::Member { role: Role::Avail, .. } => {}
            _ => return Err(ninep::EROFS),
        }
        Ok(data.len() as u32)
    }
}

impl NameSpace {
    fn name(&self, place: &FileId) -> Vec<u8> {
        let fixed = |name: &[u8]| name.to_vec();
        match *place {
            FileId::Root { .. } => fixed(b"/"),
            FileId::Log => fixed(b"log"),
            FileId::Control => fixed(b".xget"),
            FileId::Dir { slot, entry, .. }
            | FileId::FileDir { slot, entry }
            | FileId::Plain { slot, entry }
            | FileId::Link { slot, entry } => {
                self.entry_of(slot, entry).map_or(Vec::new(), |e| e.name.to_vec())
            }
            FileId::Member { role, .. } => {
                ROLES.iter().find(|(r, _)| *r == role).map_or(Vec::new(), |(_, n)| fixed(n))
            }
            FileId::Generation { slot } => {
                let digest = self.generations.get(&slot).map(Generation::digest);
                digest.map_or(Vec::new(), |d| d.to_string().into_bytes())
            }
            FileId::Stream { stream, .. } => {
                STREAMS.iter().find(|(s, _)| *s == stream).map_or(Vec::new(), |(_, n)| fixed(n))
            }
            _ => CONTROLS.iter().find(|(p, _)| p == place).map_or(Vec::new(), |(_, n)| fixed(n)),
        }
    }
}

fn fixed_at(list: &[(FileId, &[u8])], cursor: u64) -> Option<DirEntry<FileId>> {
    let (place, name) = list.get(cursor as usize)?;
    Some(DirEntry { name: name.to_vec(), file: *place, next: cursor + 1 })
}
