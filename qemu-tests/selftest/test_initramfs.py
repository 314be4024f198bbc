"""initramfs/build, on a kernel made of two modules of a few bytes."""

import gzip
import lzma
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from repository import REPO

VERSION = "1.2.3-test"


class InitramfsBuildTest(unittest.TestCase):
    """What is packed, what is said to be missing, and the status."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = Path(directory.name)
        self.base = self.work / "base"
        modules = self.base / "lib/modules" / VERSION
        (modules / "kernel/net").mkdir(parents=True)
        (self.base / "boot").mkdir()
        (self.base / "boot" / f"vmlinuz-{VERSION}").write_bytes(b"kernel")
        for name in ("builtin", "builtin.modinfo", "order"):
            (modules / f"modules.{name}").write_bytes(b"")
        self.module(
            modules / "kernel/net/one.ko", ["firmware=acme/one.fw", "firmware=acme/two.fw"],
            '.section __ksymtab_strings,"a"\n.asciz "shared"\n',
        )
        self.module(modules / "kernel/net/two.ko", [], ".quad shared\n")
        self.init = self.work / "init"
        self.init.write_bytes(b"#!")

    def module(self, path, said, more):
        """An object file with such a section .modinfo; symbols make dependencies."""
        strings = [f"name={path.stem}", f"vermagic={VERSION}", *said]
        text = "".join(f'.asciz "{string}"\n' for string in strings)
        source = f'.section .modinfo,"a"\n{text}.data\n{more}'
        subprocess.run(
            ["as", "-o", path, "-"], input=source.encode(), check=True, timeout=20
        )

    def build(self, names, *options):
        """Run it with a list of these names."""
        modules = self.work / "list"
        modules.write_text(names + "\n")
        command = [REPO / "initramfs/build", "--kernel", self.base, "--modules", modules]
        return subprocess.run(
            [*command, "--init", self.init, "--output", self.work / "out.img", *options],
            env={**os.environ, "COMPRESS": "gzip"},
            capture_output=True, text=True, timeout=60, check=False,
        )

    def packed(self):
        """The names in the archive that was built."""
        archive = gzip.decompress((self.work / "out.img").read_bytes())
        listing = subprocess.run(
            ["cpio", "-t", "--quiet"], input=archive, capture_output=True, check=True, timeout=20
        )
        return listing.stdout.decode().split()

    def test_what_a_module_needs_comes_along(self):
        done = self.build("two!")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"lib/modules/{VERSION}/kernel/net/one.ko", self.packed())
        self.assertIn("2 modules of 1.2.3-test", done.stdout)

    def test_a_lacking_card_of_metal_is_warned_of_and_fails_the_check(self):
        done = self.build("one absent! other")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("not in 1.2.3-test: other", done.stdout)
        self.assertIn("no driver for these cards of metal machines: absent", done.stderr)
        done = self.build("one absent! other", "--check")
        self.assertEqual(done.returncode, 1)
        self.assertIn("absent", done.stderr)

    def test_a_check_builds_nothing(self):
        done = self.build("one! other", "--check")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("not in 1.2.3-test: other", done.stdout)
        self.assertFalse((self.work / "out.img").exists())

    def test_firmware_is_unpacked_or_named_with_its_module(self):
        done = self.build("one")
        self.assertIn("one (2): acme/one.fw acme/two.fw", done.stdout)
        firmware = self.work / "firmware"
        (firmware / "acme").mkdir(parents=True)
        (firmware / "acme/one.fw.xz").write_bytes(lzma.compress(b"first"))
        done = self.build("one", "--firmware", firmware)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("lib/firmware/acme/one.fw", self.packed())
        self.assertIn("one (1): acme/two.fw", done.stdout)
        (self.base / "lib/firmware/acme").mkdir(parents=True)
        (self.base / "lib/firmware/acme/two.fw").write_bytes(b"second")
        done = self.build("one", "--firmware", firmware)
        self.assertIn("lib/firmware/acme/two.fw", self.packed())
        self.assertNotIn("firmware that is not there", done.stdout)

    def test_a_key_is_of_the_cluster_and_nobody_elses_to_read(self):
        key = self.work / "key"
        key.write_text("xget-root-1:00\n")
        done = self.build("one", "--key", key)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("`xgetctl key cluster`", done.stderr)
        key.write_text("xget-cluster-1:00\n")
        done = self.build("one", "--key", key)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("etc/xget/key", self.packed())
        self.assertEqual((self.work / "out.img").stat().st_mode & 0o777, 0o600)

    def test_a_directory_that_is_not_there_is_said(self):
        done = self.build("one", "--firmware", "/nonexistent/firmware")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("there is no directory /nonexistent/firmware", done.stderr)


if __name__ == "__main__":
    unittest.main()
