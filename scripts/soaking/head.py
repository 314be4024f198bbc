"""What is served: a tree that changes, one file at a time, and every state of it.

Each change is one that a reader sees whole or not at all (rename, unlink, append,
truncate, a stretch within a page), so that the states kept here are all that
there are.
"""

import hashlib
import time
from dataclasses import dataclass

LARGE_BYTES = 12_000_000
MEDIUM_BYTES = 1_000_000
SMALL_BYTES = 3_000
# A master looks again when somebody joins, a second after its last look at the
# soonest, and hashes then.
LAG_S = 15.0


def contents(path):
    """The digest of each file below a directory, by its name there."""
    found = {}
    for file in sorted(path.rglob("*")):
        if file.is_file():
            found[str(file.relative_to(path))] = hashlib.blake2b(file.read_bytes()).digest()
    return found


@dataclass
class State:
    """The tree from a time on."""

    since: float
    files: dict


class Head:
    """A tree of one large file, some of medium size and many small ones."""

    def __init__(self, path, chance):
        self.path, self.chance = path, chance
        self.serial = 0
        (path / "small").mkdir(parents=True)
        self._write(path / "large", LARGE_BYTES)
        for number in range(5):
            self._write(path / f"medium{number}", MEDIUM_BYTES)
        for number in range(200):
            self._write(path / "small" / str(number), SMALL_BYTES)
        self.states = [State(time.monotonic(), contents(path))]

    def _write(self, path, size):
        path.write_bytes(self.chance.randbytes(size))

    def change(self, how=None):
        """Change one file, as it may happen to one; return what was done."""
        every = [self.replace, self.overwrite, self.append, self.truncate, self.delete, self.add]
        change = how or self.chance.choice(every)
        # A state is kept from before the change on: nobody sees it earlier.
        since = time.monotonic()
        path = change()
        files = dict(self.states[-1].files)
        name = str(path.relative_to(self.path))
        files.pop(name, None)
        if path.exists():
            files[name] = hashlib.blake2b(path.read_bytes()).digest()
        self.states.append(State(since, files))
        return change.__name__

    def _some(self):
        """One of the files; the large one seldom, as it takes everybody's time."""
        names = ["large"] if self.chance.random() < 0.1 else []
        names = names or [n for n in self.states[-1].files if n != "large"]
        return self.path / self.chance.choice(names)

    def replace(self):
        """Write it anew beside it, and rename that."""
        path = self._some()
        new = self.path.parent / "new"
        self._write(new, max(1, path.stat().st_size))
        return new.rename(path)

    def overwrite(self):
        """A few bytes in the middle."""
        path = self._some()
        with open(path, "r+b", buffering=0) as file:
            file.seek(path.stat().st_size // 2 & ~4095)
            file.write(self.chance.randbytes(64))
        return path

    def append(self):
        """As a log grows."""
        path = self._some()
        with open(path, "ab", buffering=0) as file:
            file.write(self.chance.randbytes(500))
        return path

    def truncate(self):
        """The last third goes."""
        path = self._some()
        with open(path, "r+b", buffering=0) as file:
            file.truncate(path.stat().st_size * 2 // 3 + 1)
        return path

    def delete(self):
        """A small one, while there are enough."""
        small = [n for n in self.states[-1].files if n.startswith("small/")]
        if len(small) < 100:
            return self.add()
        path = self.path / self.chance.choice(small)
        path.unlink()
        return path

    def add(self):
        """Another small one."""
        self.serial += 1
        new = self.path.parent / "new"
        self._write(new, SMALL_BYTES)
        return new.rename(self.path / "small" / f"new{self.serial}")

    def was(self, files, since, until):
        """Whether a client that began and ended then has a tree that was ever served.

        What it had before and is not served any more stays with it.
        """
        first = since - LAG_S
        ends = [state.since for state in self.states[1:]] + [float("inf")]
        return any(
            state.files.items() <= files.items()
            for state, end in zip(self.states, ends)
            if state.since <= until and end >= first
        )
