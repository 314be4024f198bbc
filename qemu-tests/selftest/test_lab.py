"""Consoles, addresses, isolation and the archive of the initramfs."""

import os
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from pathlib import Path

from lab import isolate, network, registry
from lab.console import Console
from lab.paths import REPO


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


class AddressTest(unittest.TestCase):
    """Node numbers to addresses."""

    def test_addresses_and_macs_differ(self):
        numbers = range(1, network.NODES_MAX + 1)
        self.assertEqual(len({network.node_address(i) for i in numbers}), network.NODES_MAX)
        self.assertEqual(len({network.node_mac(i) for i in numbers}), network.NODES_MAX)
        self.assertNotIn(network.MASTER, {network.node_address(i) for i in numbers})
        self.assertEqual(str(network.node_address(1)), "10.77.1.1")

    def test_there_is_no_node_zero(self):
        with self.assertRaises(ValueError):
            network.node_address(0)


class RegistryTest(unittest.TestCase):
    """The scenarios that there are."""

    def test_every_scenario_says_what_it_is(self):
        scenarios = registry.load()
        self.assertIn("demo", scenarios)
        for scenario in scenarios.values():
            self.assertTrue(scenario.about.endswith("."), scenario.name)
            self.assertGreater(scenario.limit_s, 0)


class IsolationTest(unittest.TestCase):
    """Nothing is left, however it ends."""

    def setUp(self):
        self.mark = uuid.uuid4().hex
        self.witness = isolate.Witness()

    def test_interfaces_stay_inside(self):
        command = "ip link add lab0 type bridge && grep -q lab0: /proc/net/dev"
        self.assertEqual(isolate.run(["sh", "-c", command], 20, self.mark), 0)
        self.assertEqual(self.witness.leftovers(self.mark), [])

    def test_children_end_with_it(self):
        self.assertEqual(isolate.run(["sh", "-c", "sleep 300 & exit 3"], 20, self.mark), 3)
        self.assertEqual(self.witness.leftovers(self.mark), [])

    def test_time_runs_out_for_all_of_them(self):
        command = "trap '' TERM INT; setsid sleep 300 & sleep 300"
        began = time.monotonic()
        self.assertIsNone(isolate.run(["sh", "-c", command], 1, self.mark))
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(self.witness.leftovers(self.mark), [])

    def test_a_killed_runner_leaves_nothing(self):
        program = "from lab import isolate; import sys; print('on', flush=True); "
        program += "isolate.run(['sh', '-c', 'sleep 300 & sleep 300'], 300, sys.argv[1])"
        runner = subprocess.Popen(
            [sys.executable, "-c", program, self.mark],
            cwd=REPO / "qemu-tests",
            stdout=subprocess.PIPE,
        )
        runner.stdout.readline()
        deadline = time.monotonic() + 10
        while not self.witness.leftovers(self.mark, 0) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertTrue(self.witness.leftovers(self.mark, 0), "it never ran")
        runner.kill()
        runner.wait()
        runner.stdout.close()
        self.assertEqual(self.witness.leftovers(self.mark), [])

    def test_a_leftover_is_noticed(self):
        environment = {**os.environ, isolate.MARK: self.mark}
        stray = subprocess.Popen(["sleep", "60"], env=environment)
        self.addCleanup(stray.wait)
        self.addCleanup(stray.kill)
        # Between fork and exec it still has this process's environment.
        deadline = time.monotonic() + 5
        while not self.witness.leftovers(self.mark, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(self.witness.leftovers(self.mark, 0), [f"process {stray.pid} (sleep)"])


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
