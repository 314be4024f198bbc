//! Command lines, and what they mean.

use super::*;
use peer::request::Linger;

fn parsed(line: &str) -> Result<Options, String> {
    parse::<true>(line.split_whitespace().map(OsString::from))
}

#[test]
fn a_path_is_served_with_the_originals_port() {
    let Command::Head(HeadCommand::Serve(serve)) = parsed("-m 2 -x /srv").unwrap().command else {
        panic!()
    };
    assert_eq!((serve.port, serve.fan_out, serve.one_file_system), (MASTER_PORT, 2, true));
}

#[test]
fn a_master_makes_it_a_client() {
    let options = parsed("-n head:99 -r 3 -s -q -D 6 a b/c dest").unwrap();
    assert_eq!(options.debug, 6);
    let Command::Fetch(fetch) = options.command else { panic!() };
    assert_eq!(fetch.masters, [Host::Name("head".into(), 99)]);
    assert!(fetch.quiet);
    let task = fetch.task;
    assert_eq!(task.request.sources, vec![b"a".to_vec(), b"b/c".to_vec()]);
    assert_eq!((task.request.retries, task.keep_attributes), (3, false));
    assert_eq!(task.request.linger, Linger::Twice);
}

#[test]
fn a_source_may_be_a_pattern_and_a_quoted_one_is_a_path() {
    let request = |line| match parsed(line).unwrap().command {
        Command::Fetch(fetch) => fetch.task.request,
        other => panic!("{other:?}"),
    };
    let paths = request("-n head a\\*b c\\x2d.mount a\\\\b dest");
    assert_eq!(paths.sources, [&b"a*b"[..], b"c\\x2d.mount", b"a\\b"]);
    assert!(!paths.are_patterns && paths.excludes.is_empty());
    let globs = request("-n head --exclude *.o a\\*b c\\x2d* --exclude=/x/ dest");
    assert_eq!(globs.sources, [&b"a\\*b"[..], b"c\\\\x2d*"]);
    assert!(globs.are_patterns);
    assert_eq!(globs.excludes, [&b"*.o"[..], b"/x/"]);
    let Command::Head(HeadCommand::PrintDigest { selector, .. }) =
        parsed("--print-digest /srv --exclude x a?").unwrap().command
    else {
        panic!()
    };
    assert_eq!((selector.sources, selector.excludes), (vec![b"a?".to_vec()], vec![b"x".to_vec()]));
}

#[test]
fn what_is_excluded_is_left_alone() {
    let Command::Fetch(fetch) = parsed("-n head --exclude *.o . dest").unwrap().command else {
        panic!()
    };
    let keep = fetch.task.policy.keep;
    assert!(keep.fit(b"a/b.o", false) && !keep.fit(b"a/b.c", false));
}

#[test]
fn up_is_said_to_a_master_or_to_the_one_that_is_known() {
    let master = |line| match parsed(line).unwrap().command {
        Command::Up(master, _) => master,
        other => panic!("{other:?}"),
    };
    assert_eq!(master("--up"), []);
    let head = |name: &str, port| Host::Name(name.into(), port);
    assert_eq!(master("--up -p 7 -n head,b:8"), [head("head", 7), head("b", 8)]);
}

#[test]
fn what_makes_no_sense_is_said() {
    for line in [
        "",
        "a b",
        "-n head dest",
        "-n head",
        "-n head -m 3 . dest",
        "-p 0 /srv",
        "-m 17 /srv",
        "--digest x -n head . dest",
        "--digest md5:00 -n head . dest",
        "-r 1 /srv",
        "-q /srv",
        "-s /srv",
        "-o /srv",
        "--fsync /srv",
        "--exclude x /srv",
        "--exclude",
        "-n head --exclude [a . dest",
        "-n head --exclude= . dest",
        "--print-digest /srv --exclude a//b",
        "--print-digest /srv ..",
        "--up --exclude x",
        "--print-digest -p 1 /srv",
        "--print-digest -q /srv",
        "--print-digest --no-cache /srv",
        "--print-digest -n head /srv",
        "-n head --log f . dest",
        "-w 3 /srv",
        "--nonsense",
        "-n he:ad:1 . dest",
        "-n head:x . dest",
        "-n head .. dest",
        "-n head a/../../b dest",
        "--up /srv",
        "--up -q",
        "--up --sign k",
        "--sign k",
        "--sign k -n head /srv",
        "--sign k --print-digest /srv",
        "--sign k --print-statement /srv",
        "--sign k -q /srv",
        "--trust k /srv",
        "-n head --not-before 2026-11-22 . dest",
        "-n head --trust k --not-before today . dest",
        "--up --print-digest",
        "--up -x",
        "--up --max-clients 9",
        "--up --max-memory 9",
        "--up --no-sandbox",
        "--print-digest --no-sandbox /srv",
        "-n head --user nobody . dest",
        "--user",
        "--print-digest --max-clients 9 /srv",
        "--print-digest --max-memory 9 /srv",
        "--up -n he:ad:1",
    ] {
        assert!(parsed(line).is_err(), "{line:?}");
    }
}

#[test]
fn help_names_every_option() {
    for option in [
        "-p",
        "-m",
        "--head",
        "-x",
        "--daemon",
        "--cache",
        "--no-cache",
        "--no-discovery",
        "--log",
        "--user",
        "--no-sandbox",
        "-n",
        "-r",
        "-s",
        "-o",
        "-q",
        "--digest",
        "--linger",
        "--fsync",
        "--force",
        "--discard",
        "--verify",
        "--delete",
        "--keep",
        "--keep-dirs",
        "--dry-run",
        "--exclude",
        "--copy-dest",
        "--worker",
        "--window",
        "--spool",
        "--max-clients",
        "--max-memory",
        "-D",
        "--help",
        "--version",
        "--print-digest",
        "--sign",
        "--print-statement",
        "--trust",
        "--key",
        "--no-key",
        "--free-mounts",
        "--not-before",
        "--up",
    ] {
        assert!(HELP.contains(option), "{option}");
    }
}

#[test]
fn options_of_others_say_what_to_type_in_their_place() {
    for (line, instead) in [
        ("-w 3 -n head file1 /tmp/download", "-w: it did nothing in xget 1.2.3"),
        ("-f /boot/initrd", "xget -n HEAD FILE DEST"),
        ("-av head:/srv/x /dst", "-a: rsync's is always on here"),
        ("-n head --numeric-ids x dest", "always on"),
        ("-vn head x dest", "--dry-run"),
        ("-e ssh n1:x dest", "by -n HEAD"),
        ("-z", "leave it out"),
        ("--bwlimit=9 -n head x dest", "`tc` sets one"),
        ("-n head -u x dest", "leave it out"),
        ("--files-from list -n head dest", "SRC..."),
        ("-n head --backup x dest", "copy it first"),
        ("--nonsense", "see xget --help"),
    ] {
        let why = parsed(line).unwrap_err();
        assert!(why.contains(instead), "{line}: {why}");
    }
}

#[test]
fn what_of_rsyncs_patterns_is_refused_is_said() {
    for pattern in ["[[:alpha:]]", "!", "a**b", ".", "a//b", "[a-"] {
        let why = parsed(&format!("-n head --exclude {pattern} . dest")).unwrap_err();
        assert!(why.contains(&format!("not {pattern:?}: no class")), "{why}");
    }
}

#[test]
fn behind_a_verb_no_verb_is_asked_for() {
    let why = parse_get(vec!["f1".into()]).map(|_| ()).unwrap_err();
    assert_eq!(why, "one path is not enough: SRC... DEST");
    assert!(parsed("-n head f1").unwrap_err().contains("a verb comes first"));
}

#[test]
fn removing_is_told_from_serving_by_a_second_word() {
    for (line, removes) in [("rm", false), ("rm a", true), ("-p 9 rm a b", true)] {
        let Command::Head(command) = parsed(line).unwrap().command else { panic!() };
        assert_eq!(matches!(command, HeadCommand::Remove), removes, "{line}");
    }
    assert!(matches!(parsed("-n head rm dest").unwrap().command, Command::Fetch(_)));
}

#[test]
fn more_masters_than_are_asked_are_a_mistake() {
    let many = |count: usize| parsed(&format!("-n {} a dest", "head,".repeat(count)));
    assert!(many(16).is_ok());
    let why = many(17).map(|_| ()).unwrap_err();
    assert!(why.contains("17 masters"), "{why}");
}

#[test]
fn the_program_of_an_initramfs_has_what_a_node_does_and_says_what_it_has_not() {
    let of_init = |line: &str| parse::<false>(line.split_whitespace().map(OsString::from));
    let Command::Fetch(fetch) = of_init("-n head -r 3 --delete a*b dest").unwrap().command else {
        panic!()
    };
    assert_eq!(fetch.task.request.sources, [b"a*b"], "a path, as it stands");
    assert!(!fetch.task.request.are_patterns);
    assert!(matches!(of_init("--up -n head").unwrap().command, Command::Up(..)));
    for line in [
        "/srv",
        "--print-digest /srv",
        "-m 3 /srv",
        "ls -n head",
        "-n head --exclude x . dest",
        "-n head --window 9 a -",
        "-n head --verify a /dev/sda",
    ] {
        let why = of_init(line).unwrap_err();
        assert!(why.contains(NO_HEAD), "{line}: {why}");
    }
    // Each is taken: with the value that it wants, or as it is.
    let words = HELP_OF_INIT.split(|c: char| !c.is_alphanumeric() && c != '-');
    for option in words.filter(|word| word.starts_with('-')) {
        assert!(HELP.contains(option), "{option}");
        let is_taken =
            |line: &str| of_init(line).map_or_else(|why| !why.contains(NO_HEAD), |_| true);
        assert!(is_taken(&format!("-n head {option} 9 a dest")), "{option}");
    }
    assert!(!HELP_OF_INIT.contains("-x") && of_init("-x -n head a dest").is_err());
}
