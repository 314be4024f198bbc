//! Which way this boot takes: what the master says the node is, what is fetched of it,
//! and whether another kernel has to be started first.
//!
//! Ends in another kernel (`start`) or in the image's own system (`root`); returns only
//! with the reason why in neither.

use super::cmdline::Cmdline;
use super::engine::{Fetched, Judge};
use super::failure::{self, FetchError, Retry};
use super::fetching::{Errand, Transfers};
use super::next_cmdline::KEYED;
use super::running::{self, SETUP_LEN_MAX};
use super::settings::{ImageSettings, Settings};
use super::start::{self, NextSystem};
use super::{image, root, setup};
use crate::os::{module, newroot};
use crate::store::writer::Purpose;
use nodes::IMAGES;
use peer::content::digest::Digest;
use peer::content::manifest::{EntryKind, Manifest};
use peer::control::{NodeAnswer, NodeStage};
use peer::failure::Status;
use peer::image::has_root;
use std::path::Path;

/// What one round leaves for the next.
#[derive(Default)]
struct Kept {
    root: root::Kept,
    /// The kernel that runs is the image's: in which generation of what is beside the root,
    /// and what its file `cmdline` said.
    running: Option<(Digest, String)>,
}

/// Goes it, in as many rounds as it takes; the reason is why there is no next system.
pub fn go(transfers: &mut Transfers, line: &Cmdline) -> String {
    let mut kept = Kept::default();
    let reason = rounds(transfers, line, &mut kept);
    kept.root.forget(transfers.system);
    reason
}

#[inline(never)]
fn rounds(transfers: &mut Transfers, line: &Cmdline, kept: &mut Kept) -> String {
    let mut round = 0;
    loop {
        round += 1;
        let FetchError { status, text } = go_once(transfers, line, kept);
        if transfers.has_another(status) {
            // What this node is, it says, too.
            log::warn!("{text}; the next who answered is asked");
            continue;
        }
        let is_known = transfers.is_known();
        let Some(retry) = failure::another_round(status, round).filter(|_| is_known) else {
            return text;
        };
        log::warn!("{text}; asking again");
        if retry == Retry::Poll {
            transfers.say(NodeStage::Failed, &text);
        }
        if let Err(error) = transfers.wait(retry, round) {
            return error.text;
        }
    }
}

#[inline(never)]
fn go_once(transfers: &mut Transfers, line: &Cmdline, kept: &mut Kept) -> FetchError {
    let node = match transfers.ask(line) {
        Ok(node) => node,
        Err(error) => return error,
    };
    let Some(node) = node else {
        kept.root.forget(transfers.system);
        let node = NodeAnswer::default();
        return match check_parts(&transfers.settings, &node) {
            Ok(()) => go_by_kernel(transfers, line, &node),
            Err(reason) => FetchError::unverified(reason),
        };
    };
    let words = match obey(transfers, line, &node) {
        Ok(all) => Words { own: line, all },
        Err(reason) => return FetchError::unverified(reason),
    };
    let Some(kind) = node.root else {
        kept.root.forget(transfers.system);
        return go_by_kernel(transfers, line, &node);
    };
    match runs_already(transfers, &words, &node, kept) {
        Ok(looked_at) => {
            let started = running::started(line, looked_at);
            root::boot(transfers, &words.all, (&node, kind, &started), &mut kept.root)
        }
        Err(error) => error,
    }
}

/// What this boot was told.
struct Words<'a> {
    /// By its own command line: what the next kernel hears of that.
    own: &'a Cmdline,
    /// With those of the node's line that are obeyed here.
    all: Cmdline,
}

/// The words of the node's line come into force.
#[inline(never)]
fn obey(transfers: &mut Transfers, line: &Cmdline, node: &NodeAnswer) -> Result<Cmdline, String> {
    let merged = merge(line, node)?;
    let mut settings = Settings::of(&merged);
    let said = |warning: &String| transfers.settings.warnings.contains(warning);
    settings.warnings.iter().filter(|warning| !said(warning)).for_each(|said| log::warn!("{said}"));
    if let Some(reason) = settings.refusal.take() {
        return Err(reason);
    }
    settings.image.path = node.image.clone();
    super::console::set_debug(settings.debug);
    if transfers.system.watchdog.is_none() {
        transfers.system.arm_watchdog(settings.watchdog);
    }
    transfers.obey(settings);
    Ok(merged)
}

/// The command line of this boot with those words of the node's line that are obeyed here,
/// where it does not say the same name itself: who wrote that is nearer to this boot. A
/// digest that it pins covers none of them.
#[inline(never)]
fn merge(line: &Cmdline, node: &NodeAnswer) -> Result<Cmdline, String> {
    let own = Settings::of(line);
    let trusts = !own.image.trust.keys.is_empty();
    let is_pinned = trusts || own.image.digest.or(own.root.digest).is_some();
    if is_pinned && !own.root.unpinned {
        if !(node.words.is_empty() && node.layers.is_empty()) {
            return Err(
                "what is pinned or signed covers neither the layers nor the words that nodes.tab has for this node: take them out, or say xget.unpinned"
                    .into(),
            );
        }
        // Each image is signed, and which one is to be booted is not.
        let path = &own.image.path;
        if trusts && node.image != *path && node.image != [IMAGES, "/", path].concat() {
            return Err(format!(
                "xget.trust= does not say which image: for this node the master has {}, and the command line {path}; say xget.image= there, or xget.unpinned",
                node.image
            ));
        }
    }
    check_parts(&own, node)?;
    let mut merged = line.clone();
    let mut words = Cmdline::parse(&node.words).params;
    // Keys of a file are not on the line, and nobody else names others.
    let is_key = |name: &str| ["xget.key", "xget.node-key", KEYED].contains(&name);
    let is_ours = |name: &str| name.starts_with("xget.") && !is_key(name) || name == "init";
    words.retain(|word| is_ours(&word.name) && !line.has(&word.name));
    merged.params.extend(words);
    Ok(merged)
}

/// Which parts an image has, the master says: none that is pinned may be missing.
fn check_parts(own: &Settings, node: &NodeAnswer) -> Result<(), String> {
    // An image without a root is pinned as a whole.
    let has_kernel = node.root.is_none() || own_kernel(node).is_some();
    match (own.image.digest, own.root.digest) {
        (Some(_), _) if !has_kernel => Err(KERNEL_LEFT_OUT.into()),
        (_, Some(_)) if node.root.is_none() => Err(PIN_LEFT_OUT.into()),
        _ => Ok(()),
    }
}

/// The kernel that a root is to be started by.
fn own_kernel(node: &NodeAnswer) -> Option<Digest> {
    node.kernel.filter(|_| !node.parts.is_empty())
}

const KERNEL_UNPINNED: &str = "xget.root.digest= covers no kernel, and the image's has to be started: say xget.digest=, too, or xget.unpinned";
const KERNEL_LEFT_OUT: &str =
    "xget.digest= pins a kernel, and the master says that the image has none";
const PIN_LEFT_OUT: &str =
    "xget.root.digest= pins a root, and the master says that the image has none";
const ROOT_LEFT_OUT: &str =
    "the image has a root, or a link of that name, and the master says that it has none";
const NO_ROOT: &str = "what is for this node alone (xget.node-key=) goes over a root, and the image has none: give it one (docs/provisioning.md), or this node no key of its own";

/// By another kernel, which is fetched with all that it needs.
fn go_by_kernel(transfers: &mut Transfers, line: &Cmdline, node: &NodeAnswer) -> FetchError {
    if transfers.settings.node_key.is_some() {
        return FetchError::local(NO_ROOT.into());
    }
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
    let asked = transfers.settings.image.room_bytes;
    let room_bytes = asked.unwrap_or_else(|| image::room_bytes(&start::machine()));
    let mut filled = fill_image(transfers, node, room_bytes);
    let is_full = |error: &FetchError| error.status == Status::NoSpace;
    if filled.as_ref().is_err_and(is_full) && transfers.most_bytes > 0 {
        // What has changed meanwhile would lie beside what it was before.
        log::warn!("no room for both: the image is begun anew");
        filled = fill_image(transfers, node, room_bytes);
    }
    filled.map_err(|error| match is_full(&error) {
        true => FetchError { text: too_large(&error.text, room_bytes), ..error },
        false => error,
    })
}

/// The same once, into a tmpfs that has nothing else.
fn fill_image(
    transfers: &mut Transfers,
    node: &NodeAnswer,
    room_bytes: u64,
) -> Result<(Fetched, Option<Digest>), FetchError> {
    setup::mount_image(room_bytes).map_err(|error| {
        FetchError::local(format!("cannot mount {} MiB for the image: {error}", room_bytes >> 20))
    })?;
    let mut kernel = None;
    let ImageSettings { digest, trust, .. } = &transfers.settings.image;
    let is_whole = node.root.is_none() && (digest.is_some() || !trust.keys.is_empty());
    let fetched = fetch_parts(transfers, node, Some(room_bytes), &mut |content, _| {
        kernel = digest_of_kernel(&content.manifest);
        // Nobody else says that of what is signed or pinned.
        match is_whole && has_root(&content.manifest) {
            true => Err(FetchError::unverified(ROOT_LEFT_OUT.into())),
            false => Ok(()),
        }
    });
    Ok((fetched?, kernel))
}

fn fetch_parts(
    transfers: &mut Transfers,
    node: &NodeAnswer,
    room_bytes: Option<u64>,
    judge: &mut Judge,
) -> Result<Fetched, FetchError> {
    let settings = &transfers.settings.image;
    let (path, pin) = (settings.path.clone(), settings.digest);
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
        purpose: Purpose::Fill,
        room_bytes,
        copies: None,
        started: None,
    };
    transfers.fetch(&errand, judge)
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

/// Where the image's kernel runs, and with the words that it is to have: which generation was
/// looked at for that, if any. Else it is started from here, and the error is why not.
#[inline(never)]
fn runs_already(
    transfers: &mut Transfers,
    Words { own, all }: &Words,
    node: &NodeAnswer,
    kept: &mut Kept,
) -> Result<Option<Digest>, FetchError> {
    let Some(kernel) = own_kernel(node) else {
        log::info!("the image has no kernel of its own: its root is booted with this one");
        warn_of_idle_words(all, node);
        return Ok(None);
    };
    if running::was_started_from(own, &kernel.to_string()) {
        return Ok(None);
    }
    if let Some((digest, wanted)) = &kept.running
        && is_still(transfers, node, *digest)?
        && lacks_nothing(all, wanted, &node.words)
    {
        return Ok(Some(*digest));
    }
    // What is loaded is in memory three times.
    kept.root.forget(transfers.system);
    let fetched = fetch_kernel(transfers, node)?;
    let wanted = cmdline_of_image();
    let is_running = match &fetched.1 {
        Some(digest) if running::was_started_from(own, &digest.to_string()) => true,
        _ => is_this_kernel() && lacks_nothing(all, &wanted, &node.words),
    };
    if is_running {
        // Its memory is the root's.
        setup::unmount_image();
        kept.running = Some((fetched.0.digest, wanted));
        return Ok(Some(fetched.0.digest));
    }
    check_kernel(own, &transfers.settings).map_err(FetchError::unverified)?;
    if let Err(reason) = start::check_kexec() {
        return Err(FetchError::local(reason));
    }
    Err(start_kernel(transfers, own, node, &fetched))
}

/// Whether a kernel that this is not may be started where the own line pins the root.
fn check_kernel(own: &Cmdline, Settings { image, root, .. }: &Settings) -> Result<(), String> {
    let is_open = image.digest.is_none() && image.trust.keys.is_empty() && !root.unpinned;
    match own.has("xget.root.digest") && is_open {
        true => Err(KERNEL_UNPINNED.into()),
        false => Ok(()),
    }
}

/// Whether what is beside the root has not changed: its manifest tells, and nothing else
/// is fetched.
fn is_still(
    transfers: &mut Transfers,
    node: &NodeAnswer,
    before: Digest,
) -> Result<bool, FetchError> {
    let mut is_same = None;
    let fetched = fetch_parts(transfers, node, None, &mut |_, digest| {
        is_same = Some(digest == before);
        Err(FetchError::local("it only looked whether its kernel is another by now".into()))
    });
    is_same.map_or(fetched.map(|_| false), Ok)
}

/// Words that only a kernel of the image's could be given.
fn warn_of_idle_words(line: &Cmdline, node: &NodeAnswer) {
    let idle = running::missing_words(line, &node.words, false);
    if !idle.is_empty() {
        log::warn!("nodes.tab has words that this kernel was not started with: {}", idle.join(" "));
    }
    if node.parts.iter().any(|part| part == "cmdline") {
        log::warn!("the image has a file cmdline and no kernel: its words are for nobody");
    }
}

fn cmdline_of_image() -> String {
    let cmdline = Path::new(setup::IMAGE).join("cmdline");
    let text = cmdline.exists().then(|| start::read_cmdline(&cmdline).unwrap_or_default());
    text.unwrap_or_default()
}

fn is_this_kernel() -> bool {
    let kernel = Path::new(setup::IMAGE).join("kernel");
    let setup = newroot::head(&kernel.to_string_lossy(), SETUP_LEN_MAX).unwrap_or_default();
    let said = running::version_of(&setup).unwrap_or_default();
    module::kernel_version()
        .is_ok_and(|(release, version)| running::is_same(said, &release, &version))
}

/// Only another start gives this kernel other words; ours, too, where they stand in the
/// image. Those of the node's line are obeyed already.
fn lacks_nothing(line: &Cmdline, wanted: &str, of_node: &str) -> bool {
    let mut missing = running::missing_words(line, wanted, true);
    missing.extend(running::missing_words(line, of_node, false));
    if missing.is_empty() {
        return true;
    }
    log::info!("this kernel is the image's, and lacks of its words: {}", missing.join(" "));
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with all that can be pinned.
    fn whole() -> NodeAnswer {
        let (kernel, parts) = (Some(Digest::of(b"kernel")), vec!["kernel".into()]);
        let root = Some(peer::control::RootKind::Dir);
        NodeAnswer { image: "default".into(), kernel, parts, root, ..NodeAnswer::default() }
    }

    fn merged(line: &str, words: &str) -> Result<Cmdline, String> {
        merge(&Cmdline::parse(line), &NodeAnswer { words: words.into(), ..whole() })
    }

    #[test]
    fn the_own_line_goes_before_the_words_of_the_nodes_line() {
        let line =
            merged("xget.debug=0 quiet", "xget.debug xget.linger=9 init=/x quiet ro").unwrap();
        assert_eq!(line.last("xget.debug"), Some("0"));
        assert_eq!((line.last("xget.linger"), line.last("init")), (Some("9"), Some("/x")));
        assert!(!line.has("ro"), "that is the kernel's");
        let line = merged("quiet", "xget.key=k xget.node-key=n xget.keyed=node").unwrap();
        assert_eq!(line, Cmdline::parse("quiet"), "a key is nobody else's to name");
    }

    #[test]
    fn what_the_own_line_pins_nothing_unpinned_goes_over() {
        let pin = |name| format!("{name}=blake3:{}", "ab".repeat(32));
        for name in ["xget.digest", "xget.root.digest"] {
            assert!(merged(&pin(name), "xget.debug").unwrap_err().contains("xget.unpinned"));
            assert!(merged(&pin(name), "xget.unpinned").is_err(), "only the own line says it");
            assert!(merged(&pin(name), "").is_ok());
            assert!(merged(&[&pin(name), " xget.unpinned"].concat(), "xget.debug").is_ok());
            // A pin of the table is a check of what the same master serves, and no more; in
            // each round, and after a kexec.
            let line = merged("quiet", &[&pin(name), " xget.debug"].concat()).unwrap();
            assert!(line.has(name) && line.has("xget.debug"));
        }
    }

    #[test]
    fn what_is_pinned_is_there_or_nothing_is_booted() {
        let pin = |name| format!("{name}=blake3:{}", "ab".repeat(32));
        let checked = |line: &str, has_kernel, root| {
            let mut node = NodeAnswer { root, ..whole() };
            node.kernel = node.kernel.filter(|_| has_kernel);
            check_parts(&Settings::of(&Cmdline::parse(line)), &node)
        };
        let (kernels, roots) = (&pin("xget.digest")[..], &pin("xget.root.digest")[..]);
        let both = [kernels, " ", roots].concat();
        let some = whole().root;
        for (line, has_kernel, root) in [
            ("", false, None),
            // An image without a root is pinned as a whole, and known when it comes.
            (kernels, false, None),
            (kernels, true, some),
            (roots, false, some),
            (&both, true, some),
        ] {
            assert_eq!(checked(line, has_kernel, root), Ok(()), "{line} {has_kernel}");
        }
        assert!(checked(kernels, false, some).unwrap_err().contains("pins a kernel"));
        assert!(checked(&both, false, some).unwrap_err().contains("pins a kernel"));
        for line in [roots, &both] {
            assert!(checked(line, true, None).unwrap_err().contains("pins a root"));
            assert!(checked(line, false, None).unwrap_err().contains("pins a root"));
        }
    }

    #[test]
    fn with_the_root_alone_pinned_no_other_kernel_is_started() {
        let pin = |name| format!("{name}=blake3:{}", "ab".repeat(32));
        let key = "xget.trust=RWRlzykCgUxEr38V5gp0WKquFGkrV+KKH3Jn++B1uDLnC1BM2BSWMrmb";
        let (kernels, roots) = (&pin("xget.digest")[..], &pin("xget.root.digest")[..]);
        let checked = |line: &str, words: &str| {
            let own = Cmdline::parse(line);
            let all = merge(&own, &NodeAnswer { words: words.into(), ..whole() }).unwrap();
            check_kernel(&own, &Settings::of(&all))
        };
        assert!(checked(roots, "").unwrap_err().contains("say xget.digest=, too"));
        for more in [kernels, key, "xget.unpinned"] {
            assert_eq!(checked(&[roots, " ", more].concat(), ""), Ok(()), "{more}");
        }
        assert_eq!(checked("quiet", ""), Ok(()));
        assert_eq!(checked("quiet", roots), Ok(()), "the table pins what the same master serves");
    }

    #[test]
    fn of_what_is_trusted_the_master_chooses_neither_the_image_nor_words() {
        let key = "xget.trust=RWRlzykCgUxEr38V5gp0WKquFGkrV+KKH3Jn++B1uDLnC1BM2BSWMrmb";
        let answer = |image: &str, words: &str| NodeAnswer {
            image: image.into(),
            words: words.into(),
            ..NodeAnswer::default()
        };
        let merged = |line: &str, answer: &NodeAnswer| {
            merge(&Cmdline::parse(&[key, " ", line].concat()), answer).map(|_| ())
        };
        let tiny = answer("tiny", "");
        assert_eq!(merged("xget.image=tiny", &tiny), Ok(()));
        assert_eq!(merged("xget.image=tiny", &answer("images/tiny", "")), Ok(()));
        assert!(merged("", &tiny).unwrap_err().contains("which image"));
        assert!(merged("xget.image=other", &tiny).is_err());
        assert_eq!(merged("xget.unpinned", &tiny), Ok(()));
        let words = answer("tiny", "xget.debug");
        assert!(merged("xget.image=tiny", &words).unwrap_err().contains("xget.unpinned"));
        assert!(merged("xget.image=tiny", &answer("tiny", "xget.unpinned")).is_err());
        let layered = NodeAnswer { layers: vec!["layers/all".into()], ..tiny };
        assert!(merged("xget.image=tiny", &layered).unwrap_err().contains("layers"));
        assert_eq!(merged("xget.image=tiny xget.unpinned", &layered), Ok(()));
    }

    #[test]
    fn what_is_pinned_is_no_layer() {
        let pin = |name| format!("{name}=blake3:{}", "ab".repeat(32));
        let layered = NodeAnswer { layers: vec!["layers/all".into()], ..NodeAnswer::default() };
        assert!(merge(&Cmdline::parse(&pin("xget.digest")), &layered).is_err());
    }
}
