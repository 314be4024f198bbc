"""A log file that somebody else writes, read line by line as it grows."""

import re
import time
from pathlib import Path

# Numbers of a line that is said again and again are not what is new in it.
NUMBERS = re.compile(r"[0-9]+")
# Colours and cursor movements, which firmware and kernels like to send.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc|\r")
LINES_MAX = 200_000


class Console:
    """The lines of a growing file, each with the moment it was seen."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")
        self.lines = []
        self._offset = 0
        self._rest = b""
        self._shapes = set()
        self.news = 0

    def poll(self, last=False):
        """Take in what has been written since the last time; return the new lines.

        Half a line waits for its end, unless this is the `last` time.
        """
        with open(self.path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if last and self._rest:
            whole, self._rest = [*whole, self._rest], b""
        now = time.monotonic()
        known = len(self.lines)
        for raw in whole[: LINES_MAX - len(self.lines)]:
            line = ESCAPES.sub("", raw.decode("utf-8", "replace"))
            self.lines.append((now, line))
            self._note_news(line)
        return [line for _, line in self.lines[known:]]

    def _note_news(self, line):
        """Count lines that were not said before but for their numbers."""
        shape = NUMBERS.sub("#", line)
        if shape not in self._shapes:
            self._shapes.add(shape)
            self.news += 1

    def find(self, pattern):
        """The first line that the pattern matches, as (moment, match), or None."""
        seeking = re.compile(pattern)
        for moment, line in self.lines:
            match = seeking.search(line)
            if match:
                return moment, match
        return None

    def find_all(self, pattern):
        """Every match of the pattern, in order."""
        seeking = re.compile(pattern)
        return [match for _, line in self.lines if (match := seeking.search(line))]

    def tail(self, count=12):
        """The last lines, indented, for a failure's text."""
        return "\n".join(f"    | {line}" for _, line in self.lines[-count:]) or "    | (nothing)"
