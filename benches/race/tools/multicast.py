"""udpcast and uftp: the head sends once, the bridge copies.

The bridge floods what goes to many, as a switch without IGMP snooping. Both
senders are told the slowest link where the head's is faster: nothing else
tells them. Node and head agree who takes part before anything moves.
"""

from .tool import Tool

# Of a link, what is left for payload beside headers, acknowledgements and repairs.
SHARE = 0.9


class Udpcast(Tool):
    """udp-sender waits for all receivers; many files as a tar.

    It then sleeps 2 s before it sends, which nothing turns off. Receivers wait
    half a second after the last byte in case their last word was lost; that is
    turned off, as they have everything by then.
    """

    name = "udpcast"
    programs = ("udp-sender", "udp-receiver", "tar")

    def prepare(self):
        """A sender that begins when all receivers are there."""
        nodes = len(self.race.nodes)
        options = f"--min-receivers {nodes} --nokbd --no-progress --full-duplex --interface eth0"
        if self.race.slowest != self.race.head.rate:
            options += f" --max-bitrate {round(self.race.slowest * SHARE)}"
        names = self.race.course.names
        self.tar = len(names) > 1
        if not self.tar:
            command = ["udp-sender", "--file", self.race.files / names[0], *options.split()]
        else:
            script = 'tar -C "$0" -cf - . | exec udp-sender ' + options
            command = ["sh", "-c", script, str(self.race.files)]
        self.race.daemon(self.race.head, command)

    def client(self, node):
        """A receiver ends when it has everything."""
        command = ["udp-receiver", "--nokbd", "--no-progress", "--interface", "eth0"]
        command += ["--exit-wait", "1"]
        if self.tar:
            return [*command, "--pipe", "tar -xf -"]
        return [*command, "--file", self.race.course.names[0]]


class Uftp(Tool):
    """uftp to uftpd on every node; told nine tenths of the link."""

    name = "uftp"
    programs = ("uftp", "uftpd")

    def start(self):
        """Receivers are daemons here: they are up, and the sender starts with the clock."""
        for node in self.race.nodes:
            command = ["uftpd", "-d", "-t", "-q", "-I", "eth0", "-D", self.race.directory(node)]
            self.race.daemon(node, command)
        rate = self.race.slowest
        kilobits = round(rate * SHARE / 1000) if rate else -1
        addresses = ",".join(node.address for node in self.race.nodes)
        names = self.race.course.names
        command = ["uftp", "-R", str(kilobits), "-I", "eth0", "-H", addresses]
        self.race.enter(self.race.head, command + [str(self.race.files / name) for name in names])

    def landed(self):
        """A file gets its name when it is whole (option -t)."""
        return self.race.course.names
