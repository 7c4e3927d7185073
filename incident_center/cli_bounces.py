"""`incident-center bounces`: mails that came back, from a pipe of the mail server or from a maildir."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import click
import structlog
from sqlalchemy.exc import DBAPIError

from incident_center import clock
from incident_center.center import Center, build_center
from incident_center.config import SettingsError, load_settings

# ruff: noqa: PLC0415 (see cli.py)

TRY_LATER = os.EX_TEMPFAIL  # the mail server keeps the mail and comes again
MOST_BYTES = 4 * 1024 * 1024
_log = structlog.get_logger()


@click.command()
@click.option(
    "--maildir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Reads the new mails of this maildir and moves them to cur/; without it one mail from standard input.",
)
def bounces(maildir: Path | None) -> None:
    """Read mails that came back: who cannot be reached, who complained.

    For a pipe in the mail server (Postfix: `bounces: "|incident-center bounces"`). Any other mail is left alone.
    Ends with 75 when it should be asked again.
    """
    from incident_center.logs import configure_logging

    configure_logging()
    try:
        center = build_center(load_settings())
        if maildir is None:
            _read_pipe(center, sys.stdin.buffer)
        else:
            _read_maildir(center, maildir)
    except (SettingsError, DBAPIError, OSError) as error:
        # Not as an error of ours: the mail server would give the mail up, and with it what it tells.
        click.echo(f"bounces: not now ({type(error).__name__})", err=True)
        sys.exit(TRY_LATER)


def _read_pipe(center: Center, mail: BinaryIO) -> None:
    raw = mail.read(MOST_BYTES)
    while mail.read(MOST_BYTES):
        continue  # a pipe that is closed early is an error to the mail server
    _log.info("returned_mail", news=_keep(center, raw))


def _read_maildir(center: Center, folder: Path) -> None:
    new, done = folder / "new", folder / "cur"
    if not new.is_dir():
        raise click.BadParameter("there is no new/ in it: not a maildir", param_hint="--maildir")
    done.mkdir(exist_ok=True)
    mails = news = 0
    for path in sorted(new.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        with suppress(FileNotFoundError):  # another one of us was faster
            with path.open("rb") as mail:
                news += _keep(center, mail.read(MOST_BYTES))
            path.rename(done / f"{path.name.partition(':')[0]}:2,S")
            mails += 1
    click.echo(f"{mails} mails read, {news} reports were news")


def _keep(center: Center, raw: bytes) -> int:
    """One transaction a mail: what is read stays read."""
    from incident_center.delivery.bounce_mail import keep_returned_mail

    with center.database.transaction() as session:
        return keep_returned_mail(session, house=center.house, raw=raw, now=clock.now())
