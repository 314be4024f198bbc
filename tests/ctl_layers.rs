//! Layers as they go over the roots of nodes, and templates in them.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

#[path = "ctl_support.rs"]
mod ctl;
mod support;

use ctl::Head;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use support::proc::Master;
use support::reader::Reader;
use support::tree::look;
use support::{Scratch, until};

const TAB: &str = "\
@all                - debian all console=tty0 console=ttyS0,115200 quiet
10.0.0.11-10.0.0.12 n[1-2] @all
52:54:00:00:00:03   n3 debian all,gpu
io1                 -  debian
";

fn head() -> Head {
    let head = Head::new();
    let write = |path: &str, text: &str| {
        let path = head.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("nodes.tab", TAB);
    write("images/debian/root/etc/motd", "the image's\n");
    write("layers/all/etc/motd", "all\n");
    write("layers/all/etc/hosts.tmpl", "{{address}} {{name}}\n");
    write("layers/all/etc/tty.tmpl", "{{ words.console }}\n");
    write("layers/gpu/etc/motd", "gpu\n");
    write("layers/gpu/etc/hosts", "plain\n");
    write("layers/gpu/etc/tty", "plain\n");
    write("layers/n1/etc/secret.tmpl", "key of {{name}}\n");
    let secret = head.dir.join("layers/n1/etc/secret.tmpl");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
    head
}

fn read(head: &Head, path: &str) -> String {
    fs::read_to_string(head.dir.join("layers/.rendered").join(path)).unwrap()
}

#[test]
fn what_a_node_gets_is_shown_file_by_file() {
    let head = head();
    let json = head.says("layers show n3 --json").expect(0).out;
    let lines: serde_json::Value = serde_json::from_str(&json).unwrap();
    let line = |path: &str| {
        lines.as_array().unwrap().iter().find(|line| line["path"] == path).unwrap().clone()
    };
    let motd = line("/etc/motd");
    assert_eq!(motd["layer"], "layers/gpu");
    assert_eq!((&motd["hides"][0], &motd["over_image"]), (&"layers/all".into(), &true.into()));
    assert_eq!(line("/etc/hosts")["template"], false);
    let shown = head.says("layers show n1").expect(0).out;
    assert!(shown.contains("/etc/hosts") && shown.contains("layers/all/etc/hosts.tmpl"), "{shown}");
    assert!(shown.contains("layers/n1/etc/secret.tmpl"), "{shown}");
    let listed = head.says("layers list --json").expect(0).out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let figures = |nth: usize| {
        ["name", "files", "templates", "nodes"].map(|what| listed[nth][what].to_string())
    };
    assert_eq!(figures(0), ["\"all\"", "3", "2", "3"]);
    assert_eq!(figures(1), ["\"gpu\"", "3", "0", "1"]);
    assert_eq!(figures(2), ["\"n1\"", "1", "1", "1"]);
    head.says("layers show n9").expect(4).says("no line of");
}

#[test]
fn templates_become_a_layer_of_each_node() {
    let head = head();
    let before = look(&head.dir);
    head.says("layers render --dry-run").expect(0).says("would write").says("2 changed");
    assert_eq!(look(&head.dir), before);
    head.says("layers render").expect(0).says("2 nodes have templates; 2 changed");
    assert_eq!(read(&head, "n1/etc/hosts"), "10.0.0.11 n1\n");
    assert_eq!(read(&head, "n2/etc/hosts"), "10.0.0.12 n2\n");
    // Of several words the last counts, as for the kernel.
    assert_eq!(read(&head, "n2/etc/tty"), "ttyS0,115200\n");
    let secret = head.dir.join("layers/.rendered/n1/etc/secret");
    assert_eq!(secret.metadata().unwrap().mode() & 0o7777, 0o600);
    // What a later layer has as a plain file is not hidden by an earlier one's template.
    assert!(!head.dir.join("layers/.rendered/n3").exists());
    // Only what is other is written.
    let made = |name: &str| head.dir.join("layers/.rendered").join(name).metadata().unwrap().ino();
    let (one, two) = (made("n1"), made("n2"));
    fs::write(head.dir.join("layers/n1/etc/secret.tmpl"), "other {{name}}\n").unwrap();
    head.says("layers render").expect(0).says("1 changed");
    assert_eq!((made("n2"), made("n1") == one), (two, false));
    // What is no longer is removed.
    fs::write(head.dir.join("nodes.tab"), TAB.replace("n[1-2]", "m[1-2]")).unwrap();
    head.says("layers render").expect(0);
    let names: Vec<_> = fs::read_dir(head.dir.join("layers/.rendered"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.iter().filter(|name| name.starts_with('m')).count(), 2, "{names:?}");
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn an_error_has_its_place_and_changes_nothing() {
    let head = head();
    head.says("layers render").expect(0);
    let before = look(&head.dir.join("layers/.rendered"));
    let motd = head.dir.join("layers/all/etc/issue.tmpl");
    fs::write(&motd, "one\n two {{adress}}\n").unwrap();
    head.says("layers render").expect(5).says("issue.tmpl:2:6: for n1: \"adress\" is not known");
    assert_eq!(look(&head.dir.join("layers/.rendered")), before);
    fs::remove_file(&motd).unwrap();
    // A node of which no address is said.
    fs::write(head.dir.join("layers/gpu/etc/x.tmpl"), "{{address}}").unwrap();
    head.says("layers render n3").expect(5).says("for n3: \"address\" is not known");
    fs::remove_file(head.dir.join("layers/gpu/etc/x.tmpl")).unwrap();
    fs::write(head.dir.join("layers/all/etc/motd.tmpl"), "").unwrap();
    head.says("layers show n1").expect(5).says("both for the same file");
    fs::remove_file(head.dir.join("layers/all/etc/motd.tmpl")).unwrap();
    fs::write(head.dir.join("nodes.tab"), "n1 - x\nn1 - y\n").unwrap();
    head.says("layers render").expect(5).says("line 2, column 1");
    fs::write(head.dir.join("nodes.tab"), "n1 - debian nothing\n").unwrap();
    head.says("layers render").expect(4).says("neither layers/nothing nor nothing");
    assert!(Path::new(&head.dir.join("layers/.rendered/n1")).exists());
}

#[test]
fn who_is_taken_into_the_table_has_what_comes_of_templates_before() {
    let head = head();
    let tab = || fs::read_to_string(head.dir.join("nodes.tab")).unwrap();
    let add = "nodes add 10.0.0.13 n4 --image @all";
    let dry = head.says(&format!("{add} --dry-run")).expect(0);
    dry.says("+10.0.0.13").says("would write").says("layers/.rendered/n4");
    assert!(!head.dir.join("layers/.rendered").exists() && tab() == TAB);
    head.says(add).expect(0);
    assert_eq!(read(&head, "n4/etc/hosts"), "10.0.0.13 n4\n");
    assert!(!head.dir.join("layers/.rendered/n1").exists(), "those of others are as they are");
    // A group's words are those of all who have it.
    let set = ["nodes", "set", "@all", "--words", "console=ttyS1"];
    head.run(set).expect(0);
    assert_eq!(read(&head, "n1/etc/tty"), "ttyS1\n");
    // What cannot be rendered is said before the line is there.
    let before = tab();
    let refused = head.says("nodes add serial=X n5 --image @all").expect(5);
    refused
        .says("nothing is changed; ")
        .says("etc/hosts.tmpl:1:1: for n5: \"address\" is not known");
    assert_eq!(tab(), before);
    // What is not there yet may come.
    let late = head.says("nodes add serial=X n5 --image @all --layers late").expect(0);
    late.says("is to have late").says("once it is, run `xgetctl layers render`");
    // As in the table itself.
    assert!(!head.dir.join("layers/.rendered/n5").exists());
    head.says("nodes set n4 --layers gpu").expect(0);
    assert!(!head.dir.join("layers/.rendered/n4").exists(), "it has no template any more");
    let is_there = |name: &str| head.dir.join("layers/.rendered").join(name).exists();
    // Nor has one that waits for a layer, or that is gone.
    head.says("nodes set n3 --layers all").expect(5).says("for n3: \"address\" is not known");
    head.says("nodes add 10.0.0.15 n6 --image @all").expect(0);
    assert!(is_there("n1") && is_there("n2") && is_there("n6"));
    head.says("nodes set n6 --layers late").expect(0).says("once it is, run");
    assert!(!is_there("n6"));
    head.says("nodes rm n[1-2] --dry-run").expect(0).says("would remove").says(".rendered/n2");
    head.says("nodes rm n[1-2]").expect(0);
    assert!(!is_there("n1") && !is_there("n2"));
}

#[test]
fn where_the_table_cannot_be_written_what_comes_of_templates_is_as_before() {
    let head = head();
    let rendered = head.dir.join("layers/.rendered");
    head.says("layers render").expect(0);
    let nodes = || {
        let mut seen = look(&rendered);
        // Its time: something was made beside them.
        seen.remove(Path::new(""));
        seen
    };
    let before = nodes();
    // In the way of where it is written first.
    let beside = head.dir.join(".xget-nodes-tab.part");
    fs::create_dir(&beside).unwrap();
    for line in [
        "nodes set @all --words console=ttyS1",
        "nodes add 10.0.0.13 n4 --image @all",
        "nodes rm n[1-2]",
    ] {
        head.says(line).expect(6).says("cannot remove").says(".xget-nodes-tab.part");
        assert_eq!(fs::read_to_string(head.dir.join("nodes.tab")).unwrap(), TAB);
        assert_eq!(nodes(), before, "{line}");
    }
    fs::remove_dir(&beside).unwrap();
    head.says("nodes set @all --words console=ttyS1").expect(0);
    assert_eq!(read(&head, "n2/etc/tty"), "ttyS1\n");
}

#[test]
fn rendering_waits_for_a_change_of_the_table_and_goes_by_it() {
    let head = head();
    let lock = fs::File::open(&head.dir).unwrap();
    lock.lock().unwrap();
    let render = head.start("layers render");
    let opened = format!("/proc/{}/fd", render.pid());
    until("it comes to the lock", 20, || {
        let files = fs::read_dir(&opened).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file == head.dir)
    });
    fs::write(head.dir.join("nodes.tab"), TAB.replace("n[1-2]", "m[1-2]")).unwrap();
    drop(lock);
    render.wait().expect(0).says("2 nodes have templates; 2 changed");
    assert!(head.dir.join("layers/.rendered/m2").exists());
    assert!(!head.dir.join("layers/.rendered/n2").exists());
}

/// What the master tells a node and what is shown at the head are one rule, and one look at
/// the tree: through links in it, and never out of it.
#[test]
fn what_is_shown_is_what_the_node_is_told() {
    let head = head();
    let tab = "N1 - debian gpu,n1,link,all\nn2 - debian layers/gpu,.rendered/n2,plain\n\
               n3 - debian out\n";
    fs::write(head.dir.join("nodes.tab"), tab).unwrap();
    let add = |path: &str| {
        let path = head.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    };
    ["layers/.rendered/n1/x", "layers/.rendered/n2/x", "plain/x"].into_iter().for_each(add);
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, head.dir.join("layers").join(name)).unwrap();
    };
    link("gpu", "link");
    link("/etc", "out");
    let scratch = Scratch::new();
    let master = Master::start(&scratch, &head.dir, &[]);
    let told = |name: &str| {
        let mut reader = Reader::connect(("127.0.0.1", master.port)).unwrap();
        let fid = reader.open(&[".xget", "node"], 2).unwrap();
        reader.write(fid, format!("host={name}").as_bytes()).unwrap();
        let text = String::from_utf8(reader.read(fid, 0).unwrap()).unwrap();
        let layers = text.lines().filter_map(|line| line.strip_prefix("layer "));
        let layers: Vec<String> = layers.map(String::from).collect();
        if layers.is_empty() { vec![text] } else { layers }
    };
    for (name, layers) in [
        ("n1", "layers/gpu layers/link layers/all layers/n1 layers/.rendered/n1"),
        ("n2", "layers/gpu plain layers/.rendered/n2"),
    ] {
        let layers: Vec<&str> = layers.split(' ').collect();
        assert_eq!(told(name), layers, "{name}");
        let json = head.says(&format!("layers show {name} --json")).expect(0).out;
        let lines: serde_json::Value = serde_json::from_str(&json).unwrap();
        let shown = |layer: &str| {
            lines.as_array().unwrap().iter().any(|line| {
                line["layer"] == layer || line["hides"].as_array().unwrap().contains(&layer.into())
            })
        };
        // What came of templates is shown as these.
        let plain = layers.iter().filter(|layer| !layer.contains("rendered"));
        plain.for_each(|layer| assert!(shown(layer), "{name} {layer}: {json}"));
    }
    assert_eq!(told("n3"), ["name n3\nmissing layer out is not served\n"]);
    head.says("layers show n3").expect(4).says("neither layers/out nor out is a directory");
}

#[test]
fn what_one_node_alone_gets_has_a_directory_that_nobody_else_looks_into() {
    let head = head();
    let said = head.says("layers alone n1 n9").expect(0);
    let place = head.dir.join(".xget/alone/n1");
    assert!(said.out.contains(place.to_str().unwrap()), "{}", said.out);
    let above = head.dir.join(".xget/alone");
    assert_eq!(fs::metadata(&above).unwrap().permissions().mode() & 0o777, 0o700);
    fs::create_dir(place.join("etc")).unwrap();
    fs::write(place.join("etc/secret"), "12345").unwrap();
    // Again, and what is there stays.
    head.says("layers alone n1").expect(0);
    let listed = head.says("layers alone --json").expect(0).out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let figures =
        |nth: usize| ["node", "files", "bytes", "known"].map(|what| listed[nth][what].to_string());
    assert_eq!(figures(0), ["\"n1\"", "1", "5", "true"]);
    assert_eq!(figures(1), ["\"n9\"", "0", "0", "false"]);
    assert!(!head.says("layers list").expect(0).out.contains("alone"));
    head.says("layers alone ../n1").expect(2);
    fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).unwrap();
    head.says("layers alone").expect(5).says("chmod 700 it");
    head.says("layers alone n2").expect(5).says("chmod 700 it");
}
