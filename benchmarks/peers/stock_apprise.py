"""Stock Apprise: one mailto:// URL and one notify() for each recipient, as its documentation shows.

    python -m benchmarks.peers.stock_apprise PORT COUNT MESSAGES_FOLDER      prints the seconds

A URL that were used again would wait 5.5 seconds between two messages, and one URL with all recipients would not
tell who was refused; so each recipient has its own.
"""

import sys
import time
from pathlib import Path
from urllib.parse import quote

import apprise

from benchmarks.peers.letters import SENDER, Words, recipient, taken_apart


def send(port: int, count: int, messages: list[Words]) -> float:
    """Seconds from the first URL to the last answer. Apprise loads its plugins with its first URL, a second that is no
    part of any rate: a worker of ours has loaded its libraries, too, before it is measured."""
    apprise.Apprise().add(f"mailto://127.0.0.1:{port}?from={SENDER}&to={SENDER}")
    begin = time.perf_counter()
    for number in range(count):
        words = messages[number % len(messages)]
        to = quote(recipient(number))
        one = apprise.Apprise()
        if not one.add(f"mailto://127.0.0.1:{port}?from={SENDER}&to={to}&format=html"):
            raise RuntimeError("Apprise does not take the URL")
        if not one.notify(body=words.html, title=words.subject, body_format=apprise.NotifyFormat.HTML):
            raise RuntimeError("Apprise says that it could not send")
    return time.perf_counter() - begin


if __name__ == "__main__":
    print(send(int(sys.argv[1]), int(sys.argv[2]), taken_apart(Path(sys.argv[3]))))
