"""Draws named lines over two axes as SVG: the one writer of pictures here.

Knows axes, lines and where names fit; refuses to know what the lines are of,
which is up to the race (benches/race/arena/figures.py) and to the simulator's
figures (scripts/sim-figures).

Readable on light and dark pages: it brings its own background, and both
follow what the reader's system prefers. Lines are named at their ends.
"""

import math
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 66, 132, 52, 56
LABEL_PX = 15
# What a name takes beside its letters, and each of those at the most.
NAME_INDENT_PX, LETTER_PX = 24, 7.2
# More points than these are a curve: they are not marked one by one, and the
# axis has round figures instead of theirs.
MARKED_MAX = 12
# So many steps of a linear axis at the least.
STEPS = 5
# Dark enough for white and light enough for black (Okabe and Ito, adapted).
COLOURS = ["#d1495b", "#2a87c8", "#1f9e77", "#b8860b", "#8e6bbf", "#c4682b", "#5b8c2a", "#7f7f7f"]
STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.page { fill: #ffffff }
.grid { stroke: #d0d7de; stroke-width: 1 }
.wire { stroke: #57606a; stroke-width: 1.5; stroke-dasharray: 6 4; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .page { fill: #0d1117 } .grid { stroke: #30363d } .wire { stroke: #9198a1 }
}
"""


@dataclass(frozen=True)
class Linear:
    """An axis of equal steps."""

    least: float
    most: float

    def share(self, value):
        """How far along the axis a value stands, from 0 to 1."""
        return (value - self.least) / (self.most - self.least)


@dataclass(frozen=True)
class Logarithmic:
    """An axis on which each decade is as long as the others."""

    least: float
    most: float

    def share(self, value):
        """How far along the axis a value stands, from 0 to 1."""
        least, most = math.log10(self.least), math.log10(self.most)
        return (math.log10(value) - least) / (most - least)


@dataclass
class Line:
    """A named line: points (x, y, least, most)."""

    name: str
    points: list
    colour: str
    strong: bool = False

    @property
    def marked(self):
        """Whether its points are few enough to be seen one by one."""
        return len(self.points) <= MARKED_MAX


@dataclass
class Chart:
    """What is to be drawn."""

    title: str
    x_label: str
    y_label: str
    lines: list
    # A dashed line to compare with: its name and its points (x, y).
    reference: tuple | None = None
    # A logarithmic axis begins at the first point, a linear one at 0.
    x_logarithmic: bool = False
    # A linear axis from here; None: a logarithmic one around the points.
    y_from: float | None = None
    parts: list = field(default_factory=list)

    def _values(self):
        """All x and all y."""
        xs = [point[0] for line in self.lines for point in line.points]
        ys = [y for line in self.lines for point in line.points for y in point[1:]]
        if self.reference:
            ys += [y for _, y in self.reference[1]]
        return xs, ys

    def _choose_axes(self):
        """Both axes and their figures, and the room for names beside them."""
        xs, ys = self._values()
        places = sorted(set(xs))
        self.x_axis = self._x_axis(places)
        self.x_ticks = places if len(places) <= MARKED_MAX else steps(0, places[-1])
        if self.y_from is None:
            self.y_ticks = decades(min(ys), max(ys))
            self.y_axis = Logarithmic(self.y_ticks[0], self.y_ticks[-1])
        else:
            self.y_ticks = steps(self.y_from, max(ys), beyond=True)
            self.y_axis = Linear(self.y_from, self.y_ticks[-1])
        names = [line.name for line in self.lines] + ([self.reference[0]] if self.reference else [])
        self.right = max(RIGHT, NAME_INDENT_PX + LETTER_PX * max(map(len, names)))

    def _x_axis(self, places):
        """The axis for points at these places."""
        if self.x_logarithmic:
            # One point alone has no span that could be drawn to scale.
            return Logarithmic(places[0], max(places[-1], places[0] * 10))
        return Linear(0, places[-1] or 1)

    def svg(self):
        """The picture."""
        self._choose_axes()
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img">',
            f"<title>{escape(self.title)}</title><style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
        ]
        self._text(LEFT, 26, self.title, "start", "title")
        self._axes()
        labels = [self._line(line) for line in self.lines]
        if self.reference:
            name, points = self.reference
            path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)
            self.parts.append(f'<polyline class="wire" points="{path}"/>')
            labels.append((self._y(points[-1][1]), name, None))
        self._name_lines(labels)
        return "\n".join([*self.parts, "</svg>", ""])

    def _x(self, value):
        return LEFT + self.x_axis.share(value) * (WIDTH - LEFT - self.right)

    def _y(self, value):
        return HEIGHT - BOTTOM - self.y_axis.share(value) * (HEIGHT - TOP - BOTTOM)

    def _text(self, x, y, text, anchor="middle", kind="", more=""):
        kind = f' class="{kind}"' if kind else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}{more}>'
            f"{escape(text)}</text>"
        )

    def _axes(self):
        """Grid lines, figures and what they are."""
        end = WIDTH - self.right
        for tick in self.y_ticks:
            y = self._y(tick)
            self.parts.append(
                f'<line class="grid" x1="{LEFT}" x2="{end:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            self._text(LEFT - 8, y + 4, f"{tick:g}", "end")
        for value in self.x_ticks:
            self._text(self._x(value), HEIGHT - BOTTOM + 20, f"{value:g}")
        self._text((LEFT + end) / 2, HEIGHT - 14, self.x_label)
        middle = (TOP + HEIGHT - BOTTOM) / 2
        self._text(18, middle, self.y_label, more=f' transform="rotate(-90 18 {middle:.1f})"')

    def _line(self, line):
        """One line, its points and their spans; what its name needs."""
        width = 3 if line.strong else 1.8
        at = [(self._x(x), self._y(y), self._y(lo), self._y(hi)) for x, y, lo, hi in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in at)
        pen = f'stroke="{line.colour}"'
        self.parts.append(
            f'<polyline points="{path}" fill="none" {pen} stroke-width="{width}"/>'
        )
        for x, y, low, high in at if line.marked else ():
            self.parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" {pen}/>'
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width + 1:g}" fill="{line.colour}"/>'
            )
        return at[-1][1], line.name, line.colour

    def _name_lines(self, labels):
        """Names at the right, moved apart where they would touch."""
        labels.sort()
        places, above = [], TOP - LABEL_PX
        for y, _, _ in labels:
            above = max(y, above + LABEL_PX)
            places.append(above)
        below = HEIGHT - BOTTOM + LABEL_PX
        for index in range(len(places) - 1, -1, -1):
            places[index] = below = min(places[index], below - LABEL_PX)
        for place, (_, name, colour) in zip(places, labels):
            x = WIDTH - self.right + 12
            if colour:
                self.parts.append(f'<circle cx="{x:g}" cy="{place:.1f}" r="4" fill="{colour}"/>')
            self._text(x + 9, place + 4, name, "start")


def decades(least, most):
    """1, 2, 5, 10... around what has to be shown."""
    ticks = [
        base * 10.0**power
        for power in range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most)) + 1)
        for base in (1, 2, 5)
    ]
    first = max(index for index, tick in enumerate(ticks) if tick <= least)
    last = min((i for i, tick in enumerate(ticks) if tick >= most), default=len(ticks) - 1)
    return ticks[first : max(last, first + 1) + 1]


def steps(least, most, beyond=False):
    """Steps of 1, 2 or 5 in the last place, from the least up to the most or `beyond` it."""
    span = most - least if most > least else 1.0
    power = 10.0 ** math.floor(math.log10(span / STEPS))
    step = max((base * power for base in (1, 2, 5) if base * power <= span / STEPS), default=power)
    count = math.ceil(span / step - 1e-9) if beyond else math.floor(span / step + 1e-9)
    return [least + number * step for number in range(count + 1)]
