"""What a process holds, by /proc."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Held:
    """Memory in KiB, and descriptors by kind."""

    rss_kib: int
    sockets: int
    files: int
    deleted: int

    def __str__(self):
        return (
            f"{self.rss_kib} KiB, {self.sockets} sockets, {self.files} files,"
            f" {self.deleted} of them deleted"
        )


def _targets(pid):
    """What its descriptors stand for; one may be closed meanwhile."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield os.readlink(entry)
        except OSError:
            pass


def held(pid):
    """What it holds now; None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        rss = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        targets = list(_targets(pid))
    except (OSError, StopIteration):
        return None
    sockets = sum(target.startswith("socket:") for target in targets)
    deleted = sum(target.endswith(" (deleted)") for target in targets)
    return Held(int(rss.split()[1]), sockets, len(targets) - sockets, deleted)


def listening(pid):
    """The ports at which somebody listens where it is (proc_net_tcp(5))."""
    lines = []
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        lines += path.read_text().splitlines()[1:] if path.exists() else []
    fields = [line.split() for line in lines]
    return [int(local.rpartition(":")[2], 16) for _, local, _, state, *_ in fields if state == "0A"]
