//! The kernel's news about devices, netlink(7) NETLINK_KOBJECT_UEVENT.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const MESSAGE_LEN_MAX: usize = 8192;
/// The group that the kernel itself sends to; udev's is 2.
const KERNEL_GROUP: u32 = 1;

/// What is wanted of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uevent {
    pub action: String,
    pub subsystem: String,
    pub modalias: Option<String>,
}

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
            match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut bytes) {
                // Anybody may send to the group; only port 0 is the kernel.
                Ok((len, from)) => {
                    if from.is_none_or(|from| from.pid() == 0) {
                        return Some(parse(&bytes[..len]));
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => return Some(Uevent::default()),
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
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

    #[test]
    fn words_of_a_message() {
        let event = parse(
            b"add@/devices/pci0/virtio0\0ACTION=add\0DEVPATH=/devices/pci0/virtio0\0SUBSYSTEM=virtio\0MODALIAS=virtio:d00000001v00001AF4\0SEQNUM=7\0",
        );
        let expected = Uevent {
            action: "add".into(),
            subsystem: "virtio".into(),
            modalias: Some("virtio:d00000001v00001AF4".into()),
        };
        assert_eq!(event, expected);
        assert_eq!(parse(b""), Uevent::default());
        assert_eq!(parse(&[0xff; 40]), Uevent::default());
    }

    #[test]
    fn an_open_socket_has_nothing_to_say_or_says_it() {
        let events = Uevents::open().unwrap();
        for _ in 0..100 {
            if events.next().is_none() {
                return;
            }
        }
    }
}
