//! A master's address as people write it, and what it resolves to.

use peer::request::Masters;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The original's port.
pub const MASTER_PORT: u16 = 20004;

/// A master as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Addr(SocketAddr),
    Name(String, u16),
}

/// `host`, `host:port`, `1.2.3.4:port`, `[v6]`, `[v6]:port`, or a bare `v6`.
pub fn parse_host(text: &str, port: u16) -> Result<Host, String> {
    if let Ok(addr) = text.parse::<SocketAddr>()
        && addr.port() > 0
    {
        return Ok(Host::Addr(addr));
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(Host::Addr(SocketAddr::new(ip, port)));
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, digits)) => match digits.parse() {
            Ok(port) if port > 0 => (name, port),
            _ => return Err(format!("{text:?}: {digits:?} is no port")),
        },
        None => (text, port),
    };
    // What is not ASCII may stand in /etc/hosts.
    let plain =
        |byte: u8| !byte.is_ascii() || byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(format!("{text:?} is no host: name, IPv4 or [IPv6] address, and :PORT"));
    }
    Ok(Host::Name(name.into(), port))
}

/// More masters than this in one list are a mistake.
const MASTERS_MAX: usize = 16;

/// `HOST[:PORT][,<next>...]`; the error names the part that is wrong.
pub fn parse_hosts(text: &str, port: u16) -> Result<Vec<Host>, String> {
    let (hosts, why) = first_hosts(text, port)?;
    why.map_or(Ok(hosts), Err)
}

/// The same of who has nobody to ask what was meant: where there are too many, the first of
/// them, and that it is so.
pub fn first_hosts(text: &str, port: u16) -> Result<(Vec<Host>, Option<String>), String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let mut hosts: Vec<Host> =
        parts.map(|part| parse_host(part, port)).collect::<Result<_, _>>()?;
    if hosts.is_empty() {
        return Err("no master is named".into());
    }
    let count = hosts.len();
    hosts.truncate(MASTERS_MAX);
    let why =
        (count > MASTERS_MAX).then(|| format!("{count} masters; at most {MASTERS_MAX} are asked"));
    Ok((hosts, why))
}

/// Once one master is known, names of others are looked up for so long: a resolver that does
/// not answer takes about ten seconds for each, and the fetch waits.
const LOOKUP: Duration = Duration::from_secs(2);

/// Where masters are, each at all of its addresses; those that mean something on one link
/// only are of this one, if it is not 0. What is wrong with a name is said while another is
/// found.
pub fn resolve_all(
    hosts: &[Host],
    link: u32,
    say: &mut dyn FnMut(&str),
) -> Result<Masters, String> {
    let began = Instant::now();
    found_all(hosts, link, say, &mut |host| (resolve(host), began.elapsed()))
}

/// Where a master is, and how long it took until now to look up all.
type LookedUp = (Result<Vec<SocketAddr>, String>, Duration);

/// By what looks one up.
fn found_all(
    hosts: &[Host],
    link: u32,
    say: &mut dyn FnMut(&str),
    look_up: &mut dyn FnMut(&Host) -> LookedUp,
) -> Result<Masters, String> {
    let (mut masters, mut wrong, mut spent) = (Masters::default(), Vec::new(), Duration::ZERO);
    for host in hosts {
        if let Host::Name(name, _) = host
            && spent > LOOKUP
            && masters.addrs_count() > 0
        {
            wrong.push(format!("{name}: not looked up, names take too long here; it is not asked"));
            continue;
        }
        let (found, took) = look_up(host);
        spent = took;
        match found {
            Ok(addrs) => masters.add(addrs.into_iter().map(|addr| scoped(addr, link))),
            Err(why) => wrong.push(why),
        }
    }
    if masters.addrs_count() == 0 {
        return Err(wrong.join("; "));
    }
    wrong.iter().for_each(|why| say(why));
    Ok(masters)
}

/// A link-local address means nothing without its link.
fn scoped(addr: SocketAddr, link: u32) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
            SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, link))
        }
        other => other,
    }
}

/// The addresses of a master as it was written.
pub fn resolve(host: &Host) -> Result<Vec<SocketAddr>, String> {
    match host {
        Host::Addr(addr) => Ok(vec![*addr]),
        Host::Name(name, port) => {
            let found = (name.as_str(), *port).to_socket_addrs();
            let addrs: Vec<SocketAddr> = found
                .map_err(|error| format!("{name}: cannot find its address: {error}"))?
                .collect();
            if addrs.is_empty() { Err(format!("{name} has no address")) } else { Ok(addrs) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_masters_are_parted_by_commas() {
        let addr = |text: &str| Host::Addr(text.parse().unwrap());
        let hosts = parse_hosts("10.0.0.1,[::1]:7, 10.0.0.2:8,", 5).unwrap();
        assert_eq!(hosts, [addr("10.0.0.1:5"), addr("[::1]:7"), addr("10.0.0.2:8")]);
        let masters = resolve_all(&hosts, 0, &mut |why| panic!("{why}")).unwrap();
        assert_eq!(masters.addrs_count(), 3);
        assert!(parse_hosts(",", 5).is_err() && parse_hosts("a,b c", 5).is_err());
        assert_eq!(parse_hosts(&"h,".repeat(MASTERS_MAX), 5).unwrap().len(), MASTERS_MAX);
        let too_many = "h,".repeat(MASTERS_MAX + 1);
        let why = "17 masters; at most 16 are asked";
        assert_eq!(parse_hosts(&too_many, 5), Err(why.into()));
        let (first, said) = first_hosts(&too_many, 5).unwrap();
        assert_eq!((first.len(), said.as_deref()), (MASTERS_MAX, Some(why)));
    }

    #[test]
    fn a_local_address_is_of_the_link() {
        let hosts = parse_hosts("10.0.0.1,fe80::1,10.0.0.1,[fe80::1%9]:5", 7).unwrap();
        let masters = resolve_all(&hosts, 3, &mut |why| panic!("{why}")).unwrap();
        let addrs: Vec<String> = masters.addrs().map(|addr| addr.to_string()).collect();
        assert_eq!(addrs, ["10.0.0.1:7", "[fe80::1%3]:7", "[fe80::1%9]:5"]);
    }

    #[test]
    fn a_name_that_is_not_found_is_said_while_another_is() {
        let (none, one) =
            (Host::Name("nobody.invalid".into(), 5), parse_host("10.0.0.1", 5).unwrap());
        let mut said = Vec::new();
        let masters = resolve_all(&[none.clone(), one], 0, &mut |why| said.push(why.to_string()));
        assert_eq!((masters.unwrap().addrs_count(), said.len()), (1, 1));
        assert!(resolve_all(&[none], 0, &mut |_| {}).unwrap_err().contains("nobody.invalid"));
    }

    #[test]
    fn names_of_spare_masters_hold_a_fetch_for_one_of_them_and_the_first_for_all() {
        let addr = SocketAddr::from(([10, 0, 0, 1], 5));
        let line = "a,b,c,10.0.0.9,d";
        let looked_up = |known: &str| {
            let (mut asked, mut said, mut spent) = (Vec::new(), Vec::new(), Duration::ZERO);
            let hosts = parse_hosts(line, 5).unwrap();
            let masters =
                found_all(&hosts, 0, &mut |why| said.push(why.to_string()), &mut |host| {
                    let name = match host {
                        Host::Addr(addr) => return (Ok(vec![*addr]), spent),
                        Host::Name(name, _) => name.clone(),
                    };
                    asked.push(name.clone());
                    if name == known {
                        return (Ok(vec![addr]), spent);
                    }
                    spent += 5 * LOOKUP;
                    (Err(name), spent)
                });
            (asked.concat(), said.len(), masters.unwrap().addrs_count())
        };
        assert_eq!(looked_up("a"), ("ab".into(), 3, 2));
        assert_eq!(looked_up("c"), ("abc".into(), 3, 2));
    }

    #[test]
    fn hosts_in_all_their_forms() {
        let addr = |text: &str| Ok(Host::Addr(text.parse().unwrap()));
        assert_eq!(parse_host("10.0.0.1", 5), addr("10.0.0.1:5"));
        assert_eq!(parse_host("10.0.0.1:7", 5), addr("10.0.0.1:7"));
        assert_eq!(parse_host("[fe80::1]:7", 5), addr("[fe80::1]:7"));
        assert_eq!(parse_host("[fe80::1]", 5), addr("[fe80::1]:5"));
        assert_eq!(parse_host("fe80::1", 5), addr("[fe80::1]:5"));
        assert_eq!(parse_host("head-1.cluster", 5), Ok(Host::Name("head-1.cluster".into(), 5)));
        for text in ["10.0.0.1:0", "[fe80::1]:0", "he/ad", "he ad", "a@b", "[a]", "h:70000", ""] {
            assert!(parse_host(text, 5).is_err(), "{text}");
        }
    }
}
