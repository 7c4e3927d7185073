"""`incident-center subscribers import|export`: CSV in, CSV out."""

import sys
from typing import BinaryIO

import click

from incident_center import clock
from incident_center.center import build_center
from incident_center.config import load_settings

# ruff: noqa: PLC0415 (see cli.py)


@click.group()
def subscribers() -> None:
    """Customers' subscriptions as CSV."""


@subscribers.command("import")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--confirmed",
    is_flag=True,
    help="These people have agreed, and you can show it: subscribe them at once. Without it each is asked by e-mail.",
)
def import_(file: BinaryIO, confirmed: bool) -> None:
    """Take subscribers from FILE (UTF-8 CSV; - reads standard input).

    Columns: email, phone, channel, language, zone, name, form, components. Bad lines are reported with their number
    and reason, the good ones are taken; exit code 2 says that there were bad ones.
    """
    from incident_center.audience.verbs import import_csv

    center = build_center(load_settings())
    report = import_csv(
        center.database,
        house=center.house,
        stream=file,
        confirmed=confirmed,
        by="command line",
        clock=clock.now,
    )
    for bad in report.bad:
        click.echo(str(bad), err=True)
    click.echo(f"taken: {report.taken}")
    click.echo(f"known already: {report.known}")
    click.echo(f"must not be written to: {report.suppressed}")
    click.echo(f"bad lines: {len({bad.number for bad in report.bad})}")
    if report.bad:
        sys.exit(2)


@subscribers.command("export")
@click.option("--all", "include_left", is_flag=True, help="Also those who are not confirmed or have left.")
def export(include_left: bool) -> None:
    """Write subscribers as CSV to standard output, ready to be imported again."""
    from incident_center.audience.verbs import export_rows, write_csv

    center = build_center(load_settings())
    with center.database.reading() as session:
        for line in write_csv(export_rows(session, include_left=include_left)):
            click.echo(line, nl=False)
