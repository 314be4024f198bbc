//! DHCP messages: bytes to values and back.
//!
//! RFC 2131 (layout), 2132 (options), 3396 (long options), 3442 (classless
//! routes), 4578 (architecture, UUID), 4390 (InfiniBand). Knows no state and
//! no time.

use crate::boot::ipconfig;
use std::net::Ipv4Addr;

pub const SERVER_PORT: u16 = 67;
pub const CLIENT_PORT: u16 = 68;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Header up to and with the cookie.
const HEADER_LEN: usize = 240;
/// Some relays drop what is shorter than a BOOTP message (RFC 1542, 2.1).
const MESSAGE_LEN_MIN: usize = 300;
const MESSAGE_LEN_MAX: u16 = 1472;
const BROADCAST: u16 = 0x8000;
const INFINIBAND: u8 = 32;

/// More than these in one reply are ignored.
const ADDRESSES_MAX: usize = 8;
const ROUTES_MAX: usize = 32;
const TEXT_LEN_MAX: usize = 255;

/// Option 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Ack = 5,
    Nak = 6,
}

/// The interface, as DHCP names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// ARPHRD_ number: 1 Ethernet, 32 InfiniBand.
    pub kind: u8,
    pub address: Vec<u8>,
}

/// What a client tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub hardware: Hardware,
    /// SMBIOS UUID, in the order of its text.
    pub uuid: Option<[u8; 16]>,
    /// RFC 4578, 2.1: 0 BIOS, 7 EFI x86-64, 11 EFI ARM64.
    pub architecture: u16,
    /// Option 60.
    pub class: String,
}

/// One route of option 121.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub net: Ipv4Addr,
    pub prefix_len: u8,
    /// `None`: on the link itself.
    pub gateway: Option<Ipv4Addr>,
}

/// What a server grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub prefix_len: u8,
    pub server: Ipv4Addr,
    pub routes: Vec<Route>,
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<String>,
    pub hostname: Option<String>,
    pub mtu: Option<u16>,
    /// Named on purpose, for us: option 224, else 224 within 43.
    pub master: Option<String>,
    /// Who may be the master when nobody is named: next-server, option 66,
    /// the DHCP server itself.
    pub master_guesses: Vec<String>,
    pub lease_s: u32,
    pub renew_s: u32,
    pub rebind_s: u32,
}

/// A reply that concerns this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Offer(Lease),
    Ack(Lease),
    Nak(String),
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    pub kind: Kind,
    pub xid: u32,
    pub secs: u16,
    /// Set while renewing and rebinding (RFC 2131, table 5).
    pub client: Option<Ipv4Addr>,
    /// Option 50, and option 54 with it while requesting.
    pub requested: Option<Ipv4Addr>,
    pub server: Option<Ipv4Addr>,
}

/// Options asked for: 121 before 3 (RFC 3442), ours last.
const WANTED: [u8; 13] = [1, 121, 3, 6, 12, 15, 26, 43, 51, 54, 58, 59, 66];
const SITE_MASTER: u8 = 224;

pub fn encode(query: &Query, identity: &Identity) -> Vec<u8> {
    let hardware = &identity.hardware;
    let infiniband = hardware.kind == INFINIBAND;
    let mut out = vec![0; HEADER_LEN];
    out[0] = 1;
    out[1] = hardware.kind;
    // RFC 4390: no address fits the field; hlen and chaddr are zero.
    if !infiniband {
        let len = hardware.address.len().min(16);
        out[2] = len as u8;
        out[28..28 + len].copy_from_slice(&hardware.address[..len]);
    }
    out[4..8].copy_from_slice(&query.xid.to_be_bytes());
    out[8..10].copy_from_slice(&query.secs.to_be_bytes());
    match query.client {
        Some(address) => out[12..16].copy_from_slice(&address.octets()),
        // An interface without an address cannot be sent to, but shouted at.
        None => out[10..12].copy_from_slice(&BROADCAST.to_be_bytes()),
    }
    out[236..240].copy_from_slice(&COOKIE);
    options(&mut out, query, identity);
    out.resize(out.len().max(MESSAGE_LEN_MIN), 0);
    out
}

fn options(out: &mut Vec<u8>, query: &Query, identity: &Identity) {
    put(out, 53, &[query.kind as u8]);
    // The same as the boot ROM sends, so that the same reservation matches;
    // RFC 4390 wants one for InfiniBand: type 255, an IAID, a DUID-LL.
    let hardware = &identity.hardware;
    let mut id = vec![hardware.kind];
    if hardware.kind == INFINIBAND {
        id = vec![255, 0, 0, 0, 1, 0, 3, 0, INFINIBAND];
    }
    id.extend_from_slice(&hardware.address);
    put(out, 61, &id);
    put(out, 57, &MESSAGE_LEN_MAX.to_be_bytes());
    if let Some(address) = query.requested {
        put(out, 50, &address.octets());
    }
    if let Some(server) = query.server {
        put(out, 54, &server.octets());
    }
    put(out, 60, identity.class.as_bytes());
    put(out, 93, &identity.architecture.to_be_bytes());
    if let Some(uuid) = identity.uuid {
        let mut value = vec![0];
        value.extend_from_slice(&uuid);
        put(out, 97, &value);
    }
    let mut wanted = WANTED.to_vec();
    wanted.push(SITE_MASTER);
    put(out, 55, &wanted);
    out.push(255);
}

fn put(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    let value = &value[..value.len().min(255)];
    out.extend_from_slice(&[code, value.len() as u8]);
    out.extend_from_slice(value);
}

/// Reads a message that answers `xid` of this hardware; anything else is
/// `None`: the port is open to everybody on the wire.
pub fn decode(bytes: &[u8], xid: u32, hardware: &Hardware) -> Option<Reply> {
    if bytes.len() < HEADER_LEN || bytes[0] != 2 || bytes[236..240] != COOKIE {
        return None;
    }
    if bytes[4..8] != xid.to_be_bytes() || !is_for(bytes, hardware) {
        return None;
    }
    let options = Options::collect(bytes);
    match options.get(53)? {
        [2] => lease(bytes, &options).map(Reply::Offer),
        [5] => lease(bytes, &options).map(Reply::Ack),
        [6] => Some(Reply::Nak(options.text(56).unwrap_or_default())),
        _ => None,
    }
}

fn is_for(bytes: &[u8], hardware: &Hardware) -> bool {
    if hardware.kind == INFINIBAND {
        return true;
    }
    let len = hardware.address.len().min(16);
    bytes[28..28 + len] == hardware.address[..len]
}

fn lease(bytes: &[u8], options: &Options) -> Option<Lease> {
    let address = ipv4(&bytes[16..20])?;
    if address.is_unspecified() || address.is_broadcast() || address.is_multicast() {
        return None;
    }
    let server = options.addresses(54).first().copied()?;
    let mask = options.addresses(1).first().and_then(|mask| ipconfig::mask_len(*mask));
    let prefix_len = match mask {
        Some(len) => len,
        None => ipconfig::classful(address).ok()?,
    };
    // BOOTP has no lease time, DHCP must have one (RFC 2131, table 3); as
    // long as can be, if it is missing.
    let lease_s = options.number(51).unwrap_or(u32::MAX);
    let (renew_s, rebind_s) = renewal(lease_s, options.number(58), options.number(59));
    let next_server = ipv4(&bytes[20..24]).filter(|address| !address.is_unspecified());
    let mut master_guesses: Vec<String> = Vec::new();
    let guesses =
        [next_server.map(|next| next.to_string()), options.text(66), Some(server.to_string())];
    for guess in guesses.into_iter().flatten() {
        if !master_guesses.contains(&guess) {
            master_guesses.push(guess);
        }
    }
    Some(Lease {
        address,
        prefix_len,
        server,
        routes: routes(options),
        dns: options.addresses(6),
        domain: options.text(15),
        hostname: options.text(12),
        mtu: options.get(26).and_then(|value| Some(u16::from_be_bytes(value.try_into().ok()?))),
        master: options.text(SITE_MASTER).or_else(|| vendor_master(options.get(43)?)),
        master_guesses,
        lease_s,
        renew_s,
        rebind_s,
    })
}

/// T1 and T2, or half and seven eighths of the lease (RFC 2131, 4.4.5).
fn renewal(lease_s: u32, t1: Option<u32>, t2: Option<u32>) -> (u32, u32) {
    let rebind_s = t2.filter(|t2| *t2 < lease_s).unwrap_or(lease_s - lease_s / 8);
    let renew_s = t1.filter(|t1| *t1 < rebind_s).unwrap_or((lease_s / 2).min(rebind_s));
    (renew_s, rebind_s)
}

/// Option 121 replaces option 3 (RFC 3442).
fn routes(options: &Options) -> Vec<Route> {
    if let Some(routes) = options.get(121).and_then(classless) {
        return routes;
    }
    let gateway = options.addresses(3).first().copied().filter(|gateway| !gateway.is_unspecified());
    let default = gateway.map(|gateway| Route {
        net: Ipv4Addr::UNSPECIFIED,
        prefix_len: 0,
        gateway: Some(gateway),
    });
    default.into_iter().collect()
}

/// Width, significant octets, router; `None` unless it comes out even.
fn classless(mut value: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let Some((&prefix_len, rest)) = value.split_first() {
        let octets_len = usize::from(prefix_len).div_ceil(8);
        if prefix_len > 32 || rest.len() < octets_len + 4 || routes.len() == ROUTES_MAX {
            return None;
        }
        let mut net = [0; 4];
        net[..octets_len].copy_from_slice(&rest[..octets_len]);
        let gateway = ipv4(&rest[octets_len..octets_len + 4])?;
        let gateway = (!gateway.is_unspecified()).then_some(gateway);
        routes.push(Route { net: Ipv4Addr::from(net), prefix_len, gateway });
        value = &rest[octets_len + 4..];
    }
    Some(routes)
}

/// Sub-option 224 within 43. Many servers send PXE's 43 to everybody, so
/// anything that is not such a list is no error.
fn vendor_master(mut value: &[u8]) -> Option<String> {
    while let [code, len, rest @ ..] = value {
        let len = usize::from(*len);
        if *code == 255 || len > rest.len() {
            return None;
        }
        if *code == SITE_MASTER {
            return text(&rest[..len]);
        }
        value = &rest[len..];
    }
    None
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

/// Printable ASCII; servers may end it with zeroes (RFC 2132, 2).
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().rposition(|byte| *byte != 0)? + 1;
    let plain = bytes[..end].iter().all(|byte| byte.is_ascii_graphic());
    (plain && end <= TEXT_LEN_MAX).then(|| String::from_utf8_lossy(&bytes[..end]).into_owned())
}

/// Options by code, several of one code joined (RFC 3396).
struct Options {
    values: Vec<(u8, Vec<u8>)>,
}

impl Options {
    fn collect(bytes: &[u8]) -> Options {
        let mut options = Options { values: Vec::new() };
        options.walk(&bytes[HEADER_LEN..]);
        // Option overload: file (1) and sname (2) hold options too.
        let overload = options.get(52).and_then(|value| value.first().copied()).unwrap_or(0);
        if overload & 1 != 0 {
            options.walk(&bytes[108..236]);
        }
        if overload & 2 != 0 {
            options.walk(&bytes[44..108]);
        }
        options
    }

    fn walk(&mut self, mut bytes: &[u8]) {
        while let Some((&code, rest)) = bytes.split_first() {
            bytes = rest;
            if code == 255 {
                return;
            }
            if code == 0 {
                continue;
            }
            let Some((&len, rest)) = bytes.split_first() else { return };
            if rest.len() < usize::from(len) {
                return;
            }
            let (value, rest) = rest.split_at(usize::from(len));
            self.add(code, value);
            bytes = rest;
        }
    }

    fn add(&mut self, code: u8, value: &[u8]) {
        match self.values.iter_mut().find(|(known, _)| *known == code) {
            Some((_, known)) => known.extend_from_slice(value),
            None => self.values.push((code, value.to_vec())),
        }
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        self.values.iter().find(|(known, _)| *known == code).map(|(_, value)| value.as_slice())
    }

    fn number(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let value = self.get(code).unwrap_or(&[]);
        value.chunks_exact(4).filter_map(ipv4).take(ADDRESSES_MAX).collect()
    }

    fn text(&self, code: u8) -> Option<String> {
        text(self.get(code)?)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn identity() -> Identity {
        Identity {
            hardware: Hardware { kind: 1, address: vec![0x52, 0x54, 0, 0x12, 0x34, 0x56] },
            uuid: Some([0xab; 16]),
            architecture: 7,
            class: "xget:x86_64:2".into(),
        }
    }

    /// A server's message with these raw options.
    pub fn reply(xid: u32, kind: u8, address: [u8; 4], options: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0; HEADER_LEN];
        out[0] = 2;
        out[1] = 1;
        out[2] = 6;
        out[4..8].copy_from_slice(&xid.to_be_bytes());
        out[16..20].copy_from_slice(&address);
        out[28..34].copy_from_slice(&identity().hardware.address);
        out[236..240].copy_from_slice(&COOKIE);
        out.extend_from_slice(&[53, 1, kind]);
        out.extend_from_slice(&options.concat());
        out.push(255);
        out
    }

    fn decoded(bytes: &[u8]) -> Option<Reply> {
        decode(bytes, 7, &identity().hardware)
    }

    fn offered(options: &[&[u8]]) -> Lease {
        let server: &[u8] = &[54, 4, 10, 0, 0, 1];
        let bytes = reply(7, 2, [10, 0, 0, 9], &[&[server], options].concat());
        let Some(Reply::Offer(lease)) = decoded(&bytes) else { panic!("no offer") };
        lease
    }

    #[test]
    fn discover_byte_for_byte() {
        let query = Query {
            kind: Kind::Discover,
            xid: 0x01020304,
            secs: 5,
            client: None,
            requested: None,
            server: None,
        };
        let bytes = encode(&query, &identity());
        assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 5, 0x80, 0]);
        assert_eq!(bytes[12..28], [0; 16]);
        assert_eq!(bytes[28..34], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let options = &bytes[240..];
        assert_eq!(options[..3], [53, 1, 1]);
        assert_eq!(options[3..12], [61, 7, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        assert_eq!(options[12..16], [57, 2, 5, 0xc0]);
        assert_eq!(options[16..18], [60, 13]);
        assert_eq!(options[18..31], *b"xget:x86_64:2");
        assert_eq!(options[31..35], [93, 2, 0, 7]);
        assert_eq!(options[35..38], [97, 17, 0]);
        assert_eq!(options[54..57], [55, 14, 1]);
        assert_eq!(options[69..71], [224, 255]);
        assert!(bytes.len() >= MESSAGE_LEN_MIN);
    }

    #[test]
    fn infiniband_has_no_chaddr_but_an_id() {
        let mut identity = identity();
        identity.hardware = Hardware { kind: 32, address: vec![9; 20] };
        let query = Query {
            kind: Kind::Request,
            xid: 1,
            secs: 0,
            client: None,
            requested: Some([10, 0, 0, 9].into()),
            server: Some([10, 0, 0, 1].into()),
        };
        let bytes = encode(&query, &identity);
        assert_eq!((bytes[1], bytes[2]), (32, 0));
        assert_eq!(bytes[28..44], [0; 16]);
        assert_eq!(bytes[243..249], [61, 29, 255, 0, 0, 0]);
    }

    #[test]
    fn an_offer_with_everything() {
        let lease = offered(&[
            &[1, 4, 255, 255, 254, 0],
            &[3, 4, 10, 0, 0, 254],
            &[6, 8, 10, 0, 0, 3, 10, 0, 0, 4],
            &[12, 4, b'n', b'0', b'7', 0],
            &[15, 3, b'l', b'a', b'b'],
            &[26, 2, 0x23, 0x28],
            &[51, 4, 0, 0, 0, 120],
            &[66, 4, b'h', b'e', b'a', b'd'],
        ]);
        let default = Route {
            net: [0, 0, 0, 0].into(),
            prefix_len: 0,
            gateway: Some([10, 0, 0, 254].into()),
        };
        assert_eq!(lease.address, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(lease.prefix_len, 23);
        assert_eq!(lease.routes, [default]);
        assert_eq!(lease.dns.len(), 2);
        assert_eq!(lease.hostname.as_deref(), Some("n07"));
        assert_eq!(lease.domain.as_deref(), Some("lab"));
        assert_eq!(lease.mtu, Some(9000));
        assert_eq!((lease.lease_s, lease.renew_s, lease.rebind_s), (120, 60, 105));
        assert_eq!(
            (lease.master.clone(), lease.master_guesses),
            (None, vec!["head".to_string(), "10.0.0.1".into()])
        );
    }

    #[test]
    fn master_by_option_224_then_43_then_guesses() {
        let site: &[u8] = &[224, 6, b'h', b'e', b'a', b'd', b':', b'7'];
        let vendor: &[u8] = &[43, 9, 6, 1, 8, 224, 4, b'v', b'e', b'n', b'd'];
        assert_eq!(offered(&[vendor, site]).master.as_deref(), Some("head:7"));
        assert_eq!(offered(&[vendor]).master.as_deref(), Some("vend"));
        assert_eq!(offered(&[&[43, 3, 6, 200, 8]]).master, None);
        assert_eq!(offered(&[&[224, 2, 1, 2]]).master, None);
        let mut bytes = reply(7, 2, [10, 0, 0, 9], &[&[54, 4, 10, 0, 0, 1]]);
        bytes[20..24].copy_from_slice(&[10, 0, 0, 5]);
        let Some(Reply::Offer(lease)) = decoded(&bytes) else { panic!("no offer") };
        assert_eq!(lease.master_guesses, ["10.0.0.5", "10.0.0.1"]);
    }

    #[test]
    fn classless_routes_replace_the_router() {
        let router: &[u8] = &[3, 4, 10, 0, 0, 254];
        let lease = offered(&[router, &[121, 13, 0, 10, 0, 0, 1, 24, 192, 168, 5, 0, 0, 0, 0]]);
        assert_eq!(lease.routes.len(), 2);
        assert_eq!(lease.routes[0].gateway, Some([10, 0, 0, 1].into()));
        let on_link = Route { net: [192, 168, 5, 0].into(), prefix_len: 24, gateway: None };
        assert_eq!(lease.routes[1], on_link);
        // A broken list is no list.
        let lease = offered(&[router, &[121, 3, 33, 1, 1]]);
        assert_eq!(lease.routes[0].gateway, Some([10, 0, 0, 254].into()));
    }

    #[test]
    fn missing_mask_and_odd_times() {
        let lease = offered(&[&[51, 4, 0, 0, 0, 8], &[58, 4, 0, 0, 0, 9], &[59, 4, 0, 0, 0, 99]]);
        assert_eq!((lease.prefix_len, lease.renew_s, lease.rebind_s), (8, 4, 7));
        let lease = offered(&[&[51, 4, 255, 255, 255, 255]]);
        assert!(lease.renew_s < lease.rebind_s && lease.rebind_s < lease.lease_s);
        let zero = offered(&[&[51, 4, 0, 0, 0, 0]]);
        assert_eq!((zero.renew_s, zero.rebind_s), (0, 0));
    }

    #[test]
    fn options_overflow_into_file_and_join() {
        let mut bytes =
            reply(7, 5, [10, 0, 0, 9], &[&[52, 1, 1], &[54, 4, 10, 0, 0, 1], &[12, 2, b'a', b'b']]);
        bytes[108..112].copy_from_slice(&[12, 1, b'c', 255]);
        let Some(Reply::Ack(lease)) = decoded(&bytes) else { panic!("no ack") };
        assert_eq!(lease.hostname.as_deref(), Some("abc"));
    }

    #[test]
    fn what_is_not_for_us_is_not_read() {
        let server: &[u8] = &[54, 4, 10, 0, 0, 1];
        let good = reply(7, 2, [10, 0, 0, 9], &[server]);
        assert!(decoded(&good).is_some());
        let spoilt = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            decoded(&bytes)
        };
        assert_eq!(spoilt(0, 1), None, "a request");
        assert_eq!(spoilt(7, 8), None, "another xid");
        assert_eq!(spoilt(33, 0), None, "another address");
        assert_eq!(spoilt(236, 0), None, "no cookie");
        assert_eq!(decoded(&reply(7, 2, [0, 0, 0, 0], &[server])), None);
        assert_eq!(decoded(&reply(7, 2, [10, 0, 0, 9], &[])), None, "no server");
        assert_eq!(decoded(&reply(7, 8, [10, 0, 0, 9], &[server])), None, "inform");
        let nak = reply(7, 6, [0; 4], &[server, &[56, 2, b'n', b'o']]);
        assert_eq!(decoded(&nak), Some(Reply::Nak("no".into())));
    }

    #[test]
    fn noise_and_every_truncation_are_survived() {
        let good = reply(
            7,
            2,
            [10, 0, 0, 9],
            &[&[54, 4, 10, 0, 0, 1], &[121, 5, 0, 10, 0, 0, 1], &[43, 2, 224, 9]],
        );
        for len in 0..good.len() {
            decoded(&good[..len]);
        }
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let at = 236 + (state >> 33) as usize % (bytes.len() - 236);
                bytes[at] = (state >> 24) as u8;
            }
            decoded(&bytes);
        }
    }
}
