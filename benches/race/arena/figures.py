"""The paper's figures, drawn again from what a race has shown.

Time over size (its figures 3 and 4), and time over the number of files (5 and
6). A logarithmic axis makes one figure of two: the paper drew XGet and
BitTorrent a second time, as the others had pressed them flat.
"""

from statistics import median

from chart import COLOURS, Chart, Line
from tools import ALL

from . import report
from .content import show_size

Y_LABEL = "seconds until the last node has everything"
COLOUR_OF = dict(zip(ALL, COLOURS))


def draw(plan, results, directory):
    """Write those figures that the courses have points for."""
    directory.mkdir(parents=True, exist_ok=True)
    courses = report.courses_of(results)
    _figure(
        plan,
        results,
        directory / f"{plan.asked.name}-size.svg",
        sorted((c for c in courses if c.files == 1), key=lambda c: c.size_bytes),
        "One file",
        "size of the file in MB",
        lambda course: course.size_bytes / 1e6,
    )
    size = _size_of_the_files(courses)
    _figure(
        plan,
        results,
        directory / f"{plan.asked.name}-files.svg",
        sorted((c for c in courses if c.size_bytes == size), key=lambda c: c.files),
        f"Files of {show_size(size)}B" if size else "",
        "number of files",
        lambda course: course.files,
    )


def _figure(plan, results, path, courses, title, x_label, x_of):
    """One of them, if there are two points for it and a line."""
    if len(courses) < 2:
        return
    about = f"{plan.asked.nodes} nodes, links of {plan.asked.rate.replace('mbit', ' Mbit/s')}"
    series = _series(plan, results, courses, x_of)
    chart = Chart(title=f"{title}: {about}", x_label=x_label, y_label=Y_LABEL, **series)
    if chart.lines:
        path.write_text(chart.svg(), encoding="utf-8")
        print(f"figure: {path}", flush=True)


def _size_of_the_files(courses):
    """The size that most courses of several files have."""
    sizes = [course.size_bytes for course in courses if course.files > 1]
    return max(sizes, key=sizes.count, default=None)


def _series(plan, results, courses, x_of):
    """A line for each tool, and one for the wire."""
    lines = []
    for tool in report.tools_of(results):
        points = []
        for course in courses:
            times = [
                result.since_last_start_s
                for result in results
                if result.tool == tool and result.course == course and not result.failure
            ]
            if times:
                points.append((x_of(course), median(times), min(times), max(times)))
        if points:
            lines.append(Line(tool, points, COLOUR_OF[tool], tool == "xget"))
    wire = None
    if plan.rate:
        wire = ("the wire", [(x_of(course), plan.wire_s(course)) for course in courses])
    return {"lines": lines, "reference": wire}
