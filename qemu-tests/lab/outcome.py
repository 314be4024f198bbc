"""What came of a cluster, for a person: a table of nodes, and a picture of them over time."""

from repository import BUILD, REPO

from chart import COLOURS, Chart, Line


def columns(heads, units, rows):
    """Lines of text from tuples, under a heading with units; numbers stand to the right."""
    lines = [heads, units, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    return [
        "  ".join(
            cell.rjust(width) if units[i] else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    ]


def picture(title, marks, path):
    """Write how many nodes had come to each mark over time: `marks` are seconds by name."""
    lines = []
    for (name, moments), colour in zip(marks.items(), COLOURS):
        points = [(0.0, 0, 0, 0)]
        for count, moment in enumerate(sorted(moments), 1):
            points += [(moment, count - 1, count - 1, count - 1), (moment, count, count, count)]
        lines.append(Line(name, points, colour, strong=name == list(marks)[-1]))
    end = max((point[0] for line in lines for point in line.points), default=0.0)
    for line in lines:
        last = line.points[-1][1]
        line.points.append((end, last, last, last))
    chart = Chart(title, "seconds", "nodes", lines, y_from=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(chart.svg())
    return path.relative_to(REPO) if path.is_relative_to(BUILD) else path
