//! Completion of names at a master in real shells, as one types it: a key, and what the command
//! line is then.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::fake::{Act, Fake};
use support::proc::{Master, Proc, XGET, command, xget};
use support::{Scratch, lacks, until};

/// A shell on a terminal, whose `xget` writes down its words and does nothing else.
struct Shell {
    child: Child,
    words: PathBuf,
    out: PathBuf,
}

impl Shell {
    /// `begin` is what it is told before anything is typed.
    fn start(scratch: &Scratch, program: &str, begin: &str) -> Shell {
        let (words, out) = (scratch.join("words"), scratch.join(format!("{program}.out")));
        let home = scratch.dir("home");
        let bin = Path::new(XGET).parent().unwrap().display();
        let mut script = command("script");
        script
            .args(["-qec", program, "/dev/null"])
            .current_dir(&home)
            .env("HOME", &home)
            .env("TERM", "dumb")
            .env("SHELL", "/bin/sh")
            .env("PATH", format!("{bin}:/usr/bin:/bin"))
            .env("WORDS", &words)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&out).unwrap())
            .stderr(Stdio::null());
        let mut shell = Shell { child: script.spawn().unwrap(), words, out };
        shell.types(begin);
        let ready = shell.words.with_extension("ready");
        shell.types(&format!("touch {}\n", ready.display()));
        until("the shell is there", 30, || ready.exists());
        fs::remove_file(ready).unwrap();
        shell
    }

    fn types(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// The words of the command, once keys and the end of the line are typed.
    fn words(&mut self, keys: &str) -> Vec<String> {
        let _ = fs::remove_file(&self.words);
        self.types(keys);
        self.types("\n");
        until("the command runs", 20, || {
            fs::read_to_string(&self.words).is_ok_and(|text| text.ends_with("END\n"))
        });
        let text = fs::read_to_string(&self.words).unwrap();
        text.lines().filter(|line| *line != "END").map(String::from).collect()
    }

    /// The last word.
    #[track_caller]
    fn completes(&mut self, line: &str, wanted: &str) {
        let words = self.words(&format!("{line}\t"));
        let shown = fs::read(&self.out).unwrap();
        let last = words.last().map(String::as_str);
        assert_eq!(last, Some(wanted), "{line}: {}", String::from_utf8_lossy(&shown));
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn completions(name: &str) -> String {
    format!("{}/completions/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Names of which a shell that took them as they are would run something.
const EVIL: [&str; 8] =
    ["1y`id`", "2x$(id)", "3a;id", "4p|id", "5a$HOME", "6a&id", "7a!!", "8q\"`id`"];

fn serve(scratch: &Scratch) -> Master {
    let source = scratch.dir("source");
    fs::create_dir_all(source.join("images/debian live")).unwrap();
    for name in
        ["images/debian live/kernel", "with space", "it's", "star*", "zip:one", "a,b", "u@h"]
    {
        fs::write(source.join(name), name).unwrap();
    }
    // What a shell would act upon.
    for name in EVIL {
        fs::write(source.join(name), name).unwrap();
    }
    fs::write(source.join("a\\x2d.mount"), "").unwrap();
    fs::write(source.join("-dash"), "").unwrap();
    Master::start(scratch, &source, &[])
}

/// What every shell has to do.
fn check(scratch: &Scratch, shell: &mut Shell, master: &Master) {
    // What is local says nothing of what is at the master.
    let home = scratch.join("home");
    fs::create_dir(home.join("with space")).unwrap();
    fs::write(home.join("run-file"), "").unwrap();
    let at = format!("-n {}", master.addr());
    shell.completes(&format!("xget ls {at} wi"), "with space");
    shell.completes(&format!("xget ls {at} with\\ s"), "with space");
    shell.completes(&format!("xget ls {at} im"), "images/");
    shell.completes(&format!("xget ls {at} images/d"), "images/debian live/");
    shell.completes(&format!("xget ls {at} images/debian\\ live/k"), "images/debian live/kernel");
    shell.completes(&format!("xget ls {at} it"), "it's");
    // A name with a wildcard, as a source has it.
    shell.completes(&format!("xget ls {at} st"), "star\\*");
    shell.completes(&format!("xget ls {at} zi"), "zip:one");
    shell.completes(&format!("xget ls {at} zip:o"), "zip:one");
    // Sources of a fetch, words of a command, verbs; and what is not there.
    shell.completes(&format!("xget {at} zi"), "zip:one");
    shell.completes(&format!("xget run {at} -- cat file:wi"), "file:with space");
    for name in EVIL {
        shell.completes(&format!("xget ls {at} {}", &name[..1]), name);
        shell
            .completes(&format!("xget run {at} -- q file:{}", &name[..1]), &format!("file:{name}"));
    }
    // Words of a command that is run, as it has them: where a name stands in them, and options.
    shell.completes(&format!("xget run {at} -- q -drive file=file:wi"), "file=file:with space");
    shell.completes(&format!("xget run {at} -- q raw,file=tar:im"), "raw,file=tar:images/");
    shell.completes(&format!("xget run {at} -- q file:a,"), "file:a,");
    shell.completes(&format!("xget run {at} -- q file:a,,"), "file:a,,b");
    shell.completes(&format!("xget run {at} -- q -n 127.0.0.1:1 file:wi"), "file:with space");
    shell.completes(&format!("xget run {at} mkdir -p x file:wi"), "file:with space");
    shell.completes(&format!("xget run {at} -- q run-f"), "run-file");
    shell.completes(&format!("xget ls {at} u"), "u@h");
    shell.completes(&format!("xget ls {at} u@"), "u@h");
    shell.completes(&format!("xget ls {at} a\\\\\\\\x"), "a\\\\x2d.mount");
    shell.completes("xget stat", "status");
    shell.completes(&format!("xget ls {at} nothing"), "nothing");
}

#[test]
fn bash_completes_names_of_the_master() {
    if lacks(&["bash", "script"]) {
        return;
    }
    let scratch = Scratch::new();
    let master = serve(&scratch);
    let begin = format!(
        "source {}; xget() {{ printf '%s\\n' \"$@\" END >\"$WORDS\"; }}\n",
        completions("xget.bash")
    );
    let mut shell = Shell::start(&scratch, "bash --norc --noprofile -i", &begin);
    check(&scratch, &mut shell, &master);
    // In quotes that are open: what they can have, and nothing else.
    let at = format!("-n {}", master.addr());
    shell.completes(&format!("xget ls {at} '2x"), "2x$(id)");
    shell.completes(&format!("xget ls {at} 'with s"), "with space");
    shell.completes(&format!("xget ls {at} \"with s"), "with space");
    shell.completes(&format!("xget run {at} -- q 'file:4"), "file:4p|id");
    for (keys, wanted) in [("\"1y\t\"", "1y"), ("'it\t'", "it"), ("1y\\`\t", "1y`id`")] {
        let words = shell.words(&format!("xget ls {at} {keys}"));
        assert_eq!(words.last().map(String::as_str), Some(wanted), "{keys}");
    }
}

#[test]
fn zsh_completes_names_of_the_master() {
    if lacks(&["zsh", "script"]) {
        return;
    }
    let scratch = Scratch::new();
    let master = serve(&scratch);
    let dir = Path::new(&completions("_xget")).parent().unwrap().display().to_string();
    let begin = format!(
        "fpath=({dir} $fpath); autoload -Uz compinit; compinit -u -D\n\
         xget() {{ print -rl -- \"$@\" END >\"$WORDS\"; }}\n"
    );
    check(&scratch, &mut Shell::start(&scratch, "zsh -f -i", &begin), &master);
}

#[test]
fn fish_completes_names_of_the_master() {
    if lacks(&["fish", "script"]) {
        return;
    }
    let scratch = Scratch::new();
    let master = serve(&scratch);
    let begin = format!(
        "source {}; function xget; printf '%s\\n' $argv END >$WORDS; end\n",
        completions("xget.fish")
    );
    check(&scratch, &mut Shell::start(&scratch, "fish --no-config -i", &begin), &master);
}

/// How long names take, and what is said.
fn complete(scratch: &Scratch, master: &str) -> (Duration, String) {
    let mut words = xget();
    words.args(["ls", "--complete", "", "-n", master]);
    let began = Instant::now();
    let ended = Proc::start(words, scratch).wait().expect(0);
    (began.elapsed(), ended.out + &ended.err)
}

#[test]
fn a_master_that_is_late_or_odd_says_nothing() {
    let scratch = Scratch::new();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let hang = Fake::start(|_, _, _| Act::Park);
    let odd = Fake::start(|_, offset, _| Act::Bytes(vec![7; if offset == 0 { 99 } else { 0 }]));
    let endless = Fake::start(|_, _, _| Act::Endless);
    let mute = mute.local_addr().unwrap().to_string();
    for master in [mute, hang.addr(), odd.addr(), endless.addr(), "no.such.host.invalid".into()] {
        let (took, said) = complete(&scratch, &master);
        assert_eq!(said, "", "{master}");
        // 0.3 s, and what a machine with other tests takes to start a process.
        assert!(took < Duration::from_secs(2), "{master}: {took:?}");
    }
    let master = serve(&scratch);
    assert_eq!(
        complete(&scratch, &master.addr()).1,
        format!(
            "./-dash\n{}\na,b\na\\\\x2d.mount\nimages/\nit's\nstar\\*\nu@h\nwith space\nzip:one\n",
            EVIL.join("\n")
        )
    );
}
