"""Consoles, scenarios and the archive of the initramfs."""

import contextlib
import io
import os
import subprocess
import tempfile
import time
import types
import unittest
from pathlib import Path

from lab import abreast, registry
from lab.console import Console
from lab.lab import Lab, Said
from lab.machine import Machine
from repository import REPO


class ConsoleTest(unittest.TestCase):
    """Lines of a growing file."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.console = Console(Path(self.directory.name) / "log")

    def write(self, data):
        with open(self.console.path, "ab") as file:
            file.write(data)

    def test_half_a_line_waits_for_the_rest(self):
        self.write(b"one\ntw")
        self.assertEqual(self.console.poll(), ["one"])
        self.write(b"o\r\n")
        self.assertEqual(self.console.poll(), ["two"])

    def test_colours_and_broken_utf8_do_not_matter(self):
        self.write(b"\x1b[1;31mred\x1b[0m \xff\n")
        self.console.poll()
        self.assertEqual(self.console.find("red (.)")[1][1], "\ufffd")
        self.assertIsNone(self.console.find("green"))


    def test_what_is_repeated_but_for_its_numbers_is_not_new(self):
        self.write(b"waiting for the network (5 s)\nwaiting for the network (10 s)\n")
        self.console.poll()
        self.assertEqual(self.console.news, 1)
        self.write(b"carrier\n")
        self.console.poll()
        self.assertEqual(self.console.news, 2)

    def test_the_last_words_need_no_end_of_line(self):
        self.write(b"up, switching off")
        self.assertEqual(self.console.poll(), [])
        self.assertEqual(self.console.poll(last=True), ["up, switching off"])


class MachineTest(unittest.TestCase):
    """The time of a machine that shares its processor."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        lab = types.SimpleNamespace(directory=Path(directory.name), accel="tcg")
        self.machine = Machine(lab, 1, 64, None, "")
        self.machine.started = time.monotonic() - 100
        self.machine.process = types.SimpleNamespace(pid=0, poll=lambda: None)

    def test_its_clock_stands_while_it_waits_for_a_processor(self):
        self.assertAlmostEqual(self.machine.own_s(), 100, delta=5)
        self.machine._waited_s = 75  # pylint: disable=protected-access
        self.assertAlmostEqual(self.machine.own_s(), 25, delta=5)

    def test_a_machine_that_does_something_new_is_given_its_time_again(self):
        def hopeless():
            return Lab._hopeless(Lab, self.machine, Said("up"), 0, 60)  # pylint: disable=protected-access

        self.machine.note_progress(0)
        self.assertIsNone(hopeless())
        self.machine.moved_s = 10
        self.assertIn("did nothing new for 60 s", hopeless())
        self.machine.note_progress(7)
        self.assertIsNone(hopeless(), "bytes came")
        self.machine.moved_s = 10
        self.machine.console.path.write_bytes(b"up, switching off\n")
        self.assertIsNone(hopeless(), "it had said so before it was looked at")

    def test_only_who_does_nothing_new_is_called_stuck(self):
        def where():
            return Lab._where_it_is(self.machine)  # pylint: disable=protected-access

        self.machine.moved_s = 10
        self.assertEqual(where(), "stuck in the first system")
        self.machine.moved_s = 95
        self.assertEqual(where(), "on its way in the first system")
        self.machine.ended = time.monotonic()
        self.assertEqual(where(), "ended in the first system")


class RegistryTest(unittest.TestCase):
    """The scenarios that there are."""

    def test_every_scenario_says_what_it_is(self):
        scenarios = registry.load()
        self.assertIn("demo", scenarios)
        for scenario in scenarios.values():
            self.assertTrue(scenario.about.endswith("."), scenario.name)
            self.assertGreater(scenario.limit_s, 0)


class AbreastTest(unittest.TestCase):
    """Several runners at a time."""

    def test_what_each_says_is_shown_and_how_it_ended_is_counted(self):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            self.assertEqual(abreast.run(["none-such", "nor-this"], 2), (0, 2))
        shown, again = said.getvalue().split("what failed, once more:\n")
        for text in (shown, again):
            self.assertIn("no scenario none-such", text)
            self.assertIn("no scenario nor-this", text)

    def test_only_the_last_line_counts_them(self):
        self.assertTrue(abreast.TALLY.match("1 passed, 0 failed"))
        self.assertFalse(abreast.TALLY.match("one-node: passed in 7.5 s"))
        self.assertGreaterEqual(abreast.count_that_fits(), 1)


class PackTest(unittest.TestCase):
    """initramfs/pack, read back by cpio."""

    def pack(self, umask, order):
        """Pack a small tree made under this umask and in this order; return the bytes."""
        with tempfile.TemporaryDirectory() as work:
            root = Path(work) / "root"
            before = os.umask(umask)
            try:
                (root / "dev").mkdir(parents=True)
                (root / "a").mkdir()
                (root / "etc/xget").mkdir(parents=True)
                for name in order:
                    (root / name).write_text(name * 3)
                (root / "link").symlink_to("a/x")
            finally:
                os.umask(before)
            (root / "init").write_text("#!")
            (root / "init").chmod(0o700)
            out = Path(work) / "cpio"
            subprocess.run([REPO / "initramfs" / "pack", root, out], check=True, timeout=20)
            return out.read_bytes()

    def test_the_same_tree_gives_the_same_bytes(self):
        names = ["a/x", "a.b", "z"]
        self.assertEqual(self.pack(0o022, names), self.pack(0o077, names[::-1]))

    def test_cpio_agrees(self):
        archive = self.pack(0o022, ["a/x", "a.b", "etc/xget/key"])
        listing = subprocess.run(
            ["cpio", "-tv", "--numeric-uid-gid", "--quiet"],
            input=archive, capture_output=True, check=True, timeout=20,
        ).stdout.decode().splitlines()
        names = [line.split("1970 ")[-1] for line in listing]
        self.assertEqual(names[:3], ["a", "a/x", "a.b"])
        self.assertIn("link -> a/x", names)
        console = next(line for line in listing if line.endswith("dev/console"))
        self.assertRegex(console, r"^crw------- +1 0 +0 +5, +1 ")
        init = next(line for line in listing if line.endswith(" init"))
        self.assertTrue(init.startswith("-rwxr-xr-x"), init)
        key = next(line for line in listing if line.endswith("xget/key"))
        self.assertTrue(key.startswith("-rw-------"), key)


if __name__ == "__main__":
    unittest.main()
