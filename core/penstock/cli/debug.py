"""`penstock debug RUN TASK`."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.execution.debugging import debug_task
from penstock.execution.manifest import Outcome
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace


def debug(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, a part of it that no other has, or its name.")],
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task's path, such as for-loop-1[0]/train.")],
) -> None:
    """Run one task again here, with the inputs, environment and command it had; nothing is recorded."""
    with Workspace(load_settings()) as workspace:
        session = workspace.store.runs.find(run)
        found = debug_task(workspace, session.id, task, typer.echo)
    ended = f"exit code {found.manifest.exit_code}" if found.manifest.exit_code is not None else "no exit code"
    typer.echo(f"task {task} {found.manifest.outcome.value} ({ended})")
    if found.manifest.error:
        typer.echo(found.manifest.error)
    typer.echo(f"its directory is {found.folder}")
    if found.manifest.outcome is not Outcome.SUCCEEDED:
        raise typer.Exit(1)
