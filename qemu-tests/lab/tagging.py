"""A VLAN by hand: many kernels that run the lab have none.

    tagging.py TAGGED PLAIN NUMBER

Two taps: what comes into TAGGED with this VLAN's tag comes out of PLAIN without
it, and the other way round. Frames of others are dropped.
"""

import fcntl
import os
import select
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
# Of the tag: ethertype of 802.1Q.
TPID = 0x8100
NUMBER_MASK = 0x0FFF
ADDRESSES_LEN = 12
FRAME_LEN_MAX = 65536


def tap(name):
    """The far end of a tap that is there already."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def forward(tagged, plain, number):
    """Carry frames for ever."""
    tag = struct.pack(">HH", TPID, number)
    while True:
        for fd in select.select([tagged, plain], [], [])[0]:
            frame = os.read(fd, FRAME_LEN_MAX)
            addresses, rest = frame[:ADDRESSES_LEN], frame[ADDRESSES_LEN:]
            if fd == plain:
                os.write(tagged, addresses + tag + rest)
            elif len(rest) > 4:
                kind, found = struct.unpack(">HH", rest[:4])
                if kind == TPID and found & NUMBER_MASK == number:
                    os.write(plain, addresses + rest[4:])


if __name__ == "__main__":
    forward(tap(sys.argv[1]), tap(sys.argv[2]), int(sys.argv[3]))
