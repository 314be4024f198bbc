//! The kernel's news about devices, netlink(7) NETLINK_KOBJECT_UEVENT.
//!
//! What a message says is a function of its bytes; what follows from it is not
//! known here.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const MESSAGE_LEN_MAX: usize = 8192;
/// The group that the kernel itself sends to; udev's is 2.
const KERNEL_GROUP: u32 = 1;

pub struct Uevents {
    fd: OwnedFd,
}

impl Uevents {
    pub fn open() -> io::Result<Uevents> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let kind = SockProtocol::NetlinkKObjectUEvent;
        let fd = socket(AddressFamily::Netlink, SockType::Datagram, flags, kind)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(Uevents { fd })
    }

    /// The next message; `None` when there is none at present. A message that
    /// was lost is an empty one: look at everything again.
    pub fn next(&self) -> Option<Uevent> {
        let mut bytes = [0; MESSAGE_LEN_MAX];
        loop {
            let received = recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut bytes);
            let received = received.map(|(len, from)| (len, from.map(|from| from.pid())));
            match judge(received, &bytes) {
                Received::Event(event) => return Some(event),
                Received::Nothing => return None,
                Received::Ignored => {}
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What is wanted of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uevent {
    pub action: String,
    pub subsystem: String,
    pub modalias: Option<String>,
}

/// What came of one look at the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Received {
    Event(Uevent),
    /// Not the kernel's, or a signal came: the next look may find more.
    Ignored,
    Nothing,
}

/// So many of `bytes` came, from this netlink port.
fn judge(received: Result<(usize, Option<u32>), Errno>, bytes: &[u8]) -> Received {
    match received {
        // Anybody may send to the group; only port 0 is the kernel.
        Ok((_, Some(1..))) | Err(Errno::EINTR) => Received::Ignored,
        Ok((len, _)) => Received::Event(parse(&bytes[..len.min(bytes.len())])),
        Err(Errno::ENOBUFS) => Received::Event(Uevent::default()),
        Err(_) => Received::Nothing,
    }
}

/// `add@/devices/...\0ACTION=add\0SUBSYSTEM=net\0...`
fn parse(bytes: &[u8]) -> Uevent {
    let mut event = Uevent::default();
    for word in bytes.split(|byte| *byte == 0) {
        let word = String::from_utf8_lossy(word);
        match word.split_once('=') {
            Some(("ACTION", value)) => event.action = value.to_string(),
            Some(("SUBSYSTEM", value)) => event.subsystem = value.to_string(),
            Some(("MODALIAS", value)) => event.modalias = Some(value.to_string()),
            _ => {}
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::skip;
    use std::fs;
    use std::time::{Duration, Instant};

    fn event(action: &str, subsystem: &str, modalias: Option<&str>) -> Uevent {
        let modalias = modalias.map(str::to_string);
        Uevent { action: action.into(), subsystem: subsystem.into(), modalias }
    }

    /// As the kernel sends them (lib/kobject_uevent.c).
    #[test]
    fn words_of_a_message() {
        let payloads: [(&[u8], Uevent); 4] = [
            (
                b"add@/devices/pci0/virtio0\0ACTION=add\0DEVPATH=/devices/pci0/virtio0\0\
                  SUBSYSTEM=virtio\0MODALIAS=virtio:d00000001v00001AF4\0SEQNUM=7\0",
                event("add", "virtio", Some("virtio:d00000001v00001AF4")),
            ),
            (
                b"move@/devices/virtual/net/eth0\0ACTION=move\0SUBSYSTEM=net\0\
                  DEVPATH_OLD=/devices/virtual/net/veth\0INTERFACE=eth0\0SEQNUM=8\0",
                event("move", "net", None),
            ),
            (
                b"add@/devices/usb1\0SUBSYSTEM=usb\0MODALIAS=usb:v1D6Bp0002=x\0ACTION=add",
                event("add", "usb", Some("usb:v1D6Bp0002=x")),
            ),
            (b"remove@/x\0XACTION=add\0SUBSYSTEM\0", event("", "", None)),
        ];
        for (bytes, expected) in payloads {
            assert_eq!(parse(bytes), expected);
        }
        assert_eq!(parse(b""), Uevent::default());
        assert_eq!(parse(&[0xff; 40]), Uevent::default());
    }

    #[test]
    fn only_the_kernel_is_listened_to_and_a_lost_message_is_an_empty_one() {
        let bytes = *b"add@/x\0ACTION=add\0rest of the buffer";
        let add = Received::Event(event("add", "", None));
        assert_eq!(judge(Ok((17, Some(0))), &bytes), add);
        assert_eq!(judge(Ok((17, None)), &bytes), add, "no address");
        assert_eq!(judge(Ok((17, Some(4711))), &bytes), Received::Ignored);
        assert_eq!(judge(Err(Errno::EINTR), &bytes), Received::Ignored);
        assert_eq!(judge(Err(Errno::ENOBUFS), &bytes), Received::Event(Uevent::default()));
        assert_eq!(judge(Err(Errno::EAGAIN), &bytes), Received::Nothing);
    }

    /// The kernel is asked for a message, which takes root (sysfs-uevent).
    #[test]
    fn a_message_of_the_kernel_arrives() {
        let uevents = Uevents::open().unwrap();
        if let Err(error) = fs::write("/sys/class/mem/null/uevent", "change") {
            skip(&format!("the kernel cannot be asked for an uevent: {error}"));
            return;
        }
        let wanted = event("change", "mem", None);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            match uevents.next() {
                Some(found) if found == wanted => return,
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        panic!("no message came");
    }
}
