"""What is raced with: files of bytes that do not compress, and their comparison."""

import random
import re
from dataclasses import dataclass

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
BLOCK_BYTES = 1 << 20


def parse_size(text):
    """Bytes of "50M" (decimal, as rates are)."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)B?", text.upper())
    if not found or float(found[1]) == 0:
        raise ValueError(f"{text!r} is no size like 500K, 50M or 1G")
    return round(float(found[1]) * UNITS[found[2]])


def show_size(count):
    """The same the other way round."""
    for unit in ("G", "M", "K"):
        if count >= UNITS[unit]:
            return f"{count / UNITS[unit]:g}{unit}"
    return str(count)


@dataclass(frozen=True)
class Course:
    """What every node has to get."""

    files: int
    size_bytes: int

    @classmethod
    def parse(cls, text):
        """A course from "8x10M": so many files of that size."""
        files, separator, size = text.partition("x")
        if not separator or not files.isdigit() or not 0 < int(files) <= 10_000:
            raise ValueError(f"{text!r} is no course like 1x50M or 8x10M")
        return cls(int(files), parse_size(size))

    def __str__(self):
        return f"{self.files}x{show_size(self.size_bytes)}"

    @property
    def total_bytes(self):
        """What one node gets."""
        return self.files * self.size_bytes

    @property
    def names(self):
        """What the files are called."""
        return [f"image{number}" for number in range(1, self.files + 1)]


def make(course, directory):
    """Write the files of a course."""
    source = random.Random(str(course))
    for name in course.names:
        with open(directory / name, "wb") as file:
            left = course.size_bytes
            while left:
                left -= file.write(source.randbytes(min(left, BLOCK_BYTES)))


def difference(course, directory, original):
    """Why what lies in a directory is not the course, byte for byte; or None."""
    for name in course.names:
        try:
            with open(directory / name, "rb") as left, open(original / name, "rb") as right:
                while True:
                    found, wanted = left.read(BLOCK_BYTES), right.read(BLOCK_BYTES)
                    if found != wanted:
                        return f"{name} differs before byte {right.tell()}"
                    if not wanted:
                        break
        except OSError as error:
            return f"{name}: {error.strerror}"
    return None
