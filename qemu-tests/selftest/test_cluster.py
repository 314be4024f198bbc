"""What is shown of a cluster, and how its machines are switched on; without any machine."""

import os
import tempfile
import types
import unittest
from pathlib import Path
from unittest import mock

from lab import cluster, firmware, outcome, paths, roll
from lab.lab import Lab, Said
from lab.machine import Machine

ROLL = """\
table=good nodes=2
state=fetching seconds=3 address=10.0.0.7 name=n001 image=images/a%20b mac=52:54:00:77:00:01 more=x
state=unknown seconds=0 address=10.0.0.8 mac=52:54:00:77:00:02
state=up seconds=9 address=10.0.0.9 name=n003
"""


class RollTest(unittest.TestCase):
    """What a master heard of nodes."""

    def test_nodes_are_told_by_their_mac_addresses(self):
        found = roll.parse(ROLL)
        self.assertEqual(list(found), ["52:54:00:77:00:01", "52:54:00:77:00:02"])
        first = found["52:54:00:77:00:01"]
        self.assertEqual((first.state, first.name, first.image), ("fetching", "n001", "images/a b"))

    def test_each_state_keeps_the_moment_at_which_it_was_first_seen(self):
        known = {}
        roll.merge(known, roll.parse(ROLL))
        fetching = known["52:54:00:77:00:01"].first["fetching"]
        roll.merge(known, roll.parse(ROLL.replace("state=fetching", "state=up")))
        roll.merge(known, roll.parse(ROLL))
        first = known["52:54:00:77:00:01"].first
        self.assertEqual(sorted(first), ["fetching", "up"])
        self.assertEqual(first["fetching"], fetching)


class OutcomeTest(unittest.TestCase):
    """Tables and pictures."""

    def test_numbers_stand_to_the_right(self):
        lines = outcome.columns(("node", "up"), ("", "s"), [("n1", "7"), ("n002", "123")])
        self.assertEqual(lines, ["node   up", "        s", "n1      7", "n002  123"])

    def test_a_picture_has_a_step_for_each_node_and_may_have_none(self):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "nodes.svg"
            outcome.picture("3 nodes", {"login": [2.0, 1.0], "up": []}, path)
            text = path.read_text()
        self.assertTrue(text.startswith("<svg") and ">login<" in text and ">up<" in text)
        self.assertEqual(text.count("<polyline"), 2)


class FirmwareTest(unittest.TestCase):
    """What QEMU is told."""

    def machine(self, directory, kind):
        """A bare one."""
        port = types.SimpleNamespace(tap="tap1", mac="52:54:00:77:00:01")
        lab = types.SimpleNamespace(directory=Path(directory), accel="tcg")
        machine = Machine(lab, 1, 512, [port], "", ("kernel", "initrd"))
        machine.hardware.firmware = kind
        machine.hardware.disk = firmware.empty_disk(lab.directory / "disk")
        return machine

    def test_a_bare_machine_boots_from_its_card_and_has_an_empty_disk(self):
        with tempfile.TemporaryDirectory() as directory:
            machine = self.machine(directory, firmware.BIOS)
            line = " ".join(machine.command())
            self.assertNotIn("-kernel", line)
            self.assertIn("mac=52:54:00:77:00:01,bootindex=1", line)
            self.assertEqual(machine.hardware.disk.read_bytes().strip(b"\0"), b"")

    def test_machines_with_uefi_have_variables_of_their_own(self):
        with tempfile.TemporaryDirectory() as directory:
            machine = self.machine(directory, firmware.UEFI)
            line = " ".join(machine.command())
            self.assertIn(f"{directory}/node1.variables,readonly=off", line)
            self.assertIn("romfile=,bootindex=1", line)


class PathsTest(unittest.TestCase):
    """The lab's own kernel."""

    def test_the_kernel_is_the_one_beside_the_initramfs_as_either_has_it(self):
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            with mock.patch.dict(os.environ, {"XGET_INITRAMFS": f"{directory}/initrd"}):
                (place / "kernel").mkdir()  # where kernels are unpacked
                self.assertEqual(paths.kernel(), place / "vmlinuz")
                (place / "kernel").rmdir()
                (place / "kernel").write_bytes(b"")
                self.assertEqual(paths.kernel(), place / "kernel")


class ImagesTest(unittest.TestCase):
    """Whether what was made before will do."""

    MAKERS = ("xget", "xgetctl", "xget-init", "initramfs/build")

    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)
        (self.place / "initramfs").mkdir()
        for name in self.MAKERS:
            (self.place / name).write_text(name)
        xget = mock.patch.dict(os.environ, {"XGET_BINARY": str(self.place / "xget")})
        tree = mock.patch.multiple(
            cluster, REPO=self.place, PLACE=self.place / "demo", TREE=self.place / "demo/srv",
            MADE_BY=self.place / "demo/made-by",
        )
        for patch in (xget, tree):
            patch.start()
            self.addCleanup(patch.stop)

    def prepare(self, fails=False):
        """The commands that make images."""
        head = mock.Mock()
        head.shell.side_effect = cluster.Failed("no room") if fails else None
        with mock.patch.object(cluster, "Head", return_value=head):
            try:
                cluster.prepare()
            except cluster.Failed:
                pass
        return head.xgetctl.call_count

    def test_images_are_made_once_and_anew_when_what_makes_them_is_another(self):
        self.assertGreater(self.prepare(), 0)
        self.assertEqual(self.prepare(), 0)
        for name in self.MAKERS:
            (self.place / name).write_text("another")
            self.assertGreater(self.prepare(), 0, name)
            self.assertEqual(self.prepare(), 0)

    def test_what_was_not_made_to_the_end_is_made_anew(self):
        self.prepare()
        (self.place / "xget").write_text("another")
        self.prepare(fails=True)
        (self.place / "xget").write_text("xget")
        self.assertGreater(self.prepare(), 0)


class WaitingTest(unittest.TestCase):
    """What is waited for, by consoles or otherwise."""

    def test_what_was_awaited_is_said_of_who_stands_still(self):
        def up(_):
            """word that it is up"""
            return False

        machine = types.SimpleNamespace(
            name="node1", started=0.0, ended=None, moved_s=0.0, own_s=lambda: 99.0,
            poll=lambda: None, console=types.SimpleNamespace(find=lambda _: None),
        )
        lab = Lab.__new__(Lab)
        why = lab._hopeless(machine, up, 0.0, 60)
        self.assertEqual(why, "node1 did nothing new for 60 s, and there is no word that it is up")
        self.assertIn("'login'", lab._hopeless(machine, Said("login"), 0.0, 60))
        self.assertIsNone(lab._hopeless(machine, Said("login"), 90.0, 60))
