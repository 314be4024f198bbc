"""What can be tested without a network: what is read, compared, seen and drawn."""

import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from arena import chart, content, network, race
from arena.watch import Watch
from tools import ALL, torrent


class Arguments(unittest.TestCase):
    """What the command line may say."""

    def test_rates_and_sizes(self):
        """Decimal, as links and disks are sold."""
        self.assertEqual(network.parse_rate("100mbit"), 100_000_000)
        self.assertEqual(network.parse_rate("1.5gbit"), 1_500_000_000)
        self.assertIsNone(network.parse_rate("none"))
        self.assertEqual(content.parse_size("2.5M"), 2_500_000)
        for wrong in ("100", "100mb", "0mbit", "-1gbit"):
            self.assertRaises(ValueError, network.parse_rate, wrong)

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


class Pictures(unittest.TestCase):
    """The figures."""

    def test_ticks_enclose(self):
        """What is drawn lies between the first tick and the last."""
        for least, most in ((0.2, 130), (1, 1), (4.6, 4.7), (0.0031, 0.0032)):
            ticks = chart.y_ticks(least, most)
            self.assertLessEqual(ticks[0], least)
            self.assertGreaterEqual(ticks[-1], most)
            self.assertGreater(len(ticks), 1)

    def test_every_tool_can_be_drawn(self):
        """Well-formed, all names in it, none on another, none outside."""
        lines = [
            chart.Line(name, [(1, 1, 0.9, 1.1), (2, 2, 2, 2)], colour)
            for name, colour in zip(ALL, chart.COLOURS, strict=True)
        ]
        wire = ("the wire", [(1, 0.8), (2, 1.6)])
        svg = chart.Chart("a < b", "x", "y", lines, wire).svg()
        found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
        texts = {element.text: element for element in found}
        self.assertIn("a < b", texts)
        places = sorted(float(texts[name].get("y")) for name in [*ALL, "the wire"])
        self.assertGreater(places[0], chart.TOP - chart.LABEL_PX)
        self.assertLess(places[-1], chart.HEIGHT - chart.BOTTOM + chart.LABEL_PX)
        for above, below in zip(places, places[1:]):
            self.assertGreaterEqual(below - above, chart.LABEL_PX - 0.11)


if __name__ == "__main__":
    unittest.main()
