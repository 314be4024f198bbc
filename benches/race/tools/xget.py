"""xget: the master at the head, a client on each node.

A client serves on after its own fetch, so its exit says nothing about the
time. It renames a file to its final name when every piece of it is verified;
the last such name is the moment that counts.
"""

from repository import binary

from .tool import Tool

PORT = 20004


class Xget(Tool):
    """This repository's binary, with its defaults."""

    name = "xget"
    programs = (binary(),)

    def prepare(self):
        """A master that has hashed everything."""
        command = [binary(), "-p", str(PORT), "--no-cache", *self.race.master_options]
        master = self.race.daemon(self.race.head, [*command, self.race.files])
        self.listening(master, PORT)

    def client(self, node):
        """Everything, into the node's directory."""
        return [binary(), "-n", self.race.head.address, ".", self.race.directory(node)]

    def landed(self):
        """Every file under its final name."""
        return self.race.course.names
