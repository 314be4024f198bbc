"""The tools that race, by name."""

from .http import Http
from .multicast import Udpcast, Uftp
from .rsync import Rsync
from .tftp import Tftp
from .torrent import Aria2, Ctorrent
from .xget import Xget

ALL = {
    tool.name: tool for tool in (Xget, Ctorrent, Aria2, Udpcast, Uftp, Http, Rsync, Tftp)
}
