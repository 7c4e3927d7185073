"""The commands that work: `incident-center worker` and, with a broker, `incident-center beat`."""

import gc
import os
import signal
import sys

import click

from incident_center.center import Center, build_center
from incident_center.config import load_settings
from incident_center.spread import require_celery
from incident_center.states import Channel

# Heavy parts are imported by the command that needs them: `--help` answers at once.
# ruff: noqa: PLC0415


@click.command()
@click.option(
    "--processes", type=click.IntRange(1, 256), help="For bulk, with a broker. As many as cores unless said."
)
@click.option(
    "--queue",
    "queues",
    multiple=True,
    type=click.Choice(["urgent", *(channel.value for channel in Channel)]),
    help="With a broker: serve this queue alone, with so many processes, and send no beat.",
)
def worker(processes: int | None, queues: tuple[str, ...]) -> None:
    """Keep promises, cut fan-outs, deliver. SIGTERM ends it within 30 seconds with nothing lost."""
    from incident_center.delivery.providers import check_settings
    from incident_center.logs import configure_logging
    from incident_center.worker import Worker, lanes_of

    settings = load_settings()
    if (processes or queues) and not settings.broker_url:
        refuse(["--processes and --queue need INCIDENT_CENTER_BROKER_URL; without it start more workers."])
    configure_logging()
    center = build_center(settings)
    refuse(check_settings(settings))
    require_schema(center)
    if settings.broker_url:
        require_celery()
        from incident_center.spread.host import run_host

        sys.exit(run_host(center, queues=queues, processes=processes or len(os.sched_getaffinity(0))))
    running = Worker(center, lanes=lanes_of(settings))
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: running.stop.set())
    gc.freeze()  # what is loaded stays; to look all of it through would stop a fan-out for a tenth of a second
    running.run()


@click.command()
def beat() -> None:
    """Wake workers every second; with a broker. A host has one in it; several do no harm."""
    from incident_center.logs import configure_logging

    settings = load_settings()
    if not settings.broker_url:
        refuse(["A beat needs INCIDENT_CENTER_BROKER_URL; without it each worker looks for itself."])
    configure_logging()
    require_celery()
    from incident_center.spread.host import run_beat

    sys.exit(run_beat(build_center(settings)))


def refuse(problems: list[str]) -> None:
    """Ends the command with what is wrong, if anything is."""
    if problems:
        raise click.ClickException("\n".join(problems))


def require_schema(center: Center) -> None:
    """No process starts on a database that is older than it."""
    from incident_center.schema import pending

    if pending(center.database, center.settings.migrations_dir):
        raise click.ClickException("The database is not up to date. Run: incident-center db upgrade")
