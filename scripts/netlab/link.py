"""Bridges, veth pairs, taps and static neighbours, as lines for ip and bridge.

Lines only, so that a network of a thousand ports is made by three processes
(command.batch) and can be looked at without root.

The kernel's neighbour table is one for all network namespaces of a machine,
and from 1,024 entries on it forgets (gc_thresh3 of arp(7)), which cannot be
changed from within a namespace: beyond some thirty machines that all know
each other addresses have to be told in advance (`neighbours`, `forwarding`).
Permanent entries are not counted. Guests of virtual machines have tables of
their own: on this machine a network of them needs one entry for each.
"""


def bridge(name, mac=None):
    """A bridge that forwards at once and floods multicast, as a plain switch does.

    It needs a MAC of its own where an address is given to it: else it has the lowest of its
    ports', and when a port with a lower one is plugged in, who knows the old one calls in vain
    until his neighbour entry is probed anew (8 s, arp(7)).
    """
    own = f" address {mac}" if mac else ""
    return [f"link add {name}{own} type bridge forward_delay 0 mcast_snooping 0"]


def up(name):
    """Switch an interface on."""
    return f"link set {name} up"


def plug(port, into):
    """Put a port into a bridge, switched on."""
    return f"link set {port} master {into} up"


def unplug(port):
    """Take it out again: what is behind it is cut off, and nobody is told."""
    return f"link set {port} nomaster"


def veth(port, peer):
    """A pair of interfaces that are each other's wire, both here."""
    return f"link add {port} type veth peer name {peer}"


def veth_to(port, peer, mac, namespace):
    """A pair of which one end, with this MAC, is in another namespace (a path)."""
    return f"link add {port} type veth peer name {peer} address {mac} netns {namespace}"


def tap(port):
    """The end of a virtual machine's network card."""
    return f"tuntap add dev {port} mode tap"


def address(interface, own, prefix_len):
    """Give an interface its address and its subnet."""
    return f"addr add {own}/{prefix_len} broadcast + dev {interface}"


def neighbours(interface, machines):
    """Tell the MACs of all others, given as pairs of address and MAC."""
    return [
        f"neigh replace {own} lladdr {mac} dev {interface} nud permanent" for own, mac in machines
    ]


def forwarding(port, mac):
    """Tell a bridge behind which of its ports a MAC is (a line for bridge)."""
    return f"fdb replace {mac} dev {port} master static"
