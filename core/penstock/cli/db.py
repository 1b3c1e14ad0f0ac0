"""`penstock db …`: the database's schema, and whether the database can be used."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from penstock.errors import StoreError
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace

app = typer.Typer(help="The database: check it, upgrade its schema.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Make penstock's tables, or bring them up to date.

    Safe to run several times, and by several at once.
    """
    from penstock.store import upkeep

    with Workspace(load_settings()) as workspace:
        workspace.make_home()
        place, former = upkeep.upgrade(workspace.settings.database_url)
    head = upkeep.Health(place).needed
    if former is None:
        typer.echo(f"{place}: made, with schema {head}")
    elif former == head:
        typer.echo(f"{place}: is up to date, with schema {head}")
    else:
        typer.echo(f"{place}: upgraded from schema {former} to {head}")


@app.command()
def check(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    """Say whether the database answers and has the schema that is needed (exit code 1 if not)."""
    from penstock.store import upkeep

    found = upkeep.examine(load_settings().database_url)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "usable": not found.problem,
                    "problem": found.problem or None,
                    "place": found.place or None,
                    "server": found.server or None,
                    "schema": found.version,
                    "needed": found.needed,
                    "clock_skew": round(found.skew, 3),
                }
            )
        )
    elif not found.problem:
        typer.echo(f"{found.place}: {found.server}, schema {found.version}, up to date")
    if found.warning:
        typer.echo(f"warning: {found.warning}", err=True)
    if found.problem:
        if as_json:
            raise typer.Exit(1)
        raise StoreError(found.problem)
