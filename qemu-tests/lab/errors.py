"""How a scenario ends when it does not pass.

There is no other way: what this machine lacks for it is a failure as well.
"""


class Failed(Exception):
    """What was expected did not happen; the text says what and what did."""
