"""A bounded program of this machine that makes something for the others."""

import os
import subprocess

from .errors import Failed


def run(command, limit_s, what=None, **environment):
    """Run it quietly; what it prints, or a failure with what it says."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        env={**os.environ, **environment},
    )
    if done.returncode != 0:
        raise Failed(f"{what or command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()
