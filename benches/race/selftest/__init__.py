"""The race's own tests; what it shares with the virtual machines is found beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "qemu-tests"))
