"""The agent's blueprint: what support says now."""

from flask import Blueprint

blueprint = Blueprint("agent", __name__, url_prefix="/agent")
