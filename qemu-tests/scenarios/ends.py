"""Boots that cannot go on: each says why, and to the master, and then ends as it was told to."""

import gzip

from lab import scenario, tiny_image
from lab.images import FAILED, KEXEC, SECOND_UP, Roots, beside, busybox
from lab.network import PLAN

BOOT_S = 120
# What a machine may take to say that it restarts; without panic= it counts down first.
END_S = 60


def kernels(lab):
    """Images that cannot be started, each for another reason, beside a good one."""
    roots = Roots(lab)
    good = tiny_image() / "tiny"
    parts = {name: (good / name).read_bytes() for name in ("kernel", "initrd", "cmdline")}
    for name, other in {
        "good": {},
        "packed": {"kernel": gzip.compress(parts["kernel"], 1)},
        "linked": {"kernel": None},
        "wordy": {"cmdline": b"x" * 3000},
        "unsigned": {"kernel": parts["kernel"][:-1] + bytes([parts["kernel"][-1] ^ 1])},
    }.items():
        image = roots.tree / "images" / name
        image.mkdir(parents=True)
        for part, data in {**parts, **other}.items():
            if data is not None:
                (image / part).write_bytes(data)
    (roots.tree / "images/linked/kernel").symlink_to("/boot/vmlinuz-6.1.0")
    # All of it holes: it costs nothing but where it is loaded.
    heavy = roots.tree / "images" / "heavy"
    heavy.mkdir()
    (heavy / "kernel").write_bytes(parts["kernel"])
    with open(heavy / "initrd", "wb") as file:
        file.truncate(160 << 20)
    return roots


@scenario(limit_s=300, tags=["quick", "faults"])
def image_refused(lab):
    """Images that cannot be started say why: kernel, symlink, words, room, memory, kexec itself."""
    roots = kernels(lab)
    lab.master(roots.tree)
    why = {
        lab.node("packed"): r"the kernel file is compressed by gzip: unpack it on the master",
        lab.node("linked"): r"kernel is a symlink to /boot/vmlinuz-6\.1\.0, which is not in the image",
        lab.node("wordy"): r"the command line has 3\d\d\d bytes and this kernel takes \d+",
        lab.node("good", append="xget.tmpfs.size=8M"): r"may weigh a third .*xget.tmpfs.size= .now 8 MiB",
        lab.node("heavy", memory_mb=320, append="xget.tmpfs.size=200M"): r"kernel and initrd take \d+ MiB, and "
        r"kexec allows half of the \d+ MiB",
        lab.node("good", append="sysctl.kernel.kexec_load_disabled=1"): r"kexec_load_disabled is 1",
        lab.node("unsigned", append="lockdown=integrity"): r"the kernel of images/unsigned cannot be loaded: not permitted",
    }
    for node, reason in why.items():
        node.expect(FAILED + ".*" + reason, BOOT_S)
    for node, reason in why.items():
        node.expect("rebooting now", END_S)
        node.expect_silence(KEXEC)
        heard = lab.masters[0].console.find(f"{node.address}.*boot failed: .*{reason}")
        lab.check(heard, f"the master did not hear of {node.name}")
    roots.remove()


@scenario(limit_s=300, tags=["quick", "faults"])
def kexec_comes_back(lab):
    """There is nothing to start when kexec is called: the network comes back, and the master hears why."""
    dhcp = lab.dhcp()
    lab.master(tiny_image())
    words = "lab.beside=unload printk.devkmsg=on"
    nodes = [lab.node("tiny", ip=ip, append=words, files=beside()) for ip in ("dhcp", "static")]
    lab.expect_all(FAILED + r"kexec came back: Invalid argument", BOOT_S)
    lab.expect_all("rebooting now", END_S)
    for node in nodes:
        node.expect(r"beside: unloaded, 0", within_s=1)
        node.expect_silence(SECOND_UP)
        heard = lab.masters[0].console.find(f"{node.address}.*boot failed: kexec came back")
        lab.check(heard, f"the master did not hear of {node.name}")
    heard = dhcp.console.find_all(rf"DHCP(ACK|RELEASE)\(lab0\) {nodes[0].address}")
    kinds = [match[1] for match in heard]
    lab.check("RELEASE" in kinds, "nothing was given back")
    lab.check(kinds[-1] == "ACK", "there was no other lease")


@scenario(limit_s=300, tags=["quick", "faults"])
def nothing_there(lab):
    """No card, no carrier, no address, no master: each is waited for in words, and then the end."""
    tiny_image()
    soon = "xget.timeout.nic=12 xget.timeout.carrier=12 xget.timeout.dhcp=12 xget.timeout.master=12"
    bare = lab.node("tiny", append=f"{soon} rd.driver.blacklist=virtio_net panic=3")
    dark = lab.node("tiny", append=f"{soon} xget.fail=poweroff")
    dark.unplug()
    mute = lab.node("tiny", ip="dhcp", append=f"{soon} panic=0", master=None)
    alone = lab.node(
        "tiny", append=f"{soon} xget.shell", files={"bin/sh": busybox()}, keyboard=True
    )
    bare.expect(r"^xget .*waiting for ", BOOT_S)
    bare.expect(FAILED + r"no usable network interface: \S", BOOT_S)
    bare.expect(r"rebooting in 3 s", END_S)
    bare.expect(r"rebooting now", END_S)
    dark.expect(FAILED + r"\S", BOOT_S)
    dark.expect(r"powering off now", END_S)
    dark.expect_end(END_S)
    mute.expect(FAILED + r"no address\S*", BOOT_S)
    mute.expect(r"panic=0: waiting for an operator", END_S)
    mute.expect_silence("rebooting")
    alone.expect(rf"cannot ask {PLAN.head}:20004 what this node is: .*; again in", BOOT_S)
    alone.expect(FAILED + r".*\(for 12 s\)", BOOT_S)
    alone.expect(r"starting /bin/sh on /dev/console", END_S)
    alone.type("echo two and $((1 + 1)); exit")
    alone.expect(r"^two and 2", END_S)
    alone.expect(r"rebooting now", END_S)
