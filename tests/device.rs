//! A block device as the destination: whole and nothing beside it, refused when it is in use,
//! resumed, and every fault of it told with its place. On loop devices.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod support;

use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::Path;
use std::process::Command;
use support::fake::Throttle;
use support::mounts::{LoopDevice, have_own_mounts, mount_memory, run};
use support::proc::{Ended, Master, Proc, XGET, command};
use support::reader::Reader;
use support::{Scratch, lacks, noise, until};

const MIB: usize = 1 << 20;
const PIECE: usize = 32 << 10;
/// What devices had before.
const OLD: u8 = 0xa5;

/// An image of so many MiB and some bytes, each second MiB of which is a hole.
fn make_image(at: &Path, mib: usize) -> Vec<u8> {
    let mut image = vec![0; mib * MIB + 1234];
    for part in (0..mib).step_by(2) {
        image[part * MIB..][..MIB].copy_from_slice(&noise(part as u64 + 1, MIB));
    }
    let end = image.len();
    image[end - 1000..].copy_from_slice(&noise(99, 1000));
    let file = File::create(at).unwrap();
    file.set_len(image.len() as u64).unwrap();
    for part in (0..mib).step_by(2) {
        file.write_all_at(&image[part * MIB..][..MIB], (part * MIB) as u64).unwrap();
    }
    file.write_all_at(&image[end - 1000..], end as u64 - 1000).unwrap();
    image
}

struct Rack {
    scratch: Scratch,
    image: Vec<u8>,
    master: Master,
    disk: LoopDevice,
}

impl Rack {
    /// A master of an image, and a device that is a MiB longer.
    fn new(mib: usize) -> Option<Rack> {
        let scratch = Scratch::new();
        let source = scratch.dir("source");
        let image = make_image(&source.join("disk.img"), mib);
        let disk = LoopDevice::filled(&scratch.join("disk"), (mib + 2) * MIB, OLD)?;
        let master = Master::start(&scratch, &source, &[]);
        Some(Rack { scratch, image, master, disk })
    }

    fn args<'a>(&'a self, options: &[&'a str]) -> Vec<&'a str> {
        [options, &["disk.img", self.disk.as_str()]].concat()
    }

    fn fetch(&self, options: &[&str]) -> Ended {
        self.master.fetch(&self.scratch, self.args(options))
    }

    fn on_device(&self) -> Vec<u8> {
        fs::read(&self.disk.path).unwrap()
    }

    #[track_caller]
    fn assert_whole(&self) {
        let (device, len) = (self.on_device(), self.image.len());
        assert!(device[..len] == self.image[..], "the image");
        assert!(device[len..].iter().all(|byte| *byte == OLD), "behind it");
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert!(self.on_device().iter().all(|byte| *byte == OLD));
    }
}

#[test]
fn an_image_is_on_the_device_with_its_holes_and_nothing_beside_it() {
    let Some(rack) = Rack::new(16) else { return };
    let ended = rack.fetch(&["--verify"]).expect(0);
    rack.assert_whole();
    let moved = ended.moved();
    assert!(moved < 8.5 * MIB as f64, "holes do not travel: {moved}");
    // A second one moves what differs, and that is where somebody wrote.
    let device = File::options().write(true).open(&rack.disk.path).unwrap();
    device.write_all_at(&noise(7, 3 * PIECE), 5 * PIECE as u64).unwrap();
    device.write_all_at(b"x", (3 * MIB) as u64).unwrap();
    let told = rack.fetch(&["--dry-run"]).expect(0);
    let wanted = format!("{} of {} bytes differ", 4 * PIECE, rack.image.len());
    told.says(&wanted).says(&format!("changed {} disk.img", rack.image.len()));
    let moved = rack.fetch(&[]).expect(0).moved();
    rack.assert_whole();
    assert!(moved < 6.0 * PIECE as f64, "{moved}");
    assert!(rack.fetch(&["--dry-run"]).expect(0).out.is_empty(), "nothing differs");
}

#[test]
fn a_discard_gives_the_holes_and_the_rest_back_to_the_device() {
    let Some(rack) = Rack::new(16) else { return };
    rack.fetch(&["--discard", "--verify"]).expect(0);
    let (device, len) = (rack.on_device(), rack.image.len());
    assert!(device[..len] == rack.image[..]);
    run(Command::new("sync").arg("-f").arg(rack.scratch.join("disk")));
    let blocks = fs::metadata(rack.scratch.join("disk")).unwrap().blocks() as usize;
    assert!(blocks * 512 < 9 * MIB, "{blocks} blocks of 512 bytes are kept");
}

#[test]
fn a_link_leads_to_the_device_and_a_file_or_a_directory_is_none() {
    let Some(rack) = Rack::new(2) else { return };
    let link = rack.scratch.join("by-id");
    symlink(&rack.disk.path, &link).unwrap();
    let fetch = |args: &[&str]| rack.master.fetch(&rack.scratch, args);
    fetch(&["disk.img", link.to_str().unwrap()]).expect(0);
    rack.assert_whole();
    let file = rack.scratch.join("disk");
    let ended = fetch(&["disk.img", file.to_str().unwrap()]).expect(6);
    ended.says("it is not a directory; DEST is a directory").says("or a block device");
    let dir = rack.scratch.dir("dir");
    for option in ["--verify", "--discard", "--force"] {
        let ended = fetch(&[option, "disk.img", dir.to_str().unwrap()]).expect(2);
        ended.says(option).says("is for a DEST that is a block device");
    }
}

#[test]
fn what_makes_no_sense_for_a_device_is_said_before_anything_is_written() {
    let Some(rack) = Rack::new(2) else { return };
    fs::write(rack.scratch.join("patterns"), "a\n").unwrap();
    let patterns = rack.scratch.join("patterns");
    let scratch = rack.scratch.join("");
    let (patterns, scratch) = (patterns.to_str().unwrap(), scratch.to_str().unwrap());
    let cases: [&[&str]; 7] = [
        &["--window", "8"],
        &["--spool", scratch],
        &["--delete"],
        &["--worker"],
        &["--keep-dirs"],
        &["--keep", patterns],
        &["--copy-dest", scratch],
    ];
    for options in cases {
        rack.fetch(options).expect(2).says(options[0]).says("does nothing for a device");
    }
    let source = rack.scratch.join("source");
    fs::write(source.join("other"), b"more").unwrap();
    fs::write(source.join("empty"), b"").unwrap();
    let device = rack.disk.as_str();
    let master = Master::start(&rack.scratch, &source, &[]);
    for (sources, status, words) in [
        (&["disk.img", "other"][..], 2, "a device takes one SRC"),
        (&["."], 4, "a device takes one file, and the source has 3 entries"),
        (&["empty"], 4, "empty is empty"),
    ] {
        let args = [sources, &[device]].concat();
        master.fetch(&rack.scratch, args).expect(status).says(words);
    }
    rack.assert_untouched();
    rack.fetch(&["--fsync", "-s"]).expect(0);
}

#[test]
fn a_device_that_is_too_small_is_status_6_before_the_first_byte() {
    let Some(rack) = Rack::new(4) else { return };
    let path = rack.scratch.join("small");
    let Some(small) = LoopDevice::filled(&path, 4 * MIB, OLD) else { return };
    let ended = rack.master.fetch(&rack.scratch, ["disk.img", small.as_str()]).expect(6);
    let sizes = format!("it has {} bytes, and disk.img has {}", 4 * MIB, rack.image.len());
    ended.says("too small").says(&sizes);
    assert!(fs::read(&small.path).unwrap().iter().all(|byte| *byte == OLD));
}

/// It would be a directory with the image in it, in the memory of the machine.
#[test]
fn a_device_that_is_not_there_is_status_6_and_no_directory() {
    let Some(rack) = Rack::new(2) else { return };
    let link = rack.scratch.join("link to dev");
    symlink("/dev", &link).unwrap();
    let near = format!("{}-misspelt", rack.disk.as_str());
    let (below, linked) = (format!("{near}/by-id/x"), format!("{}/xget-misspelt", link.display()));
    let fetch = |args: &[&str]| rack.master.fetch(&rack.scratch, args);
    for path in [&near, &below, &linked, &format!("{near}/")] {
        for options in [&[][..], &["--verify"], &["--dry-run"]] {
            let ended = fetch(&[options, &["disk.img", path]].concat()).expect(6);
            ended.says("there is no such device").says(path);
        }
        assert!(!Path::new(path).exists());
    }
    // What is in memory on purpose.
    let memory = format!("/dev/shm/xget-test-{}", std::process::id());
    let ended = fetch(&["disk.img", &memory]);
    let there = fs::read(Path::new(&memory).join("disk.img"));
    fs::remove_dir_all(&memory).unwrap();
    ended.expect(0);
    assert!(there.unwrap() == rack.image);
}

#[test]
fn a_read_only_device_is_status_6_before_the_first_byte() {
    if lacks(&["blockdev"]) {
        return;
    }
    let Some(rack) = Rack::new(4) else { return };
    run(Command::new("blockdev").arg("--setro").arg(&rack.disk.path));
    for options in [&[][..], &["--force"]] {
        let ended = rack.fetch(options).expect(6).says("is read-only; nothing was written");
        assert!(!ended.err.contains("not whole"), "{}", ended.err);
    }
    rack.fetch(&["--dry-run"]).expect(0).says("bytes differ");
    run(Command::new("blockdev").arg("--setrw").arg(&rack.disk.path));
    rack.assert_untouched();
    rack.fetch(&[]).expect(0);
}

#[test]
fn a_mounted_device_is_refused_unless_forced() {
    if !have_own_mounts() || lacks(&["mkfs.ext4"]) {
        return;
    }
    let Some(rack) = Rack::new(4) else { return };
    run(Command::new("mkfs.ext4").arg("-q").arg(&rack.disk.path));
    let at = rack.scratch.dir("mounted here");
    run(Command::new("mount").args(["-o", "ro"]).arg(&rack.disk.path).arg(&at));
    let was = rack.on_device();
    let name = rack.disk.path.file_name().unwrap().to_str().unwrap();
    let words = format!("{name} is mounted at {}", at.display());
    rack.fetch(&[]).expect(6).says("is in use").says(&words).says("--force");
    assert!(rack.on_device() == was, "written to");
    rack.fetch(&["--dry-run"]).expect(0).says("bytes differ");
    assert!(rack.on_device() == was, "written to");
    rack.fetch(&["--force"]).expect(0).says(&words).says("though it is in use");
    let device = rack.on_device();
    run(Command::new("umount").arg(&at));
    assert!(device[..rack.image.len()] == rack.image[..]);
}

#[test]
fn swap_is_refused() {
    if lacks(&["mkswap", "swapon", "swapoff"]) {
        return;
    }
    let Some(rack) = Rack::new(2) else { return };
    run(Command::new("mkswap").arg(&rack.disk.path));
    let was = rack.on_device();
    run(Command::new("swapon").arg(&rack.disk.path));
    let ended = rack.fetch(&[]);
    run(Command::new("swapoff").arg(&rack.disk.path));
    ended.expect(6).says("is in use").says("is swap");
    assert!(rack.on_device() == was, "written to");
}

/// A fetch of a device through a link so slow that it is in the middle for long.
fn slow_fetch(rack: &Rack, line: &Throttle) -> Proc {
    let mut command = support::proc::xget();
    command.args(["-n", &line.addr(), "-r", "0", "--linger", "0"]).args(rack.args(&[]));
    let client = Proc::start(command, &rack.scratch);
    until("it is in the middle", 30, || line.passed_bytes() > 2 * MIB as u64);
    client
}

#[test]
fn one_that_was_killed_goes_on_and_two_at_once_are_refused() {
    let Some(rack) = Rack::new(64) else { return };
    let line = Throttle::start(rack.master.port, 2 * MIB as u64);
    // The second waits for 3 s: there are 15 s of it.
    let client = slow_fetch(&rack, &line);
    rack.fetch(&[]).expect(6).says("waiting for").says("is in use").says("an xget");
    rack.fetch(&["--force", "-q"]).expect(6).says("is locked (flock)");
    let waiting = Proc::start(rack.master.client(rack.args(&[])), &rack.scratch);
    until("it waits", 10, || waiting.err().contains("waiting for"));
    waiting.signal(Signal::SIGTERM);
    waiting.wait().expect(1).says("interrupted; nothing was written").within(3);
    client.signal(Signal::SIGKILL);
    client.wait().expect(128 + 9);
    let moved = rack.fetch(&["--verify"]).expect(0).moved();
    rack.assert_whole();
    assert!(moved < 31.0 * MIB as f64, "what was there is moved again: {moved}");
}

#[test]
fn one_that_is_interrupted_says_that_the_device_is_not_whole() {
    let Some(rack) = Rack::new(16) else { return };
    let line = Throttle::start(rack.master.port, 2 * MIB as u64);
    let client = slow_fetch(&rack, &line);
    client.signal(Signal::SIGTERM);
    let words = format!("{} is not whole", rack.disk.as_str());
    client.wait().expect(1).says(&words).says("goes on with it");
    rack.fetch(&[]).expect(0);
    rack.assert_whole();
}

/// A device whose medium is full long before its end: as a worn one, it takes what it is given
/// and fails to keep it.
#[test]
fn what_the_medium_does_not_take_is_status_6_with_the_place() {
    if !have_own_mounts() {
        return;
    }
    let Some(rack) = Rack::new(16) else { return };
    let memory = rack.scratch.dir("memory");
    let _memory = mount_memory(&memory, "size=4m");
    let path = memory.join("disk");
    File::create(&path).unwrap().set_len(18 * MIB as u64).unwrap();
    let Some(full) = LoopDevice::over(&path) else { return };
    let ended = rack.master.fetch(&rack.scratch, ["disk.img", full.as_str()]).expect(6);
    let ended = ended.says("at offset").says(full.as_str()).says("is not whole");
    let place = ended.err.split("at offset ").nth(1).unwrap();
    let place: usize = place.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    assert!(place.is_multiple_of(PIECE) && place < rack.image.len(), "{}", ended.err);
}

/// It is found out while more comes, and not at the end of what may be hours.
#[test]
fn a_medium_that_takes_nothing_is_found_out_on_the_way() {
    if !have_own_mounts() {
        return;
    }
    let Some(rack) = Rack::new(256) else { return };
    let memory = rack.scratch.dir("memory");
    let _memory = mount_memory(&memory, "size=4m");
    let path = memory.join("disk");
    File::create(&path).unwrap().set_len(257 * MIB as u64).unwrap();
    let Some(full) = LoopDevice::over(&path) else { return };
    let line = Throttle::start(rack.master.port, 30 * MIB as u64);
    let mut command = support::proc::xget();
    command.args(["-n", &line.addr(), "--linger", "0", "disk.img"]).arg(&full.path);
    let ended = Proc::start(command, &rack.scratch).wait().expect(6);
    ended.says("cannot flush it to the medium").says("at offset").says("is not whole");
    let moved = line.passed_bytes() as usize;
    assert!(moved < 120 * MIB, "{moved} bytes were fetched in vain");
}

/// A client under strace(1), for which a system call of its fails.
fn injected(rack: &Rack, inject: &str, options: &[&str]) -> Ended {
    let mut command = command("strace");
    let trace = "trace=fsync,pwrite64,?fork,clone,clone3";
    command.args(["-f", "-qq", "-e", trace, "-e", inject, "-o"]);
    command.arg(rack.scratch.join("trace")).arg(XGET);
    command.args(["-n", &rack.master.addr(), "--linger", "0"]).args(rack.args(options));
    Proc::start(command, &rack.scratch).wait()
}

#[test]
fn a_write_that_fails_is_status_6_with_the_place() {
    if lacks(&["strace"]) {
        return;
    }
    let Some(rack) = Rack::new(8) else { return };
    for errno in ["EIO", "ENXIO", "ENOSPC"] {
        let ended = injected(&rack, &format!("inject=pwrite64:error={errno}:when=3"), &[]);
        ended.expect(6).says("cannot write 32768 bytes at offset").says("is not whole");
    }
    rack.fetch(&[]).expect(0);
    rack.assert_whole();
}

#[test]
fn a_flush_that_fails_is_status_6() {
    if lacks(&["strace"]) {
        return;
    }
    let Some(rack) = Rack::new(4) else { return };
    let ended = injected(&rack, "inject=fsync:error=EIO", &[]).expect(6);
    ended.says("cannot flush it to the medium").says("is not whole");
    rack.fetch(&[]).expect(0);
    rack.assert_whole();
}

/// The page cache has what was written, and the medium has not.
#[test]
fn what_the_medium_has_lost_is_not_taken_for_right() {
    if lacks(&["strace"]) {
        return;
    }
    let Some(rack) = Rack::new(4) else { return };
    rack.fetch(&[]).expect(0);
    rack.assert_whole();
    let path = rack.scratch.join("disk");
    let medium = File::options().write(true).open(&path).unwrap();
    // Nor where there is no process that could wait for the flush.
    let without = || injected(&rack, "inject=?fork,clone,clone3:error=EAGAIN:when=1", &[]);
    for fetch in [&|| rack.fetch(&[]), &without as &dyn Fn() -> Ended] {
        medium.write_all_at(&noise(5, 512), (2 * MIB + 3 * PIECE) as u64 + 512).unwrap();
        let moved = fetch().expect(0).moved();
        assert!(moved > 0.9 * PIECE as f64 && moved < 4.0 * PIECE as f64, "{moved}");
        assert!(fs::read(&path).unwrap()[..rack.image.len()] == rack.image[..], "the medium");
    }
}

/// The medium loses something between the flush and its end, which a strace(1) holds up.
#[test]
fn what_the_medium_has_lost_is_found_by_reading_it_back() {
    if lacks(&["strace"]) {
        return;
    }
    let Some(rack) = Rack::new(4) else { return };
    let mut command = command("strace");
    command.args(["-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:delay_exit=3000000"]);
    command.arg("-o").arg(rack.scratch.join("trace")).arg(XGET);
    command.args(["-n", &rack.master.addr(), "--linger", "0"]).args(rack.args(&["--verify"]));
    let client = Proc::start(command, &rack.scratch);
    let (path, at) = (rack.scratch.join("disk"), 2 * MIB + 3 * PIECE);
    let medium = File::options().read(true).write(true).open(&path).unwrap();
    let mut there = vec![0; PIECE];
    until("it is on the medium", 60, || {
        medium.read_exact_at(&mut there, at as u64).unwrap();
        there == rack.image[at..][..PIECE]
    });
    medium.write_all_at(&noise(5, 512), at as u64 + 512).unwrap();
    let ended = client.wait().expect(6);
    ended.says(&format!("{PIECE} bytes at offset {at}")).says("is not whole");
}

#[test]
fn a_wrong_sha256_is_status_5() {
    let Some(rack) = Rack::new(2) else { return };
    let wrong = format!("sha256:{}", "0".repeat(64));
    rack.fetch(&["--digest", &wrong]).expect(5).says("the master has another image");
    let sum = Command::new("sha256sum").arg(rack.scratch.join("source/disk.img")).output().unwrap();
    let right = format!("sha256:{}", &String::from_utf8(sum.stdout).unwrap()[..64]);
    rack.fetch(&["--digest", &right]).expect(0);
    rack.assert_whole();
}

/// Whether a mount would get it, and udev look at it.
fn is_given_up(device: &LoopDevice) -> bool {
    let mut claim = File::options();
    let claim = claim.read(true).custom_flags(libc::O_EXCL).open(&device.path);
    claim.is_ok_and(|file| file.try_lock().is_ok())
}

#[test]
fn a_device_is_given_up_while_others_are_served_from_it() {
    let Some(rack) = Rack::new(16) else { return };
    let line = Throttle::start(rack.master.port, 2 * MIB as u64);
    let mut command = support::proc::xget();
    command.args(["-n", &line.addr(), "--linger", "60"]).args(rack.args(&[]));
    let mut client = Proc::start(command, &rack.scratch);
    until("it is in the middle", 30, || line.passed_bytes() > MIB as u64);
    assert!(!is_given_up(&rack.disk));
    // Somebody is connected: else it would not stay.
    let status = rack.master.status();
    let port = status.lines().nth(1).and_then(|line| line.split(['!', ' ']).nth(1)).unwrap();
    let _guest = Reader::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    line.open();
    until("it is through", 30, || rack.master.proc.out().contains(" done: "));
    until("it is given up", 10, || is_given_up(&rack.disk));
    assert!(!client.has_ended(), "it serves");
    rack.fetch(&[]).expect(0);
    assert!(!client.has_ended(), "it serves");
    rack.assert_whole();
}

/// Others get it from the device while it is written.
#[test]
fn a_device_is_served_from() {
    let Some(rack) = Rack::new(8) else { return };
    let Some(other) = LoopDevice::filled(&rack.scratch.join("other"), 9 * MIB, OLD) else { return };
    let line = Throttle::start(rack.master.port, 2 * MIB as u64);
    let clients = [&rack.disk, &other].map(|device| {
        let mut command = support::proc::xget();
        command.args(["-n", &line.addr(), "--linger", "60", "disk.img"]).arg(&device.path);
        Proc::start(command, &rack.scratch)
    });
    let ended = clients.map(|client| client.wait().expect(0));
    rack.assert_whole();
    assert!(fs::read(&other.path).unwrap()[..rack.image.len()] == rack.image[..]);
    let from_peers: f64 = ended.iter().map(|ended| ended.figure(" from peers")).sum();
    assert!(from_peers > MIB as f64, "{from_peers}");
}
