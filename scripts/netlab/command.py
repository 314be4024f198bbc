"""Runs ip, tc and bridge: many lines with one process, here or elsewhere."""

import subprocess

from . import NetworkError
from .namespace import enter

LIMIT_S = 60


def output(words, namespace=None):
    """What a command says, run in a namespace or here; its own error text if it fails."""
    return _run(words, "", namespace)


def batch(program, lines, namespace=None, family="inet"):
    """Run lines of ip, tc or bridge, without the program's name, in a namespace or here.

    Addresses say their family, and rules have that of the call.
    """
    if lines:
        words = [program] if family == "inet" else [program, "-family", family]
        _run([*words, "-batch", "-"], "\n".join(lines) + "\n", namespace)


def _run(words, text, namespace):
    """Run one process with this text as its input."""
    try:
        done = subprocess.run(
            words,
            input=text,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            preexec_fn=None if namespace is None else lambda: enter(namespace),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NetworkError(f"{words[0]}: {error}") from error
    if done.returncode != 0:
        raise NetworkError(f"{words[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
