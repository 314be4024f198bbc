//! Which way this boot takes: what the master says the node is, what is fetched of it,
//! and whether another kernel has to be started first.
//!
//! Ends in another kernel (`start`) or in the image's own system (`root`); returns only
//! with the reason why in neither.

use super::cmdline::Cmdline;
use super::engine::Fetched;
use super::failure::FetchError;
use super::fetching::{Errand, Transfers};
use super::running::{self, SETUP_LEN_MAX};
use super::settings::Settings;
use super::start::{self, NextSystem};
use super::{image, root, setup};
use crate::os::{module, newroot};
use peer::content::digest::Digest;
use peer::content::manifest::{EntryKind, Manifest};
use peer::control::NodeAnswer;
use peer::failure::Status;
use std::path::Path;

/// Goes it; the reason is why there is no next system.
pub fn go(transfers: &mut Transfers, line: &Cmdline) -> String {
    loop {
        match go_once(transfers, line) {
            // It was there when the master was asked, and is no more.
            FetchError { status: Status::Source, text } if transfers.is_known() => {
                log::warn!("{text}; asking again");
                if let Err(error) = transfers.wait_for_operator() {
                    return error.text;
                }
            }
            FetchError { text, .. } => return text,
        }
    }
}

fn go_once(transfers: &mut Transfers, line: &Cmdline) -> FetchError {
    let node = match transfers.ask(line) {
        Ok(node) => node,
        Err(error) => return error,
    };
    let Some(node) = node else { return go_by_kernel(transfers, line, &NodeAnswer::default()) };
    let line = &match obey(transfers, line, &node) {
        Ok(line) => line,
        Err(reason) => return FetchError::local(reason),
    };
    match node.root {
        None => go_by_kernel(transfers, line, &node),
        Some(kind) => match runs_already(transfers, line, &node) {
            Ok(true) => root::boot(transfers, line, &node, kind),
            Ok(false) => go_by_kernel(transfers, line, &node),
            Err(error) => error,
        },
    }
}

/// The words of the node's line come into force, where the own line does not say
/// the same name: who wrote that is nearer to this boot.
fn obey(transfers: &mut Transfers, line: &Cmdline, node: &NodeAnswer) -> Result<Cmdline, String> {
    let settings = &transfers.settings;
    let pinned = settings.image.digest.or(settings.root.digest);
    if pinned.is_some()
        && !settings.root.unpinned
        && !(node.words.is_empty() && node.layers.is_empty())
    {
        return Err(
            "the command line pins a digest, and it covers neither the layers nor the words that nodes.tab has for this node: take them out, or say xget.unpinned"
                .into(),
        );
    }
    let mut merged = line.clone();
    let mut words = Cmdline::parse(&node.words).params;
    words.retain(|word| word.name.starts_with("xget.") && !line.has(&word.name));
    merged.params.extend(words);
    let mut settings = Settings::of(&merged);
    let said = |warning: &String| transfers.settings.warnings.contains(warning);
    settings.warnings.iter().filter(|warning| !said(warning)).for_each(|said| log::warn!("{said}"));
    if let Some(reason) = settings.refusal.take() {
        return Err(reason);
    }
    settings.image.path = node.image.clone();
    super::console::set_debug(settings.debug);
    if transfers.settings.watchdog.is_none() {
        transfers.system.arm_watchdog(settings.watchdog);
    }
    transfers.settings = settings;
    Ok(merged)
}

/// By another kernel, which is fetched with all that it needs.
fn go_by_kernel(transfers: &mut Transfers, line: &Cmdline, node: &NodeAnswer) -> FetchError {
    if let Err(reason) = start::check_kexec() {
        return FetchError::local(reason);
    }
    let fetched = match fetch_kernel(transfers, node) {
        Ok(fetched) => fetched,
        Err(error) => return error,
    };
    start_kernel(transfers, line, node, &fetched)
}

fn start_kernel(
    transfers: &mut Transfers,
    line: &Cmdline,
    node: &NodeAnswer,
    fetched: &(Fetched, Option<Digest>),
) -> FetchError {
    let next = NextSystem {
        has_root: node.root.is_some(),
        words: &node.words,
        kernel: fetched.1.map(|digest| digest.to_string()),
    };
    FetchError::local(start::start(transfers, line, &fetched.0, &next))
}

/// Fetches what there is beside the root; gives the kernel's digest, too.
fn fetch_kernel(
    transfers: &mut Transfers,
    node: &NodeAnswer,
) -> Result<(Fetched, Option<Digest>), FetchError> {
    let settings = &transfers.settings.image;
    let (path, pin) = (settings.path.clone(), settings.digest);
    let room_bytes = settings.room_bytes.unwrap_or_else(|| image::room_bytes(&start::machine()));
    setup::mount_image(room_bytes).map_err(|error| {
        FetchError::local(format!("cannot mount {} MiB for the image: {error}", room_bytes >> 20))
    })?;
    // The root is fetched by itself, and not before it is known to be booted.
    let sources = match node.root {
        None => vec![format!("{path}/.").into_bytes()],
        Some(_) => node.parts.iter().map(|part| format!("{path}/{part}").into_bytes()).collect(),
    };
    let errand = Errand {
        name: &path,
        sources,
        pin,
        dest: setup::IMAGE,
        keep_attributes: false,
        is_layer: false,
        room_bytes: Some(room_bytes),
        copies: None,
    };
    let mut kernel = None;
    let fetched = transfers.fetch(&errand, &mut |content, _| {
        kernel = digest_of_kernel(&content.manifest);
        Ok(())
    });
    match fetched {
        Ok(fetched) => Ok((fetched, kernel)),
        Err(error) if error.status == Status::NoSpace => {
            Err(FetchError { text: too_large(&error.text, room_bytes), ..error })
        }
        Err(error) => Err(error),
    }
}

fn digest_of_kernel(manifest: &Manifest) -> Option<Digest> {
    let entry = &manifest.entries[manifest.child(0, b"kernel")? as usize];
    (entry.kind == EntryKind::File).then_some(entry.digest)
}

/// What can be done about it.
fn too_large(reason: &str, room_bytes: u64) -> String {
    format!(
        "{reason}: an image may weigh a third of the memory that is available, since it is \
         there three times while it is loaded. Give the machine more memory, make the \
         image smaller, or set xget.tmpfs.size= (now {} MiB)",
        room_bytes >> 20
    )
}

/// Whether the image's kernel runs, and with the words that it is to have. Where that
/// takes a look at the kernel file, and it is another one, that is started from here.
fn runs_already(
    transfers: &mut Transfers,
    line: &Cmdline,
    node: &NodeAnswer,
) -> Result<bool, FetchError> {
    let Some(kernel) = node.kernel.filter(|_| !node.parts.is_empty()) else {
        log::info!("the image has no kernel of its own: its root is booted with this one");
        return Ok(true);
    };
    if running::was_started_from(line, &kernel.to_string()) {
        return Ok(true);
    }
    let fetched = fetch_kernel(transfers, node)?;
    let is_running = match &fetched.1 {
        Some(digest) if running::was_started_from(line, &digest.to_string()) => true,
        _ => is_this_kernel() && lacks_nothing(line, node),
    };
    if is_running {
        // Its memory is the root's.
        setup::unmount_image();
        return Ok(true);
    }
    if let Err(reason) = start::check_kexec() {
        return Err(FetchError::local(reason));
    }
    Err(start_kernel(transfers, line, node, &fetched))
}

fn is_this_kernel() -> bool {
    let kernel = Path::new(setup::IMAGE).join("kernel");
    let setup = newroot::head(&kernel.to_string_lossy(), SETUP_LEN_MAX).unwrap_or_default();
    let said = running::version_of(&setup).unwrap_or_default();
    module::kernel_version()
        .is_ok_and(|(release, version)| running::is_same(said, &release, &version))
}

/// Only another start gives this kernel other words.
fn lacks_nothing(line: &Cmdline, node: &NodeAnswer) -> bool {
    let cmdline = Path::new(setup::IMAGE).join("cmdline");
    let wanted = match cmdline.exists() {
        true => start::read_cmdline(&cmdline).unwrap_or_default(),
        false => String::new(),
    };
    let missing: Vec<&str> = [wanted.as_str(), &node.words]
        .into_iter()
        .flat_map(|words| running::missing_words(line, words))
        .collect();
    if missing.is_empty() {
        return true;
    }
    log::info!("this kernel is the image's, and lacks of its words: {}", missing.join(" "));
    false
}
