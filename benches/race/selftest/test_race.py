"""What can be tested without a network: what is read, compared and seen."""

import subprocess
import tempfile
import unittest
from pathlib import Path

from arena import content, network, race
from arena.watch import Watch
from tools import torrent


class Arguments(unittest.TestCase):
    """What the command line may say."""

    def test_sizes(self):
        """Decimal, as disks are sold."""
        self.assertEqual(content.parse_size("2.5M"), 2_500_000)
        for wrong in ("M", "0K", "-1G", "5T"):
            self.assertRaises(ValueError, content.parse_size, wrong)

    def test_courses(self):
        """FILESxSIZE, and back."""
        course = content.Course.parse("8x10M")
        self.assertEqual((course.files, course.total_bytes), (8, 80_000_000))
        self.assertEqual(str(course), "8x10M")
        for wrong in ("10M", "0x1M", "x1M", "1x"):
            self.assertRaises(ValueError, content.Course.parse, wrong)

    def test_arrivals(self):
        """Spread: the first at once, the last after all of the time."""
        self.assertEqual(race.spread("at-once", 3), [0, 0, 0])
        delays = race.spread("spread:5", 11)
        self.assertEqual((min(delays), max(delays), len(set(delays))), (0, 5, 11))
        self.assertRaises(ValueError, race.spread, "spread", 3)
        self.assertEqual(race.fraction("1/10"), 0.1)
        self.assertRaises(ValueError, race.fraction, "2")

    def test_burst_holds_a_segment(self):
        """Or tbf would cut each of them at low rates."""
        self.assertIn(f" burst {network.SEGMENT_BYTES} ", network.shaper("eth0", 20_000_000, 1))
        self.assertIn(" burst 1250000 limit 2500000", network.shaper("eth0", 10**10, 1))


class Files(unittest.TestCase):
    """What is fetched, and its comparison."""

    def test_differences_are_found(self):
        """Other bytes, a byte too few, a file that is not there."""
        course = content.Course.parse("2x1.5M")
        with tempfile.TemporaryDirectory() as name:
            here, there = Path(name) / "here", Path(name) / "there"
            for directory in (here, there):
                directory.mkdir()
                content.make(course, directory)
            self.assertIsNone(content.difference(course, there, here))
            with open(there / "image2", "r+b") as file:
                file.seek(-1, 2)
                last = file.read(1)
                file.seek(-1, 2)
                file.write(bytes([last[0] ^ 1]))
            self.assertIn("image2 differs", content.difference(course, there, here))
            with open(there / "image1", "r+b") as file:
                file.truncate(1_499_999)
            self.assertIn("image1 differs", content.difference(course, there, here))
            (there / "image1").unlink()
            self.assertIn("image1: No such file", content.difference(course, there, here))

    def test_torrent(self):
        """Bencoding, and pieces that go on from file to file."""
        self.assertEqual(torrent.bencode({"b": [1, "x"], "a": b"\0"}), b"d1:a1:\x001:bli1e1:xee")
        course = content.Course.parse("3x200K")
        with tempfile.TemporaryDirectory() as name:
            content.make(course, Path(name))
            info = torrent.describe(course, Path(name))
        self.assertEqual(len(info["pieces"]), 20 * 3)


class Seen(unittest.TestCase):
    """Ends of processes, and names."""

    def test_names_come_before_ends(self):
        """A client that renames its file and ends has renamed it."""
        with tempfile.TemporaryDirectory() as name:
            watch = Watch()
            watch.directory(name, 1)
            script = "touch a; mv a b"
            with subprocess.Popen(["sh", "-c", script], cwd=name) as process:
                watch.process(process.pid, "key")
                events = []
                while ("end", "key") not in events:
                    events += watch.events(10)
            watch.close()
        self.assertLess(events.index(("name", (1, "b"))), events.index(("end", "key")))


if __name__ == "__main__":
    unittest.main()
