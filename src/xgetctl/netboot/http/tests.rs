use super::super::children::Children;
use super::super::log::Log;
use super::*;
use crate::scratch::Scratch;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;

const PAIR: &str = "vmlinuz-0123456789abcdef";

fn get(path: &str) -> Parsed {
    read_request(format!("GET {path} HTTP/1.1\r\nHost: head\r\n\r\n").as_bytes())
}

fn path(parsed: Parsed) -> String {
    match parsed {
        Parsed::Whole(request, _) => request.path,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_are_understood() {
    let bytes = b"HEAD /boot.ipxe?a=b HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET";
    let request = Request { path: "/boot.ipxe".into(), headers_only: true, stays: true };
    assert_eq!(read_request(bytes), Parsed::Whole(request, bytes.len() - 3));
    assert_eq!(path(get("http://head:80/boot.ipxe")), "/boot.ipxe");
    assert_eq!(path(get("http://head")), "/");
    assert_eq!(read_request(b"GET /boot.ip"), Parsed::Partial);
    assert_eq!(read_request(b""), Parsed::Partial);
    let stays = |text: &str| match read_request(text.as_bytes()) {
        Parsed::Whole(request, _) => request.stays,
        other => panic!("{other:?}"),
    };
    assert!(stays("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(!stays("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n"));
    assert!(!stays("GET / HTTP/1.0\r\n\r\n"));
}

#[test]
fn requests_that_are_wrong_have_a_status() {
    let refused = |text: &str| match read_request(text.as_bytes()) {
        Parsed::Refused(status) => status,
        other => panic!("{text:?}: {other:?}"),
    };
    assert_eq!(refused("POST / HTTP/1.1\r\nHost: h\r\n\r\n"), 405);
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"), 400);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    assert_eq!(refused("GET / HTTP/2.0\r\n\r\n"), 505);
    assert_eq!(refused("\x16\x03\x01\x02"), 400);
    assert_eq!(refused(&format!("GET /{}", "x".repeat(REQUEST_LEN_MAX))), 431);
    let many = "a: b\r\n".repeat(HEADERS_MAX + 1);
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{many}\r\n")), 431);
}

struct Served {
    _dir: Scratch,
    address: SocketAddr,
    children: Children,
}

impl Served {
    fn new() -> Served {
        let dir = Scratch::new();
        std::fs::create_dir_all(dir.join("pxelinux.cfg")).unwrap();
        std::fs::write(dir.join("boot.ipxe"), "#!ipxe\n").unwrap();
        std::fs::write(dir.join(PAIR), vec![7; 3 * PART_LEN + 1]).unwrap();
        std::fs::write(dir.join("dnsmasq.conf"), "secret").unwrap();
        std::fs::write(dir.join("vmlinuz-mine"), "secret").unwrap();
        symlink("/etc/passwd", dir.join("initramfs-0123456789abcdef.img")).unwrap();
        std::fs::create_dir(dir.join("vmlinuz-aaaaaaaaaaaaaaaa")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let children = Children::new(Log::new().unwrap().0);
        serve(listener, dir.to_path_buf(), children.voice("http")).unwrap();
        Served { _dir: dir, address, children }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    fn says(&self, request: &str) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn status(&self, path: &str) -> String {
        let bytes = self.says(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        String::from_utf8_lossy(&bytes).split(' ').nth(1).unwrap().into()
    }
}

#[test]
fn files_come_whole_and_a_connection_is_used_again() {
    let mut served = Served::new();
    let mut stream = served.connect();
    let ask =
        format!("GET /{PAIR} HTTP/1.1\r\nHost: h\r\n\r\nHEAD /{PAIR} HTTP/1.1\r\nHost: h\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    stream
        .write_all(b"\r\nGET /boot.ipxe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let len = 3 * PART_LEN + 1;
    let header = |len: usize, kind: &str, connection: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nContent-Type: {kind}\r\n\
             Connection: {connection}\r\n\r\n"
        )
    };
    let large = header(len, "application/octet-stream", "keep-alive");
    let mut expected = large.clone().into_bytes();
    expected.extend(vec![7; len]);
    expected.extend(large.into_bytes());
    expected.extend((header(7, "text/plain", "close") + "#!ipxe\n").into_bytes());
    assert!(bytes == expected, "{} and {} bytes", bytes.len(), expected.len());
    let patience = Duration::from_secs(20);
    assert!(served.children.log(patience, Some(("http", "127.0.0.1 /boot.ipxe: 7 bytes"))));
}

#[test]
fn nothing_but_what_was_made_is_served() {
    let served = Served::new();
    for path in [
        "/",
        "/dnsmasq.conf",
        "/../../etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "/./boot.ipxe",
        "/%2e%2e/etc/passwd",
        "/boot.ipxe%00",
        "/pxelinux.cfg/default",
        "/vmlinuz-mine",
        "/boot.ipxe/",
        "/leases",
        "*",
        "boot.ipxe",
        "/..%2fboot.ipxe",
        "http://head/../boot.ipxe",
        // A link, and a directory, in the place of what is served.
        "/initramfs-0123456789abcdef.img",
        "/vmlinuz-aaaaaaaaaaaaaaaa",
    ] {
        assert_eq!(served.status(path), "404", "{path}");
    }
    for path in ["/boot.ipxe", "/boot.ipxe?/../x", "http://x/boot.ipxe"] {
        assert_eq!(served.status(path), "200", "{path}");
    }
    let said = served.says("DELETE /boot.ipxe HTTP/1.0\r\n\r\n");
    assert!(said.starts_with(b"HTTP/1.1 405 Method Not Allowed\r\n"));
}

#[test]
fn one_address_has_a_few_connections_and_gives_them_back() {
    let served = Served::new();
    let mut held: Vec<TcpStream> =
        (0..CONNECTIONS_PER_ADDRESS_MAX).map(|_| served.connect()).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    // It may be closed before the request is read, which takes the answer away.
    let asks = || {
        let mut stream = served.connect();
        let mut bytes = Vec::new();
        let asked = stream.write_all(b"GET /boot.ipxe HTTP/1.0\r\n\r\n");
        let read = asked.and_then(|()| stream.read_to_end(&mut bytes));
        read.is_ok() && bytes.starts_with(b"HTTP/1.1 200")
    };
    while asks() {
        assert!(Instant::now() < deadline, "none is refused");
    }
    held.clear();
    while !asks() {
        assert!(Instant::now() < deadline, "none is given back");
    }
}
