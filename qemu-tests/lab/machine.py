"""One node: a QEMU machine with nothing but a network card and a console."""

import fcntl
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import firmware, network
from .console import Console
from .errors import Failed
from .paths import initramfs, kernel

# What QEMU itself takes beside the guest's memory; without a bound, TCG's
# translations take up to a gigabyte more.
TRANSLATION_MB = 64
OVERHEAD_MB = TRANSLATION_MB + 64
MONITOR_LIMIT_S = 10
# As QEMU names them.
PIPE_ENDS = ("in", "out")
PIPE_BYTES = 1 << 20
# Sockets of QEMU's own; namespaces keep scenarios apart.
LISTENING = "abstract=on,tight=on,server=on,wait=off"


@dataclass
class Hardware:
    """What one node has and others have not."""

    # An image of one, in a file.
    disk: Path = None
    # Others beside it, as QEMU's -drive has them.
    drives: tuple = ()
    # More of QEMU's.
    devices: tuple = ()
    # Its memory in so many equal parts (NUMA).
    memory_nodes: int = 1
    # What it boots from the network by (lab.firmware), in place of QEMU's own loader.
    firmware: str = None
    # Somebody sits at its serial console, and may type (`Machine.type`).
    keyboard: bool = False


class Machine:
    """A node of the lab. It starts when there is memory for it."""

    def __init__(self, lab, index, memory_mb, ports, parameters, boots=None):
        self.lab = lab
        self.index = index
        self.name = f"node{index}"
        self.address = str(network.PLAN.node(index))
        self.memory_mb = memory_mb
        # Of each network one; the first is the one with the master.
        self.ports = ports
        self.port = ports[0] if ports else None
        self.parameters = parameters
        # Kernel and initramfs; firmware finds its own.
        self.boots = boots or (kernel(), initramfs())
        self.hardware = Hardware()
        self._typing = None
        self._saying = None
        self.console = Console(lab.directory / f"{self.name}.log")
        self.process = None
        self.started = None
        self.ended = None
        # When something new was last seen of it, on its own clock.
        self.moved_s = 0.0
        self._mark = None
        self._waited_s = 0.0

    def own_s(self):
        """Seconds since its start in which it could run.

        Not those in which it waited for a processor: where many machines share
        few, each sees less time pass than the wall's clock does.
        """
        if self.started is None:
            return 0.0
        until = time.monotonic() if self.ended is None else self.ended
        return until - self.started - self._waited_s

    def _read_waits(self):
        """How long its threads have waited for a processor: the one that waited longest.

        schedstat's second number, in ns (Documentation/scheduler/sched-stats.rst).
        """
        for path in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            try:
                waited_s = int(path.read_text().split()[1]) / 1e9
            except (OSError, IndexError):
                continue  # the thread has just ended
            self._waited_s = max(self._waited_s, waited_s)

    def note_progress(self, fetched_bytes):
        """Remember when its console last said something new, or bytes came."""
        mark = (self.console.news, fetched_bytes)
        if mark != self._mark:
            self._mark = mark
            self.moved_s = self.own_s()

    def command(self):
        """The QEMU command line."""
        accel = self.lab.accel
        cpu = "host" if accel == "kvm" else "max"
        if accel == "tcg":
            accel = f"tcg,tb-size={TRANSLATION_MB}"
        line = ["qemu-system-x86_64", "-name", self.name, "-accel", accel]
        line += ["-cpu", cpu, "-m", str(self.memory_mb), "-smp", "1"]
        line += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        line += [*self._starts_from(), *self._memory(), *self._serial()]
        for at, port in enumerate(self.ports):
            line += ["-netdev", f"tap,id=net{at},ifname={port.tap},script=no,downscript=no"]
            boots = firmware.card(self.hardware.firmware, at == 0)
            line += ["-device", f"virtio-net-pci,netdev=net{at},mac={port.mac}{boots}"]
        line += ["-device", "virtio-rng-pci"]
        line += ["-chardev", f"socket,id=monitor,path={self.monitor},{LISTENING}"]
        line += ["-mon", "chardev=monitor,mode=readline"]
        for device in self.hardware.devices:
            line += ["-device", device]
        if self.hardware.disk is not None:
            disk = f"file={self.hardware.disk},if=virtio,format=raw,cache=unsafe"
            line += ["-drive", disk]
        for drive in self.hardware.drives:
            line += ["-drive", drive]
        return line

    def _memory(self):
        """How its memory is divided, where it is; the processor is at the first part."""
        count = self.hardware.memory_nodes
        if count == 1:
            return []
        line = []
        for at in range(count):
            line += ["-object", f"memory-backend-ram,size={self.memory_mb // count}M,id=m{at}"]
            line += ["-numa", f"node,nodeid={at},memdev=m{at}" + (",cpus=0" if at == 0 else "")]
        return line

    def _serial(self):
        """Its serial console: a file, and with a keyboard pipes beside it."""
        log = f"file,id=console,path={self.console.path},append=on"
        if self.hardware.keyboard:
            log = f"pipe,id=console,path={self._pipe},logfile={self.console.path},logappend=on"
        return ["-chardev", log, "-serial", "chardev:console"]

    def _starts_from(self):
        """What it finds when it is switched on."""
        if self.hardware.firmware:
            return firmware.options(self.hardware.firmware, self)
        line = ["-M", "q35", "-kernel", str(self.boots[0]), "-initrd", str(self.boots[1])]
        return [*line, "-append", self.parameters]

    def start(self):
        """Switch it on."""
        if self.hardware.keyboard:
            self._lay_pipes()
        with open(self.lab.directory / f"{self.name}.qemu.log", "wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.started = time.monotonic()

    def poll(self):
        """Take in whether it still runs and what it has said; return the new lines."""
        if self.process is None:
            return []
        if self.ended is None:
            self._read_waits()
            self._drain()
            if self.process.poll() is not None:
                self.ended = time.monotonic()
        return self.console.poll(last=self.ended is not None)

    @property
    def running(self):
        """Whether it is switched on."""
        return self.process is not None and self.ended is None

    def seconds_to(self, pattern):
        """How long after its start it said this, or None."""
        found = self.console.find(pattern)
        return found and found[0] - self.started

    def expect(self, pattern, within_s):
        """Wait until its console says this; return the match. See `Lab.expect_all`."""
        self.lab.expect_all(pattern, within_s, [self])
        return self.console.find(pattern)[1]

    def expect_end(self, within_s):
        """Wait until it has switched itself off or rebooted."""
        self.lab.wait(lambda: self.ended is not None, within_s, f"the end of {self.name}", [self])

    def expect_silence(self, pattern):
        """Fail if it has said this."""
        self.poll()
        found = self.console.find(pattern)
        if found:
            raise Failed(f"{self.name} said what it must not: {found[1].string}")

    def kill(self):
        """Pull its power cord."""
        if self.running:
            self.process.kill()
            self.process.wait(timeout=30)
            self.poll()
        for end in PIPE_ENDS:
            Path(f"{self._pipe}.{end}").unlink(missing_ok=True)

    def pause(self):
        """Freeze it: its connections stay, and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def type(self, text):
        """Type a line at its serial console; only for machines with a keyboard."""
        os.write(self._typing, text.encode() + b"\n")

    def _lay_pipes(self):
        """What is typed, and what it says. That is in the log already; but what finds no room
        here, as in a socket after some hundred single bytes, QEMU writes there twice.
        """
        for end in PIPE_ENDS:
            os.mkfifo(f"{self._pipe}.{end}")
        self._typing = os.open(f"{self._pipe}.in", os.O_RDWR)
        self._saying = os.open(f"{self._pipe}.out", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._saying, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def _pipe(self):
        return self.console.path.with_suffix(".console")

    @staticmethod
    def _connect(name):
        """A connection to a socket of QEMU's, which makes it some time after its start."""
        until = time.monotonic() + MONITOR_LIMIT_S
        while True:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(MONITOR_LIMIT_S)
            try:
                sock.connect(f"\0{name}")
                return sock
            except ConnectionRefusedError:
                sock.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def _drain(self):
        """What it says there is in the log already, and must not fill the pipe."""
        if self._saying is None:
            return
        try:
            while os.read(self._saying, PIPE_BYTES):
                pass
        except BlockingIOError:
            pass  # nothing more

    @property
    def monitor(self):
        """The abstract name of QEMU's own socket."""
        return f"lab-{self.name}"

    def unplug(self):
        """Pull the cable of its first card: the card sees no carrier any more."""
        self.tell_qemu("set_link net0 off")

    def tell_qemu(self, command):
        """Type this at QEMU's own monitor, and wait until it is done."""
        with self._connect(self.monitor) as monitor:
            for line in (b"", command.encode() + b"\n"):
                monitor.sendall(line)
                said = b""
                while not said.endswith(b"(qemu) "):
                    said += monitor.recv(4096)

    def cut(self):
        """Cut its link to the network."""
        self.port.cut()

    def heal(self):
        """Give it its link back."""
        self.port.heal()
