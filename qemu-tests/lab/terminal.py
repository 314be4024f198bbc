"""Who sits at the serial console of a machine that runs guest/lives."""

import re

from .images import ROOT

# Of what comes to a console: the kernel's lines, and those of guest/lives.
NOT_ITS_OWN = re.compile(rf"\[ *\d+\.\d+\] |{ROOT}")
# A master looks once a second where it is asked.
LOOKS_MAX = 20


class Terminal:
    """Types commands, one after the other."""

    def __init__(self, node):
        self.node = node
        self.count = 0
        self._before = 0

    def begin(self, command):
        """Let it do this, and do not wait for it."""
        self.node.poll()
        self._before = len(self.node.console.lines)
        self.count += 1
        self.node.type(command)

    def end(self, within_s=60):
        """Wait for what began; the lines that it says and how it ended."""
        ended = self.node.expect(rf"{ROOT}command {self.count} ended with (\d+)", within_s)
        said = [line for _, line in self.node.console.lines[self._before :]]
        # Messages of the kernel may come between a line and its end.
        return int(ended[1]), [line for line in said if line and not NOT_ITS_OWN.match(line)]

    def run(self, command, within_s=60):
        """Let it do this; the lines that it says and how it ended."""
        self.begin(command)
        return self.end(within_s)

    def run_until(self, command, is_new):
        """The same again until what it says is new: a master looks at its tree once in a while,
        and who fetches what changes meanwhile changes nothing and is told so.
        """
        for _ in range(LOOKS_MAX):
            status, said = self.run(command)
            if status == 0 and is_new(said):
                break
            self.node.lab.sleep(1)
        return status, said
