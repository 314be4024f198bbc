"""Networks on one machine that leave nothing behind.

The race (benches/race) and the virtual machines (qemu-tests) build theirs
from these parts:

  isolate     a program in namespaces of its own, and what it has left
  namespace   network namespaces as file descriptors
  address     which address and MAC a machine has, by its number
  link        bridges, veth pairs, taps and static neighbours, as commands of ip
  shaping     rates of links, by tbf
  command     runs ip, tc and bridge, here or in another namespace

None of them knows what runs in the network, or why.

netem is missing from many kernels, so nothing here delays or drops.
"""

import os


class NetworkError(Exception):
    """A network that cannot be had; the text is the reason, for a person."""


# Tools like ip, tc and dnsmasq are outside an ordinary user's PATH on Debian.
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
