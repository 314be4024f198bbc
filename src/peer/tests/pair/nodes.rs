//! docs/protocol.md, "Nodes": who asks, what it is told, when it waits.

use crate::content::{Tree, named};
use crate::pair::*;
use ::nodes::Table;
use ninep::client::OpenMode;
use peer::content::manifest::{Entry, EntryKind};
use peer::master::MasterInput;
use std::rc::Rc;

/// Files at these paths; what ends in `/` is an empty directory.
fn tree(paths: &[&str]) -> Rc<Tree> {
    let mut entries = vec![Entry::bare_root()];
    let mut dirs = vec![(0, String::new())];
    while !dirs.is_empty() {
        let mut below = Vec::new();
        for (parent, dir) in &dirs {
            let mut names: Vec<(&str, bool)> = paths
                .iter()
                .filter_map(|path| path.strip_prefix(dir.as_str()))
                .filter(|rest| !rest.is_empty())
                .map(|rest| (rest.split('/').next().expect("there is one"), rest.contains('/')))
                .collect();
            names.sort_unstable();
            names.dedup();
            for (name, is_dir) in names {
                let kind = if is_dir { EntryKind::Dir } else { EntryKind::File };
                entries.push(named(*parent, name, kind, if is_dir { 0 } else { 9 }));
                if is_dir {
                    below.push((entries.len() as u32 - 1, format!("{dir}{name}/")));
                }
            }
        }
        dirs = below;
    }
    Tree::from_entries(entries)
}

fn usual() -> Rc<Tree> {
    tree(&[
        "images/debian/kernel",
        "images/debian/root/etc",
        "images/live/root.squashfs",
        "images/tiny/kernel",
        "layers/all/x",
        "layers/n001/x",
        "layers/.rendered/n001/x",
        "own/kernel",
        "own/root.erofs",
        "special/",
    ])
}

fn table(text: &str) -> Option<Result<Option<Table>, String>> {
    Some(Ok(Some(Table::parse(text.as_bytes()).expect(text))))
}

/// A master of the usual tree with this table, or with none.
fn served(text: &str) -> (Pair, usize) {
    let mut pair = Pair::default();
    let master = pair.add_master(&usual(), 1);
    if !text.is_empty() {
        pair.input_master(master, MasterInput::NodesTab(table(text)));
    }
    (pair, master)
}

/// Says lines and reads: the caller, and the token of its read.
fn asks(pair: &mut Pair, master: usize, lines: &str) -> (usize, u64) {
    let caller = pair.add_caller(master);
    let token = pair.let_caller(caller, |caller| {
        let (fid, _) = caller.open(".xget/node", OpenMode::ReadWrite);
        caller.write(fid, lines.as_bytes());
        caller.read(fid, 0, 8_000)
    });
    (caller, token)
}

/// What is answered at once.
fn told(pair: &mut Pair, master: usize, lines: &str) -> String {
    let (caller, token) = asks(pair, master, lines);
    let bytes = pair.bytes(caller, token).expect("it is answered at once");
    String::from_utf8(bytes).expect("it is text")
}

fn kernel(path: &str) -> String {
    let tree = usual();
    let entry = tree.manifest.find(path.as_bytes(), false).expect(path) as usize;
    format!("kernel blake3:{}\npart kernel\n", tree.manifest.entries[entry].digest)
}

#[test]
fn without_a_table_there_is_what_was_asked_for_and_no_more() {
    let (mut pair, master) = served("");
    let debian = kernel("images/debian/kernel");
    for (image, answer) in [
        ("debian", format!("image images/debian\n{debian}root dir\n")),
        ("images/debian", format!("image images/debian\n{debian}root dir\n")),
        ("/images/debian/", format!("image images/debian\n{debian}root dir\n")),
        ("live", "image images/live\nroot squashfs\n".into()),
        ("tiny", format!("image images/tiny\n{}", kernel("images/tiny/kernel"))),
        ("own", format!("image own\n{}root erofs\n", kernel("own/kernel"))),
        (".", "image .\n".into()),
        ("./././debian", format!("image images/debian\n{debian}root dir\n")),
        ("images/../images/debian", "missing image images/../images/debian is not served\n".into()),
        ("..", "missing image .. is not served\n".into()),
        ("none", "missing image none is not served\n".into()),
        ("own/kernel", "missing image own/kernel is not served\n".into()),
        ("a%0ab", "missing image a?b is not served\n".into()),
    ] {
        assert_eq!(told(&mut pair, master, &format!("host=n001 image={image}\n")), answer);
    }
    let default = "missing image default is not served\n";
    assert_eq!(told(&mut pair, master, "host=n001"), default);
}

#[test]
fn a_table_gives_name_image_layers_and_words() {
    let (mut pair, master) = served(
        "52:54:00:00:00:01 n001 debian all console=ttyS0 quiet\n\
         n002 - tiny\n10.0.0.0/8 - live nothing\n",
    );
    let debian = kernel("images/debian/kernel");
    let layers = "layer layers/all\nlayer layers/n001\nlayer layers/.rendered/n001\n";
    let n001 = "mac=52:54:00:00:00:01 host=n002";
    assert_eq!(
        told(&mut pair, master, n001),
        format!(
            "name n001\nimage images/debian\n{debian}root dir\n{layers}words console=ttyS0 quiet\n"
        )
    );
    let image = "name n001\nimage images/live\nroot squashfs\n";
    assert_eq!(
        told(&mut pair, master, &format!("{n001} image=live")),
        format!("{image}{layers}words console=ttyS0 quiet\n"),
        "what the node asks for goes before its line's"
    );
    let tiny = kernel("images/tiny/kernel");
    assert_eq!(
        told(&mut pair, master, "host=N002.cluster\n"),
        format!("name n002\nimage images/tiny\n{tiny}")
    );
    let elsewhere = told(&mut pair, master, "host=n003");
    assert!(
        elsewhere.starts_with("missing layer nothing is not served"),
        "by address: {elsewhere}"
    );
}

#[test]
fn who_has_no_line_is_unknown_whatever_it_asks_for() {
    let (mut pair, master) = served("n001 - debian");
    let unknown = "unknown no line of nodes.tab is this node's, and none is for all\n";
    assert_eq!(told(&mut pair, master, "host=n002 image=debian"), unknown);
    pair.run_for(1_000);
    pair.master(master).nodes_tab = table("n001 - debian\n* - -");
    let answer = told(&mut pair, master, "host=n002 image=tiny");
    assert!(answer.starts_with("image images/tiny\n"), "the file was looked at again: {answer}");
    assert!(told(&mut pair, master, "host=n002").starts_with("missing neither"));
}

#[test]
fn an_image_of_which_there_is_too_much_to_say_is_refused_in_words() {
    for (count, begins) in [(20, "image images/tiny\n"), (66, "missing of image images/tiny ")] {
        // In words three times as long.
        let name = |n: usize| format!("images/tiny/initrd.{n:03}{}", "\u{e9}".repeat(120));
        let mut files: Vec<String> = (0..count).map(name).collect();
        files.push("images/tiny/kernel".into());
        let tree = tree(&files.iter().map(String::as_str).collect::<Vec<_>>());
        let mut pair = Pair::default();
        let master = pair.add_master(&tree, 1);
        let said = told(&mut pair, master, "image=tiny");
        assert!(said.starts_with(begins), "{count}: {said}");
    }
}

#[test]
fn the_last_good_table_stays_in_force_and_a_fault_is_said_once() {
    let (mut pair, master) = served("n001 - tiny");
    pair.run_for(1_000);
    pair.master(master).nodes_tab = Some(Err("line 7, column 1: x".into()));
    for _ in 0..3 {
        assert!(told(&mut pair, master, "host=n001").starts_with("name n001\nimage images/tiny"));
        pair.run_for(1_000);
    }
    let warned = "nodes.tab: line 7, column 1: x; what it said before stays in force";
    assert_eq!(pair.master(master).warned, [warned]);
    pair.master(master).nodes_tab = Some(Ok(None));
    assert!(told(&mut pair, master, "image=tiny").starts_with("image images/tiny\n"));
    assert!(pair.master(master).warned[1].starts_with("nodes.tab is gone"));
}

#[test]
fn a_table_that_is_being_changed_is_looked_at_again_though_nobody_asks() {
    let (mut pair, master) = served("n001 - tiny");
    pair.run_for(5_000);
    let looks = pair.master(master).looks_at_nodes;
    pair.input_master(master, MasterInput::NodesTabChanging);
    assert!(told(&mut pair, master, "host=n001").starts_with("name n001\nimage images/tiny"));
    pair.master(master).nodes_tab = table("n001 - live");
    pair.run_for(999);
    assert_eq!(pair.master(master).looks_at_nodes, looks);
    pair.run_for(1);
    assert_eq!(pair.master(master).looks_at_nodes, looks + 1);
    assert!(told(&mut pair, master, "host=n001").starts_with("name n001\nimage images/live"));
    pair.run_for(5_000);
    assert_eq!(pair.master(master).looks_at_nodes, looks + 1, "it has ceased to change");
}

#[test]
fn where_the_first_table_is_wrong_nodes_wait() {
    let (mut pair, master) = served("");
    pair.input_master(master, MasterInput::NodesTab(Some(Err("line 1".into()))));
    let answer = told(&mut pair, master, "image=tiny");
    assert_eq!(answer, "unknown something is wrong with nodes.tab: see the master's log\n");
}

#[test]
fn the_tree_is_looked_at_before_who_asks_late_is_answered() {
    let (mut pair, master) = served("");
    pair.master(master).is_looked_at_once = false;
    pair.run_for(2_000);
    let (caller, token) = asks(&mut pair, master, "image=late");
    assert_eq!(pair.bytes(caller, token), None, "the last look was two seconds ago");
    assert_eq!(pair.master(master).rescans, [2_000]);
    let manifest = tree(&["images/late/kernel"]).manifest.clone();
    pair.input_master(master, MasterInput::Scanned { manifest, scan: 2 });
    let answer = String::from_utf8(pair.bytes(caller, token).unwrap()).unwrap();
    assert!(answer.starts_with("image images/late\nkernel "), "{answer}");
    // What is there is known at once then; what is missing may have come.
    assert!(told(&mut pair, master, "image=late").starts_with("image images/late\n"));
    let (caller, token) = asks(&mut pair, master, "image=later");
    assert_eq!((pair.bytes(caller, token), pair.master(master).rescans.len()), (None, 2));
    pair.input_master(master, MasterInput::Unchanged);
    assert_eq!(pair.bytes(caller, token).unwrap(), b"missing image later is not served\n");
}

#[test]
fn what_was_made_for_a_new_table_is_seen_with_it() {
    let (mut pair, master) = served("* - debian");
    pair.run_for(2_000);
    told(&mut pair, master, "host=n001");
    // The last look is recent: without a table that is new it would do.
    pair.master(master).is_looked_at_once = false;
    pair.input_master(master, MasterInput::NodesTab(table("host=n001 n001 debian late")));
    let (caller, token) = asks(&mut pair, master, "host=n001");
    assert_eq!(pair.bytes(caller, token), None);
    let manifest = tree(&["images/debian/kernel", "layers/late/x"]).manifest.clone();
    pair.input_master(master, MasterInput::Scanned { manifest, scan: 2 });
    let answer = String::from_utf8(pair.bytes(caller, token).unwrap()).unwrap();
    assert!(answer.ends_with("layer layers/late\n"), "{answer}");
}

#[test]
fn who_waits_for_the_hashing_is_told_after_five_seconds() {
    let mut pair = Pair::default();
    let master = pair.add_hashing_master(1);
    let hashing = MasterInput::Hashing { done_bytes: 5 << 20, total_bytes: 12 << 30 };
    pair.input_master(master, hashing);
    let (caller, token) = asks(&mut pair, master, "image=debian");
    pair.run_for(4_999);
    assert_eq!(pair.bytes(caller, token), None);
    pair.run_for(1);
    let told = "missing the master still hashes: 5 of 12288 MiB\n";
    assert_eq!(pair.bytes(caller, token).unwrap(), told.as_bytes());
    let (caller, token) = asks(&mut pair, master, "image=debian");
    let manifest = usual().manifest.clone();
    pair.input_master(master, MasterInput::Scanned { manifest, scan: 1 });
    assert!(pair.bytes(caller, token).unwrap().starts_with(b"image images/debian\n"));
}

#[test]
fn who_goes_takes_nobodys_place() {
    let mut pair = Pair::default();
    let master = pair.add_hashing_master(1);
    let caller = pair.add_caller(master);
    let mut fid = None;
    for _ in 0..5_000 {
        pair.let_caller(caller, |caller| {
            fid.into_iter().for_each(|fid| caller.clunk(fid));
            let (opened, _) = caller.open(".xget/node", OpenMode::ReadWrite);
            caller.write(opened, b"image=debian");
            fid = Some(opened);
        });
    }
    let (caller, token) = asks(&mut pair, master, "image=debian");
    assert_eq!(pair.bytes(caller, token), None, "there is a place");
}

#[test]
fn nodes_has_a_line_for_each_that_was_heard_of() {
    let (mut pair, master) = served("52:54:00:00:00:01 n001 debian");
    let table = "table=good nodes=1\n";
    let reader = pair.add_caller(master);
    assert_eq!(pair.text(reader, ".xget/nodes"), table);
    let who = "mac=52:54:00:00:00:01 host=a";
    let (node, _) = asks(&mut pair, master, &format!("{who}\nstate starting a kernel"));
    let (stranger, _) = asks(&mut pair, master, "serial=X");
    let seen = |pair: &mut Pair| pair.text(reader, ".xget/nodes");
    let line = |state: &str, seconds: u32, said: &str| {
        let node = pair_ip(node);
        format!(
            "state={state} seconds={seconds} heard={seconds} address={node} name=n001 image=images/debian \
             {said}{who}\n"
        )
    };
    let unknown =
        format!("state=unknown seconds=0 heard=0 address={} serial=X\n", pair_ip(stranger));
    assert_eq!(
        seen(&mut pair),
        format!("{table}{}{unknown}", line("starting", 0, "said=a%20kernel "))
    );
    pair.run_for(599_999);
    assert!(seen(&mut pair).contains("state=starting seconds=599 "));
    pair.run_for(1);
    assert!(seen(&mut pair).contains("state=lost seconds=600 "));
    told(&mut pair, master, &format!("{who}\nstate up kernel=6.1 image=x\n"));
    assert!(seen(&mut pair).contains("state=up seconds=0 "));
    pair.master(master).nodes_tab = Some(Err("line 3, column 1: no".into()));
    pair.run_for(1_000);
    told(&mut pair, master, who);
    let text = seen(&mut pair);
    let wrong = "table=wrong nodes=1 why=line%203,%20column%201:%20no\nstate=asked seconds=0 ";
    assert!(text.starts_with(wrong), "{text}");
}

#[test]
fn who_joins_from_the_address_of_a_node_fetches() {
    let (mut pair, master) = served("* - debian");
    let (node, _) = asks(&mut pair, master, "mac=52:54:00:00:00:01");
    pair.let_caller(node, |caller| caller.say("join 3 5 images/debian/kernel"));
    let reader = pair.add_caller(master);
    let text = pair.text(reader, ".xget/nodes");
    assert!(text.contains("\nstate=fetching seconds=0 "), "{text}");
}

fn pair_ip(host: usize) -> String {
    addr(host).ip().to_string()
}
