//! What routers advertised, by link, as the kernel tells it.
//!
//! Kept for the whole boot: routers repeat themselves only after minutes. Refuses
//! to know what follows from it.

use crate::os::netif::{Advertised, RouterWord};
use std::net::Ipv6Addr;

/// Index, flags, name servers.
#[derive(Default)]
pub struct Routers(Vec<(u32, u32, Vec<Ipv6Addr>)>);

impl Routers {
    pub fn hear(&mut self, word: RouterWord) {
        let at = self.0.iter().position(|(index, ..)| *index == word.index);
        let at = at.unwrap_or_else(|| {
            self.0.push((word.index, 0, Vec::new()));
            self.0.len() - 1
        });
        match word.what {
            Advertised::Flags(flags) => self.0[at].1 = flags,
            Advertised::NameServers(servers) => self.0[at].2 = servers,
        }
    }

    /// Flags and name servers of a link.
    pub fn of(&self, index: u32) -> (u32, &[Ipv6Addr]) {
        let found = self.0.iter().find(|(known, ..)| *known == index);
        found.map_or((0, &[]), |(_, flags, servers)| (*flags, servers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::netif::{MANAGED, OTHER};

    #[test]
    fn routers_are_remembered_by_link() {
        let mut routers = Routers::default();
        let server: Ipv6Addr = "fd00::53".parse().unwrap();
        routers.hear(RouterWord { index: 2, what: Advertised::Flags(MANAGED) });
        routers.hear(RouterWord { index: 2, what: Advertised::NameServers(vec![server]) });
        routers.hear(RouterWord { index: 3, what: Advertised::Flags(OTHER) });
        assert_eq!(routers.of(2), (MANAGED, &[server][..]));
        assert_eq!(routers.of(3), (OTHER, &[][..]));
        assert_eq!(routers.of(4), (0, &[][..]));
    }
}
