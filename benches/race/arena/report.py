"""What a race has shown, as a table for people and as CSV."""

import csv
import os
import shutil
from statistics import median

FIELDS = (
    "course files size_bytes nodes rate_bit tool run failure time_s since_last_start_s"
    " median_node_s wire_s ratio processor_s processor_s_per_gb machine_s_per_gb head_copies"
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
    if lack:
        print(f"{tool.name}: left out, as there is no {lack} (scripts/setup --bench)", flush=True)
    return bool(lack)


def progress(number, result, wire_s):
    """A line for each run, as it ends."""
    line = f"run {number}  {str(result.course):8} {result.tool:10}"
    if result.failure:
        print(f"{line} FAILED: {result.failure}", flush=True)
        return
    ratio = f"  {result.since_last_start_s / wire_s:5.2f} wire times" if wire_s else ""
    print(f"{line} {result.since_last_start_s:7.2f} s{ratio}", flush=True)


def per_gb(seconds, result):
    """Seconds for each delivered gigabyte, or None."""
    return None if seconds is None else seconds / (result.delivered_bytes / 1e9)


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
    print(f"\n{conditions(plan, congestion)}; median (least-most) of {asked_runs(plan)}")
    since = " since the last start" if max(plan.delays_s) else ""
    print(f"time: until the last node has everything{since}; wire: the payload at the link's rate")
    head = ("course", "tool", "time s", "wire times", "node s", "cpu s/GB", "machine s/GB", "copies")
    widths = (9, 10, 22, 19, 8, 9, 13, 8)
    print("".join(f"{title:<{width}}" for title, width in zip(head, widths)))
    for course in plan.courses:
        for tool in plan.tools:
            mine = [r for r in results if r.course == course and r.tool == tool.name]
            if mine:
                row = _row(plan, course, mine)
                print("".join(f"{cell:<{w}}" for cell, w in zip((str(course), tool.name, *row), widths)))


def asked_runs(plan):
    """The number of runs, in words."""
    return f"{plan.asked.runs} runs" if plan.asked.runs > 1 else "one run"


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
        middle([r.median_s for r in good], ".2f"),
        middle([per_gb(r.processor_s, r) for r in good], ".2f"),
        middle([per_gb(r.machine_s, r) for r in good], ".2f"),
        middle([copies(r) for r in good], ".2f"),
    ]
    if failed:
        row.append(f" {len(failed)} of {len(mine)} FAILED: {failed[0]}")
    return row


def write_csv(plan, results, path):
    """Every run in a line of its own."""
    counts = {}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for result in results:
            key = (result.course, result.tool)
            counts[key] = counts.get(key, 0) + 1
            writer.writerow(_csv_row(plan, result, counts[key]))
    print(f"\nall runs: {path}")


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
            "median_node_s": result.median_s,
            "wire_s": wire_s,
            "ratio": result.since_last_start_s / wire_s if wire_s else None,
            "processor_s": result.processor_s,
            "processor_s_per_gb": per_gb(result.processor_s, result),
            "machine_s_per_gb": per_gb(result.machine_s, result),
            "head_copies": copies(result),
        }
        row.update({name: f"{value:.4f}" for name, value in known.items() if value is not None})
    return row
