//! Tables: each rule of docs/provisioning.md, "nodes.tab".

use crate::*;
use proptest::prelude::*;
use std::net::IpAddr;

fn table(text: &str) -> Table {
    Table::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"))
}

fn fault(text: &str) -> String {
    Table::parse(text.as_bytes()).expect_err(text).to_string()
}

fn key(word: &str) -> Key {
    let (kind, value) = word.split_once('=').unwrap();
    Key::new(Key::kind_of(kind).unwrap(), value).unwrap()
}

/// Name, image, layers and words of who says this of itself, from this address.
fn said(table: &Table, words: &str, address: &str) -> Option<String> {
    let keys: Vec<Key> = words.split_whitespace().map(key).collect();
    let found = table.find(&keys, address.parse().unwrap())?;
    let (name, image) = (found.name.unwrap_or("-"), found.image.unwrap_or("-"));
    Some(format!("{name} {image} {} {}", found.layers.join(","), found.words.join(" ")))
}

fn of(text: &str, words: &str) -> String {
    said(&table(text), words, "192.0.2.1").unwrap_or("nothing".into())
}

const MAC: &str = "52:54:00:00:00:01";

#[test]
fn a_line_is_key_name_image_layers_and_words() {
    let line =
        "52-54-00-00-00-01  n001\tdebian all,gpu console=ttyS0,115200  quiet # a comment\r\n";
    let expected = "n001 debian all,gpu console=ttyS0,115200 quiet";
    assert_eq!(of(line, &format!("mac={MAC}")), expected);
    assert_eq!(of("\n# nothing\n  \t\n#x y z\n", "host=x"), "nothing");
    assert_eq!(of("mac=52:54:00:00:00:01 n1 - - -", &format!("mac={MAC}")), "n1 -  ");
    assert_eq!(of("n1 - a/b x#y a#b", "host=n1"), "n1 a/b x#y a#b", "# begins a comment as a word");
}

#[test]
fn every_kind_of_key_finds_its_node() {
    let uuid = "4c4c4544-0050-3610-8058-b4c04f4e4b31";
    let text = format!(
        "{MAC} a\n{uuid} b\nserial=X7 c\nasset=Rack_3 d\n10.0.0.7 e\nfd00::/120 - net6\n\
         10.0.1.0/30 f[0-3]\n10.0.2.1-10.0.2.3 g[1-3]\nh[01-03],k\n* - new"
    );
    let table = table(&text);
    let from = |words: &str, ip: &str| said(&table, words, ip).unwrap();
    assert_eq!(from(&format!("mac=52:54:00:00:00:09 mac={MAC}"), "::1"), "a -  ");
    assert_eq!(from(&format!("uuid={}", uuid.to_uppercase()), "::1"), "b -  ");
    assert_eq!(from("serial=X7", "::1"), "c -  ");
    assert_eq!(Key::new(Kind::Asset, "Rack 3").unwrap().text, "Rack_3");
    assert_eq!(from("", "10.0.0.7"), "e -  ");
    assert_eq!(from("", "::ffff:10.0.0.7"), "e -  ");
    assert_eq!(from("", "fd00::77"), "- net6  ");
    assert_eq!((from("", "10.0.1.0"), from("", "10.0.1.3")), ("f0 -  ".into(), "f3 -  ".into()));
    assert_eq!(from("", "10.0.2.3"), "g3 -  ");
    assert_eq!(
        (from("host=h02", "::1"), from("host=K.cluster", "::1")),
        ("h02 -  ".into(), "k -  ".into())
    );
    assert_eq!(from("host=h4", "::1"), "- new  ");
    assert_eq!(table.nodes_count(), 12, "a range of addresses counts for one, * for none");
}

#[test]
fn keys_of_firmware_go_before_host_names_these_before_addresses_these_before_any() {
    let text = format!("* - any\n10.0.0.0/8 - net\n10.0.0.1 - one\nn1 - host\n{MAC} - mac\n");
    let table = table(&text);
    let image = |words: &str, ip: &str| said(&table, words, ip).unwrap();
    assert_eq!(image(&format!("host=n1 mac={MAC}"), "10.0.0.1"), "- mac  ");
    assert_eq!(image("host=n1", "10.0.0.1"), "n1 host  ");
    assert_eq!(image("host=n2", "10.0.0.1"), "- net  ", "the first line that fits");
    assert_eq!(image("", "11.0.0.1"), "- any  ");
    let two = "serial=B b\nserial=A a\n";
    assert_eq!(of(two, "serial=A serial=B"), "b -  ", "the first line");
}

#[test]
fn a_host_name_that_is_a_key_is_the_name_unless_another_is_given() {
    assert_eq!(of("dhcp-[1-2] n[01-02] img", "host=dhcp-2"), "n02 img  ");
    assert_eq!(of("n[1-2] - img", "host=n2"), "n2 img  ");
    assert_eq!(of("a.b x\na y", "host=a.b"), "x -  ", "the whole of it goes first");
}

#[test]
fn a_host_name_in_capitals_has_one_name_wherever_it_is_asked_for() {
    let table = table("N[01-02] - img\nKey Name2 img\n");
    assert_eq!(said(&table, "host=N01.cluster", "::1").unwrap(), "n01 img  ");
    assert_eq!(table.names().collect::<Vec<_>>(), ["Name2", "n01", "n02"]);
    let name = Key::new(Kind::Name, "n01").unwrap();
    assert_eq!(table.named(&name).unwrap().name, Some("n01"));
    assert_eq!(fault("n1\nN1"), "line 2, column 1: \"N1\": has a line already (line 1)");
}

#[test]
fn groups_stand_for_columns_or_for_parts_of_them() {
    let text = "@base - debian all console=ttyS0\n\
                @gpu - @base @base,gpu @base nouveau.modeset=0\n\
                n1 - @gpu\n\
                n2 - @gpu -\n\
                n3 - other @gpu,n3 quiet @base\n\
                n4 - @gpu local\n";
    assert_eq!(of(text, "host=n1"), "n1 debian all,gpu console=ttyS0 nouveau.modeset=0");
    assert_eq!(of(text, "host=n2"), "n2 debian  ");
    assert_eq!(of(text, "host=n3"), "n3 other all,gpu,n3 quiet console=ttyS0");
    assert_eq!(of(text, "host=n4"), "n4 debian local ");
}

#[test]
fn a_fault_has_line_column_word_and_what_was_expected() {
    let expected = "MAC, UUID, serial=, asset=, IP addresses, host names, @GROUP or * is expected";
    for (text, said) in [
        ("\n  n[1 x", "line 2, column 3: \"n[1\": ] is expected"),
        (
            "n1 \u{fc} \u{fc}/..",
            "line 1, column 6: \"\u{fc}/..\": a path below the served root is expected",
        ),
        ("n1 - /abs", "line 1, column 6: \"/abs\": a path below the served root is expected"),
        ("n1 - i a,../b", "line 1, column 10: \"../b\": a path below the served root is expected"),
        ("n1\nn2 - @no", "line 2, column 6: \"@no\": no line above has this group"),
        ("@a - @a", "line 1, column 6: \"@a\": no line above has this group"),
        ("@a - @b\n@b - @a", "line 1, column 6: \"@b\": no line above has this group"),
        ("@a n", "line 1, column 4: \"n\": a group has no name: - is expected"),
        ("n1\n\nn1", "line 3, column 1: \"n1\": has a line already (line 1)"),
        ("n1 x\nn2 x", "line 2, column 4: \"x\": has a line already (line 1)"),
        ("@a\n@a", "line 2, column 1: \"@a\": has a line already (line 1)"),
        ("*\n*", "line 2, column 1: \"*\": has a line already (line 1)"),
        (
            "10.0.0.0/8\n10.0.0.0/8 - x",
            "line 2, column 1: \"10.0.0.0/8\": has a line already (line 1)",
        ),
        ("n1,n1", "line 1, column 4: \"n1\": has a line already (line 1)"),
        ("n[1-2] x", "line 1, column 8: \"x\": as many names as keys are expected, or -"),
        ("* x", "line 1, column 3: \"x\": as many names as keys are expected, or -"),
        (
            "10.0.0.0/24 n[1-255]",
            "line 1, column 13: \"n[1-255]\": as many names as keys are expected, or -",
        ),
        (
            "10.0.0.9/8",
            "line 1, column 1: \"10.0.0.9/8\": the first address of the network is expected",
        ),
        (
            "a,10.0.0.9-10.0.0.1",
            "line 1, column 3: \"10.0.0.9-10.0.0.1\": the range runs backwards",
        ),
        ("fd00::/64,n1", "line 1, column 11: \"n1\": names are expected before ranges this large"),
        ("n1 ..", "line 1, column 4: \"..\": a host name is expected"),
        ("n1 a/b", "line 1, column 4: \"a/b\": a host name is expected"),
        (
            "n1 - i - quiet\u{7}",
            "line 1, column 15: \"\\u{7}\": a line of 8192 bytes at most, without control characters, is expected",
        ),
    ] {
        assert_eq!(fault(text), said);
    }
    for word in
        ["52:54:00:00:00", "mac=n1", "foo=1", "serial=", "10.0.0.300", "7", "n/1", "@", "n_\u{e9}"]
    {
        let said = fault(&format!("x\n{word}"));
        let is_it = said.contains(expected) || said.contains("behind the @");
        assert!(is_it && said.starts_with("line 2, column 1: "), "{said}");
    }
    assert_eq!(fault("ok\n\u{fffd}").split(':').next(), Some("line 2, column 1"));
    let not_text = Table::parse(b"ok\nx \xff").unwrap_err().to_string();
    assert_eq!(not_text, "line 2, column 3: \"\u{fffd}\": this is not UTF-8");
}

#[test]
fn a_name_has_one_line_whether_it_is_given_or_the_key() {
    let said = "line 2, column 1: \"n1\": has a line already (line 1)";
    assert_eq!(fault("52:54:00:00:00:01 n1\nn1 - other"), said);
    assert_eq!(
        of("n1 n2\nn2 n3", "host=n2"),
        "n3 -  ",
        "a host name is no name where one is given"
    );
}

#[test]
fn every_limit_is_reached_and_not_passed() {
    let line = |len: usize| format!("n1 - - - {}", "x ".repeat((len - 9) / 2));
    assert!(fault(&line(LINE_LEN_MAX + 3)).contains("a line of 8192 bytes at most"));
    let comments = format!("#{}\n", "x".repeat(62)).repeat(TAB_BYTES_MAX / 64);
    assert!(Table::parse(comments.as_bytes()).is_ok());
    assert!(fault(&format!("{comments}\n")).ends_with("the file is larger than 1 MiB"));
    assert_eq!(table("n[00001-65536] m[00001-65536]").nodes_count(), NODES_MAX);
    let more = fault("n[00001-65536]\nserial=1");
    assert!(more.ends_with("more keys than there may be nodes (65536)"), "{more}");
    let more = fault("n[00001-65535]\nm[1-2]");
    assert!(more.ends_with("more names than there may be nodes (65536)"), "{more}");
    let word = "x".repeat(COLUMN_LEN_MAX - 1);
    assert!(Table::parse(format!("n1 - - - {word}").as_bytes()).is_ok());
    let long = fault(&format!("n1 - - - {word}y"));
    assert!(long.ends_with("longer than 2048 bytes, groups put in"), "{long}");
    assert!(Table::parse(format!("n1 - - - {}", "x ".repeat(256)).as_bytes()).is_ok());
    let many = fault(&format!("n1 - - - {}", "x ".repeat(257)));
    assert!(many.ends_with("more than 256 words, groups put in"), "{many}");
    // Groups that double, and groups of groups of nothing, end in the same.
    let doubling: String = (1..40).map(|n| format!("@g{n} - - @g{0},@g{0}\n", n - 1)).collect();
    assert!(fault(&format!("@g0 - - -\n{doubling}")).contains("more than 256 words"));
    let deep: String = (1..40_000).map(|n| format!("@g{n} - @g{}\n", n - 1)).collect();
    assert!(fault(&format!("@g0 - i\n{deep}")).contains("more than 256 words"));
}

#[test]
fn a_table_of_all_nodes_is_read_and_asked_soon() {
    let lines: String = (0..20_000)
        .map(|n| format!("02:00:00:00:{:02x}:{:02x} n{n} i\n", n >> 8, n & 255))
        .collect();
    let table = table(&lines);
    assert_eq!(said(&table, "mac=02:00:00:00:4e:1f", "::1").unwrap(), "n19999 i  ");
}

proptest! {
    #[test]
    fn any_text_is_refused_or_a_table(text in "([@n*]|10\\.0\\.0\\.[0-9]/?-?|[ \\t\\n,\\[\\]#-]|a=|[0-9]){0,40}") {
        if let Ok(table) = Table::parse(text.as_bytes()) {
            let any: IpAddr = "10.0.0.1".parse().unwrap();
            let host = Key::new(Kind::Host, "n").unwrap();
            if let Some(found) = table.find(&[host], any) {
                prop_assert!(found.layers.len() + found.words.len() <= text.len());
            }
        }
    }

    #[test]
    fn each_node_of_a_range_finds_its_name(from in 0_u32..500, count in 1_u32..50, pick: prop::sample::Index) {
        let (to, nth) = (from + count - 1, pick.index(count as usize) as u32);
        let text = format!("h[{from}-{to}] n[{:04}-{:04}] i", from, to);
        let word = format!("host=h{}", from + nth);
        prop_assert_eq!(of(&text, &word), format!("n{:04} i  ", from + nth));
    }
}

#[test]
fn nodes_are_found_by_their_names() {
    let text = "@all - debian all console=ttyS0\n\
                52:54:00:00:00:01,52:54:00:00:00:02 n[1-2] @all\n\
                10.0.0.11-10.0.0.13 c[1-3] @all\n\
                io[1-2] - debian\n* - rescue\n";
    let table = Table::parse(text.as_bytes()).unwrap();
    let names: Vec<&str> = table.names().collect();
    assert_eq!(names, ["c1", "c2", "c3", "io1", "io2", "n1", "n2"]);
    let name = |name| Key::new(Kind::Name, name).unwrap();
    let found =
        table.named(&name("n2")).map(|found| (found.name.unwrap().to_string(), found.layers.len()));
    assert_eq!(found, Some(("n2".to_string(), 1)));
    assert_eq!(table.named(&name("io1")).unwrap().image, Some("debian"));
    assert_eq!(table.named(&name("n3")), None);
    let keys: Vec<&str> = table.keys(&name("n2")).map(|key| &*key.text).collect();
    assert_eq!(keys, ["52:54:00:00:00:02"]);
    assert_eq!(table.address(&name("c2")), "10.0.0.12".parse().ok());
    assert_eq!(table.address(&name("n1")), None);
}
