"""django-post-office sending its queue: the command that its cron line runs, on SQLite, through Django's SMTP backend.

    python -m benchmarks.peers.post_office PORT COUNT MESSAGES_FOLDER [BATCH_SIZE THREADS]      prints the seconds

Queueing is not counted, sending and its stored outcomes are: it is what compares with a fan-out. Without BATCH_SIZE
and THREADS its own defaults stand.
"""

import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.letters import SENDER, Words, recipient, taken_apart
from benchmarks.relay import Missing

_QUEUED_AT_ONCE = 500
# Ten lines for each batch on standard error are no part of sending.
_QUIET = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"post_office": {"level": "WARNING", "handlers": ["console"], "propagate": False}},
}


def module(name: str) -> Any:
    """Django is wanted here alone, after it has been configured. Raises Missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise Missing(f"{error.name} is missing; pip install -e '.[bench]' brings it") from error


def configure(port: int, folder: Path, options: dict[str, int]) -> None:
    module("django.conf").settings.configure(
        SECRET_KEY="only-for-benchmarks",
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "queue.db"}},
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        EMAIL_BACKEND="post_office.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        DEFAULT_FROM_EMAIL=SENDER,
        LOGGING=_QUIET,
        POST_OFFICE=options,
    )
    module("django").setup()
    module("django.core.management").call_command("migrate", verbosity=0)


def queue(count: int, messages: list[Words]) -> None:
    """Each reader's message, written into its queue in bulk."""
    mail = module("post_office.mail")
    for first in range(0, count, _QUEUED_AT_ONCE):
        numbers = range(first, min(first + _QUEUED_AT_ONCE, count))
        mail.send_many([_message(number, messages[number % len(messages)]) for number in numbers])


def send(folder: Path) -> float:
    """Seconds that `manage.py send_queued_mail` takes until its queue is empty."""
    command = module("django.core.management").call_command
    begin = time.perf_counter()
    command("send_queued_mail", lockfile=str(folder / "lock"), verbosity=0)
    return time.perf_counter() - begin


def must_be_sent(count: int) -> None:
    """Raises RuntimeError unless every one is stored as sent."""
    models = module("post_office.models")
    sent = models.Email.objects.filter(status=models.STATUS.sent).count()
    if sent != count:
        raise RuntimeError(f"{sent} of {count} are stored as sent")


def _message(number: int, words: Words) -> dict[str, object]:
    return {
        "recipients": [recipient(number)],
        "sender": SENDER,
        "subject": words.subject,
        "message": words.text,
        "html_message": words.html,
        "headers": words.headers,
    }


def main() -> None:
    port, count, messages = int(sys.argv[1]), int(sys.argv[2]), taken_apart(Path(sys.argv[3]))
    named = ("BATCH_SIZE", "THREADS_PER_PROCESS")
    options = dict(zip(named, map(int, sys.argv[4:6]), strict=False))
    with tempfile.TemporaryDirectory() as scratch:
        configure(port, Path(scratch), options)
        queue(count, messages)
        seconds = send(Path(scratch))
        must_be_sent(count)
    print(seconds)


if __name__ == "__main__":
    main()
