//! Standard output as the destination: one file in order, verified before it leaves, in bounded
//! memory, whoever reads, stands still or goes. Real processes.

#![allow(clippy::unwrap_used)] // in tests a panic is the report
#![allow(clippy::print_stdout)] // the figures

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use support::fake::Throttle;
use support::lab::{Lab, PORT};
use support::mounts::LoopDevice;
use support::proc::{Ended, Master, Proc};
use support::reader::Reader;
use support::{Scratch, noise, until};

const MIB: usize = 1 << 20;

struct Site {
    scratch: Scratch,
    file: Arc<Vec<u8>>,
    master: Master,
}

impl Site {
    fn new(len: usize) -> Site {
        let scratch = Scratch::new();
        let source = scratch.dir("source");
        let file = noise(7, len);
        fs::write(source.join("file"), &file).unwrap();
        let master = Master::start(&scratch, &source, &[]);
        Site { scratch, file: Arc::new(file), master }
    }

    /// A client whose standard output is a pipe to us.
    fn stream(&self, args: &[&str]) -> Piped {
        Piped::start(self.master.client([args, &["file", "-"]].concat()))
    }

    fn fetch(&self, args: &[&str]) -> Ended {
        self.master.fetch(&self.scratch, args)
    }
}

/// A client that writes to us; it ends with the test.
struct Piped {
    child: Child,
    out: Option<ChildStdout>,
    err: Option<JoinHandle<String>>,
}

impl Piped {
    fn start(mut command: Command) -> Piped {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take();
        let mut said = child.stderr.take().unwrap();
        let err = thread::spawn(move || {
            let mut text = String::new();
            said.read_to_string(&mut text).map(|_| text).unwrap_or_default()
        });
        Piped { child, out, err: Some(err) }
    }

    /// So many bytes of it.
    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.out.as_mut().unwrap().read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The rest of it, and how it ended.
    fn end(mut self) -> (Vec<u8>, i32, String) {
        let mut rest = Vec::new();
        if let Some(mut out) = self.out.take() {
            out.read_to_end(&mut rest).unwrap();
        }
        let status = self.child.wait().unwrap();
        (rest, status.code().unwrap_or(-1), self.err.take().unwrap().join().unwrap())
    }

    /// The most memory that it had, in bytes, and what it keeps in a file without a name.
    fn memory(&self) -> [usize; 2] {
        let proc = Path::new("/proc").join(self.child.id().to_string());
        let status = fs::read_to_string(proc.join("status")).unwrap();
        // Who has ended has none.
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or("VmHWM: 0");
        let peak: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        let is_kept = |path: &Path| {
            fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("memfd:xget"))
        };
        let fds = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
        let fds = fds.map(|entry| entry.path());
        let kept = fds.filter(|path| is_kept(path)).filter_map(|path| fs::metadata(path).ok());
        [peak << 10, kept.map(|file| file.blocks() as usize * 512).sum()]
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn assert_whole(site: &Site, (bytes, status, said): (Vec<u8>, i32, String)) {
    assert_eq!(status, 0, "{said}");
    assert!(bytes == *site.file, "{} bytes of {}", bytes.len(), site.file.len());
}

#[test]
fn a_file_comes_whole_and_in_order_and_nothing_beside_it() {
    for len in [0, 5, 33_000, 3 * MIB + 17] {
        let site = Site::new(len);
        assert_whole(&site, site.stream(&[]).end());
        let (_, _, said) = site.stream(&["-q"]).end();
        assert_eq!(said, "");
    }
    let site = Site::new(24 * MIB + 5);
    let spool = site.scratch.dir("spool");
    assert_whole(&site, site.stream(&["--window", "8"]).end());
    assert_whole(&site, site.stream(&["--spool", spool.to_str().unwrap()]).end());
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 0, "nothing is left there");
    // Standard output may be a file.
    let ended = site.fetch(&["-q", "file", "-"]).expect(0);
    assert_eq!(ended.err, "");
}

#[test]
fn memory_is_bounded_however_long_the_file_is() {
    let site = Site::new(96 * MIB);
    let mut client = site.stream(&["--window", "8"]);
    let mut most = [0; 2];
    let mut bytes = Vec::new();
    while bytes.len() < site.file.len() {
        bytes.extend(client.read(MIB));
        let now = client.memory();
        most = [most[0].max(now[0]), most[1].max(now[1])];
    }
    let (rest, status, said) = client.end();
    assert_eq!((rest.len(), status), (0, 0), "{said}");
    assert!(bytes == *site.file);
    assert!((MIB..=9 * MIB).contains(&most[1]), "{} bytes are kept", most[1]);
    assert!(most[0] < 40 * MIB, "{} bytes of memory", most[0]);
}

#[test]
fn who_reads_sees_the_end_though_others_are_served_yet() {
    let site = Site::new(8 * MIB);
    for args in [&["--window", "8"][..], &["--spool", "/tmp"]] {
        let mut command = support::proc::xget();
        command.args(["-n", &site.master.addr(), "--linger", "600"]).args(args);
        let mut client = Piped::start({
            command.args(["file", "-"]);
            command
        });
        let begin = client.read(1_000);
        let status = site.master.status().replace('!', ":");
        let addr = status.lines().find_map(|line| line.split_whitespace().next()?.parse().ok());
        let addr: std::net::SocketAddr = addr.unwrap();
        // Whoever is connected is waited for.
        let _child = Reader::attach(addr, "").unwrap();
        let mut rest = Vec::new();
        client.out.take().unwrap().read_to_end(&mut rest).unwrap();
        assert!([begin, rest].concat() == *site.file);
        assert!(client.child.try_wait().unwrap().is_none(), "others are served");
    }
}

#[test]
fn standard_output_that_is_closed_is_status_6() {
    let site = Site::new(1_000);
    let dest = site.scratch.join("dest");
    // Who writes nothing there does not need it.
    for (dest, status) in [("-", 6), (dest.to_str().unwrap(), 0)] {
        let program = site.master.client(["file", dest]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(program.get_program());
        let ended = Proc::start(
            {
                shell.args(program.get_args());
                shell
            },
            &site.scratch,
        )
        .wait();
        let ended = ended.expect(status);
        if status == 6 {
            ended.says("cannot open standard output");
        }
    }
}

#[test]
fn a_device_is_not_written_as_if_it_were_a_pipe() {
    let site = Site::new(1_000);
    let Some(device) = LoopDevice::filled(&site.scratch.join("disk"), 4 * MIB, 7) else { return };
    let open = fs::OpenOptions::new().write(true).open(&device.path).unwrap();
    let mut command = site.master.client(["file", "-"]);
    command.stdout(open).stderr(Stdio::piped());
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("block device") && said.contains(device.as_str()), "{said}");
    assert!(fs::read(site.scratch.join("disk")).unwrap().iter().all(|byte| *byte == 7));
}

#[test]
fn a_terminal_is_not_written() {
    let site = Site::new(1_000);
    let pty = nix::pty::openpty(None, None).unwrap();
    let mut command = site.master.client(["file", "-"]);
    let ended = command.stdout(pty.slave).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("standard output is a terminal"), "{said}");
}

#[test]
fn one_that_is_interrupted_says_that_it_begins_anew() {
    let site = Site::new(16 * MIB);
    for args in [&["--window", "8"][..], &["--spool", "/tmp"]] {
        let mut client = site.stream(args);
        client.read(1_000);
        let pid = nix::unistd::Pid::from_raw(client.child.id() as i32);
        nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        let (_, status, said) = client.end();
        assert_eq!(status, 1, "{said}");
        assert!(said.contains("and what reads it, begin anew"), "{said}");
    }
}

#[test]
fn a_pipe_that_nobody_reads_any_more_is_status_6() {
    let site = Site::new(16 * MIB);
    let mut client = site.stream(&[]);
    assert!(client.read(1_000) == site.file[..1_000]);
    client.out = None;
    let (_, status, said) = client.end();
    assert_eq!(status, 6, "{said}");
    assert!(said.contains("nobody reads standard output any more"), "{said}");
}

#[test]
fn one_who_goes_while_nothing_comes_is_seen_as_well() {
    let site = Site::new(16 * MIB);
    let way = Throttle::start(site.master.port, 300_000);
    let mut command = support::proc::xget();
    command.args(["-n", &way.addr(), "--linger", "0", "file", "-"]);
    let mut client = Piped::start(command);
    client.read(1_000);
    client.out = None;
    let (_, status, said) = client.end();
    assert_eq!(status, 6, "{said}");
}

#[test]
fn a_reader_that_stands_still_holds_up_nobody_and_gets_all_in_the_end() {
    let site = Site::new(40 * MIB);
    let mut still = site.stream(&["--window", "8"]);
    let begin = still.read(MIB);
    let others: Vec<Piped> = (0..3).map(|_| site.stream(&["--window", "8"])).collect();
    let ends: Vec<_> = others.into_iter().map(|other| thread::spawn(|| other.end())).collect();
    for end in ends {
        assert_whole(&site, end.join().unwrap());
    }
    let dest = site.scratch.join("dest");
    site.fetch(&["file", dest.to_str().unwrap()]).expect(0);
    assert!(still.child.try_wait().unwrap().is_none(), "it waits");
    let [_, kept] = still.memory();
    assert!(kept <= 9 * MIB, "{kept}");
    let (rest, status, said) = still.end();
    assert_eq!(status, 0, "{said}");
    assert!([begin, rest].concat() == *site.file);
}

/// With a full window nothing else happens meanwhile.
#[test]
fn that_nobody_reads_is_said_after_a_minute() {
    let site = Site::new(40 * MIB);
    let err = site.scratch.join("err");
    let mut command = site.master.client(["--window", "8", "file", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(&err).unwrap());
    let mut child = command.spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let began = Instant::now();
    out.read_exact(&mut vec![0; MIB]).unwrap();
    let says = || fs::read_to_string(&err).unwrap().contains("has taken nothing for 6");
    until("it is said", 120, says);
    assert!(began.elapsed().as_secs() >= 60, "and not before");
    drop(out);
    assert_eq!(child.wait().unwrap().code(), Some(6));
}

#[test]
fn what_was_written_when_the_master_died_is_right() {
    let site = Site::new(32 * MIB);
    let way = Throttle::start(site.master.port, 8_000_000);
    let mut command = support::proc::xget();
    command.args(["-n", &way.addr(), "-r", "1", "--linger", "0", "file", "-"]);
    let mut client = Piped::start(command);
    let begin = client.read(2 * MIB);
    site.master.proc.signal(Signal::SIGKILL);
    way.cut();
    let (rest, status, said) = client.end();
    assert_eq!(status, 3, "{said}");
    let written = [begin, rest].concat();
    assert!(written.len() < site.file.len() && site.file.starts_with(&written));
}

#[test]
fn on_links_of_their_own_one_copy_leaves_the_master_and_slow_readers_hold_up_nobody() {
    let Some([fast, slow, copies]) = on_links(8, 2, 32, "8") else { return };
    println!("fast {fast:.2} s, slow {slow:.2} s, {copies:.2} copies");
    let wire = (32 * MIB) as f64 / 12_500_000.0;
    // Other tests run beside it.
    assert!(fast < 2.0 * wire, "{fast:.2} s of {wire:.2} s");
    assert!(slow < 6.0 * wire && copies < 3.0, "{slow:.2} s, {copies:.2} copies");
}

/// XGET_STREAM="31 10 256 32": nodes, slow ones of them, MiB, window.
#[test]
#[ignore = "figures of many nodes"]
fn figures() {
    let words = std::env::var("XGET_STREAM").unwrap_or("31 0 256 32".into());
    let words: Vec<&str> = words.split(' ').collect();
    let number = |at: usize| words[at].parse().unwrap();
    let wire = (number(2) * MIB) as f64 / 12_500_000.0;
    let Some([fast, slow, copies]) = on_links(number(0), number(1), number(2), words[3]) else {
        return;
    };
    println!(
        "{words:?}: fast {fast:.2} s, {:.3} wire times; slow {slow:.2} s; {copies:.2} copies",
        fast / wire
    );
}

/// A way to a master on which one byte in the middle of each so many is another.
fn damaged(to: u16, from: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let passed = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { return };
            let (mut up, mut up_to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut up, &mut up_to));
            let (mut down, mut down_to, passed) = (far, near, passed.clone());
            thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(len @ 1..) = down.read(&mut buffer) {
                    // So much at once are the bytes of pieces, but for a few.
                    if passed.fetch_add(len as u64, Ordering::Relaxed) > from && len > 20_000 {
                        buffer[len / 2] ^= 1;
                    }
                    if std::io::Write::write_all(&mut down_to, &buffer[..len]).is_err() {
                        return;
                    }
                }
                let _ = down_to.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    port
}

#[test]
fn a_wrong_piece_is_not_written() {
    let site = Site::new(16 * MIB);
    let port = damaged(site.master.port, 2 << 20);
    let mut command = support::proc::xget();
    let master = format!("127.0.0.1:{port}");
    command.args(["-n", &master, "-r", "1", "--linger", "0", "file", "-"]);
    let (bytes, status, said) = Piped::start(command).end();
    assert_eq!(status, 5, "{said}");
    assert!(bytes.len() < site.file.len() && site.file.starts_with(&bytes), "{}", bytes.len());
}

#[test]
fn several_stream_from_each_other() {
    let site = Site::new(32 * MIB);
    let clients: Vec<Piped> = (0..6)
        .map(|_| {
            let args = ["--window", "8", "file", "-"];
            let mut command = support::proc::xget();
            command.args(["-n", &site.master.addr()]).args(args);
            Piped::start(command)
        })
        .collect();
    let ends: Vec<_> = clients.into_iter().map(|client| thread::spawn(|| client.end())).collect();
    for end in ends {
        assert_whole(&site, end.join().unwrap());
    }
}

/// What came of nodes that stream over links of 100 Mbit/s into `sha256sum`, some of them at half
/// the rate: times in seconds, of those that read fast and of the others, and copies of the master.
fn on_links(nodes: usize, slow: usize, mib: usize, window: &str) -> Option<[f64; 3]> {
    let lab = Lab::new(nodes + 1)?;
    lab.shape(100);
    let scratch = Scratch::in_memory();
    let source = scratch.dir("source");
    let file = noise(7, mib * MIB);
    fs::write(source.join("file"), &file).unwrap();
    let sum = blake3::hash(&file).to_string();
    let master = lab.on(0, || Master::on(PORT, &scratch, &source, &[]));
    until("the master serves", 60, || master.proc.out().contains(" serving "));
    let sent_before = lab.sent_bytes(0);
    let start = |node: usize| {
        let mut command = support::proc::xget();
        let to = format!("{}:{PORT}", Lab::ip(0));
        command.args(["-n", &to, "--window", window, "file", "-"]);
        let is_slow = node <= slow;
        let mut piped = lab.on(node, || Piped::start(command));
        thread::spawn(move || {
            let began = Instant::now();
            let mut hasher = blake3::Hasher::new();
            let mut buffer = vec![0; 64 << 10];
            let mut out = piped.out.take().unwrap();
            while let Ok(len @ 1..) = out.read(&mut buffer) {
                hasher.update(&buffer[..len]);
                if is_slow {
                    // Half of what the link brings.
                    thread::sleep(Duration::from_nanos(len as u64 * 1_000 / 6_250 * 1_000));
                }
            }
            let seconds = began.elapsed().as_secs_f64();
            let (_, status, said) = piped.end();
            assert_eq!(status, 0, "{said}");
            (is_slow, seconds, hasher.finalize().to_string())
        })
    };
    let ends: Vec<_> = (1..=nodes).map(start).collect();
    let mut worst = [0.0_f64; 2];
    for end in ends {
        let (is_slow, seconds, found) = end.join().unwrap();
        assert_eq!(found, sum);
        worst[usize::from(is_slow)] = worst[usize::from(is_slow)].max(seconds);
    }
    let copies = (lab.sent_bytes(0) - sent_before) as f64 / file.len() as f64;
    Some([worst[0], worst[1], copies])
}

#[test]
fn what_makes_no_sense_for_a_pipe_is_said_before_anything_is_written() {
    let site = Site::new(1_000);
    let two = site.scratch.dir("two");
    fs::write(two.join("file"), b"file").unwrap();
    fs::write(two.join("more"), b"more").unwrap();
    let of_two = Master::start(&site.scratch, &two, &[]);
    let ended = of_two
        .fetch(&site.scratch, [".", "-"])
        .expect(4)
        .says("takes one file, and the source has 2");
    assert_eq!(ended.out, "");
    std::os::unix::fs::symlink("file", two.join("link")).unwrap();
    fs::remove_file(two.join("more")).unwrap();
    let changed = Master::start(&site.scratch, &two, &[]);
    let fetch = |source: &str| changed.fetch(&site.scratch, [source, "-"]).expect(4);
    fetch(".").says("takes one file, and the source has 2 entries");
    fetch("link").says("link is a symlink: name what it leads to");
    site.fetch(&["nothing", "-"]).expect(4);
    let sum = format!("sha256:{}", "00".repeat(32));
    for args in [
        &["file", "more", "-"][..],
        &["--digest", &sum, "file", "-"],
        &["--delete", "file", "-"],
        &["--fsync", "file", "-"],
        &["--force", "file", "-"],
        &["--window", "8", "--spool", "/tmp", "file", "-"],
        &["--window", "7", "file", "-"],
        &["--window", "8", "file", "dest"],
        &["--spool", "/tmp", "file", "dest"],
    ] {
        let ended = site.fetch(args).expect(2);
        assert_eq!(ended.out, "", "{args:?}");
    }
    let wrong = format!("blake3:{}", "00".repeat(32));
    let ended = site.fetch(&["--digest", &wrong, "file", "-"]).expect(5);
    assert_eq!(ended.out, "");
    site.fetch(&["--spool", "/nowhere", "file", "-"]).expect(6).says("/nowhere");
    // A directory of that name.
    let dir = site.scratch.dir("here");
    let mut command = site.master.client(["file", "./-"]);
    command.current_dir(&dir);
    Proc::start(command, &site.scratch).wait().expect(0);
    assert_eq!(fs::read(dir.join("-/file")).unwrap(), *site.file);
}

#[test]
fn a_window_that_memory_has_no_room_for_is_status_6_before_the_first_byte() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::File::create(source.join("file")).unwrap().set_len(200 << 20).unwrap();
    let master = Master::start(&scratch, &source, &[]);
    let fetch = |window: &str| {
        let mut command = Command::new("sh");
        // In KiB; a window takes no more than half of it.
        command.args(["-c", "ulimit -v 300000 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_xget")]);
        command.args(["-n", &master.addr(), "--linger", "0", "--window", window, "file", "-"]);
        Piped::start(command).end()
    };
    let (bytes, status, said) = fetch("200");
    assert_eq!((bytes.len(), status), (0, 6), "{said}");
    assert!(said.contains("a window of 200 MiB is too much for the "), "{said}");
    assert!(said.contains("--spool"), "{said}");
    let (bytes, status, said) = fetch("8");
    assert_eq!((bytes.len(), status), (200 << 20, 0), "{said}");
}

#[test]
fn a_spool_without_room_is_status_6_before_the_first_byte() {
    if !support::mounts::have_own_mounts() {
        return;
    }
    let site = Site::new(4 * MIB);
    let spool = site.scratch.dir("spool");
    let _mounted = support::mounts::mount_memory(&spool, "size=1m");
    let ended = site.fetch(&["--spool", spool.to_str().unwrap(), "file", "-"]).expect(6);
    assert_eq!(ended.out, "");
    ended.says("has no room for");
}
