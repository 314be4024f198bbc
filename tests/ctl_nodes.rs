//! `xgetctl nodes` beside a real master: who waits, is taken in, and is listed.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

#[path = "ctl_support.rs"]
mod ctl;
mod support;

use ctl::Head;
use serde_json::Value;
use std::fs;
use support::proc::{Master, Proc};
use support::reader::Reader;
use support::until;

const TAB: &str = "# ours\n@base              -     debian  all  quiet # all of them\n\
                   52:54:00:00:00:01  n001  @base\n";

fn head() -> Head {
    let head = Head::new();
    for dir in ["images/debian/root", "layers/all"] {
        fs::create_dir_all(head.dir.join(dir)).unwrap();
    }
    fs::write(head.dir.join("images/debian/kernel"), "k").unwrap();
    fs::write(head.dir.join("nodes.tab"), TAB).unwrap();
    head
}

fn tab(head: &Head) -> String {
    fs::read_to_string(head.dir.join("nodes.tab")).unwrap()
}

/// What a node is told.
fn ask(master: &Master, line: &str) -> String {
    let mut reader = Reader::connect(("127.0.0.1", master.port)).unwrap();
    let fid = reader.open(&[".xget", "node"], 2).unwrap();
    reader.write(fid, line.as_bytes()).unwrap();
    String::from_utf8_lossy(&reader.read(fid, 0).unwrap()).into_owned()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn who_waits_is_taken_in_by_one_command_and_comes_up() {
    let head = head();
    let master = Master::start(&head.scratch, &head.dir, &[]);
    let asks = "mac=52:54:00:00:00:07 serial=X7";
    assert!(ask(&master, asks).starts_with("unknown "));
    let waiting = head.says(&format!("nodes --unknown -n {}", master.addr())).expect(0).out;
    assert!(waiting.contains("52:54:00:00:00:07") && waiting.contains("serial=X7"), "{waiting}");
    let refused = head.says(&format!("nodes --unknown --take n[7-8] -n {}", master.addr()));
    refused.expect(4).says("1 wait, and there are names for 2");
    assert_eq!(tab(&head), TAB);
    let take = format!("nodes --unknown --take n007 --image @base -n {}", master.addr());
    let dry = head.says(&format!("{take} --dry-run")).expect(0).out;
    assert_eq!(dry, "@@ line end @@\n+52:54:00:00:00:07  n007  @base\n");
    assert_eq!(tab(&head), TAB);
    head.says(&take).expect(0).says("52:54:00:00:00:07 is n007");
    assert_eq!(tab(&head), format!("{TAB}52:54:00:00:00:07  n007  @base\n"));
    until("the master knows it", 20, || ask(&master, asks).starts_with("name n007\nimage "));
    let listed = head.says(&format!("nodes list --json -n {}", master.addr())).expect(0).out;
    let listed = json(&listed);
    let state = |at: usize| (&listed[at]["name"], &listed[at]["state"], &listed[at]["image"]);
    assert_eq!(state(0), (&"n001".into(), &Value::Null, &"debian".into()));
    assert_eq!(state(1), (&"n007".into(), &"asked".into(), &"debian".into()));
    // Whoever reaches the master can say that he is n007.
    let hosts = head.says("nodes export --hosts").expect(0);
    assert_eq!(hosts.out, "");
    hosts.says("2 of 2 nodes are left out");
    head.says(&format!("nodes export --hosts -n {}", master.addr())).expect(2).says("--heard");
    let hosts = head.says(&format!("nodes export --hosts --heard -n {}", master.addr())).expect(0);
    assert_eq!(hosts.out, "127.0.0.1\tn007\n");
    hosts.says("1 of 2 nodes are left out").says("the addresses of 1 nodes are what somebody said");
    let leases = head.scratch.join("leases");
    fs::write(&leases, "0 52:54:00:00:00:07 10.0.0.7 x *\n").unwrap();
    let lent = head.says(&format!("nodes export --ansible --leases {}", leases.display()));
    assert!(lent.expect(0).out.starts_with("n001\nn007 ansible_host=10.0.0.7\n"));
    assert_eq!(head.says("nodes export --pdsh").expect(0).out, "n001\nn007\n");
    head.says("nodes export").expect(2);
    let none = head.says(&format!("nodes --unknown --json -n {}", master.addr())).expect(0).out;
    assert_eq!(json(&none), Value::Array(Vec::new()));
}

#[test]
fn lines_are_added_set_and_removed_and_a_wrong_table_is_never_written() {
    let head = head();
    let port = support::proc::free_port();
    head.says("nodes add serial=X7 n002 --image tiny --layers all --words a=1")
        .expect(0)
        .says("images/tiny is not there");
    head.says("nodes set n001 n002 --image debian").expect(0);
    assert_eq!(
        tab(&head),
        "# ours\n@base              -     debian  all  quiet # all of them\n\
         52:54:00:00:00:01  n001  debian  @base  @base\nserial=X7          n002  debian all  a=1\n"
    );
    let before = tab(&head);
    head.says("nodes add serial=X8 n001").expect(5).says("line 5, column 20: \"n001\": has a line");
    head.says("nodes rm @base").expect(5).says("no line above has this group");
    head.says("nodes set n001 nobody --image x").expect(4).says("has the name or key nobody");
    head.says("nodes set n001").expect(2).says("nothing is to be changed");
    head.says("nodes --image x").expect(2);
    head.says("nodes --json list").expect(2).says("goes behind it");
    let elsewhere = head.scratch.dir("elsewhere");
    fs::write(elsewhere.join("nodes.tab"), "there - x\n").unwrap();
    for line in ["nodes --root DIR list", "nodes list --root DIR", "nodes --root DIR"] {
        let line = line.replace("DIR", &elsewhere.display().to_string());
        head.says(&line).expect(0).says("there ");
    }
    assert_eq!(tab(&head), before);
    head.says(&format!("nodes list -n 127.0.0.1:{port}")).expect(3).says("no master answers");
    head.says("nodes rm n002 52-54-00-00-00-01").expect(0);
    assert_eq!(tab(&head).lines().count(), 2);
    fs::write(head.dir.join("nodes.tab"), "n1 x]\n").unwrap();
    head.says("nodes add n2").expect(5).says("line 1, column 4").says("mend that first");
    fs::remove_file(head.dir.join("nodes.tab")).unwrap();
    head.says("nodes add n2").expect(0);
    assert_eq!(tab(&head), "n2\n");
}

#[test]
fn who_looks_in_the_wrong_place_hears_it() {
    let head = head();
    for line in ["image list", "image check", "layers list"] {
        let ended = head.says(&format!("{line} --root {}/no", head.dir.display()));
        ended.expect(4).says("is not there: name what the master serves by --root");
    }
    fs::remove_file(head.dir.join("nodes.tab")).unwrap();
    head.says("nodes list").expect(0).says("nodes.tab: nodes get what they ask for");
}

#[test]
fn many_at_a_time_lose_no_line() {
    let head = head();
    let start = |at: usize| head.start(&format!("nodes add io{at} - --image debian"));
    let running: Vec<Proc> = (0..20).map(start).collect();
    running.into_iter().for_each(|one| drop(one.wait().expect(0)));
    assert_eq!(tab(&head).lines().filter(|line| line.starts_with("io")).count(), 20);
    let left = fs::read_dir(&head.dir).unwrap().count();
    assert_eq!(left, 3, "images, layers, nodes.tab");
}

#[test]
fn tables_of_others_are_imported_whole_or_not_at_all() {
    let head = head();
    let sheet = head.scratch.join("nodes.csv");
    let import = format!("nodes import {}", sheet.display());
    let rows = "name,mac,image,layers\nn001,52-54-00-00-00-01,@base,\nn002,52:54:00:00:00:02,,\n";
    fs::write(&sheet, format!("{rows}n001,52:54:00:00:00:03,,\n")).unwrap();
    head.says(&import).expect(5).says("nodes.csv, line 4: ").says("has a line already (line 2)");
    fs::write(&sheet, format!("{rows}n003,52:54:00:00:00:01,,\n")).unwrap();
    head.says(&import).expect(5).says("nothing is changed").says("has a line already (line 2)");
    fs::write(&sheet, rows.replace("@base", "tiny")).unwrap();
    head.says(&import).expect(5).says("line 2: ").says("says otherwise (line 3 of nodes.tab)");
    fs::write(&sheet, rows.replace("name,", "label,")).unwrap();
    head.says(&import).expect(5).says("line 1: no column is called \"label\"");
    assert_eq!(tab(&head), TAB);
    fs::write(&sheet, rows).unwrap();
    let dry = head.says(&format!("{import} --image debian --dry-run")).expect(0);
    assert_eq!(dry.out, "@@ line end @@\n+52:54:00:00:00:02  n002  debian\n");
    dry.says("1 line would be added; 1 there already");
    assert_eq!(tab(&head), TAB);
    head.says(&format!("{import} --image debian")).expect(0).says("line 2: n001 is there already");
    let once = format!("{TAB}52:54:00:00:00:02  n002  debian\n");
    assert_eq!(tab(&head), once);
    head.says(&format!("{import} --image debian")).expect(0).says("0 lines added; 2 there already");
    assert_eq!(tab(&head), once);
    let genders = head.scratch.join("genders");
    fs::write(&genders, "io[1-2] io,base\nio2 rack=7 # far\n").unwrap();
    let import = format!("nodes import --genders {}", genders.display());
    head.says(&import).expect(0).says("3 lines added; 0").says("not taken: rack");
    let added = "@io\nio1                -     -  @io,@base  @io @base\n\
                 io2                -     -  @io,@base  @io @base\n";
    let cells = |text: &str| {
        let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
        text.lines().map(words).collect::<Vec<_>>()
    };
    assert_eq!(cells(&tab(&head)[once.len()..]), cells(added));
    head.says(&import).expect(0).says("0 lines added; 2 there already");
    for wrong in ["nodes import", "nodes import a --genders b"] {
        head.says(wrong).expect(2);
    }
    head.says("nodes import none.csv").expect(4).says("cannot read none.csv");
}
