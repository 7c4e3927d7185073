"""The console's blueprint: the crisis team's pages."""

from flask import Blueprint

blueprint = Blueprint("console", __name__, url_prefix="/console")
