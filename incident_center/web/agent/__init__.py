"""The agent's page: the current words for every channel, phrases, enrolling callers."""

from incident_center.web.agent import enrol, page, phrases
from incident_center.web.agent.blueprint import blueprint

__all__ = ["blueprint", "enrol", "page", "phrases"]
