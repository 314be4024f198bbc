"""What metal machines have and virtual ones mostly do not: several networks,
modules that ask for modules, addresses that are scarce.
"""

import shutil

from lab import network, paths, scenario, script_image, tiny_image
from lab.images import FETCHED, KEXEC, ROOT, ROOT_UP, SECOND_UP, Roots, add_script
from lab.lab import CONSOLE

NEXT_LINK = r"it is another interface's turn"
# The head's, which no node has a route to.
FAR = "10.99.0.1"
# A module that asks for another one when it begins, and that other one.
ASKING, ASKED = "libcrc32c", "crc32c"


@scenario(limit_s=200, tags=["metal", "quick"])
def network_without_master(lab):
    """The interface that goes first has DHCP and no master, or no route there: the next one has its turn soon."""
    other = lab.other_network()
    # Of a router neither says anything.
    for place in (other, None):
        lab.dhcp(boot_server=True, place=place, options=["3"])
    network.give_far_address(FAR)
    lab.master(tiny_image())
    first = [f"BOOTIF={other.plan.mac(number)}" for number in (1, 2)]
    route = f"rd.route=10.99.0.0/16:{network.MASTER}:eth0"
    silent = lab.node("tiny", ip="dhcp", master=None, append=first[0], networks=[other])
    far = lab.node("tiny", ip="dhcp", master=FAR, append=f"{first[1]} {route}", networks=[other])
    lab.expect_all(NEXT_LINK, within_s=60)
    lab.expect_all(SECOND_UP, within_s=60)
    far.expect(r"Network (is )?unreachable.*; " + NEXT_LINK, within_s=1)
    for node, most_s in ((silent, 30), (far, 5)):
        asked_s, turned_s = (node.seconds_to(p) for p in (r"10\.78\.1\.\d/16 from", NEXT_LINK))
        fetched_s = node.seconds_to(FETCHED)
        lab.say(f"{node.name}: in vain for {turned_s - asked_s:.1f} s, fetched {fetched_s - turned_s:.1f} s later")
        lab.check(turned_s - asked_s < most_s, f"{node.name} asked the wrong network for long")


def without_softdeps(more=None):
    """Files for an initramfs in which no file says what a module wants first."""
    kernel = paths.initramfs_release()
    return {f"lib/modules/{kernel}/modules.softdep": b"", **(more or {})}


@scenario(limit_s=200, tags=["metal", "quick"])
def modules_on_request(lab):
    """The kernel asks for a module by itself and gets it, or a module is tried again later."""
    lab.master(tiny_image())
    append = f"ignore_loglevel xget.debug rd.driver.pre={ASKING}"
    asks = lab.node("tiny", append=append, files=without_softdeps())
    # Without modprobe it fails at first, and goes in when the other one has come.
    mute = without_softdeps({"sbin/modprobe": b""})
    waits = lab.node("tiny", append=f"{append},crc32c_generic", files=mute)
    known = lab.node("tiny", append=append)
    asks.expect(rf"xget: the kernel asked for crypto-{ASKED}", within_s=60)
    asks.expect(rf"loaded {ASKING}", within_s=30)
    waits.expect(rf"! cannot load .*{ASKING}.*needs another module", within_s=60)
    waits.expect(rf"loaded {ASKING}, now that there is what it needs", within_s=30)
    lab.expect_all(SECOND_UP, within_s=60)
    for node in (asks, known):
        node.expect_silence(r"! cannot load")


@scenario(limit_s=400, tags=["metal"])
def large_initrd(lab):
    """The kernel is given 108 MB to start: it says so, how long it took, and by which SHA-256."""
    lab.master(tiny_image("large", padding_mb=100))
    fast = lab.node("large", memory_mb=1024)
    fast.expect(SECOND_UP, within_s=120)
    slow = lab.node("large", memory_mb=1024, append="rd.driver.blacklist=sha256_ssse3")
    slow.expect(SECOND_UP, within_s=120)
    for node in fast, slow:
        node.expect(r"loading \d+ MiB: the kernel hashes and copies them", within_s=1)
        took = node.expect(r"loaded in (\d+) ms, (\d+) ms of joining", within_s=1)
        started_s = node.seconds_to(SECOND_UP) - node.seconds_to(KEXEC)
        lab.say(f"{node.name}: joined in {took[2]} ms, loaded in {took[1]} ms, up {started_s:.1f} s later")


def next_system_asks(lab, words, client_id):
    """A pool of one address, and a next system that asks under this id; what it got."""
    dhcp = lab.dhcp(boot_server=True, pool=1)
    lab.master(script_image("asks", "asks-dhcp"))
    append = f"{words} xget.append=lab.id={client_id}"
    node = lab.node("asks", ip="dhcp", master=None, append=append)
    node.expect(SECOND_UP, within_s=60)
    return dhcp, node.expect(r"second system: lease (\S+)", within_s=1)[1]


def root_asks(lab, words):
    """The same with a root that this kernel switches to, and that has networkd's files."""
    roots = Roots(lab)
    root = roots.image("asks", cmdline=CONSOLE)
    add_script(root, "asks-dhcp")
    networks = root / "etc/systemd/network"
    networks.mkdir(parents=True)
    (networks / "lan.network").write_text("[Match]\nName=e*\n[Network]\nDHCP=yes\n")
    roots.nodes("* - asks - -")
    dhcp = lab.dhcp(boot_server=True, pool=1)
    lab.master(roots.tree)
    node = lab.node(None, ip="dhcp", master=None, append=f"lab.id=networkd {words}")
    node.expect(SECOND_UP, within_s=90)
    node.expect_silence(KEXEC)
    lease = node.expect(r"second system: lease (\S+)", within_s=1)[1]
    roots.remove()
    return dhcp, lease


@scenario(limit_s=200, tags=["metal", "quick"])
def lease_given_back(lab):
    """A pool of one address: the next system asks under another id, and gets it."""
    dhcp, lease = next_system_asks(lab, "", "own")
    lab.check(lease != "none", "the next system has no address")
    lab.check(dhcp.console.find(r"DHCPRELEASE\(lab0\) 10\.77\.1\.1"), "nothing was given back")


@scenario(limit_s=200, tags=["metal"])
def lease_kept(lab):
    """xget.lease=keep, and a pool of one: who asks under the agent's id gets the same address."""
    dhcp, lease = next_system_asks(lab, "xget.lease=keep", "mac")
    lab.check(lease == "10.77.1.1", f"the next system got {lease}")
    lab.check(not dhcp.console.find("DHCPRELEASE"), "it was given back")


@scenario(limit_s=200, tags=["metal"])
def lease_kept_from_others(lab):
    """xget.lease=keep, and a pool of one: who asks under another id gets none; why it is not the default."""
    _, lease = next_system_asks(lab, "xget.lease=keep", "own")
    lab.check(lease == "none", f"the next system got {lease}")


@scenario(limit_s=240, tags=["metal", "roots"])
def lease_goes_on_in_a_root(lab):
    """A pool of one address: after switch_root systemd-networkd is told to ask for the same one."""
    dhcp, lease = root_asks(lab, "")
    lab.check(lease == "10.77.1.1", f"the root got {lease}")
    lab.check(not dhcp.console.find("DHCPRELEASE"), "it was given back while in use")


@scenario(limit_s=240, tags=["metal", "roots"])
def lease_given_back_before_a_root(lab):
    """xget.lease=release: the address is gone before switch_root, and free for any id."""
    dhcp, lease = root_asks(lab, "xget.lease=release")
    lab.check(lease == "10.77.1.1", f"the root got {lease}")
    lab.check(dhcp.console.find(r"DHCPRELEASE\(lab0\) 10\.77\.1\.1"), "nothing was given back")


@scenario(limit_s=240, tags=["metal", "faults", "quick"])
def image_comes_late(lab):
    """The master has no such image yet: when it is there, a node fetches it within 30 s."""
    source, tree = tiny_image(), lab.directory / "served"
    tree.mkdir()
    lab.master(tree)
    node = lab.node("tiny")
    node.expect(r"^xget .*again in 1\d\.\d s", within_s=60)
    node.expect(r"^xget .*this node is mac=", within_s=5)
    shutil.copytree(source / "tiny", tree / ".new")
    (tree / ".new").rename(tree / "tiny")
    added_s = node.own_s()
    node.expect(FETCHED, within_s=60)
    took_s = node.seconds_to(FETCHED) - added_s
    node.expect(SECOND_UP, within_s=60)
    shutil.rmtree(tree)
    lab.say(f"fetched {took_s:.1f} s after it was there")
    lab.check(took_s < 45, "that is more than twice the longest pause")


@scenario(limit_s=200, tags=["metal", "roots"])
def memory_nodes(lab):
    """A root is spread over the nodes of memory of a machine that has two."""
    roots = Roots(lab)
    roots.image("tree", bare=True)
    roots.nodes("* - tree - -")
    lab.master(roots.tree)
    node = lab.node(None, memory_nodes=2)
    node.expect(ROOT_UP, within_s=90)
    node.expect(ROOT + r"mount tmpfs / tmpfs rw,.*mpol=interleave", within_s=5)
    node.expect_silence(r"no interleaving")
    roots.remove()
