"""Debian's own kernel and initrd onto machines that have nothing: a few to
look at, or many to measure.
"""

from lab import Failed, debian_image, scenario
from lab.images import KEXEC, LOADER_KEXEC, SECOND, SECOND_KERNEL, SECOND_LOADER, SECOND_UP

DEMO_NODES = 4
FLEET_NODES = 24
# The initrd is in memory compressed and unpacked, and of memory the kernel
# gives it half.
MEMORY_MB = 512
# Virtual links are as fast as the processor. At this rate one copy takes
# three seconds, and what the tree saves shows.
RATE = "100mbit"


def boot(lab, count):
    """Boot this many machines into Debian's kernel; show and check the outcome."""
    lab.say(f"{count} machines of {MEMORY_MB} MB each, under {lab.accel}, links of {RATE}")
    lab.master(debian_image())
    lab.network.shape_master(RATE)
    nodes = lab.nodes(count, "debian", memory_mb=MEMORY_MB, rate=RATE)
    failures = lab.settle(SECOND_UP, within_s=180, machines=nodes)
    if not failures:
        for node in nodes:
            node.expect_end(within_s=30)
    lab.table()
    if failures:
        reasons = "\n".join(f"{why}\n{node.console.tail(6)}" for node, why in failures)
        raise Failed(f"{len(failures)} of {count} did not make it\n{reasons}")
    for node in nodes:
        kernel = node.expect(SECOND_KERNEL, 1)[1]
        if node.expect(SECOND_LOADER, 1)[1] != LOADER_KEXEC:
            raise Failed(f"{node.name} runs {kernel} and did not come there by kexec")
    lab.say(f"{count} of {count} came to {kernel} by kexec")


@scenario(limit_s=900, prepare=debian_image)
def demo(lab):
    """A master and four diskless machines that boot Debian's kernel through the tree."""
    lab.follow(f"^{SECOND}|^xget|{KEXEC}")
    boot(lab, lab.count or DEMO_NODES)


@scenario(limit_s=3000, prepare=debian_image)
def fleet(lab):
    """As many machines as there is memory for (-n N) boot Debian's kernel."""
    boot(lab, lab.count or FLEET_NODES)
