//! What is for this node alone, put over its root: from a master directly, sealed, and nobody
//! else gets it from here.
//!
//! It is no generation that this agent serves, and in no cache. Nothing of it is logged but how
//! many files it has, and which name of the image it does not go over.

use super::failure::FetchError;
use super::fetching::Transfers;
use crate::driver;
use crate::os::file;
use crate::store::destination::{CheckStep, Destination, FinishStep};
use crate::store::directory::Directory;
use crate::store::error::DestError;
use crate::store::writer::DestOptions;
use peer::alone::{HEAD_LEN, Head};
use peer::auth::Key;
use peer::content::digest::Digest;
use peer::content::manifest::{EntryKind, Manifest};
use peer::content::pieces::{Extent, ManifestPieces, PieceMap};
use peer::failure::Failure;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// Fetches it and puts it there. `judge` sees what is to come before anything is written.
#[inline(never)]
pub fn put_over(
    transfers: &mut Transfers,
    key: &Key,
    dest: &str,
    judge: &mut dyn FnMut(&Manifest) -> Result<(), FetchError>,
) -> Result<(), FetchError> {
    let (head, bytes) = transfers.fetch_alone(key)?;
    let Head::Layer { manifest_len, .. } = head else {
        if head == Head::None {
            log::info!("the master has no layer for this node alone");
            return Ok(());
        }
        let why = "the master cannot give what is for this node alone: its own log says why";
        return Err(FetchError::source(why.into()));
    };
    let files = put(&bytes[HEAD_LEN..], manifest_len, Path::new(dest), judge);
    let files = files.map_err(|FetchError { status, text }| {
        // The master hears of it, and is to see no name.
        log::warn!("{text}");
        let text = "what is for this node alone cannot be put in place: its console says why";
        FetchError { status, text: text.into() }
    })?;
    log::info!("a layer for this node alone, {files} files");
    Ok(())
}

/// Puts it in place as a layer is, each piece verified. Gives how many files it has.
#[inline(never)]
fn put(
    bytes: &[u8],
    manifest_len: u32,
    dest: &Path,
    judge: &mut dyn FnMut(&Manifest) -> Result<(), FetchError>,
) -> Result<usize, FetchError> {
    let (encoded, mut contents) =
        bytes.split_at_checked(manifest_len as usize).ok_or_else(broken)?;
    let manifest = Rc::new(Manifest::decode(encoded).map_err(|_| broken())?);
    judge(&manifest)?;
    // It came as a whole, and nobody gets a piece of it.
    let (generation, piece_len, list) = (Digest::of(encoded), manifest.piece_len, Vec::new());
    let manifest_len = u64::from(manifest_len);
    let pieces = ManifestPieces { generation, manifest_len, piece_len, list };
    let map = Rc::new(PieceMap::new(pieces, &manifest));
    let options = DestOptions {
        keep_modes: true,
        keep_owners: file::is_root(),
        keep_dirs: true,
        ..DestOptions::default()
    };
    let mut directory = Directory::open(dest, options, false).map_err(failed)?;
    let mut writer = directory.begin(manifest.clone(), map.clone()).map_err(failed)?;
    let found = loop {
        if let CheckStep::Done { found } = writer.check_step(u64::MAX).map_err(failed)? {
            break found;
        }
    };
    for piece in map.manifest_pieces().count()..map.count() {
        let extents: Vec<Extent> = map.extents(&manifest, piece).collect();
        let len = extents.iter().map(|extent| extent.len as usize).sum();
        let (bytes, after) = contents.split_at_checked(len).ok_or_else(broken)?;
        contents = after;
        map.verify_extents(&manifest, piece, &extents, bytes).map_err(|_| broken())?;
        // What fails is among the failures.
        if !found.contains(&piece) {
            let _ = writer.store(&extents, bytes);
        }
    }
    while writer.finish_step(u64::MAX) == FinishStep::Finishing {}
    writer.failures().pop().map_or(Ok(()), |error| Err(failed(error)))?;
    Ok(manifest.entries.iter().filter(|entry| entry.kind != EntryKind::Dir).count())
}

#[inline(never)]
fn broken() -> FetchError {
    FetchError::local("it is not what its own manifest says".into())
}

#[inline(never)]
fn failed(error: DestError) -> FetchError {
    let Failure { status, why, .. } = driver::failure(&error);
    FetchError { status, text: why }
}

/// The same without a boot, for tests: from this master into that directory. Nothing where the
/// master has none.
///
/// # Errors
/// Why not, in words.
pub fn fetch_alone(master: SocketAddr, key: &Key, dest: &Path) -> Result<Option<usize>, String> {
    let most = Duration::from_secs(20);
    match driver::ask_alone(master, key, most, &mut || true).map_err(|why| why.to_string())? {
        (Head::None, _) => Ok(None),
        (Head::Layer { manifest_len, .. }, bytes) => {
            let files = put(&bytes[HEAD_LEN..], manifest_len, dest, &mut |_| Ok(()));
            files.map(Some).map_err(|error| error.text)
        }
        (head, _) => Err(format!("{head:?}")),
    }
}
