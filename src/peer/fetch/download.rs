//! A generation on its way here: its manifest, then its other pieces.
//!
//! Knows what is verified and what that completes; who sent it matters only for
//! counts and complaints. Refuses to know how pieces are asked for (`Transfer`)
//! and where bytes are stored (the driver).

use super::common::Common;
use super::corrupt::{CORRUPT_MAX, CorruptPieces, Verdict};
use super::io::{FetchEffect, StoreResult};
use super::manifest;
use super::options::FetchOptions;
use super::transfer::{Arrival, Transfer};
use super::window::{Pace, Slide, Window};
use crate::conn::ConnEvent;
use crate::content::digest::Digest;
use crate::content::manifest::{Manifest, piece_len_of};
use crate::content::pieces::{ManifestPieces, PieceMap};
use crate::control::{ClientMessage, ParentAddr, printable};
use crate::failure::{Failure, Status};
use crate::namespace::{Content, Generation};
use crate::request::Pin;
use alloc::format;
use alloc::rc::Rc;
use core::net::SocketAddr;
use core::ops::Range;
use ninep::server::ConnId;

/// Why a file that the master lost is not here.
const CHANGED: &str = "changed on the master during the fetch, or cannot be read there; \
                       fetch it again";

/// The window over all that follows the manifest.
fn window(bytes: u64, content: &Content) -> Option<Window> {
    let Content { manifest, map } = content;
    let longest = |manifest: &Manifest| manifest.entries.iter().map(|entry| entry.size).max();
    let piece_len = piece_len_of(longest(manifest).unwrap_or(0), map.piece_len());
    Window::new(bytes, piece_len, map.manifest_pieces().count()..map.count())
}

/// What came of a piece.
enum Brought<'a> {
    /// All of it; the bytes, if the frame was there whole.
    Whole(Option<&'a [u8]>),
    /// What did not change.
    Rest,
}

pub(super) struct Download {
    pub transfer: Transfer,
    pin: Option<Pin>,
    makes_specials: bool,
    corrupt: CorruptPieces,
    window_bytes: Option<u64>,
    /// Of a stream that does not fit.
    window: Option<Window>,
}

impl Download {
    /// Begins with the manifest pieces, which are these.
    pub fn new(
        common: &mut Common,
        pieces: ManifestPieces,
        stripes: u8,
        options: &FetchOptions,
    ) -> Download {
        let digest = pieces.generation;
        let id = common.server.space.add_generation(Generation::empty(pieces, stripes));
        let FetchOptions { request, makes_specials, .. } = options;
        let window_bytes = request.window_bytes;
        let pace = if window_bytes.is_some() { Pace::Stream } else { Pace::Any };
        let transfer = Transfer::new(common, id, digest, stripes, pace);
        let (pin, makes_specials) = (request.pin, *makes_specials);
        let corrupt = CorruptPieces::default();
        Download { transfer, pin, makes_specials, corrupt, window_bytes, window: None }
    }

    pub fn digest(&self) -> Digest {
        self.transfer.digest()
    }

    /// The master that is asked for pieces, whoever is conversed with.
    pub fn master(&self) -> SocketAddr {
        self.transfer.master()
    }

    /// A master serves this generation from now on: what another sent is not held against it.
    pub fn set_master(&mut self, common: &mut Common, master: SocketAddr) {
        if self.master() != master {
            self.corrupt = CorruptPieces::default();
            self.transfer.set_master(common, master);
        }
    }

    /// The master with this address is asked for nothing any more.
    pub fn leave_master(&mut self, common: &mut Common, addr: SocketAddr) {
        if self.master() == addr {
            self.corrupt = CorruptPieces::default();
            self.transfer.leave_master(common);
        }
    }

    /// The master cannot give something that another may have: whether one is asked before it
    /// from now on.
    fn passes_master(&mut self, common: &mut Common, why: &str) -> bool {
        let (addr, now_ms) = (self.master(), common.now_ms);
        let Common { server, master_link, .. } = common;
        let passed = master_link.put_last(&mut server.outbox, now_ms, (addr, why));
        let Some(warning) = passed else { return false };
        common.warn(warning);
        common.version = common.version_newest;
        self.leave_master(common, addr);
        true
    }

    fn generation<'a>(&self, common: &'a Common) -> Option<&'a Generation> {
        common.generation(self.transfer.generation)
    }

    /// The manifest and its pieces, once they are known.
    pub fn content<'a>(&self, common: &'a Common) -> Option<&'a Rc<Content>> {
        self.generation(common)?.content.as_ref()
    }

    /// No known piece is missing. Until the manifest is decoded, only its own
    /// pieces are known.
    pub fn is_complete(&self, common: &Common) -> bool {
        self.generation(common).is_some_and(|generation| generation.holdings.is_complete())
    }

    /// Takes what happened on a link to a parent.
    ///
    /// # Errors
    /// What ends the fetch.
    pub fn handle(&mut self, common: &mut Common, event: ConnEvent) -> Result<(), Failure> {
        let Some((conn, arrival)) = self.transfer.handle(common, event) else { return Ok(()) };
        match arrival {
            Arrival::List(bytes) => self.list_arrived(common, conn, &bytes)?,
            Arrival::Piece { piece, len, data, range } => {
                self.piece_arrived(common, conn, (piece, len), Brought::Whole(data), range)?;
            }
            Arrival::Rest { piece, len, range } => {
                self.piece_arrived(common, conn, (piece, len), Brought::Rest, range)?;
            }
            Arrival::Unavailable { piece, why, is_whole } => {
                log::debug!(target: "client", "piece {piece} is not to be had: {why}");
                self.unavailable(common, conn, piece, is_whole)?;
            }
        }
        self.transfer.fill(common, conn);
        Ok(())
    }

    fn list_arrived(
        &mut self,
        common: &mut Common,
        conn: ConnId,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let known = self.generation(common).filter(|generation| !generation.list_known());
        let Some(pieces) = known.map(|generation| &generation.manifest_pieces) else {
            return Ok(());
        };
        let (digest, len) = (pieces.generation, pieces.manifest_len);
        match ManifestPieces::from_list(digest, len, pieces.piece_len, bytes) {
            Ok(pieces) => {
                let tickets = common.server.space.set_list(self.transfer.generation, pieces.list);
                common.wake(tickets);
                self.transfer.right_came(common);
                self.transfer.fill_all(common);
                Ok(())
            }
            Err(_) => {
                let why = "sent a list of the manifest that is not what its digest says";
                self.came_corrupt(common, conn, 0, why)
            }
        }
    }

    fn piece_arrived(
        &mut self,
        common: &mut Common,
        conn: ConnId,
        (piece, len): (u32, u32),
        brought: Brought,
        range: Range<usize>,
    ) -> Result<(), Failure> {
        let Some(generation) = self.generation(common) else { return Ok(()) };
        if !generation.holdings.misses(piece) {
            self.transfer.piece_arrived(common, conn, piece);
            return Ok(());
        }
        if generation.piece_len(piece) != Some(len) {
            return self.stored(common, conn, piece, StoreResult::Corrupt);
        }
        if piece >= generation.manifest_pieces.count() {
            let is_rest = matches!(brought, Brought::Rest);
            common.effects.push_back(FetchEffect::Store { conn, piece, range, is_rest });
            return Ok(());
        }
        // Manifest pieces stay in memory, and there is no rest of them.
        let Brought::Whole(data) = brought else { return Ok(()) };
        let right = data.filter(|bytes| generation.manifest_pieces.verify(piece, bytes).is_ok());
        match right {
            Some(bytes) => self.manifest_piece(common, conn, piece, bytes),
            None => self.stored(common, conn, piece, StoreResult::Corrupt),
        }
    }

    fn manifest_piece(
        &mut self,
        common: &mut Common,
        conn: ConnId,
        piece: u32,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        self.transfer.piece_arrived(common, conn, piece);
        let held = common.server.space.hold_manifest(self.transfer.generation, piece, bytes);
        common.wake(held.map_err(|_| manifest::no_memory(self.generation(common)))?);
        self.count(common, conn, bytes.len() as u32);
        self.transfer.piece_held(common, piece);
        let is_whole = self.is_complete(common) && self.content(common).is_none();
        if is_whole { self.manifest_complete(common) } else { Ok(()) }
    }

    /// The whole manifest is here and verified. It is shown when it is what was
    /// wanted as well.
    fn manifest_complete(&mut self, common: &mut Common) -> Result<(), Failure> {
        let Some(generation) = self.generation(common) else { return Ok(()) };
        let Some(bytes) = generation.undecoded() else { return Ok(()) };
        let pieces = generation.manifest_pieces.clone();
        let (digest, manifest_len) = (pieces.generation, pieces.manifest_len);
        let manifest = manifest::decode(bytes, pieces.piece_len)?;
        manifest::check_pin(self.pin, pieces.generation, &manifest)?;
        let map = PieceMap::new(pieces, &manifest);
        common.report.files = manifest.files_count();
        common.report.stats.total_bytes = manifest.bytes_total();
        let unavailable = manifest::unavailable(&manifest, self.makes_specials);
        unavailable.warnings.into_iter().for_each(|text| common.warn(text));
        common.report.failures.extend(unavailable.failures);
        let content = Rc::new(Content { manifest: Rc::new(manifest), map: Rc::new(map) });
        let (space, id) = (&mut common.server.space, self.transfer.generation);
        self.window = self.window_bytes.and_then(|bytes| window(bytes, &content));
        let room = self.window.as_ref().map_or(u32::MAX, Window::room);
        space.set_content(id, content.clone(), room);
        let info = format!("generation blake3:{digest}\nindex_bytes {manifest_len}\n");
        let tickets = space.show(id, info);
        common.wake(tickets);
        self.transfer.pause();
        common.effects.push_back(FetchEffect::Prepare { content });
        Ok(())
    }

    /// The destination was checked; the pieces found there need not be fetched.
    pub fn prepared(&mut self, common: &mut Common, found: &[u32]) {
        for &piece in found {
            self.hold(common, piece);
        }
        self.transfer.go_on(common);
    }

    /// Of a stream: pieces below this number were handed to who reads it.
    pub fn written(&mut self, common: &mut Common, below: u32) {
        let slide = self.window.as_mut().and_then(|window| window.written(below));
        if let Some(Slide { passed, room }) = slide {
            common.effects.push_back(FetchEffect::Forget { below: passed.end });
            common.server.space.slide(self.transfer.generation, passed, room);
            self.transfer.fill_all(common);
        }
        self.tell_full(common);
    }

    /// Tells the master whether our reader holds us up: then nobody who reads faster is to
    /// wait for us.
    fn tell_full(&mut self, common: &mut Common) {
        let Some(window) = &mut self.window else { return };
        let Some(known) = common.generation(self.transfer.generation) else { return };
        let news = window.note_held(|piece| known.holdings.holds(piece), common.now_ms);
        if let Some(is_full) = news {
            common.tell(&ClientMessage::Full(is_full));
        }
    }

    /// The master that is talked to now has been told nothing yet.
    pub fn joined_again(&mut self) {
        if self.transfer.pace == Pace::Behind {
            self.transfer.pace = Pace::Stream;
        }
        if let Some(window) = &mut self.window {
            window.forget_full();
        }
    }

    /// Notes a piece as held. Its length in bytes, or 0 if it was held before.
    fn hold(&mut self, common: &mut Common, piece: u32) -> u32 {
        let Some(generation) = self.generation(common) else { return 0 };
        let is_news = generation.holdings.misses(piece);
        let len = generation.piece_len(piece).filter(|_| is_news).unwrap_or(0);
        common.report.stats.have_bytes += u64::from(len);
        let tickets = common.server.space.hold(self.transfer.generation, piece);
        common.wake(tickets);
        self.transfer.piece_held(common, piece);
        len
    }

    fn count(&self, common: &mut Common, conn: ConnId, len: u32) {
        let from_master = self.transfer.addr(conn) == Some(ParentAddr::Master);
        common.report.count(from_master, len);
    }

    /// What became of a piece that was to be verified and stored.
    ///
    /// # Errors
    /// What ends the fetch.
    pub fn stored(
        &mut self,
        common: &mut Common,
        conn: ConnId,
        piece: u32,
        result: StoreResult,
    ) -> Result<(), Failure> {
        self.transfer.piece_arrived(common, conn, piece);
        match result {
            StoreResult::Stored => {
                let len = self.hold(common, piece);
                self.count(common, conn, len);
                self.corrupt.forget(piece);
                self.tell_full(common);
            }
            StoreResult::Rest { changed } => {
                let len = self.generation(common).and_then(|known| known.piece_len(piece));
                self.count(common, conn, len.unwrap_or(0));
                self.lose(common, piece);
                for entry in changed {
                    self.fail(common, entry, Status::Changed, CHANGED);
                }
            }
            StoreResult::Corrupt => {
                let name = manifest::piece_name(self.content(common).map(Rc::as_ref), piece);
                let why = format!("sent bytes of {name} that are not what the digest says");
                return self.came_corrupt(common, conn, piece, &why);
            }
            StoreResult::Failed { failure, lost } => {
                lost.into_iter()
                    .flatten()
                    .chain([piece])
                    .for_each(|piece| self.lose(common, piece));
                if failure.fatal {
                    return Err(failure);
                }
                // The driver reports the failure with `Finished`.
                common.leave_once();
            }
        }
        self.transfer.fill(common, conn);
        Ok(())
    }

    fn came_corrupt(
        &mut self,
        common: &mut Common,
        conn: ConnId,
        piece: u32,
        why: &str,
    ) -> Result<(), Failure> {
        let Some(stripes) = self.transfer.sent_corrupt(common, conn, piece, why) else {
            return Ok(());
        };
        let addr = self.master();
        let advice = "look at its memory, its disk and the network";
        match self.corrupt.note(piece) {
            Verdict::AskAgain => {}
            Verdict::GiveUp => {
                let why = format!("the master {addr} sent wrong bytes twice; {advice}");
                if self.content(common).is_some() && self.passes_master(common, &why) {
                    return Ok(());
                }
                self.give_up(common, piece, Status::Verification, &why)?;
                // Damaged on the way to us: others may have it, and not from us.
                common.leave_once();
            }
            Verdict::Fail => {
                let why =
                    format!("it sent wrong bytes for more than {CORRUPT_MAX} pieces; {advice}");
                let what = format!("the master {addr}");
                return Err(Failure::fatal(Status::Verification, what, why));
            }
        }
        self.transfer.ask_master_again(common, stripes);
        Ok(())
    }

    /// Notes a piece as lost.
    fn lose(&mut self, common: &mut Common, piece: u32) {
        let tickets = common.server.space.lose(self.transfer.generation, piece);
        common.wake(tickets);
        self.transfer.piece_settled(common, piece);
    }

    /// The master says that it has not got a piece any more, or, `is_whole`, not all of it.
    /// Where no other is to be asked, so it is with everybody, and our children hear the same
    /// of us and ask it. Nothing else of that file is asked for.
    fn unavailable(
        &mut self,
        common: &mut Common,
        conn: ConnId,
        piece: u32,
        is_whole: bool,
    ) -> Result<(), Failure> {
        if !self.generation(common).is_some_and(|known| known.holdings.misses(piece)) {
            return Ok(());
        }
        if self.content(common).is_some() {
            let name = manifest::piece_name(self.content(common).map(Rc::as_ref), piece);
            if self.passes_master(common, &format!("has not {name} any more")) {
                return Ok(());
            }
        }
        if is_whole && self.is_pack(common, piece) {
            self.transfer.ask_rest(common, conn, piece);
            return Ok(());
        }
        self.give_up(common, piece, Status::Changed, CHANGED)?;
        let Some(content) = self.content(common).cloned() else { return Ok(()) };
        for extent in content.map.extents(&content.manifest, piece) {
            for piece in content.map.of_entry(&content.manifest, extent.entry) {
                if self.generation(common).is_some_and(|known| known.holdings.misses(piece)) {
                    self.lose(common, piece);
                }
            }
        }
        Ok(())
    }

    /// Nobody can give a piece: its files fail, and the others go on.
    fn give_up(
        &mut self,
        common: &mut Common,
        piece: u32,
        status: Status,
        why: &str,
    ) -> Result<(), Failure> {
        let Some(content) = self.content(common).cloned() else {
            return Err(Failure::fatal(status, "the manifest", why));
        };
        if self.window_bytes.is_some() {
            // Whoever reads has a part of it, and nothing else is to come.
            let extent = content.map.extents(&content.manifest, piece).next();
            let path = extent.map(|extent| content.manifest.path(extent.entry));
            return Err(Failure::fatal(status, printable(path.unwrap_or_default()), why));
        }
        self.lose(common, piece);
        // A pack is the only piece of each of its files. A file of several pieces
        // may have failed already, for another of them.
        let is_pack = self.is_pack(common, piece);
        for extent in content.map.extents(&content.manifest, piece) {
            let what = printable(content.manifest.path(extent.entry));
            let mut known = common.report.failures.iter();
            if is_pack || !known.any(|failure| failure.what == what) {
                self.fail(common, extent.entry, status, why);
            }
        }
        Ok(())
    }

    fn fail(&self, common: &mut Common, entry: u32, status: Status, why: &str) {
        if let Some(content) = self.content(common) {
            let what = printable(content.manifest.path(entry));
            common.report.failures.push(Failure::single(status, what, why));
        }
    }

    /// The piece holds several files.
    fn is_pack(&self, common: &Common, piece: u32) -> bool {
        let content = self.content(common);
        content.is_some_and(|known| known.map.extents(&known.manifest, piece).nth(1).is_some())
    }
}
