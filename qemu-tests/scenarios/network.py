"""Links and addresses of all sorts: VLANs, bonds, names, routes, IPv6 alone."""

from lab import network, scenario, tiny_image
from lab.images import SECOND_MARKS, SECOND_UP

VLAN_ID = 5
FAR = "10.99.0.1"


@scenario(limit_s=200, tags=["network", "quick"])
def vlan(lab):
    """The network is tagged: ip=eth0.5:dhcp alone, and vlan= with a name of its own."""
    tagged = lab.vlan(VLAN_ID)
    lab.dhcp(place=tagged, options=[f"224,{tagged.plan.head}"])
    lab.master(tiny_image())
    nodes = [
        lab.node("tiny", ip=f"eth0.{VLAN_ID}:dhcp", master=None),
        lab.node("tiny", ip=None, master=None, append=f"vlan=vlan{VLAN_ID}:eth0"),
    ]
    lab.expect_all(SECOND_UP, within_s=60)
    for node, name in zip(nodes, (f"eth0.{VLAN_ID}", f"vlan{VLAN_ID}")):
        node.expect(rf"{name} is a VLAN on eth0", within_s=1)
        node.expect(rf"{name} .*: 10\.79\..* from 10\.79\.0\.1, for 120 s", within_s=1)
    words = nodes[1].expect(SECOND_MARKS, within_s=1)[1]
    lab.check(f"vlan=vlan{VLAN_ID}:eth0" in words, f"the next system knows no VLAN: {words}")


@scenario(limit_s=300, tags=["network"])
def bond(lab):
    """A bond of two cards goes on when one of them loses its link in the middle of the transfer."""
    lab.master(tiny_image("slow", padding_mb=24))
    lab.network.shape_master("20mbit")
    mask = network.PLAN.subnet.netmask
    ip = f"{network.PLAN.node(1)}:::{mask}::b0:none"
    words = "bond=b0:eth0,eth1:primary=eth0,fail_over_mac=none,mode=active-backup:1400"
    node = lab.node("slow", ip=ip, append=words, networks=[network.SecondCards()])
    lab.await_progress([node], 0.2)
    node.unplug()
    node.expect(r"b0: \(slave eth1\): making interface the new active one", within_s=20)
    node.expect(SECOND_UP, within_s=120)
    node.expect_silence(r"is refused|no answer")
    line = node.expect(SECOND_MARKS, within_s=1)[1]
    lab.check(words in line, f"the next system knows no bond: {line}")


@scenario(limit_s=200, tags=["network", "quick"])
def names_and_routes(lab):
    """A card has the name of ifname=, and the master is behind the gateway of rd.route=."""
    network.give_far_address(FAR)
    lab.master(tiny_image())
    mask = network.PLAN.subnet.netmask
    words = f"ifname=net7:{network.PLAN.mac(1)} rd.route=10.99.0.0/16:{network.MASTER}:net7"
    ip = f"{network.PLAN.node(1)}:::{mask}::net7:none"
    node = lab.node("tiny", ip=ip, master=FAR, append=words)
    node.expect(SECOND_UP, within_s=60)
    node.expect(r"net7 is the name of eth0", within_s=1)
    node.expect(rf"fetching tiny from {FAR}", within_s=1)


@scenario(limit_s=200, tags=["network", "quick"])
def ipv6_by_dhcp(lab):
    """There is IPv6 alone: without a word on the command line DHCPv6 says all."""
    url = f"bootfile-url,xget://[{network.MASTER6}]"
    lab.routers("fd77::100,fd77::1ff,64,120", options=[url])
    lab.master(tiny_image())
    nodes = [lab.node("tiny", ip=None, master=None), lab.node("tiny", ip="dhcp6", master=None)]
    lab.expect_all(SECOND_UP, within_s=90)
    for node in nodes:
        node.expect(r"fd77::1\w\w/(128|64) from fe80:.*, for 120 s", within_s=1)
        node.expect(rf"fetching tiny from \[{network.MASTER6}\]", within_s=1)


@scenario(limit_s=200, tags=["network", "quick"])
def ipv6_by_routers(lab):
    """There is IPv6 alone and no DHCPv6: the master by its address, and by its name."""
    servers = f"dns-server,[{network.MASTER6}]"
    lab.routers("fd77::,ra-only", options=[servers], names={"head.lab": network.MASTER6})
    lab.master(tiny_image())
    given = "[fd77::99]:::64::eth0:none"
    nodes = [
        lab.node("tiny", ip=None, master=f"[{network.MASTER6}]"),
        lab.node("tiny", ip=None, master="head.lab"),
        lab.node("tiny", ip="auto6", master=f"[{network.MASTER6}]"),
        lab.node("tiny", ip=given, master=f"[{network.MASTER6}]"),
    ]
    lab.expect_all(SECOND_UP, within_s=90)
    for node in nodes[:3]:
        node.expect(r"IPv6 address by the kernel", within_s=1)
    nodes[3].expect(r"fd77::99/64 from ip=", within_s=1)


@scenario(limit_s=400, tags=["network"])
def ipv6_lease(lab):
    """A lease of DHCPv6 is renewed while the image comes slowly, and given back at the end."""
    url = f"bootfile-url,xget://[{network.MASTER6}]"
    server = lab.routers("fd77::100,fd77::1ff,64,120", options=[url])
    lab.master(tiny_image("slow", padding_mb=24))
    lab.network.shape_master("4mbit")
    node = lab.node("slow", ip=None, master=None)
    lab.wait(lambda: server.console.find("DHCPRENEW"), 120, "renewal", [node])
    node.expect(SECOND_UP, within_s=120)
    node.expect(r"fd77::1\w\w given back", within_s=1)
    lab.check(server.console.find("DHCPRELEASE"), "the server did not hear that it is given back")


@scenario(limit_s=200, tags=["network", "faults", "quick"])
def ipv6_in_use(lab):
    """What DHCPv6 lends another machine has already: it is declined, and another address asked for."""
    lent = [f"fd77::10{number}" for number in (0, 1)]
    squatter = network.Squatter(lent)
    url = f"bootfile-url,xget://[{network.MASTER6}]"
    server = lab.routers(f"{lent[0]},{lent[1]},64,120", options=[url])
    lab.master(tiny_image())
    node = lab.node("tiny", ip=None, master=None)
    taken = node.expect(r"! eth0 .*: another machine has (fd77::10[01])", within_s=60)[1]
    free = next(address for address in lent if address != taken)
    squatter.leave(free)
    node.expect(SECOND_UP, within_s=90)
    node.expect(rf"{free}/\d+ from fe80:.*, for 120 s", within_s=1)
    lab.check(server.console.find("DHCPDECLINE"), "the server did not hear that it is in use")


@scenario(limit_s=200, tags=["network", "faults", "quick"])
def refused_links(lab):
    """What cannot be made or used is said: a bond's option, a VLAN without its module, an address."""
    network.give_ipv6()
    lab.master(tiny_image())
    mask = network.PLAN.subnet.netmask
    ip = f"{network.PLAN.node(1)}:::{mask}::b0:none"
    bonded = lab.node("tiny", ip=ip, append="bond=b0:eth0:mode=active-backup,colour=red")
    soon = "xget.timeout.nic=5 xget.timeout.dhcp=10"
    tagged = lab.node("tiny", ip="eth0.5:dhcp", append=f"{soon} rd.driver.blacklist=8021q")
    taken = lab.node("tiny", ip=f"[{network.MASTER6}]:::64::eth0:none", append=soon)
    half = "xget.timeout.dhcp=20 bond=b1:eth0,eth1:mode=active-backup"
    waits = lab.node("tiny", ip="b1:dhcp", append=half)
    bonded.expect(r"! b0: colour=red is refused: \S", within_s=30)
    bonded.expect(SECOND_UP, within_s=60)
    tagged.expect(r"! eth0\.5 cannot be a VLAN on …: \S", within_s=30)
    tagged.expect(r"boot failed: no usable network interface: \S", within_s=30)
    taken.expect(rf"! eth0 .*: another machine has {network.MASTER6}", within_s=30)
    taken.expect(r"boot failed: no address: eth0 cannot be used", within_s=30)
    waits.expect(r"boot failed: no address", within_s=60)
    made = len(waits.console.find_all(r"b1 is a bond with"))
    lab.check(made == 1, f"a bond that waits for its second card is said to be made {made} times")


@scenario(limit_s=200, tags=["network", "quick"])
def no_master_named(lab):
    """Nobody names a master: the network is asked; where that is off, the node waits and says so."""
    lab.master(tiny_image())
    mask = network.PLAN.subnet.netmask
    unnamed = lab.node("tiny", ip=f"{network.PLAN.node(1)}:::{mask}::eth0:none", master=None)
    alone = lab.node(
        "tiny", ip=f"{network.PLAN.node(2)}:::{mask}::eth0:none", master=None,
        append="xget.discovery=0",
    )
    unnamed.expect(r"asking the network for one", within_s=60)
    unnamed.expect(rf"a master answers at {network.MASTER}:20004", within_s=10)
    unnamed.expect(SECOND_UP, within_s=60)
    alone.expect(r"no master is known: neither xget\.master= nor DHCP names one", within_s=60)
    alone.expect_silence(r"asking the network")
