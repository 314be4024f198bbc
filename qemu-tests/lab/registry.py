"""The list of scenarios, filled by the `scenario` decorator.

A scenario's name is its function's, with dashes; its description is the first
line of its docstring.
"""

import importlib.util
from dataclasses import dataclass, field

from repository import REPO

SCENARIOS = {}


@dataclass
class Scenario:
    """One function that is given a Lab, and how it may be run."""

    name: str
    function: object
    about: str
    limit_s: int
    tags: list = field(default_factory=list)
    prepare: object = None


def scenario(limit_s, tags=(), prepare=None):
    """Register the function below as a scenario.

    `limit_s` bounds the whole of it, whatever happens; scenarios tagged
    "quick" are part of `make test`. `prepare` is called before, where there
    still is a network: the lab has none but its own.
    """

    def register(function):
        name = function.__name__.replace("_", "-")
        if name in SCENARIOS:
            raise ValueError(f"two scenarios are called {name}")
        about = (function.__doc__ or "").strip().split("\n")[0]
        SCENARIOS[name] = Scenario(name, function, about, limit_s, list(tags), prepare)
        return function

    return register


def load():
    """Import every file of scenarios, once; return them by name."""
    if SCENARIOS:
        return SCENARIOS
    for path in sorted((REPO / "qemu-tests" / "scenarios").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"scenarios.{path.stem}", path)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return SCENARIOS
