"""How a scenario ends when it does not pass."""


class Failed(Exception):
    """What was expected did not happen; the text says what and what did."""


class Skipped(Exception):
    """This machine lacks what the scenario needs; the text says what."""
