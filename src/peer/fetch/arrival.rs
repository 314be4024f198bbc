//! What arrives from parents: the list, the manifest, pieces, refusals.
//!
//! Knows when something is verified and what it completes; content is
//! verified and stored by the driver, the manifest here. Whom it came from
//! matters only to count it and to blame.

use super::*;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

impl Fetch {
    pub(super) fn link_frame(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        conn: ConnId,
        frame: ninep::client::Frame,
    ) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        match link.frame(now_ms, frame) {
            Ok(Got::Nothing) => {}
            Ok(Got::List(bytes)) => self.list_arrived(common, now_ms, conn, &bytes),
            Ok(Got::Piece { piece, len, data }) => {
                self.last_data_ms = now_ms;
                self.piece_arrived(common, now_ms, conn, piece, len, data);
            }
            Ok(Got::Absent { piece }) => self.scheduler.absent(ParentKey(conn.0), piece, now_ms),
            Ok(Got::Refused { piece, why }) => self.refused(common, now_ms, conn, piece, &why),
            Err(why) => self.lose_link(common, conn, Complaint::Refused, &why, now_ms),
        }
        self.fill(common, now_ms, conn);
    }

    pub(super) fn generation<'c>(&self, common: &'c Common) -> Option<&'c Generation> {
        common.space.generation(self.slot?)
    }

    pub(super) fn list_arrived(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        conn: ConnId,
        bytes: &[u8],
    ) {
        let (Some(generation), Some(slot)) = (self.generation(common), self.slot) else { return };
        if generation.list_known {
            return;
        }
        let manifest_pieces = &generation.manifest_pieces;
        let made = ManifestPieces::from_list(
            manifest_pieces.generation,
            manifest_pieces.manifest_len,
            manifest_pieces.piece_len,
            bytes,
        );
        match made {
            Ok(manifest_pieces) => {
                self.scheduler.extend(manifest_pieces.count());
                let tickets = common.space.set_list(slot, manifest_pieces.list);
                common.wake(tickets);
                self.fill_all(common, now_ms);
            }
            Err(_) => {
                let why = "sent a list of the manifest that is not what its digest says";
                self.wrong_bytes(common, now_ms, conn, 0, why);
            }
        }
    }

    pub(super) fn piece_arrived(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        conn: ConnId,
        piece: u32,
        len: u32,
        data: Option<&[u8]>,
    ) {
        if !self.scheduler.is_open(piece) {
            self.scheduler.arrived(ParentKey(conn.0), piece, now_ms);
            return;
        }
        let Some(generation) = self.generation(common) else { return };
        if generation.piece_len(piece) != Some(len) {
            let result = StoreResult::Wrong;
            return self.stored(common, now_ms, conn, piece, result);
        }
        if piece >= generation.manifest_pieces.count() {
            common.effects.push_back(Effect::Store { conn, piece });
            return;
        }
        // A piece of the manifest: it stays in memory.
        let right =
            data.is_some_and(|bytes| generation.manifest_pieces.verify(piece, bytes).is_ok());
        let (Some(slot), Some(bytes), true) = (self.slot, data, right) else {
            return self.stored(common, now_ms, conn, piece, StoreResult::Wrong);
        };
        let tickets = common.space.hold_manifest(slot, piece, bytes);
        common.wake(tickets);
        self.scheduler.arrived(ParentKey(conn.0), piece, now_ms);
        self.settle_piece(common, conn, piece, len);
        if self.scheduler.is_complete() && self.phase == FetchPhase::Manifest {
            self.manifest_complete(common);
        }
    }

    /// The whole manifest is here and verified.
    pub(super) fn manifest_complete(&mut self, common: &mut Common) {
        let (Some(generation), Some(slot)) = (self.generation(common), self.slot) else { return };
        let decoded = Manifest::decode(&generation.manifest_bytes);
        let manifest = match decoded {
            Ok(manifest) if manifest.piece_len != generation.manifest_pieces.piece_len => {
                let why = "its pieces have not the length that was announced";
                return self.fail(
                    common,
                    Failure {
                        status: Status::Verification,
                        what: "the manifest".into(),
                        why: why.into(),
                        fatal: true,
                    },
                );
            }
            Ok(manifest) => manifest,
            Err(malformed) => {
                return self.fail(
                    common,
                    Failure {
                        status: Status::Verification,
                        what: "the manifest".into(),
                        why: format!("the master published a malformed one: {}", malformed.0),
                        fatal: true,
                    },
                );
            }
        };
        if let Err(failure) = self.check_pin(generation.digest(), &manifest) {
            return self.fail(common, failure);
        }
        let map = PieceMap::new(generation.manifest_pieces.clone(), &manifest);
        self.scheduler.extend(map.count());
        (self.files, self.stats.total_bytes) = (manifest.files_count(), manifest.bytes_total());
        self.name_the_absent(common, &manifest);
        let content = Rc::new(Content { manifest: Rc::new(manifest), map: Rc::new(map) });
        common.space.set_content(slot, content.clone());
        self.content = Some(content.clone());
        self.phase = FetchPhase::Preparing;
        common.effects.push_back(Effect::Prepare { content });
    }

    /// What was asked for and cannot come: a line for each. What the master
    /// could not read is a failure; fifos, sockets and devices are not.
    pub(super) fn name_the_absent(&mut self, common: &mut Common, manifest: &Manifest) {
        let mut unread = 0u64;
        for (number, entry) in manifest.entries.iter().enumerate() {
            let why = match entry.kind {
                EntryKind::Special => "left out: neither file, directory nor symlink",
                EntryKind::Unreadable => {
                    unread += 1;
                    "the master cannot read it"
                }
                _ => continue,
            };
            let path = printable(manifest.path(number as u32));
            let was_named = entry.parent == 0 && !manifest.root_described;
            if entry.kind == EntryKind::Special && was_named {
                let (status, why) = (Status::Source, why.to_string());
                self.failures.push(Failure { status, what: path, why, fatal: false });
                continue;
            }
            common.effects.push_back(Effect::Warn(format!("{path}: {why}")));
        }
        if unread > 0 {
            self.failures.push(Failure {
                status: Status::Source,
                what: String::new(),
                why: format!("{unread} of what was asked for cannot be read by the master"),
                fatal: false,
            });
        }
    }

    pub(super) fn check_pin(&self, generation: Digest, manifest: &Manifest) -> Result<(), Failure> {
        let wrong = |why: String| Failure {
            status: Status::Verification,
            what: "--digest".into(),
            why,
            fatal: true,
        };
        let only_file = match &manifest.entries[1..] {
            [only] if only.kind == EntryKind::File => Some(only.digest),
            _ => None,
        };
        match self.options.pin {
            None => Ok(()),
            Some(Pin::Blake3(pin)) if pin == generation || Some(pin) == only_file => Ok(()),
            Some(Pin::Blake3(pin)) => Err(wrong(format!(
                "the master serves blake3:{generation}, not blake3:{pin}; nothing was written"
            ))),
            Some(Pin::Sha256(_)) if only_file.is_some() => Ok(()),
            Some(Pin::Sha256(_)) => {
                Err(wrong("sha256: pins a single file; use blake3: for a tree".into()))
            }
        }
    }

    pub(super) fn found(&mut self, common: &mut Common, pieces: &[u32]) {
        let (Some(slot), Some(content)) = (self.slot, self.content.clone()) else { return };
        for &piece in pieces {
            if self.scheduler.is_open(piece) {
                self.stats.have_bytes += u64::from(content.map.len(&content.manifest, piece));
            }
            self.scheduler.hold(piece);
            let tickets = common.space.hold(slot, piece);
            common.wake(tickets);
        }
    }

    pub(super) fn stored(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        conn: ConnId,
        piece: u32,
        result: StoreResult,
    ) {
        self.scheduler.arrived(ParentKey(conn.0), piece, now_ms);
        match result {
            StoreResult::Stored => {
                let Some(content) = self.content.clone() else { return };
                let len = content.map.len(&content.manifest, piece);
                self.stats.have_bytes += u64::from(len);
                self.settle_piece(common, conn, piece, len);
                self.corrupt.retain(|&corrupt| corrupt != piece);
                if let Some(slot) = self.slot {
                    let tickets = common.space.hold(slot, piece);
                    common.wake(tickets);
                }
                self.fill(common, now_ms, conn);
            }
            StoreResult::Wrong => {
                let name = match &self.content {
                    Some(content) => piece_name(&content.manifest, &content.map, piece),
                    None => "the manifest".into(),
                };
                let why = format!("sent bytes of {name} that are not what the digest says");
                self.wrong_bytes(common, now_ms, conn, piece, &why);
            }
            StoreResult::Failed(failure) => {
                let fatal = failure.fatal;
                self.forget(common, piece);
                if fatal {
                    return self.fail(common, failure);
                }
                // What failed is said when all is finished.
                self.withdraw(common);
                self.fill(common, now_ms, conn);
            }
        }
    }

    fn wrong_bytes(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        conn: ConnId,
        piece: u32,
        why: &str,
    ) {
        let from_master =
            self.links.get(&conn).is_some_and(|link| link.source == ParentAddr::Master);
        let fed = |stripe: &usize| self.feeders[*stripe] == Some(ParentAddr::Master);
        let stripes: Vec<usize> = (0..self.feeders.len()).filter(fed).collect();
        self.lose_link(common, conn, Complaint::Corrupt, why, now_ms);
        if !from_master {
            return;
        }
        // Nobody stands above the master: it is asked again, and then no more.
        let (addr, advice) =
            (self.master_link.addr(), "look at its memory, its disk and the network");
        if self.corrupt.contains(&piece) {
            let why = format!("the master {addr} sent wrong bytes twice; {advice}");
            self.give_up(common, piece, Status::Verification, &why);
        } else if self.corrupt.len() < CORRUPT_MAX {
            self.corrupt.push(piece);
        } else {
            let why = format!("it sent wrong bytes for more than {CORRUPT_MAX} pieces; {advice}");
            let (status, what) = (Status::Verification, format!("the master {addr}"));
            return self.fail(common, Failure { status, what, why, fatal: true });
        }
        for stripe in stripes {
            self.set_feeder(common, now_ms, stripe as u8, ParentAddr::Master);
        }
    }

    pub(super) fn forget(&mut self, common: &mut Common, piece: u32) {
        for key in self.scheduler.give_up(piece) {
            self.flush_ask(common, key, piece);
        }
        if let Some(slot) = self.slot {
            let tickets = common.space.lose(slot, piece);
            common.wake(tickets);
        }
    }

    /// What we cannot have, others cannot have from us.
    pub(super) fn withdraw(&mut self, common: &mut Common) {
        if !core::mem::replace(&mut self.is_withdrawn, true) {
            self.master_link.ask(common, &ClientMessage::Leave);
        }
    }

    pub(super) fn flush_ask(&mut self, common: &mut Common, key: ParentKey, piece: u32) {
        if let Some(link) = self.links.get_mut(&ConnId(key.0)) {
            link.forget(common, piece);
        }
    }

    pub(super) fn settle_piece(&mut self, common: &mut Common, conn: ConnId, piece: u32, len: u32) {
        match self.links.get(&conn).map(|link| link.source) {
            Some(ParentAddr::Master) => self.stats.from_master_bytes += u64::from(len),
            _ => self.stats.from_peers_bytes += u64::from(len),
        }
        for key in self.scheduler.hold(piece) {
            self.flush_ask(common, key, piece);
        }
    }

    pub(super) fn give_up(&mut self, common: &mut Common, piece: u32, status: Status, why: &str) {
        let why = why.to_string();
        let Some(content) = self.content.clone() else {
            return self
                .fail(common, Failure { status, what: "the manifest".into(), why, fatal: true });
        };
        self.forget(common, piece);
        self.withdraw(common);
        // A pack is the only piece of its files; another file has more of them.
        let is_pack = content.map.extents(&content.manifest, piece).count() > 1;
        for extent in content.map.extents(&content.manifest, piece) {
            let what = printable(content.manifest.path(extent.entry));
            if is_pack || !self.failures.iter().any(|f| f.what == what) {
                self.failures.push(Failure { status, what, why: why.clone(), fatal: false });
            }
        }
    }

    /// A parent says that it has not got a piece.
    pub(super) fn refused(
        &mut self,
        common: &mut Common,
        now_ms: u64,
        conn: ConnId,
        piece: u32,
        why: &str,
    ) {
        let Some(link) = self.links.get(&conn) else { return };
        let source = link.source;
        self.scheduler.refused(ParentKey(conn.0), piece);
        if source == ParentAddr::Master {
            return self.give_up(common, piece, Status::Changed, why);
        }
        let stripe = piece as usize % self.feeders.len();
        if self.feeders[stripe] == Some(source) {
            let text = format!("{}: has not got a piece: {why}", self.source_name(source));
            common.effects.push_back(Effect::Warn(text));
            self.replace(common, now_ms, stripe, source, Complaint::Refused);
        }
    }
}
