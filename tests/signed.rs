//! What is signed at the head and what a client takes that trusts a key, with signify(1) at
//! either end.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use support::proc::{Ended, Master, Proc, XGET, command, xget};
use support::{Scratch, lacks, noise, until};

/// As Debian calls it.
const SIGNIFY: &str = "signify-openbsd";

fn signify(scratch: &Scratch, words: &[&str]) -> Ended {
    let mut signify = command(SIGNIFY);
    signify.args(words).current_dir(scratch.join("keys"));
    Proc::start(signify, scratch).wait()
}

/// Keys of that name; the public one.
fn keys(scratch: &Scratch, name: &str) -> PathBuf {
    let dir = scratch.dir("keys");
    let [public, secret] = ["pub", "sec"].map(|end| format!("{name}.{end}"));
    signify(scratch, &["-G", "-n", "-p", &public, "-s", &secret]).expect(0);
    fs::set_permissions(dir.join(&secret), fs::Permissions::from_mode(0o600)).unwrap();
    dir.join(public)
}

fn sign(scratch: &Scratch, name: &str, dir: &Path, sources: &[&str]) -> Ended {
    // By who lets others read nothing that he makes.
    let mut sign = command("sh");
    sign.args(["-c", r#"umask 077; exec "$@""#, "sh", XGET, "--sign"]);
    sign.arg(scratch.join("keys").join(format!("{name}.sec")));
    sign.arg(dir).args(sources);
    Proc::start(sign, scratch).wait()
}

fn fetch(master: &Master, scratch: &Scratch, words: &[&str], dest: &str) -> Ended {
    let mut fetch = xget();
    fetch.args(["-n", &master.addr(), "--linger", "0"]).args(words).arg(scratch.join(dest));
    Proc::start(fetch, scratch).wait()
}

fn served(scratch: &Scratch) -> PathBuf {
    let dir = scratch.dir("served");
    for name in ["tiny", "rescue"] {
        fs::create_dir(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("kernel"), noise(name.len() as u64, 200_000)).unwrap();
    }
    dir
}

#[test]
fn what_is_signed_is_fetched_and_what_changed_since_is_not() {
    if lacks(&[SIGNIFY]) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, public) = (served(&scratch), keys(&scratch, "head"));
    let trust = public.to_str().unwrap();
    let master = Master::start(&scratch, &dir, &[]);
    let refused = fetch(&master, &scratch, &["--trust", trust, "tiny"], "unsigned").expect(5);
    refused
        .says("is not signed as tiny (xget --sign KEY DIR SRC... there, with just these); nothing");
    assert!(!scratch.join("unsigned/tiny").exists());
    let said = sign(&scratch, "head", &dir, &[]).expect(0);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let signatures = dir.join(".xget/signatures");
    let one = fs::read_dir(&signatures).unwrap().next().unwrap().unwrap().path();
    // A master of another user is to read them.
    assert_eq!(
        [&dir.join(".xget"), &signatures, &one].map(|path| mode(path)),
        [0o755, 0o755, 0o644]
    );
    for line in ["  .\n", "  tiny\n", "  rescue\n"] {
        assert!(said.out.contains(line), "{}", said.out);
    }
    // While it is served, and by the words of the key alone.
    let text = fs::read_to_string(&public).unwrap();
    let words = text.lines().nth(1).unwrap();
    for (number, sources) in [&["tiny"][..], &["."], &["rescue/", "tiny"]].iter().enumerate() {
        let words = [&["--trust", words], *sources].concat();
        let dest = format!("signed{number}");
        match sources.len() {
            // A directory of its own has come into the root, which the master sees soon.
            1 => until("it is taken", 10, || fetch(&master, &scratch, &words, &dest).status == 0),
            // Both together are a generation of their own.
            _ => drop(fetch(&master, &scratch, &words, &dest).expect(5).says("is not signed")),
        }
    }
    sign(&scratch, "head", &dir, &["tiny", "rescue"]).expect(0);
    fetch(&master, &scratch, &["--trust", trust, "rescue", "tiny"], "both").expect(0);
    assert_eq!(
        fs::read(scratch.join("both/tiny/kernel")).unwrap(),
        fs::read(dir.join("tiny/kernel")).unwrap()
    );
    fs::write(dir.join("tiny/kernel"), "another").unwrap();
    until("the master has seen that it is another", 10, || {
        let changed = fetch(&master, &scratch, &["--trust", trust, "tiny"], "changed");
        changed.status == 5 && changed.err.contains("changed since")
    });
    fetch(&master, &scratch, &["--trust", trust, "rescue"], "other").expect(0);
}

#[test]
fn what_nodes_fetch_of_images_is_signed_with_the_rest() {
    if lacks(&[SIGNIFY]) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, public) = (served(&scratch), keys(&scratch, "head"));
    for path in ["images/full/kernel", "images/full/initrd.1", "images/full/cmdline"] {
        fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        fs::write(dir.join(path), path).unwrap();
    }
    fs::create_dir_all(dir.join("images/full/root/etc")).unwrap();
    fs::create_dir_all(dir.join("packed")).unwrap();
    fs::write(dir.join("packed/root.squashfs"), "a root").unwrap();
    fs::create_dir(dir.join("images/plain")).unwrap();
    fs::write(dir.join("images/plain/data"), "no kernel").unwrap();
    fs::write(dir.join("images/one.img"), "a file").unwrap();
    std::os::unix::fs::symlink("full", dir.join("images/current")).unwrap();
    std::os::unix::fs::symlink("gone", dir.join("images/dangling")).unwrap();
    let said = sign(&scratch, "head", &dir, &[]).expect(0);
    assert!(!said.err.contains("are both images"), "{}", said.err);
    let master = Master::start(&scratch, &dir, &[]);
    let parts = ["images/full/cmdline", "images/full/kernel", "images/full/initrd.1"];
    let of_nodes =
        [&["tiny/."][..], &parts, &["images/full/root/."], &["packed/root.squashfs"], &["images"]];
    // And what people type: the image as a whole, what is in it, what only has files, a link.
    let of_people = [
        &["images/full"][..],
        &["images/full/."],
        &["images/plain"],
        &["images/plain/."],
        &["images/one.img"],
        &["images/current/."],
        &["packed/."],
    ];
    for (number, sources) in of_nodes.iter().chain(&of_people).enumerate() {
        let words = [&["--trust", public.to_str().unwrap()], *sources].concat();
        fetch(&master, &scratch, &words, &format!("dest{number}")).expect(0);
    }
    // By what a root is started is signed with it: of who has no kernel nothing.
    let signed = fs::read_dir(dir.join(".xget/signatures")).unwrap();
    let texts = signed.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let bound: Vec<String> = texts.filter(|text| text.contains("\nbeside ")).collect();
    let mut digest = xget();
    digest.arg("--print-digest").arg(&dir).args(parts);
    let digest = Proc::start(digest, &scratch).wait().expect(0).out;
    for name in ["full", "current"] {
        let source = format!("\nsource images/{name}/root/.\n");
        let text = bound.iter().find(|text| text.contains(&source)).unwrap();
        assert!(text.contains(&format!("\nbeside {digest}")), "{text} {digest}");
    }
    assert_eq!(bound.len(), 2);
    // What nobody fetches by itself.
    let words = ["--trust", public.to_str().unwrap(), "images/full/kernel"];
    fetch(&master, &scratch, &words, "part").expect(5).says("is not signed");
}

#[test]
fn of_an_image_that_is_there_twice_the_signer_is_warned() {
    if lacks(&[SIGNIFY]) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, _) = (served(&scratch), keys(&scratch, "head"));
    for path in ["images/tiny/kernel", "images/other/kernel", "images/rescue/data"] {
        fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        fs::write(dir.join(path), path).unwrap();
    }
    let said = sign(&scratch, "head", &dir, &[]).expect(0);
    assert_eq!(said.err.matches("are both images").count(), 1, "{}", said.err);
    said.says("images/tiny and tiny are both images: a node with xget.image=tiny boots");
}

#[test]
fn layers_are_signed_as_nodes_fetch_them() {
    if lacks(&[SIGNIFY]) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, public) = (served(&scratch), keys(&scratch, "head"));
    let layers = ["layers/all", "layers/.rendered/n1"];
    for layer in layers {
        fs::create_dir_all(dir.join(layer).join("etc")).unwrap();
        fs::write(dir.join(layer).join("etc/motd"), layer).unwrap();
    }
    fs::write(dir.join("layers/README"), "no layer").unwrap();
    let said = sign(&scratch, "head", &dir, &[]).expect(0);
    for name in ["layers/README/.", "layers/.rendered/."] {
        assert!(!said.out.contains(&format!("{name}\n")), "{}", said.out);
    }
    let master = Master::start(&scratch, &dir, &[]);
    for (number, layer) in layers.iter().enumerate() {
        let source = format!("{layer}/.");
        let words = ["--trust", public.to_str().unwrap(), &source];
        let dest = format!("dest{number}");
        fetch(&master, &scratch, &words, &dest).expect(0);
        assert_eq!(fs::read_to_string(scratch.join(&dest).join("etc/motd")).unwrap(), *layer);
    }
}

#[test]
fn a_name_that_looks_like_a_pattern_is_signed_as_who_types_it_asks() {
    if lacks(&[SIGNIFY]) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, public) = (served(&scratch), keys(&scratch, "head"));
    fs::write(dir.join("w[1]"), "one").unwrap();
    let said = sign(&scratch, "head", &dir, &[]).expect(0);
    assert_eq!(said.out.matches("  w%5b1%5d\n").count(), 1, "{}", said.out);
    let master = Master::start(&scratch, &dir, &[]);
    for (number, source) in ["w[1]", r"w\[1\]"].iter().enumerate() {
        let words = ["--trust", public.to_str().unwrap(), source];
        let dest = format!("dest{number}");
        fetch(&master, &scratch, &words, &dest).expect(0);
        assert_eq!(fs::read_to_string(scratch.join(&dest).join("w[1]")).unwrap(), "one");
    }
}

#[test]
fn what_nobody_could_take_is_not_signed() {
    if lacks(&[SIGNIFY]) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, _) = (served(&scratch), keys(&scratch, "head"));
    let names: Vec<String> = (10..80).map(|n| format!("{n}{}", "x".repeat(240))).collect();
    names.iter().for_each(|name| fs::write(dir.join(name), "x").unwrap());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    sign(&scratch, "head", &dir, &names).expect(2).says("one statement, which has 16 KiB");
    assert_eq!(fs::read_dir(dir.join(".xget/signatures")).unwrap().count(), 0);
    sign(&scratch, "head", &dir, &names[..60]).expect(0);
}

#[test]
fn all_but_something_is_signed_as_who_fetches_it_says_it() {
    if lacks(&[SIGNIFY]) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, public) = (served(&scratch), keys(&scratch, "head"));
    sign(&scratch, "head", &dir, &["--exclude", "rescue"]).expect(0);
    let master = Master::start(&scratch, &dir, &[]);
    let words = ["--trust", public.to_str().unwrap(), "--exclude", "rescue", "."];
    fetch(&master, &scratch, &words, "rest").expect(0);
    assert!(!scratch.join("rest/rescue").exists());
}

/// Until who was named has written.
#[test]
fn a_signal_ends_who_waits_for_a_key_in_a_pipe() {
    let scratch = Scratch::new();
    let pipe = scratch.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for option in ["--trust", "--keep"] {
        let mut fetch = xget();
        fetch.args(["-n", "127.0.0.1:9", option]).arg(&pipe).args([".", "none"]);
        if option == "--keep" {
            fetch.arg("--delete");
        }
        let fetch = Proc::start(fetch, &scratch);
        // fifo(7): this works once somebody reads; and who reads waits for what is written.
        let open = || OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe);
        let mut writer = open();
        until("it reads", 30, || {
            writer = open();
            writer.is_ok()
        });
        fetch.signal(Signal::SIGTERM);
        fetch.wait().expect(128 + Signal::SIGTERM as i32);
    }
}

#[test]
fn what_is_printed_to_be_signed_takes_no_right_to_write() {
    let scratch = Scratch::new();
    let dir = served(&scratch);
    // Root may write anywhere, but not into a file as if it were a directory.
    fs::create_dir(dir.join(".xget")).unwrap();
    fs::write(dir.join(".xget/signatures"), "").unwrap();
    let mut print = xget();
    print.arg("--print-statement").arg(&dir).arg("tiny");
    let printed = Proc::start(print, &scratch).wait().expect(0);
    assert!(printed.out.contains("source tiny\n"), "{}", printed.out);
}

#[test]
fn signify_checks_what_we_sign_and_signs_what_we_take() {
    if lacks(&[SIGNIFY]) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, public) = (served(&scratch), keys(&scratch, "head"));
    sign(&scratch, "head", &dir, &["tiny"]).expect(0);
    let signatures = dir.join(".xget/signatures");
    let one = fs::read_dir(&signatures).unwrap().next().unwrap().unwrap().path();
    let checked = |path: &Path| {
        signify(
            &scratch,
            &["-V", "-e", "-p", "head.pub", "-x", path.to_str().unwrap(), "-m", "out"],
        )
    };
    checked(&one).expect(0);
    let text = fs::read_to_string(scratch.join("keys/out")).unwrap();
    assert!(text.starts_with("xget generation 1\nsource tiny\ngeneration blake3:"), "{text}");
    // By hand, with what is printed; and it says where it goes.
    let mut print = xget();
    print.arg("--print-statement").arg(&dir).arg("rescue");
    let printed = Proc::start(print, &scratch).wait().expect(0);
    let place = printed.err.split("it goes to ").nth(1).unwrap().lines().next().unwrap();
    fs::write(scratch.join("keys/text"), &printed.out).unwrap();
    signify(&scratch, &["-S", "-e", "-s", "head.sec", "-m", "text", "-x", place]).expect(0);
    let master = Master::start(&scratch, &dir, &[]);
    let words = ["--trust", public.to_str().unwrap(), "rescue"];
    fetch(&master, &scratch, &words, "dest").expect(0);
}

#[test]
fn who_else_signs_or_signed_long_ago_is_not_believed() {
    if lacks(&[SIGNIFY]) {
        return;
    }
    let scratch = Scratch::new();
    let dir = served(&scratch);
    let [ours, theirs] = ["ours", "theirs"].map(|name| keys(&scratch, name));
    let [ours, theirs] = [&ours, &theirs].map(|path| path.to_str().unwrap());
    sign(&scratch, "theirs", &dir, &["tiny"]).expect(0);
    let master = Master::start(&scratch, &dir, &[]);
    let stranger = fetch(&master, &scratch, &["--trust", ours, "tiny"], "stranger").expect(5);
    stranger.says("which is not trusted here");
    fetch(&master, &scratch, &["--trust", ours, "--trust", theirs, "tiny"], "either").expect(0);
    let late = ["--trust", theirs, "--not-before", "2999-01-01", "tiny"];
    fetch(&master, &scratch, &late, "late").expect(5).says("before the oldest that is taken");
    // Somebody puts the signature of another image in its place.
    let signatures = dir.join(".xget/signatures");
    let of_tiny = fs::read_dir(&signatures).unwrap().next().unwrap().unwrap().path();
    sign(&scratch, "theirs", &dir, &["rescue"]).expect(0);
    let of_rescue = fs::read_dir(&signatures).unwrap().map(|name| name.unwrap().path());
    fs::copy(of_rescue.into_iter().find(|path| *path != of_tiny).unwrap(), &of_tiny).unwrap();
    let swapped = fetch(&master, &scratch, &["--trust", theirs, "tiny"], "swapped").expect(5);
    swapped.says("what is signed is rescue, which was not asked for");
}

#[test]
fn a_key_that_will_not_do_is_refused_before_anything_is_asked() {
    if lacks(&[SIGNIFY]) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, public) = (served(&scratch), keys(&scratch, "head"));
    let secret = scratch.join("keys/head.sec");
    let text = fs::read_to_string(&secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    sign(&scratch, "head", &dir, &[]).expect(2).says("others can read this key");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&secret, &text[..text.len() - 9]).unwrap();
    sign(&scratch, "head", &dir, &[]).expect(2).says("not a secret key of signify(1)");
    fs::write(&secret, text.replacen("RWRCSwAAAA", "RWRCSwAAACo", 1)).unwrap();
    sign(&scratch, "head", &dir, &[]).expect(2);
    sign(&scratch, "nobody", &dir, &[]).expect(2).says("No such file");
    // Nobody waits for who writes into a pipe.
    nix::unistd::mkfifo(&scratch.join("keys/fifo.sec"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    sign(&scratch, "fifo", &dir, &[]).expect(2).says("a key is in a file of mode 600");
    let master = Master::start(&scratch, &dir, &[]);
    for (key, why) in [
        ("RWRl", "--trust RWRl: No such file"),
        ("/dev/zero", "--trust /dev/zero: file too large"),
        (secret.to_str().unwrap(), "not a public key of signify(1)"),
    ] {
        fetch(&master, &scratch, &["--trust", key, "tiny"], "none").expect(2).says(why);
    }
    fs::write(&secret, &text).unwrap();
    sign(&scratch, "head", &dir, &["nope"]).expect(4).says("nope");
    sign(&scratch, "head", &dir.join("tiny/kernel"), &[]).expect(6).says("is a directory");
    // A stranger's link where the signatures are.
    fs::remove_dir_all(dir.join(".xget")).unwrap();
    std::os::unix::fs::symlink(scratch.join("keys"), dir.join(".xget")).unwrap();
    sign(&scratch, "head", &dir, &[]).expect(6).says("cannot write into");
    assert!(public.exists());
}
