"""`incident-center token add|list|revoke`: keys for programs."""

import click

from incident_center import clock
from incident_center.center import build_center
from incident_center.config import load_settings

# ruff: noqa: PLC0415 (see cli.py)


@click.group()
def token() -> None:
    """Keys for programs."""


@token.command("add")
@click.option("--name", required=True, help="Who uses it: ops-bot.")
@click.option("--role", required=True, type=click.Choice(["lead", "agent", "viewer", "inbound"]))
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True)
def token_add(name: str, role: str, days: int) -> None:
    """Make a token; it is shown once."""
    from datetime import timedelta

    from incident_center.staff.tokens import add_token

    now = clock.now()
    with build_center(load_settings()).database.transaction() as session:
        plain = add_token(session, name=name, role=role, days=days, by="command line", now=now)
    click.echo(f"token: {plain}\nexpires: {now + timedelta(days=days):%Y-%m-%d}")


@token.command("list")
def token_list() -> None:
    """The tokens that work, one a line: number, name, role, last day. The keys themselves are kept nowhere."""
    from incident_center.staff.tokens import working_tokens

    with build_center(load_settings()).database.reading() as session:
        for row in working_tokens(session, now=clock.now()):
            until = f"{row.expires_at:%Y-%m-%d}" if row.expires_at else "-"
            click.echo(f"{row.id}\t{row.name}\t{row.role}\t{until}")


@token.command("revoke")
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
def token_revoke(number: int) -> None:
    """End the token of this NUMBER (see `token list`) at once."""
    from incident_center.staff.tokens import revoke_token

    with build_center(load_settings()).database.transaction() as session:
        row = revoke_token(session, token_id=number, now=clock.now())
        click.echo(f"revoked: {row.name}")
