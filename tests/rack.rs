//! A rack that is burned in: 31 nodes write one image of 1 GiB, half of it holes, to their disks at
//! once, and every byte of every disk is right.
//!
//! The disks are loop devices over files of a file system that compresses, so that they take a
//! few hundred MiB together.

#![allow(clippy::unwrap_used)] // in tests a panic is the report
#![allow(clippy::print_stdout)] // the measurements

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::lab::{Lab, PORT};
use support::mounts::{LoopDevice, have_own_mounts, mount_new};
use support::proc::{Master, Proc, xget};
use support::{Scratch, lacks, noise, until};

const COUNT: usize = 31;
const MIB: usize = 1 << 20;
const SIZE: usize = 1 << 30;
/// Of these stretches every other is a hole.
const STRETCH: usize = 4 * MIB;
/// Disks that had something on them before.
const USED: usize = 2;
/// What the disks take, compressed, and then some.
const ROOM: u64 = 8 << 30;

/// Each 4 KiB is another, and most of it the same: what a disk of zeros, or of an earlier stretch,
/// has not, and what compresses.
fn make_image(at: &Path) {
    let file = File::create(at).unwrap();
    file.set_len(SIZE as u64).unwrap();
    let mut stretch = vec![0x55; STRETCH];
    for (number, at) in (0..SIZE).step_by(2 * STRETCH).enumerate() {
        let seeds = noise(number as u64 + 1, STRETCH / 256);
        for (block, seed) in stretch.chunks_mut(4096).zip(seeds.chunks(16)) {
            block[..16].copy_from_slice(seed);
        }
        file.write_all_at(&stretch, at as u64).unwrap();
    }
}

/// Whether all of them have the image, four at a time.
fn differing(image: &Path, devices: &[LoopDevice]) -> Vec<usize> {
    let mut wrong = Vec::new();
    for (first, some) in devices.chunks(4).enumerate() {
        let compare = |device: &LoopDevice| {
            let mut cmp = Command::new("cmp");
            cmp.arg("-n").arg(SIZE.to_string()).arg(image).arg(&device.path).spawn().unwrap()
        };
        let mut all: Vec<_> = some.iter().map(compare).collect();
        for (nth, cmp) in all.iter_mut().enumerate() {
            if !cmp.wait().unwrap().success() {
                wrong.push(first * 4 + nth);
            }
        }
    }
    wrong
}

#[test]
fn thirty_one_nodes_write_one_image_to_their_disks() {
    let Some(lab) = Lab::new(COUNT + 1) else { return };
    if !have_own_mounts() || lacks(&["cmp"]) {
        return;
    }
    let scratch = Scratch::new();
    let store = scratch.dir("store");
    let options = "loop,compress-force=zstd:1,noatime";
    let pool = scratch.join("pool");
    let Some(_store) = mount_new(&pool, &["mkfs.btrfs", "-q"], ROOM, options, &store) else {
        return;
    };
    let image = scratch.dir("source").join("disk.img");
    make_image(&image);
    let device = |number: usize| {
        let path = store.join(format!("disk{number}"));
        let disk = File::create(&path).unwrap();
        for at in (0..SIZE).step_by(MIB).filter(|_| number < USED) {
            disk.write_all_at(&[0xa5; MIB], at as u64).unwrap();
        }
        disk.set_len(SIZE as u64).unwrap();
        LoopDevice::over(&path).unwrap()
    };
    let devices: Vec<LoopDevice> = (0..COUNT).map(device).collect();
    let master = lab.on(0, || Master::on(PORT, &scratch, scratch.join("source"), &[]));
    master.await_ready();
    let (sent_before, began) = (lab.sent_bytes(0), Instant::now());
    let client = |(number, device): (usize, &LoopDevice)| {
        let mut command = xget();
        command.args(["-n", &Lab::ip(0), "--linger", "1", "disk.img"]).arg(&device.path);
        lab.on(number + 1, || Proc::start(command, &scratch))
    };
    let mut clients: Vec<Proc> = devices.iter().enumerate().map(client).collect();
    until("all are through", 600, || {
        std::thread::sleep(Duration::from_millis(100));
        clients.iter_mut().all(Proc::has_ended)
    });
    let took = began.elapsed();
    let sent_bytes = lab.sent_bytes(0) - sent_before;
    clients.into_iter().for_each(|client| drop(client.wait().expect(0)));
    let copies = sent_bytes as f64 / (SIZE / 2) as f64;
    println!("{COUNT} disks of 1 GiB: {:.1} s, {copies:.2} copies", took.as_secs_f64());
    assert_eq!(differing(&image, &devices), Vec::<usize>::new(), "disks that are not the image");
    // Measured 1.7 and 1.9, on four cores that others used: without limits on the links the disks
    // are what is narrow, and who waits for a parent's asks the master.
    assert!(copies < 3.0, "{copies}");
}
