//! Command lines of xget 1.2.3 and of those who call it, as docs/from-others.md has them: each
//! works, or says what is wrong with it.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use support::proc::{Master, Proc, command, free_port, xget};
use support::{Scratch, noise, until};

/// A head with what the lines name, at 127.0.0.1; `masterserver` in a line is that.
struct Head {
    scratch: Scratch,
    master: Master,
}

impl Head {
    fn new(options: &[&str]) -> Head {
        let scratch = Scratch::new();
        let dir = scratch.dir("dirtoserve");
        fs::create_dir_all(dir.join("vnfs/NAME")).unwrap();
        fs::write(dir.join("vnfs/NAME/vnfs.img"), noise(1, 300_000)).unwrap();
        fs::write(dir.join("file1"), noise(2, 100_000)).unwrap();
        fs::write(dir.join(".hidden"), b"dot").unwrap();
        let master = Master::start(&scratch, &dir, options);
        Head { scratch, master }
    }

    /// A line as it stands in the page, with this head's port, and a directory of its own.
    fn client(&self, line: &str) -> support::proc::Ended {
        let download = self.scratch.dir("download");
        fs::remove_dir_all(&download).unwrap();
        let mut words: Vec<String> = line.split(' ').map(String::from).collect();
        assert_eq!(words.remove(0), "xget");
        let port = self.master.port.to_string();
        let has_port = words.iter().position(|word| word == "-p");
        match has_port {
            Some(at) => words[at + 1].clone_from(&port),
            None => words.splice(0..0, ["-p".to_string(), port]).for_each(drop),
        }
        for word in &mut words {
            *word = word.replace("masterserver", "127.0.0.1").replace("$MASTERIP", "127.0.0.1");
            if word == "/tmp/download" || word == "/" {
                *word = download.to_str().unwrap().into();
            }
        }
        let mut command = xget();
        command.args(words);
        Proc::start(command, &self.scratch).wait()
    }

    fn has(&self, name: &str) -> bool {
        let from = self.scratch.join("dirtoserve").join(name);
        let to = self.scratch.join("download").join(Path::new(name).file_name().unwrap());
        fs::read(to).ok() == Some(fs::read(from).unwrap())
    }
}

/// What stands in the page, so that it and these tests are about the same.
fn is_in_the_page(line: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-others.md");
    assert!(fs::read_to_string(page).unwrap().contains(line), "{line:?} is not in the page");
}

#[test]
fn its_clients_lines_fetch_the_same() {
    let head = Head::new(&["-m", "10", "-x", "-D", "0"]);
    for (line, names) in [
        ("xget -n masterserver . /tmp/download", &["file1", ".hidden"][..]),
        ("xget -n masterserver file1 /tmp/download", &["file1"]),
        ("xget -n masterserver -p 20005 -s file1 /tmp/download", &["file1"]),
        ("xget -n $MASTERIP vnfs/NAME/vnfs.img /", &["vnfs/NAME/vnfs.img"]),
    ] {
        is_in_the_page(line);
        head.client(line).expect(0);
        assert!(names.iter().all(|name| head.has(name)), "{line}");
    }
    for line in [
        "xget -n masterserver -o file1 /tmp/download",
        "xget -r 15 -n masterserver file1 /tmp/download",
        "xget -D 0 -r 15 -o -s -n masterserver file1 /tmp/download",
    ] {
        head.client(line).expect(0);
        assert!(head.has("file1"), "{line}");
    }
}

#[test]
fn what_of_it_does_not_work_says_why() {
    let head = Head::new(&[]);
    is_in_the_page("`-s 30`");
    head.client("xget -s 30 -n masterserver file1 /tmp/download")
        .expect(4)
        .says("30 is taken for a SRC; where it was meant for -s: that takes no number");
    is_in_the_page("`-f IMAGE`");
    head.client("xget -f /boot/initrd").expect(2).says("xget -n HEAD FILE DEST");
    is_in_the_page("`-w N`");
    head.client("xget -w 3 -n masterserver file1 /tmp/download")
        .expect(2)
        .says("-w: it did nothing");
    head.client("xget -n masterserver nothing /tmp/download").expect(4).says("nothing");
    head.client("xget -n masterserver file1").expect(2).says("SRC... DEST");
    let mut many = xget();
    many.args(["-m", "20", "/srv"]);
    Proc::start(many, &head.scratch).wait().expect(2).says("from 1 to 16");
}

/// What an init script has now for what went into the background by itself.
const SERVICE: &str = r#"xget --daemon -p "$PORT" ${DEBUG:+-D "$DEBUG"} "$SRC""#;

/// The service of Perceus, and the lines of init scripts.
#[test]
fn its_masters_lines_serve() {
    is_in_the_page(&format!("`{SERVICE}`"));
    let scratch = Scratch::new();
    let dir = scratch.dir("dirtoserve");
    fs::write(dir.join("file1"), b"1").unwrap();
    let serves = |port: u16, command: Command| {
        let proc = Proc::start(command, &scratch);
        until("it serves", 30, || {
            let mut fetch = xget();
            fetch.args(["-r", "0", "-n", &format!("127.0.0.1:{port}"), "file1"]);
            fetch.arg(scratch.join(format!("copy{port}")));
            Proc::start(fetch, &scratch).wait().status == 0
        });
        drop(proc);
    };
    for options in [&["-D", "0"][..], &["-D", "1"], &["-m", "10", "-x"]] {
        let port = free_port();
        let mut serve = xget();
        serve.args(["--no-cache", "-p", &port.to_string()]).args(options).arg(&dir);
        serves(port, serve);
    }
    for debug in ["", "1"].iter().filter(|_| support::is_root()) {
        let port = free_port();
        // Ends with this test, whoever it belongs to then.
        let mut all = command("unshare");
        let line = format!("{SERVICE} && sleep 600");
        all.args(["--pid", "--fork", "--kill-child=KILL", "sh", "-c", &line]);
        let bin = Path::new(env!("CARGO_BIN_EXE_xget")).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        all.env("PATH", path).env("XDG_CACHE_HOME", scratch.dir("cache"));
        all.env("PORT", port.to_string()).env("DEBUG", debug).env("SRC", &dir);
        serves(port, all);
    }
    // One file alone, which the original said it could.
    let master = Master::start(&scratch, dir.join("file1"), &[]);
    master.fetch(&scratch, [".".as_ref(), scratch.join("copy").as_os_str()]).expect(0);
    assert_eq!(fs::read(scratch.join("copy/file1")).unwrap(), b"1");
}
