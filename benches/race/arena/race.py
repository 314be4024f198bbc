"""A whole race: the tools side by side, one after the other, round by round.

Every round takes every tool over every course, beginning with another tool
each time, so that what changes on the machine meanwhile meets all of them.
"""

import random
import re
import shutil
import subprocess
from pathlib import Path

from netlab.shaping import parse_rate
from repository import BUILD
from tools import ALL

from . import content, figures, report
from .accounts import Group
from .contest import Conditions, Contest, available_bytes, room_bytes
from .network import Network

RESULTS = BUILD / "bench"
# Memory of its own is mounted here, where anyone (opentracker runs as nobody) may look.
HOME = Path("/dev/shm")
LIMIT_WIRE_TIMES = 120
LIMIT_S = 60
# Files may take this part of the memory that is available.
MEMORY_SHARE = 0.7


def fraction(text):
    """A number written as 1/10 or 0.1."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/(\d+))?", text)
    if not found or not 0 < float(found[1]) / float(found[2] or 1) < 1:
        raise ValueError(f"{text!r} is no fraction like 1/10")
    return float(found[1]) / float(found[2] or 1)


def spread(text, nodes):
    """When each node starts: all at once, or evenly over some seconds."""
    if text == "at-once":
        return [0.0] * nodes
    found = re.fullmatch(r"spread:(\d+(?:\.\d+)?)", text)
    if not found:
        raise ValueError(f"{text!r} is neither at-once nor like spread:5")
    delays = [float(found[1]) * i / max(1, nodes - 1) for i in range(nodes)]
    random.Random(nodes).shuffle(delays)
    return delays


class Plan:
    """What was asked for, checked."""

    def __init__(self, asked, default_courses):
        self.asked = asked
        self.courses = asked.courses or default_courses
        self.rate = parse_rate(asked.rate)
        self.head_rate = parse_rate(asked.head_rate) if asked.head_rate else None
        self.slow = {}
        if asked.slow_node:
            if not self.rate:
                raise ValueError("--slow-node needs a --rate")
            self.slow = {asked.nodes: round(self.rate * fraction(asked.slow_node))}
        self.delays_s = spread(asked.arrivals, asked.nodes)
        unknown = [name for name in asked.tools.split(",") if name not in ALL]
        if unknown:
            raise ValueError(f"no tool {unknown[0]}; --list shows what there is")
        self.tools = [ALL[name] for name in asked.tools.split(",")]
        if asked.runs < 1 or asked.nodes < 1:
            raise ValueError("less than one run or node")
        self._check_room()

    def _check_room(self):
        """Everything lies in memory, so that no disk is measured."""
        need = sum(course.total_bytes for course in self.courses)
        need += max(room_bytes(course, self.asked.nodes) for course in self.courses)
        have = available_bytes() * MEMORY_SHARE
        if need > have:
            raise ValueError(
                f"{need / 1e9:.1f} GB of files, and {have / 1e9:.1f} GB of memory for them"
            )

    def wire_s(self, course):
        """What the bytes alone need on one link, or None if that is unlimited."""
        return course.total_bytes * 8 / self.rate if self.rate else None

    def conditions(self, course):
        """What holds for all tools on a course."""
        limit_s = self.asked.limit
        if limit_s is None:
            limit_s = max(LIMIT_S, LIMIT_WIRE_TIMES * (self.wire_s(course) or 0))
        frozen = self.asked.stalled_node is not None
        return Conditions(
            limit_s=limit_s,
            delays_s=self.delays_s,
            # The middle one: neither the first nor the last to come.
            stalled=(self.asked.nodes + 1) // 2 if frozen else 0,
            stalls_at_s=self.asked.stalled_node or 0.0,
            slow=frozenset(self.slow),
            master_options=("--head", str(self.asked.head)) if self.asked.head else (),
        )

    def run(self):
        """Race, in namespaces made for it; return the exit status."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90%", "race", HOME], check=True)
        asked = self.asked
        arena = Network(asked.nodes, self.rate, self.head_rate, self.slow, asked.congestion)
        path = RESULTS / f"{asked.name}.csv"
        earlier = report.read_csv(self, arena.congestion, path) if asked.add else []
        for course in self.courses:
            files = HOME / str(course) / "files"
            files.mkdir(parents=True)
            content.make(course, files)
        results = self._rounds(arena)
        failed = any(result.failure for result in results)
        results = earlier + results
        if results:
            report.table(self, arena.congestion, results)
            report.write_csv(self, arena.congestion, results, path)
            figures.draw(self, results, asked.figures or RESULTS)
        return 1 if failed else 0

    def _rounds(self, arena):
        """All runs of all tools that are here."""
        present = [tool for tool in self.tools if not report.left_out(tool)]
        results = []
        for number in range(self.asked.runs):
            turn = number % max(1, len(present))
            for course in self.courses:
                for tool in present[turn:] + present[:turn]:
                    contest = Contest(tool, course, arena, HOME, Group(), self.conditions(course))
                    result = contest.run()
                    results.append(result)
                    report.progress(number + 1, result, self.wire_s(course))
                    if result.failure:
                        self._keep_logs(contest, number + 1)
        return results

    def _keep_logs(self, contest, number):
        """What a failed run has said."""
        kept = RESULTS / "logs" / f"{contest.course}-{contest.tool.name}-{number}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(contest.logs, kept)
