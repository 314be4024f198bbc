"""What a soak holds against a client: whether what it fetched was ever served."""

import os
import random
import tempfile
import unittest
from pathlib import Path

from soaking import head
from soaking.process import held, listening


class States(unittest.TestCase):
    """A tree that changes."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        served = Path(self.directory.name) / "served"
        self.head = head.Head(served, random.Random(3))
        self.began = self.head.states[0].since

    def test_every_change_is_a_state_as_a_client_would_see_it(self):
        for _ in range(40):
            self.head.change()
            self.assertEqual(self.head.states[-1].files, head.contents(self.head.path))

    def test_what_was_served_counts_in_its_time_and_a_mixture_never(self):
        first = dict(self.head.states[0].files)
        self.head.change(self.head.replace)
        self.head.change(self.head.replace)
        third = self.head.states[-1]
        until = third.since + 100
        self.assertTrue(self.head.was(first, self.began, until))
        self.assertFalse(self.head.was(third.files, self.began, third.since - 1e-9))
        self.assertTrue(self.head.was({**third.files, "of before": b""}, self.began, until))
        self.assertFalse(self.head.was(first, third.since + head.LAG_S + 1, until))
        names = [name for name in first if first[name] != third.files[name]]
        mixture = {**third.files, names[0]: b"neither"}
        self.assertFalse(self.head.was(mixture, self.began, until))


class Processes(unittest.TestCase):
    """What /proc says."""

    def test_what_a_process_holds(self):
        before = held(os.getpid())
        with tempfile.TemporaryFile():
            after = held(os.getpid())
        self.assertEqual(after.files + after.deleted, before.files + before.deleted + 2)
        self.assertIsNone(held(2**22 + 1))
        self.assertIsInstance(listening(os.getpid()), list)


if __name__ == "__main__":
    unittest.main()
