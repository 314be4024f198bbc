"""Which address and which MAC a machine has, by its number.

A plan of one subnet: its head has the first address, node number n the one
256 + n after the first of all, so that the number can be read off it.
"""

import ipaddress
from dataclasses import dataclass

NODES_MAX = 1000
NODES_FROM = 256


@dataclass(frozen=True)
class Plan:
    """The addresses of one network."""

    subnet: ipaddress.IPv4Network
    # The first four bytes of every MAC, such as "02:99:00:00".
    mac_prefix: str

    @property
    def head(self):
        """The head's address."""
        return self.subnet.network_address + 1

    def node(self, index):
        """The address of node number `index`, counted from 1."""
        if not 1 <= index <= NODES_MAX:
            raise ValueError(f"node number {index} is not in 1..{NODES_MAX}")
        return self.subnet.network_address + NODES_FROM + index

    def mac(self, index):
        """A machine's Ethernet address, which tells its number; 0 is the head's."""
        return f"{self.mac_prefix}:{index >> 8:02x}:{index & 255:02x}"
