"""The tools that race, by name."""

from .http import Http
from .torrent import Aria2, Ctorrent
from .xget import Xget

ALL = {tool.name: tool for tool in (Xget, Ctorrent, Aria2, Http)}
