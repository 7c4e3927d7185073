"""The console: the board, declaring, the incident room, component statuses. The modules register their views."""

from incident_center.web.console import board, declare, fix, progress, room, write
from incident_center.web.console.blueprint import blueprint

__all__ = ["blueprint", "board", "declare", "fix", "progress", "room", "write"]
