"""What metal machines have and virtual ones mostly do not: several networks,
modules that ask for modules, addresses that are scarce.
"""

from lab import paths, scenario, tiny_image
from lab.images import FETCHED, KEXEC, SECOND_UP

NEXT_LINK = r"it is another interface's turn"
# A module that asks for another one when it begins, and that other one.
ASKING, ASKED = "libcrc32c", "crc32c"


@scenario(limit_s=200, tags=["metal", "quick"])
def network_without_master(lab):
    """The interface that goes first has DHCP and no master: the next one has its turn soon."""
    other = lab.other_network()
    lab.dhcp(boot_server=True, place=other)
    lab.dhcp(boot_server=True)
    lab.master(tiny_image())
    wrong = other.plan.mac(1)
    node = lab.node("tiny", ip="dhcp", master=None, append=f"BOOTIF={wrong}", networks=[other])
    node.expect(r"no master answered within|no answer to the connection", within_s=60)
    node.expect(NEXT_LINK, within_s=30)
    node.expect(SECOND_UP, within_s=60)
    asked_s, turned_s = (node.seconds_to(p) for p in (r"fetching tiny from 10\.78", NEXT_LINK))
    fetched_s = node.seconds_to(FETCHED)
    lab.say(f"asked in vain for {turned_s - asked_s:.1f} s, fetched {fetched_s - turned_s:.1f} s later")
    lab.check(turned_s - asked_s < 30, "the wrong network was asked for long")


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
        took = node.expect(r"loaded in (\d+) ms, after (\d+) ms of copying", within_s=1)
        started_s = node.seconds_to(SECOND_UP) - node.seconds_to(KEXEC)
        lab.say(f"{node.name}: sealed in {took[2]} ms, loaded in {took[1]} ms, up {started_s:.1f} s later")
