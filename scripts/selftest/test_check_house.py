"""What scripts/check-house finds in a small tree, and what it leaves alone."""

import subprocess
import tempfile
import unittest
from pathlib import Path

from repository import REPO

FIELDS = "".join(f"    field_{number}: Map<u8, fn(u8) -> u8>,\n" for number in range(13))


def found_in(files):
    """Runs it on these files, and gives what it says without the names of modules."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in files.items():
            path = Path(scratch, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        command = [REPO / "scripts/check-house", scratch]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = run.stdout.splitlines()
    assert run.returncode == (1 if lines else 0), run.stderr
    return lines


class CheckHouse(unittest.TestCase):
    """One rule each."""

    def one(self, files, where, what):
        """Exactly this is found."""
        lines = found_in(files)
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith(where), lines)
        self.assertIn(what, lines[0])

    def test_long_files(self):
        self.assertEqual(found_in({"src/a/lib.rs": "//\n" * 600}), [])
        self.one({"tests/b.rs": "//\n" * 601}, "tests/b.rs:601:", "601 lines")

    def test_wide_structs(self):
        wide = f"mod x {{}}\n#[derive(Debug)]\nstruct Wide {{\n{FIELDS}}}\n"
        self.one({"src/a/lib.rs": wide}, "src/a/lib.rs:3:", "Wide has 13 fields")
        reason = wide.replace("#[derive", "// fields: one for each word\n#[derive")
        self.assertEqual(found_in({"src/a/lib.rs": reason}), [])

    def test_circles(self):
        root = "mod one;\nmod two;\n"
        one, two = "use crate::two::{B, inner::C as D};", "pub struct B;\nfn f(_: super::one::A) {}"
        files = {"src/a/lib.rs": root, "src/a/one.rs": one, "src/a/two.rs": two}
        self.one(files, "src/a/one.rs:1:", "crate::one and crate::two import each other")
        files["src/a/two.rs"] = "#[cfg(test)]\nmod tests {\n use crate::one::A;\n}\n// crate::one::A\n"
        self.assertEqual(found_in(files), [], "tests and comments may")

    def test_circles_between_a_module_and_one_below(self):
        root = "mod a;"
        parent = "mod b;\nmod c;\npub use b::B;\nuse c::C;\n"
        files = {"src/x/lib.rs": root, "src/x/a/mod.rs": parent, "src/x/a/b.rs": "pub struct B;"}
        files["src/x/a/c.rs"] = "use super::B;\npub struct C;"
        self.assertEqual(found_in(files), [], "B is defined in b, wherever it is named")
        files["src/x/a/c.rs"] = "use super::Parent;\npub struct C;"
        self.one(files, "src/x/a/mod.rs:4:", "crate::a and crate::a::c")

    def test_words(self):
        tests = "#[test]\nfn f() { g().unwrap() }\n"
        self.assertEqual(found_in({"src/a/lib.rs": tests}), [])
        self.one({"src/a/lib.rs": "fn f() {\n g().unwrap() }"}, "src/a/lib.rs:2:", ".unwrap()")
        files = {"src/xget/lib.rs": "mod os;", "src/xget/os/mod.rs": "mod a;"}
        files["src/xget/os/a.rs"] = "unsafe fn f() {}"
        self.assertEqual(found_in(files), [])
        self.one({"src/a/lib.rs": '#![deny(unsafe_code)]\nunsafe fn f() { "unsafe" }'}, "src/a/lib.rs:2:", "unsafe")


if __name__ == "__main__":
    unittest.main()
