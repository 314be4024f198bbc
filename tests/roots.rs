//! What a boot asks of a fetch: to be held when it is known what is to come, and to go on
//! serving when others may write over it.

#![allow(clippy::unwrap_used)]

mod support;

use peer::failure::{Failure, Status};
use peer::fetch::Progress;
use peer::request::{FetchRequest, Linger};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use support::Scratch;
use support::proc::{Master, Proc};
use xget::{FetchObserver, FetchTask, Fetching, Observer, Turn};

struct Silent;

impl Observer for Silent {
    fn say(&mut self, _: &str) {}
    fn warn(&mut self, _: &str) {}
}

impl FetchObserver for Silent {
    fn turn(&mut self, _: &Progress) -> bool {
        false
    }
}

fn begin(master: &Master, dest: &Path) -> Fetching {
    let request = FetchRequest {
        linger: Linger::Millis(60_000),
        ..FetchRequest::of(vec![b"root/.".to_vec()])
    };
    let masters = vec![SocketAddr::from(([127, 0, 0, 1], master.port))];
    let task = FetchTask::of(masters, request, dest.into());
    let task = FetchTask { hold: true, keep_root_attributes: true, ..task };
    Fetching::begin(task, Silent).unwrap()
}

/// Turns until it is something else than under way.
fn next(fetching: &mut Fetching) -> Turn {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "it does not come to a point");
        match fetching.turn().unwrap() {
            Turn::Running | Turn::InPlace => {}
            turn => return turn,
        }
    }
}

fn served(scratch: &Scratch) -> Master {
    let source = scratch.dir("source");
    fs::create_dir(source.join("root")).unwrap();
    fs::write(source.join("root/file"), "contents").unwrap();
    Master::start(scratch, &source, &[])
}

#[test]
fn nothing_is_written_before_it_was_judged() {
    let scratch = Scratch::new();
    let master = served(&scratch);
    let dest = scratch.join("dest");
    let mut fetching = begin(&master, &dest);
    let Turn::Held(content) = next(&mut fetching) else { panic!("it is not held") };
    assert_eq!(content.manifest.bytes_total(), 8);
    assert!(!dest.exists(), "not even the directory is made");
    fetching.go_on(Err(Failure::fatal(Status::NoSpace, "", "too large")));
    let Turn::Over(failures) = next(&mut fetching) else { panic!("it is not over") };
    assert_eq!((failures.len(), failures[0].status), (1, Status::NoSpace));
    assert!(failures[0].why.contains("too large") && !dest.exists());
}

#[test]
fn what_is_released_is_served_while_others_write_over_it() {
    let scratch = Scratch::new();
    let master = served(&scratch);
    let dest = scratch.join("dest");
    let mut fetching = begin(&master, &dest);
    let Turn::Held(content) = next(&mut fetching) else { panic!("it is not held") };
    // What is made meanwhile is what is fetched into.
    fs::create_dir(&dest).unwrap();
    fetching.go_on(Ok(content));
    // With nobody to serve it is over as soon as it is in place.
    let Turn::Over(failures) = next(&mut fetching) else { panic!("it is not over") };
    assert_eq!(failures, []);
    assert_eq!(fs::read(dest.join("file")).unwrap(), b"contents");
    let layer = || Proc::start(master.client([Path::new("root/."), &dest]), &scratch);
    layer().wait().expect(6);
    fetching.release();
    layer().wait().expect(0);
}
