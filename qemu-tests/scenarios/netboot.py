"""Machines with empty disks that boot from the network, by what `xgetctl netboot` makes.

Each has another boot program; all come to the agent, and from there to a small root.
"""

import os
import shutil
import subprocess

from lab import firmware, scenario, services
from lab.images import ROOT, ROOT_UP, Roots
from lab.lab import CONSOLE
from lab.network import BRIDGE, PLAN
from repository import REPO, binary

# Firmware under emulation takes its time before its first word.
BOOT_S = 180
COMMAND_LIMIT_S = 60
LOADED = r"dnsmasq-tftp\S* sent \S*/{} to "


class Head:
    """A served tree with one small root, and `xgetctl netboot` for it."""

    def __init__(self, lab):
        self.lab = lab
        self.roots = Roots(lab)
        self.tree = self.roots.tree
        self.roots.image("tree", cmdline=CONSOLE)
        # Where a scenario's logs are is no place for directories.
        self.directory = self.tree.with_name(f"{self.tree.name}-files")
        shutil.rmtree(self.directory, ignore_errors=True)

    def nodes(self, machines):
        """Each gets a name, so that it is known which root says what."""
        lines = [f"{PLAN.mac(n)} n{n:03} tree" for n in range(1, machines + 1)]
        self.roots.nodes(*lines)

    def environment(self):
        """What commands find."""
        return {**os.environ, "XGET_ROOT": str(self.tree), "XGET_LIB": str(REPO)}

    def command(self, *words):
        """The words of a command."""
        program = str(binary().with_name("xgetctl"))
        line = [program, "netboot", "--interface", BRIDGE, "--image", "tree", "--words", CONSOLE]
        return [*line, *words]

    def run(self, *words, lines=()):
        """All of it, with further lines for dnsmasq."""
        own = self.lab.directory / "own-lines"
        own.write_text("".join(f"{line}\n" for line in lines))
        command = self.command("--run", "--dnsmasq", str(own), *words)
        head = services.Netboot(self.lab.directory, command, self)
        self.lab.masters.append(head)
        self.lab.services.append(head)
        head.await_ready(self.lab)
        return head


def loads(number, name, only=""):
    """Lines for dnsmasq: this machine's ROM gets another program."""
    tag = f"m{number}"
    return [f"dhcp-mac=set:{tag},{PLAN.mac(number)}", f"dhcp-boot=tag:{tag},{only}{name}"]


def is_up(node, number):
    """It has come to its root, and has its name."""
    node.expect(ROOT + f"host n{number:03}$", within_s=5)


def sent(head, name):
    """That TFTP had this file for somebody."""
    return head.console.find(LOADED.format(name.replace(".", r"\.")))


@scenario(limit_s=500, tags=["quick", "netboot"])
def netboot(lab):
    """`netboot --run`: BIOS by iPXE, PXELINUX and GRUB, UEFI by iPXE and GRUB."""
    head = Head(lab)
    head.nodes(5)
    # The ROM of BIOS machines is an iPXE itself.
    lines = loads(2, "pxelinux.0") + loads(3, "grub.0")
    lines += loads(4, "snponly.efi", only="tag:!ipxe,")
    running = head.run("--loader", "grub", lines=lines)
    kinds = [firmware.BIOS] * 3 + [firmware.UEFI] * 2
    nodes = [lab.bare(kind, memory_mb=400) for kind in kinds]
    lab.expect_all(ROOT_UP, within_s=BOOT_S)
    for number, node in enumerate(nodes, 1):
        is_up(node, number)
    for name in ("pxelinux.0", "grub.0", "snponly.efi", "grubx64.efi"):
        lab.check(sent(running, name), f"nobody was sent {name}")
    lab.check(running.end() == 0, "the head did not end with status 0")


@scenario(limit_s=300, tags=["quick", "netboot"])
def netboot_files(lab):
    """`netboot --dir`: all by TFTP, from firmware to undionly.kpxe to the agent."""
    head = Head(lab)
    head.nodes(1)
    subprocess.run(
        head.command("--dir", str(head.directory)), env=head.environment(), check=True,
        timeout=COMMAND_LIMIT_S, capture_output=True,
    )
    lab.master(head.tree)
    # The ROM is an iPXE, and would start its script: first it is taken for plain firmware.
    conf = (head.directory / "dnsmasq.conf").read_text()
    plain = lab.directory / "plain.conf"
    plain.write_text(conf.replace("dhcp-match=set:ipxe,175\n", ""))
    first = dnsmasq(lab, plain, "firmware")
    node = lab.bare(memory_mb=400)
    lab.wait(lambda: sent(first, "undionly.kpxe"), BOOT_S, "undionly.kpxe to be sent", [node])
    first.kill()
    second = dnsmasq(lab, head.directory / "dnsmasq.conf", "ipxe")
    node.expect(ROOT_UP, within_s=BOOT_S)
    is_up(node, 1)
    lab.check(sent(second, "boot.ipxe"), "iPXE was not sent its script")


def dnsmasq(lab, conf, name):
    """dnsmasq with this configuration, as docs/provisioning.md starts it."""
    line = ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "--pid-file", "--leasefile-ro"]
    service = services.Service(lab.directory, name, [*line, f"--conf-file={conf}"])
    lab.services.append(service)
    return service


@scenario(limit_s=500, tags=["quick", "netboot"])
def netboot_proxy(lab):
    """`netboot --run --proxy` beside a DHCP server of another machine; BIOS and UEFI."""
    other = services.Elsewhere(lab.directory)
    lab.services.append(other)
    head = Head(lab)
    head.nodes(2)
    running = head.run("--proxy", lines=["log-dhcp"])
    nodes = [lab.bare(kind, memory_mb=400) for kind in (firmware.BIOS, firmware.UEFI)]
    lab.expect_all(ROOT_UP, within_s=BOOT_S)
    for number, node in enumerate(nodes, 1):
        is_up(node, number)
    lab.check(sent(running, "snponly.efi"), "UEFI was not sent snponly.efi")
    lab.check(other.console.find("DHCPACK"), "the other server lent nothing")
    lab.check(not running.console.find(r"DHCPACK\("), "addresses are not ours to lend")
