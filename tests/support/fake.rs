//! Peers that behave as badly as they are told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A slow way to a master: so many bytes a second come back from it.
pub struct Throttle {
    port: u16,
    passed: Arc<AtomicU64>,
}

fn copy(mut from: TcpStream, mut to: TcpStream, rate: Option<u64>, passed: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
        if let Some(rate) = rate {
            passed.fetch_add(len as u64, Ordering::Relaxed);
            thread::sleep(Duration::from_nanos(len as u64 * 1_000_000_000 / rate));
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

impl Throttle {
    pub fn start(to: u16, bytes_per_second: u64) -> Throttle {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let passed = Arc::new(AtomicU64::new(0));
        let counter = passed.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { return };
                let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (up, down) = (counter.clone(), counter.clone());
                thread::spawn(move || copy(near, far, None, up));
                thread::spawn(move || copy(far2, near2, Some(bytes_per_second), down));
            }
        });
        Throttle { port, passed }
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn passed_bytes(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}
