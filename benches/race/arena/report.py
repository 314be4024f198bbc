"""What a race has shown, as a table for people and as CSV."""

import csv
import os
import shutil
from collections import Counter
from pathlib import Path
from statistics import median

from tools import ALL

from . import Failed
from .content import Course
from .contest import Result

FIELDS = (
    "conditions course files size_bytes nodes rate_bit tool run failure time_s since_last_start_s"
    " node_s wire_s ratio processor_s_per_gb machine_s_per_gb machine_busy head_copies"
).split()


def missing(tool):
    """The first command of a tool that is not there, or None."""
    for program in tool.programs:
        if not shutil.which(program):
            return os.path.basename(program)
    return None


def left_out(tool):
    """Whether a tool cannot race; says so."""
    lack = missing(tool)
    why = f"there is no {lack} (scripts/setup --bench)" if lack else None
    if tool.wants_root and not mapped_users():
        why = "its server wants to be started by root"
    if why:
        print(f"{tool.name}: left out, as {why}", flush=True)
    return why is not None


def mapped_users():
    """Whether there are users beside this one; not so in a user namespace made by anybody."""
    return int(Path("/proc/self/uid_map").read_text().split()[2]) > 1


def progress(number, result, wire_s):
    """A line for each run, as it ends."""
    line = f"run {number}  {str(result.course):8} {result.tool:10}"
    if result.failure:
        print(f"{line} FAILED: {result.failure}", flush=True)
        return
    ratio = f"  {result.since_last_start_s / wire_s:5.2f} wire times" if wire_s else ""
    print(f"{line} {result.since_last_start_s:7.2f} s{ratio}", flush=True)


def courses_of(results):
    """The courses that were run, in that order."""
    return list(dict.fromkeys(result.course for result in results))


def tools_of(results):
    """The names of the tools that were run, in their usual order."""
    raced = {result.tool for result in results}
    return [name for name in ALL if name in raced]


def per_gb(seconds, result):
    """Seconds for each delivered gigabyte, or None."""
    return None if seconds is None else seconds / (result.delivered_bytes / 1e9)


def busy(result):
    """How much of all processors' time the machine was at work."""
    return result.machine_s / (result.time_s * os.cpu_count())


def copies(result):
    """How often the head has sent the data, headers and all included."""
    return result.head_sent_bytes / result.course.total_bytes


def shown(values, form):
    """Median, least and most of what is known."""
    if not values or values[0] is None:
        return "-"
    return f"{median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def middle(values, form):
    """The median alone."""
    return "-" if not values or values[0] is None else f"{median(values):{form}}"


def conditions(plan, congestion):
    """The race in one line."""
    asked = plan.asked
    line = f"{asked.nodes} nodes, links {asked.rate}"
    line += f", head {asked.head_rate}" if asked.head_rate else ""
    line += f", arrivals {asked.arrivals}" if asked.arrivals != "at-once" else ""
    line += f", one node with {asked.slow_node} of the link" if asked.slow_node else ""
    if asked.stalled_node is not None:
        line += f", one node frozen after {asked.stalled_node:g} s"
    return f"{line}, TCP {congestion}, {os.cpu_count()} processors"


def table(plan, congestion, results):
    """For each course and tool: median (least-most) over the runs."""
    most = max(Counter((r.course, r.tool) for r in results).values())
    runs = f"{most} runs" if most > 1 else "one run"
    print(f"\n{conditions(plan, congestion)}; median (least-most) of {runs}")
    since = " since the last start" if max(plan.delays_s) else ""
    print(f"time: until the last node has everything{since}; wire: the payload at the link's rate")
    head = ("course", "tool", "time s", "wire times", "node s")
    head += ("cpu s/GB", "machine s/GB", "busy", "copies")
    widths = (9, 10, 24, 22, 8, 10, 14, 7, 8)
    print("".join(f"{title:<{width}}" for title, width in zip(head, widths)))
    for course in courses_of(results):
        for tool in tools_of(results):
            mine = [r for r in results if r.course == course and r.tool == tool]
            if mine:
                row = _row(plan, course, mine)
                cells = zip((str(course), tool, *row), widths)
                print("".join(f"{cell:<{width}}" for cell, width in cells))


def _row(plan, course, mine):
    """The cells of one course and tool."""
    good = [r for r in mine if not r.failure]
    failed = [r.failure for r in mine if r.failure]
    if not good:
        return (f"FAILED: {failed[0]}",)
    wire_s = plan.wire_s(course)
    times = [r.since_last_start_s for r in good]
    row = [
        shown(times, ".2f"),
        shown([t / wire_s for t in times], ".2f") if wire_s else "-",
        middle([r.node_s for r in good], ".2f"),
        middle([per_gb(r.processor_s, r) for r in good], ".2f"),
        middle([per_gb(r.machine_s, r) for r in good], ".2f"),
        middle([busy(r) for r in good], ".0%"),
        middle([copies(r) for r in good], ".2f"),
    ]
    if failed:
        row.append(f" {len(failed)} of {len(mine)} FAILED: {failed[0]}")
    return row


def write_csv(plan, congestion, results, path):
    """Every run in a line of its own."""
    counts = {}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for result in results:
            key = (result.course, result.tool)
            counts[key] = counts.get(key, 0) + 1
            row = _csv_row(plan, result, counts[key])
            writer.writerow({"conditions": conditions(plan, congestion), **row})
    print(f"\nall runs: {path}")


def read_csv(plan, congestion, path):
    """The runs of an earlier race under the same conditions."""
    results = []
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["conditions"] != conditions(plan, congestion):
                raise Failed(f"{path} is of another race: {row['conditions']}")
            results.append(_result(plan, row))
    return results


def _result(plan, row):
    """A run as it was written."""
    course = Course.parse(row["course"])
    result = Result(row["tool"], course, row["failure"])
    if not result.failure:
        result.time_s = float(row["time_s"])
        result.since_last_start_s = float(row["since_last_start_s"])
        result.node_s = float(row["node_s"])
        result.delivered_bytes = plan.asked.nodes * course.total_bytes
        gigabytes = result.delivered_bytes / 1e9
        if row["processor_s_per_gb"]:
            result.processor_s = float(row["processor_s_per_gb"]) * gigabytes
        result.machine_s = float(row["machine_s_per_gb"]) * gigabytes
        result.head_sent_bytes = round(float(row["head_copies"]) * course.total_bytes)
    return result


def _csv_row(plan, result, number):
    """One run."""
    course, wire_s = result.course, plan.wire_s(result.course)
    row = {
        "course": course,
        "files": course.files,
        "size_bytes": course.size_bytes,
        "nodes": plan.asked.nodes,
        "rate_bit": plan.rate or "",
        "tool": result.tool,
        "run": number,
        "failure": result.failure,
    }
    if not result.failure:
        known = {
            "time_s": result.time_s,
            "since_last_start_s": result.since_last_start_s,
            "node_s": result.node_s,
            "wire_s": wire_s,
            "ratio": result.since_last_start_s / wire_s if wire_s else None,
            "processor_s_per_gb": per_gb(result.processor_s, result),
            "machine_s_per_gb": per_gb(result.machine_s, result),
            "machine_busy": busy(result),
            "head_copies": copies(result),
        }
        row.update({name: f"{value:.4f}" for name, value in known.items() if value is not None})
    return row
