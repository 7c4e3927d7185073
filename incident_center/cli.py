"""The command line: `incident-center …`. Parses, calls one verb, says in plain words what happened."""

import sys
from pathlib import Path
from typing import Any

import click

from incident_center import clock
from incident_center.center import Center, build_center
from incident_center.cli_bounces import bounces
from incident_center.cli_subscribers import subscribers
from incident_center.cli_tokens import token
from incident_center.cli_workers import beat, refuse, require_schema, worker
from incident_center.config import SettingsError, asset_dir, load_settings, playbooks_folder
from incident_center.errors import NotThere, Refused
from incident_center.playbooks import ContentErrors, Problem, check_catalogue, check_folder
from incident_center.states import Role

# Heavy parts (Flask, granian, Apprise) are imported by the command that needs them: `--help` answers at once.
# ruff: noqa: PLC0415

DEFAULT_PORT = 8080


class _Honest(click.Group):
    """Turns what the rooms refuse into one sentence and exit code 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        from sqlalchemy.exc import OperationalError

        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.ClickException(str(error)) from error
        except ContentErrors as errors:
            raise click.ClickException("\n".join(str(problem) for problem in errors.problems)) from errors
        except Refused as refused:
            raise click.ClickException(
                "\n".join(f"{f.field}: {f.message}" for f in refused.flaws)
            ) from refused
        except NotThere as missing:
            raise click.ClickException(str(missing)) from missing
        except OperationalError as error:
            raise click.ClickException(
                f"The database does not answer as it should ({type(error.orig).__name__}). "
                "Is it running, and has `incident-center db upgrade` been run? `incident-center doctor` tells more."
            ) from error


@click.group(cls=_Honest, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="incident-center")
def cli() -> None:
    """Outage communication for companies that pay money out."""


def _center() -> Center:
    return build_center(load_settings())


@cli.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var/demo"),
    show_default=True,
)
def demo(port: int, data_dir: Path) -> None:
    """Try it: web, worker and a mailbox in one process, with sample data, on this machine only."""
    from incident_center.demo.run import run_demo
    from incident_center.logs import configure_logging

    configure_logging(quiet=True)
    run_demo(port=port, data_dir=data_dir.absolute(), tell=click.echo)


@cli.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="0.0.0.0 to be reached from other machines."
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Per process.")
@click.option(
    "--with-worker", is_flag=True, help="Runs a worker beside it: one command for a small installation."
)
def serve(host: str, port: int, processes: int, threads: int, with_worker: bool) -> None:
    """Serve the pages and the API."""
    from incident_center import serving
    from incident_center.delivery.providers import check_settings
    from incident_center.logs import configure_logging

    configure_logging()
    settings = load_settings()
    refuse(check_settings(settings))
    require_schema(build_center(settings))
    serving.serve(
        settings, host=host, port=port, processes=processes, threads=threads, with_worker=with_worker
    )


@cli.command()
def doctor() -> None:
    """Check settings, database, clock, providers and playbooks; say what is wrong and what to do."""
    from incident_center.doctor import examine

    findings = examine(load_settings())
    for finding in findings:
        mark = {"ok": "ok     ", "warning": "WARNING", "problem": "PROBLEM"}[finding.level]
        click.echo(f"{mark}  {finding.what}")
        if finding.what_to_do:
            click.echo(f"         → {finding.what_to_do}")
    if any(finding.level == "problem" for finding in findings):
        sys.exit(1)


@cli.group()
def db() -> None:
    """The database."""


@db.command()
def upgrade() -> None:
    """Bring the database's schema up to this version; safe to repeat."""
    from incident_center.schema import upgrade as run

    center = _center()
    done = run(center.database, center.settings.migrations_dir)
    click.echo(f"upgraded: {', '.join(done)}" if done else "up to date")


@cli.group()
def staff() -> None:
    """People who sign in."""


@staff.command("add")
@click.option("--email", required=True)
@click.option("--name", required=True)
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice([r.value for r in Role]))
@click.option("--language", type=click.Choice(["en", "de"]), default="en", show_default=True)
def staff_add(email: str, name: str, roles: tuple[str, ...], language: str) -> None:
    """Add somebody; prints a password once, for them to keep."""
    from incident_center.staff.accounts import add_staff

    with _center().database.transaction() as session:
        person, password = add_staff(
            session,
            email=email,
            name=name,
            roles=roles,
            language=language,
            by="command line",
            now=clock.now(),
        )
        click.echo(f"e-mail: {person.email}\npassword: {password}")


@staff.command("password")
@click.option("--email", required=True)
def staff_password(email: str) -> None:
    """Give somebody a new password; every open session of theirs ends."""
    from incident_center.staff.accounts import new_staff_password

    with _center().database.transaction() as session:
        click.echo(
            f"password: {new_staff_password(session, email=email, by='command line', now=clock.now())}"
        )


@cli.group()
def components() -> None:
    """Payout rails and services that customers recognise."""


@components.command("add")
@click.option(
    "--key", required=True, help="Short and lasting: sepa-instant. Playbooks name components by it."
)
@click.option(
    "--name", "names", multiple=True, required=True, help="en=SEPA Instant payouts; once per language."
)
@click.option("--position", type=int, default=0, show_default=True, help="Where it stands on the page.")
def components_add(key: str, names: tuple[str, ...], position: int) -> None:
    """Add a component."""
    from incident_center.incidents.components import add_component

    center = _center()
    with center.database.transaction() as session:
        added = add_component(
            session,
            house=center.house,
            key=key,
            names=dict(_pair(name) for name in names),
            position=position,
            by="command line",
            now=clock.now(),
        )
        click.echo(f"component {added.id}: {added.key}")


def _pair(text: str) -> tuple[str, str]:
    language, equals, name = text.partition("=")
    if not equals:
        raise click.BadParameter(
            "write it as language=name, for example en=SEPA payouts", param_hint="--name"
        )
    return language.strip(), name.strip()


@cli.group()
def playbooks() -> None:
    """Scripted words."""


@playbooks.command("check")
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
def playbooks_check(folder: Path | None) -> None:
    """Check playbooks, phrases and word catalogues; each problem with file and line.

    Without FOLDER the one that INCIDENT_CENTER_PLAYBOOKS_DIR names, or the shipped one.
    """
    folder = folder or playbooks_folder()
    problems: list[Problem] = [*check_folder(folder)]
    problems += check_catalogue(asset_dir("templates") / "messages" / "words")
    for problem in problems:
        click.echo(str(problem))
    if problems:
        sys.exit(1)
    click.echo("playbooks are in order")


cli.add_command(beat)
cli.add_command(bounces)
cli.add_command(subscribers)
cli.add_command(token)
cli.add_command(worker)


def main() -> None:
    """Entry point of the installed command."""
    cli()
