"""The master's status, and the 9P client that reads it."""

import socket
import struct
import threading
import unittest

from lab import status
from lab.ninep import Ninep, NinepError

STATUS = """\
# address state have_bytes total_bytes from_master_bytes from_peers_bytes elapsed_ms parents
10.77.1.1!20004 serving 400 400 300 100 1500 me,10.77.1.2!20004
10.77.1.2!20004 fetching 100 400 100 0 700 me,me
10.77.1.3!20004 lost 0 400 0 0 10 -
10.77.1.3!20004 done 400 400 0 400 2000 -
"""


class ParseTest(unittest.TestCase):
    """Lines to clients, and clients to what is known."""

    def test_each_column_has_its_place(self):
        first = status.parse(STATUS)[0]
        self.assertEqual(first.address, "10.77.1.1")
        self.assertEqual((first.have_bytes, first.total_bytes), (400, 400))
        self.assertEqual((first.from_master_bytes, first.from_peers_bytes), (300, 100))
        self.assertEqual(first.parents, ("me", "10.77.1.2"))
        self.assertTrue(first.complete)

    def test_of_departed_ones_the_last_counts(self):
        known = {}
        status.merge(known, status.parse(STATUS))
        self.assertEqual(known["10.77.1.3"].state, "done")

    def test_a_live_one_counts_more_than_a_departed_one(self):
        known = {}
        status.merge(known, status.parse("a!1 fetching 1 2 0 0 9 me\na!2 lost 0 2 0 0 9 -\n"))
        self.assertEqual(known["a"].state, "fetching")

    def test_parents_are_remembered_after_the_end(self):
        known = {}
        status.merge(known, status.parse("a!1 fetching 1 2 0 0 9 me,b!1\n"))
        status.merge(known, status.parse("a!1 done 2 2 0 0 9 -\n"))
        self.assertEqual(known["a"].parents, ("me", "b"))

    def test_hosts_lose_their_ports(self):
        for text in ("10.0.0.1!9", "10.0.0.1:9", "10.0.0.1"):
            self.assertEqual(status.host(text), "10.0.0.1")
        self.assertEqual(status.host("[fd00::1]:9"), "fd00::1")

    def test_a_table_is_as_wide_as_its_widest_cells(self):
        lines = status.table([("n1", "master", "1.0", "-", "2.0", "3.0", "4.0", "booted")])
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[2].startswith("n1"))
        self.assertIn("master", lines[2])


class FakeServer:
    """Answers the requests it is given with the replies it is given."""

    def __init__(self, replies):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests = []
        self.thread = threading.Thread(target=self._serve, args=(replies,))
        self.thread.start()

    def _serve(self, replies):
        connection, _ = self.listener.accept()
        with connection:
            for kind, body in replies:
                size, asked, tag = struct.unpack("<IBH", connection.recv(7, socket.MSG_WAITALL))
                request = connection.recv(size - 7, socket.MSG_WAITALL) if size > 7 else b""
                self.requests.append((asked, request))
                connection.sendall(struct.pack("<IBH", 7 + len(body), kind, tag) + body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join(5)
        self.listener.close()


QID = bytes(13)
VERSION = (101, struct.pack("<IH", 8192, 6) + b"9P2000")
ATTACH = (105, QID)


class NinepTest(unittest.TestCase):
    """Against scripted replies."""

    def test_reads_to_the_end_of_a_file(self):
        walk = (111, struct.pack("<H", 2) + QID + QID)
        opened = (113, QID + bytes(4))
        replies = [VERSION, ATTACH, walk, opened]
        replies += [(117, struct.pack("<I", 3) + b"abc"), (117, bytes(4))]
        with FakeServer(replies) as server:
            with Ninep("127.0.0.1", server.port) as client:
                self.assertEqual(client.read("a/b"), b"abc")
        self.assertEqual([kind for kind, _ in server.requests], [100, 104, 110, 112, 116, 116])
        self.assertEqual(server.requests[2][1], bytes.fromhex("00000000 01000000 0200 0100 61 0100 62"))

    def test_an_error_is_the_servers_own_words(self):
        replies = [VERSION, ATTACH, (107, struct.pack("<H", 4) + b"nope")]
        with FakeServer(replies) as server:
            with Ninep("127.0.0.1", server.port) as client:
                with self.assertRaisesRegex(NinepError, "nope"):
                    client.read("a")

    def test_a_partial_walk_is_no_file(self):
        replies = [VERSION, ATTACH, (111, struct.pack("<H", 1) + QID)]
        with FakeServer(replies) as server:
            with Ninep("127.0.0.1", server.port) as client:
                with self.assertRaisesRegex(NinepError, "not there"):
                    client.read("a/b")

    def test_another_version_is_refused(self):
        with FakeServer([(101, struct.pack("<IH", 8192, 7) + b"unknown")]) as server:
            with self.assertRaisesRegex(NinepError, "unknown"):
                Ninep("127.0.0.1", server.port)
