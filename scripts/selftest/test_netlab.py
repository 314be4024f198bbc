"""The network lab: addresses, lines, rates, namespaces, and that nothing is left."""

import ipaddress
import os
import subprocess
import sys
import time
import unittest
import uuid

from netlab import NetworkError, address, command, isolate, shaping
from repository import REPO


class AddressTest(unittest.TestCase):
    """Machine numbers to addresses."""

    PLAN = address.Plan(ipaddress.ip_network("10.77.0.0/16"), "52:54:00:77")

    def test_addresses_and_macs_differ(self):
        numbers = range(1, address.NODES_MAX + 1)
        addresses = {self.PLAN.node(i) for i in numbers}
        self.assertEqual(len(addresses), address.NODES_MAX)
        self.assertEqual(len({self.PLAN.mac(i) for i in range(len(numbers) + 1)}), len(numbers) + 1)
        self.assertNotIn(self.PLAN.head, addresses)
        self.assertLessEqual(addresses, set(self.PLAN.subnet.hosts()))

    def test_the_number_can_be_read(self):
        self.assertEqual(str(self.PLAN.head), "10.77.0.1")
        self.assertEqual(str(self.PLAN.node(1)), "10.77.1.1")
        self.assertEqual(self.PLAN.mac(258), "52:54:00:77:01:02")

    def test_there_is_no_node_zero(self):
        for index in (0, -1, address.NODES_MAX + 1):
            self.assertRaises(ValueError, self.PLAN.node, index)


class RateTest(unittest.TestCase):
    """What a link may be said to be."""

    def test_rates_are_decimal(self):
        self.assertEqual(shaping.parse_rate("100mbit"), 100_000_000)
        self.assertEqual(shaping.parse_rate("1.5gbit"), 1_500_000_000)
        self.assertIsNone(shaping.parse_rate("none"))

    def test_what_is_no_rate_is_refused(self):
        for wrong in ("100", "100mb", "0mbit", "-1gbit", ""):
            self.assertRaises(ValueError, shaping.parse_rate, wrong)


def isolated(program):
    """Run a program of netlab in namespaces of its own; its exit status."""
    path = f"import sys; sys.path.insert(0, {str(REPO / 'scripts')!r})\n"
    return isolate.run([sys.executable, "-B", "-c", path + program], 30, uuid.uuid4().hex)


class KernelTest(unittest.TestCase):
    """What the lines come to, in a network that ends with each test."""

    def test_a_limit_is_set_and_changed(self):
        program = """
from netlab import command, link, shaping
command.batch("ip", [link.veth("here", "there"), link.up("here"), link.up("there")])
assert not shaping.is_limited("here")
for rate, shown in ((10_000_000, "10Mbit"), (250_000_000, "250Mbit")):
    shaping.set_limit("here", rate, 131072, 262144)
    limits = command.output(["tc", "qdisc", "show", "dev", "here"])
    assert limits.count("tbf") == 1 and f"rate {shown}" in limits, limits
assert not shaping.is_limited("there")
"""
        self.assertEqual(isolated(program), 0)

    def test_a_machine_behind_a_bridge_is_reached_without_asking(self):
        program = """
import os, socket
from netlab import command, link, namespace
home = namespace.own()
node = namespace.create(home, {"net/ipv6/conf/all/disable_ipv6": "1", "no/such": "1"})
assert os.listdir("/sys/class/net") and "eth0" not in open("/proc/net/dev").read()
there = f"/proc/{os.getpid()}/fd/{node}"
mac = "02:99:00:00:01:01"
command.batch("ip", [*link.bridge("hub", "fe:99:00:00:00:00"),
    link.veth_to("port", "eth0", mac, there), link.plug("port", "hub"),
    link.address("hub", "10.9.0.1", 16), link.up("hub"),
    *link.neighbours("hub", [("10.9.1.1", mac)])])
# A port's is lower than its own.
assert "fe:99:00:00:00:00" in command.output(["ip", "link", "show", "hub"])
command.batch("bridge", [link.forwarding("port", mac)])
command.batch("ip", [link.up("lo"), link.address("eth0", "10.9.1.1", 16), link.up("eth0")], node)
namespace.enter(node)
server = socket.create_server(("10.9.1.1", 7777))
namespace.enter(home)
assert "PERMANENT" in command.output(["ip", "neigh", "show", "10.9.1.1"])
socket.create_connection(("10.9.1.1", 7777), timeout=5)
command.batch("ip", [link.unplug("port")])
try:
    socket.create_connection(("10.9.1.1", 7777), timeout=0.5)
    raise SystemExit("reached although it was unplugged")
except TimeoutError:
    pass
command.batch("ip", [link.plug("port", "hub")])
socket.create_connection(("10.9.1.1", 7777), timeout=5)
"""
        self.assertEqual(isolated(program), 0)

    def test_a_failure_is_the_programs_own_words(self):
        with self.assertRaisesRegex(NetworkError, "ip: .*nonesuch"):
            command.output(["ip", "link", "show", "dev", "nonesuch"])
        with self.assertRaisesRegex(NetworkError, "no-such-program"):
            command.output(["no-such-program"])
        command.batch("no-such-program", [])


class IsolationTest(unittest.TestCase):
    """Nothing is left, however it ends."""

    def setUp(self):
        self.mark = uuid.uuid4().hex

    def test_interfaces_stay_inside(self):
        command = "ip link add lab0 type bridge && grep -q lab0: /proc/net/dev"
        self.assertEqual(isolate.run(["sh", "-c", command], 20, self.mark), 0)
        self.assertEqual(isolate.leftovers(self.mark), [])

    def test_children_end_with_it(self):
        self.assertEqual(isolate.run(["sh", "-c", "sleep 300 & exit 3"], 20, self.mark), 3)
        self.assertEqual(isolate.leftovers(self.mark), [])

    def test_time_runs_out_for_all_of_them(self):
        command = "trap '' TERM INT; setsid sleep 300 & sleep 300"
        began = time.monotonic()
        self.assertIsNone(isolate.run(["sh", "-c", command], 1, self.mark))
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(isolate.leftovers(self.mark), [])

    def test_a_killed_runner_leaves_nothing(self):
        program = "from netlab import isolate; import sys; print('on', flush=True); "
        program += "isolate.run(['sh', '-c', 'sleep 300 & sleep 300'], 300, sys.argv[1])"
        runner = subprocess.Popen(
            [sys.executable, "-c", program, self.mark],
            cwd=REPO / "scripts",
            stdout=subprocess.PIPE,
        )
        runner.stdout.readline()
        deadline = time.monotonic() + 10
        while not isolate.leftovers(self.mark, 0) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertTrue(isolate.leftovers(self.mark, 0), "it never ran")
        runner.kill()
        runner.wait()
        runner.stdout.close()
        self.assertEqual(isolate.leftovers(self.mark), [])

    def test_a_leftover_is_noticed(self):
        environment = {**os.environ, isolate.MARK: self.mark}
        stray = subprocess.Popen(["sleep", "60"], env=environment)
        self.addCleanup(stray.wait)
        self.addCleanup(stray.kill)
        # Between fork and exec it still has this process's environment.
        deadline = time.monotonic() + 5
        while not isolate.leftovers(self.mark, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(isolate.leftovers(self.mark, 0), [f"process {stray.pid} (sleep)"])

    def test_who_keeps_the_namespace_is_noticed_and_others_are_not(self):
        command = ["unshare", "--net", "sleep", "60"]
        if os.geteuid() != 0:
            command[1:1] = ["--user", "--map-root-user"]
        stray = subprocess.Popen(command, env={"PATH": os.environ["PATH"]})
        self.addCleanup(stray.wait)
        self.addCleanup(stray.kill)
        namespace = isolate._own_namespace(stray)  # pylint: disable=protected-access
        self.assertIsNotNone(namespace)
        self.assertEqual(isolate.leftovers(self.mark, 0), [], "that of somebody else")
        isolate._NAMESPACES[self.mark] = namespace  # pylint: disable=protected-access
        found = isolate.leftovers(self.mark, 0)
        self.assertEqual(found, [f"network namespace of process {stray.pid}"])


if __name__ == "__main__":
    unittest.main()
