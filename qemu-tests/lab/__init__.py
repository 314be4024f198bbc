"""A laboratory of virtual machines on a private network.

Scenarios import what they need from here:

    from lab import scenario, tiny_image

`scenario` marks a function that is given a Lab; a Lab makes a master, nodes
and faults, and waits for what ought to happen.
"""

from .errors import Failed
from .images import script_image, tiny_image
from .registry import scenario

__all__ = ["Failed", "scenario", "script_image", "tiny_image"]
