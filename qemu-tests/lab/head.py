"""The head of a cluster as its administrator has it: xgetctl and ssh, each command shown.

Knows how commands are run, shown and bounded. Refuses to know which story they tell.
"""

import os
import shlex
import subprocess
from pathlib import Path

from repository import REPO, binary

from .errors import Failed

COMMAND_LIMIT_S = 60
INDENT = "    "
SSH = ("BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=15", "LogLevel=ERROR")


class Head:
    """Commands of the head, for the tree that it serves; ssh by a key of its own."""

    def __init__(self, tree):
        self.tree = Path(tree)
        self.keys = self.tree.parent / "ssh"
        self.program = str(binary().with_name("xgetctl"))

    @staticmethod
    def say(text):
        """A line for who watches."""
        print(f"  {text}", flush=True)

    def xgetctl(self, *words, limit_s=COMMAND_LIMIT_S, shows=True):
        """Run a command of xgetctl, and show it with what it says; return its output."""
        return self._run([self.program, *words], ["xgetctl", *words], limit_s, shows)

    def shell(self, line, limit_s=COMMAND_LIMIT_S):
        """Run a line of the shell in the served tree, and show it."""
        return self._run(["bash", "-euo", "pipefail", "-c", line], line, limit_s, True)

    def ssh(self, name, line, limit_s=COMMAND_LIMIT_S, shows=True):
        """Run a line on a node, and show it; return its output."""
        command = self.ssh_command(name, line)
        return self._run(command, ["ssh", name, line], limit_s, shows)

    def ssh_command(self, name, line):
        """The words of a command that runs a line on a node."""
        known = f"UserKnownHostsFile={self.keys / 'known_hosts'}"
        options = (f"-o{option}" for option in (*SSH, known, "StrictHostKeyChecking=accept-new"))
        return ["ssh", "-F", "none", "-i", str(self.keys / "key"), *options, f"root@{name}", line]

    def show(self, shown):
        """A command as the administrator would write it."""
        text = shown if isinstance(shown, str) else shlex.join(shown)
        self.say(f"$ {text}")

    def _run(self, command, shown, limit_s, shows):
        if shows:
            self.show(shown)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=limit_s, check=False,
                stdin=subprocess.DEVNULL, cwd=self.tree, env=self.environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{shlex.join(command)}: not over within {limit_s} s") from error
        text = "".join(f"{INDENT}{line}\n" for line in (done.stdout + done.stderr).splitlines())
        if done.returncode != 0:
            raise Failed(f"{shlex.join(command)}: status {done.returncode}\n{text}")
        if shows and text:
            print(text, end="", flush=True)
        return done.stdout

    def environment(self):
        """What commands find: the tree is named, nothing else of ours."""
        return {**os.environ, "XGET_ROOT": str(self.tree), "XGET_LIB": str(REPO)}
