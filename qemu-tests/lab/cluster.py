"""A cluster of bare machines: what its head serves, and how machines come up from it.

The images are made once, by xgetctl and where there still is a network, and are kept
in build/demo; all else is made anew for each run.
"""

import hashlib
import shutil
from pathlib import Path

from repository import BUILD, REPO, binary

from . import network
from .errors import Failed
from .head import Head
from .lab import CONSOLE
from .outcome import picture
from .services import Netboot

PLACE = BUILD / "demo"
TREE = PLACE / "srv"
# What the images were made by; written when all of them are whole.
MADE_BY = PLACE / "made-by"
SUITE, KERNEL = "bookworm", "linux-image-cloud-amd64"
CREATE_LIMIT_S, BUILD_LIMIT_S = 1500, 600
# Nothing new for so long on a machine's own clock, and it is given up.
STUCK_S = 180
AGENT_SAYS = r"^xget "
STARTING = r"^xget .*starting \S+ of \S+"
LOGIN = r"^Debian GNU/Linux \d+ (\S+) ttyS0"
WAITS = r"^xget .*again in \d"
# Which edition of the image it is.
VERSION = "etc/image-version"
# As docs/provisioning.md has it: what a node has of its own. The last of it is of the
# layer, for the image of one initrd; the others know that by themselves.
KEEP = """\
/etc/hostname
/etc/machine-id
/etc/ssh/ssh_host_*
/etc/resolv.conf
/etc/xget/
/home/
/root/
/tmp/
/var/tmp/
/var/log/
/var/cache/
/var/lib/systemd/
/var/lib/dbus/
/init
/usr/local/bin/about
/etc/motd
/etc/card.tmpl
"""
# What a node says of itself, a program of a layer.
ABOUT = f"""\
#!/bin/sh
echo name $(hostname)
echo address $(ip -4 -o addr show scope global | sed 's/.*inet \\([0-9.]*\\).*/\\1/')
for file in motd card only-here; do [ ! -e /etc/$file ] || echo $file $(cat /etc/$file); done
setpriv --reuid=nobody --regid=nogroup --clear-groups ping -q -c 1 -W 10 {network.MASTER} \
    >/dev/null 2>&1 && echo ping works || echo ping takes root here
echo image $(cat /{VERSION}) $(cd /opt && echo *)
"""
PXELINUX = "dhcp-mac=set:pxelinux,{}\ndhcp-boot=tag:pxelinux,pxelinux.0\n"


def makers():
    """A digest of what makes the images: the programs, the maker of initrds, and this file."""
    programs = (binary(), binary().with_name("xgetctl"), binary().with_name("xget-init"))
    parts = sorted((REPO / "initramfs").iterdir())
    digest = hashlib.sha256()
    for path in (*programs, *parts, Path(__file__)):
        # A program that was named may have no agent of its own beside it.
        content = path.read_bytes() if path.is_file() else b""
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def is_made(made_by):
    """Whether the images are there, all of them and by the same as now."""
    return MADE_BY.is_file() and MADE_BY.read_text() == made_by


def prepare():
    """The images: a Debian as a directory, the same packed, and the same as one initrd."""
    head = Head(TREE)
    TREE.mkdir(parents=True, exist_ok=True)
    made_by = makers()
    if is_made(made_by):
        head.say(f"(the images are there from before: rm -r {PLACE.relative_to(REPO)} for new ones)")
        return
    head.say(f"$ cd {TREE.relative_to(REPO)}; export XGET_ROOT=$PWD")
    MADE_BY.unlink(missing_ok=True)
    shutil.rmtree(TREE)
    TREE.mkdir()
    words = ("--suite", SUITE, "--kernel", KERNEL, "--cache", "../packages")
    head.xgetctl("image", "create", "debian", *words, limit_s=CREATE_LIMIT_S)
    head.say("# An image is a directory: what no node needs is removed, a program is added.")
    head.shell("rm -r images/debian/root/var/lib/apt/lists/*")
    head.shell(f"mkdir images/debian/root/opt/app-1 && echo 1 >images/debian/root/{VERSION}")
    head.xgetctl("image", "clone", "debian", "compact")
    head.xgetctl("image", "build", "compact", "--squashfs", limit_s=BUILD_LIMIT_S)
    whole(head)
    head.xgetctl("image", "list")
    MADE_BY.write_text(made_by)


def whole(head):
    """The image that Perceus would have: all of the root in one initrd, started by kexec."""
    head.shell("mkdir images/whole && cp images/debian/kernel images/whole/")
    head.shell(
        "(cd images/debian/root && find . -path ./boot -prune -o -print |"
        " cpio --quiet -o -H newc) | zstd -q -T0 >images/whole/root.part"
        " && mv images/whole/root.part images/whole/initrd-1-root",
        limit_s=BUILD_LIMIT_S,
    )
    head.shell(f"echo '{CONSOLE}' >images/whole/cmdline")


def write(path, text, mode=0o644):
    """A file in the served tree, with the directories above it."""
    place = TREE / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(mode)


def make_key(head):
    """Whose key the nodes know: this run's."""
    shutil.rmtree(head.keys, ignore_errors=True)
    head.keys.mkdir(mode=0o700)
    head.shell(f"ssh-keygen -q -t ed25519 -N '' -C head -f ../{head.keys.name}/key")


def layers(head):
    """Plain files that go over a root: for all, for one, and a template."""
    shutil.rmtree(TREE / "layers", ignore_errors=True)
    (TREE / "nodes.tab").unlink(missing_ok=True)
    make_key(head)
    key = (head.keys / "key.pub").read_text()
    write("layers/all/root/.ssh/authorized_keys", key, 0o600)
    (TREE / "layers/all/root/.ssh").chmod(0o700)
    (TREE / "layers/all/root").chmod(0o700)
    write("layers/all/etc/motd", "This node came up from the head.\n")
    write("layers/all/etc/xget/keep", KEEP)
    write("layers/all/etc/card.tmpl", "{{name}} is {{mac}}, of the image {{image}}\n")
    write("layers/all/usr/local/bin/about", ABOUT, 0o755)
    write("layers/n001/etc/only-here", "of n001\n")
    head.say("$ find layers -type f    # files that go over an image")
    for path in sorted(path for path in (TREE / "layers").rglob("*") if path.is_file()):
        head.say(f"  {path.relative_to(TREE)}")
    head.say("# An image of one initrd knows no layers: what goes over it is an initrd, too.")
    head.shell(
        "ln -sf sbin/init layers/all/init && (cd layers/all && find . | cpio --quiet -o -H newc)"
        " >images/whole/all.part && mv images/whole/all.part images/whole/initrd-2-all"
        " && rm layers/all/init"
    )


def serve(lab, head, pxelinux=(), more=""):
    """The whole head: DHCP, boot programs, kernel and agent, the master.

    `pxelinux` are the MAC addresses of machines that are to start PXELINUX; `more` are
    words for all kernels.
    """
    own = PLACE / "pxelinux"
    own.write_text("".join(map(PXELINUX.format, pxelinux)))
    shutil.rmtree(PLACE / "netboot", ignore_errors=True)
    words = ("netboot", "--run", "--interface", network.BRIDGE, "--dir", "../netboot")
    words += ("--image", "debian", "--words", f"{CONSOLE} {more}".strip())
    if pxelinux:
        words += ("--dnsmasq", f"../{own.name}")
    head.show(["xgetctl", *words])
    served = Netboot(lab.directory, [head.program, *words], head)
    lab.masters.append(served)
    lab.services.append(served)
    served.await_ready(lab)
    for line in served.console.find_all("^netboot: "):
        head.say(f"  {line.string}")
    return served


def is_up(lab):
    """Whether a machine's system has said to the head that it is up."""

    def up(machine):
        """word of its system that it is up"""
        entry = lab.entry(machine)
        return entry is not None and "up" in entry.first

    return up


def settle(lab, machines):
    """Wait until all have their login prompt, and the head has heard that they are up.

    Returns those that do not, as (machine, why).
    """
    failures = lab.settle(LOGIN, STUCK_S, machines)
    lost = [machine for machine, _ in failures]
    rest = [machine for machine in machines if machine not in lost]
    return failures + lab.settle_until(is_up(lab), STUCK_S, rest)


def explain(failures, count):
    """Fail if there are any, with the last words of each."""
    if failures:
        reasons = "\n".join(f"{why}\n{machine.console.tail(8)}" for machine, why in failures)
        raise Failed(f"{len(failures)} of {count} did not come up\n{reasons}")


def draw(lab, every):
    """Nodes ready over time; a picture."""
    began = min(machine.started for machine in every)

    def moments(pattern):
        return [found[0] - began for m in every if (found := m.console.find(pattern))]

    marks = {
        "agent": moments(AGENT_SAYS),
        "login": moments(LOGIN),
        "up": [lab.entry(m).first["up"] - began for m in every if is_up(lab)(m)],
    }
    return picture(f"{len(every)} machines come up", marks, lab.directory / "nodes.svg")
