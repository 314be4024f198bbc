"""Consoles, scenarios and the archive of the initramfs."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from lab import registry
from lab.console import Console
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


class RegistryTest(unittest.TestCase):
    """The scenarios that there are."""

    def test_every_scenario_says_what_it_is(self):
        scenarios = registry.load()
        self.assertIn("demo", scenarios)
        for scenario in scenarios.values():
            self.assertTrue(scenario.about.endswith("."), scenario.name)
            self.assertGreater(scenario.limit_s, 0)


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
        archive = self.pack(0o022, ["a/x", "a.b"])
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


if __name__ == "__main__":
    unittest.main()
