"""An HTTP server with curl: every node takes everything from the head."""

from .tool import Tool

PORT = 80
CONFIG = """\
daemon off;
worker_processes auto;
pid {state}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {state}; proxy_temp_path {state}; fastcgi_temp_path {state};
    uwsgi_temp_path {state}; scgi_temp_path {state};
    server {{ listen {port}; root {files}; }}
}}
"""


class Http(Tool):
    """nginx and curl; the files one after the other on one connection."""

    name = "nginx"
    programs = ("nginx", "curl")

    def prepare(self):
        """nginx as Debian configures it where it matters: sendfile, a worker per processor."""
        config = self.race.state / "nginx.conf"
        config.write_text(CONFIG.format(state=self.race.state, files=self.race.files, port=PORT))
        user = ["-g", "user root;"]
        command = ["nginx", "-c", config, "-e", "stderr", *user]
        self.listening(self.race.daemon(self.race.head, command), PORT)

    def client(self, node):
        """curl ends when it has written everything."""
        urls = [f"http://{self.race.head.address}/{name}" for name in self.race.course.names]
        return ["curl", "-sS", "--fail", "--remote-name-all", *urls]
