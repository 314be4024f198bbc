//! How many connections there are at a time, of whom, and which one gives way when all
//! places are taken.
//!
//! Who comes is never kept waiting: of the address with most connections the one that has been
//! idle for longest is closed. So who holds many places loses them first. Knows nothing of
//! what is said on a connection.

use std::collections::BTreeMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 256;
/// Of one address; boot programs have one or two.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 8;

#[derive(Default)]
pub struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    next: u64,
    held: BTreeMap<u64, Held>,
}

struct Held {
    from: IpAddr,
    moved: Instant,
    /// The same connection: closing it wakes who waits for it.
    stream: TcpStream,
}

/// A connection's place, until it is dropped.
pub struct Place {
    places: Arc<Places>,
    id: u64,
}

impl Places {
    /// A place for a connection, and who had to give way for it; nothing where the address has
    /// as many as it may have.
    pub fn take(
        places: &Arc<Places>,
        from: IpAddr,
        stream: TcpStream,
    ) -> Option<(Place, Option<IpAddr>)> {
        let mut taken = places.lock();
        if taken.count(from) >= CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        let gave_way = if taken.held.len() >= CONNECTIONS_MAX { taken.make_room() } else { None };
        let id = taken.next;
        taken.next += 1;
        taken.held.insert(id, Held { from, moved: Instant::now(), stream });
        drop(taken);
        Some((Place { places: Arc::clone(places), id }, gave_way))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn count(&self, from: IpAddr) -> usize {
        self.held.values().filter(|held| held.from == from).count()
    }

    fn make_room(&mut self) -> Option<IpAddr> {
        let mut counts = BTreeMap::<IpAddr, usize>::new();
        for held in self.held.values() {
            *counts.entry(held.from).or_default() += 1;
        }
        let most = *counts.values().max()?;
        let of_most = self.held.iter().filter(|(_, held)| counts.get(&held.from) == Some(&most));
        let id = *of_most.min_by_key(|(_, held)| held.moved)?.0;
        let held = self.held.remove(&id)?;
        // It may have been closed by the other side already.
        let _ = held.stream.shutdown(Shutdown::Both);
        Some(held.from)
    }
}

impl Place {
    /// Something has moved on it.
    pub fn touch(&self) {
        if let Some(held) = self.places.lock().held.get_mut(&self.id) {
            held.moved = Instant::now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().held.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};

    fn address(number: usize) -> IpAddr {
        Ipv4Addr::new(10, 0, (number / 250) as u8, (number % 250) as u8).into()
    }

    #[test]
    fn who_has_most_places_and_rests_longest_gives_way() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let places = Arc::new(Places::default());
        let take = |number: usize| {
            let client = TcpStream::connect(to).unwrap();
            let (server, _) = listener.accept().unwrap();
            let taken = Places::take(&places, address(number), server)?;
            Some((client, taken.0, taken.1))
        };
        // All but one place is held by those who have as many as they may have, or nearly.
        let mut held: Vec<_> =
            (0..CONNECTIONS_MAX - 1).map(|at| take(1 + at / 8).unwrap()).collect();
        assert!(take(1).is_none(), "one address has eight");
        let mut honest = take(1000).unwrap();
        // The first of the first address has moved since, its second has not.
        held[0].1.touch();
        let late = take(2000).unwrap();
        assert_eq!(late.2, Some(address(1)));
        held[1].0.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        assert_eq!(held[1].0.read(&mut [0]).unwrap(), 0, "it hears that it is over");
        for seen in [&mut held[0].0, &mut honest.0] {
            seen.set_nonblocking(true).unwrap();
            assert!(seen.read(&mut [0]).is_err(), "it goes on");
        }
        // Who gave way frees nothing twice.
        drop(held.remove(1));
        assert!(take(3000).unwrap().2.is_some(), "all places are taken");
        drop(held);
        assert!(take(4000).unwrap().2.is_none());
    }
}
