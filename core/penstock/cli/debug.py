"""`penstock debug RUN TASK`."""

from __future__ import annotations

import typer

from penstock.cli.references import RunName, TaskPath, find_run, find_task
from penstock.execution.debugging import debug_task
from penstock.execution.manifest import Outcome
from penstock.execution.session import open_session
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace


def debug(
    run: RunName,
    task: TaskPath,
) -> None:
    """Run one task again here as it ran, and record nothing."""
    with Workspace(load_settings()) as workspace:
        record = find_run(workspace, run)
        path = find_task(open_session(workspace.store, record.id), task)
        found = debug_task(workspace, record.id, path, typer.echo)
    ended = (
        f"exit code {found.manifest.exit_code}" if found.manifest.exit_code is not None else "no exit code"
    )
    typer.echo(f"task {path} {found.manifest.outcome.value} ({ended})")
    if found.manifest.error:
        typer.echo(found.manifest.error)
    typer.echo(f"its directory is {found.folder}")
    if found.manifest.outcome is not Outcome.SUCCEEDED:
        raise typer.Exit(1)
