"""Where things are in the repository, and which binary is under test.

For all programs in Python here: the race, the virtual machines, the costs.
Each of them puts this directory, scripts/, on its path and nothing else of
another's.
"""

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
BUILD = REPO / "build"
TARGET = "x86_64-unknown-linux-musl"


def binary():
    """The xget under test: XGET_BINARY, or the static release build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
    return Path(os.environ.get("XGET_BINARY", target / TARGET / "release" / "xget"))
