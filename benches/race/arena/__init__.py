"""Where tools race: a network of namespaces, and what is measured in it."""


class Failed(Exception):
    """A race that has no result; the text is the reason, for a person."""
