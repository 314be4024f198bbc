"""rsync: a daemon at the head, every node takes everything from it."""

from .tool import Tool

PORT = 873
CONFIG = """\
use chroot = no
max connections = 0
log file = /dev/null
[files]
path = {files}
read only = yes
{identity}
"""


class Rsync(Tool):
    """rsync from its daemon, whole files into an empty directory."""

    name = "rsync"
    programs = ("rsync",)
    wants_root = True

    def prepare(self):
        """The daemon, as whoever runs the race."""
        config = self.race.state / "rsyncd.conf"
        identity = "uid = root\ngid = root"
        config.write_text(CONFIG.format(files=self.race.files, identity=identity))
        command = ["rsync", "--daemon", "--no-detach", f"--config={config}", "--dparam=pidfile="]
        self.listening(self.race.daemon(self.race.head, command), PORT)

    def client(self, node):
        """rsync ends when it has renamed the last file."""
        return ["rsync", "-rt", f"rsync://{self.race.head.address}/files/", "."]
