"""Bare smtplib over one kept connection: the messages are ready, nothing is looked up, nothing is stored.

python -m benchmarks.peers.kept_smtplib PORT COUNT MESSAGES_FOLDER      prints the seconds
"""

import smtplib
import sys
import time
from pathlib import Path

from benchmarks.peers.letters import SENDER, finished, recipient


def send(port: int, count: int, messages: list[bytes]) -> float:
    """Seconds from the first command to the last 250."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost") as connection:
        connection.ehlo()
        begin = time.perf_counter()
        for number in range(count):
            connection.sendmail(SENDER, [recipient(number)], messages[number % len(messages)])
        return time.perf_counter() - begin


if __name__ == "__main__":
    print(send(int(sys.argv[1]), int(sys.argv[2]), finished(Path(sys.argv[3]))))
