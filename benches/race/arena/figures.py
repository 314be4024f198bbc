"""The paper's figures."""


def draw(plan, results, directory):
    """Not yet."""
