"""Processes that are timed: started together, awaited, their processor time
read from wait4(2). Knows xget's lines in a master's log; refuses to know what
is compared with what."""

import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from repository import binary  # noqa: E402  (the path comes first)

LIMIT_S = 250
MEMORY = ("VmHWM", "RssAnon", "RssFile", "RssShmem")


class Scratch:
    """A directory that is removed at the end, and the processes in it."""

    def __init__(self, where):
        self.dir = Path(tempfile.mkdtemp(prefix="xget-cost-", dir=where))
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, command, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.DEVNULL)
        process = subprocess.Popen([str(word) for word in command], **options)
        self.running.append(process)
        return process

    def await_end(self, process, name="a process"):
        """Its processor time in seconds; a failure ends all."""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, -signal.SIGTERM):
            sys.exit(f"{name}: status {process.returncode}")
        return used.ru_utime + used.ru_stime

    def stop(self, process):
        process.terminate()
        return self.await_end(process)

    def empty(self, name):
        path = self.dir / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def bytes_file(self, path, length):
        with open(path, "wb") as file:
            while length > 0:
                file.write(os.urandom(min(length, 1 << 20)))
                length -= min(length, 1 << 20)

    def small_files(self, path, count, length):
        """A hundred of them in each directory."""
        for number in range(count):
            if number % 100 == 0:
                (path / f"d{number // 100:03}").mkdir()
            self.bytes_file(path / f"d{number // 100:03}/f{number % 100:02}", length)


class Lines:
    """The lines of a process' output, each awaited for a bounded time."""

    def __init__(self, process):
        self.file = process.stdout
        self.rest = b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.file, selectors.EVENT_READ)

    def until(self, word, count=1, limit_s=LIMIT_S):
        end_s = time.monotonic() + limit_s
        while count > 0:
            line, newline, rest = self.rest.partition(b"\n")
            if newline:
                self.rest = rest
                count -= word.encode() in line
                continue
            if not self.selector.select(max(0.0, end_s - time.monotonic())):
                sys.exit(f"no {word!r} within {limit_s} s")
            chunk = os.read(self.file.fileno(), 65536)
            if not chunk:
                sys.exit(f"ended before {word!r}: {self.rest.decode(errors='replace')}")
            self.rest += chunk


class Master:
    """A running master whose tree is hashed."""

    def __init__(self, scratch, source, port=20904, prefix=(), options=(), cache=None):
        self.scratch, self.port = scratch, port
        cached = ["--cache", cache] if cache else ["--no-cache"]
        command = [*prefix, binary(), "-p", port, *cached, *options, source]
        self.process = scratch.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines = Lines(self.process)
        self.lines.until(" serving ")

    def client(self, dest, prefix=(), options=("-q",), host="127.0.0.1"):
        command = [*prefix, binary(), "-n", f"{host}:{self.port}", *options, ".", dest]
        return self.scratch.start(command)

    def race(self, dests, prefixes=None, **options):
        """Clients at once: seconds until all is in place, processor seconds
        of all of them and the master until they are gone."""
        before_s = cpu_s(self.process.pid)
        began_s = time.monotonic()
        prefixes = prefixes or [options.pop("prefix", ())] * len(dests)
        clients = [self.client(dest, prefix, **options) for dest, prefix in zip(dests, prefixes)]
        self.lines.until(" done: ", len(dests))
        wall_s = time.monotonic() - began_s
        used_s = sum(self.scratch.await_end(client, "xget") for client in clients)
        return wall_s, used_s + cpu_s(self.process.pid) - before_s

    def stop(self):
        return self.scratch.stop(self.process)


def memory_kb(pid):
    """Of one process; nothing when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines)
    return {name: int(rest.split()[0]) for name, rest in pairs if name in MEMORY}


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def same(left, right):
    """Ends all if two trees differ in names or contents."""
    if subprocess.run(["diff", "-r", left, right], check=False).returncode:
        sys.exit(f"{right} is not what was sent")


def table(rows):
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(str(c).ljust(w) for c, w in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (w + 2) for w in widths) + "|")


def median(values):
    return sorted(values)[len(values) // 2]
