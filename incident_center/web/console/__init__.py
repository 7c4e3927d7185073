"""The console: board, declaring, the incident room, deliveries, components. The modules register their views."""

from incident_center.web.console import board, declare, delivery, fix, installation, progress, room, write
from incident_center.web.console.blueprint import blueprint

__all__ = ["blueprint", "board", "declare", "delivery", "fix", "installation", "progress", "room", "write"]
