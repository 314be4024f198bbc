//! docs/protocol.md, "Name space": what every file of it reads as and takes.

use crate::content::{STRIDE, Tree, named};
use crate::host::Fault;
use crate::pair::*;
use crate::scripted_client::Answered;
use ninep::client::OpenMode;
use ninep::wire::{reply, request};
use ninep::{Dialect, NOFID, NOTAG};
use peer::content::manifest::{Entry, EntryKind};
use peer::control::ParentAddr;
use peer::fetch::FetchInput;
use peer::master::MasterInput;
use peer::request::{FetchRequest, Linger};
use std::rc::Rc;

/// `a` of 3 bytes, `d/x` of 2 pieces, `z` of 3.
fn tree() -> Rc<Tree> {
    Tree::of(&[("a", 3), ("d/x", 5_000), ("z", 10_000)])
}

/// A master of `tree` and somebody who asks it.
fn served() -> (Pair, usize, usize, Rc<Tree>) {
    let (mut pair, tree) = (Pair::default(), tree());
    let master = pair.add_master(&tree, 4);
    let caller = pair.add_caller(master);
    (pair, master, caller, tree)
}

/// A client that has the manifest, and somebody who asks it; its only parent,
/// the master, has nothing else yet.
fn half_fetched(tree: &Rc<Tree>) -> (Pair, usize, usize, usize) {
    let mut pair = Pair::default();
    let master = pair.add_server(tree, 1);
    pair.let_server(master, |server| {
        server.parents = vec![ParentAddr::Master];
        server.give(0..tree.map.manifest_pieces().count());
    });
    let request = FetchRequest { linger: Linger::Millis(10_000), ..all() };
    let client = pair.add_client(master, request);
    let caller = pair.add_caller(client);
    (pair, master, client, caller)
}

fn in_generation(tree: &Tree, name: &str) -> String {
    format!(".xget/{}/{name}", tree.digest())
}

#[test]
fn info_is_lines_of_name_and_value() {
    let (mut pair, _, caller, tree) = served();
    let expected = format!(
        "protocol 4\ngeneration blake3:{}\nindex_bytes {}\npiece_bytes 4096\nstripes 4\nfiles 3\nbytes 15003\n",
        tree.digest(),
        tree.encoded.len()
    );
    assert_eq!(pair.text(caller, ".xget/info"), expected);
}

#[test]
fn the_manifest_is_that_of_the_whole_tree_encoded() {
    let (mut pair, _, caller, tree) = served();
    let token = pair.read_file(caller, ".xget/manifest");
    assert_eq!(pair.bytes(caller, token), Some(tree.encoded.clone()));
}

#[test]
fn the_list_has_the_digests_of_the_manifests_pieces_and_is_empty_for_one() {
    let (mut pair, _, caller, tree) = served();
    let token = pair.read_file(caller, &in_generation(&tree, "list"));
    assert_eq!(pair.bytes(caller, token), Some(Vec::new()));
    let long = Tree::of(&[("file", 150 * 4096)]);
    let pieces = long.map.manifest_pieces();
    assert_eq!(pieces.count(), 2);
    let master = pair.add_master(&long, 4);
    let caller = pair.add_caller(master);
    let token = pair.read_file(caller, &in_generation(&long, "list"));
    let list: Vec<u8> = pieces.list.iter().flat_map(|digest| digest.0).collect();
    assert_eq!(pair.bytes(caller, token), Some(list));
}

#[test]
fn piece_n_stands_at_n_times_four_piece_lengths() {
    let (mut pair, _, caller, tree) = served();
    for name in ["pieces", "held"] {
        for piece in 0..tree.map.count() {
            let path = in_generation(&tree, name);
            let token = pair.read_file_at(caller, &path, u64::from(piece) * STRIDE);
            assert_eq!(pair.bytes(caller, token), Some(tree.piece(piece)), "{name} {piece}");
        }
    }
}

#[test]
fn what_is_not_here_waits_in_pieces_and_reads_as_empty_in_held() {
    let tree = Tree::of_pieces(2);
    let (mut pair, _, _, caller) = half_fetched(&tree);
    let waiting = pair.read_file_at(caller, &in_generation(&tree, "pieces"), STRIDE);
    let held = pair.read_file_at(caller, &in_generation(&tree, "held"), STRIDE);
    let here = pair.read_file_at(caller, &in_generation(&tree, "held"), 0);
    assert_eq!(pair.bytes(caller, waiting), None);
    assert_eq!(pair.bytes(caller, held), Some(Vec::new()));
    assert_eq!(pair.bytes(caller, here), Some(tree.piece(0)));
}

#[test]
fn a_client_serves_the_same_name_space_but_does_not_route() {
    let tree = Tree::of_pieces(2);
    let (mut pair, _, client, caller) = half_fetched(&tree);
    let info = format!("generation blake3:{}\nindex_bytes {}\n", tree.digest(), tree.encoded.len());
    assert_eq!(pair.text(caller, ".xget/info"), info);
    let manifest = pair.read_file(caller, ".xget/manifest");
    assert_eq!(pair.bytes(caller, manifest), Some(tree.encoded.clone()));
    assert_eq!(pair.text(caller, ".xget/status"), "");
    assert_eq!(pair.text(caller, "file/redir"), "me");
    let (_, route) = pair.let_caller(caller, |c| c.open(".xget/route", OpenMode::Read));
    let refused = Answered::Failed(13, "only the master routes".into());
    assert_eq!(pair.caller(caller).answer(route), Some((pair.now_ms, &refused)));
    for path in ["log", "file/avail"] {
        let (_, token) = pair.let_caller(caller, |c| c.open(path, OpenMode::Write));
        let answer = pair.caller(caller).answer(token);
        assert!(matches!(answer, Some((_, Answered::Failed(13, _)))), "{path}: {answer:?}");
    }
    assert_eq!(pair.client(client).exit, None);
}

#[test]
fn data_waits_until_the_bytes_are_verified() {
    let tree = Tree::of_pieces(2);
    let (mut pair, master, _, caller) = half_fetched(&tree);
    let [one, both] = [96, 97].map(|len| {
        pair.let_caller(caller, |c| {
            let (data, _) = c.open("file/data", OpenMode::Read);
            c.read(data, 4_000, len)
        })
    });
    pair.run_to(70);
    assert_eq!(pair.bytes(caller, one), None);
    pair.let_server(master, |server| server.give([1]));
    let expected = Answered::Read(tree.file("file")[4_000..4_096].to_vec());
    assert_eq!(pair.caller(caller).answer(one), Some((70, &expected)));
    assert_eq!(pair.bytes(caller, both), None, "its last byte is in the next piece");
    pair.let_server(master, |server| server.give([2]));
    assert_eq!(pair.bytes(caller, both), Some(tree.file("file")[4_000..4_097].to_vec()));
}

#[test]
fn redir_says_me_or_a_workers_address_without_a_newline() {
    let (mut pair, master, worker, _) = served();
    let other = pair.add_caller(master);
    assert_eq!(pair.text(other, "a/redir"), "me");
    pair.let_caller(worker, |c| {
        let (avail, _) = c.open("a/avail", OpenMode::Write);
        c.write(avail, b"4000 me")
    });
    // Its address is that of its connection.
    let address = format!("{}!4000", addr(worker).ip());
    assert_eq!(pair.text(other, "a/redir"), address);
    assert_eq!(pair.text(other, "z/redir"), "me", "for this file it is no worker");
    assert_eq!(pair.text(worker, "a/redir"), "me", "nobody is sent to himself");
}

#[test]
fn the_open_fid_of_avail_is_the_lease() {
    for is_clunked in [true, false] {
        let (mut pair, master, worker, _) = served();
        let other = pair.add_caller(master);
        let avail = pair.let_caller(worker, |c| {
            let (avail, _) = c.open("a/avail", OpenMode::Write);
            c.write(avail, b"4000 me");
            avail
        });
        assert_ne!(pair.text(other, "a/redir"), "me");
        match is_clunked {
            true => pair.let_caller(worker, |c| c.clunk(avail)),
            false => pair.cut(worker),
        }
        assert_eq!(pair.text(other, "a/redir"), "me");
    }
}

#[test]
fn a_worker_says_which_worker_redir_named() {
    let (mut pair, master, first, _) = served();
    let second = pair.add_caller(master);
    let mut avail = |caller, line: String| {
        pair.let_caller(caller, |c| {
            let (avail, _) = c.open("a/avail", OpenMode::Write);
            c.write(avail, line.as_bytes())
        })
    };
    let noted = avail(first, "4000 me".into());
    let unknown = avail(second, "4001 10.0.0.77!4000".into());
    let below = avail(second, format!("4001 {}!4000", addr(first).ip()));
    assert_eq!(pair.caller(first).answer(noted), Some((0, &Answered::Written(7))));
    let refused = pair.caller(second).answer(unknown);
    assert!(matches!(refused, Some((_, Answered::Failed(22, _)))), "{refused:?}");
    let taken = pair.caller(second).answer(below);
    assert!(matches!(taken, Some((_, Answered::Written(_)))), "{taken:?}");
}

#[test]
fn a_checksum_is_computed_when_first_asked_and_waited_for() {
    let (mut pair, master, caller, tree) = served();
    let tokens = [0; 2].map(|_| pair.read_file(caller, "a/checksum"));
    assert!(tokens.iter().all(|token| pair.bytes(caller, *token).is_none()));
    let wanted = pair.master(master).checksums.clone();
    let [(generation, entry)] = wanted[..] else { panic!("once: {wanted:?}") };
    assert_eq!(Some(entry), tree.manifest.find(b"a", false));
    let sum = Ok([0xab; 32]);
    pair.input_master(master, MasterInput::Checksum { generation, entry, sum });
    let line = format!("sha256:{}\n", "ab".repeat(32));
    for token in tokens {
        assert_eq!(pair.bytes(caller, token), Some(line.clone().into_bytes()));
    }
    assert_eq!(pair.text(caller, "a/checksum"), line, "it is known now");
    assert_eq!(pair.master(master).checksums.len(), 1);
}

#[test]
fn a_checksum_of_a_client_waits_for_the_file_as_well() {
    let tree = Tree::of_pieces(2);
    let (mut pair, master, client, caller) = half_fetched(&tree);
    let token = pair.read_file(caller, "file/checksum");
    assert_eq!(pair.client(client).checksums, []);
    pair.let_server(master, |server| server.give(1..3));
    let wanted = pair.client(client).checksums.clone();
    let [(generation, entry)] = wanted[..] else { panic!("{wanted:?}") };
    pair.input_client(client, FetchInput::Checksum { generation, entry, sum: Ok([1; 32]) });
    assert_eq!(pair.bytes(caller, token).map(|bytes| bytes.len()), Some(72));
}

#[test]
fn a_line_on_log_is_the_operators_and_can_be_read_back() {
    let (mut pair, master, caller, _) = served();
    let said = pair.master(master).said.len();
    pair.let_caller(caller, |c| {
        let (log, _) = c.open("log", OpenMode::Write);
        c.write(log, b"all is well");
        c.write(log, &[b'x'; 1_200]);
    });
    let ip = addr(caller).ip();
    let lines = [format!("{ip} all is well"), format!("{ip} {}", "x".repeat(1_000))];
    assert_eq!(pair.master(master).said[said..], lines, "1000 bytes are kept of a line");
    assert_eq!(pair.text(caller, "log"), format!("{}\n{}\n", lines[0], lines[1]));
}

#[test]
fn a_log_is_taken_at_a_rate_and_the_rest_is_counted() {
    let mut pair = Pair::default();
    let master = pair.add_master(&Tree::of_pieces(2), 1);
    let caller = pair.add_caller(master);
    let fid = pair.let_caller(caller, |c| c.open("log", OpenMode::Write).0);
    let said = pair.master(master).said.len();
    for _ in 0..50 {
        pair.let_caller(caller, |c| c.write(fid, "hello\n".repeat(100).as_bytes()));
    }
    assert_eq!(pair.master(master).said.len() - said, 200);
    let start_ms = pair.now_ms;
    pair.run_to(start_ms + 6_000);
    let last = pair.master(master).warned.last().cloned();
    let words = format!(
        "{}: 4800 lines of theirs were not shown: they are the same, or come too fast",
        addr(caller).ip()
    );
    assert_eq!(last, Some(words));
}

#[test]
fn nothing_else_can_be_written() {
    let (mut pair, _, caller, tree) = served();
    let generation = ["list", "pieces", "held", "rest"].map(|name| in_generation(&tree, name));
    let control =
        [".xget/info", ".xget/manifest", ".xget/status", "a/data", "a/redir", "a/checksum"];
    for path in control.into_iter().chain(generation.iter().map(String::as_str)) {
        let (_, token) = pair.let_caller(caller, |c| c.open(path, OpenMode::Write));
        let answer = pair.caller(caller).answer(token);
        assert!(matches!(answer, Some((_, Answered::Failed(..)))), "{path}: {answer:?}");
    }
}

/// Sends requests of one flight as they are, and gives the types of the answers
/// and the last answer.
fn raw(pair: &mut Pair, to: usize, frames: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let caller = pair.add_raw_caller(to);
    pair.send_raw(caller, frames);
    let frames = &pair.caller(caller).frames;
    let last = frames.last().cloned().expect("all are answered");
    (frames.iter().map(|frame| frame[4]).collect(), last)
}

#[test]
fn three_dialects_are_served_and_nobody_is_authenticated() {
    let (mut pair, master, ..) = served();
    for dialect in [Dialect::Plan9, Dialect::Unix, Dialect::Linux] {
        let mut frames = Vec::new();
        request::tversion(8_192, dialect, &mut frames);
        let (_, rversion) = raw(&mut pair, master, frames.clone());
        assert!(rversion.ends_with(dialect.version()), "{rversion:?}");
        assert_eq!(rversion[5..7], NOTAG.to_le_bytes());
        // Tauth: afid, uname, aname and, but in 9P2000, n_uname.
        let mut body = [&[102, 1, 0, 9, 0, 0, 0][..], b"\x02\0me", b"\0\0"].concat();
        if dialect != Dialect::Plan9 {
            body.extend(NOFID.to_le_bytes());
        }
        frames.extend((body.len() as u32 + 4).to_le_bytes());
        frames.extend(body);
        let (types, _) = raw(&mut pair, master, frames);
        let refused = if dialect == Dialect::Linux { 7 } else { 107 };
        assert_eq!(types, [101, refused]);
    }
}

/// Attaches under a name, and reads a file.
fn read_attached(pair: &mut Pair, to: usize, aname: &[u8], path: &[&[u8]]) -> Vec<u8> {
    let mut frames = Vec::new();
    request::tversion(8_192, Dialect::Unix, &mut frames);
    request::tattach(1, 1, b"anybody", aname, &mut frames);
    request::twalk(2, 1, 2, path, &mut frames);
    request::topen(3, 2, 0, &mut frames);
    request::tread(4, 2, 0, 8_000, &mut frames);
    let (_, last) = raw(pair, to, frames);
    match reply::decode(&last, last.len() as u32) {
        Ok((4, reply::Rmessage::Read { data, .. })) => data.unwrap_or_default().to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn attached_as_files_the_root_is_the_plain_tree() {
    let tree = Tree::of(&[("d/x", 5_000), ("log", 7)]);
    let mut pair = Pair::default();
    let master = pair.add_master(&tree, 4);
    let caller = pair.add_caller(master);
    assert_eq!(read_attached(&mut pair, master, b"files", &[b"d", b"x"]), tree.file("d/x"));
    // A served entry called `log` is there; else `/log` is the control file.
    assert_eq!(read_attached(&mut pair, master, b"files", &[b"log"]), tree.file("log"));
    assert_eq!(pair.text(caller, "log"), "");
    let data = pair.read_file(caller, "d/x/data");
    assert_eq!(pair.bytes(caller, data), Some(tree.file("d/x")));
}

#[test]
fn what_is_no_file_or_cannot_be_read_is_in_the_manifest_only() {
    let entries = vec![
        Entry::bare_root(),
        named(0, "a", EntryKind::File, 3),
        Entry { mode: 0o010_644, ..named(0, "fifo", EntryKind::Special, 0) },
        Entry { mode: 0o100_600, ..named(0, "secret", EntryKind::Unreadable, 0) },
    ];
    let (mut pair, tree) = (Pair::default(), Tree::from_entries(entries));
    let master = pair.add_master(&tree, 1);
    let caller = pair.add_caller(master);
    for path in ["fifo", "secret"] {
        let (_, token) = pair.let_caller(caller, |c| c.open(path, OpenMode::Read));
        let answer = pair.caller(caller).answer(token);
        assert!(matches!(answer, Some((_, Answered::Failed(..)))), "{path}: {answer:?}");
    }
    let client = pair.add_client(master, all());
    pair.drive_bounded();
    let warned: Vec<&str> = pair.client(client).warned.iter().map(|(_, w)| w.as_str()).collect();
    assert_eq!(
        warned,
        [
            "fifo: left out: neither file, directory nor symlink",
            "secret: the master cannot read it"
        ]
    );
}

/// One line for each client, and a first one that names the columns.
#[test]
fn status_has_a_line_for_each_client() {
    const COLUMNS: &str = "# address state have_bytes total_bytes from_master_bytes from_peers_bytes elapsed_ms parents sources\n";
    let (mut pair, master, caller, _) = served();
    assert_eq!(pair.text(caller, ".xget/status"), COLUMNS);
    let joined = pair.add_caller(master);
    let line = |state: &str, stats: &str, parents: &str| {
        format!("{COLUMNS}{}!7000 {state} {stats} {parents} .\n", addr(joined).ip())
    };
    pair.let_caller(joined, |c| c.say("join 2 7000 .\n"));
    let status = pair.text(caller, ".xget/status");
    assert_eq!(status, line("fetching", "0 0 0 0 0", "me,me,me,me"));
    pair.let_caller(joined, |c| c.say("progress 10 15003 7 3 99\n"));
    let status = pair.text(caller, ".xget/status");
    assert_eq!(status, line("fetching", "10 15003 7 3 99", "me,me,me,me"));
    pair.let_caller(joined, |c| c.say("done 15003 15003 15000 3 120\n"));
    let status = pair.text(caller, ".xget/status");
    assert_eq!(status, line("serving", "15003 15003 15000 3 120", "-"));
    pair.befall(joined, Fault::None);
    pair.cut(joined);
    let status = pair.text(caller, ".xget/status");
    assert_eq!(status, line("done", "15003 15003 15000 3 120", "-"));
    let lost = pair.add_caller(master);
    pair.let_caller(lost, |c| c.say("join 2 7000 .\n"));
    pair.cut(lost);
    let status = pair.text(caller, ".xget/status");
    let expected = format!("{}!7000 lost 0 0 0 0 0 me,me,me,me .\n", addr(lost).ip());
    assert!(status.ends_with(&expected), "{status}");
}
