"""What can be done with an audience, in one place for those who call it."""

from incident_center.audience.confirm import CodeAnswer, confirm_by_code, confirm_by_token
from incident_center.audience.csv_files import open_csv, write_csv
from incident_center.audience.imports import BadLine, ImportReport, export_rows, import_csv, import_rows
from incident_center.audience.leave import erase, stop, unsubscribe
from incident_center.audience.prefer import change_address, change_preferences
from incident_center.audience.requests import Preferences, SubscribeRequest
from incident_center.audience.second import add_second, remove_second
from incident_center.audience.subscribe import Subscribed, ask_again, enrol, resend, subscribe

__all__ = [
    "BadLine",
    "CodeAnswer",
    "ImportReport",
    "Preferences",
    "SubscribeRequest",
    "Subscribed",
    "add_second",
    "ask_again",
    "change_address",
    "change_preferences",
    "confirm_by_code",
    "confirm_by_token",
    "enrol",
    "erase",
    "export_rows",
    "import_csv",
    "import_rows",
    "open_csv",
    "remove_second",
    "resend",
    "stop",
    "subscribe",
    "unsubscribe",
    "write_csv",
]
