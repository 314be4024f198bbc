"""tftp-hpa, the paper's TFTP: blocks of 512 bytes, one on the way at a time.

Its client asks for no larger blocks. It fetches one file after the other; the
number of a block has 16 bits, and both sides let it wrap beyond 32 MB.
"""

from .tool import Tool

PORT = 69


class Tftp(Tool):
    """tftpd-hpa and its client; blocks of 512 bytes."""

    name = "tftp"
    programs = ("in.tftpd", "tftp")
    wants_root = True

    def prepare(self):
        """The server without inetd; it takes root's leave to change its directory."""
        command = ["in.tftpd", "--foreground", "--listen", "--user", "root", "--secure"]
        server = self.race.daemon(self.race.head, [*command, self.race.files])
        self.listening(server, PORT, udp=True)

    def client(self, node):
        """A client for each file, as its exit status knows of one only."""
        script = 'head=$1; shift; for name; do tftp -m binary "$head" -c get "$name" || exit; done'
        return ["sh", "-c", script, "tftp", self.race.head.address, *self.race.course.names]
