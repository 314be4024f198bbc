"""The chart writer, and the simulator's figures from its CSV."""

import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import chart
from repository import REPO

NAMES = [f"tool {number}" for number in range(len(chart.COLOURS))]
SVG = "{http://www.w3.org/2000/svg}"


class Pictures(unittest.TestCase):
    """The figures."""

    def test_ticks_enclose(self):
        """What is drawn lies between the first tick and the last."""
        for least, most in ((0.2, 130), (1, 1), (4.6, 4.7), (0.0031, 0.0032)):
            ticks = chart.decades(least, most)
            self.assertLessEqual(ticks[0], least)
            self.assertGreaterEqual(ticks[-1], most)
            self.assertGreater(len(ticks), 1)

    def test_names_do_not_touch(self):
        """Well-formed, all names in it, none on another, none outside."""
        lines = [
            chart.Line(name, [(1, 1, 0.9, 1.1), (2, 2, 2, 2)], colour)
            for name, colour in zip(NAMES, chart.COLOURS, strict=True)
        ]
        wire = ("the wire", [(1, 0.8), (2, 1.6)])
        svg = chart.Chart("a < b", "x", "y", lines, wire).svg()
        found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
        texts = {element.text: element for element in found}
        self.assertIn("a < b", texts)
        places = sorted(float(texts[name].get("y")) for name in [*NAMES, "the wire"])
        self.assertGreater(places[0], chart.TOP - chart.LABEL_PX)
        self.assertLess(places[-1], chart.HEIGHT - chart.BOTTOM + chart.LABEL_PX)
        for above, below in zip(places, places[1:]):
            self.assertGreaterEqual(below - above, chart.LABEL_PX - 0.11)

    def test_points_stand_where_they_belong(self):
        """Linear from 0 or from where it is said, logarithmic by decades."""
        points = [(1, 1, 1, 1), (10, 2, 2, 2), (100, 1, 1, 1)]
        lines = [chart.Line("a", points, "#000000")]
        svg = chart.Chart("t", "x", "y", lines, x_logarithmic=True, y_from=1.0).svg()
        left, right = chart.LEFT, chart.WIDTH - chart.RIGHT
        bottom, middle = chart.HEIGHT - chart.BOTTOM, (left + right) / 2
        path = f'points="{left:.1f},{bottom:.1f} {middle:.1f},{chart.TOP:.1f} {right:.1f},'
        self.assertIn(path, svg)
        svg = chart.Chart("t", "x", "y", lines, y_from=0.0).svg()
        self.assertIn(f'points="{left + (right - left) / 100:.1f},', svg)

    def test_a_curve_has_round_figures(self):
        """Many points are not marked, and their axis has steps of 1, 2 or 5."""
        points = [(x / 7, x, x, x) for x in range(1, 100)]
        svg = chart.Chart("t", "x", "y", [chart.Line("a", points, "#000000")], y_from=0.0).svg()
        # The one before its name.
        self.assertEqual(svg.count("<circle"), 1)
        texts = [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]
        self.assertLessEqual({"0", "2", "12", "14", "20", "80", "100"}, set(texts))

    def test_steps(self):
        """Up to the most, or beyond it."""
        self.assertEqual(chart.steps(0, 23), [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22])
        self.assertEqual(chart.steps(0, 103, beyond=True), [0, 20, 40, 60, 80, 100, 120])
        self.assertEqual(len(chart.steps(1, 1)), 6)

    def test_a_long_name_has_room(self):
        """None is cut off at the right edge."""
        name = "vanish: wire times"
        lines = [chart.Line(name, [(1, 1, 1, 1), (2, 2, 2, 2)], "#000000")]
        svg = ElementTree.fromstring(chart.Chart("t", "x", "y", lines).svg())
        text = next(element for element in svg.iter(f"{SVG}text") if element.text == name)
        end = float(text.get("x")) + chart.LETTER_PX * len(name)
        self.assertLessEqual(end, chart.WIDTH)


TABLE = """\
nodes,scenario,last,median,worst,slow,depth,copies,messages,bytes,goals,words
5,at once,1.100,1.0,1.1,,2,1.00,9.0,99,held,seed=1 nodes=5 pieces=64
50,at once,1.200,1.0,1.1,,2,1.05,9.0,99,held,seed=1 nodes=50 pieces=64
50,10 % crash,1.300,1.0,1.1,,2,1.50,9.0,99,held,seed=1 nodes=50 pieces=64 crash=10
50,10 % freeze,never,1.0,never,,2,1.50,9.0,99,MISSED: one; two,seed=1 nodes=50 pieces=64 freeze=10
"""
COURSE = """\
nodes,scenario,ms,least,median,most,copies
5,at once,100,0.1,0.2,0.3,0.5
50,at once,100,0.0,0.1,0.2,0.4
50,at once,200,0.9,1.0,1.0,1.05
"""


class SimulatorFigures(unittest.TestCase):
    """scripts/sim-figures, from tables as tests/sim/table.rs writes them."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.out, self.copy = Path(directory.name) / "out", Path(directory.name) / "copy"
        self.out.mkdir()
        (self.out / "table.csv").write_text(TABLE)
        (self.out / "course.csv").write_text(COURSE)
        command = [REPO / "scripts" / "sim-figures", self.out, self.copy]
        subprocess.run(command, check=True, timeout=30, stdout=subprocess.DEVNULL)

    def texts(self, name):
        """What a figure says."""
        svg = ElementTree.fromstring((self.out / name).read_text())
        return [element.text for element in svg.iter(f"{SVG}text")]

    def test_what_has_points_is_drawn_and_copied(self):
        names = ["sim-course.svg", "sim-failures.svg", "sim-nodes.svg"]
        self.assertEqual(sorted(path.name for path in self.copy.iterdir()), names)
        for name in names:
            self.assertEqual((self.copy / name).read_text(), (self.out / name).read_text())

    def test_who_never_finished_is_in_no_line(self):
        self.assertIn("10 % crash", self.texts("sim-nodes.svg"))
        self.assertNotIn("10 % freeze", self.texts("sim-nodes.svg"))

    def test_failures_are_those_of_the_largest_cluster(self):
        texts = self.texts("sim-failures.svg")
        self.assertTrue(texts[0].startswith("50 nodes"))
        self.assertLessEqual({"0", "10", "crash: wire times", "crash: copies"}, set(texts))

    def test_a_course_is_that_of_the_largest_cluster(self):
        texts = self.texts("sim-course.svg")
        self.assertEqual(texts[0], "50 nodes, at once")
        self.assertIn("left the master", texts)


if __name__ == "__main__":
    unittest.main()
