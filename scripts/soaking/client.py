"""One fetch: what was done to it, how it ended, and whether that was right."""

import shutil
import signal
import time

from .head import contents

# From the end of all that was done to it: 60 s without data from anybody, tries to
# reach the master, and what lingering takes.
STUCK_S = 150.0
# Before its first instructions it is the kernel that a signal ends.
BEGIN_S = 0.5


class Client:
    """A process on a node that fetches everything into its directory."""

    def __init__(self, node, binary, master, dest, output, options=()):
        self.node, self.dest, self.output = node, dest, output
        self.done_to = []
        self.began = self.touched = time.monotonic()
        self.ended = None
        self.frozen_until = self.cut_until = None
        command = [str(binary), "-n", master, "-q", *options, ".", str(dest)]
        self.process = node.start(command, output)

    @property
    def is_struck(self):
        """Whether something is being done to it that will end."""
        return self.frozen_until is not None or self.cut_until is not None

    def signal(self, which):
        """Send it one; what it was is remembered."""
        self.done_to.append(which.name)
        self.touched = time.monotonic()
        self.process.send_signal(which)

    def freeze(self, seconds):
        """Stop it for so long."""
        self.signal(signal.SIGSTOP)
        self.frozen_until = self.touched + seconds

    def cut(self, seconds):
        """Cut its node off for so long."""
        self.node.cut()
        self.done_to.append("cut")
        self.touched = time.monotonic()
        self.cut_until = self.touched + seconds

    def go_on(self, now):
        """End what is over of that."""
        if self.frozen_until is not None and now >= self.frozen_until:
            self.frozen_until, self.touched = None, now
            self.process.send_signal(signal.SIGCONT)
        if self.cut_until is not None and now >= self.cut_until:
            self.cut_until, self.touched = None, now
            self.node.heal()

    def has_ended(self):
        """Whether it has, and when."""
        if self.ended is None and self.process.poll() is not None:
            self.ended = time.monotonic()
        return self.ended is not None

    def is_stuck(self, now):
        """Nothing is done to it, and it should have ended."""
        return not self.is_struck and now - self.touched > STUCK_S

    def said(self):
        """All that it has said."""
        return self.output.read_text(errors="replace")

    def kind(self):
        """How it ended, in a word."""
        status = self.process.returncode
        words = {-signal.SIGTERM: "interrupted", -signal.SIGHUP: "interrupted"}
        words |= {0: "whole", 1: "interrupted", 3: "without master", 4: "changed"}
        return "killed" if status == -signal.SIGKILL else words.get(status, f"status {status}")

    def wrong(self, head):
        """What is not as it has to be, if anything."""
        status, said = self.process.returncode, self.said()
        names = [path.name for path in self.dest.rglob(".xget-*")] if self.dest.exists() else []
        if status == 0:
            if names:
                return f"temporary files are left: {names[:3]}"
            if not head.was(contents(self.dest), self.began, self.ended):
                return "status 0, and what is there was never served"
            return None
        if status == -signal.SIGKILL:
            return None if "SIGKILL" in self.done_to else "killed, and not by us"
        if status in (-signal.SIGTERM, -signal.SIGHUP) and self.touched < self.began + BEGIN_S:
            return None
        if not any(line.startswith("xget: ") for line in said.splitlines()):
            return f"status {status} without a word"
        allowed = {1: "SIGTERM" in self.done_to or "SIGHUP" in self.done_to}
        # Who was away for long comes back to a master that gave it up.
        allowed |= {3: "cut" in self.done_to or "SIGSTOP" in self.done_to, 4: True}
        return None if allowed.get(status) else f"status {status}: {said.strip()[-300:]}"

    def remove(self):
        """Forget what it fetched."""
        shutil.rmtree(self.dest, ignore_errors=True)
