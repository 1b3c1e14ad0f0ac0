"""`penstock environments …`: the cached Python environments of components."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from penstock.cli.age import seconds_of
from penstock.cli.table import print_table, when
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace

app = typer.Typer(help="Cached Python environments: list, prune.", no_args_is_help=True)


@app.command("list")
def list_environments(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """List them, with their packages and when they were last used."""
    with Workspace(load_settings()) as workspace:
        found = workspace.environments().list()
    if as_json:
        for one in found:
            typer.echo(
                json.dumps(
                    {
                        "key": one.key,
                        "python": one.python_version,
                        "requirements": list(one.requirements),
                        "last_used": one.last_used,
                        "path": str(one.path),
                    }
                )
            )
        return
    print_table(
        ("ENVIRONMENT", "PYTHON", "LAST USED", "REQUIREMENTS"),
        [
            (
                one.key,
                one.python_version,
                when(one.last_used),
                " ".join(one.requirements),
            )
            for one in found
        ],
    )


@app.command()
def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Only those not used for so long: 30d, 12h.")
    ] = "0s",
) -> None:
    """Remove environments that no task uses; they are built again when they are needed."""
    unused = seconds_of(older_than)
    with Workspace(load_settings()) as workspace:
        removed = workspace.environments().prune(unused)
    for key in removed:
        typer.echo(f"removed {key}")
    typer.echo(f"{len(removed)} environments removed")
